#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A BPF policy decides for semantos.ko: attach, pin, detach, refusals, whatever it answers, lease, inference, live
# replacement, all while two threads take decisions; the module stays while a policy is attached, and leaves after.
# needs: kernel:6.12 module:semantos module:semantos_blkcall program:build/tests/vm/kmod file:build/tests/vm/kmod*.bpf.o
# needs: program:bpftool
# timeout: 100

fail() { echo "$*"; exit 1; }

trap "rmmod semantos_blkcall 2>/dev/null" EXIT
modprobe semantos || fail "semantos does not load"
[ -s /sys/kernel/btf/semantos ] || fail "the module has no BTF"
modprobe semantos_blkcall || fail "the caller does not load"
for what in attach nonsense lease infer "replace ${REPLACEMENTS:-40}"; do
	# shellcheck disable=SC2086 # words are meant
	build/tests/vm/kmod $what >/tmp/out || { cat /tmp/out; fail "kmod $what failed: $(tail -n 1 /tmp/out)"; }
	grep '^NOTE' /tmp/out
done
cat /sys/module/semantos_blkcall/parameters/state
cat /sys/module/semantos/parameters/state
rmmod semantos 2>/dev/null && fail "the module left while its user was there"
rmmod semantos_blkcall || fail "the caller does not leave"
i=0
while ! rmmod semantos 2>/dev/null; do # BPF lets go of a module a moment after the last link
	i=$((i + 1))
	[ $i -lt 50 ] || fail "the module does not leave: $(rmmod semantos 2>&1)"
	sleep 0.1
done
[ ! -e /sys/kernel/btf/semantos ] || fail "its BTF outlived it"
