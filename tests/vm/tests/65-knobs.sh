#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash disable=SC3043 # busybox has local
#
# Real settings of this kernel under the running agent: sysctls, coupled ones, queue attributes, BLKRASET, huge pages,
# cgroup v2. Applied, read back, normalised, refused, rolled back, left alone where somebody else wrote; the agent is
# killed and stopped, the keeper killed, both killed and the unit's ExecStopPost= run as it stands there (by this
# script: there is no systemd in the lab).
# needs: program:build/semantos-agent program:build/semantosctl program:build/semantos-keeper
# needs: file:agent/install/semantos-agent.service.in file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# timeout: 240

vm=/proc/sys/vm queue=/sys/block/vda/queue thp=/sys/kernel/mm/transparent_hugepage/enabled cg=/sys/fs/cgroup/lab
agent=

fail() { tail -n 12 /tmp/agent.err; cat /tmp/answer; build/semantosctl history | tail -n 4; echo "$*"; exit 1; }
uptime_ms() { awk '{ printf "%d", $1 * 1000 }' /proc/uptime; }
ctl() { build/semantosctl "$@" >/tmp/answer 2>&1; }
apply() { ctl apply "$@" --because "the lab asks" || fail "not applied: $*"; id=$(sed -n 's/^Change \([0-9]*\) .*/\1/p' /tmp/answer); }
# Of mode auto, until it stands: an emulated machine may stop for so long that the keeper thinks the agent silent.
hold() { # file, value, knob=value...
	local file=$1 value=$2
	shift 2
	for _ in 1 2 3; do
		apply "$@"
		[ "$(cat "$file")" = "$value" ] && return
		build/semantosctl explain "$id" | grep -q "the agent is silent" || break
	done
	fail "$file reads $(cat "$file"), not $value"
}
refused() { ! ctl apply "$@" --because "the lab asks" || fail "was applied: $*"; }
is() { # file, value; a choice is the word in brackets
	local got
	got=$(sed 's/.*\[\(.*\)\].*/\1/' "$1")
	[ "$got" = "$2" ] || fail "$1 reads $got, not $2 ($3)"
}
until_is() { # file, value, what: how long that took
	local begin
	begin=$(uptime_ms)
	for _ in $(seq 1000); do
		if [ "$(cat "$1")" = "$2" ]; then
			echo "NOTE $3: undone after $(($(uptime_ms) - begin)) ms"
			return
		fi
		usleep 10000
	done
	fail "$1 still reads $(cat "$1"), not $2 ($3)"
}
keeper() { pidof semantos-keeper || grep -lx semantos-keeper /proc/[0-9]*/comm | sed 's|/proc/\([0-9]*\)/.*|\1|'; }
start() {
	build/semantos-agent --quiet 2>>/tmp/agent.err &
	agent=$!
	for _ in $(seq 200); do ctl status && return; usleep 100000; done
	fail "the agent does not answer"
}
gone() { kill -9 "$agent"; wait "$agent" 2>/dev/null; }
audit() { ctl audit || fail "the journal is not intact after: $1"; }

mkdir -p /var/lib /usr/bin "$cg"
ln -s /build/semantosctl /usr/bin/semantosctl
echo "+cpu +memory" >/sys/fs/cgroup/cgroup.subtree_control || exit 1
swappiness=$(cat $vm/swappiness) ratio=$(cat $vm/dirty_ratio) ra=$(cat $queue/read_ahead_kb) nr=$(cat $queue/nr_requests)
huge=$(sed 's/.*\[\(.*\)\].*/\1/' $thp)

# Eight at once. The kernel rounds memory.high to pages, sets dirty_ratio to 0, and would read 0200 as octal.
start
apply --mode on-breach sysctl:vm.swappiness=10 sysctl:vm.dirty_bytes=104857600 sysfs:block/vda/queue/read_ahead_kb=512 \
	sysfs:block/vda/queue/nr_requests=64 sysfs:kernel/mm/transparent_hugepage/enabled=never \
	cgroup:lab/cpu.weight=0200 cgroup:lab/memory.high=10000001
applied() {
	is $vm/swappiness 10 "$1" && is $vm/dirty_bytes 104857600 "$1" && is $vm/dirty_ratio 0 "$1"
	is $queue/read_ahead_kb 512 "$1" && is $queue/nr_requests 64 "$1" && is $thp never "$1"
	is $cg/cpu.weight 200 "$1" && is $cg/memory.high 9998336 "$1"
}
originals() {
	is $vm/swappiness "$swappiness" "$1" && is $vm/dirty_bytes 0 "$1" && is $vm/dirty_ratio "$ratio" "$1"
	is $queue/read_ahead_kb "$ra" "$1" && is $queue/nr_requests "$nr" "$1" && is $thp "$huge" "$1"
	is $cg/cpu.weight 100 "$1" && is $cg/memory.high max "$1"
}
applied "apply"
audit "apply"
ctl explain "$id" || fail "change $id is not explained"
grep -q "memory.high" /tmp/answer || fail "change $id is not explained in full"
ctl rollback "$id" || fail "not rolled back"
originals "rollback"

# A change of a policy: what is said of it is on record, and only an attached policy owns one.
refused --policy linnos sysctl:vm.swappiness=11
ctl attach linnos || fail "linnos is not attached"
apply --policy linnos --mode on-breach --evidence "a lab" --expect "an answer" sysctl:vm.swappiness=11
is $vm/swappiness 11 "a policy's change"
ctl keep "$id" --observed "as expected" || fail "the change is not kept"
ctl explain "$id" --json || fail "change $id is not explained"
for said in '"owner":"linnos"' '"state":"kept"' '"evidence":"a lab"' '"expected":"an answer"' '"observed":"as expected"'; do
	grep -q "$said" /tmp/answer || fail "explain does not say $said"
done
ctl rollback "$id" --observed "no more" || fail "not rolled back"
is $vm/swappiness "$swappiness" "a policy's change, undone"
ctl detach linnos || fail "linnos is not detached"

# One setting under two names is one knob.
apply --mode on-breach blkra:vda=1024
is $queue/read_ahead_kb 512 "BLKRASET"
refused sysfs:block/vda/queue/read_ahead_kb=256
ctl rollback "$id" || fail "BLKRASET is not rolled back"

# Another scheduler begins with as many requests as it likes, on the way back too: what stood before is set again.
scheduler=$(sed 's/.*\[\(.*\)\].*/\1/' $queue/scheduler)
another=none
[ "$scheduler" != none ] || another=mq-deadline
# What it likes goes by the disk's tags: so an undo that was stopped between the two is told from somebody's wish.
tags=$(cat /sys/block/vda/mq/0/nr_tags)
twice=$((tags < 128 ? 2 * tags : 256))
echo none >$queue/scheduler
echo 60 >$queue/nr_requests
echo mq-deadline >$queue/scheduler || exit 1
is $queue/nr_requests $twice "nr_requests of a scheduler, with $tags tags"
echo none >$queue/scheduler
is $queue/nr_requests "$tags" "nr_requests of none"
echo "$scheduler" >$queue/scheduler
echo 60 >$queue/nr_requests || exit 1
apply --mode on-breach sysfs:block/vda/queue/scheduler=$another
is $queue/scheduler $another "scheduler"
echo "NOTE scheduler $scheduler -> $another: nr_requests 60 -> $(cat $queue/nr_requests)"
refused sysfs:block/vda/queue/nr_requests=64
ctl rollback "$id" || fail "the scheduler is not rolled back"
is $queue/scheduler "$scheduler" "scheduler, rolled back"
is $queue/nr_requests 60 "nr_requests after the scheduler was rolled back"
apply --mode on-breach sysfs:block/vda/queue/scheduler=$another sysfs:block/vda/queue/nr_requests=48
is $queue/nr_requests 48 "nr_requests with the scheduler"
ctl rollback "$id" || fail "the scheduler is not rolled back"
is $queue/scheduler "$scheduler" "both, rolled back"
is $queue/nr_requests 60 "both, rolled back"
echo "$nr" >$queue/nr_requests

# What the kernel or the table refuses leaves nothing behind, the knob written before it included.
refused sysctl:vm.swappiness=11 sysfs:block/vda/queue/nr_requests=10240
refused sysctl:vm.swappiness=201
refused sysctl:vm.overcommit_memory=2
refused sysctl:vm.swappiness=11 sysfs:block/nosuch/queue/nr_requests=64
originals "refusals"

# The agent is killed.
hold $queue/read_ahead_kb 1024 blkra:vda=2048 sysctl:vm.dirty_ratio=41
gone
until_is $queue/read_ahead_kb "$ra" "agent killed, BLKRASET"
until_is $vm/dirty_ratio "$ratio" "agent killed, dirty_ratio"
audit "SIGKILL"

# Stopped: undone. It wakes, knows, and changes again; then somebody else writes one of two knobs.
start
hold $vm/swappiness 20 sysctl:vm.swappiness=20 cgroup:lab/memory.high=20000000
kill -STOP "$agent"
until_is $vm/swappiness "$swappiness" "agent stopped"
until_is $cg/memory.high max "agent stopped, memory.high"
kill -CONT "$agent"
usleep 300000
apply --mode on-breach sysctl:vm.swappiness=21 cgroup:lab/cpu.weight=300
echo 33 >$vm/swappiness
ctl rollback "$id" || fail "not rolled back"
grep -q "somebody else changed it" /tmp/answer || fail "nothing is said of the third party"
is $vm/swappiness 33 "third party"
is $cg/cpu.weight 100 "third party's neighbour"
echo "$swappiness" >$vm/swappiness

# A cgroup that goes takes its setting along.
mkdir $cg-2
apply --mode on-breach cgroup:lab-2/cpu.weight=50
rmdir $cg-2
ctl rollback "$id" || fail "a cgroup that is gone was not let go"
grep -q "is gone" /tmp/answer || fail "nothing is said of the cgroup that is gone"

# never: stays when the agent is killed and when another comes, ends when asked.
apply --mode never sysctl:vm.swappiness=40
never=$id
gone
start
is $vm/swappiness 40 "mode never"
hold $vm/dirty_expire_centisecs 2000 sysctl:vm.dirty_expire_centisecs=2000
first=$(keeper)
[ -n "$first" ] || fail "there is no keeper"
kill -9 "$first"
second=
for _ in $(seq 100); do
	second=$(keeper | grep -vx "$first")
	[ -z "$second" ] || break
	usleep 100000
done
[ -n "$second" ] || fail "the keeper was not started anew"
gone
until_is $vm/dirty_expire_centisecs 3000 "keeper killed, started anew, then agent killed"
is $vm/swappiness 40 "mode never, once more"
audit "keeper killed"

# Both at once: the unit's ExecStopPost, word for word.
start
background=$(cat $vm/dirty_background_ratio)
hold $vm/dirty_expire_centisecs 2500 sysctl:vm.dirty_expire_centisecs=2500 sysctl:vm.dirty_background_ratio=15
# Found before anything is stopped: on a busy machine the search takes longer than the keeper's patience.
keeper=$(keeper)
kill -STOP "$keeper" "$agent"
kill -9 "$keeper"
gone
usleep 300000
is $vm/dirty_expire_centisecs 2500 "both killed"
post=$(sed -n 's/^ExecStopPost=+//p' agent/install/semantos-agent.service.in | sed 's|@PREFIX@|/usr|g')
[ -n "$post" ] || fail "the unit has no ExecStopPost"
$post >/tmp/answer 2>&1 || fail "'$post' ended with $?"
is $vm/dirty_expire_centisecs 3000 "$post"
is $vm/dirty_background_ratio "$background" "$post"
is $vm/swappiness 40 "$post leaves mode never"
echo "NOTE agent and keeper killed: $post: $(tail -n 1 /tmp/answer)"
ctl rollback "$never" || fail "mode never is not rolled back without an agent"
originals "the end"
audit "the end"
