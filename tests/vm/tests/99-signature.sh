#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A kernel that takes signed modules only refuses semantos.ko as built here, signed by nobody, and one with a signature of
# nobody it knows; semantosctl probe has named the reason before, and does not where any module is taken. Last of all tests:
# what is turned on here stays on until the machine ends.
# needs: kernel:6.12 module:semantos program:build/semantosctl file:build/policies/*/policy.conf file:build/policies/*/*.bpf.o
# needs: file:build/bpf/*/*.bpf.o module:null_blk
# required: 6.12
# timeout: 30

fail() { cat /tmp/said; dmesg | tail -n 5; echo "$*"; exit 1; }
param=/sys/module/module/parameters/sig_enforce
module=/lib/modules/$(uname -r)/extra/semantos.ko
kmod() { # of linnos, as probe says it: what is missing
	build/semantosctl probe --json >/tmp/said || fail "probe failed with $?"
	tr -d '\n' </tmp/said | sed 's/.*"name": *"linnos"//' | grep -o '"kmod": *{[^}]*}' | head -n 1
}

rmmod semantos 2>/dev/null
[ "$(cat $param)" = N ] || fail "the kernel wants signed modules from the beginning"
[ -e "$module" ] || fail "there is no $module"
kmod | grep -q '"ready": *true' || fail "probe finds something missing: $(kmod)"
modprobe semantos || fail "unsigned, it does not load where it may"
rmmod semantos || fail "it does not leave"

echo 1 >$param
[ "$(cat $param)" = Y ] || fail "signatures cannot be demanded"
kmod | grep -q 'wants a signed module' || fail "probe does not name the reason: $(kmod)"
insmod "$module" 2>/tmp/said && fail "an unsigned module was taken"
grep -qi 'key was rejected\|required key not available' /tmp/said || fail "the refusal says something else"
echo "NOTE unsigned: $(cat /tmp/said)"
grep -q '^semantos ' /proc/modules && fail "it is loaded after all"
# Debian signs its own: it is the signature that counts.
modprobe null_blk nr_devices=0 2>/tmp/said || fail "a module that Debian signed is refused"
rmmod null_blk
