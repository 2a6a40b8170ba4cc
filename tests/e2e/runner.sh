#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# runner.sh - tests/run.sh counts what passed, failed and was skipped, names what is missing, stops what hangs, and
# fails when anything failed or nothing passed. Runs made-up programs in a temporary folder.

set -euo pipefail
runner=$(readlink -f tests/run.sh)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir build t
fail() { echo "$*"; exit 1; }

program() { # name, body
	printf '#!/bin/bash\n%s\n' "$2" >"t/$1"
	chmod +x "t/$1"
}
program ok 'echo fine'
program bad 'echo broken; exit 3'
program skip 'echo "no recorded data at x"; exit 77'
program hang $'# timeout: 1\nsleep 60'
program crash 'kill -SEGV $$'
program lab $'# results: lines\necho "PASS 6.12 boot"; echo "FAIL 6.1 boot: panic"; echo "SKIP 7.x boot: not offered"; exit 1'
program empty $'# results: lines\nexit 0'
program test_cases 'echo "[ RUN      ] a"; echo "no trace"; echo "[  SKIPPED ] a"; echo "[  PASSED  ] 1 test(s)."
echo "[  SKIPPED ] 1 test(s), listed below:"; echo "[  SKIPPED ] a"'

expect() { # exit code, last line, tests...
	local code=0 want=$1 last=$2
	shift 2
	"$runner" "$@" >out 2>&1 || code=$?
	# Whether the kernel log can be read, and so counts as one more test, depends on the machine.
	sed -i '/kernel messages/d' out
	if [[ -f build/test-logs/dmesg.result ]]; then
		last=$((${last%% *} + 1))" ${last#* }"
	fi
	[[ $code -eq $want ]] || fail "$*: exit code $code, expected $want"
	[[ $(tail -n 1 out) == "$last" ]] || fail "$*: last line '$(tail -n 1 out)', expected '$last'"
}
expect 0 '2 passed, 0 failed' +t/ok +t/ok\ again
expect 1 '1 passed, 1 failed' +t/ok t/bad
expect 0 '1 passed, 0 failed, 1 skipped' t/ok t/skip
grep -qx 'skipped t/skip: no recorded data at x' out || fail "a skip does not name what is missing"
expect 1 '0 passed, 1 failed' t/hang
grep -q 'stopped after its timeout' out || fail "a test that hangs is not named as such"
expect 1 '0 passed, 1 failed' t/crash
expect 1 '1 passed, 1 failed, 1 skipped' t/lab
expect 1 '0 passed, 1 failed' t/empty
expect 0 '1 passed, 0 failed, 1 skipped' t/test_cases
grep -qx 'skipped t/test_cases: a: no trace' out || fail "a case skipped by cmocka is not named"
program late 'sleep 1; date +%s%N >late'
program early 'date +%s%N >early; [[ ! -e late ]]'
expect 0 '3 passed, 0 failed' t/early @t/late '@t/ok aside'
[[ -e late && $(<early) -lt $(<late) ]] || fail "a test written @TEST does not run beside the others"
expect 1 '1 passed, 2 failed' @t/bad +t/ok t/early\ 2
