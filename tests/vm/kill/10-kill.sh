#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the machine that tests/e2e/vm_kills.sh kills: checks what the volume holds against what was durable when the machine
# before this one was killed, makes the legs equal, checks again, and writes on until this one is killed too.
# needs: kernel:6.12 module:dm-semantos-replica program:build/tests/vm/verifyio program:dmsetup
# timeout: 300

fail() { dmesg | tail -n 30; dmsetup status; cat /tmp/said; echo "$*"; exit 1; }
say() { echo "$*" >/dev/ttyS1; }
# The disks are told apart by their serials; what is known of the blocks is memory that outlives the machine.
disk() { for d in /sys/block/vd*; do [ "$(cat "$d/serial")" = "$1" ] && echo "/dev/${d##*/}"; done; }
known=$(for d in /sys/bus/pci/devices/*; do [ "$(cat "$d/vendor") $(cat "$d/device")" = "0x1af4 0x1110" ] && echo "$d/resource2"; done)
leg0=$(disk leg0) leg1=$(disk leg1)
if [ -z "$leg0" ] || [ -z "$leg1" ] || [ -z "$known" ]; then fail "a disk, or the memory, is not there"; fi
length=$((7 * 2048))
table="0 $length semantos 1 2 $leg0 0 $leg1 0"
equal() {
	n=600
	until dmsetup status v | grep -q " AA $((length / 64))/$((length / 64)) "; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.05
	done
}
check() { # when, words
	when=$1
	shift
	build/tests/vm/verifyio --blocks 1024 --state "$known" --check --floor durable "$@" /dev/mapper/v >/tmp/said || fail "$when"
}

modprobe dm-semantos-replica || fail "the module does not load"
if grep -q first=1 /proc/cmdline; then
	dmsetup create v --table "$table 3 create region_sectors 64" || fail "no volume was created"
else
	dmsetup create v --table "$table 2 region_sectors 64" || fail "the legs are refused after the kill"
fi
rm -f /dev/mapper/v
ln -s "/dev/dm-$(dmsetup info -c --noheadings -o minor v)" /dev/mapper/v
found=$(dmesg | sed -n 's/.*replica: \(generation .*\)/\1/p' | tail -n 1)
check "right after the kill"
equal || fail "the legs do not come to be equal"
check "when the legs are equal again" --adopt
say "OUT kill: CHECKED ${found:-a new volume}"
if grep -q last=1 /proc/cmdline; then
	dmsetup remove v || fail "the volume cannot be removed"
	cmp -s "$leg0" "$leg1" 1048576 1048576 || fail "the legs differ though they are said to be in sync"
	exit 0
fi
build/tests/vm/verifyio --blocks 1024 --state "$known" --seconds 100000 --writers 3 --readers 1 --dsync-pct 20 --flush-every 20 \
	--think-us 500 /dev/mapper/v >/tmp/said 2>&1 &
load=$!
sleep 1
say "OUT kill: RUNNING"
while kill -0 $load 2>/dev/null; do # until the plug is pulled, legs go and come back
	dmsetup message v 0 fail 1
	sleep 0.3
	dmsetup message v 0 resync 1
	sleep 0.7
done
fail "the load ended"
