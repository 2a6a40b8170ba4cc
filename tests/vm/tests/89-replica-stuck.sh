#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Three legs: one fails every read, one is full and answers none, one is slow but well. Reads that the first one failed go
# on to the third, also while others wait for the second to have room.
# needs: kernel:6.12 module:semantos_testdev module:dm-semantos-replica program:build/tests/vm/loadgen program:dmsetup
# required: 6.12
# timeout: 60

fail() { dmesg | tail -n 20; dmsetup status v; cat $param/state; echo "$*"; exit 1; }
param=/sys/module/semantos_testdev/parameters
spec="fixed:fast_us=100,jitter_pct=0,mb=8,backed=1"
reads() { dmsetup status v | cut -d' ' -f$((9 + $1)) | cut -d: -f3; } # sent to a leg
retried() { dmsetup status v | cut -d' ' -f12; }
modprobe semantos_testdev devices="$spec;$spec,depth=1;$spec,fast_us=20000" || exit 1
modprobe dm-semantos-replica || fail "the module does not load"
dmsetup create v --table "0 14336 semantos 1 3 /dev/semtest0 0 /dev/semtest1 0 /dev/semtest2 0 2 create assume_equal" ||
	fail "no volume was created"
rm -f /dev/mapper/v
ln -s "/dev/dm-$(dmsetup info -c --noheadings -o minor v)" /dev/mapper/v

echo 0:read_errors=4294967295 >$param/change
echo 1:hang=1 >$param/change
build/tests/vm/loadgen --depth 16 --seconds 8 /dev/mapper/v >/tmp/load &
load=$!
sleep 4
[ "$(sed -n 's/^semtest1 .*held=//p' $param/state)" = 1 ] || fail "leg 1 is not full"
served=$(reads 2) again=$(retried)
sleep 3
[ $(($(reads 2) - served)) -ge 30 ] || fail "leg 2 served $(($(reads 2) - served)) reads in three seconds"
[ $(($(retried) - again)) -ge 1 ] || fail "no read was sent again meanwhile"
echo "NOTE with a leg that is full and hangs: $(($(reads 2) - served)) reads in three seconds, $(($(retried) - again)) of them sent again"
echo 1:hang=0 >$param/change
wait $load || fail "reads failed"
echo 0:read_errors=0 >$param/change
dmsetup remove v || fail "the volume cannot be removed"
rmmod dm-semantos-replica || fail "the module does not leave"
rmmod semantos_testdev || fail "the test disks do not leave"
