#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# How mllb's scheduler ends when it is not asked to, and what is said of it: the kernel's watchdog ejects one that loses a
# task, and it is quarantined after the third time; another scheduler in force is named; an operator's SysRq is no fault of
# its; a real-time hog that keeps its tasks from running is blamed, and not the scheduler. A CPU goes and comes back.
# needs: kernel:6.18 program:build/semantos-agent program:build/semantosctl program:build/tests/vm/schedload program:bpftool
# needs: program:build/tests/vm/mllbnet file:build/policies/mllb/* file:build/bpf/*/*.bpf.o file:tests/vm/mllb.sh
# needs: file:build/tests/vm/schedother.bpf.o file:build/tests/vm/mllb_loses.bpf.o
# required: 6.18
# timeout: 160

fail() { tail -n 20 /tmp/agent.err; cat $scx/state; dmesg | grep -i sched_ext | tail -n 5; echo "$*"; exit 1; }
# shellcheck source=tests/vm/mllb.sh
. /tests/vm/mllb.sh
# shellcheck disable=SC2317 # waited for by until_true
said() { grep -q "$*" /tmp/agent.err; }
# shellcheck disable=SC2317 # as well
gone() { answers && ! grep -q '^mllb' /tmp/list; }
# shellcheck disable=SC2317 # as well
goes_on() { # a thread's folder: it has run since 0.2 s ago
	was=$(cut -d' ' -f1 "$1/schedstat")
	sleep 0.2
	[ "$(cut -d' ' -f1 "$1/schedstat")" -gt "$was" ]
}
enforce() { ctl attach mllb --mode enforce >/tmp/ctl 2>&1; }

clean
net yes
step "another scheduler"
bpftool struct_ops register build/tests/vm/schedother.bpf.o /sys/fs/bpf/other >/tmp/other 2>&1 || fail "no other: $(cat /tmp/other)"
[ "$(scheduler)" = other ] || fail "the other scheduler is not on"
start
until_true 20 answers || fail "the agent does not answer"
enforce && fail "two schedulers at once"
grep -q 'Another scheduler, other, is attached' /tmp/ctl || fail "not named: $(cat /tmp/ctl)"
attached mllb && fail "it is attached all the same"
ctl attach mllb || fail "shadow beside another scheduler was refused"
ctl mode mllb enforce >/tmp/ctl 2>&1 && fail "the mode was changed"
grep -q 'stays in shadow: Another scheduler, other,' /tmp/ctl || fail "not named: $(cat /tmp/ctl)"
build/semantosctl status --json | grep -q '"mode": *"shadow"' || fail "it is not in shadow"
build/semantosctl probe --json | grep -q 'scheduler other is attached' || fail "probe does not name it"
rm -rf /sys/fs/bpf/other
until_true 10 kernels || fail "the other scheduler stays"

step "a CPU goes and comes back"
$load wake --wakers 1 --workers 4 --seconds 900 --nice 10 >/tmp/wake &
wake=$!
ctl mode mllb enforce || fail "no enforce"
for round in 1 2 3; do
	$load hog --hogs 2 --cpu 1 --seconds 900 >/tmp/pinned & # the kernel lets them go on elsewhere once it is gone
	pinned=$!
	sleep 1
	echo 0 >/sys/devices/system/cpu/cpu1/online || fail "CPU 1 does not go"
	ours || fail "round $round: the scheduler went with the CPU: $(tail -n 1 /tmp/agent.err)"
	for thread in "/proc/$pinned/task"/*; do
		[ "$thread" = "/proc/$pinned/task/$pinned" ] || until_true 10 goes_on "$thread" || fail "round $round: a task of CPU 1 is left behind"
	done
	ours || fail "round $round: the scheduler went after the CPU: $(tail -n 1 /tmp/agent.err)"
	kill $pinned
	echo 1 >/sys/devices/system/cpu/cpu1/online || fail "CPU 1 does not come"
	sleep 0.5
done
ours || fail "the scheduler does not outlive a CPU"
kill -0 $wake || fail "the load died"

step "SysRq: from outside, no fault"
echo S >/proc/sysrq-trigger
until_true 10 said 'was taken off from outside' || fail "SysRq is not told"
until_true 5 kernels || fail "SysRq did nothing"
build/semantosctl status --json | grep -q '"mode": *"shadow"' || fail "after SysRq it is not in shadow"

step "a real-time hog: not the scheduler's fault"
ctl mode mllb enforce || fail "no enforce after SysRq"
$load hog --hogs 1 --cpu 1 --fifo 50 --seconds 12 >/tmp/hog &
hog=$!
$load hog --hogs 1 --cpu 1 --seconds 3 >/tmp/victim &
wait $hog
sleep 1
if said 'so the scheduler is not to blame'; then
	sed -n 's/.*because \(a task did not run.*\)/NOTE \1/p' /tmp/agent.err
	attached mllb || fail "it was taken down for a hog's sake"
	ctl mode mllb enforce || fail "no enforce after the hog"
elif ours; then
	echo "NOTE $(uname -r): tasks of the scheduler run beside a real-time hog"
else
	fail "the scheduler went, and nobody says why"
fi
ctl detach mllb || fail "no detach"

step "a scheduler at fault"
mkdir -p /tmp/lib/policies && cp -r build/policies/mllb /tmp/lib/policies/ && cp -r build/bpf /tmp/lib/
cp build/tests/vm/mllb_loses.bpf.o /tmp/lib/policies/mllb/mllb.bpf.o
kill $agent
wait $agent || fail "the agent ended with $?"
start --policy-path /tmp/lib/policies
until_true 20 answers || fail "the agent does not answer"
cp $load /tmp/lost
for round in 1 2 3; do
	: >/tmp/agent.err
	enforce || fail "round $round: $(cat /tmp/ctl)"
	ours || fail "round $round: it is not on"
	/tmp/lost hog --hogs 1 --seconds 1 >/dev/null 2>&1 &
	until_true 15 kernels || fail "round $round: the watchdog did nothing"
	until_true 10 said 'the kernel took it off: runnable task stall' || fail "round $round: not told"
	[ $round -gt 1 ] || sed -n 's/.*because \(the kernel took it off.*\)/NOTE \1/p' /tmp/agent.err
	until_true 10 gone || fail "round $round: it is still attached"
done
enforce && fail "after three ejections it was let in again"
grep -q -i quarantine /tmp/ctl || fail "quarantine is not told: $(cat /tmp/ctl)"
kill $agent
wait $agent || fail "the agent ended with $?"
kill $wake 2>/dev/null
exit 0
