#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The crash sweep on the settings of this kernel (vm.swappiness, vda's read-ahead, vm.dirty_ratio, vm.dirty_bytes): SIGKILL
# before and after every system call of apply, keep, rollback, breach, promotion, demotion, ejection, recovery, a new segment,
# close and upgrade, and the coupled pair either way round. Enumerated; the counts are noted. With full counts all of it;
# else on 6.12 what writes a setting, but for values that are swapped for a trial and changes on a kept one, and on the others
# apply and recovery. A fake root is swept for the rest (tests/fault).
# needs: program:build/tests/fault/test_safety_crash program:build/tests/fault/test_safety_coupled
# timeout: 300

fail() { grep -v '^\[ *\(RUN\|OK\)' /tmp/log | tail -n 12; echo "$*"; exit 1; }
# On one CPU: between emulated ones each stop of the traced child costs twice as much.
sweep() {
	taskset 1 "$@" >/tmp/log 2>&1 || fail "$* failed"
	grep ' stops, ' /tmp/log | sed 's/^/NOTE /'
}

export SEMANTOS_REAL_KNOBS=1
case ${SEMANTOS_SOAK-}$(uname -r) in
1*)
	sweep build/tests/fault/test_safety_crash
	sweep build/tests/fault/test_safety_coupled
	;;
6.12.*)
	for what in 'test_apply*' test_keep test_rollback test_breach 'test_recover*' test_new_segment test_close test_upgrade; do
		sweep build/tests/fault/test_safety_crash "$what"
	done
	sweep build/tests/fault/test_safety_coupled '*' 'test_swapped*'
	;;
*)
	sweep build/tests/fault/test_safety_crash test_apply
	sweep build/tests/fault/test_safety_crash test_recover
	;;
esac
