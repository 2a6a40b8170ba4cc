#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The tests of hook bodies hold on this kernel too: what the BPF programs compute, not only that they load.
# needs: program:build/tests/bpf/test_* file:build/tests/bpf/*.bpf.o file:build/policies/*/*.bpf.o
# needs: file:build/policies/*/policy.conf file:build/bpf/*/*.bpf.o
# timeout: 120

bad=0 ran=0
for test in build/tests/bpf/test_*; do
	# Budgets are written for one series, and 20,000 rounds of wake-ups are for a real CPU: both run on the host.
	case $test in *test_budgets | *test_ring_wake) continue ;; esac
	timeout 60 "$test" >/tmp/test 2>&1
	code=$?
	[ $code -eq 77 ] && continue
	ran=$((ran + 1))
	grep 'missed by the kernel' /tmp/test | sed 's/^ */NOTE /'
	[ $code -eq 0 ] && continue
	bad=$((bad + 1))
	grep -E 'FAILED|rror' /tmp/test | tail -n 10
	echo "$test: exit $code"
done
echo "NOTE $ran programs"
[ $bad -eq 0 ] && [ $ran -gt 0 ]
