#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The crash sweep on the settings of this kernel (vm.swappiness, vda's read-ahead, vm.dirty_ratio, vm.dirty_bytes): SIGKILL
# before and after every system call of apply, keep, rollback, breach, promotion, demotion, ejection, recovery, a new segment,
# close and upgrade, and the coupled pair either way round. Enumerated; the counts are noted. All of it on 6.12, but for values
# that are swapped for a trial and changes on a kept one (a fake root is swept there, and these with full counts); on the
# others apply and recovery.
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
	sweep build/tests/fault/test_safety_crash '*' 'test_s*'
	sweep build/tests/fault/test_safety_coupled '*' test_swapped
	;;
*)
	sweep build/tests/fault/test_safety_crash test_apply
	sweep build/tests/fault/test_safety_crash test_recover
	;;
esac
