#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# semantosctl probe needs no agent, takes less than a second, and says of a stock kernel that linnos can observe it.
# needs: program:build/semantosctl file:build/policies/*/*.bpf.o file:build/policies/*/policy.conf
# needs: file:build/policies/*/*.safetensors? file:build/bpf/*/*.bpf.o
# timeout: 30

fail() { cat /tmp/probe; echo "$*"; exit 1; }
has() { grep -q "$1" /tmp/probe || fail "the answer lacks $1"; }

# A real machine is given one second; this one is emulated, beside others: three tries.
for try in 1 2 3; do
	begin=$(cut -d' ' -f1 /proc/uptime)
	build/semantosctl probe --json >/tmp/probe || fail "probe failed with $?"
	took=$(echo "$begin $(cut -d' ' -f1 /proc/uptime)" | awk '{ print int(($2 - $1) * 1000) }')
	[ "$took" -ge 3000 ] || break
done
has '"btf":true'
has '"bpffs":true'
has '"kernel_too_old":false'
has '"agent_running":false'
has '"cgroup":2'
has '"name":"vda"'
has '"name":"linnos","refused":false,"observe":{"used":true,"ready":true'
case $(uname -r) in
6.1.* | 6.12.*) has '"sched_class_ext":false' ;;
*) has '"sched_class_ext":true' ;;
esac
umount /sys/fs/bpf
build/semantosctl probe --json >/tmp/probe
has '"bpffs":false'
mount -t bpf bpf /sys/fs/bpf
[ "$took" -lt 3000 ] || fail "probe took $took ms in try $try"
echo "NOTE probe took $took ms"
