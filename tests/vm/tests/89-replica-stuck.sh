#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Three legs: one fails every read, one is full and answers none, one is slow but well. Reads that the first one failed go
# on to the third, also while others wait for the second to have room. First fifteen reads are held, five on each leg; somebody
# else's read has filled the second. Then the first fails its five, which are shared between the others, and the third answers:
# all it was sent, whatever waits for the second. Then the same under load.
# needs: kernel:6.12 module:semantos_testdev module:dm-semantos-replica program:build/tests/vm/loadgen program:dmsetup
# required: 6.12
# timeout: 120

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

answered() { find /tmp/back -type f | wc -l; }
held() { sed -n "s/^semtest$1 .*held=//p" $param/state; }
in_state() { # what is expected: held by each leg, reads answered
	i=0
	until [ "$(held 0) $(held 1) $(held 2) $(answered)" = "$1" ]; do
		i=$((i + 1))
		[ $i -le 100 ] || fail "held by the legs, and reads answered: $(held 0) $(held 1) $(held 2) $(answered), not $1"
		sleep 0.1
	done
}
mkdir /tmp/back
for leg in 0 1 2; do echo $leg:hang=1 >$param/change; done
dd if=/dev/semtest1 of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null &
other=$!
in_state "0 1 0 0"
readers=
for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
	(dd if=/dev/mapper/v of=/dev/null bs=4096 count=1 skip=$n iflag=direct 2>/dev/null && : >/tmp/back/$n) &
	readers="$readers $!"
done
in_state "5 1 5 0"
[ "$(reads 1)" = 5 ] || fail "leg 1 has not got five"
echo 0:read_errors=4294967295 >$param/change
echo 0:hang=0 >$param/change
i=0
until [ "$(retried)" = 5 ]; do
	i=$((i + 1))
	[ $i -le 100 ] || fail "leg 0 did not fail its reads"
	sleep 0.1
done
echo 2:hang=0 >$param/change
i=0
until [ "$(answered)" -ge 7 ]; do
	i=$((i + 1))
	[ $i -le 100 ] || fail "of 5 reads sent again $(($(reads 2) - 5)) went to the leg that is well, $(answered) reads are answered"
	sleep 0.1
done
[ "$(held 1)" = 1 ] || fail "leg 1 is not full any more"
echo "NOTE of 15 reads $(answered) were answered while leg 1 was full; $(($(reads 2) - 5)) of 5 sent again went to leg 2"
echo 1:hang=0 >$param/change
for pid in $other $readers; do wait "$pid" || fail "a read failed"; done

echo 1:hang=1 >$param/change
build/tests/vm/loadgen --depth 16 --seconds 20 /dev/mapper/v >/tmp/load &
load=$!
sleep 4
[ "$(held 1)" = 1 ] || fail "leg 1 is not full"
# A machine may be slow; one where reads wait for the full leg never gets there.
served=$(reads 2) again=$(retried) i=0
until [ $(($(reads 2) - served)) -ge 30 ] && [ $(($(retried) - again)) -ge 1 ]; do
	i=$((i + 1))
	if [ $i -gt 100 ] || ! kill -0 $load 2>/dev/null; then fail "leg 2 served $(($(reads 2) - served)) reads, $(($(retried) - again)) were sent again"; fi
	sleep 0.1
done
[ "$(held 1)" = 1 ] || fail "leg 1 is not full any more"
echo "NOTE with a leg that is full and hangs: $(($(reads 2) - served)) reads, $(($(retried) - again)) sent again, in $i waits of 0.1 s"
echo 1:hang=0 >$param/change
wait $load || fail "reads failed"
echo 0:read_errors=0 >$param/change
dmsetup remove v || fail "the volume cannot be removed"
rmmod dm-semantos-replica || fail "the module does not leave"
rmmod semantos_testdev || fail "the test disks do not leave"
