#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# bench_record.sh - the recorder of make bench-tune on a folder in place of the machine: every configuration is measured under
# its own values, in pairs with the old ones, and all stands as before, also after a SIGTERM and after a SIGKILL.
# timeout: 120

set -uo pipefail
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
fail() { echo "$*"; cat "$dir/err"; exit 1; }
make -s build/semantos-keeper build/tests/bench/tune/record >"$dir/err" 2>&1 || fail "the recorder is not built"
vm=$dir/root/proc/sys/vm
mkdir -p "$vm"
reset() { echo 100 >"$vm/vfs_cache_pressure"; echo 60 >"$vm/swappiness"; }
as_before() { [[ $(cat "$vm/vfs_cache_pressure" "$vm/swappiness" | paste -s -d' ') == "100 60" ]]; }
printf 'better\thigher\nknob\tsysctl:vm.vfs_cache_pressure\t100\t200\nknob\tsysctl:vm.swappiness\t60\t10\nextra\tprofile\tsysctl:vm.swappiness=30\n' >"$dir/plan"
record() { # command, visits, pairs
	exec env SEMANTOS_RECORD_ROOT="$dir/root" build/tests/bench/tune/record "$dir/plan" "$dir/csv" "$dir/journal" "$PWD/build/semantos-keeper" "$1" "$2" "$3" 1
}
reset
# 100,060 as found; the noise is none, so a slice under other values would be seen
(record "echo values \$((\$(cat $vm/vfs_cache_pressure) * 1000 + \$(cat $vm/swappiness)))" 1 2) >"$dir/out" 2>"$dir/err" || fail "record ended with $?"
as_before || fail "values are left behind"
awk -F, 'NR > 1 {
		want = $4 == "old" || $1 == 0 ? 100060 : $1 == 1 ? 200060 : $1 == 2 ? 100010 : $1 == 3 ? 200010 : 100030
		n[$1 "," $4]++
		if ($5 != want) { print "configuration " $1 ", " $4 ": " $5 ", not " want; bad = 1 }
	}
	END {
		for (c = 0; c <= 4; c++)
			if (n[c ",old"] != 2 || n[c ",new"] != 2) { print "configuration " c " has " n[c ",old"] " and " n[c ",new"] " slices"; bad = 1 }
		exit bad
	}' "$dir/csv" || fail "slices are not what they are said to be"

for signal in TERM KILL; do
	rm -rf "$dir/journal"
	(record "sleep 0.3; echo $signal; echo 5" 40 3) >"$dir/out" 2>"$dir/err" &
	pid=$!
	for _ in {1..200}; do as_before || break; sleep 0.05; done
	! as_before || fail "nothing was changed within 10 s"
	kill -"$signal" $pid
	wait $pid
	code=$?
	for _ in {1..40}; do ! as_before || break; sleep 0.05; done
	as_before || fail "values are left behind after SIG$signal"
	[[ $code -ne 0 ]] || fail "a recording that SIG$signal ended passes for whole"
done
echo "5 configurations in 20 slices; all as before, also after SIGTERM and SIGKILL"
