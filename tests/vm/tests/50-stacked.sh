#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A read that passes through stacked devices is counted once, on the disk it reaches; a bio-only device that is asked for
# is named as unsupported, with the disk below it.
# needs: program:build/semantos-agent program:build/semantosctl program:build/tests/vm/loadgen program:dmsetup
# needs: module:null_blk module:dm-mod file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# timeout: 90

fail() { tail -n 5 /tmp/agent.err; echo "$*"; exit 1; }
count() { build/semantosctl stats linnos --json | tr -d ' \n' | sed -n "s/.*\"$1\":\"\{0,1\}\([0-9]*\).*/\1/p"; }

modprobe null_blk nr_devices=1 irqmode=2 completion_nsec=200000 || exit 1
modprobe dm-mod
dmsetup create stacked --table "0 65536 linear /dev/nullb0 0" || fail "no linear device"
for dm in /sys/block/dm-*; do dm=/dev/${dm##*/}; done
[ -b "$dm" ] || fail "no node of the linear device"

build/semantos-agent --policy linnos --device nullb0 --device 'dm-*' --quiet 2>/tmp/agent.err &
agent=$!
for _ in $(seq 30); do
	build/semantosctl list 2>/dev/null | grep -q linnos && break
	sleep 1
done
build/semantosctl status >/tmp/status 2>&1 || fail "status: $(cat /tmp/status)"
grep -q 'bio-only.*nullb0' /tmp/status || fail "the stacked device is not named as bio-only: $(cat /tmp/status)"
before=$(count reads)
build/tests/vm/loadgen --depth 2 --seconds 3 "$dm" >/tmp/load || fail "the load failed"
sleep 1
after=$(count reads)
# Where tracepoints can be preempted (7.x) the kernel skips a hook that is active on the CPU already, and counts it.
missed=$(build/semantosctl stats linnos --json | tr -d ' \n' | sed 's/"missed"/\n&/g' | sed -n 's/^"missed":"\{0,1\}\([0-9]*\).*/\1/p' | awk '{ n += $1 } END { print n + 0 }')
issued=$(sed -n 's/.*\breads=\([0-9]*\).*/\1/p' /tmp/load)
echo "NOTE $issued reads through the stacked device, $((after - before)) counted, $missed runs of hooks missed"
kill $agent
wait $agent
dmsetup remove stacked
[ "$issued" -gt 100 ] || fail "hardly any reads"
counted=$((after - before))
[ $counted -le "$issued" ] && [ $((counted + missed)) -ge "$issued" ] && exit 0
fail "$issued reads were issued, $counted counted and $missed missed"
