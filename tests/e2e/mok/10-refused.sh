#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the machine of tests/e2e/mok.sh, under Secure Boot, before anything is enrolled: the kernel is locked down and refuses
# semantos.ko, unsigned or signed with a key that nobody enrolled; semantosctl probe has named the reason before. Then the key
# is handed to the firmware, as docs/kmod.md has it; the password comes from a file, as nobody is there to be asked.
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
build/semantosctl probe --json >/tmp/said || fail "probe failed with $?"
grep -q 'lockdown (integrity) wants a signed module; Secure Boot is on' /tmp/said || fail "probe does not name the reason"

for module in unsigned signed stranger; do
	insmod /mok/$module.ko 2>/tmp/said && fail "the $module module was taken"
	grep -qi 'key was rejected' /tmp/said || fail "$module: the refusal says something else"
	echo "NOTE $module: $(cat /tmp/said)"
done
grep -q '^semantos ' /proc/modules && fail "it is loaded after all"
mokutil --import /mok/mok.pub --hash-file /mok/hash >/tmp/said 2>&1 || fail "the key is not handed over"
mokutil --list-new >/tmp/said 2>&1
grep -q 'semantos mok test' /tmp/said || fail "the firmware does not have the key"
