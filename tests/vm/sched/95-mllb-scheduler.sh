#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# mllb's scheduler under load: on and off by the mode, beside linnos; by the net while the agent lives, by the plain rule
# once it is stopped, and the kernel's own when it is killed. Attach and detach again and again lose no task and leak
# nothing; how long the kernel's own scheduled in between is told.
# needs: kernel:6.18 program:build/semantos-agent program:build/semantosctl program:build/tests/vm/schedload program:bpftool
# needs: program:build/tests/vm/mllbnet file:build/policies/mllb/* file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# needs: file:tests/vm/mllb.sh
# required: 6.18
# timeout: 300

fail() { tail -n 20 /tmp/agent.err; cat $scx/state; dmesg | tail -n 40; echo "$*"; exit 1; }
# shellcheck source=tests/vm/mllb.sh
. /tests/vm/mllb.sh
# shellcheck disable=SC2317 # waited for by until_true
grew() { [ "$(counted "$1")" -gt "$2" ]; }

clean
net yes
step "the agent starts"
start --policy linnos,mllb
until_true 20 attached mllb || fail "mllb is not attached"
kernels || fail "its scheduler is on in shadow"
# Whoever is asked must get to answer, on an emulated CPU too: so the loads are nice. They keep all CPUs busy as they are.
$load mix --hogs 4 --sleepers 6 --seconds 7200 --nice 10 >/tmp/mix &
mix=$!
$load wake --wakers 1 --workers 4 --seconds 7200 --nice 10 >/tmp/wake &
wake=$!
step "enforce"
ctl mode mllb enforce || fail "enforce was refused"
ours || fail "the scheduler is not on: '$(scheduler)'"
attached linnos || fail "linnos is gone"
until_true 20 grew $s_net 100 || fail "the net decides nothing: $(decisions)"
[ "$(counted $s_no_lease)" -lt "$(counted $s_net)" ] || fail "the lease is not kept alive"

step "the agent is stopped"
kill -STOP $agent
sleep 0.3
before=$(counted $s_net) lapsed=$(counted $s_no_lease)
sleep 2
[ "$(counted $s_net)" -eq "$before" ] || fail "the net decides for a stopped agent"
until_true 10 grew $s_no_lease "$lapsed" || fail "nothing decides for a stopped agent"
ours || fail "the scheduler went with a stopped agent"
kill -CONT $agent
until_true 10 grew $s_net "$before" || fail "the net does not decide again"

step "canary"
ctl mode mllb canary:50 || fail "no canary"
until_true 10 grew $s_control 0 || fail "there is no control group"
ctl mode mllb shadow || fail "no shadow"
until_true 5 kernels || fail "the scheduler stays on in shadow"
lawful || fail "decisions are unaccounted for: $(decisions)"

# Again and again for 2 min, or for 30: five seconds off and on, or as long as loading takes here.
stress=120 round=0
[ -z "$SEMANTOS_SOAK" ] || stress=1800
end=$(($(cut -d. -f1 /proc/uptime) + stress))
while [ "$(cut -d. -f1 /proc/uptime)" -lt $end ]; do
	round=$((round + 1))
	step "round $round"
	next=$(($(cut -d. -f1 /proc/uptime) + 5))
	ctl detach mllb >/tmp/ctl 2>&1 || fail "round $round: $(cat /tmp/ctl)"
	kernels || fail "round $round: it is still on"
	ctl attach mllb --mode enforce >/tmp/ctl 2>&1 || fail "round $round: $(cat /tmp/ctl)"
	ours || fail "round $round: it is not on"
	kill -0 $mix $wake || fail "round $round: a load died"
	while [ "$(cut -d. -f1 /proc/uptime)" -lt $next ]; do sleep 0.2; done
done
echo "NOTE $round rounds in $stress s"
sed -n 's/.*mllb: its scheduler is on after \([0-9.]*\) ms; for \([0-9.]*\) ms.*/\1 \2/p' /tmp/agent.err | sort -n -k2 | awk '
	{ on[NR] = $1; gap[NR] = $2 } END { print "NOTE on " NR " times; the kernel scheduled in between for " gap[1] " to " gap[NR] " ms" }'
attached linnos || fail "linnos is gone"

step "the agent is killed"
kill -KILL $agent
until_true 5 kernels || fail "the scheduler outlives its agent"
kill -0 $mix $wake || fail "a load died"
start --policy mllb --mode enforce
until_true 20 ours || fail "the next agent has no scheduler"
kill $agent
wait $agent || fail "the agent ended with $?"
kernels || fail "the scheduler outlives its agent's end"
grep -q 'unaccounted' /tmp/agent.err && fail "decisions are unaccounted for"
[ ! -e $pins ] || fail "pins were left"
dmesg | grep -i 'sched_ext' | grep -i 'error\|stall' && fail "the kernel complained"
exit 0
