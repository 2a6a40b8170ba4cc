#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Three legs under verified I/O, and everything at once: failing reads, writes and flushes, legs put out and brought back,
# short hangs, suspends with and without flushing, tables loaded anew, the new ones hedging reads. At the end all legs
# catch up and are equal, and every block is what was acknowledged. The events follow from a seed, which is printed.
# needs: kernel:6.12 module:semantos_testdev module:dm-semantos-replica program:build/tests/vm/verifyio program:dmsetup
# required: 6.12
# timeout: 180

seed=$(sed -n 's/.*semantos\.seed=\([0-9]*\).*/\1/p' /proc/cmdline)
seed=${seed:-2} # the one that found a region whose writes waited for ever
events=$(sed -n 's/.*semantos\.events=\([0-9]*\).*/\1/p' /proc/cmdline)
events=${events:-40}
fail() { dmesg | tail -n 30; dmsetup status v; cat $param/state; cat /tmp/io; echo "seed $seed, event $event ($what): $*"; exit 1; }
param=/sys/module/semantos_testdev/parameters
mb=5
length=$(((mb - 1) * 2048))
spec="fixed:fast_us=40,write_us=40,mb=$mb,cache=1"
table="0 $length semantos 1 3 /dev/semtest0 0 /dev/semtest1 0 /dev/semtest2 0 4 region_sectors 64 hedge_us 1000"
rng=$seed
draw() { rng=$(((rng * 1103515245 + 12345) % 2147483648)); n=$((rng / 65536 % $1)); } # n: 0 to $1 - 1
equal() {
	i=300
	until dmsetup status v | grep -q " AAA $((length / 64))/$((length / 64)) "; do
		i=$((i - 1))
		[ $i -gt 0 ] || return 1
		for leg in 0 1 2; do dmsetup message v 0 resync $leg; done 2>/dev/null
		sleep 0.1
	done
}

event=0 what=none
modprobe semantos_testdev devices="$spec,store=1;$spec,store=2;$spec,store=3" || fail "the test disks do not load"
modprobe dm-semantos-replica || fail "the module does not load"
dmsetup create v --table "0 $length semantos 1 3 /dev/semtest0 0 /dev/semtest1 0 /dev/semtest2 0 4 create assume_equal region_sectors 64" ||
	fail "no volume was created"
[ -e /dev/mapper/v ] || ln -s "/dev/dm-$(dmsetup info -c --noheadings -o minor v)" /dev/mapper/v
build/tests/vm/verifyio --blocks 1024 --state /tmp/state79 --seconds 1000 --writers 3 --readers 2 --think-us 500 --errors-ok \
	--flush-every 30 /dev/mapper/v >/tmp/io 2>&1 &
load=$!
while [ $event -lt "$events" ]; do
	event=$((event + 1))
	draw 3
	leg=$n
	draw 10
	what="$n on leg $leg"
	case $n in
	0) echo $leg:write_errors=2 >$param/change ;;
	1) echo $leg:flush_errors=1 >$param/change ;;
	2) echo $leg:read_errors=20 >$param/change ;;
	3 | 4 | 5) dmsetup message v 0 resync $leg 2>/dev/null ;;
	6) dmsetup message v 0 fail $leg 2>/dev/null ;;
	7)
		echo $leg:hang=3 >$param/change
		sleep 0.3
		echo $leg:hang=0 >$param/change
		;;
	8)
		dmsetup suspend v || fail "the volume cannot be suspended"
		dmsetup resume v || fail "the volume cannot be resumed"
		;;
	9)
		# Who puts a volume together must be able to read all of its superblocks.
		for leg in 0 1 2; do echo $leg:read_errors=0 >$param/change; done
		dmsetup reload v --table "$table" || fail "the table cannot be loaded anew"
		dmsetup suspend --noflush v || fail "the volume cannot be suspended without flushing"
		dmsetup resume v || fail "the volume cannot be resumed with a new table"
		;;
	esac
	kill -0 $load 2>/dev/null || fail "the load ended"
	draw 3
	sleep 0.$n
done
for leg in 0 1 2; do echo $leg:hang=0,write_errors=0,flush_errors=0,read_errors=0 >$param/change; done
equal || fail "the legs do not come to be equal"
kill -TERM $load
wait $load
grep -q WRONG /tmp/io && fail "a wrong block was read"
build/tests/vm/verifyio --blocks 1024 --state /tmp/state79 --check /dev/mapper/v >/tmp/said || { cat /tmp/said; fail "a block is lost"; }
equal || fail "the legs are not equal at the end"
status=$(dmsetup status v)
dmsetup remove v
for leg in 1 2; do
	cmp -s /dev/semtest0 /dev/semtest$leg 1048576 1048576 || fail "legs 0 and $leg differ though they are said to be in sync"
done
echo "NOTE seed $seed, $events events; generation $(echo "$status" | cut -d' ' -f8)"
rmmod dm-semantos-replica || fail "the module does not leave"
rmmod semantos_testdev || fail "the test disks do not leave"
