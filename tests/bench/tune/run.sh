#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh - `make bench-tune`: what tuning brings to real programs on this machine, and how the advisor does beside its rivals.
#
# Three steps, any of which STEPS may name:
#   record  each program under each configuration of a small grid of settings, in pairs with the machine as it was found
#           (record.c): build/bench/tune/PROGRAM.{plan,csv}
#   live    `semantosctl tune --apply auto` from the machine's own settings; then what was kept against them, in pairs anew
#   replay  advisor, parts of it left out, random search, a Gaussian-process optimiser and a tuned profile on the recordings,
#           many times over (replay.c): build/bench/tune/{replay,tau,drift}.csv
# Settings are changed in the first two alone, through the journal with a keeper running; the bench fails unless every
# setting of the machine reads afterwards as before, and on a regression that was kept.
#
# Usage: run.sh [PROGRAM...]    all of workload.sh when none is named. STEPS ("record live replay"), VISITS (2) of each
# configuration with VISIT_PAIRS (3), TRIALS (3) of PAIRS (8) live, twice CONFIRM (6) pairs of what was kept, BUDGET (12) proposals and
# SEEDS (100) of the replays, SEED (1), SECONDS_EACH (1)
# shellcheck disable=SC2317 # cleanup is called by a trap
set -uo pipefail
here=tests/bench/tune
steps=${STEPS:-record live replay} visits=${VISITS:-2} visit_pairs=${VISIT_PAIRS:-3} trials=${TRIALS:-3} pairs=${PAIRS:-8}
confirm=${CONFIRM:-6} budget=${BUDGET:-12} seeds=${SEEDS:-100} seed=${SEED:-1} each=${SECONDS_EACH:-1}
dir=$(mktemp -d /var/tmp/semantos-tune.XXXXXX)
chmod 711 "$dir" # PostgreSQL runs as its own user
bpffs=/sys/fs/bpf/semantos-tune-$$
ctl=(build/semantosctl --socket "$dir/run/agent.sock")
agent='' advisor='' program='' recorder='' failed=0
out=build/bench/tune
mkdir -p $out
exec > >(tee $out/summary.txt)
disk=$(lsblk -ndo PKNAME "$(df --output=source /var/tmp | tail -n 1)" 2>/dev/null | head -n 1)
[[ -n $disk ]] || disk=$(basename "$(df --output=source /var/tmp | tail -n 1)")
queue=sysfs:block/$disk/queue huge=sysfs:kernel/mm/transparent_hugepage/enabled

# What is recorded of a program: a knob a line, with the values beside its present one. They lie where the advisor may look
# from this machine's values; few, as each of their combinations is measured.
grid_of() {
	case $1 in
	fio | mapped) printf '%s\n' "$queue/read_ahead_kb 2048 256 64" "$queue/scheduler none mq-deadline" "$queue/nomerges 1" ;;
	postgres) printf '%s\n' "$queue/scheduler none mq-deadline" "$queue/wbt_lat_usec 19000" "sysctl:vm.dirty_writeback_centisecs 2000" \
		"sysctl:kernel.sched_autogroup_enabled 0" ;;
	redis) printf '%s\n' "$huge always never" "sysctl:kernel.sched_autogroup_enabled 0" "sysctl:vm.dirty_background_ratio 3" ;;
	nginx) printf '%s\n' "sysctl:net.ipv4.tcp_congestion_control cubic reno" "sysctl:net.ipv4.tcp_autocorking 0" \
		"sysctl:net.ipv4.tcp_limit_output_bytes 1048576" ;;
	compile) printf '%s\n' "$huge always never" "sysctl:kernel.sched_autogroup_enabled 0" "sysctl:vm.vfs_cache_pressure 200" ;;
	esac
}
profile_of() {
	case $1 in
	postgres) echo postgresql ;;
	redis) echo network-latency ;;
	nginx) echo network-throughput ;;
	*) echo throughput-performance ;;
	esac
}
# What may be changed live: the grid's and more, with whatever value.
knobs_of() {
	grid_of "$1" | cut -d' ' -f1
	case $1 in
	fio | mapped) echo "$queue/rq_affinity" ;;
	postgres) printf 'sysctl:vm.%s\n' dirty_background_ratio dirty_ratio swappiness ;;
	redis) echo sysctl:vm.overcommit_memory ;;
	nginx) printf 'sysctl:net.%s\n' ipv4.tcp_slow_start_after_idle core.busy_poll core.somaxconn ;;
	compile) echo sysctl:vm.swappiness ;;
	esac
}

# Every setting that the tables describe and this machine has, with its value.
settings() { build/semantosctl knobs --json | tr '{' '\n' | grep -oE '"name": *"[^"]*"|"value": *"[^"]*"' | paste - - | sort; }
value_of() { build/semantosctl knobs "$1" --json 2>/dev/null | grep -oE '"value": *"[^"]*"' | head -n 1 | sed -E 's/.*: *"//; s/"$//'; }
better_of() { "$here"/workload.sh list | sed -n "s/^$1 \([a-z]*\) .*/\1/p"; }

cleanup() {
	local code=$?
	trap - EXIT
	[[ -z $recorder ]] || { kill "$recorder"; wait "$recorder"; } 2>/dev/null
	[[ -z $program ]] || "$here/workload.sh" "$program" stop "$dir/$program" >/dev/null 2>&1
	[[ -z $advisor ]] || { kill "$advisor"; wait "$advisor"; } 2>/dev/null
	[[ -z $agent ]] || { kill "$agent"; wait "$agent"; } 2>/dev/null
	rm -rf --one-file-system "$dir" "$bpffs"
	exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
die() { echo "$*"; tail -n 5 "$dir"/*.err; exit 1; }

start() { # program; 77: it cannot be run here
	"$here"/workload.sh "$1" start "$dir/$1" >"$dir/$1.err" 2>&1
	case $? in
	0) program=$1 ;;
	77) echo "$1: $(tail -n 1 "$dir/$1.err"): skipped"; return 77 ;;
	*) die "$1 does not start" ;;
	esac
	"$here"/workload.sh "$1" run "$dir/$1" "$each" >/dev/null # warm
}
stop() {
	"$here"/workload.sh "$program" stop "$dir/$program"
	rm -rf "${dir:?}/$program"
	program=
}
command_of() { echo "timeout 60 $PWD/$here/workload.sh $1 run $dir/$1 $each"; }

record() { # plan, csv, program, visits, pairs of a visit: in the background, so that a signal is heard meanwhile
	# a journal each: the same values for another program are no change that failed
	rm -rf "$2.journal"
	build/tests/bench/tune/record "$1" "$2" "$2.journal" "$PWD/build/semantos-keeper" "$(command_of "$3")" "$4" \
		"$5" "$seed" >"$dir/record.out" 2>"$dir/record.err" &
	recorder=$!
	wait "$recorder"
	local code=$?
	recorder=
	return "$code"
}

plan_of() { # program: the plan as surface.h has it
	local knob values value now line tab=$'\t'
	echo "better$tab$(better_of "$1")"
	while read -r knob values; do
		now=$(value_of "$knob")
		[[ -n $now ]] || continue
		line=knob$tab$knob$tab$now
		for value in $values; do
			[[ $value == "$now" ]] || line+=$tab$value
		done
		echo "$line"
	done < <(grid_of "$1")
	line=
	while read -r value; do line+=$tab$value; done < <("$here"/profile.sh "$dir/tuned/usr/lib/tuned" "$(profile_of "$1")" "$disk" 2>"$dir/profile.err")
	[[ -z $line ]] || echo "extra$tab$(profile_of "$1")$line"
}
step_record() {
	local begin name
	# unpacked, never installed
	mkdir -p "$dir/tuned"
	(cd "$dir/tuned" && apt-get download -qq tuned >"$dir/tuned.err" 2>&1 && dpkg -x tuned_*.deb .) ||
		echo "The package tuned cannot be fetched: its profiles are left out."
	for name; do
		begin=$SECONDS
		start "$name" || continue
		plan_of "$name" >"$out/$name.plan"
		record "$out/$name.plan" "$out/$name.csv" "$name" "$visits" "$visit_pairs" || {
			echo "$name cannot be recorded: $(tail -n 1 "$dir/record.err")"
			failed=1
			stop
			continue
		}
		stop
		echo "$name: $(($(wc -l <"$out/$name.csv") - 1)) slices in $((SECONDS - begin)) s, load $(cut -d, -f7 "$out/$name.csv" | tail -n +2 | sort -g | sed -n '1p;$p' | paste -s -d' ' | sed 's/ / to /')"
	done
}

# The agent with an advisor, as they are; and their end, after which nothing of theirs stands.
agent_start() {
	build/semantos-agent --quiet --run-dir "$dir/run" --state-dir "$dir/state" --bpffs-dir "$bpffs" --telemetry-interval 2 >"$dir/agent.out" 2>"$dir/agent.err" &
	agent=$!
	for _ in {1..100}; do [[ ! -S $dir/run/agent.sock ]] || break; sleep 0.1; done
	[[ -S $dir/run/agent.sock ]] || die "the agent does not come up"
	build/semantos-advisor --socket "$dir/run/agent.sock" --kb "$dir/kb" --user root >"$dir/advisor.out" 2>"$dir/advisor.err" &
	advisor=$!
}
agent_stop() {
	kill "$advisor" 2>/dev/null || die "the advisor had ended"
	wait "$advisor"
	advisor=
	kill "$agent" && wait "$agent"
	agent=
}

# Twice as long as a run takes, so that a whole one always lies within.
slice_of() { # program: milliseconds
	local begin=$EPOCHREALTIME
	"$here"/workload.sh "$1" run "$dir/$1" "$each" >/dev/null
	awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%d\n", 2200 * (b - a) + 300 }'
}

live() { # program
	local words=() knob now kept='' begin=$SECONDS
	local -A was=()
	for knob in $(knobs_of "$1"); do
		now=$(value_of "$knob")
		[[ -n $now ]] || continue
		was[$knob]=$now
		words+=(--knob "$knob")
	done
	[[ $(better_of "$1") == lower ]] || words+=(--higher)
	timeout 3600 "${ctl[@]}" tune --improve "cmd:$(command_of "$1")" "${words[@]}" --apply auto --trials "$trials" \
		--pairs "$pairs" --every 20ms --slice "$(slice_of "$1")ms" --washout 150ms --seed "$seed" --because "bench-tune" --json >"$out/live-$1.jsonl" 2>"$dir/tune.err" ||
		{ echo "$1: tune ended with $?: $(tail -n 1 "$dir/tune.err")"; failed=1; }
	for knob in "${!was[@]}"; do
		now=$(value_of "$knob")
		[[ $now == "${was[$knob]}" ]] || kept+=$'\t'$knob=$now
	done
	echo "$1: $(grep -cE '"kind": *"proposed"' "$out/live-$1.jsonl") proposals, $(grep -cE '"kind": *"kept"' "$out/live-$1.jsonl") kept, $(grep -cE '"kind": *"undone"' "$out/live-$1.jsonl") undone, $(grep -cE '"kind": *"vetoed"' "$out/live-$1.jsonl") vetoed, load $(cut -d' ' -f1 /proc/loadavg), $((SECONDS - begin)) s"
	grep -hE '"kind": *"(kept|undone|vetoed)"' "$out/live-$1.jsonl" | sed -nE 's/.*"text": *"(([^"\\]|\\.)*)".*/  \1/p'
	"${ctl[@]}" reset >"$dir/reset.out" 2>&1 || { echo "$1: reset: $(tail -n 1 "$dir/reset.out")"; failed=1; }
	[[ -n $kept ]] || { echo "  nothing was kept: no effect"; return; }
	printf 'better\t%s\nextra\tkept%s\n' "$(better_of "$1")" "$kept" >"$out/live-$1.plan"
	record "$out/live-$1.plan" "$out/live-$1.csv" "$1" 2 "$confirm" ||
		{ echo "$1 cannot be measured again: $(tail -n 1 "$dir/record.err")"; failed=1; return; }
	sed 's/^configuration 0:/  in pairs anew, kept against as found:/' "$dir/record.out"
	! grep -q 'worse' "$dir/record.out" || { echo "  A REGRESSION WAS KEPT"; failed=1; }
}
step_live() {
	local name
	agent_start
	for name; do
		start "$name" || continue
		live "$name"
		stop
	done
	agent_stop
}

[[ $(id -u) -eq 0 ]] || { echo "needs root"; exit 77; }
[[ $# -gt 0 ]] || mapfile -t all < <("$here"/workload.sh list | cut -d' ' -f1)
[[ $# -gt 0 ]] || set -- "${all[@]}"
settings >"$dir/settings.before"
[[ $(wc -l <"$dir/settings.before") -ge 60 ]] || die "the settings of this machine cannot be listed"
echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) CPUs, Linux $(uname -r), disk $disk, load $(cut -d' ' -f1-3 /proc/loadavg), $(git describe --always --dirty 2>/dev/null), $(date -u +%FT%TZ)"
for step in $steps; do
	case $step in
	record | live) "step_$step" "$@" ;;
	replay)
		# in place of a fresh recording an older one will do
		build/tests/bench/tune/replay $out "$(uname -r)" "$seeds" "$budget" $here/gp.py "$@" || failed=1
		! command -v gnuplot >/dev/null || "$here"/plot.sh "$out"/rivals.svg
		;;
	*) die "there is no step $step: record, live, replay" ;;
	esac
done
settings >"$dir/settings.after"
if cmp -s "$dir/settings.before" "$dir/settings.after"; then
	echo "all $(wc -l <"$dir/settings.before") settings of this machine read as before"
else
	diff "$dir/settings.before" "$dir/settings.after" | sed 's/^/NOT RESTORED /'
	failed=1
fi
exit "$failed"
