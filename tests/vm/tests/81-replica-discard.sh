#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Discards of a replica volume: refused, and nothing changes, though the legs could do them; zeroing a range writes zeros
# to all legs.
# The shell would run its own blkdiscard, which cannot zero: hence the path.
# needs: kernel:6.12 module:dm-semantos-replica module:loop program:blkdiscard program:dmsetup
# required: 6.12
# timeout: 30

fail() { cat /tmp/said; dmsetup status v; echo "$*"; exit 1; }
length=$((7 * 2048)) loops=
modprobe loop || exit 1
for file in /tmp/leg0 /tmp/leg1; do
	truncate -s 8M $file || exit 1
	loop=$(losetup -f) && losetup "$loop" $file || exit 1
	[ "$(cat "/sys/block/${loop#/dev/}/queue/discard_max_bytes")" -gt 0 ] || fail "$loop cannot discard, so nothing is shown"
	loops="$loops $loop"
done
modprobe dm-semantos-replica || fail "the module does not load"
dmsetup create v --table "0 $length semantos 1 2${loops% *} 0 ${loops##* } 0 2 create assume_equal" || fail "no volume was created"
dm=dm-$(dmsetup info -c --noheadings -o minor v)
rm -f /dev/mapper/v && ln -s "/dev/$dm" /dev/mapper/v
[ "$(cat "/sys/block/$dm/queue/discard_max_bytes")" = 0 ] || fail "the volume says that it discards"

dd if=/dev/urandom of=/tmp/random bs=1M count=2 2>/dev/null
dd if=/tmp/random of=/dev/mapper/v bs=64k oflag=direct conv=fsync 2>/dev/null || fail "writing failed"
same() { dd if=/dev/mapper/v bs=1M count=2 iflag=direct 2>/dev/null | cmp -s - /tmp/random || fail "$1"; }
for how in "" --secure; do
	# shellcheck disable=SC2086 # none or one word
	/bin/blkdiscard $how --offset 0 --length 1048576 /dev/mapper/v >/tmp/said 2>&1 && fail "a discard was accepted: $how"
	grep -qi 'not supported' /tmp/said || fail "the refusal says something else"
	same "a refused discard changed the volume"
done

/bin/blkdiscard --zeroout --offset 524288 --length 524288 /dev/mapper/v >/tmp/said 2>&1 || fail "a range cannot be zeroed"
dd if=/dev/zero of=/tmp/random bs=512k seek=1 count=1 conv=notrunc 2>/dev/null
same "the zeroed range is not zero, or more than it is"
sync /dev/mapper/v || fail "flushing failed"
dmsetup remove v || fail "the volume cannot be removed"
for loop in $loops; do
	dd if="$loop" bs=1M skip=1 count=2 iflag=direct 2>/dev/null | cmp -s - /tmp/random || fail "$loop holds something else"
	losetup -d "$loop"
done
rmmod dm-semantos-replica || fail "the module does not leave"
