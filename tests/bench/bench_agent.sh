#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# bench_agent.sh - the whole agent: what it takes while idle, and what a read pays for it.
# Runs build/semantos-agent with the linnos policy in shadow, its state, socket and pins in folders of its own.
# Idle: CPU time, wakeups and memory over IDLE_SECONDS after it settled. Under load: the load generator's reads with
# the policy attached and detached in turn, PAIRS times. Prints rows as tests/bench/bench.h does. Exit 77: no root.

set -uo pipefail
IDLE_SECONDS=${IDLE_SECONDS:-30}
PAIRS=${PAIRS:-10}
[[ $(id -u) -eq 0 && -r /sys/kernel/btf/vmlinux ]] || { echo "  skipped: needs root and a kernel with BTF"; exit 77; }
dir=$(mktemp -d /var/tmp/semantos-bench.XXXXXX) || exit 1
pins=/sys/fs/bpf/semantos-bench-agent-$$
agent=
cleanup() {
	if [[ $agent ]]; then
		kill "$agent" 2>/dev/null
		wait "$agent" 2>/dev/null
	fi
	[[ ! -d $pins ]] || find "$pins" -depth -delete
	rm -rf "$dir"
}
trap cleanup EXIT

ctl() { build/semantosctl --socket "$dir/agent.sock" "$@" >/dev/null 2>&1; }
agent_start() { # word of its log to wait for, options
	local word=$1
	shift
	build/semantos-agent --policy linnos --policy-path build/policies --state-dir "$dir" --run-dir "$dir" \
		--bpffs-dir "$pins" --quiet "$@" 2>"$dir/log" >/dev/null &
	agent=$!
	for _ in {1..200}; do
		grep -q "$word" "$dir/log" && break
		kill -0 "$agent" 2>/dev/null || { echo "the agent ended: $(tail -n 1 "$dir/log")" >&2; agent=; exit 1; }
		sleep 0.1
	done
	sleep 3
}

on_cpu_ns() { cat /proc/"$agent"/task/*/schedstat | awk '{ n += $1 } END { printf "%d\n", n }'; }
wakeups() { cat /proc/"$agent"/task/*/status | awk '/^voluntary_ctxt/ { n += $2 } END { print n }'; }
rows=
# name, unit, target or 0; values on standard input, one a line
row() {
	local line
	line=$(sort -g | awk -v name="$1" -v unit="$2" -v target="$3" '
		{ v[NR] = $1 }
		function q(p) { return v[int(p * (NR - 1)) + 1] }
		END {
			if (!NR) exit
			met = q(0.5) <= target
			printf "  %-52s %9.4g %-6s quartiles %.4g-%.4g, p99 %.4g", name, q(0.5), unit, q(0.25), q(0.75), q(0.99)
			if (target > 0) printf "   target %.4g: %s", target, met ? "met" : "TARGET MISSED"
			printf "\n{\"row\":\"%s\",\"unit\":\"%s\",\"n\":%d,\"p50\":%.5g,\"p25\":%.5g,\"p75\":%.5g,\"p99\":%.5g", \
				name, unit, NR, q(0.5), q(0.25), q(0.75), q(0.99)
			if (target > 0) printf ",\"target\":%.5g,\"met\":%s", target, met ? "true" : "false"
			printf "}\n"
		}')
	[[ $line ]] || return
	head -n 1 <<<"$line"
	rows+=${rows:+,}$(tail -n 1 <<<"$line")
}

disk_reads() { cat /sys/block/*/stat | awk '{ n += $1 } END { print n }'; }
# Pieces of 6 s, so that the rows have a spread.
watch() { # pieces
	local cpu woken reads
	rm -f "$dir"/{cpu,woken,reads,rss,pss}
	for ((piece = 0; piece < $1; piece++)); do
		cpu=$(on_cpu_ns) woken=$(wakeups) reads=$(disk_reads)
		sleep 6
		awk -v ns=$(($(on_cpu_ns) - cpu)) 'BEGIN { print 100 * ns / 6e9 }' >>"$dir/cpu"
		echo $((($(wakeups) - woken) / 6)) >>"$dir/woken"
		echo $((($(disk_reads) - reads) / 6)) >>"$dir/reads"
		awk '/^Rss:/ { print $2 / 1024 }' "/proc/$agent/smaps_rollup" >>"$dir/rss"
		awk '/^Pss:/ { print $2 / 1024 }' "/proc/$agent/smaps_rollup" >>"$dir/pss"
	done
}

# Hooks are attached once there is a disk to follow. Others may use it meanwhile: their reads are a row beside.
agent_start follows
watch $((IDLE_SECONDS / 6))
row "agent following a disk, reads a second by others" "1/s" 0 <"$dir/reads"
row "agent following a disk, CPU" "%" 0 <"$dir/cpu"
paste -d' ' "$dir/reads" "$dir/cpu" | awk '$1 == 0 { print $2 }' >"$dir/idle"
if [[ -s $dir/idle ]]; then
	row "idle agent (pieces without a read), CPU" "%" 0.1 <"$dir/idle"
else
	echo "  idle agent, CPU: not measured, because others read from the disk all the time"
fi
row "agent following a disk, resident memory" MiB 40 <"$dir/rss"
row "agent following a disk, its share of resident memory" MiB 0 <"$dir/pss"
row "agent following a disk, wakeups a second" "1/s" 0 <"$dir/woken"
kill "$agent"
wait "$agent"
agent_start 'no disk' --device semantos-no-such-disk
watch 2
row "agent without a disk to follow, CPU" "%" 0.1 <"$dir/cpu"
row "agent without a disk to follow, wakeups a second" "1/s" 0 <"$dir/woken"
kill "$agent"
wait "$agent"
agent_start follows

# With and without, each pair in the other order than the last.
dd if=/dev/urandom of="$dir/scratch" bs=1M count=64 conv=fsync status=none
load() { build/tests/bench/loadgen "$@" "$dir/scratch" 2>"$dir/load.err" >"$dir/load"; }
read_key() { tr ' ' '\n' <"$dir/load" | sed -n "s/^$1=//p" | head -n 1; }
measure() { # with | without
	load --depth 2 --seconds 2 --seed "$pair" || return 1
	echo "$(read_key reads) $(read_key p50_us) $(read_key p99_us)" >>"$dir/$1"
}
now=with
for ((pair = 1; pair <= PAIRS; pair++)); do
	order=(with without)
	((pair % 2)) || order=(without with)
	for state in "${order[@]}"; do
		change=$([[ $state == with ]] && echo attach || echo detach)
		[[ $state == "$now" ]] || ctl "$change" linnos || { echo "linnos did not $change" >&2; exit 1; }
		now=$state
		measure "$state" || { echo "the load failed: $(tail -n 1 "$dir/load.err")" >&2; exit 1; }
	done
done
paste -d' ' "$dir/with" "$dir/without" >"$dir/pairs"
row "reads a second, with the agent / without" x 0 < <(awk '{ print $1 / $4 }' "$dir/pairs")
row "read latency p50, with the agent / without" x 0 < <(awk '{ print $2 / $5 }' "$dir/pairs")
row "read latency p99, with the agent / without" x 0 < <(awk '{ print $3 / $6 }' "$dir/pairs")
echo "{\"bench\":\"agent\",\"rows\":[$rows]}"
