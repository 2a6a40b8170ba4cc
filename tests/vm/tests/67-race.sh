#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash disable=SC3043 # busybox has local
#
# A third party writes the same setting of this kernel between any two system calls of apply, rollback and recovery: its
# value stays, but for the window that is stated. The agent is killed and stopped, its keeper is, both are, with real
# settings in force. With SEMANTOS_SOAK=1, on 6.12, 1,000 foreign writes and pairs of them, and every system call of ours
# fails in every way.
# needs: program:build/tests/fault/test_safety_race program:build/tests/fault/test_safety_keeper
# needs: program:build/tests/fault/test_safety_fail
# timeout: 240

fail() { grep -v '^\[ *\(RUN\|OK\)' /tmp/log | tail -n 12; echo "$*"; exit 1; }
run() { # what to note, program...
	local note="$1"
	shift
	"$@" >/tmp/log 2>&1 || fail "$* failed"
	grep -E "$note" /tmp/log | sed 's/^/NOTE /'
}

export SEMANTOS_REAL_KNOBS=1
case $(uname -r) in
6.12.*) ;;
*) unset SEMANTOS_SOAK ;;
esac
run undone build/tests/fault/test_safety_keeper 'test_*ed'
case $(uname -r) in
6.12.*) run interleavings taskset 1 build/tests/fault/test_safety_race ;;
esac
[ -n "${SEMANTOS_SOAK-}" ] || exit 0
run 'made to fail' taskset 1 build/tests/fault/test_safety_fail test_calls
run 'undone|none was lost' build/tests/fault/test_safety_keeper 'test_*a_*'
