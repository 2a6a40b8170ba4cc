#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The test-only disks do what they are asked: latencies as configured, data kept, changes at once, removal under I/O.
# Latency is asserted in virtual time, where a millisecond is one.
# needs: module:semantos_testdev program:build/tests/vm/loadgen
# clock: icount
# timeout: 60

fail() { echo "$*"; exit 1; }
param=/sys/module/semantos_testdev/parameters
load() { # disk, options...: runs loadgen, leaves its figures for got()
	disk=$1
	shift
	build/tests/vm/loadgen "$@" "/dev/$disk" >/tmp/load || fail "the load on $disk failed"
}
got() { # figure
	sed -n "s/.*\b$1=\([0-9]*\).*/\1/p" /tmp/load
}
state() { # number, key
	sed -n "s/^semtest$1 .*$2=\([^ ]*\).*/\1/p" $param/state
}
between() { # what, value, least, most
	if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
		fail "$1 is $2, expected $3 to $4"
	fi
}

modprobe semantos_testdev seed=7 \
	devices="memory:fast_us=500,slow_us=5000,fast_ms=200,slow_ms=50;iid:fast_us=500,slow_us=5000,slow_ppm=200000;fixed:fast_us=1000,jitter_pct=0,backed=1,mb=8" ||
	fail "the module does not load"

load semtest2 --depth 2 --seconds 1
between "the fixed disk's median" "$(got p50_us)" 1000 1150
between "the fixed disk's p90" "$(got p90_us)" 1000 1300
between "the fixed disk's reads" "$(got reads)" 1700 2000

load semtest1 --depth 4 --seconds 3
between "the iid disk's p10" "$(got p10_us)" 440 530
between "the iid disk's p99" "$(got p99_us)" 4500 5600
between "the iid disk's slow reads per 1000" $(($(state 1 slow) * 1000 / $(state 1 reads))) 170 230

load semtest0 --depth 4 --seconds 6 --log /tmp/memory.log
between "the memory disk's p10" "$(got p10_us)" 440 530
between "the memory disk's p99" "$(got p99_us)" 4500 5600
between "the memory disk's periods" "$(state 0 periods)" 40 160
# A slow read is followed by a slow one far more often than by chance: that is the memory.
awk '{ slow = $2 > 2000; n++; s += slow; if (n > 1 && was) { f++; both += slow }; was = slow }
	END { printf "NOTE memory: %d reads, %.3f slow, %.3f slow after slow\n", n, s / n, both / f
		exit !(both / f > 3 * s / n) }' /tmp/memory.log || fail "the memory disk has no memory"

echo 2:fast_us=3000 >$param/change || fail "a change was refused"
load semtest2 --depth 1 --seconds 1
between "the changed disk's median" "$(got p50_us)" 3000 3150
echo 2:fast_us=none >$param/change 2>/dev/null && fail "a change to 'none' was accepted"

dd if=/dev/urandom of=/tmp/random bs=1M count=8 2>/dev/null
dd if=/tmp/random of=/dev/semtest2 bs=64k oflag=direct 2>/dev/null || fail "writing failed"
dd if=/dev/semtest2 of=/tmp/back bs=64k iflag=direct 2>/dev/null || fail "reading failed"
cmp /tmp/random /tmp/back || fail "the backed disk does not keep what was written"

before=$(cat /sys/block/semtest1/dev)
build/tests/vm/loadgen --depth 16 --seconds 2 /dev/semtest1 >/tmp/removed &
sleep 1
echo 1 >$param/remove || fail "removal under I/O was refused"
[ ! -e /sys/block/semtest1 ] || fail "the removed disk is still there"
wait
grep -q 'errors=[1-9]' /tmp/removed || fail "reads of the removed disk did not fail"
echo fixed:fast_us=200 >$param/add || fail "a disk could not be added"
[ "$(cat /sys/block/semtest1/dev)" = "$before" ] || fail "the new disk did not take the free number"

build/tests/vm/loadgen --depth 4 --seconds 1 /dev/semtest1 >/dev/null &
sleep 0.2
rmmod semantos_testdev 2>/dev/null && fail "the module left while a disk was open"
wait
rmmod semantos_testdev || fail "the module does not leave"
[ ! -e /sys/block/semtest0 ] || fail "a disk outlived its module"
