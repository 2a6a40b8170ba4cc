#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# semantosctl volume, from two files to a volume and back: what carries a signature is refused unless named, a used disk is
# refused, a volume is started again in any order of its legs, legs that were written apart are refused until one is
# given up, and a leg that is missing has to be admitted.
# needs: kernel:6.12 program:build/semantosctl program:build/tests/vm/verifyio program:dmsetup module:dm-semantos-replica
# needs: module:loop
# required: 6.12
# timeout: 90

fail() { dmesg | tail -n 8; dmsetup status; cat /tmp/said; echo "$*"; exit 1; }
volume() { build/semantosctl volume "$@" >/tmp/said 2>&1; }
refused() { # exit code, words of the sentence, command...
	want=$1 words=$2
	shift 2
	volume "$@"
	code=$?
	[ $code -eq "$want" ] || fail "exit $code instead of $want: volume $*"
	grep -q -- "$words" /tmp/said || fail "it does not say '$words': volume $*"
}
state() { # volume, leg: its state
	build/semantosctl volume status "$1" --json | tr -d ' ' | sed -n "s/.*{\"leg\":$2,\"state\":\"\([a-z]*\)\".*/\1/p"
}
in_sync() { # volume
	n=100
	until [ "$(state "$1" 0)$(state "$1" 1)" = insyncinsync ]; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.1
	done
}
node() { rm -f "/dev/mapper/$1"; ln -s "/dev/dm-$(dmsetup info -c --noheadings -o minor "$1")" "/dev/mapper/$1"; }
io() { build/tests/vm/verifyio --blocks 256 --state "/tmp/$1" "/dev/mapper/$2" --seconds 1 >/tmp/said || fail "I/O on $2"; }
check() { build/tests/vm/verifyio --blocks 256 --state "/tmp/$1" --check "/dev/mapper/$2" >/tmp/said || fail "$3"; }

modprobe loop max_loop=4 || exit 1
for i in 0 1 2; do
	truncate -s 8M /tmp/file$i || exit 1
	losetup /dev/loop$i /tmp/file$i || exit 1
done
# A swap area: a signature that busybox can make.
mkswap /dev/loop1 >/dev/null || exit 1

refused 2 "something is missing" create v
refused 6 "carries swap" create v /dev/loop0 /dev/loop1
refused 2 "names none" create v /dev/loop0 /dev/loop1 --wipe /dev/loop2
refused 6 "no block device" create v /dev/loop0 /tmp/file2
refused 10 "No such file" create v /dev/loop0 /dev/nothing
volume create v /dev/loop0 /dev/loop1 --wipe /dev/loop1 --region-kib 64 || fail "no volume was created"
node v
in_sync v || fail "the legs do not come to be in sync"
io a v
refused 5 "in use" create w /dev/loop0 /dev/loop2
volume status || fail "no status"
grep -q "in sync" /tmp/said || fail "the status says nothing"
refused 10 "no volume" status nobody
volume remove v || fail "the volume is not removed"
refused 6 "carries a leg of a replica volume" create w /dev/loop0 /dev/loop2
refused 6 "no leg of a replica volume" start v /dev/loop0 /dev/loop2

# Legs in any order; one alone only when that is said.
volume start v /dev/loop1 /dev/loop0 || fail "the volume does not start"
node v
check a v "after a start"
volume remove v || fail "the volume is not removed"
refused 6 "1 of 2 legs are missing" start v /dev/loop0
volume start v /dev/loop0 --degraded || fail "one leg does not start"
node v
check a v "on one leg"
cp /tmp/a /tmp/b # what is written now, only leg 0 has
io a v
volume remove v

# The other leg is behind: it catches up by itself.
volume start v /dev/loop0 /dev/loop1 || fail "a leg that is behind is refused"
node v
in_sync v || fail "the leg that was behind does not catch up"
check a v "after catching up"
volume remove v
cp /tmp/a /tmp/b

# Written apart: refused, and each alone is whole; the operator gives one up.
for leg in 0 1; do
	volume start v$leg /dev/loop$leg --degraded || fail "leg $leg does not start alone"
	node v$leg
	if [ $leg = 0 ]; then io a v0; else io b v1; fi
	volume remove v$leg
done
volume start v /dev/loop0 /dev/loop1 && fail "legs that were written apart were joined"
dmesg | grep -q "has a history of its own" || fail "the kernel does not say why"
dmsetup info v >/dev/null 2>&1 && dmsetup remove v
volume start v /dev/loop0 /dev/loop1 --rebuild /dev/loop1 || fail "a leg cannot be given up"
node v
in_sync v || fail "the leg that was given up is not filled"
check a v "after one of two histories was chosen"
volume remove v

# A blank disk in the place of a leg.
refused 6 "no leg of a replica volume" start v /dev/loop0 /dev/loop2
volume start v /dev/loop0 /dev/loop2 --rebuild /dev/loop2 || fail "a blank disk cannot take a leg's place"
node v
in_sync v || fail "the blank disk is not filled"
volume remove v
refused 1 "Device-mapper refused" start v /dev/loop0 /dev/loop1 # stale: the volume went on without it
dmsetup info v >/dev/null 2>&1 && dmsetup remove v
refused 2 "hedge-us takes" start v /dev/loop2 /dev/loop0 --hedge-us never
volume start v /dev/loop2 /dev/loop0 --hedge-us 50000 --nowait-reject 9 || fail "the new pair does not start"
dmsetup table v | grep -q 'nowait_reject 9 hedge_us 50000$' || fail "the table is $(dmsetup table v)"
node v
check a v "on the new pair"
volume remove v
cmp -s /tmp/file0 /tmp/file2 1048576 1048576 || fail "the legs differ"
rmmod dm-semantos-replica || fail "the module does not leave"
