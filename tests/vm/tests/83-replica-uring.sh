#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# nowait_reject under io_uring, which first tries without waiting and gives what is refused to a thread that may wait (the
# punt): refused reads are answered all the same, with RWF_NOWAIT they get EAGAIN, and the cost of the punt is reported,
# in this emulated machine's time.
# needs: kernel:6.12 module:semantos_testdev module:dm-semantos-replica program:build/tests/vm/uringread
# needs: program:build/tests/vm/loadgen program:dmsetup
# required: 6.12
# timeout: 60

fail() { dmsetup status v; cat /tmp/said; echo "$*"; exit 1; }
param=/sys/module/semantos_testdev/parameters
spec="fixed:fast_us=500,jitter_pct=0,mb=8,backed=1"
n=400
refused() { dmsetup status v | awk '{ print $(NF - 2) }'; }
figure() { sed -n "s/.*$1=\([0-9]*\).*/\1/p" /tmp/said; }
ring() { # words of uringread
	build/tests/vm/uringread $n /dev/mapper/v "$@" >/tmp/said 2>&1
	code=$?
	if [ $code -eq 77 ]; then cat /tmp/said; exit 77; fi
	[ $code -eq 0 ] || fail "the reads could not be tried"
}

modprobe semantos_testdev devices="$spec;$spec" || exit 1
modprobe dm-semantos-replica || fail "the module does not load"
dmsetup create v --table "0 14336 semantos 1 2 /dev/semtest0 0 /dev/semtest1 0 4 create assume_equal nowait_reject 2" ||
	fail "no volume was created"
rm -f /dev/mapper/v
ln -s "/dev/dm-$(dmsetup info -c --noheadings -o minor v)" /dev/mapper/v
ring
[ "$(figure ok) $(refused)" = "$n 0" ] || fail "with free legs, $(refused) were refused"
free=$(figure p50_us)

# Two reads held on each leg; new ones are served, but the legs count as full.
echo 0:hang=1 >$param/change
echo 1:hang=1 >$param/change
build/tests/vm/loadgen --depth 4 --seconds 1 /dev/mapper/v >/tmp/load &
load=$!
i=50
until [ "$(awk '{ sub(/.*held=/, ""); n += $0 } END { print n }' $param/state)" = 4 ]; do
	i=$((i - 1))
	[ $i -gt 0 ] || fail "four reads are not held: $(cat $param/state)"
	sleep 0.1
done
echo 0:hang=2 >$param/change
echo 1:hang=2 >$param/change
ring nowait
[ "$(figure again) $(refused)" = "$n $n" ] || fail "with full legs and RWF_NOWAIT, $(refused) were refused"
eagain=$(figure p50_us)
ring
[ "$(figure ok) $(refused)" = "$n $((2 * n))" ] || fail "with full legs, $(refused) were refused"
punted=$(figure p50_us)
echo "NOTE io_uring, emulated, medians of $n: a read of 500 us takes $free us, one that is punted $punted us; EAGAIN comes after $eagain us"
echo 0:hang=0 >$param/change
echo 1:hang=0 >$param/change
wait $load || fail "the held reads failed"
dmsetup remove v || fail "the volume cannot be removed"
rmmod dm-semantos-replica || fail "the module does not leave"
rmmod semantos_testdev || fail "the test disks do not leave"
