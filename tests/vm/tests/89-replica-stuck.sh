#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Three legs: one fails every read, one is full and answers none, one is slow but well. Reads that the first one failed go
# on to the third, also while others wait for the second to have room. It is somebody else's read that fills the second, so
# that the volume counts nothing in flight there and sends it the first read that failed.
# needs: kernel:6.12 module:semantos_testdev module:dm-semantos-replica program:build/tests/vm/loadgen program:dmsetup
# required: 6.12
# timeout: 70

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
dd if=/dev/semtest1 of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null &
other=$!
i=0
until [ "$(sed -n 's/^semtest1 .*held=//p' $param/state)" = 1 ]; do
	i=$((i + 1))
	[ $i -le 50 ] || fail "leg 1 was not filled"
	sleep 0.1
done
build/tests/vm/loadgen --depth 16 --seconds 20 /dev/mapper/v >/tmp/load &
load=$!
sleep 4
[ "$(reads 1)" -ge 1 ] || fail "no read was sent to the leg that is full"
[ "$(sed -n 's/^semtest1 .*held=//p' $param/state)" = 1 ] || fail "leg 1 is not full"
# A machine may be slow; one where reads wait for the full leg never gets there.
served=$(reads 2) again=$(retried) i=0
until [ $(($(reads 2) - served)) -ge 30 ] && [ $(($(retried) - again)) -ge 1 ]; do
	i=$((i + 1))
	if [ $i -gt 100 ] || ! kill -0 $load 2>/dev/null; then fail "leg 2 served $(($(reads 2) - served)) reads, $(($(retried) - again)) were sent again"; fi
	sleep 0.1
done
[ "$(sed -n 's/^semtest1 .*held=//p' $param/state)" = 1 ] || fail "leg 1 is not full any more"
echo "NOTE with a leg that is full and hangs: $(($(reads 2) - served)) reads, $(($(retried) - again)) sent again, in $i waits of 0.1 s"
echo 1:hang=0 >$param/change
wait $load || fail "reads failed"
wait $other || fail "the read that filled the leg failed"
echo 0:read_errors=0 >$param/change
dmsetup remove v || fail "the volume cannot be removed"
rmmod dm-semantos-replica || fail "the module does not leave"
rmmod semantos_testdev || fail "the test disks do not leave"
