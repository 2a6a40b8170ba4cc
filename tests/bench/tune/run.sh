#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh - `make bench-tune`: real programs at this machine's own settings, then tuned, then at its own settings again.
#
# For each: RUNS measurements as the machine is, `semantosctl tune --apply auto` with at most TRIALS proposals, RUNS
# measurements under what was kept, and after the undo RUNS once more, so that a drift of the machine is seen for what it is.
# The gain is the mean under what was kept against all others, with a 95 % bootstrap interval; where nothing was kept it is
# "no effect". Only the settings below are offered, each is changed through the journal with the keeper running, and the
# bench fails unless every setting of the machine reads afterwards as before. Raw figures: build/bench/tune.csv, and every
# event of the loop in build/bench/tune-PROGRAM.jsonl.
#
# Usage: run.sh [PROGRAM...]    all of workload.sh when none is named. RUNS (10), TRIALS (12), PAIRS (8), SEED (1), SECONDS_EACH (2)
# shellcheck disable=SC2317 # cleanup is called by a trap
set -uo pipefail
here=tests/bench/tune
runs=${RUNS:-10} trials=${TRIALS:-12} pairs=${PAIRS:-8} seed=${SEED:-1} each=${SECONDS_EACH:-2}
dir=$(mktemp -d /var/tmp/semantos-tune.XXXXXX)
bpffs=/sys/fs/bpf/semantos-tune-$$
ctl=(build/semantosctl --socket "$dir/run/agent.sock")
agent='' advisor='' program='' failed=0
out=build/bench
mkdir -p $out
disk=$(lsblk -ndo PKNAME "$(df --output=source /var/tmp | tail -n 1)" 2>/dev/null | head -n 1)
[[ -n $disk ]] || disk=$(basename "$(df --output=source /var/tmp | tail -n 1)")

knobs_of() { # program: what may be changed for it
	case $1 in
	fio) echo "sysfs:block/$disk/queue/read_ahead_kb sysfs:block/$disk/queue/nr_requests sysfs:block/$disk/queue/scheduler" ;;
	postgres) echo "sysctl:vm.dirty_background_ratio sysctl:vm.dirty_ratio sysctl:vm.swappiness sysctl:vm.dirty_writeback_centisecs sysfs:block/$disk/queue/scheduler sysfs:block/$disk/queue/wbt_lat_usec" ;;
	redis) echo "sysctl:vm.overcommit_memory sysfs:kernel/mm/transparent_hugepage/enabled sysctl:vm.dirty_background_ratio" ;;
	nginx) echo "sysctl:net.core.somaxconn sysctl:net.ipv4.tcp_autocorking sysctl:net.ipv4.tcp_slow_start_after_idle sysctl:net.core.busy_poll" ;;
	compile) echo "sysctl:vm.vfs_cache_pressure sysctl:vm.swappiness sysctl:kernel.sched_autogroup_enabled sysfs:kernel/mm/transparent_hugepage/enabled" ;;
	esac
}
# Every setting that the tables describe and this machine has, with its value.
settings() { build/semantosctl knobs --json | tr '{' '\n' | grep -oE '"name": *"[^"]*"|"value": *"[^"]*"' | paste - - | sort; }

cleanup() {
	local code=$?
	trap - EXIT
	[[ -z $program ]] || "$here/workload.sh" "$program" stop "$dir/$program" >/dev/null 2>&1
	[[ -z $advisor ]] || { kill "$advisor"; wait "$advisor"; } 2>/dev/null
	[[ -z $agent ]] || { kill "$agent"; wait "$agent"; } 2>/dev/null
	rm -rf --one-file-system "$dir" "$bpffs"
	exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
die() { echo "$*"; tail -n 5 "$dir"/*.err; exit 1; }

measure() { # program, phase
	local i value
	for ((i = 0; i < runs; i++)); do
		value=$($here/workload.sh "$1" run "$dir/$1" "$each" | sed -nE '$s/.*: ([0-9.]+)$/\1/p')
		[[ -n $value ]] || return 1
		echo "$1,$2,$i,$value" >>$out/tune.csv
	done
}

# Bootstrap of the gain, of tuned against before and after together: least, mean and most of 95 %.
gain() { # program
	awk -F, -v program="$1" -v seed="$seed" '
		$1 == program { if ($2 == "tuned") t[nt++] = $4; else d[nd++] = $4 }
		function mean(v, n, draw,    i, s) {
			for (i = 0; i < n; i++) s += v[draw ? int(rand() * n) : i]
			return s / n
		}
		END {
			srand(seed)
			for (r = 0; r < 4000; r++) print mean(t, nt, 1) / mean(d, nd, 1) - 1 | "sort -g | sed -n \"100p;3900p\""
			close("sort -g | sed -n \"100p;3900p\"")
			print mean(t, nt, 0) / mean(d, nd, 0) - 1
		}' $out/tune.csv | paste -s -d' '
}
mean() { # program, phase
	awk -F, -v program="$1" -v phase="$2" '$1 == program && $2 == phase { s += $4; n++ } END { if (n) printf "%.1f", s / n; else printf "-" }' $out/tune.csv
}
judge() { # program, higher|lower
	local low high gain before after
	before=$(mean "$1" before) after=$(mean "$1" after)
	if [[ $(mean "$1" tuned) == - ]]; then
		printf '%-9s %11s %11s %11s  nothing was kept: no effect (%s is better)\n' "$1" "$before" - - "$2"
		return
	fi
	read -r low high gain < <(gain "$1")
	printf '%-9s %11s %11s %11s  ' "$1" "$before" "$(mean "$1" tuned)" "$after"
	awk -v l="$low" -v h="$high" -v g="$gain" -v a="$before" -v c="$after" -v better="$2" 'BEGIN {
		verdict = l <= 0 && h >= 0 ? "no effect" : ((g > 0) == (better == "higher") ? "a gain" : "A REGRESSION THAT WAS KEPT")
		printf "%+.1f %% (%+.1f to %+.1f): %s (%s is better); the machine itself drifted by %+.1f %%\n", 100 * g, 100 * l, 100 * h, verdict, better, 100 * (c / a - 1)
	}'
}

[[ $(id -u) -eq 0 ]] || { echo "needs root"; exit 77; }
[[ $# -gt 0 ]] || mapfile -t all < <($here/workload.sh list | cut -d' ' -f1)
[[ $# -gt 0 ]] || set -- "${all[@]}"
settings >"$dir/settings.before"
[[ $(wc -l <"$dir/settings.before") -ge 60 ]] || die "the settings of this machine cannot be listed"
build/semantos-agent --quiet --run-dir "$dir/run" --state-dir "$dir/state" --bpffs-dir "$bpffs" --telemetry-interval 2 >"$dir/agent.out" 2>"$dir/agent.err" &
agent=$!
for _ in {1..100}; do [[ ! -S $dir/run/agent.sock ]] || break; sleep 0.1; done
[[ -S $dir/run/agent.sock ]] || die "the agent does not come up"
build/semantos-advisor --socket "$dir/run/agent.sock" --kb "$dir/kb" --user root >"$dir/advisor.out" 2>"$dir/advisor.err" &
advisor=$!

echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) CPUs, Linux $(uname -r), disk $disk, load $(cut -d' ' -f1 /proc/loadavg), $(git describe --always --dirty 2>/dev/null)"
echo "$runs runs of $each s a phase, at most $trials trials of $pairs pairs, seed $seed"
echo "program        before      tuned      after  gain (95 % interval)"
: >$out/tune.csv
for program; do
	better=$($here/workload.sh list | sed -n "s/^$program \([a-z]*\) .*/\1/p")
	$here/workload.sh "$program" start "$dir/$program" >"$dir/$program.err" 2>&1
	case $? in
	0) ;;
	77) echo "$program: $(tail -n 1 "$dir/$program.err"): skipped"; continue ;;
	*) die "$program does not start" ;;
	esac
	words=()
	for knob in $(knobs_of "$program"); do words+=(--knob "$knob"); done
	[[ $better == lower ]] || words+=(--higher)
	$here/workload.sh "$program" run "$dir/$program" "$each" >/dev/null # warm
	measure "$program" before || die "$program cannot be measured"
	timeout 3600 "${ctl[@]}" tune --improve "cmd:$PWD/$here/workload.sh $program run $dir/$program $each" "${words[@]}" --apply auto --trials "$trials" \
		--pairs "$pairs" --every 100ms --slice "$((2 * each + 2))s" --washout 200ms --seed "$seed" --because "bench-tune" --json >"$out/tune-$program.jsonl" 2>"$dir/tune.err" ||
		{ echo "$program: tune ended with $?: $(tail -n 1 "$dir/tune.err")"; failed=1; }
	if grep -q '"kind": *"kept"' "$out/tune-$program.jsonl"; then
		measure "$program" tuned || die "$program cannot be measured"
		"${ctl[@]}" reset >"$dir/reset.out" 2>&1 || { echo "$program: reset: $(tail -n 1 "$dir/reset.out")"; failed=1; }
		measure "$program" after || die "$program cannot be measured"
	fi
	judge "$program" "$better"
	grep -hE '"kind": *"kept"' "$out/tune-$program.jsonl" | sed -nE 's/.*"text": *"([^"]*)".*/          kept: \1/p'
	echo "          proposals: $(grep -cE '"kind": *"proposed"' "$out/tune-$program.jsonl"), undone: $(grep -cE '"kind": *"undone"' "$out/tune-$program.jsonl")"
	$here/workload.sh "$program" stop "$dir/$program"
	rm -rf "${dir:?}/$program"
	program=
done
kill "$advisor" 2>/dev/null || die "the advisor had ended"
wait "$advisor"
advisor=
kill $agent && wait $agent
agent=
settings >"$dir/settings.after"
if cmp -s "$dir/settings.before" "$dir/settings.after"; then
	echo "all $(wc -l <"$dir/settings.before") settings of this machine read as before"
else
	diff "$dir/settings.before" "$dir/settings.after" | sed 's/^/NOT RESTORED /'
	failed=1
fi
exit "$failed"
