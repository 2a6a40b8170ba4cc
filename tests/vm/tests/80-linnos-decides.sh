#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# linnos decides which leg of a replica volume serves a read, under verified I/O all the time: it learns both legs, decides
# in shadow without being followed, for a share in canary, for all in enforce, and reads are then moved. The module is
# loaded after the agent. A stopped or killed agent is not followed any more, one that comes back is, and one that is
# detached is not. The disks' slow periods are the same in shadow and in force, so what is in force must have spared readers
# slow reads.
# needs: kernel:6.12 module:semantos module:semantos_testdev module:dm-semantos-replica program:dmsetup
# needs: program:build/semantos-agent program:build/semantosctl program:build/tests/vm/loadgen program:build/tests/vm/verifyio
# needs: program:bpftool file:build/policies/linnos/* file:build/bpf/*/*.bpf.o file:tests/vm/linnos.sh
# required: 6.12
# clock: icount
# timeout: 200

fail() { tail -n 12 /tmp/agent.err; cat $state; sed 's/.*formatted//' /tmp/decisions; tail -n 3 /tmp/io; echo "$*"; exit 1; }
# shellcheck source=tests/vm/linnos.sh
. /tests/vm/linnos.sh
length=14336
slow_reads() { sed -n 's/.* slow=\([0-9]*\).*/\1/p' $disks | awk '{ n += $1 } END { print n }'; }
all_reads() { sed -n 's/.* reads=\([0-9]*\).*/\1/p' $disks | awk '{ n += $1 } END { print n }'; }
slow_share() { # seconds, in which the legs go through the same slow periods each time: of the reads served, in 1/1000
	echo 11 >/sys/module/semantos_testdev/parameters/restart || fail "the slow periods do not begin anew"
	sleep "$1"
	slow=$(slow_reads) all=$(all_reads)
	[ "$all" -gt 200 ] || fail "$all reads in $1 s are no load"
	share=$((slow * 1000 / all))
}
agent() { build/semantos-agent --policy linnos --device 'semtest*' --rows 4000 --quiet "$@" >>/tmp/agent.out 2>>/tmp/agent.err & agent=$!; }
obeyed_more() { [ "$(counter obeyed)" -gt "$obeyed" ]; }

disk=memory:fast_us=1000,slow_us=20000,fast_ms=800,slow_ms=300,write_us=300,mb=8,backed=1
test_disks seed=3 devices="$disk;$disk"
agent
until_true 20 [ -e /sys/fs/bpf/semantos/linnos/verdicts ] || fail "the agent does not come up"
modprobe dm-semantos-replica || fail "the module does not load"
dmsetup create v --table "0 $length semantos 1 2 /dev/semtest0 0 /dev/semtest1 0 2 create assume_equal" || fail "no volume"
node v
build/tests/vm/verifyio --blocks 1024 --state /tmp/known --writers 1 --readers 1 --seconds 230 --think-us 6000 /dev/mapper/v >/tmp/io 2>&1 &
io=$!
build/tests/vm/loadgen --depth 1 --seconds 230 --think-us 2000 /dev/mapper/v >/tmp/load 2>&1 &
load=$!

until_true 30 held || fail "the policy is not attached to the module that came later"
until_true 90 choosers 2 || fail "the legs' models show no signal, or not that choosing by them gains: $(cat /tmp/status)"
until_true 10 models 2 || fail "the models were not handed to the module"
grep -q '^policy name=linnos lease=alive' $state || fail "the lease is not renewed in the module"
sed -n 's/^\(semtest.: learned.*\)/NOTE \1/p' /tmp/agent.err
build/semantosctl status | tail -n 12 | sed 's/^/NOTE /'

# Shadow: decided and judged, nothing moves.
slow_share 15
before=$share
[ "$(counter obeyed)" = 0 ] || fail "in shadow it was obeyed"
[ "$(decision 3)" -gt 0 ] || fail "in shadow nothing would have moved"
[ "$(decision 6)" = 0 ] || fail "in shadow reads moved"
[ "$(decision 10)" -gt 100 ] || fail "predictions are not compared with what the reads took"
echo "NOTE shadow: $before of 1000 reads were slow; decided $(decision 0), would have moved $(decision 3); foreseen slow and" \
	"right $(decision 11), wrong $(decision 12); foreseen fast and right $(decision 13), wrong $(decision 14); off by $(($(decision 15) / $(decision 10))) us on average"

build/semantosctl mode linnos canary:50 >/tmp/mode 2>&1 || fail "canary was refused: $(cat /tmp/mode)"
sleep 6
[ $(($(decision 6) * $(decision 4))) -gt 0 ] || fail "the canary treats $(decision 6) reads and leaves $(decision 4)"
echo "NOTE canary:50: moved $(decision 6), left as control $(decision 4)"

build/semantosctl mode linnos enforce >/tmp/mode 2>&1 || fail "enforce was refused: $(cat /tmp/mode)"
moved=$(decision 6)
slow_share 15
echo "NOTE enforce: moved $(($(decision 6) - moved)); $share of 1000 reads were slow, in shadow $before"
[ "$(counter obeyed)" -gt 0 ] || fail "in force it is not obeyed"
[ "$(decision 6)" -gt "$moved" ] || fail "in force no read moved"
# The same slow periods: how many reads met them is what the policy changed.
[ $((share * 2)) -lt "$before" ] || fail "in force $share of 1000 reads were slow, in shadow, in the same slow periods, $before"

# Stopped: the lease lapses, whatever the agent does not do.
kill -STOP $agent
sleep 0.2
obeyed=$(counter obeyed) lapsed=$(counter no_lease)
sleep 1
[ "$(counter obeyed)" = "$obeyed" ] || fail "a stopped agent's policy is obeyed"
[ "$(counter no_lease)" -gt "$lapsed" ] || fail "no read came while the agent was stopped"
kill -CONT $agent
until_true 5 obeyed_more || fail "the agent that goes on is not obeyed"

# Killed: it is gone at once, and the next one takes over.
kill -KILL $agent
wait $agent 2>/dev/null
until_true 2 free || fail "a killed agent's policy stays attached"
obeyed=$(counter obeyed) none=$(counter no_policy)
sleep 1
[ "$(counter obeyed)" = "$obeyed" ] || fail "a killed agent's policy is obeyed"
[ "$(counter no_policy)" -gt "$none" ] || fail "after SIGKILL no read took the default"
agent --mode enforce
until_true 30 held || fail "the next agent does not take over: $(holder)"
until_true 10 obeyed_more || fail "the next agent's policy is not obeyed"

build/semantosctl detach linnos >/tmp/mode 2>&1 || fail "detach was refused: $(cat /tmp/mode)"
free || fail "detached, and still attached"
[ "$(grep -c '^model ' $state)" = 0 ] || fail "models were left in the module"
kill $agent
wait $agent || fail "the agent ended with $?"

kill -0 $io || fail "the verified I/O ended early"
kill $load $io
wait $io 2>/dev/null
build/tests/vm/verifyio --blocks 1024 --state /tmp/known --check /dev/mapper/v >/tmp/io || fail "data is lost or stale"
grep -h WRONG /tmp/io && fail "data is lost or stale"
sed 's/^/NOTE /' /tmp/io
dmsetup remove v || fail "the volume does not go"
modules_leave
