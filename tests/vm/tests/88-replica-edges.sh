#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Replica volumes at their edges: legs that overlap are refused; the longest table is taken; copying does not flush for each
# region; a generation that no leg takes keeps its number however often it is tried, and the legs find together afterwards;
# a resume that failed leaves nothing behind for the next one.
# needs: kernel:6.12 module:semantos_testdev module:dm-semantos-replica program:dmsetup
# required: 6.12
# timeout: 90

fail() { dmesg | tail -n 20; dmsetup status v 2>/dev/null; echo "$*"; exit 1; }
param=/sys/module/semantos_testdev/parameters
all=4294967295
spec="fixed:fast_us=50,write_us=50,jitter_pct=0,cache=1"
length=14336 # of two legs of 8 MiB
two="semantos 1 2 /dev/semtest0 0 /dev/semtest1 0"
letters() { dmsetup status v | cut -d' ' -f6; }
equal_regions() { dmsetup status v | cut -d' ' -f7; }
generation() { dmsetup status v | cut -d' ' -f8; }
reads() { dmsetup status v | cut -d' ' -f$((9 + $1)) | cut -d: -f3; } # sent to a leg
flushes() { awk '{ print $16 }' /sys/block/semtest0/stat; }
node() { rm -f /dev/mapper/v; ln -s "/dev/dm-$(dmsetup info -c --noheadings -o minor v)" /dev/mapper/v; }
until_true() { # seconds, command...
	n=$(($1 * 10))
	shift
	until "$@"; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.1
	done
}
whole() { [ "$(letters)" = "$1" ] && [ "$(equal_regions)" = "$2/$2" ]; }
write_one() { dd if=/tmp/block of=/dev/mapper/v bs=4k count=1 oflag=direct conv=notrunc 2>/dev/null; }
wipe() { for i in "$@"; do dd if=/dev/zero of="/dev/semtest$i" bs=64k count=16 oflag=direct 2>/dev/null; done; }

modprobe semantos_testdev devices="$spec,mb=8;$spec,mb=8;$spec,mb=2;$spec,mb=2;$spec,mb=2;$spec,mb=2;$spec,mb=2;$spec,mb=2" || exit 1
modprobe dm-semantos-replica || fail "the module does not load"
dd if=/dev/urandom of=/tmp/block bs=4k count=1 2>/dev/null

# Two legs on one piece of a disk; on two pieces of it they are apart.
for at in 0 2048 4095; do
	dmsetup create v --table "0 2048 semantos 1 2 /dev/semtest0 $at /dev/semtest0 0 2 create assume_equal" 2>/dev/null &&
		fail "legs at 0 and $at of one disk were accepted, each of 4096 sectors"
done
dmesg | grep -q 'Two legs overlap' || fail "the refusal has no reason"
dmsetup create v --table "0 2048 semantos 1 2 /dev/semtest0 4096 /dev/semtest0 0 2 create assume_equal" || fail "legs that are apart were refused"
dmsetup remove v
wipe 0 1
dd if=/dev/zero of=/dev/semtest0 bs=64k seek=32 count=1 oflag=direct conv=notrunc 2>/dev/null

# Eight legs, seven of them to be filled, and every option beside.
legs=
for i in 0 1 2 3 4 5 6 7; do legs="$legs /dev/semtest$i 0"; done
dd if=/dev/urandom of=/dev/semtest0 bs=64k seek=16 count=16 oflag=direct conv=notrunc 2>/dev/null
dmsetup create v --table "0 2048 semantos 1 8$legs 4 create assume_equal region_sectors 64" || fail "no volume of eight was created"
dmsetup remove v
wipe 1 2 3 4 5 6 7
dmsetup create v --table "0 2048 semantos 1 8$legs 21 rebuild 1 rebuild 2 rebuild 3 rebuild 4 rebuild 5 rebuild 6 rebuild 7 \
degraded region_sectors 64 nowait_reject 64 hedge_us 0" || fail "a table with a rebuild of seven legs was refused"
until_true 20 whole AAAAAAAA 32 || fail "seven legs are not filled"
dmsetup remove v
for i in 1 2 3 4 5 6 7; do
	dd if=/dev/semtest$i bs=64k skip=16 count=16 iflag=direct 2>/dev/null >/tmp/leg
	dd if=/dev/semtest0 bs=64k skip=16 count=16 iflag=direct 2>/dev/null | cmp -s - /tmp/leg || fail "leg $i was not filled"
done

# A volume is made by copying leg 0, region by region, with all legs in sync.
wipe 0 1
before=$(flushes)
dmsetup create v --table "0 $length $two 3 create region_sectors 64" || fail "no volume was created"
node
until_true 30 whole AA 224 || fail "the legs do not come to be equal"
n=$(($(flushes) - before))
[ $n -gt 0 ] || fail "nothing was flushed, or nothing is counted"
[ $n -le 28 ] || fail "leg 0 was flushed $n times for 224 regions"
echo "NOTE 224 regions were copied with $n flushes"

# Leg 1 goes out, and the other takes no record of it: nothing can be written, and the number stays.
write_one || fail "a write failed"
was=$(generation)
echo 0:write_errors=$all >$param/change
dmsetup message v 0 fail 1 || fail "a leg could not be put out"
i=0
while [ $i -lt 60 ]; do
	i=$((i + 1))
	write_one && fail "a write was answered though no leg says that the other is out"
done
[ "$(generation)" = $((was + 1)) ] || fail "the generation went from $was to $(generation) in 60 tries"
echo 0:write_errors=0 >$param/change
write_one || fail "a write failed, once the record was taken"
[ "$(generation)" = $((was + 1)) ] || fail "the generation went from $was to $(generation)"
dmsetup remove v
dmsetup create v --table "0 $length $two 2 region_sectors 64" || fail "a leg is refused after many tries to put it out"
node
until_true 20 whole AA 224 || fail "the leg that was out does not catch up"

# Put together without leg 1, and nothing can be written; then with it.
dmsetup remove v
echo 0:write_errors=$all >$param/change
echo 1:read_errors=$all >$param/change
dmsetup create v --notable || fail "no device was made"
dmsetup load v --table "0 $length $two 3 degraded region_sectors 64" || fail "no table was loaded"
dmsetup resume v 2>/dev/null && fail "a volume was put together that takes no record"
echo 0:write_errors=0 >$param/change
echo 1:read_errors=0 >$param/change
dmsetup resume v || fail "the volume cannot be put together after a try that failed"
node
until_true 20 whole AA 224 || fail "the legs do not come to be in sync after a try that failed"
dd if=/dev/mapper/v of=/dev/null bs=4k count=64 iflag=direct 2>/dev/null || fail "reading failed"
for leg in 0 1; do
	[ "$(reads $leg)" -ge 16 ] || fail "leg $leg served $(reads $leg) of 64 reads"
done
dmsetup remove v
rmmod dm-semantos-replica || fail "the module does not leave"
rmmod semantos_testdev || fail "the test disks do not leave"
