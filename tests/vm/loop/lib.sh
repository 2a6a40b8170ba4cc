# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash disable=SC3043,SC3045 # busybox has local, and read -t
#
# lib.sh - sourced by the tests of this folder: the programs started and ended, the disks, the settings and their
# workloads, one goal of the tuning loop from first to last.
#
# Every disk is one of kmod/test, whose latency has a known noise. Lines "csv ..." on the report become build/vm/loop.csv:
#   csv seed,SETTING,SEED,OFFERED,REPAIRED,TRIALS,FROM,TO,BEFORE_US,AFTER_US,LOW,HIGH,SHARE
#   csv good,SETTING,BAD,GOOD,BAD_US,GOOD_US,CHANGE,LOW,HIGH    csv aa,RUNS,KEPT    csv fault,STAGE,FAULT,MS,CAME_TO

name=$(basename "$0" .sh)
seeds=${LOOP_SEEDS:-10}
few=${LOOP_SEEDS:-${SEMANTOS_SOAK:+10}}
few=${few:-3} # of what takes long
enough=67 # percent of the loss made good: repaired
ctl=build/semantosctl
agent='' advisor='' tune=''
observes=--no-syscall-rate # what the agent is told of telemetry: tests that learn nothing of it take none, which costs less

fail() {
	tail -n 4 /tmp/agent.err
	tail -n 12 /tmp/events /tmp/tune.err
	tail -n 5 /tmp/advisor
	echo "$*"
	exit 1
} 2>/dev/null
csv() { echo "OUT $name: csv $*" >/dev/ttyS1; }
say() { echo "OUT $name: $*" >/dev/ttyS1; }
# Hundredths of a second since the machine began, into $now: no process is begun for it.
look_at_clock() {
	local up
	read -r up _ </proc/uptime
	export now="${up%.*}${up#*.}"
}
# Seconds the CPU was not idle since the last time: what a test costs a machine that is emulated.
cost() {
	local up idle
	read -r up idle </proc/uptime
	awk -v u="$up" -v i="$idle" -v b="${cost_before:-0}" 'BEGIN { print u - i - b, u - i }' >/tmp/cost
	read -r cost cost_before </tmp/cost
}
until_shows() { # file, words
	local n=0
	until grep -q -- "$2" "$1" 2>/dev/null; do
		n=$((n + 1))
		[ $n -lt 800 ] || fail "\"$2\" does not come in $1"
		usleep 50000
	done
}
gone() { # process: within 20 s
	local n=0
	while kill -0 "$1" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; do
		n=$((n + 1))
		[ $n -lt 400 ] || return 1
		usleep 50000
	done
}
number() { # key, line of JSON
	echo "$2" | sed -n "s/.*\"$1\":\(-\{0,1\}[0-9][-+.0-9e]*\).*/\1/p"
}

# ---- programs ----

agent_start() {
	# shellcheck disable=SC2086 # words are meant
	build/semantos-agent --device semtest0 --quiet $observes >/tmp/agent.out 2>>/tmp/agent.err &
	agent=$!
	until_shows /proc/net/unix /run/semantos/agent.sock
}
agent_end() {
	kill -TERM "$agent"
	wait "$agent" || fail "the agent ended with $?"
}
advisor_start() { # with what it knew, unless "anew"
	[ "${1-}" != anew ] || rm -rf /tmp/kb
	: >/tmp/advisor # what the last one said is not this one's
	build/semantos-advisor --user root --kb /tmp/kb >/tmp/advisor 2>&1 &
	advisor=$!
	until_shows /tmp/advisor "The knowledge base"
}
advisor_end() {
	kill -TERM "$advisor"
	wait "$advisor" || fail "the advisor ended with $?"
}
# Nothing is in force, and nobody knows anything: not the journal either, that this was undone three times of late.
afresh() {
	$ctl reset --forget >/tmp/shown 2>&1 || fail "no reset: $(cat /tmp/shown)"
	agent_end
	advisor_end
	rm -rf /var/lib/semantos
	agent_start
	advisor_start anew
}

# ---- settings ----

# swap and a control group for the workloads that want them
group=/sys/fs/cgroup/load
swap_on() {
	modprobe semantos_testdev seed=3 \
		devices="fixed:fast_us=1000,jitter_pct=20;fixed:fast_us=300,jitter_pct=20,backed=1,mb=16" || exit 1
	mkswap /dev/semtest1 >/dev/null && swapon /dev/semtest1 || exit 1
	echo "+memory" >/sys/fs/cgroup/cgroup.subtree_control && mkdir -p $group || exit 1
}

# What is wrong, what would be right, and the work that tells: $knob $file $bad $good $work (SEED in it), $slice in ms.
setting() { # name
	local queue=/sys/block/semtest0/queue block=sysfs:block/semtest0/queue
	slice=150
	case $1 in
	read-ahead)
		modprobe semantos_testdev seed=1 devices="fixed:fast_us=1000,jitter_pct=20" || exit 1
		knob=$block/read_ahead_kb file=$queue/read_ahead_kb bad=0 good=128
		work="read SEED /dev/semtest0 128" ;;
	queue-depth)
		modprobe semantos_testdev seed=1 devices="fixed:fast_us=4000,jitter_pct=50,depth=128" || exit 1
		echo none >$queue/scheduler # whose limit is the disk's own: 256, the usual default, is refused here
		knob=$block/nr_requests file=$queue/nr_requests bad=4 good=128
		work="queue SEED /dev/semtest0 48" slice=200 ;;
	merging)
		modprobe semantos_testdev seed=1 devices="fixed:fast_us=500,jitter_pct=50,channels=2" || exit 1
		knob=$block/nomerges file=$queue/nomerges bad=2 good=0
		work="merge SEED /dev/semtest0 32" ;;
	request-size)
		modprobe semantos_testdev seed=1 devices="fixed:fast_us=500,jitter_pct=50,channels=1" || exit 1
		knob=$block/max_sectors_kb file=$queue/max_sectors_kb bad=4 good=127 # the most that the disk takes; the usual default is more
		work="read SEED /dev/semtest0 256" ;;
	dirty-limit)
		modprobe semantos_testdev seed=1 devices="fixed:fast_us=500,jitter_pct=50,channels=1,kib_ns=20000" || exit 1
		# the disk is the only one that is written: a new one's share of the limit is next to nothing else
		echo 90 >/sys/block/semtest0/bdi/min_ratio
		knob=sysctl:vm.dirty_ratio file=/proc/sys/vm/dirty_ratio bad=1 good=20
		work="write SEED /dev/semtest0 12288" slice=1500 ;;
	swappiness)
		swap_on
		echo 5242880 >$group/memory.max
		knob=sysctl:vm.swappiness file=/proc/sys/vm/swappiness bad=0 good=60
		work="cold SEED /dev/semtest0 2048 3584" slice=1500 ;;
	swap-read-ahead)
		swap_on
		knob=sysctl:vm.page-cluster file=/proc/sys/vm/page-cluster bad=0 good=3
		work="swapin SEED $group 1024" slice=400 ;;
	huge-pages)
		knob=sysfs:kernel/mm/transparent_hugepage/enabled file=/sys/kernel/mm/transparent_hugepage/enabled bad=never good=always
		modprobe semantos_testdev seed=1 devices="fixed:fast_us=1000" || exit 1
		work="huge SEED 4096" ;;
	*) fail "there is no setting $1" ;;
	esac
	case $1 in
	swap*) load="echo \$\$ >$group/cgroup.procs; exec build/tests/vm/loopload $work" ;;
	*) load="exec build/tests/vm/loopload $work" ;;
	esac
	setting=$1
	usual=$(value)
}
setting_end() {
	echo "$usual" >"$file"
	swapoff -a
	rmmod semantos_testdev || fail "the disks do not leave"
}
value() { sed 's/.*\[\(.*\)\].*/\1/' "$file"; } # of words the one in brackets
run_once() { # seed: microseconds
	sh -c "$(echo "$load" | sed "s/SEED/$1/")" | sed -n 's/^metric=//p'
}
# Is the value that is known to be good better in this very machine, under this very work? Pairs in turn, with their interval.
known_good() {
	local i a b
	: >/tmp/pairs
	for i in 1 2 3 4 5 6 7 8 9 10 11; do
		echo "$bad" >"$file" || fail "$file does not take $bad"
		a=$(run_once "$i")
		echo "$good" >"$file" || fail "$file does not take $good"
		b=$(run_once "$i")
		if [ -z "$a" ] || [ -z "$b" ]; then fail "the work '$work' fails"; fi
		[ "$i" = 1 ] || echo "$a $b" >>/tmp/pairs # the first run reads the program
	done
	echo "$bad" >"$file"
	# busybox's awk has no sqrt
	awk 'function root(x,   r, i) { for (r = x + 1; i < 60; i++) r = (r + x / r) / 2; return r }
		{ n++; a += $1; b += $2; d[n] = $2 - $1; s += d[n] }
		END { m = s / n; for (i = 1; i <= n; i++) v += (d[i] - m) * (d[i] - m)
			e = 2.262 * root(v / (n - 1) / n) # t of 9 degrees, 95 %
			a /= n; b /= n
			printf "%.1f %.1f %.3f %.3f %.3f\n", a, b, m / a, (m - e) / a, (m + e) / a }' /tmp/pairs >/tmp/good
	read -r bad_us good_us change low high </tmp/good
	csv "good,$setting,$bad,$good,$bad_us,$good_us,$change,$low,$high"
	awk -v h="$high" 'BEGIN { exit !(h < -0.1) }' || {
		echo "$good is not better than $bad by a tenth here: $change ($low to $high)"
		exit 77
	}
}

# ---- one goal ----

# semantosctl tune as a process of its own, whose lines come through the descriptor 3.
tune_start() { # seed, options...
	local seed=$1
	shift
	rm -f /tmp/pipe
	mkfifo /tmp/pipe
	: >/tmp/events
	$ctl tune --workload "$(echo "$load" | sed "s/SEED/$seed/")" --lower --json --slice "${slice}ms" --washout 30ms --pairs 8 \
		--seed "$seed" --because "the lab asks" "$@" >/tmp/pipe 2>/tmp/tune.err &
	tune=$!
	exec 3</tmp/pipe
}
# The next line of it into $line; false at its end. One that says nothing for a minute and a half is not waited for.
tune_line() {
	line=
	read -r -t 90 line <&3 || return 1
	echo "$line" >>/tmp/events
}
tune_end() { # an interrupt, and what it says then; $tune_code
	kill -INT "$tune" 2>/dev/null
	while tune_line; do :; done
	wait "$tune"
	tune_code=$?
	exec 3<&-
	usleep 300000 # the agent knows a moment later that the client is gone, and has one goal at a time
}
# Tune until what the bad value costs is made good, or the trials are used up: $repaired $trials and more.
tune_until_repaired() { # seed, trials, options...
	local most=$2 seed=$1 after_us last
	shift 2
	repaired=0 trials=0 share=0 last='' after_us=0
	tune_start "$seed" --apply auto --trials "$most" "$@"
	while tune_line; do
		case $line in
		*'"kind":"admitted"'*) trials=$((trials + 1)) ;;
		*'"kind":"kept"'*)
			last=$line after_us=$(number after "$line")
			share=$(awk -v a="$after_us" -v b="$bad_us" -v g="$good_us" 'BEGIN { printf "%d", 100 * (b - a) / (b - g) }')
			if [ "$share" -ge $enough ]; then
				repaired=1
				break
			fi ;;
		esac
	done
	tune_end
	[ $tune_code -eq 0 ] || fail "tune ended with $tune_code"
	csv "seed,$setting,$seed,$offered,$repaired,$trials,$bad,$(value),$(number before "$last"),$after_us,$(number low "$last"),$(number high "$last"),$share"
}

# The whole test of one setting: known to be wrong, then found and repaired in nine of ten seeds.
repairs() { # setting, trials, options...
	local most=$2 good_seeds=0 sum='' seed
	setting "$1"
	shift 2
	cost
	known_good
	cost
	sum="known good $cost s"
	agent_start
	advisor_start anew
	cost
	sum="$sum, start $cost s"
	seed=1
	while [ "$seed" -le "$seeds" ]; do
		[ "$(value)" = "$bad" ] || fail "$file is $(value) before seed $seed, not $bad"
		offered=alone
		tune_until_repaired "$seed" "$most" --knob "$knob" "$@"
		cost
		good_seeds=$((good_seeds + repaired)) sum="$sum, $trials in $cost s"
		afresh
		cost
		seed=$((seed + 1))
	done
	[ "$(value)" = "$bad" ] || fail "$file is $(value) after a reset, not $bad"
	$ctl audit >/tmp/shown 2>&1 || fail "the audit says: $(cat /tmp/shown)"
	agent_end
	advisor_end
	setting_end
	echo "NOTE $setting: $bad costs $bad_us us, $good $good_us us; repaired in $good_seeds of $seeds seeds, trials and the CPU's time: $sum"
	[ $((good_seeds * 10)) -ge $((seeds * 9)) ] || fail "$setting: repaired in $good_seeds of $seeds seeds only"
}
