#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# plot.sh - draws microseconds a row against the batch, by every path and peer, one panel a model. Needs gnuplot.
#
# Usage: plot.sh CURVE.txt FILE.svg    CURVE.txt: what bench_infer --curve printed

set -euo pipefail
curve=${1:?Usage: plot.sh CURVE.txt FILE.svg}
out=${2:?Usage: plot.sh CURVE.txt FILE.svg}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mapfile -t models < <(cut -d';' -f1 "$curve" | awk '!seen[$0]++')
names=(semantos "semantos, float32" "semantos, AVX2" "semantos, plain C" OpenBLAS oneDNN onnxruntime torch FAISS)
{
	echo 'set terminal svg size 980,1240 font "sans,12" background "white"'
	echo "set output '$out'"
	echo 'set multiplot layout 3,2'
	echo 'set logscale xy; set format y "%g"; set datafile separator ";"; set datafile missing "NaN"'
	echo 'set xtics (1, 4, 16, 64, 256, 1024); set xrange [0.8:1300]'
	echo 'set grid ytics lc rgb "#dddddd"; set key outside bottom center horizontal samplen 2 font "sans,10"'
	for i in "${!models[@]}"; do
		grep -F "${models[i]};" "$curve" >"$work/$i"
		echo "set title '${models[i]}'; set ylabel 'microseconds a row'; set xlabel 'rows in a batch, one core'"
		plot=
		for c in "${!names[@]}"; do
			# a contender that took no part has no line
			cut -d';' -f$((c + 3)) "$work/$i" | grep -qv NaN || continue
			plot+="${plot:+, }'$work/$i' using 2:(\$$((c + 3))/\$2) with linespoints lt $((c + 1)) lw $((c ? 1 : 3)) title '${names[c]}'"
		done
		echo "plot $plot"
	done
	echo 'unset multiplot'
} | gnuplot
