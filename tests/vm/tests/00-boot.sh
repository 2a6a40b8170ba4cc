#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The machine is what every other test relies on: kernel BTF, bpffs, tracefs, cgroup v2 and a clean log since boot.
# timeout: 20

fail() { echo "$*"; exit 1; }

[ -s /sys/kernel/btf/vmlinux ] || fail "this kernel has no BTF"
mkdir /sys/fs/bpf/probe || fail "bpffs cannot be written"
rmdir /sys/fs/bpf/probe
[ -e /sys/kernel/tracing/events/block/block_rq_issue ] || fail "tracefs has no block events"
[ -e /sys/fs/cgroup/cgroup.controllers ] || fail "cgroup v2 is not mounted"
grep -qw bpf /sys/kernel/security/lsm 2>/dev/null || mount -t securityfs sec /sys/kernel/security
grep -qw bpf /sys/kernel/security/lsm || fail "bpf is not among the kernel's LSMs: $(cat /sys/kernel/security/lsm)"
[ -b /dev/vda ] || fail "there is no disk vda"
dmesg | grep -E 'BUG:|Oops|general protection' && fail "the kernel complained while it booted"
echo "NOTE $(uname -r), $(nproc) cpu, $(($(wc -c </sys/kernel/btf/vmlinux) / 1024)) KiB of BTF"
