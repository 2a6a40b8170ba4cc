#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh - runs bench programs one after another, prints their rows and gathers them in build/bench/$BENCH_JSON, which
# is bench.json unless said otherwise.
# A program prints readable lines and, last, one JSON object; it exits 0, or 77 with the reason for a skip.
# A missed target is printed as such and is no failure; a program that fails is.
#
# Usage: run.sh PROGRAM...    from the root of the tree, after make bench-build; root for all but the idle rows

set -uo pipefail
out=build/bench
json=${BENCH_JSON:-bench.json}
mkdir -p "$out" || exit 1
failed=0
text() { printf '"%s"' "${1//[\"\\]/}"; }

cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
virtual=$(grep -qw hypervisor /proc/cpuinfo && echo "virtual machine" || echo "bare metal")
read -r load _ </proc/loadavg
cores=$(nproc)
kernel=$(uname -r)
memory=$(awk '/^MemTotal/ { printf "%d MiB", $2 / 1024 }' /proc/meminfo)
commit=$(git describe --always --dirty 2>/dev/null || echo unknown)
echo "machine: $cpu, $cores CPUs, $memory, $virtual, Linux $kernel; load at start $load"
echo "A figure is the median; quartiles and p99 are of the repetitions, interleaved with what it is compared to."

rows=()
for program in "$@"; do
	name=$(basename "${program%.sh}")
	echo "$name"
	timeout 420 "$program" >"$out/$name.txt" 2>"$out/$name.err"
	code=$?
	grep -v '^{' "$out/$name.txt"
	case $code in
	0) rows+=("$(tail -n 1 "$out/$name.txt")") ;;
	77) ;;
	*)
		echo "  FAILED with exit code $code: $(tail -n 1 "$out/$name.err")"
		failed=1
		;;
	esac
done
{
	printf '{"machine":{"cpu":%s,"cpus":%d,"memory":%s,"kind":%s,"kernel":%s,"load_at_start":%s},"version":%s,"date":%s,"benches":[' \
		"$(text "$cpu")" "$cores" "$(text "$memory")" "$(text "$virtual")" "$(text "$kernel")" "$load" "$(text "$commit")" "$(text "$(date +%F)")"
	(IFS=,; printf '%s' "${rows[*]}")
	printf ']}\n'
} >"$out/$json"
missed=$(grep -o '"met":false' "$out/$json" | wc -l)
echo "$missed targets missed; all rows are in $out/$json"
exit "$failed"
