#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the machine of tests/e2e/mok.sh, after the key was enrolled: still under Secure Boot and locked down, the kernel takes
# semantos.ko signed with that key, BTF and all, and neither the unsigned one nor one signed with another key. One that
# this key signed and that has no BTF refuses by itself.
# needs: kernel:6.12 module:efivarfs program:build/semantosctl file:build/policies/*/policy.conf file:build/policies/*/*.bpf.o
# needs: file:build/bpf/*/*.bpf.o
# timeout: 60

fail() { cat /tmp/said; dmesg | tail -n 5; echo "$*"; exit 1; }
: >/tmp/said
mount -t securityfs security /sys/kernel/security
modprobe efivarfs
mount -t efivarfs efivarfs /sys/firmware/efi/efivars || fail "the firmware's variables cannot be had"
mokutil --sb-state >/tmp/said 2>&1
grep -q 'SecureBoot enabled' /tmp/said || fail "Secure Boot is not on"
grep -q '\[integrity\]' /sys/kernel/security/lockdown || fail "not locked down: $(cat /sys/kernel/security/lockdown)"
mokutil --test-key /mok/mok.pub >/tmp/said 2>&1
grep -q 'already enrolled' /tmp/said || fail "the key is not enrolled"

for module in unsigned stranger; do
	insmod /mok/$module.ko 2>/tmp/said && fail "the $module module was taken"
	grep -qi 'key was rejected' /tmp/said || fail "$module: the refusal says something else"
	echo "NOTE $module: $(cat /tmp/said)"
done
insmod /mok/nobtf.ko 2>/tmp/said && fail "a module without BTF was taken"
grep -qi 'no data available' /tmp/said || fail "without BTF, the refusal says something else"
dmesg | grep -q 'semantos: this build carries no BTF' || fail "without BTF, the kernel's log does not say so"
insmod /mok/signed.ko 2>/tmp/said || fail "signed with the enrolled key, it is refused"
[ -e /sys/kernel/btf/semantos ] || fail "it has no BTF"
build/semantosctl probe --json >/tmp/said || fail "probe failed with $?"
tr -d '\n' </tmp/said | sed 's/.*"name": *"linnos"//' | grep -o '"kmod": *{[^}]*}' | head -n 1 | grep -q '"ready": *true' ||
	fail "probe finds something missing"
rmmod semantos || fail "it does not leave"
