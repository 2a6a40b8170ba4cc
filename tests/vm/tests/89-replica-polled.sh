#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A volume of disks that are polled: who reads or writes by an io_uring that looks for answers itself gets them all. Only
# what device-mapper submits is polled; a write's clones are not, or their answers would never be found.
# needs: kernel:6.12 module:dm-semantos-replica module:null_blk program:build/tests/vm/uringread program:dmsetup
# required: 6.12
# timeout: 60

fail() { dmsetup status v; cat /tmp/said; echo "$*"; exit 1; }
n=200
ring() { # words of uringread
	build/tests/vm/uringread $n /dev/mapper/v "$@" >/tmp/said 2>&1
	code=$?
	if [ $code -eq 77 ]; then cat /tmp/said; exit 77; fi
	[ $code -eq 0 ] || fail "$*: exit $code, no answer was found for 10 s"
	grep -q "^ok=$n again=0 other=0 " /tmp/said || fail "$*: not all were answered well"
}

# a test before this one may have left its own
dmsetup remove_all
if [ -e /sys/module/null_blk ]; then rmmod null_blk || fail "another test's null_blk does not leave"; fi
modprobe null_blk nr_devices=2 gb=1 memory_backed=1 submit_queues=1 poll_queues=1 || exit 1
modprobe dm-semantos-replica || fail "the module does not load"
[ "$(cat /sys/block/nullb0/queue/io_poll)" = 1 ] || fail "the disks cannot be polled, so nothing is shown"
for options in "2 create assume_equal" "2 hedge_us 1000"; do
	dmsetup create v --table "0 14336 semantos 1 2 /dev/nullb0 0 /dev/nullb1 0 $options" || fail "no volume: $options"
	dm=dm-$(dmsetup info -c --noheadings -o minor v)
	rm -f /dev/mapper/v && ln -s "/dev/$dm" /dev/mapper/v
	[ "$(cat "/sys/block/$dm/queue/io_poll")" = 1 ] || fail "the volume cannot be polled, so nothing is shown"
	ring poll-write
	ring poll
	dmsetup remove v || fail "the volume cannot be removed"
done
for leg in 0 1; do
	dd if=/dev/nullb$leg bs=1M skip=1 count=1 iflag=direct 2>/dev/null | head -c $((n * 4096)) | tr -d p | cmp -s - /dev/null ||
		fail "leg $leg lacks what was written"
done
rmmod dm-semantos-replica || fail "the module does not leave"
rmmod null_blk || fail "the disks do not leave"
