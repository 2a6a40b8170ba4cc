#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# knn.sh - the policy knn on this machine's kernel: programs of our own are learned by `semantosctl learn`, then one that
# misbehaves and one that serves run among 50 others, and the agent tells them apart: the one is found with its label and
# the neighbours named, the other and the 50 are not. All of it is a dry run: the policy says that it would stop what it
# finds, and stops nothing, since this machine has other users. In the lab (make vmtest-sched) 90-knn stops what it finds.
set -euo pipefail
cd "$(dirname "$0")/../.."

skip() { echo "skipped: $1"; exit 77; }
fail() { echo "FAILED: $1"; [[ ! -e ${log-} ]] || tail -20 "$log"; exit 1; }
[[ $EUID -eq 0 ]] || skip "needs root"
[[ -r /sys/kernel/btf/vmlinux ]] || skip "needs a kernel with BTF"

B=${B:-build}
dir=$(mktemp -d) log=$dir/log agent='' pids=()
load=$B/policies/knn/examples/knn_load
end() {
	[[ -z $agent ]] || { kill "$agent" && timeout 20 tail --pid="$agent" -f /dev/null || kill -9 "$agent"; } 2>/dev/null || true
	for p in "${pids[@]}"; do kill -CONT "$p" 2>/dev/null; kill "$p" 2>/dev/null || true; done
	wait 2>/dev/null || true
	rm -rf "$dir"
}
trap end EXIT

# A policy folder of our own: the same object, another action.
mkdir -p "$dir/policies/knn" "$dir/bpf"
cp "$B/policies/knn/knn.bpf.o" "$dir/policies/knn"
cp -r "$B/bpf/lib" "$dir/bpf/lib"
sed -e 's/^action = .*/action = stop/' policies/knn/policy.conf >"$dir/policies/knn/policy.conf"
refs=$dir/state/knn/references.safetensors
mkdir -p "$dir/state/knn"
ctl() { "$B/semantosctl" "$@" --socket "$dir/run/agent.sock"; }
learn() { "$B/semantosctl" learn --references "$refs" --policy-path "$dir/policies" "$@"; }

learn --label benign -- /nonexistent 2>/dev/null && fail "a command that is not there was learned"
[[ ! -e $refs ]] || fail "a command that is not there left references"
for kind in serve pipes timers walk memory log; do
	for seed in 1 2; do learn --label benign -- "$load" $kind $seed 9000 0 >/dev/null; done
done
for seed in 1 2 3; do learn --label intruder -- "$load" misbehave $seed 12000 0 >/dev/null; done
learn --list
learn --list --json | jq -e '.signal and .auc_low > 0.9 and .labels.benign > 60' >/dev/null ||
	fail "what was learned is not told apart"

start_agent() { # MODE
	"$B/semantos-agent" --policy knn --mode "$1" --policy-path "$dir/policies" --state-dir "$dir/state" \
		--run-dir "$dir/run" --bpffs-dir "/sys/fs/bpf/semantos-e2e-$$" --no-telemetry --quiet \
		>>"$log" 2>&1 &
	agent=$!
	for _ in $(seq 100); do
		if ctl status --json 2>/dev/null | jq -e '.policies[0].watch.signal' >/dev/null 2>&1; then return; fi
		sleep 0.1
	done
	fail "the agent did not come up with its references"
}
# of a process, from the agent's status
finding() { ctl status --json | jq -c ".policies[0].watch.findings[] | select(.pid == $1)"; }
wait_for() { # SECONDS COMMAND...
	local n=$(($1 * 10)); shift
	for _ in $(seq $n); do
		if "$@" >/dev/null 2>&1; then return 0; fi
		sleep 0.1
	done
	return 1
}
start_agent shadow
others=()
for i in $(seq 50); do
	kinds=(pipes timers walk memory log)
	"$load" "${kinds[i % 5]}" $((100 + i)) 100000000 20000 & others+=($!)
done
"$load" serve 77 100000000 5000 & served=$!
"$load" misbehave 78 100000000 5000 & bad=$!
pids=("${others[@]}" "$served" "$bad")

has() { [[ -n $(finding "$1") ]]; }
wait_for 60 has $bad || fail "what misbehaves was not found"
finding $bad | jq -e '.label == "intruder" and (.act | startswith("dry run: would stop it")) and .change == 0
	and (.neighbours | test("intruder of knn_load-")) and .probability > 0.5' >/dev/null ||
	fail "the finding does not say what was found: $(finding $bad)"
[[ $(awk '{ print $3 }' /proc/$bad/stat) != T ]] || fail "a dry run stopped it"
# the others have had windows too, and time to be found
judged() { [[ $(ctl status --json | jq '.policies[0].watch.judged') -ge 400 ]]; }
wait_for 60 judged || fail "hardly anything is judged"
for p in "${others[@]}" $served; do
	found=$(finding "$p")
	[[ -z $found ]] || fail "one that does its work was found: $found"
done
echo "told apart among $(find /proc -maxdepth 1 -name "[0-9]*" | wc -l) processes; found in all: $(ctl status --json | jq .policies[0].watch.found)"
ctl status | grep -q "knn_load" || fail "the table does not name it"
ctl detach knn >/dev/null
ctl attach knn --mode shadow >/dev/null
ctl shutdown >/dev/null
wait "$agent" || fail "the agent ended with an error"
agent=''
if grep -q unaccounted "$log"; then fail "records are unaccounted for"; fi

