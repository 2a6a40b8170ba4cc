#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The clock is set an hour ahead and two hours back under load: the lease never reaches further than 75 ms of boot time
# ahead (20 ms are allowed for the look itself), and it goes on being renewed.
# needs: program:build/semantos-agent program:build/tests/vm/loadgen program:bpftool
# needs: file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# timeout: 90

fail() { tail -n 5 /tmp/agent.err; echo "$*"; exit 1; }
field() { bpftool map dump pinned /sys/fs/bpf/semantos/lease | sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p"; }

build/semantos-agent --policy linnos --device vda --no-api --quiet 2>/tmp/agent.err &
agent=$!
build/tests/vm/loadgen --depth 1 --seconds 70 --think-us 2000 /dev/vda >/tmp/load 2>&1 &
load=$!
for _ in $(seq 30); do [ -e /sys/fs/bpf/semantos/linnos/history ] && break; sleep 1; done
sleep 3
furthest=-1000000
for shift in 0 3600 -7200; do
	[ $shift -eq 0 ] || date -s "@$(($(date +%s) + shift))" >/dev/null || fail "the clock cannot be set"
	renewals=$(field renewals)
	for _ in 1 2 3 4 5 6; do
		expires=$(field expires_ns)
		now_ms=$(awk '{ printf "%d", $1 * 1000 }' /proc/uptime)
		ahead=$((expires / 1000000 - now_ms))
		[ $ahead -le $furthest ] || furthest=$ahead
		[ $ahead -le 95 ] || fail "after a shift of $shift s the lease reaches $ahead ms ahead"
	done
	[ "$(field renewals)" -gt "$renewals" ] || fail "after a shift of $shift s the lease is no longer renewed"
done
date -s "@$(($(date +%s) + 3600))" >/dev/null
echo "NOTE the lease reached at most $furthest ms ahead"
kill $load $agent
wait $agent
