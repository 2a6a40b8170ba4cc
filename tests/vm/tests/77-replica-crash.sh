#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Loss of power at many points of a volume's life. Both legs have a write cache; at a moment under verified I/O, with
# resyncs and ejections under way, an image is taken of both at one instant: what was flushed, and a random part of
# what was not (a cache writes back in any order). A volume is put together from the image: every block must be no
# older than what was durable before the image and no newer than what was issued after it, also after the legs were
# made equal, which they must be then. The dropping is done by the test disk, not by cutting a machine's power.
# needs: kernel:6.12 module:semantos_testdev module:dm-semantos-replica program:build/tests/vm/verifyio program:dmsetup
# required: 6.12
# timeout: 240

points=$(sed -n 's/.*semantos\.crash_points=\([0-9]*\).*/\1/p' /proc/cmdline)
points=${points:-${SEMANTOS_SOAK:+500}}
points=${points:-12}
fail() { dmesg | tail -n 30; dmsetup status; echo "point $point: $*"; exit 1; }
param=/sys/module/semantos_testdev/parameters
mb=3
length=$(((mb - 1) * 2048))
spec="fixed:fast_us=20,write_us=20,jitter_pct=0,mb=$mb,cache=1"
node() { ln -s "/dev/dm-$(dmsetup info -c --noheadings -o minor "$1")" "/dev/mapper/$1"; }
equal() { # volume: until its legs are
	n=300
	until dmsetup status "$1" | grep -q " AA $((length / 64))/$((length / 64)) "; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.05
	done
}
check() { # volume, when
	build/tests/vm/verifyio --blocks 512 --state /tmp/bounds --check --floor durable "/dev/mapper/$1" >/tmp/said ||
		{ cat /tmp/said; fail "$2"; }
}

point=0
modprobe semantos_testdev devices="$spec,store=1;$spec,store=2" || fail "the test disks do not load"
modprobe dm-semantos-replica || fail "the module does not load"
dmsetup create v --table "0 $length semantos 1 2 /dev/semtest0 0 /dev/semtest1 0 3 create region_sectors 64" ||
	fail "no volume was created"
node v
mkfifo /tmp/in /tmp/answers
build/tests/vm/verifyio --blocks 512 --state /tmp/state77 --seconds 100000 --readers 0 --dsync-pct 20 --flush-every 20 \
	--think-us 200 --errors-ok /dev/mapper/v </tmp/in >/tmp/answers &
exec 8>/tmp/in 9</tmp/answers

behind=0 dirty=0
while [ $point -lt "$points" ]; do
	point=$((point + 1))
	# What the volume is in the midst of.
	case $((point % 5)) in
	1) echo 1:write_errors=1 >$param/change ;; # a leg goes out
	2) dmsetup message v 0 resync 1 ;; # comes back
	3) equal v || fail "the legs do not come to be equal" ;;
	4) dmsetup message v 0 fail 0 ;; # the other one
	0) dmsetup message v 0 resync 0 ;;
	esac
	[ $((point % 3)) -ne 0 ] || sleep 0.0$((point % 10))
	keep=$((point % 4 * 333333))
	echo "image $param/image $point:$keep:1=3,2=4 /tmp/bounds" >&8
	read -r answer <&9
	[ "$answer" = "done" ] || fail "no image was taken: $answer"
	echo "$spec,store=3" >$param/add || fail "the image of leg 0 cannot be used"
	echo "$spec,store=4" >$param/add || fail "the image of leg 1 cannot be used"
	dmsetup create c --table "0 $length semantos 1 2 /dev/semtest2 0 /dev/semtest3 0 2 region_sectors 64" ||
		fail "the legs are refused after a crash"
	[ -e /dev/mapper/c ] || node c # it gets the same number each time
	# What it found, in its own words; by now it may be mended.
	case $(dmesg | grep 'generation .* legs in sync' | tail -n 1) in
	*" 1 of 2 legs"*) behind=$((behind + 1)) ;;
	*" 0 of 64 regions"*) ;;
	*" 2 of 2 legs"*) dirty=$((dirty + 1)) ;;
	*) fail "it does not say what it found" ;;
	esac
	check c "right after the crash"
	equal c || fail "the legs do not come to be equal after the crash"
	check c "when the legs are equal again"
	dmsetup remove c
	cmp -s /dev/semtest2 /dev/semtest3 1048576 1048576 || fail "the legs differ though they are said to be in sync"
	echo 2 >$param/remove
	echo 3 >$param/remove
done
echo quit >&8
read -r answer <&9
echo "NOTE $points crash points: $behind with a leg behind, $dirty with writes under way; the load: $answer"
case $answer in *wrong=0) ;; *) fail "the load saw a wrong block" ;; esac
wait
dmsetup remove v
[ $behind -gt 0 ] || fail "no point met a leg that was behind"
[ $dirty -gt 0 ] || fail "no point met regions to copy"
rmmod dm-semantos-replica || fail "the module does not leave"
rmmod semantos_testdev || fail "the test disks do not leave"
