#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# vm_kills.sh - a whole machine is killed (SIGKILL to QEMU) while it writes to a replica volume, and started again.
# results: lines
# timeout: 1500
#
# Its legs are files behind virtio disks with a write cache; what is known of the blocks lies in memory that the machine
# shares with a file, so it outlives the kill. After each start every block is checked against what was durable, the legs
# are made equal, and checked again; then the load goes on until the next kill, with one leg going out and coming back. What
# QEMU had handed to this host's page cache survives: that is a kill of the machine, not a loss of the disks' power, which
# lab tests 77 and 84 show. One kill; with SEMANTOS_SOAK=1 five. Emulated unless there is KVM. Run from the root of the tree, after
# make. Exit: 0; 1 something failed; 77 the host lacks QEMU, or no 6.12 with headers can be had.

set -uo pipefail
here=tests/vm
kills=1
[[ -z ${SEMANTOS_SOAK-} ]] || kills=5
PATH=$PATH:/usr/sbin:/sbin
for program in qemu-system-x86_64 busybox cpio depmod dmsetup; do
	command -v $program >/dev/null || { echo "$program is not installed; install qemu-system-x86, busybox-static, cpio, kmod and dmsetup"; exit 77; }
done
mkdir -p build/vm
dir=$(mktemp -d "$PWD/build/vm/kill-XXXXXX") || exit 1
qemu=
cleanup() {
	trap - EXIT
	[[ -z $qemu ]] || kill -9 "$qemu" 2>/dev/null
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

IFS=$'\t' read -r _ release kernel < <("$here/kernels.sh" 6.12)
[[ $release != - ]] || { echo "no kernel 6.12 can be had: $kernel"; exit 77; }
"$here/modules.sh" "$release" "$kernel"
[[ -f build/vm/$release/dm-semantos-replica.ko ]] || { echo "no module can be built for $release"; exit 77; }
"$here/initramfs.sh" "$kernel" "$release" "$dir/root.cpio" "$here/kill/10-kill.sh" || { echo "FAIL start: the machine's root could not be built"; exit 1; }
truncate -s 8M "$dir/leg0" "$dir/leg1"
truncate -s 1M "$dir/known"

boot() { # words of the command line: starts the machine, its report goes to $dir/report
	local accel=tcg leg disks=()
	[[ ! -w /dev/kvm ]] || ! grep -qwE 'vmx|svm' /proc/cpuinfo || accel=kvm:tcg
	for leg in leg0 leg1; do
		disks+=(-blockdev "driver=file,filename=$dir/$leg,node-name=$leg,cache.no-flush=off"
			-device "virtio-blk-pci,drive=$leg,serial=$leg,write-cache=on")
	done
	: >"$dir/report"
	qemu-system-x86_64 -machine "accel=$accel" -cpu max -smp 2 -m 1024 -display none -nic none -monitor none -no-reboot \
		"${disks[@]}" -object "memory-backend-file,id=known,share=on,mem-path=$dir/known,size=1M" \
		-device ivshmem-plain,memdev=known -kernel "$kernel/vmlinuz" -initrd "$dir/root.cpio" -serial "file:$dir/console" \
		-serial "file:$dir/report" -append "console=ttyS0 quiet panic=-1 random.trust_cpu=on $*" >"$dir/qemu" 2>&1 </dev/null &
	qemu=$!
}
waits_for() { # words in the report, within three minutes; not when the machine ends before, or a test failed
	local i
	for ((i = 0; i < 900; i++)); do
		! grep -q '^FAIL' "$dir/report" || return 1
		! grep -q "$1" "$dir/report" || return 0
		kill -0 "$qemu" 2>/dev/null || { grep -q "$1" "$dir/report"; return; }
		sleep 0.2
	done
	return 1
}
failed() { # start
	echo "FAIL $1: $(grep -m 1 '^FAIL' "$dir/report" || tail -n 1 "$dir/console" | tr -d '\r')"
	grep '^OUT' "$dir/report" | tail -n 30
	exit 1
}

for ((n = 0; n <= kills; n++)); do
	words=
	[[ $n -gt 0 ]] || words="first=1"
	[[ $n -lt kills ]] || words+=" last=1"
	boot "$words"
	waits_for CHECKED || failed "start $n"
	[[ $n -eq 0 ]] || echo "PASS after kill $n: $(sed -n 's/^OUT kill: CHECKED //p' "$dir/report")"
	if [[ $n -eq kills ]]; then
		waits_for '^PASS 10-kill' || failed "the end"
		wait "$qemu"
		qemu=
		break
	fi
	waits_for RUNNING || failed "the load of start $n"
	# No moment is better than another; not all the same either.
	sleep "$((n % 3 + 1)).$((n * 37 % 10))"
	grep -q '^FAIL' "$dir/report" && failed "the load of start $n"
	kill -9 "$qemu"
	wait "$qemu" 2>/dev/null
done
echo "PASS the legs are equal after $kills kills"
