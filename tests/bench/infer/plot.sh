#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# plot.sh - draws microseconds a row against the batch for LinnOS, by every path and peer. Needs gnuplot.
#
# Usage: plot.sh FILE.svg    from the root of the tree, after make bench-infer (which builds the program)

set -euo pipefail
out=${1:?Usage: plot.sh FILE.svg}
data=$(mktemp)
trap 'rm -f "$data"' EXIT
OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 taskset -c $(($(nproc) - 1)) \
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE build/tests/bench/infer/bench_infer --curve |
	sed -nE 's/^LinnOS 31-256-2 +([0-9]+) +([0-9.]+) +([0-9.]+) +([0-9.]+) +([0-9.]+) .*/\1 \2 \3 \4 \5/p' >"$data"
gnuplot <<END
set terminal svg size 760,420 font "sans,13" background "white"
set output "$out"
set logscale xy
set xrange [0.8:1300]
set xtics (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
set xlabel "rows in a batch, LinnOS 31-256-2, one core"
set ylabel "microseconds a row"
set key top right
set grid ytics lc rgb "#dddddd"
plot "$data" using 1:(\$2/\$1) with linespoints lw 2 title "semantos", \
	"" using 1:(\$3/\$1) with linespoints title "semantos, float32 only", \
	"" using 1:(\$4/\$1) with linespoints title "OpenBLAS", \
	"" using 1:(\$5/\$1) with linespoints title "oneDNN"
END
