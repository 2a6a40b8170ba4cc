#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Reads that must not wait (preadv2 with RWF_NOWAIT): served while the legs are free, refused with EAGAIN while each has
# as many requests in flight as the table allows, served again afterwards. A leg that cannot refuse is no leg of such a
# volume. The default spreads reads over the legs.
# needs: kernel:6.12 module:semantos_testdev module:dm-semantos-replica module:dm-delay program:build/tests/vm/nowaitread
# needs: program:build/tests/vm/loadgen program:dmsetup
# required: 6.12
# timeout: 60

fail() { dmsetup status v; echo "$*"; exit 1; }
param=/sys/module/semantos_testdev/parameters
length=14336
node() { rm -f "/dev/mapper/$1"; ln -s "/dev/dm-$(dmsetup info -c --noheadings -o minor "$1")" "/dev/mapper/$1"; }
read_some() { build/tests/vm/nowaitread "$1" /dev/mapper/v >/tmp/said || fail "the reads could not be tried"; }

modprobe semantos_testdev devices="fixed:fast_us=500,mb=8,backed=1;fixed:fast_us=500,mb=8,backed=1" || exit 1
modprobe dm-semantos-replica || fail "the module does not load"
modprobe dm-delay || exit 1
dmsetup create slow --table "0 16384 delay /dev/semtest1 0 1" || exit 1
node slow
dmsetup create v --table "0 $length semantos 1 2 /dev/semtest0 0 /dev/mapper/slow 0 4 create assume_equal nowait_reject 2" 2>/dev/null &&
	fail "a leg that cannot refuse to wait was accepted"
dmesg | grep -q 'nowait_reject needs legs that can refuse to wait' || fail "the refusal has no reason"
dmsetup remove slow
dmsetup create v --table "0 $length semantos 1 2 /dev/semtest0 0 /dev/semtest1 0 4 create assume_equal nowait_reject 2" ||
	fail "no volume was created"
node v
dmsetup table v | grep -q 'nowait_reject 2$' || fail "the table is $(dmsetup table v)"

read_some 100
grep -q '^ok=100 again=0 other=0' /tmp/said || fail "with free legs: $(cat /tmp/said)"

echo 0:hang=1 >$param/change
echo 1:hang=1 >$param/change
build/tests/vm/loadgen --depth 4 --seconds 1 /dev/mapper/v >/tmp/load &
load=$!
sleep 1
[ "$(sed -n 's/^semtest0 .*held=//p' $param/state) $(sed -n 's/^semtest1 .*held=//p' $param/state)" = "2 2" ] ||
	fail "four reads are not spread over two legs: $(cat $param/state)"
read_some 200
grep -q '^ok=0 again=200 other=0' /tmp/said || fail "with full legs: $(cat /tmp/said)"
echo "NOTE 200 reads refused: $(cat /tmp/said)"
dmsetup status v | grep -q ' 0 200 0 0$' || fail "the refused are not counted: $(dmsetup status v)"
echo 0:hang=0 >$param/change
echo 1:hang=0 >$param/change
wait $load || fail "the held reads failed"
read_some 100
grep -q '^ok=100 again=0 other=0' /tmp/said || fail "with legs that are free again: $(cat /tmp/said)"
dmsetup remove v
rmmod dm-semantos-replica || fail "the module does not leave"
rmmod semantos_testdev || fail "the test disks do not leave"
