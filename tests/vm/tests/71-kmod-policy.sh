#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A BPF policy decides for semantos.ko: attach, pin, detach, refusals, whatever it answers, lease, inference, live
# replacement, all while two threads take decisions; the module stays while a policy is attached, and leaves after.
# needs: kernel:6.12 module:semantos module:semantos_blkcall program:build/tests/vm/kmod file:build/tests/vm/kmod*.bpf.o
# needs: program:bpftool
# required: 6.12
# timeout: 140

fail() { echo "$*"; exit 1; }

trap "rmmod semantos_blkcall 2>/dev/null" EXIT
modprobe semantos || fail "semantos does not load"
[ -s /sys/kernel/btf/semantos ] || fail "the module has no BTF"
modprobe semantos_blkcall || fail "the caller does not load"
rounds=${SEMANTOS_SOAK:+1000}
rounds=${rounds:-40}
for what in attach nonsense lease infer "replace $rounds"; do
	# shellcheck disable=SC2086 # words are meant
	build/tests/vm/kmod $what >/tmp/kmod.out || { cat /tmp/kmod.out; fail "kmod $what failed: $(tail -n 1 /tmp/kmod.out)"; }
	grep '^NOTE' /tmp/kmod.out
done

# bpftool beside an attached policy: what docs/kmod.md calls fine is.
build/tests/vm/kmod pin || fail "a policy and a map cannot be pinned"
[ "$(cat /sys/module/semantos/parameters/holder)" = first ] || fail "the pinned policy does not hold"
for what in "map dump pinned /sys/fs/bpf/verdicts" "map list" "link show" "prog list"; do
	# shellcheck disable=SC2086 # words are meant
	bpftool $what >/tmp/dump 2>&1 || fail "bpftool $what ends with $?: $(tail -n 1 /tmp/dump)"
done
grep -q struct_ops /tmp/dump || fail "bpftool does not list the policy's programs"
rmmod semantos 2>/dev/null && fail "the module left under a pinned policy"
rm /sys/fs/bpf/policy /sys/fs/bpf/verdicts

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
