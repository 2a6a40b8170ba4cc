#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the lab's machine: every load under every scheduler, in rounds, so that what the host does meanwhile meets all of them
# alike. One line a run: "run ROUND ROW LOAD key=value ...". Rows: eevdf is the kernel's own; the others are mllb's scheduler
# with a net that always says no, always yes, says what random weights say, the plain rule alone, and what mllb learned from
# the kernel's own answers, where those can be heard.
# needs: kernel:6.18 program:build/semantos-agent program:build/semantosctl program:build/tests/vm/schedload program:bpftool
# needs: program:build/tests/vm/mllbnet program:build/tests/bench/sched/idlewatch file:build/tests/bench/sched/idle.bpf.o
# needs: file:build/policies/mllb/* file:build/bpf/*/*.bpf.o file:tests/vm/mllb.sh file:build/bench/sched/learned.safetensors?
# timeout: 2400

fail() { tail -n 20 /tmp/agent.err; echo "$*"; exit 1; }
# shellcheck source=/dev/null # it is linted apart
. /tests/vm/mllb.sh
load=build/tests/vm/schedload agent='' seconds=${sched_seconds:-5}
rows="eevdf no yes random plain"
[ ! -e build/bench/sched/learned.safetensors ] || rows="$rows learned"

one() { # load: its options for this machine
	case $1 in
	wake) $load wake --wakers 2 --workers 6 --work 20000 --seconds "$seconds" ;;
	hack) $load hack --groups 2 --pairs 5 --loops "$((seconds * 12))" ;;
	mix) $load mix --hogs 6 --sleepers 8 --work 20000 --seconds "$seconds" ;;
	esac
}
row_on() { # row, round
	[ "$1" != eevdf ] || return 0
	rm -rf /var/lib/semantos
	case $1 in
	plain) ;;
	random) net "random:$2" ;;
	learned)
		mkdir -p /var/lib/semantos/mllb
		cp build/bench/sched/learned.safetensors /var/lib/semantos/mllb/cpus.safetensors
		;;
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
for round in $(seq "${sched_rounds:-5}"); do
	for row in $rows; do
		row_on "$row" "$round"
		for what in wake hack mix; do
			build/tests/bench/sched/idlewatch "$seconds" >/tmp/idle 2>&1 &
			watch=$!
			one $what >/tmp/one || fail "$row: the load $what failed"
			wait $watch || fail "$row: $(cat /tmp/idle)"
			echo "NOTE run $round $row $what $(cat /tmp/one) $(cat /tmp/idle)"
		done
		row_off "$row" >/tmp/off
		sed 's/^OUT /NOTE decided /' /tmp/off
	done
	rows="${rows#* } ${rows%% *}" # each round begins with another one
done
