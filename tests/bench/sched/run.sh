#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh - mllb's scheduler beside the kernel's own and beside its controls, in the lab with 4 CPUs and real time; then on one
# CPU in virtual time, which counts instructions.
#
# Writes build/bench/sched/: runs.txt and one.txt (every run), lab.txt, lab-one.txt; build/bench/sched.json, sched-one.json. Rounds are interleaved, and figures are
# ratios to the kernel's own scheduler in the same round: median, least and most. Emulated CPUs on a machine that does other
# things are noisy: a row says how often it was better, beside its median.
# results: lines
#
# Usage: run.sh [SERIES [WORD...]]   default 6.18; words for the machine: sched_rounds=5 sched_seconds=5 sched_rows=eevdf,plain. Exit: 0, 1, or 77.

set -uo pipefail
out=build/bench/sched
mkdir -p "$out" || exit 1
series=${1:-6.18}
shift || true
data=${SEMANTOS_DATA:-../shared/data}/mllb/weights_model1.json
rm -f "$out/published.safetensors"
if [[ -f $data ]]; then
	build/semantosctl model import "$data" --encoder mllb --slow-threshold 1 -o "$out/published.safetensors" >"$out/import.txt" 2>&1 ||
		{ cat "$out/import.txt"; exit 1; }
else
	echo "not there: $data; the published net is left out (SEMANTOS_DATA names the folder)"
fi

table() { # runs, JSON
	awk -v json="$2" '
function order(of, n,   i, j, x) {
	for (i = 2; i <= n; i++) {
		x = of[i]
		for (j = i - 1; j > 0 && of[j] > x; j--)
			of[j + 1] = of[j]
		of[j + 1] = x
	}
}
function value(key,   i, pair) {
	for (i = 1; i <= NF; i++)
		if (split($i, pair, "=") == 2 && pair[1] == key)
			return pair[2]
	return ""
}
function keep(metric, better, v) {
	if (v == "")
		return
	cell[$2, $3, $4, metric] = v
	metrics[$4 " " metric] = better
}
{
	rows[$3] = 1; rounds[$2] = 1
	keep("p99_us", "less", value("p99_us"))
	keep("per_s", "more", value("per_s"))
	keep("wasted_pct", "less", value("wasted_pct"))
}
END {
	printf "%-5s %-10s %-8s %10s %8s %8s %8s %s\n", "load", "metric", "row", "median", "ratio", "least", "most", "better in"
	printf "[" >json
	for (m in metrics) {
		split(m, part, " ")
		for (row in rows) {
			n = better = 0
			delete ratio; delete plain
			for (r in rounds) {
				mine = cell[r, row, part[1], part[2]]; base = cell[r, "eevdf", part[1], part[2]]
				if (mine == "" || base == "")
					continue
				n++
				plain[n] = mine + 0
				ratio[n] = (base + 0.001) ? (mine + 0.001) / (base + 0.001) : 0
				better += metrics[m] == "less" ? mine < base : mine > base
			}
			if (!n)
				continue
			order(ratio, n); order(plain, n)
			printf "%-5s %-10s %-8s %10.2f %8.3f %8.3f %8.3f %d of %d\n", part[1], part[2], row, plain[int((n + 1) / 2)],
				ratio[int((n + 1) / 2)], ratio[1], ratio[n], better, n | "sort"
			printf "%s{\"load\":\"%s\",\"metric\":\"%s\",\"row\":\"%s\",\"median\":%s,\"ratio\":%.4f,\"least\":%.4f,\"most\":%.4f,\"rounds\":%d}", \
				comma, part[1], part[2], row, plain[int((n + 1) / 2)], ratio[int((n + 1) / 2)], ratio[1], ratio[n], n >json
			comma = ",\n "
		}
	}
	print "]" >json
}' "$1"
}
lab() { # runs, log, what tests/vm/run.sh is told...
	local runs=$1 log=$2 code
	shift 2
	tests/vm/run.sh "$@" >"$log" 2>&1
	code=$?
	sed -nE 's/^  \| (run .*)/\1/p' "$log" >"$runs"
	[[ $code -eq 0 ]] && return
	# What was measured until then is shown all the same.
	grep -vE '^  \| (run|decided) ' "$log" | tail -n 20
	worst=$code
	[[ -s $runs ]] || exit "$code"
}
worst=0

export VM_SMP=${VM_SMP:-4}
VM_TESTS=tests/bench/sched/vm lab "$out/runs.txt" "$out/lab.txt" --plain --append "$*" "$series"
echo "$VM_SMP CPUs, real time; emulated on $(nproc) CPUs"
table "$out/runs.txt" build/bench/sched.json
sed -nE 's/^  \| (learned .*|decided .*)/\1/p' "$out/lab.txt"
VM_TESTS=tests/bench/sched/one lab "$out/one.txt" "$out/lab-one.txt" --icount --append "$*" "$series"
echo "one CPU, virtual time: instructions"
table "$out/one.txt" build/bench/sched-one.json
exit $worst
