#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# plot.sh - draws the mean read latency of every policy against fewest outstanding, a group of bars a volume and mix.
# Needs gnuplot.
#
# Usage: plot.sh CELLS.txt FILE.svg    CELLS.txt: what report wrote

set -euo pipefail
cells=${1:?Usage: plot.sh CELLS.txt FILE.svg}
out=${2:?Usage: plot.sh CELLS.txt FILE.svg}
read -ra names < <(head -n 1 "$cells")
plot=
for i in "${!names[@]}"; do
	# A row that was not run has no bar.
	if [[ $i -gt 0 ]] && awk -v c=$((i + 2)) 'NR > 1 && $c != "-" { found = 1 } END { exit !found }' "$cells"; then
		plot+="${plot:+, }'$cells' every ::1 using $((i + 1)):xtic(1) title '${names[i]}'"
	fi
done
gnuplot <<END
set terminal svg size 1100,460 font "sans,12" background "white"
set output "$out"
set style data histogram
set style histogram clustered gap 1
set style fill solid 0.9 border -1
set datafile missing "-"
set yrange [0:2.5]
set ylabel "mean latency / fewest (emulated)"
set grid ytics lc rgb "#dddddd"
set key outside top center horizontal samplen 1
set xtics rotate by -30
plot 1 with lines dt 2 lc rgb "#888888" notitle, $plot
END
