# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# mllb.sh - what the tests of mllb share, in the lab's machine. Sourced, not run; a test asks for it with
# "needs: file:tests/vm/mllb.sh". The test has its own fail().

scx=/sys/kernel/sched_ext
pins=/sys/fs/bpf/semantos/mllb
# shellcheck disable=SC2034 # for the tests
load=build/tests/vm/schedload

ran() { cat "/proc/$1"/task/*/schedstat 2>/dev/null | awk '{ n += $1 } END { printf "%.0f\n", n / 1000 }'; } # a process, in us
step() { echo "at $(cut -d' ' -f1 /proc/uptime) s: $*"; } # seen where the test fails
trap 'fail "stopped before it was through"' TERM
until_true() { # seconds, words: wait for it
	n=$(($1 * 5))
	shift
	while ! "$@"; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.2
	done
}
scheduler() { # the scheduler in force, "" = the kernel's own
	[ "$(cat $scx/state)" = disabled ] || cat $scx/root/ops 2>/dev/null
}
ours() { [ "$(scheduler)" = semantos_mllb ]; }
kernels() { [ "$(cat $scx/state)" = disabled ]; }
sum_of() { # table, number of the counter: summed over CPUs
	bpftool -j map dump pinned $pins/"$1" >/tmp/counts 2>/dev/null
	tr -d ' \n"' </tmp/counts | sed 's/.*formatted//' | grep -o 'count:\[[0-9,]*\]' | sed 's/count:\[//; s/\]//' |
		cut -d, -f$(($2 + 1)) | awk '{ n += $1 } END { print n + 0 }'
}
# Numbers of enum semantos_sched_counter in bpf/sched_wire.h.
s_candidates=1 s_fixed=2 s_waited=3 s_net=4 s_no_lease=5 s_no_model=6 s_no_signal=7 s_shadow=8 s_control=9
s_yes=12 s_moved=13 s_lost=14
counted() { sum_of sched_counts "$1"; }
decisions() { # all of them, in one line
	counted 1 >/dev/null
	tr -d ' \n"' </tmp/counts | grep -o 'count:\[[0-9,]*\]' | tr '\n' ' '
}
lawful() { # at rest: whatever was looked at was decided by somebody, whatever was to be moved was moved or lost
	left=$(($(counted $s_candidates)))
	for which in $s_fixed $s_waited $s_net $s_no_lease $s_no_model $s_no_signal $s_shadow $s_control; do
		left=$((left - $(counted "$which")))
	done
	left=$((left * left + ($(counted $s_yes) - $(counted $s_moved) - $(counted $s_lost)) * \
		($(counted $s_yes) - $(counted $s_moved) - $(counted $s_lost))))
	[ $left -eq 0 ]
}
start() { # words for the agent; its number is in $agent
	build/semantos-agent --quiet --no-telemetry "$@" >/tmp/agent.out 2>/tmp/agent.err &
	# shellcheck disable=SC2034 # for the tests
	agent=$!
}
ctl() { build/semantosctl "$@" --timeout 60; } # a busy host makes slow machines
answers() { build/semantosctl list >/tmp/list 2>/dev/null; }
attached() { answers && grep -q "^$1" /tmp/list; }
net() { # kind: mllb finds it as what it learned before
	mkdir -p /var/lib/semantos/mllb
	build/tests/vm/mllbnet "$1" /var/lib/semantos/mllb/cpus.safetensors || fail "no net"
}
clean() { rm -rf /var/lib/semantos /sys/fs/bpf/semantos; }
