#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The example of linnos: an application that reads one of three files avoids the disk whose next read is foreseen to be
# slow. In force it fails over and meets fewer slow reads than round robin, while verdicts permuted in time do not gain
# as much; in shadow, and once the agent is gone, it obeys none. On 6.12 it is promoted by what the application gains and
# reports in mode canary, elsewhere by the operator's word. Latency is judged in virtual time only.
# needs: kernel:6.12 program:build/semantos-agent program:build/semantosctl program:build/tests/vm/loadgen
# needs: module:semantos_testdev program:build/policies/linnos/examples/failover
# needs: file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# clock: icount
# timeout: 240

fail() { tail -n 8 /tmp/agent.err; cat /tmp/example; echo "$*"; exit 1; }
example() { # seconds: leaves its table in /tmp/example
	build/policies/linnos/examples/failover --seconds "$1" /dev/semtest0 /dev/semtest1 /dev/semtest2 >/tmp/example 2>&1
}
figure() { # strategy, column after its name
	sed -n "s/^$1  *\([0-9]\)/\1/p" /tmp/example | tr -s ' %' ' ' | cut -d' ' -f"$2"
}

disk=memory:fast_us=2000,slow_us=20000,fast_ms=500,slow_ms=250
modprobe semantos_testdev seed=11 devices="$disk;$disk;$disk" || exit 1
loads=
for number in 0 1 2; do
	build/tests/vm/loadgen --depth 2 --seconds 230 --think-us 4000 --seed $number /dev/semtest$number >/dev/null &
	loads="$loads $!"
done
build/semantos-agent --policy linnos --device 'semtest*' --rows 2000 --quiet >/tmp/agent.out 2>/tmp/agent.err &
agent=$!

with=0
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
	sleep 2
	build/semantosctl status --json >/tmp/status 2>/dev/null || continue
	with=$(grep -o '"signal": *true' /tmp/status | wc -l)
	[ "$with" -lt 3 ] || break
done
[ "$with" -ge 2 ] || { cat /tmp/status; : >/tmp/example; fail "$with of 3 disks have a model with signal"; }

example 5 || fail "in shadow the example ended with $?"
[ "$(figure verdict 6)" = 0.00 ] || fail "in shadow it failed over"
grep -q 'first choice: shadow' /tmp/example || fail "it does not say that the policy is in shadow"

mode() { build/semantosctl mode linnos "$1" >/tmp/mode 2>&1 || { cat /tmp/mode; fail "$1 was refused"; }; }
case ${SEMANTOS_SOAK-}$(uname -r) in
6.12.* | 1*)
	mode canary:50
	promoted=
	# the first look is after 32 seconds with both groups in them, the second after 64
	for _ in 1 2 3; do
		example 36 || fail "in mode canary the example ended with $?"
		build/semantosctl history >/tmp/history 2>&1
		promoted=$(grep 'canary:50 -> enforce' /tmp/history) && break
	done
	[ "$promoted" ] || { tail -n 3 /tmp/history; fail "what the application gained and reported did not promote the policy"; }
	grep -q 'first choice:.* control group of the canary [1-9]' /tmp/example || fail "nobody was in the control group"
	id=$(build/semantosctl history --json | tr '{' '\n' | grep -F 'canary:50 -> enforce' | grep -oE '"id": ?[0-9]+' | grep -oE '[0-9]+')
	build/semantosctl explain "$id" >/tmp/explained || fail "the promotion is not explained"
	sed -n 's/^evidence: /NOTE promoted: /p' /tmp/explained
	grep -q '^evidence: treated requests took -' /tmp/explained || { cat /tmp/explained; fail "the promotion has no evidence"; }
	;;
*) mode enforce ;;
esac
sleep 1
example 15 || fail "in force the example ended with $?"
sed 's/^/NOTE /' /tmp/example
share=$(figure verdict 6)
mean=$(figure verdict 2) turns=$(figure 'round robin' 2) permuted=$(figure permuted 2)
echo "NOTE in force: $share % of the reads failed over; mean $mean us, round robin $turns us, permuted verdicts $permuted us"
echo "$share $mean $turns $permuted" | awk '{ exit !($1 > 0) }' || fail "in force it never failed over"
echo "$mean $turns $permuted" | awk '{ exit !($1 < 0.8 * $2 && $1 < $3) }' ||
	fail "obeying gains nothing: mean $mean us, round robin $turns us, permuted $permuted us"

kill -9 $agent
sleep 0.2
example 2 || fail "after the agent was killed the example ended with $?"
[ "$(figure verdict 6)" = 0.00 ] || fail "it obeyed a dead agent"
grep -q 'first choice: no live agent' /tmp/example || fail "it does not say that the agent is gone"
# shellcheck disable=SC2086 # one word a process
kill $loads
exit 0
