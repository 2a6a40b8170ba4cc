#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh - runs test programs, each under its own timeout, and says what became of each.
#
# A test is a command line; its name is the last word. Exit 0 passed, 77 skipped (the last line of its output names
# what is missing), anything else failed. A cmocka program counts as one test, and each case it skips as one skip.
# A comment line in the first 30 lines of its source may say "timeout: SECONDS", and "results: lines" when it prints
# one line "PASS name", "FAIL name: why" or "SKIP name: why" for each of several tests of its own.
# Output is kept in build/test-logs/, or in TEST_LOGS. Must run from the root of the tree. The last line is the count.
#
# Usage: run.sh [-j JOBS] [-t SECONDS] TEST...     a test written "+TEST" may run beside other such tests; those
# written "@TEST" run one after another beside all the others, from the start

set -uo pipefail
# A test that calls make starts its own.
unset MAKEFLAGS MFLAGS MAKELEVEL
logs=${TEST_LOGS:-build/test-logs}
jobs=$(nproc)
limit=120
while getopts j:t: option; do
	case $option in
	j) jobs=$OPTARG ;;
	t) limit=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))

# What a comment line "KEY: VALUE" near the top of the source of a program or script says.
header() { # key, program
	local file=$2 source
	source=${2#build/}.c
	source=${source#san/}
	source=${source#coverage*/}
	[[ ! -f $source ]] || file=$source
	head -n 30 "$file" 2>/dev/null | sed -nE "s@^(#|//| \*|/\*) *$1: *([0-9a-z]+).*@\2@p" | head -n 1
}

# Turn the output of a program into lines "verdict<TAB>name<TAB>why", one a result.
results() { # code, name, first word, log
	local code=$1 name=$2 program=$3 log=$4 last
	last=$(grep -v '^[[:space:]]*$' "$log" | tail -n 1 | sed 's/^skipped: *//')
	if [[ $(header results "$program") == lines ]]; then
		sed -nE "s|^PASS ([^:]+).*|pass\t$name: \1\t|p; s|^FAIL ([^:]+):? *(.*)|fail\t$name: \1\t\2|p
			s|^SKIP ([^:]+):? *(.*)|skip\t$name: \1\t\2|p" "$log"
		if [[ $code -eq 77 ]]; then
			printf 'skip\t%s\t%s\n' "$name" "$last"
		elif [[ $code -ne 0 ]] && ! grep -q '^FAIL ' "$log"; then
			printf 'fail\t%s\texit code %s: %s\n' "$name" "$code" "$last"
		elif ! grep -qE '^(PASS|FAIL|SKIP) ' "$log"; then
			printf 'fail\t%s\tit reported no result\n' "$name"
		fi
		return
	fi
	case $code in
	0)
		# cmocka: a case that was skipped is named twice; the line before the first says why.
		awk -v name="$name" 'BEGIN { passed = 1 }
			/^\[  SKIPPED \] [A-Za-z0-9_]+$/ && !seen[$4]++ {
				printf "skip\t%s: %s\t%s\n", name, $4, why
			}
			/^\[  PASSED  \] 0 test/ { passed = 0 }
			/^\[ RUN / { why = "it gives no reason" }
			!/^\[/ && NF { why = $0; sub(/^skipped: */, "", why) }
			END { if (passed) printf "pass\t%s\t\n", name }' "$log" ;;
	77) printf 'skip\t%s\t%s\n' "$name" "${last:-it gives no reason}" ;;
	124 | 137) printf 'fail\t%s\tstopped after its timeout: %s\n' "$name" "$last" ;;
	*) printf 'fail\t%s\texit code %s: %s\n' "$name" "$code" "$last" ;;
	esac
}

# What a person needs to see of a log: the assertions that failed, else its end.
excerpt() { # log
	if grep -qE '^\[  ERROR   \]|: error: Failure' "$1"; then
		grep -E -B 3 '^\[  ERROR   \]|: error: Failure' "$1" | head -n 15
	else
		tail -n 15 "$1"
	fi | sed 's/^/      | /'
}

run_one() { # command line
	local words seconds name log begin code
	read -ra words <<<"$1"
	name=${words[-1]#build/}
	log=$logs/${name//\//.}.log
	seconds=$(header timeout "${words[0]}")
	seconds=${seconds:-$limit}
	[[ ! ${SEMANTOS_SOAK-} ]] || seconds=$((seconds * 20))
	begin=$(date +%s%N)
	# Line buffered, so that cmocka's lines and those on stderr stay in order.
	[[ ${words[0]} != */test_* || ${words[0]} == *.sh ]] || words=(stdbuf -oL "${words[@]}")
	[[ -x ${words[0]} || ${words[0]} != build/san/* ]] || words=(bash -c 'echo "the sanitizer runtime of clang 19 was missing when the tests were built"; exit 77')
	timeout --kill-after=10 "$seconds" "${words[@]}" >"$log" 2>&1 </dev/null
	code=$?
	results "$code" "$name" "${1%% *}" "$log" >"${log%.log}.result"
	awk -F '\t' -v ms=$((($(date +%s%N) - begin) / 1000000)) '
		{ printf "%-5s %s%s%s\n", $1, $2, NR == 1 ? sprintf("  (%.1f s)", ms / 1000) : "",
			$1 == "pass" ? "" : ": " $3 }' "${log%.log}.result"
	if grep -q '^fail' "${log%.log}.result"; then
		excerpt "$log" | tee "${log%.log}.excerpt"
	fi
}

# Kernel messages that no test may cause, newer than the time stamp given. "traps:" is a program's own fault, not the kernel's.
splats() {
	dmesg 2>/dev/null | awk -F '[][]' -v since="$1" '$2 + 0 > since && !/traps: /' | grep -E \
		'BUG: |Oops|general protection|WARNING: CPU|INFO: task .* blocked|INFO: rcu|circular locking|recursive locking'
}

rm -rf "$logs"
mkdir -p "$logs" || exit 1
watch_dmesg=$(dmesg 2>/dev/null | tail -n 1 | awk -F '[][]' '{ printf "%.6f", $2 }')
aside=() running=()
for test; do
	[[ $test != @* ]] || aside+=("${test#@}")
done
if [[ ${#aside[@]} -gt 0 ]]; then
	for test in "${aside[@]}"; do run_one "$test"; done &
	stream=$!
fi
for test; do
	case $test in
	@*) ;;
	+*)
		while [[ $(jobs -rp | grep -cvx "${stream-none}") -ge $jobs ]]; do wait -n; done
		run_one "${test#+}" &
		running+=($!) ;;
	*)
		[[ ${#running[@]} -eq 0 ]] || wait "${running[@]}"
		running=()
		run_one "$test" ;;
	esac
done
wait
if [[ $watch_dmesg ]]; then
	if splats "$watch_dmesg" >"$logs/dmesg.log"; then
		printf 'fail\tkernel messages\t%s\n' "$(head -n 1 "$logs/dmesg.log")"
	else
		printf 'pass\tkernel messages\t\n'
	fi >"$logs/dmesg.result"
fi

shopt -s nullglob
cat /dev/null "$logs"/*.result >"$logs/all"
echo
awk -F '\t' '$1 == "skip" { printf "skipped %s: %s\n", $2, $3 }' "$logs/all"
for each in "$logs"/*.excerpt; do
	printf '%s\n' "${each##*/}" && cat "$each"
done
awk -F '\t' -v logs="$logs" '$1 == "fail" { printf "failed %s: %s (output in %s)\n", $2, $3, logs }' "$logs/all"
awk -F '\t' '{ n[$1]++ } END {
	printf "%d passed, %d failed%s\n", n["pass"], n["fail"], n["skip"] ? ", " n["skip"] " skipped" : ""
	exit n["fail"] > 0 || n["pass"] == 0 }' "$logs/all"
