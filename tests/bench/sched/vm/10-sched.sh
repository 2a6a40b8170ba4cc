#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the lab's machine: every load under every scheduler, in rounds, so that what the host does meanwhile meets all of them
# alike. One line a run: "run ROUND ROW LOAD key=value ...". Rows: eevdf is the kernel's own; the others are mllb's scheduler
# with a net that always says no, always yes, says what random weights say, the plain rule alone, the published net in
# force whatever it has shown here, and what mllb learns here from the kernel's own answers, obeyed if it has shown signal.
# needs: kernel:6.18 program:build/semantos-agent program:build/semantosctl program:build/tests/vm/schedload program:bpftool
# needs: program:build/tests/vm/mllbnet program:build/tests/bench/sched/idlewatch file:build/tests/bench/sched/idle.bpf.o
# needs: file:build/policies/mllb/* file:build/bpf/*/*.bpf.o file:tests/vm/mllb.sh file:build/bench/sched/published.safetensors?
# timeout: 2400

fail() { tail -n 20 /tmp/agent.err; echo "$*"; exit 1; }
# shellcheck source=/dev/null # it is linted apart
. /tests/vm/mllb.sh
name=${name:-10-sched} agent='' seconds=${sched_seconds:-5} mine=/var/lib/semantos/mllb/cpus.safetensors
rows="eevdf no yes random plain learned"
[ ! -e build/bench/sched/published.safetensors ] || rows="$rows published"
[ -z "$sched_rows" ] || rows=$(echo "$sched_rows" | tr , ' ')

report() { sed "s/^NOTE /OUT $name: /" >/dev/ttyS1; } # at once, so that it is there whatever happens later
watched() { build/tests/bench/sched/idlewatch build/tests/vm/schedload "$@"; }
one() { # load: its options for this machine
	case $1 in
	wake) watched wake --wakers 2 --workers 6 --work 20000 --seconds "$seconds" ;;
	hack) watched hack --groups 2 --pairs 5 --loops "$((seconds * 200))" ;;
	mix) watched mix --hogs 6 --sleepers 8 --work 20000 --seconds "$seconds" ;;
	esac
}
# shellcheck disable=SC2317 # waited for by until_true
has_model() { [ -e $mine ]; }
learn() { # by the kernel's answers under the loads that follow; into /tmp
	build/tests/vm/schedload mix --hogs 6 --sleepers 8 --work 20000 --seconds 900 --nice 10 >/tmp/mix &
	busy=$!
	start --policy mllb --rows 400
	until_true 120 has_model || fail "nothing is learned in 120 s"
	sleep 2
	kill "$agent"
	wait "$agent"
	kill $busy
	sed -n 's/.*cpus: learned/NOTE learned/p' /tmp/agent.err | report
	cp $mine /tmp/learned.safetensors
}
row_on() { # row, round
	[ "$1" != eevdf ] || return 0
	rm -rf /var/lib/semantos
	case $1 in
	plain) ;;
	random) net "random:$2" ;;
	learned)
		mkdir -p /var/lib/semantos/mllb
		cp /tmp/learned.safetensors $mine
		;;
	published) net model:build/bench/sched/published.safetensors ;;
	*) net "$1" ;;
	esac
	start --policy mllb --mode enforce
	until_true 20 ours || fail "$1: the scheduler is not on"
	attached mllb
	sleep 1
}
row_off() {
	[ "$1" != eevdf ] || return 0
	attached mllb && echo "OUT $1 net=$(counted 4) plain=$(($(counted 5) + $(counted 6) + $(counted 7))) moved=$(counted 13) waited=$(counted 3)"
	kill "$agent"
	wait "$agent" || fail "$1: the agent ended with $?"
	kernels || fail "$1: the scheduler stays"
}

clean
case " $rows " in *" learned "*) learn ;; esac
for round in $(seq "${sched_rounds:-5}"); do
	for row in $rows; do
		row_on "$row" "$round"
		for what in wake hack mix; do
			one $what >/tmp/one 2>&1 || fail "$row: the load $what failed: $(cat /tmp/one)"
			echo "NOTE run $round $row $what $(tr '\n' ' ' </tmp/one)" | report
		done
		row_off "$row" >/tmp/off
		sed 's/^OUT /NOTE decided /' /tmp/off | report
	done
	rows="${rows#* } ${rows%% *}" # each round begins with another one
done
