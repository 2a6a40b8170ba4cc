#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A policy decides for a volume under verified I/O, and misbehaves: it answers nonsense and asks for hedges by chance, is
# replaced again and again, loses its lease, is killed, while legs fail, hang, vanish and return. No block is wrong, no
# call fails, decisions add up, and neither module leaves before its time, nor stays after it.
# needs: kernel:6.12 module:semantos module:semantos_blkcall module:semantos_testdev module:dm-semantos-replica
# needs: program:build/tests/vm/kmod file:build/tests/vm/kmod*.bpf.o program:build/tests/vm/verifyio program:dmsetup
# required: 6.12
# timeout: 150

fail() { dmesg | tail -n 20; dmsetup status; grep '^volume' $state; cat /tmp/io; echo "$*"; exit 1; }
param=/sys/module/semantos_testdev/parameters
state=/sys/module/semantos/parameters/state
mb=5
length=$(((mb - 1) * 2048))
spec="fixed:fast_us=50,write_us=50,mb=$mb,cache=1"
rounds=${SEMANTOS_SOAK:+1000}
rounds=${rounds:-30}
node() { rm -f /dev/mapper/v; ln -s "/dev/dm-$(dmsetup info -c --noheadings -o minor v)" /dev/mapper/v; }
figure() { # key: of the volume
	sed -n "s/^volume .* name=$dm .* $1=\([0-9]*\).*/\1/p" $state
}
equal() {
	i=200
	until dmsetup status v | grep -q " AAA $((length / 64))/$((length / 64)) "; do
		i=$((i - 1))
		[ $i -gt 0 ] || return 1
		sleep 0.1
	done
}
kmod() { # words: as in 71-kmod-policy, but now there is a volume as well
	build/tests/vm/kmod "$@" >/tmp/kmod.out || { cat /tmp/kmod.out; fail "kmod $*: $(tail -n 1 /tmp/kmod.out)"; }
	kill -0 $load 2>/dev/null || fail "the load ended during kmod $*"
}
faults() { # round after round, until the file is gone
	n=0
	while [ -e /tmp/faults ]; do
		n=$((n + 1))
		leg=$((n % 3))
		case $((n % 4)) in
		0) echo $leg:read_errors=5 >$param/change ;;
		1) echo $leg:hang=1 >$param/change ;;
		2) dmsetup message v 0 fail $leg ;;
		3) dmsetup message v 0 resync $(((n - 1) % 3)) ;;
		esac 2>/dev/null
		sleep 0.2
		echo $leg:hang=0,read_errors=0 >$param/change
	done
}

: >/tmp/io
modprobe semantos || fail "semantos does not load"
# First, so that its figures are the ones that kmod looks at.
modprobe semantos_blkcall || fail "the caller does not load"
modprobe semantos_testdev devices="$spec,store=1;$spec,store=2;$spec,store=3" || fail "the test disks do not load"
modprobe dm-semantos-replica || fail "the target's module does not load"
dmsetup create v --table "0 $length semantos 1 3 /dev/semtest0 0 /dev/semtest1 0 /dev/semtest2 0 6 create assume_equal region_sectors 64 hedge_us 0" ||
	fail "no volume was created"
node
dm=$(sed -n 's/^volume .* name=\([^ ]*\) .*/\1/p' $state | tail -n 1)
build/tests/vm/verifyio --blocks 1024 --state /tmp/state85 --seconds 100000 --writers 2 --readers 3 --think-us 500 \
	/dev/mapper/v >/tmp/io 2>&1 &
load=$!

kmod nonsense
[ "$(figure bad_leg)" -gt 0 ] || fail "the volume's reads met no nonsense"
[ "$(figure bad_hedge)" = 0 ] || fail "a hedge that the kfunc refuses came through"
asked=$(dmsetup status v | awk '{ print $(NF - 3) }')
: >/tmp/faults
faults &
kmod replace "$rounds"
kmod lease
rm /tmp/faults
wait $!
# Killed in the midst of it: its link goes with it, and so does the policy.
build/tests/vm/kmod replace 1000000 >/dev/null &
holder=$!
i=100
while [ "$(cat /sys/module/semantos/parameters/holder)" = none ]; do
	i=$((i - 1))
	[ $i -gt 0 ] || fail "no policy is attached"
	sleep 0.1
done
rmmod semantos 2>/dev/null && fail "the module left under a policy and a volume"
kill -9 $holder
i=100
until [ "$(cat /sys/module/semantos/parameters/holder)" = none ]; do
	i=$((i - 1))
	[ $i -gt 0 ] || fail "the policy outlived who attached it"
	sleep 0.1
done
# A leg vanishes with a policy just gone, and returns.
echo 2 >$param/remove || fail "a leg cannot vanish"
sleep 1
kill -0 $load 2>/dev/null || fail "the load ended when a leg vanished"
kill -TERM $load
wait $load
grep -q WRONG /tmp/io && fail "a wrong block was read"
grep -q FAILED /tmp/io && fail "a call failed"
build/tests/vm/verifyio --blocks 1024 --state /tmp/state85 --check /dev/mapper/v >/tmp/said || { cat /tmp/said; fail "a block is lost"; }
total=$(($(figure obeyed) + $(figure one_leg) + $(figure no_leg) + $(figure no_policy) + $(figure no_lease) + $(figure deferred) + $(figure bad_leg)))
[ "$(figure decisions)" = $total ] || fail "$(figure decisions) decisions, of which $total are accounted for"
echo "NOTE $(figure decisions) decisions for the volume: $(figure obeyed) obeyed, $(figure bad_leg) nonsense, $(figure no_lease) without a lease; $asked second legs asked for by chance; $rounds replacements"
dmsetup remove v || fail "the volume cannot be removed"
echo "$spec,store=3" >$param/add || fail "the leg does not return"
dmsetup create v --table "0 $length semantos 1 3 /dev/semtest0 0 /dev/semtest1 0 /dev/semtest2 0 2 region_sectors 64" ||
	fail "the leg that returned is refused"
node
equal || fail "the leg that returned does not catch up"
build/tests/vm/verifyio --blocks 1024 --state /tmp/state85 --check /dev/mapper/v >/tmp/said || { cat /tmp/said; fail "a block is lost at the end"; }
rmmod semantos_blkcall || fail "the caller does not leave"
rmmod dm-semantos-replica 2>/dev/null && fail "the target's module left under a volume"
rmmod semantos 2>/dev/null && fail "the module left under its user"
dmsetup remove v
rmmod dm-semantos-replica || fail "the target's module does not leave"
i=50
until rmmod semantos 2>/dev/null; do
	i=$((i - 1))
	[ $i -gt 0 ] || fail "the module does not leave: $(rmmod semantos 2>&1)"
	sleep 0.1
done
rmmod semantos_testdev || fail "the test disks do not leave"
