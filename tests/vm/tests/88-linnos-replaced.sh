#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# linnos is replaced by a new linnos on a volume again and again, under verified I/O and in force: detached and attached
# anew while the agent runs, and every fifth time with its agent, which leaves to the next one what is in force. In between
# the default decides and nothing else; afterwards reads move again, by what was learned before. No decision is lost, and
# the data is right. A second policy that wants the volumes as well takes nothing from the first.
# needs: kernel:6.12 module:semantos module:semantos_testdev module:dm-semantos-replica program:dmsetup program:bpftool
# needs: program:build/semantos-agent program:build/semantosctl program:build/tests/vm/loadgen program:build/tests/vm/verifyio
# needs: file:build/policies/linnos/* file:build/bpf/*/*.bpf.o file:tests/vm/linnos.sh
# required: 6.12
# clock: icount
# timeout: 250

fail() { tail -n 12 /tmp/agent.err; cat $state /tmp/said; tail -n 3 /tmp/io; echo "$*"; exit 1; }
# shellcheck source=tests/vm/linnos.sh
. /tests/vm/linnos.sh
rounds=${SEMANTOS_SOAK:+1000}
rounds=${rounds:-8}
: >/tmp/said
agent() {
	build/semantos-agent --policy linnos --policy-path /tmp/lib/policies --device 'semtest*' --rows 3000 --quiet "$@" >>/tmp/agent.out 2>>/tmp/agent.err &
	agent=$!
}
ctl() { build/semantosctl "$@" >/tmp/said 2>&1 || fail "refused: semantosctl $*"; }
obeyed_more() { [ "$(counter obeyed)" -gt "$obeyed" ]; }
default_only() { # nobody decides: reads go on, by the default
	obeyed=$(counter obeyed) none=$(counter no_policy)
	until_true 2 free || fail "round $n: it is gone, and $(holder) decides"
	models 0 || fail "round $n: models were left in the module"
	until_true 5 unheld_more || fail "round $n: no read came while nobody decided"
	[ "$(counter obeyed)" = "$obeyed" ] || fail "round $n: it is gone, and obeyed"
}
unheld_more() { [ "$(counter no_policy)" -gt "$none" ]; }
generations() { sed -n 's/^model \([0-9]*\) .*generation=\([0-9]*\) .*/\1:\2/p' $state; }

mkdir -p /tmp/lib/policies && cp -r build/policies/linnos /tmp/lib/policies/ && cp -r build/bpf /tmp/lib/
cp -r /tmp/lib/policies/linnos /tmp/lib/policies/other && sed -i 's/^name = .*/name = other/' /tmp/lib/policies/other/policy.conf
disk=memory:fast_us=1000,slow_us=20000,fast_ms=800,slow_ms=300,write_us=300,mb=8,backed=1
test_disks seed=3 devices="$disk;$disk"
modprobe dm-semantos-replica || fail "the module does not load"
dmsetup create v --table "0 14336 semantos 1 2 /dev/semtest0 0 /dev/semtest1 0 2 create assume_equal" || fail "no volume"
node v
build/tests/vm/verifyio --blocks 1024 --state /tmp/known --writers 1 --readers 1 --seconds 100000 --think-us 6000 /dev/mapper/v >/tmp/io 2>&1 &
io=$!
build/tests/vm/loadgen --depth 1 --seconds 100000 --think-us 3000 /dev/mapper/v >/tmp/load 2>&1 &
load=$!
agent
until_true 30 held || fail "the policy is not attached"
until_true 90 choosers 2 || fail "the legs' models show no signal, or not that choosing by them gains: $(cat /tmp/status)"
until_true 10 models 2 || fail "the models were not handed to the module"
ctl mode linnos enforce
obeyed=$(counter obeyed)
until_true 10 obeyed_more || fail "in force it is not obeyed"

# A second policy for the volumes.
before=$(generations)
ctl attach other
sleep 2
held || fail "$(holder) decides"
[ "$(generations)" = "$before" ] || fail "the second policy took the first one's models: $before are now $(generations)"
obeyed=$(counter obeyed)
until_true 10 obeyed_more || fail "beside a second policy it is not obeyed"
ctl detach other
[ "$(generations)" = "$before" ] || fail "the second policy left, and the models with it"

n=0 moved=$(counter obeyed)
while [ $n -lt "$rounds" ]; do
	n=$((n + 1))
	if [ $((n % 5)) = 0 ]; then
		kill -USR2 $agent
		wait $agent || fail "round $n: the agent ended with $?"
		default_only
		agent --mode enforce
		until_true 30 held || fail "round $n: the next agent does not take over"
	else
		ctl detach linnos
		default_only
		ctl attach linnos --mode enforce
		held || fail "round $n: attached, and $(holder) decides"
	fi
	until_true 10 models 2 || fail "round $n: what was learned is not handed to the module"
	obeyed=$(counter obeyed)
	until_true 20 obeyed_more || fail "round $n: the new one is not obeyed"
done
kill -0 $io || fail "the verified I/O ended early"
kill $load $io
wait $io 2>/dev/null
wait $load 2>/dev/null
lost=$(undecided "[0-9]*")
[ "$lost" = 0 ] || fail "$lost decisions are not accounted for"
[ "$(counter bad_leg)" = 0 ] || fail "$(counter bad_leg) answers were nonsense"
grep -h WRONG /tmp/io && fail "data is lost or stale"
build/tests/vm/verifyio --blocks 1024 --state /tmp/known --check /dev/mapper/v >/tmp/said || fail "data is lost or stale"
echo "NOTE $n replacements under $(counter decisions) decisions, all accounted for: $(($(counter obeyed) - moved)) reads moved," \
	"$(counter no_policy) came while nobody decided, $(counter no_lease) before the lease"
kill $agent
wait $agent || fail "the agent ended with $?"
dmsetup remove v || fail "the volume does not go"
modules_leave
