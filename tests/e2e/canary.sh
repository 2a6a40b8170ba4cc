#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# canary.sh - three policies of a running agent in mode canary: consumers of one report a gain and it is promoted to enforce,
# those of another a harm and it is demoted to shadow, those of the third neither and it stays; all on record, explained, with
# the way back. A second agent has a control in the model's place: its gain promotes nothing. The policies follow no disk and nothing obeys them: the reports alone decide, and bpftool writes them as a
# consumer would.
# timeout: 150

set -uo pipefail
skip() { echo "$*"; exit 77; }
[[ $(id -u) -eq 0 ]] || skip "loading BPF programs needs root"
[[ -r /sys/kernel/btf/vmlinux ]] || skip "this kernel has no BTF"
command -v bpftool >/dev/null || skip "bpftool is missing"

dir=$(mktemp -d "$PWD/build/canary-XXXXXX") || exit 1
pins=/sys/fs/bpf/semantos-canary-$$
agent="" placebo=""
cleanup() {
	trap - EXIT
	# shellcheck disable=SC2086 # one word a process
	kill $agent $placebo 2>/dev/null
	wait
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
fail() { echo "$*"; tail -n 12 "$dir/agent.err" | cut -c 1-300; exit 1; }
ctl() { timeout 10 build/semantosctl --socket "$dir/run/agent.sock" "$@"; }
history() { timeout 10 build/semantosctl history --dir "$dir/state/safety" --json; }
mode_of() { ctl status "$1" --json 2>/dev/null | grep -oE '"mode": ?"[^"]*"' | head -n 1 | sed -E 's/.*"([^"]*)"$/\1/'; }

# Two rows of eight u64, little endian: requests of control and treated, the sums of their latencies.
report() { # policy, control requests, treated, control sum, treated sum
	local value
	bytes=()
	for value in "$2" "$3" "$4" "$5" 0 0 0 0; do
		for _ in 1 2 3 4 5 6 7 8; do
			bytes+=("$((value & 255))")
			((value >>= 8))
		done
	done
	bpftool map update pinned "$pins/$1/trial" key 0 0 0 0 value "${bytes[@]}"
}

mkdir -p "$dir/policies/third"
sed 's/^name = linnos/name = third/' build/policies/linnos/policy.conf >"$dir/policies/third/policy.conf"
cp build/policies/linnos/linnos.bpf.o "$dir/policies/third/"
build/semantos-agent --policy-path "build/policies:$dir/policies" --policy linnos --policy template --policy third --mode canary:10 --device no-such-disk --quiet \
	--state-dir "$dir/state" --run-dir "$dir/run" --bpffs-dir "$pins" >"$dir/agent.out" 2>"$dir/agent.err" &
agent=$!
build/semantos-agent --policy linnos --mode canary:10 --control fast --device no-such-disk --quiet --state-dir "$dir/placebo" \
	--run-dir "$dir/run-placebo" --bpffs-dir "$pins-placebo" >/dev/null 2>"$dir/placebo.err" &
placebo=$!
for _ in $(seq 100); do
	[[ $(mode_of third) != canary ]] || break
	sleep 0.1
done
[[ $(mode_of linnos) == canary ]] || fail "the agent did not attach its policies in mode canary"

n=0 control=0 faster=0 slower=0 same=0
for _ in $(seq 600); do
	((n += 1))
	((us = 1000 + RANDOM % 40, control += 90 * us))
	((faster += 10 * (us - 200 + RANDOM % 40), slower += 10 * (us + 200 + RANDOM % 40)))
	# now a little faster, now a little slower, by as much: no run makes a difference of it
	((same += 10 * (n % 2 ? us + 20 : us - 20)))
	report linnos $((90 * n)) $((10 * n)) $control $faster || fail "reports cannot be written"
	[[ ! -e $pins-placebo/linnos/trial ]] || bpftool map update pinned "$pins-placebo/linnos/trial" key 0 0 0 0 value "${bytes[@]}"
	report template $((90 * n)) $((10 * n)) $control $slower || fail "reports cannot be written"
	report third $((90 * n)) $((10 * n)) $control $same || fail "reports cannot be written"
	if [[ $((n % 10)) -eq 0 && $(mode_of linnos) == enforce && $(mode_of template) == shadow ]]; then
		break
	fi
	sleep 0.2
done
[[ $(mode_of linnos) == enforce ]] || fail "a gain was not promoted: linnos is in $(mode_of linnos) after $n reports"
[[ $(mode_of template) == shadow ]] || fail "a harm was not demoted: template is in $(mode_of template)"
[[ $(mode_of third) == canary ]] || fail "without a difference third went to $(mode_of third)"
for _ in $(seq 50); do
	! grep -q "the control 'fast' in the model's place gains too" "$dir/placebo.err" || break
	sleep 0.2
	((n += 1, control += 90000, faster += 8000))
	report linnos $((90 * n)) $((10 * n)) $control $faster
	bpftool map update pinned "$pins-placebo/linnos/trial" key 0 0 0 0 value "${bytes[@]}"
done
grep -q "the control 'fast' in the model's place gains too" "$dir/placebo.err" || fail "the control's gain is not said to be one"
[[ $(timeout 10 build/semantosctl history --dir "$dir/placebo/safety" --json) != *enforce* ]] || fail "a control was promoted"

ctl detach linnos >/dev/null || fail "detaching was refused"
sleep 0.5
history >"$dir/history" || fail "the journal cannot be read"
for step in 'linnos: detached -> canary:10' 'linnos: canary:10 -> enforce' 'template: canary:10 -> shadow' \
	'linnos: enforce -> detached' 'third: detached -> canary:10'; do
	[[ $(grep -cF "$step" "$dir/history") -ge 1 ]] || fail "the history lacks: $step"
done
id=$(tr '{' '\n' <"$dir/history" | grep -F 'linnos: canary:10 -> enforce' | grep -oE '"id": ?[0-9]+' | grep -oE '[0-9]+')
build/semantosctl explain --dir "$dir/state/safety" "$id" >"$dir/explained" || fail "explain $id failed"
for words in 'evidence: treated requests took -' 'expected: every request' 'observed: until change' \
	'undo: semantosctl mode linnos canary:10' 'ends with the agent'; do
	grep -qF "$words" "$dir/explained" || { cat "$dir/explained"; fail "explain does not say: $words"; }
done
build/semantosctl audit --dir "$dir/state/safety" >/dev/null || fail "the audit found fault"
cat "$dir/explained"
