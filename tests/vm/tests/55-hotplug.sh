#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A disk is unplugged under load and another comes with the same device number: the slot's generation changes, the agent
# says so and follows the new one; nothing is unaccounted for.
# needs: program:build/semantos-agent program:build/semantosctl program:build/tests/vm/loadgen
# needs: module:scsi_debug module:sd_mod file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# timeout: 120

fail() { cat /tmp/agent.err; echo "$*"; exit 1; }
generation() { build/semantosctl status --json | tr -d ' \n' | sed -n 's/.*"name":"sda"[^}]*"generation":\([0-9]*\).*/\1/p'; }
wait_for() { # seconds, what to find in the log
	for _ in $(seq "$1"); do
		grep -q "$2" /tmp/agent.err && return 0
		sleep 1
	done
	return 1
}

modprobe sd_mod
modprobe scsi_debug dev_size_mb=16 delay=1 || exit 1
for _ in $(seq 20); do [ -b /dev/sda ] && break; sleep 1; done
number=$(cat /sys/block/sda/dev)
build/semantos-agent --policy linnos --device 'sd*' --quiet 2>/tmp/agent.err &
agent=$!
wait_for 30 "follows sda" || fail "sda is not followed"
sleep 1
first=$(generation)
build/tests/vm/loadgen --depth 2 --seconds 15 /dev/sda >/tmp/load 2>&1 &
load=$!
sleep 3
echo 1 >/sys/block/sda/device/delete
wait_for 20 "no longer follows sda" || fail "its going was not noticed"
wait $load
for host in /sys/class/scsi_host/host*; do echo "- - -" >"$host/scan"; done
for _ in $(seq 20); do [ "$(grep -c 'follows sda (' /tmp/agent.err)" -ge 2 ] && break; sleep 1; done
[ "$(grep -c 'follows sda (' /tmp/agent.err)" -ge 2 ] || fail "the new disk is not followed"
sleep 1
second=$(generation)
echo "NOTE device number $number, then $(cat /sys/block/sda/dev); generation $first, then $second"
if [ -z "$first" ] || [ -z "$second" ] || [ "$first" = "$second" ]; then
	fail "the generation did not change: '$first', '$second'"
fi
kill $agent
wait $agent || fail "the agent ended badly"
grep -q "unaccounted" /tmp/agent.err && fail "records are unaccounted for"
exit 0
