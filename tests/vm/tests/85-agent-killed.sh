#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The whole agent is stopped, goes on, is killed and started anew, again and again, while linnos decides in force for a
# volume under verified I/O and its legs fail reads, hang, go out, come back, vanish and return. 100 ms after it was
# stopped no read is where linnos sent it, and reads go on; each agent that comes back decides again, by what was learned
# before. No block is wrong, no call fails, and every decision is accounted for.
# needs: kernel:6.12 module:semantos module:semantos_testdev module:dm-semantos-replica program:dmsetup program:bpftool
# needs: program:build/semantos-agent program:build/semantosctl program:build/tests/vm/loadgen program:build/tests/vm/verifyio
# needs: file:build/policies/linnos/* file:build/bpf/*/*.bpf.o file:tests/vm/linnos.sh
# required: 6.12
# clock: icount
# timeout: 200

fail() { dmesg | tail -n 12; tail -n 12 /tmp/agent.err; cat $state $disks; dmsetup status v; tail -n 3 /tmp/io; echo "round $round: $*"; exit 1; }
# shellcheck source=tests/vm/linnos.sh
. /tests/vm/linnos.sh
round=0 decisions=0 moved=0 lapsed_all=0 unheld_all=0
rounds=${SEMANTOS_SOAK:+100}
rounds=${rounds:-2}
param=/sys/module/semantos_testdev/parameters
length=14336
agent() {
	build/semantos-agent --policy linnos --device 'semtest*' --mode enforce --rows 1500 --quiet >>/tmp/agent.out 2>>/tmp/agent.err &
	agent=$!
}
obeyed_more() { [ "$(counter obeyed)" -gt "$obeyed" ]; }
lapsed_more() { [ "$(counter no_lease)" -gt "$lapsed" ]; }
unheld_more() { [ "$(counter no_policy)" -gt "$none" ]; }
decides() { # again, whoever sees to it
	until_true 20 held || fail "$1: $(holder) decides"
	obeyed=$(counter obeyed)
	until_true 20 obeyed_more || fail "$1: it is not obeyed"
}
now_ms() { sed 's/\.\([0-9][0-9]\).*/\10/' /proc/uptime; }
in_sync() { dmsetup status v | grep -q " AAA \([0-9]*\)/\1 "; }
equal() { # the legs come together, all faults being over
	for leg in 0 1 2; do dmsetup message v 0 resync $leg 2>/dev/null; done
	in_sync
}
table() { # third leg, options
	echo "0 $length semantos 1 3 /dev/semtest0 0 /dev/semtest1 0 $*"
}
tally() { # no read is on its way: all decisions of this table are accounted for; their sums
	lost=$(undecided "[0-9]*")
	[ "$lost" = 0 ] || fail "$lost decisions are not accounted for"
	[ "$(counter bad_leg)" = 0 ] || fail "$(counter bad_leg) answers were nonsense"
	decisions=$((decisions + $(counter decisions))) moved=$((moved + $(counter obeyed)))
	lapsed_all=$((lapsed_all + $(counter no_lease))) unheld_all=$((unheld_all + $(counter no_policy)))
}
loaded() { # table, in place of the one there, under the load; the module counts anew
	dmsetup suspend --noflush v || fail "the volume cannot be suspended"
	tally
	dmsetup reload v --table "$1" || fail "the table is refused: $1"
	dmsetup resume v || fail "the volume does not go on with the table $1"
}
faults() { # one after the other, on one leg at a time, until the file is gone
	n=0
	while [ -e /tmp/faults ]; do
		n=$((n + 1))
		leg=$((n % 3))
		case $((n % 4)) in
		0) echo $leg:read_errors=5 >$param/change ;;
		1) echo $leg:hang=1 >$param/change ;;
		2) dmsetup message v 0 fail $leg ;;
		3) dmsetup message v 0 resync $(((n - 1) % 3)) ;;
		esac 2>/dev/null
		sleep 0.2
		echo $leg:hang=0,read_errors=0 >$param/change
	done
}

disk=memory:fast_us=1000,slow_us=20000,fast_ms=400,slow_ms=400,write_us=300,mb=8,backed=1
test_disks seed=3 devices="$disk,store=1;$disk,store=2;$disk,store=3"
modprobe dm-semantos-replica || fail "the module does not load"
dmsetup create v --table "$(table /dev/semtest2 0 4 create assume_equal region_sectors 64)" || fail "no volume"
node v
build/tests/vm/verifyio --blocks 1024 --state /tmp/known --writers 1 --readers 1 --seconds 100000 --think-us 6000 /dev/mapper/v >/tmp/io 2>&1 &
io=$!
build/tests/vm/loadgen --depth 3 --seconds 100000 --think-us 4000 /dev/mapper/v >/tmp/load 2>&1 &
load=$!
agent
until_true 90 choosers 3 || fail "the legs are not learned: $(cat /tmp/status)"
decides "learned"
worst=0

while [ $round -lt "$rounds" ]; do
	round=$((round + 1)) vanishes=$((1 - round % 2))
	# In turn: many faults, which leave one leg in sync at any time, and a leg that vanishes.
	[ $vanishes = 1 ] || : >/tmp/faults
	faults &
	faulty=$!
	kill -STOP $agent
	at=$(now_ms)
	sleep 0.1
	obeyed=$(counter obeyed) lapsed=$(counter no_lease)
	took=$(($(now_ms) - at))
	[ $took -gt $worst ] && worst=$took
	[ $vanishes = 0 ] || echo 2 >$param/remove
	until_true 5 lapsed_more || fail "no read came while the agent was stopped"
	sleep 0.5
	[ "$(counter obeyed)" = "$obeyed" ] || fail "$took ms after the stop linnos still decided: $(($(counter obeyed) - obeyed)) reads"
	kill -CONT $agent
	decides "the agent that goes on"

	kill -KILL $agent
	wait $agent 2>/dev/null
	until_true 2 free || fail "a killed agent's policy stays attached"
	obeyed=$(counter obeyed) none=$(counter no_policy)
	until_true 5 unheld_more || fail "after SIGKILL no read took the default"
	[ "$(counter obeyed)" = "$obeyed" ] || fail "a killed agent's policy is obeyed"
	rm -f /tmp/faults
	wait $faulty
	if [ $vanishes = 1 ]; then
		# The old disk goes with the last who has it open.
		loaded "$(table - 0 3 degraded region_sectors 64)"
		echo "$disk,store=3" >$param/add || fail "the leg does not return"
		loaded "$(table /dev/semtest2 0 2 region_sectors 64)"
	fi
	until_true 20 equal || fail "the legs do not come together"
	agent
	decides "the next agent"
	kill -0 $io 2>/dev/null || fail "the verified I/O ended"
	kill -0 $load 2>/dev/null || fail "the load ended"
done

kill $load $io
wait $io 2>/dev/null
wait $load 2>/dev/null
tally
grep -h WRONG /tmp/io && fail "data is lost or stale"
grep -h FAILED /tmp/io && fail "a call failed"
build/tests/vm/verifyio --blocks 1024 --state /tmp/known --check /dev/mapper/v >/tmp/said || fail "data is lost or stale: $(cat /tmp/said)"
echo "NOTE $rounds times stopped and killed under $decisions decisions, all accounted for: $moved reads moved, $lapsed_all came without" \
	"a lease, $unheld_all without a policy; looked at $worst ms after the stop at the latest"
kill $agent
wait $agent || fail "the agent ended with $?"
dmsetup remove v || fail "the volume does not go"
modules_leave
