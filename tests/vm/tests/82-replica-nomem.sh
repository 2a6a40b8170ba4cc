#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# No memory, at every allocation of the two modules in turn: the Nth fails, for N = 1, 2, ... until none is left to fail.
# Loading, a volume created, one put together, a model handed over, a write, a hedged read, a leg that catches up; then
# anything under verified I/O. What fails says so and leaves nothing behind (all that was allocated is counted), no leg goes
# out, the same thing done again succeeds, and no block is lost. The modules are a build of their own, in which
# allocations go through a counter (kmod/test/fail_nth.h): stock kernels have fault injection off.
# needs: kernel:6.12 module:semantos_testdev module:dm-semantos-replica file:build/vm/*/failing/*.ko program:dmsetup
# needs: program:build/tests/vm/verifyio program:build/tests/vm/kmod
# required: 6.12
# timeout: 180

fail() { dmesg | tail -n 20; dmsetup status; cat /tmp/said; echo "$what, allocation $n: $*"; exit 1; }
modules=build/vm/$(uname -r)/failing
param=/sys/module/semantos/parameters
disk=/sys/module/semantos_testdev/parameters
mb=3
length=$(((mb - 1) * 2048))
spec="fixed:fast_us=20,write_us=20,jitter_pct=0,mb=$mb,cache=1"
table="0 $length semantos 1 2 /dev/semtest0 0 /dev/semtest1 0"
node() { rm -f /dev/mapper/v; ln -s "/dev/dm-$(dmsetup info -c --noheadings -o minor v)" /dev/mapper/v; }
synced() {
	i=100
	until dmsetup status v | grep -q " AA $((length / 64))/$((length / 64)) "; do
		i=$((i - 1))
		[ $i -gt 0 ] || return 1
		sleep 0.05
	done
}
live() { # until as many objects are left as there were: some go a moment later
	i=40
	until [ "$(cat $param/fail_live)" = "$1" ]; do
		i=$((i - 1))
		[ $i -gt 0 ] || fail "$(cat $param/fail_live) objects are left, $1 before"
		sleep 0.05
	done
}
# Do it with the Nth allocation failing, for each N, until it is done without. What failed is undone by `undo`.
sweep() { # what, command that may fail, command that undoes a success
	what=$1 n=0 failed=0
	base=$(cat $param/fail_live)
	while :; do
		n=$((n + 1))
		[ $n -lt 200 ] || fail "there is no end"
		echo $n >$param/fail_nth
		if "$2" >/tmp/said 2>&1; then done=1; else done=0; fi
		hit=$(cat $param/fail_hit)
		echo 0 >$param/fail_nth
		[ "$hit" = 1 ] || [ $done = 1 ] || fail "it failed though no allocation did"
		[ $done = 1 ] || failed=$((failed + 1))
		[ $done = 0 ] || "$3" >/tmp/said 2>&1 || fail "what was done cannot be undone"
		live "$base"
		[ "$hit" = 1 ] || break
	done
	echo "NOTE $what: $((n - 1)) allocations failed, one after the other; $failed made it fail"
}
nothing() { :; }

what=load n=0 failed=0
modprobe semantos_testdev devices="$spec,store=1;$spec,store=2" || fail "the test disks do not load"
modprobe dm-semantos-replica || fail "the usual modules do not load"
rmmod dm-semantos-replica semantos || fail "the usual modules do not leave"
while :; do
	n=$((n + 1))
	[ $n -lt 50 ] || fail "there is no end"
	if insmod "$modules/semantos.ko" fail_nth=$n 2>/tmp/said; then
		[ "$(cat $param/fail_hit)" = 1 ] || break
		rmmod semantos || fail "it does not leave"
	else
		failed=$((failed + 1))
		grep -q 'Cannot allocate memory' /tmp/said || fail "it says something else"
	fi
done
[ $failed -gt 0 ] || fail "no allocation failed"
echo 0 >$param/fail_nth
echo "NOTE load: $((n - 1)) allocations failed, one after the other; $failed made it fail"
insmod "$modules/dm-semantos-replica.ko" || fail "the target's module does not load"

create() { dmsetup create v --table "$table 3 create region_sectors 64"; }
wipe() {
	dmsetup info v >/dev/null 2>&1 && { synced && dmsetup remove v || return 1; }
	for i in 0 1; do dd if=/dev/zero of=/dev/semtest$i bs=4k count=2 oflag=direct 2>/dev/null || return 1; done
}
# Half made, a volume has superblocks already: it is wiped after each try.
created() { wipe && create; }
sweep "a volume created" created wipe

join() { dmsetup create v --table "$table 4 region_sectors 64 hedge_us 1000"; }
gone() { synced && dmsetup remove v; }
made() { wipe && create && gone; }
n=0
made || fail "no volume was created"
sweep "a volume put together" join gone

n=0
model() { build/tests/vm/kmod model; }
model || fail "no model is taken"
sweep "a model handed over" model nothing

n=0 bare=$(cat $param/fail_live)
join || fail "the volume does not come back"
node
write_one() { dd if=/tmp/block of=/dev/mapper/v bs=16k count=1 seek=100 oflag=direct conv=notrunc; }
read_one() { dd if=/dev/mapper/v of=/tmp/back bs=16k count=1 skip=100 iflag=direct; }
out() { dmsetup message v 0 fail 1; }
back() { dmsetup message v 0 resync 1; }
out_and_back() { out && back && synced; }
dd if=/dev/urandom of=/tmp/block bs=16k count=1 2>/dev/null
sweep "a write" write_one nothing
[ $failed -gt 0 ] || fail "no write failed, so nothing was tried"
# The first leg late, so that a second is asked; what cannot be hedged is read all the same.
echo 0:fast_us=200000 >$disk/change
echo 1:fast_us=200000 >$disk/change
same() { cmp /tmp/block /tmp/back; }
sweep "a hedged read" read_one same
[ $failed = 0 ] || fail "a read failed for want of memory"
echo 0:fast_us=20 >$disk/change
echo 1:fast_us=20 >$disk/change
sweep "a leg put out that catches up" out_and_back nothing
[ "$(dmsetup status v | cut -d' ' -f6)" = AA ] || fail "a leg is out"

# Under load: whatever comes to be the Nth.
what=load n=0 hits=0
tries=${SEMANTOS_SOAK:+1000}
tries=${tries:-60}
build/tests/vm/verifyio --blocks 256 --state /tmp/state82 --seconds 10000 --writers 2 --readers 2 --think-us 500 --errors-ok \
	/dev/mapper/v >/tmp/io 2>&1 &
load=$!
while [ $n -lt "$tries" ]; do
	n=$((n + 1))
	echo $((n * 7 % 23 + 1)) >$param/fail_nth
	[ $((n % 10)) -ne 5 ] || out
	[ $((n % 10)) -ne 8 ] || back
	sleep 0.05
	hits=$((hits + $(cat $param/fail_hit)))
	kill -0 $load 2>/dev/null || { cat /tmp/io; fail "the load ended"; }
done
echo 0 >$param/fail_nth
back 2>/dev/null
synced || fail "the legs do not come to be equal"
kill -TERM $load
wait $load
grep -q WRONG /tmp/io && { cat /tmp/io; fail "a wrong block was read"; }
build/tests/vm/verifyio --blocks 256 --state /tmp/state82 --check /dev/mapper/v >/tmp/said || fail "a block is lost"
[ $hits -gt $((tries / 2)) ] || fail "only $hits of $tries allocations failed under load"
echo "NOTE under verified I/O: $hits allocations failed"
dmsetup remove v || fail "the volume cannot be removed"
cmp -s /dev/semtest0 /dev/semtest1 1048576 1048576 || fail "the legs differ though they are said to be in sync"
live "$bare"
rmmod dm-semantos-replica || fail "the target's module does not leave"
i=0
until rmmod semantos 2>/dev/null; do
	i=$((i + 1))
	[ $i -lt 20 ] || fail "the module does not leave"
	sleep 0.1
done
rmmod semantos_testdev || fail "the test disks do not leave"
