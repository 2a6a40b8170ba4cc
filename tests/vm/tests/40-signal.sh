#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Positive and negative control: on ten disks whose slow periods last, the policy finds signal on nine at least; on
# ten with the same kind of slow reads drawn independently, it finds none on nine at least. Every disk has a seed of its own.
# needs: kernel:6.12 program:build/tests/vm/signal program:build/tests/vm/loadgen module:semantos_testdev
# needs: file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# clock: icount
# timeout: 150

param=/sys/module/semantos_testdev/parameters
# Disks left by an earlier test would shift the numbers, and with them which disk is of which kind.
rmmod semantos_testdev 2>/dev/null
modprobe semantos_testdev devices= || exit 1
[ ! -e /sys/block/semtest0 ] || { echo "disks of an earlier test are still there"; exit 1; }
disks=
number=0
while [ $number -lt 20 ]; do
	spec=memory:fast_us=2000,slow_us=20000,fast_ms=500,slow_ms=250
	[ $number -lt 10 ] || spec=iid:fast_us=2000,slow_us=20000,slow_ppm=100000
	echo $spec >$param/add || exit 1
	build/tests/vm/loadgen --depth 2 --seconds 140 --think-us 4000 --seed $number /dev/semtest$number >/dev/null &
	disks="$disks semtest$number"
	number=$((number + 1))
done

# shellcheck disable=SC2086 # one word a disk
build/tests/vm/signal 2000 1200 130 $disks >/tmp/signal 2>/tmp/signal.err
code=$?
grep '^semtest' /tmp/signal
[ $code -eq 0 ] || { tail -n 25 /tmp/signal.err; echo "not every disk was learned and judged in time"; exit 1; }
with=$(grep -cE '^semtest[0-9] obey=1' /tmp/signal)
without=$(grep -cE '^semtest1[0-9] obey=0' /tmp/signal)
first=$(grep -cE '^semtest1[0-9] .*signal=1' /tmp/signal)
echo "NOTE signal found on $with of 10 disks that have it; none on $without of 10 that have none ($first of them held out a false one)"
awk '/^semtest[0-9] / { sub(/.*evaluated=[0-9]* auc=/, ""); a[n++] = $1 } END { for (i in a) s += a[i]
	printf "NOTE mean live AUC where there is signal %.3f\n", s / n }' /tmp/signal
[ "$with" -ge 9 ] && [ "$without" -ge 9 ]
