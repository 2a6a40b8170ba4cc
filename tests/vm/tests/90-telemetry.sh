#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Telemetry of a running agent against what is known: a disk that takes 20 ms for each read shows them in its
# percentiles, the histogram holds as many reads as /proc/diskstats counts, and a quiet disk has no latency at all.
# needs: program:build/semantos-agent program:build/semantosctl program:build/tests/vm/loadgen module:null_blk
# needs: file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# clock: icount
# elsewhere: soak
# timeout: 120

fail() { tail -n 5 /tmp/agent.err; cat /tmp/shown; echo "$*"; exit 1; }
ctl() { build/semantosctl telemetry "$@" >/tmp/shown 2>&1 || fail "semantosctl telemetry $*"; }
# One figure of one metric; microseconds where it is a time. Each metric is an object of its own.
figure() { # metric, label, figure, factor
	ctl --json "$1"
	tr '{' '\n' </tmp/shown | grep "\"label\": *\"$2\"" | sed -n "s/.*\"$3\": *\([-0-9.e]*\)[,}].*/\1/p" |
		awk -v factor="$4" '{ printf "%.0f\n", $1 * factor }'
}
reads() { awk -v disk="$1" '$3 == disk { print $4 }' /proc/diskstats; }
between() { # what, value, least, most
	if [ "${2:-none}" = none ] || [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
		fail "$1 is ${2:-not told}, expected $3 to $4"
	fi
}
snapshots() { # wait for so many more
	build/semantosctl telemetry load_1m --watch --count $(($1 + 1)) >/dev/null || fail "no stream"
}

modprobe null_blk nr_devices=1 irqmode=2 completion_nsec=20000000 || exit 1
before=$(reads nullb0)
build/semantos-agent --device nullb0 --telemetry-interval 2 --quiet --no-syscall-rate >/tmp/agent.out 2>/tmp/agent.err &
agent=$!
n=0
until [ -S /run/semantos/agent.sock ]; do
	n=$((n + 1))
	[ $n -lt 100 ] || fail "the agent does not come up"
	sleep 0.2
done
snapshots 1
ctl
# What the hooks had no place for is told by name; a stock kernel has them all.
! grep -q "no hook\|Nothing is measured" /tmp/shown || fail "a hook is missing"

begin=$(reads nullb0)
build/tests/vm/loadgen --depth 1 --seconds 9 /dev/nullb0 >/tmp/load || fail "no load"
snapshots 0
p50=$(figure block_read_latency nullb0 median 1000000)
p99=$(figure block_read_latency nullb0 p99 1000000)
between "the median of a 20 ms disk" "$p50" 19000 22700
between "the p99 of a 20 ms disk" "$p99" 19000 22700
between "reads a second, times ten" "$(figure block_read_latency nullb0 per_s 10)" 400 510
snapshots 2
events=$(figure block_read_latency nullb0 events 1)
end=$(reads nullb0)
# Reads of the agent's own start (none) and of partitions lie before its first snapshot.
between "reads in the histogram ($begin before the load, $end after it, $before at first)" "$events" $((end - begin)) $((end - before))
[ "$(figure block_read_latency nullb0 per_s 10)" = 0 ] || fail "a quiet disk has reads"
ctl --json block_read_latency
tr '{' '\n' </tmp/shown | grep '"label": *"nullb0"' | grep -q '"p99": *null' || fail "a quiet disk has a latency"
between "the share of time with a request in flight, of 1000, at its median" "$(figure disk_busy nullb0 p95 1000)" 900 1010
own=$(figure own_cpu "" median 100000)
kill -TERM $agent
wait $agent || fail "the agent ended with $?"
[ "$(bpftool prog show 2>/dev/null | grep -c '^[0-9]')" -eq 0 ] || sleep 3
echo "NOTE p50 $p50 us, p99 $p99 us, $events reads in the histogram, $((end - begin)) in diskstats; own CPU $own of 100,000 at 2 s"
rmmod null_blk || fail "null_blk does not leave"
