#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# dm-log-writes records every write to the legs of a volume under verified I/O, with legs going out and coming back; then
# the record is replayed to marks of a flush or of a write that was forced to the medium, and a volume is put together from
# what is there: no block older than what was durable then or newer than what was issued, before and after the
# legs are made equal. Both legs are on one recorded disk, so that the record has one order for both. The load forces no
# write of its own, it flushes: dm-log-writes records a forced write at once and one before it, to the same sector, at
# the next flush, so that a replay would bring the older one back. What the volume itself forces is never written otherwise.
# needs: kernel:6.12 module:semantos_testdev module:dm-semantos-replica module:dm-log-writes program:dmsetup
# needs: program:build/tests/vm/verifyio program:build/tests/vm/replaylog
# required: 6.12
# timeout: 200

fail() { dmesg | tail -n 8; dmsetup status; cat /tmp/said; echo "point $point of entry $entry: $*"; exit 1; }
points=$(sed -n 's/.*semantos\.replay_points=\([0-9]*\).*/\1/p' /proc/cmdline)
points=${points:-${SEMANTOS_SOAK:+500}}
points=${points:-12}
marks=$((points / 4 + 6))
param=/sys/module/semantos_testdev/parameters
mb=2 # of a leg, after 1 MiB of its own
half=$(((mb + 1) * 2048))
length=$((mb * 2048))
spec="fixed:fast_us=20,write_us=20,jitter_pct=0"
log_mb=$((16 + points / 2))
table() { echo "0 $length semantos 1 2 $1 0 $1 $half"; }
node() { rm -f "/dev/mapper/$1"; ln -s "/dev/dm-$(dmsetup info -c --noheadings -o minor "$1")" "/dev/mapper/$1"; }
equal() {
	n=300
	until dmsetup status "$1" | grep -q " AA $((length / 64))/$((length / 64)) "; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.05
	done
}
sum() { dd if=/dev/semtest3 bs=1M skip="$1" count=$mb iflag=direct 2>/dev/null | md5sum; }
differ() { # the first block that does: what each leg holds, and what was recorded of it
	for leg in 0 1; do dd if=/dev/semtest3 of=/tmp/leg$leg bs=1M skip=$((leg * (mb + 1) + 1)) count=$mb 2>/dev/null; done
	b=$(($(cmp -l /tmp/leg0 /tmp/leg1 | awk 'NR == 1 { print $1 - 1 }') / 4096))
	echo "block $b of each leg: address and number"
	for leg in 0 1; do od -A n -t u8 -j $((b * 4096 + 8)) -N 16 /tmp/leg$leg; done
	awk -v a=$((2048 + b * 8)) -v b=$((half + 2048 + b * 8)) -v e="$entry" '
		$2 != "mark" && (($3 <= a && $3 + $4 > a) || ($3 <= b && $3 + $4 > b)) && $1 > e - 400 && $1 < e + 200 { print $3 < 6144 ? "leg 0:" : "leg 1:", $0 }
		($2 == "flush" || $2 == "fua") && $1 > e - 20 && $1 < e + 20 { print }' /tmp/list
}
check() { # when
	build/tests/vm/verifyio --blocks 512 --state /tmp/low --issued /tmp/high --check --floor durable /dev/mapper/c >/tmp/said ||
		fail "$1"
}

point=0 entry=none
modprobe semantos_testdev devices="$spec,mb=$((2 * (mb + 1))),cache=1;$spec,mb=$log_mb,backed=1;$spec,mb=$((2 * (mb + 1))),store=5" ||
	fail "the test disks do not load"
modprobe -a dm-semantos-replica dm-log-writes || fail "a module does not load"
dmsetup create lw --table "0 $((2 * half)) log-writes /dev/semtest0 /dev/semtest1" || fail "nothing is recorded"
node lw
dmsetup create v --table "$(table /dev/mapper/lw) 3 create region_sectors 64" || fail "no volume was created"
node v
equal v || fail "the legs do not come to be equal"
mkfifo /tmp/in84 /tmp/answers84
build/tests/vm/verifyio --blocks 512 --state /tmp/state84 --seconds 100000 --readers 1 --dsync-pct 0 --flush-every 4 \
	--think-us 4000 /dev/mapper/v </tmp/in84 >/tmp/answers84 &
exec 8>/tmp/in84 9</tmp/answers84
i=0
while [ $i -lt $marks ]; do
	i=$((i + 1))
	echo "around /tmp/bounds.$i dmsetup message lw 0 mark $i </dev/null" >&8
	read -r answer <&9
	[ "$answer" = "done" ] || fail "no mark was set: $answer"
	case $((i % 6)) in
	1) dmsetup message v 0 fail 1 ;;
	3) dmsetup message v 0 resync 1 ;;
	esac
done
echo quit >&8
read -r answer <&9
case $answer in *errors=0\ wrong=0) ;; *) fail "the load ended with: $answer" ;; esac
wait
dmsetup message v 0 resync 1
equal v || fail "the legs do not come to be equal"
dmsetup remove v
dmsetup remove lw || fail "the record does not end"
build/tests/vm/replaylog list /dev/semtest1 >/tmp/list || { cat /tmp/list; fail "the record cannot be read"; }

# From the first mark on, evenly spread: INDEX, the mark before, the mark after (0: none, what was issued at all).
awk -v points="$points" '
	BEGIN { n = since = 0 }
	$2 == "mark" && $3 + 0 > 0 { for (j = since; j < n; j++) after[j] = $3; since = n; mark = $3; next }
	($2 == "flush" || $2 == "fua") && mark { at[n] = $1; before[n] = mark; after[n++] = 0 }
	END { print n >"/tmp/all"
		step = n > points ? n / points : 1
		for (x = 0; int(x) < n; x += step) { i = int(x); print at[i], before[i], after[i] } }' /tmp/list >/tmp/points
all=$(cat /tmp/all)
[ "$all" -ge "$points" ] || fail "the record has only $all flushes and forced writes"
from=0 behind=0
while read -r entry low high; do
	point=$((point + 1))
	build/tests/vm/replaylog apply /dev/semtest1 /dev/semtest2 $from $((entry + 1)) >/tmp/said || fail "the record cannot be replayed"
	from=$((entry + 1))
	cp "/tmp/bounds.$low" /tmp/low
	if [ "$high" = 0 ]; then cp /tmp/state84 /tmp/high; else cp "/tmp/bounds.$high" /tmp/high; fi
	echo "1:0:5=6" >$param/image || fail "the replayed disk cannot be copied"
	echo "$spec,mb=$((2 * (mb + 1))),store=6" >$param/add || fail "the copy cannot be used"
	dmsetup create c --table "$(table /dev/semtest3) 2 region_sectors 64" || fail "the legs are refused after the crash"
	node c
	case $(dmesg | grep 'generation .* legs in sync' | tail -n 1) in *" 1 of 2 legs"*) behind=$((behind + 1)) ;; esac
	check "right after the crash"
	equal c || fail "the legs do not come to be equal after the crash"
	check "when the legs are equal again"
	dmsetup remove c
	[ "$(sum 1)" = "$(sum $((mb + 2)))" ] || differ
	[ "$(sum 1)" = "$(sum $((mb + 2)))" ] || fail "the legs differ though they are said to be in sync"
	echo 3 >$param/remove
done </tmp/points
[ $point -ge "$points" ] || fail "only $point points were tried"
[ $behind -gt 0 ] || fail "no point met a leg that was behind"
echo "NOTE $point of $all marks of a flush or forced write replayed, $behind with a leg behind; the load: $answer"
rmmod dm-semantos-replica || fail "the module does not leave"
rmmod dm-log-writes semantos_testdev || fail "the test disks do not leave"
