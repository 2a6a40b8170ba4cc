#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# plot.sh - draws ns per block event against the number of devices, for one and two CPUs, from build/bench/bench.json
# (its rows of bench_hooks). Needs gnuplot.
#
# Usage: plot.sh FILE.svg    from the root of the tree, after make bench

set -euo pipefail
out=${1:?Usage: plot.sh FILE.svg}
data=$(mktemp)
trap 'rm -f "$data"' EXIT
for cpus in one two; do
	tr '{' '\n' <build/bench/bench.json |
		sed -nE "s/.*\"row\":\"event, ([0-9]+) devices in turn, $cpus CPUs?\".*\"p50\":([0-9.]+),\"p25\":([0-9.]+),\"p75\":([0-9.]+).*/\1 \2 \3 \4/p"
	printf '\n\n'
done >"$data"
cold=$(tr '{' '\n' <build/bench/bench.json | sed -nE 's/.*"row":"event, 1,024 devices in turn, cold caches".*"p50":([0-9.]+),"p25":([0-9.]+),"p75":([0-9.]+).*/\1 \2 \3/p')
gnuplot <<END
set terminal svg size 760,420 font "sans,13" background "white"
set output "$out"
set logscale x 2
set xrange [0.8:1400]
set yrange [0:*]
set xtics (1, 4, 16, 64, 256, 1024)
set xlabel "devices the events go to in turn"
set ylabel "ns per event (median, quartiles)"
set key top left
set grid ytics lc rgb "#dddddd"
\$cold << EOD
1024 $cold
EOD
plot 250 with lines dt 2 lc rgb "#888888" title "target on one device: 250 ns", \
	"$data" index 0 using 1:2:3:4 with yerrorlines pt 7 lc rgb "#1f6feb" title "one CPU", \
	"$data" index 1 using 1:2:3:4 with yerrorlines pt 5 lc rgb "#d9480f" title "two CPUs on the same devices", \
	\$cold using 1:2:3:4 with yerrorbars pt 9 ps 1.2 lc rgb "#1f6feb" title "one CPU, every cache line cold"
END
