#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# plot.sh - draws how far the best is above where each search stands, by trials, from build/bench/tune/replay.csv: a panel a
# program, searches that began elsewhere than at the best. Medians over the seeds. Needs gnuplot.
#
# Usage: plot.sh FILE.svg    from the root of the tree, after make bench-tune

set -euo pipefail
out=${1:?Usage: plot.sh FILE.svg}
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT
# A search that proposes no more stands where it stood.
awk -F, -v dir="$data" 'NR > 1 && $2 == "elsewhere" {
		if (!(($1, $3, $4) in begun)) {
			begun[$1, $3, $4] = 1
			# where it began: what is left after the first trial, and what that trial brought when it was kept
			left[$1, $3, $4, 0] = $16 + ($9 == "kept" ? $10 : 0)
		}
		left[$1, $3, $4, $5 + 1] = $16
		if ($5 + 1 > most) most = $5 + 1
		programs[$1] = 1
		rivals[$3] = 1
		if ($4 > seeds) seeds = $4
	}
	function median(n,    i, j, t) {
		for (i = 2; i <= n; i++)
			for (j = i; j > 1 && v[j - 1] > v[j]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
		return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
	}
	END {
		for (p in programs)
			for (r in rivals) {
				for (t = 0; t <= most; t++) {
					n = 0
					for (s = 0; s <= seeds; s++) {
						if (!((p, r, s) in begun)) continue
						if ((p, r, s, t) in left) at[p, r, s] = left[p, r, s, t]
						v[++n] = at[p, r, s]
					}
					if (n) print t, 100 * (exp(median(n)) - 1) > (dir "/" p "," r)
				}
			}
	}' build/bench/tune/replay.csv
mapfile -t programs < <(cut -d, -f1 build/bench/tune/replay.csv | tail -n +2 | sort -u)
{
	echo "set terminal svg size 900,$((40 + 230 * ((${#programs[@]} + 2) / 3))) font 'sans,11' background 'white'"
	echo "set output '$out'"
	echo "set multiplot layout $(((${#programs[@]} + 2) / 3)),3"
	echo "set grid ytics lc rgb '#dddddd'; set yrange [0:*]; set xlabel 'trials'; set ylabel 'best is above, %'; set key top right samplen 2 font ',9'"
	for program in "${programs[@]}"; do
		echo "set title '$program'"
		line=
		while IFS=, read -r rival colour; do
			[[ -s $data/$program,$rival ]] || continue
			line+="${line:+, }'$data/$program,$rival' with steps lw 2 lc rgb '$colour' title '$rival'"
		done <<-END
			advisor,#1f6feb
			random,#888888
			gaussian process,#d9480f
			tuned profile,#2b8a3e
		END
		[[ -z $line ]] || echo "plot $line"
	done
} | gnuplot
