#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash disable=SC3043 # busybox has local
#
# What the policy knn finds on this kernel it stops: explained, let go on by rollback, by detach, and by the keeper when
# the agent is killed; and its control group is frozen and thawed where that is the action. The one that serves runs on.
# needs: program:build/semantos-agent program:build/semantosctl program:build/semantos-keeper
# needs: file:build/policies/knn/* file:build/policies/knn/examples/knn_load file:build/bpf/*/*.bpf.o
# timeout: 240
# elsewhere: soak

load=build/policies/knn/examples/knn_load
fail() { tail -n 12 /tmp/agent.err; cat /tmp/answer; echo "$*"; exit 1; }
step() { echo "at $(cut -d' ' -f1 /proc/uptime) s: $*"; } # seen where the test fails
trap 'fail "stopped before it was through"' TERM
ctl() { build/semantosctl "$@" >/tmp/answer 2>&1; }
state() { sed 's/.*) //' "/proc/$1/stat" | cut -c 1; }
# of a process, in tenths of a second at most
until_state() { # pid, T or not, tenths, what
	local n=0 now
	while [ $n -lt "$3" ]; do
		now=$(state "$1")
		if [ "$2" = T ] && [ "$now" = T ]; then return; fi
		if [ "$2" != T ] && [ "$now" != T ]; then return; fi
		usleep 100000
		n=$((n + 1))
	done
	fail "process $1 is in state $(state "$1"): $4"
}
learn() { build/semantosctl learn --references /tmp/state/knn/references.safetensors --policy-path /tmp/policies "$@" >/tmp/answer 2>&1 || fail "not learned: $*"; }
start() { # action
	sed "s/^action = .*/action = $1/" build/policies/knn/policy.conf >/tmp/policies/knn/policy.conf
	build/semantos-agent --policy knn --mode enforce --policy-path /tmp/policies --state-dir /tmp/state --no-telemetry --quiet \
		>/tmp/agent.err 2>&1 &
	agent=$!
	for _ in $(seq 200); do
		if ctl status knn && grep -q "Compares with" /tmp/answer; then return; fi
		usleep 100000
	done
	fail "the agent did not come up with its references"
}

step "learning"
mkdir -p /tmp/policies/knn /tmp/bpf /tmp/state/knn
cp build/policies/knn/knn.bpf.o /tmp/policies/knn
cp -r build/bpf/lib /tmp/bpf/lib
cp build/policies/knn/policy.conf /tmp/policies/knn
for seed in 1 2; do
	for kind in serve pipes memory log; do learn --label benign -- $load $kind $seed 9000 0; done
	learn --label intruder -- $load misbehave $seed 12000 0
done
# What this machine runs besides, so that nobody is found by being strange.
# shellcheck disable=SC2016 # that shell expands it
learn --label benign -- sh -c 'for i in $(seq 60); do cat /proc/[0-9]*/stat; usleep 1000; done >/dev/null'

step "stop"
start stop
step "one misbehaves"
$load serve 71 100000000 2000 &
served=$!
$load misbehave 72 100000000 2000 &
bad=$!
until_state $bad T 600 "what misbehaves is not stopped"
[ "$(state $served)" != T ] || fail "the one that serves is stopped"
build/semantosctl history --dir /tmp/state/safety >/tmp/history 2>&1
id=$(awk -v "who=sched:$bad@" 'index($0, who) { print $3 }' /tmp/history | head -n 1)
[ -n "$id" ] || { cat /tmp/history; fail "the journal does not have it"; }
ctl explain --dir /tmp/state/safety "$id" || fail "not explained"
grep -q "like those of intruder" /tmp/answer || fail "the explanation does not say why"
ctl rollback "$id" || fail "not rolled back"
until_state $bad R 50 "a rollback does not let it go on"
kill $bad

$load misbehave 73 100000000 2000 &
bad=$!
until_state $bad T 600 "the next one is not stopped"
step "detach"
ctl detach knn || fail "not detached"
until_state $bad R 100 "detaching does not let it go on"
kill $bad
ctl attach knn --mode enforce || fail "not attached again"
$load misbehave 74 100000000 2000 &
bad=$!
until_state $bad T 600 "after attaching again it is not stopped"
step "the agent is killed"
kill -9 $agent
wait $agent 2>/dev/null
until_state $bad R 100 "the agent was killed and nobody lets it go on"
echo "NOTE stopped, explained, and let go on by rollback, detach and the keeper"
kill $bad
sleep 1

step "freeze"
start freeze
mkdir /sys/fs/cgroup/lab
sh -c 'echo $$ >/sys/fs/cgroup/lab/cgroup.procs; exec '"$load"' misbehave 75 100000000 2000' &
bad=$!
for _ in $(seq 600); do
	[ "$(cat /sys/fs/cgroup/lab/cgroup.freeze)" = 0 ] || break
	usleep 100000
done
[ "$(cat /sys/fs/cgroup/lab/cgroup.freeze)" = 1 ] || fail "its group is not frozen"
[ "$(cat /sys/fs/cgroup/cgroup.freeze 2>/dev/null || echo 0)" = 0 ] || fail "all is frozen"
ctl shutdown || fail "not ended"
wait $agent
[ "$(cat /sys/fs/cgroup/lab/cgroup.freeze)" = 0 ] || fail "its group is frozen still"
kill $bad $served
if grep -q unaccounted /tmp/agent.err; then fail "records are unaccounted for"; fi
echo "NOTE its group frozen, and thawed at the agent's end"
