#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# semantos.ko loads with its BTF, says that nobody decides, and leaves.
# needs: kernel:6.12 module:semantos
# required: 6.12
# timeout: 30

fail() { echo "$*"; exit 1; }
param=/sys/module/semantos/parameters

for round in 1 2 3; do
	modprobe semantos || fail "the module does not load (round $round)"
	[ -s /sys/kernel/btf/semantos ] || fail "the module has no BTF"
	[ "$(cat $param/holder)" = none ] || fail "the holder is '$(cat $param/holder)'"
	grep -q '^policy name=none lease=none' $param/state || fail "the state is '$(cat $param/state)'"
	rmmod semantos || fail "the module does not leave (round $round)"
done
dmesg | grep 'missing module BTF' && fail "the kernel could not register it"
echo "NOTE semantos.ko: $(stat -c %s "$(modinfo -F filename semantos 2>/dev/null || find /lib/modules -name semantos.ko)") bytes"
