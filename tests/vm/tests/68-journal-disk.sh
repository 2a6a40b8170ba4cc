#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash disable=SC3043 # busybox has local
#
# The disk under the journal fills up, or turns read-only under the running agent, and the clock is set an hour ahead and
# two hours back: no change begins that cannot be recorded, what is in force is undone all the same, and recorded later.
# needs: program:build/semantos-agent program:build/semantosctl program:build/semantos-keeper
# needs: module:brd module:ext4 module:crc32c_generic? file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# elsewhere: soak
# timeout: 120

knob=/proc/sys/vm/swappiness disk=/mnt/state
agent=

fail() { tail -n 12 /tmp/agent.err; cat /tmp/answer; ctl history --dir $disk/safety; tail -n 4 /tmp/answer; echo "$*"; exit 1; }
ctl() { build/semantosctl "$@" >/tmp/answer 2>&1; }
apply() { # value, what, mode: on-breach is not undone when an emulated machine stops and the keeper thinks the agent silent
	ctl apply "sysctl:vm.swappiness=$1" --mode "${3:-auto}" --because "the lab asks" || fail "not applied: $1 ($2)"
	id=$(sed -n 's/^Change \([0-9]*\) .*/\1/p' /tmp/answer)
}
# Of mode auto, until it stands.
hold() { # value, what
	for _ in 1 2 3; do
		apply "$1" "$2"
		[ "$(cat $knob)" = "$1" ] && return
		build/semantosctl explain "$id" --dir $disk/safety | grep -q "the agent is silent" || break
	done
	fail "swappiness is $(cat $knob), not $1 ($2)"
}
refused() { ! ctl apply "sysctl:vm.swappiness=$1" --because "the lab asks" || fail "was applied: $1 ($2)"; is 60 "$2"; }
is() { [ "$(cat $knob)" = "$1" ] || fail "swappiness is $(cat $knob), not $1 ($2)"; }
start() {
	build/semantos-agent --quiet --state-dir $disk 2>>/tmp/agent.err &
	agent=$!
	for _ in $(seq 200); do ctl status && return; usleep 100000; done
	fail "the agent does not answer"
}
end() { kill "$agent"; wait "$agent" || fail "the agent ended badly ($1)"; }
killed() {
	kill -9 "$agent"
	wait "$agent" 2>/dev/null
	for _ in $(seq 1000); do [ "$(cat $knob)" = 60 ] && return; usleep 10000; done
	fail "not undone ($1)"
}
audit() {
	ctl recover --dir $disk/safety || fail "recovery failed ($1)"
	ctl audit --dir $disk/safety || fail "the journal is not intact ($1)"
	is 60 "$1"
}

[ "$(cat $knob)" = 60 ] || exit 1
mkdir -p /mnt /var/lib
modprobe crc32c_generic 2>/dev/null # ext4 asks for it, and a program that is not here would load it
modprobe brd rd_nr=1 rd_size=4096 && modprobe ext4 && mke2fs /dev/ram0 >/dev/null || exit 1
mount -t ext4 /dev/ram0 /mnt || exit 1

# Full: a change that is in force is undone, no other begins; with room again all is on record.
start
apply 10 "before the disk is full" on-breach
dd if=/dev/zero of=/mnt/fill bs=4096 >/dev/null 2>&1
ctl rollback "$id" || fail "not rolled back on a full disk"
is 60 "full"
n=0
until ! ctl apply sysctl:vm.swappiness=$((20 + n)) --mode on-breach --because "the lab asks"; do
	ctl rollback "$(sed -n 's/^Change \([0-9]*\) .*/\1/p' /tmp/answer)"
	n=$((n + 1))
	[ $n -lt 12 ] || break # there is room in the last block of the file
done
[ $n -ge 12 ] || is 60 "refused on a full disk"
echo "NOTE full disk: $n more changes fitted; then: $(head -n 1 /tmp/answer)"
end "full disk"
rm /mnt/fill
audit "full disk"

# Read-only under the agent's feet, with a change in force.
start
apply 11 "before the disk is read-only" on-breach
echo u >/proc/sysrq-trigger
for _ in $(seq 50); do touch /mnt/probe 2>/dev/null || break; usleep 100000; done
touch /mnt/probe 2>/dev/null && fail "the disk is not read-only"
ctl rollback "$id" || fail "not rolled back on a read-only disk"
is 60 "read-only"
refused 12 "read-only"
echo "NOTE read-only disk: $(head -n 1 /tmp/answer)"
killed "read-only disk"
mount -o remount,rw /mnt || fail "the disk cannot be made writable again"
audit "read-only disk"

# The same, and the agent is killed with the change in force: the keeper undoes it though it cannot record it.
start
hold 13 "before the disk is read-only again"
echo u >/proc/sysrq-trigger
for _ in $(seq 50); do touch /mnt/probe 2>/dev/null || break; usleep 100000; done
killed "keeper on a read-only disk"
mount -o remount,rw /mnt || fail "the disk cannot be made writable again"
audit "keeper on a read-only disk"

# The clock is set ahead and back under a change in force.
start
for shift in 3600 -7200 3600; do
	for try in 1 2 3; do
		hold $((30 + shift / 3600 + try)) "clock"
		date -s "@$(($(date +%s) + shift))" >/dev/null || fail "the clock cannot be set"
		usleep 1500000
		[ "$(cat $knob)" = $((30 + shift / 3600 + try)) ] && break
		build/semantosctl explain "$id" --dir $disk/safety | grep -q "the agent is silent" || fail "undone as the clock was set by $shift s"
		date -s "@$(($(date +%s) - shift))" >/dev/null
	done
	ctl rollback "$id" || fail "not rolled back after the clock was set by $shift s"
	is 60 "the clock was set by $shift s"
done
hold 40 "clock"
date -s "@$(($(date +%s) - 86400))" >/dev/null
killed "the clock was set back a day"
date -s "@$(($(date +%s) + 86400))" >/dev/null
audit "clock"
