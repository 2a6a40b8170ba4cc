#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The whole path on this kernel: the agent learns a disk under load, predicts its reads, compares each prediction with
# what happened, shows verdicts in a map that bpftool prints, and leaves nothing behind. Where the test-only disk can
# be built it is that one, else a null_blk of constant latency: there is nothing to learn from it, but all to run.
# needs: program:build/semantos-agent program:build/semantosctl program:build/tests/vm/loadgen program:bpftool
# needs: module:semantos_testdev? module:null_blk file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# timeout: 240

fail() { tail -n 20 /tmp/agent.err; tail -n 3 /tmp/agent.out; echo "$*"; exit 1; }
figure() { tail -n 1 /tmp/agent.out | sed -n "s/.*\"$1\": *\\([-0-9.a-z]*\\).*/\\1/p"; }
verdicts=/sys/fs/bpf/semantos/linnos/verdicts

if modprobe semantos_testdev devices="memory:fast_us=1000,slow_us=20000,fast_ms=600,slow_ms=300" 2>/dev/null; then
	disk=semtest0
else
	modprobe null_blk nr_devices=1 irqmode=2 completion_nsec=1000000 || exit 1
	disk=nullb0
fi
build/tests/vm/loadgen --depth 4 --seconds 230 --think-us 500 /dev/$disk >/tmp/load 2>&1 &
load=$!
build/semantos-agent --policy linnos --device $disk --rows 1500 --duration 10 --learn-timeout 180 --json \
	>/tmp/agent.out 2>/tmp/agent.err &
agent=$!

seen=0
while kill -0 $agent 2>/dev/null; do
	sleep 1
	if [ -e $verdicts ] && bpftool map dump pinned $verdicts >/tmp/dump 2>/dev/null && grep -q "\"$disk\"" /tmp/dump; then
		seen=$((seen + 1))
		[ $seen -ne 3 ] || build/semantosctl status >/tmp/status 2>&1 || fail "status: $(tail -n 1 /tmp/status)"
	fi
done
wait $agent
code=$?
kill $load
wait $load 2>/dev/null
[ $code -eq 0 ] || fail "the agent ended with $code"
[ $seen -gt 0 ] || fail "bpftool never printed a verdict row of $disk"
grep -A 12 "\"$disk\"" /tmp/dump | head -n 12
evaluated=$(figure evaluated)
[ "${evaluated:-0}" -gt 0 ] || fail "no prediction was evaluated"
auc=$(tail -n 1 /tmp/agent.out | sed -n 's/.*"window":{[^}]*"auc":\([0-9.]*\).*/\1/p' | cut -c 1-5)
echo "NOTE $disk: $evaluated predictions evaluated after learning from $(figure training_rows) reads, live AUC ${auc:-undefined}"

[ ! -e /sys/fs/bpf/semantos/linnos ] || fail "pins were left: $(ls /sys/fs/bpf/semantos/linnos)"
[ "$(bpftool prog show | grep -c '^[0-9]')" -eq 0 ] || sleep 3
[ "$(bpftool prog show | grep -c '^[0-9]')" -eq 0 ] || fail "programs were left: $(bpftool prog show)"
# The tests after this one bring test disks of their own.
[ $disk = nullb0 ] || rmmod semantos_testdev || fail "the test disk does not leave"
