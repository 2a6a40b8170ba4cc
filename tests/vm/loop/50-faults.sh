#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Everything that takes part is killed or stopped, somebody else writes the same setting, and the guard's source dies, in
# every stage of a change: each time all settings read as at first, or as that somebody left them, within docs/safety.md's
# bounds.
# needs: program:build/semantos-agent program:build/semantosctl program:build/semantos-keeper program:build/semantos-advisor
# needs: module:semantos_testdev file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# needs: program:build/tests/vm/loopload file:tests/vm/loop/lib.sh
# clock: icount
# required: 6.12
# timeout: 2400

. tests/vm/loop/lib.sh
observes=--no-telemetry
stages=${LOOP_STAGES:-waiting,canary,ramp,full,confirmation,kept}
faults=${LOOP_FAULTS:-agent-killed,agent-stopped,keeper-killed,advisor-killed,advisor-stopped,client-killed,theirs-over-new,theirs-over-old,source-fails,source-hangs,source-silent,guard-broken}
setting read-ahead
theirs=52
slice=200
fail() {
	tail -n 4 /tmp/agent.err
	tail -n 12 /tmp/events /tmp/tune.err
	tail -n 5 /tmp/advisor
	echo "$stage, $fault: $*"
	exit 1
}
settings() { grep -s . /sys/block/semtest0/queue/* /proc/sys/vm/*; }
# The value itself, without a process.
reads() { read -r is <"$file" && [ "$is" = "$1" ]; }
# How long, in ms, until the setting reads so; at most so many hundredths of a second.
until_reads() { # value, most, what for
	look_at_clock
	began=$now
	until reads "$1"; do
		look_at_clock
		[ $((now - began)) -le "$2" ] || fail "$3: read_ahead_kb is still $is after $((now - began))0 ms"
		usleep 5000
	done
	look_at_clock
	took=$(((now - began) * 10))
}
stays() { # value, hundredths of a second
	look_at_clock
	began=$now
	while [ $((now - began)) -lt "$2" ]; do
		reads "$1" || fail "read_ahead_kb turned to $is, it was to stay $1"
		usleep 20000
		look_at_clock
	done
}
until_not() { # value: the one under trial stands
	look_at_clock
	began=$now
	while reads "$1"; do
		look_at_clock
		[ $((now - began)) -le 1000 ] || fail "what is tried does not come to stand"
		usleep 5000
	done
}
until_event() { # pattern
	while tune_line; do
		# shellcheck disable=SC2254 # a pattern is meant
		case $line in $1) return ;; esac
	done
	fail "\"$1\" does not come"
}
sources() { # signal: to the processes that measure the guard and the workload
	for comm in /proc/[0-9]*/comm; do
		read -r who <"$comm" 2>/dev/null || continue
		[ "$who" != semantos-measur ] || {
			pid=${comm#/proc/}
			kill "-$1" "${pid%/comm}"
		}
	done
}
keeper() { pidof semantos-keeper; }

# Tune, as far as the stage; the new value stands then, but for a waiting proposal.
come_to() { # stage
	apply=auto
	[ "$1" != waiting ] || apply=advise
	rm -f /tmp/slo
	echo 1 >/tmp/slo
	tune_start 1 --apply $apply --trials 1 --knob "$knob" --slo 'cmd:cat /tmp/slo < 100' --every 100ms --timeout 1
	case $1 in
	waiting) until_event '*"kind":"waiting"*' ;;
	confirmation) until_event '*stands for the whole time*' ;;
	kept) until_event '*"kind":"kept"*' ;;
	*) until_event "*\"kind\":\"stage\"*, $1:*" ;;
	esac
	proposal=$(number proposal "$line")
	[ "$1" = waiting ] || until_not "$bad"
}
approve() { $ctl approve "$proposal" >/tmp/shown 2>&1 || fail "not approved: $(cat /tmp/shown)"; }
# What is kept is kept; a reset undoes it.
undo_kept() {
	$ctl reset >/tmp/shown 2>&1 || fail "no reset: $(cat /tmp/shown)"
}
outcome() { came_to=$(sed -n 's/.*"kind":"\(kept\|undone\)".*/\1/p' /tmp/events | tail -n 1); }
# It goes on to its end, as if nothing had been; approved now if it waits.
goes_on() {
	[ "$stage" != waiting ] || approve
	[ "$stage" = kept ] || until_event '*"kind":"kept"*'
	tune_end
	[ "$tune_code" -eq 0 ] || fail "tune ended with $tune_code"
	! reads "$bad" || fail "what was kept does not stand"
	undo_kept
	until_reads "$bad" 100 "after the reset"
}
undone() { # hundredths of a second, words of the event
	if [ "$stage" = waiting ]; then
		usleep 3500000 # it is known by now
		approve
		stays "$bad" 50
	else
		# that it reads so is not enough: every other slice it does
		look_at_clock
		began=$now
		until_event '*"kind":"breach"*'
		until_reads "$bad" 10 "a guard broke"
		look_at_clock
		ms=$(((now - began) * 10))
		[ $ms -le $(($1 * 10)) ] || fail "undone after $ms ms only"
	fi
	until_event "$2"
	stays "$bad" 50
	tune_end
}

inject() {
	ms=- took=0
	case $fault in
	agent-killed)
		kill -9 $agent
		until_reads "$bad" 100 "the agent was killed"
		ms=$took
		gone $tune || fail "tune does not end"
		tune_end
		[ "$tune_code" -ne 0 ] || [ "$stage" = kept ] || fail "tune ended in order though the agent was killed"
		wait $agent
		agent_start ;;
	agent-stopped)
		kill -STOP $agent
		until_reads "$bad" 100 "the agent was stopped"
		ms=$took
		stays "$bad" 100
		kill -CONT $agent
		stays "$bad" 200
		tune_end
		kill -0 $agent || fail "the agent is gone" ;;
	keeper-killed)
		was=$(keeper)
		kill -9 "$was"
		n=0
		until [ -n "$(keeper)" ] && [ "$(keeper)" != "$was" ]; do
			n=$((n + 1))
			[ $n -lt 40 ] || fail "there is no new keeper"
			usleep 50000
		done
		# and it does its work
		if [ "$stage" != kept ]; then
			tune_end
			outcome
			[ "$came_to" != kept ] || undo_kept
			until_reads "$bad" 100 "the client went"
		else
			kill -9 $agent
			until_reads "$bad" 100 "the agent was killed, the keeper being new"
			ms=$took
			tune_end
			wait $agent
			agent_start
		fi ;;
	advisor-killed)
		kill -9 $advisor
		wait $advisor
		goes_on
		advisor_start ;;
	advisor-stopped)
		kill -STOP $advisor
		goes_on
		kill -CONT $advisor ;;
	client-killed)
		kill -9 $tune
		if [ "$stage" = kept ]; then
			stays "$(cat "$file")" 100
			undo_kept
		fi
		until_reads "$bad" 100 "the client was killed"
		ms=$took
		tune_end
		n=0
		while pidof semantos-measure >/dev/null; do
			n=$((n + 1))
			[ $n -lt 60 ] || fail "what the client began is still there"
			usleep 50000
		done ;;
	theirs-over-*)
		[ "$fault" != theirs-over-old ] || [ "$stage" = confirmation ] || [ "$stage" = kept ] || until_reads "$bad" 500 "the old value"
		echo $theirs >"$file"
		[ "$stage" = kept ] || until_event '*"kind":"undone"*'
		stays $theirs 100
		tune_end
		undo_kept
		stays $theirs 50
		echo "$bad" >"$file" ;;
	# The source ends with 1 at once; hangs until its timeout of 1 s; is silent, which is told after three times that long.
	source-fails)
		rm /tmp/slo
		undone 50 '*"kind":"undone"*gave no number*' ;;
	source-hangs)
		rm /tmp/slo
		mkfifo /tmp/slo
		undone 150 '*"kind":"undone"*gave no number*' ;;
	source-silent)
		sources STOP
		undone 350 '*"kind":"undone"*silent*'
		sources CONT ;;
	guard-broken)
		echo 100 >/tmp/slo
		undone 50 '*"kind":"undone"*was declared*' ;;
	*) fail "there is no such fault" ;;
	esac
}

echo "$bad" >"$file"
settings >/tmp/before
stage=none fault=none scenes=0 worst=0
agent_start
advisor_start anew
for stage in $(echo "$stages" | tr , ' '); do
	for fault in $(echo "$faults" | tr , ' '); do
		# the keeper begins with the first change; when it is kept nothing is tried any more that a guard could end; and
		# in the last two there is but one value
		case $stage-$fault in
		waiting-keeper-* | kept-source-* | kept-guard-* | kept-theirs-over-old | confirmation-theirs-over-old | waiting-theirs-over-new) continue ;;
		esac
		come_to "$stage"
		inject
		reads "$bad" || fail "read_ahead_kb is $is at the end"
		settings >/tmp/after
		cmp -s /tmp/before /tmp/after || fail "settings changed: $(diff /tmp/before /tmp/after)"
		$ctl audit >/tmp/shown 2>&1 || fail "the audit says: $(cat /tmp/shown)"
		outcome
		csv "fault,$stage,$fault,$ms,${came_to:--}"
		scenes=$((scenes + 1))
		case $fault in agent-* | client-*) [ "$ms" -le $worst ] || worst=$ms ;; esac
		afresh
	done
done
agent_end
advisor_end
setting_end
echo "NOTE $scenes faults, each setting as it was; agent or client gone: undone after $worst ms at the latest"
