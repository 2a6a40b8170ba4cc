#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# semantos.ko is loaded and removed again and again under an agent, at every moment of the agent's taking note of it. In the
# end linnos decides for a volume made after all that, and its lease is alive in the module: else the kernel would take the
# default for ever. While the agent holds on to the module it is not removed, and when the agent has ended it is.
# needs: kernel:6.12 module:semantos module:semantos_testdev module:dm-semantos-replica program:dmsetup
# needs: program:build/semantos-agent program:build/semantosctl program:build/tests/vm/loadgen
# needs: program:bpftool file:build/policies/linnos/* file:build/bpf/*/*.bpf.o file:tests/vm/linnos.sh
# required: 6.12
# clock: icount
# timeout: 150

fail() { tail -n 12 /tmp/agent.err; cat $state; echo "$*"; exit 1; }
# shellcheck source=tests/vm/linnos.sh
. /tests/vm/linnos.sh
alive() { grep -q '^policy name=linnos lease=alive' $state; }
asked() { [ "$(counter obeyed)" -gt 0 ] || [ "$(counter deferred)" -gt 0 ]; }

modprobe dm-region-hash || fail "device-mapper does not load"
disk=fixed:fast_us=300,mb=8,backed=1
test_disks devices="$disk;$disk"
build/tests/vm/loadgen --seconds 150 --think-us 3000 /dev/semtest0 >/tmp/load 2>&1 & # so that the lease is renewed
load=$!
left=0 options="2 create assume_equal"
for round in 1 ${SEMANTOS_SOAK:+2 3}; do
	build/semantos-agent --policy linnos --device 'semtest*' --quiet >>/tmp/agent.out 2>>/tmp/agent.err &
	agent=$!
	until_true 20 [ -e /sys/fs/bpf/semantos/linnos/verdicts ] || fail "the agent does not come up"
	# Longer each time, until the agent holds on to it.
	step=$round
	while :; do
		modprobe semantos || fail "the module does not load"
		sleep "$(printf '0.%02d' "$step")"
		rmmod semantos 2>/dev/null || break
		left=$((left + 1))
		step=$((step + 3))
		[ $step -lt 100 ] || step=$round
	done
	until_true 20 held || fail "round $round: linnos is not attached: $(holder)"
	until_true 10 alive || fail "round $round: linnos is attached, but its lease is not renewed in the module"
	modprobe dm-semantos-replica || fail "the target's module does not load"
	dmsetup create v --table "0 14336 semantos 1 2 /dev/semtest0 0 /dev/semtest1 0 $options" || fail "no volume"
	options=0 # the legs belong to it from here on
	node v
	build/tests/vm/loadgen --seconds 2 --think-us 2000 /dev/mapper/v >/tmp/load.v || fail "the volume cannot be read"
	asked || fail "round $round: linnos is not asked about the volume's reads"
	lost=$(undecided "[0-9]*")
	[ "$lost" = 0 ] || fail "$lost decisions are not accounted for"
	dmsetup remove v || fail "the volume does not go"
	rmmod dm-semantos-replica || fail "the target's module does not leave"
	rmmod semantos 2>/dev/null && fail "the module left under the agent"
	kill $agent
	wait $agent || fail "the agent ended with $?"
	modules_gone() { rmmod semantos 2>/dev/null; }
	until_true 5 modules_gone || fail "the module does not leave after the agent's end"
done
kill $load
echo "NOTE the module left $left times under an agent that was about to take note of it"
until_true 5 gone || fail "the test disks do not leave"
