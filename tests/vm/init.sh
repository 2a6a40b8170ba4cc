#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash disable=SC3043 # busybox has local
#
# init.sh - /init of the test machine: mounts what a booted system has, runs every test in /tests/list in order, and
# reports each on the second serial port. Kernel messages go to the first, so the two cannot mix.
#
# Lines of the report: INIT release uptime | BEGIN name | OUT name: text | PASS name seconds | SKIP name: why |
# FAIL name: why | END uptime. A test is bounded, its left-over processes are killed, and what the kernel logged
# while it ran is searched for signs of a bug. Must never return: it powers the machine off.

/bin/busybox --install -s /bin
export PATH=/build:/bin:/sbin:/usr/bin:/usr/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/mapper /run /tmp /root
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t bpf bpf /sys/fs/bpf
mount -t debugfs debug /sys/kernel/debug 2>/dev/null
mount -t tracefs trace /sys/kernel/tracing
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
modprobe virtio_pci
modprobe virtio_blk

report=/dev/ttyS1
stty -F $report -onlcr 2>/dev/null
say() { echo "$*" >$report; }
uptime() { cut -d' ' -f1 /proc/uptime; }

splat='BUG:|WARNING:|Oops|general protection fault|kernel panic|possible recursive locking|circular locking'
splat="$splat|inconsistent lock state|blocked for more than|soft lockup|hard LOCKUP|detected stalls|KASAN|UBSAN"
splat="$splat|refcount_t|bad unlock balance|sleeping function called|list_(add|del) corruption"
# Said by stock kernels about this machine itself, with no policy of ours loaded: the last one by 6.12 and older when
# anything is written to a file that was open as its ext4 turned read-only.
known='clocksource|unchecked MSR access|WARNING: .*mitigat|ext4_journal_check_start'

# Messages since the mark of a test that speak of a kernel bug.
splats() { sed "1,/semantos-vm: begin $1\$/d" /tmp/dmesg | grep -E "$splat" | grep -vE "$known"; }

# On a kernel that looks for memory nobody knows any more: say in the log what this test left, and start anew.
leaks() {
	local found=/sys/kernel/debug/kmemleak
	[ -e $found ] || return 0
	sleep 6 # nothing younger than 5 s is told
	echo scan >$found
	if grep -q 'unreferenced object' $found; then
		echo "BUG: kmemleak: $(grep -c 'unreferenced object' $found) objects" >/dev/kmsg
		head -n 40 $found >/dev/kmsg
	fi
	echo clear >$found
}

run() { # name, timeout
	local name=$1 out=/tmp/out begin code why
	say "BEGIN $name"
	echo "semantos-vm: begin $name" >/dev/kmsg
	begin=$(date +%s)
	cd / && setsid timeout -k 5 "$2" sh "/tests/$name.sh" >$out 2>&1 </dev/null
	code=$?
	kill -9 -1 2>/dev/null # whatever the test left running
	rm -rf /run/semantos   # a socket that nobody listens at would be taken for an agent
	# Nor is what it knew of its disks true of the next one's.
	find /tmp -mindepth 1 -maxdepth 1 ! -name out -exec rm -rf {} + 2>/dev/null
	echo "semantos-vm: end $name, exit $code" >/dev/kmsg
	why=$(grep -v '^ *$' $out | tail -n 1)
	leaks
	dmesg >/tmp/dmesg
	if splats "$name" >/tmp/splats; then
		sed "1,/semantos-vm: begin $name\$/d" /tmp/dmesg | tail -n 60 >>$out
		if [ $code -eq 0 ] || [ $code -eq 77 ]; then
			code=splat
		fi
	fi
	case $code in
	0) grep '^NOTE ' $out | sed "s/^NOTE /OUT $name: /" >$report ;;
	77) ;;
	*) tail -n 60 $out | sed "s/^/OUT $name: /" >$report ;;
	esac
	case $code in
	0) say "PASS $name $(($(date +%s) - begin))" ;;
	77) say "SKIP $name: ${why:-it gives no reason}" ;;
	splat) say "FAIL $name: the kernel complained: $(head -n 1 /tmp/splats)" ;;
	124 | 137 | 143) say "FAIL $name: stopped after its timeout of $2 s: $why" ;;
	*) say "FAIL $name: exit $code: $why" ;;
	esac
}

say "INIT $(uname -r) $(uptime)"
while read -r name timeout why; do
	if [ "$timeout" = skip ]; then
		say "SKIP $name: $why"
	else
		run "$name" "$timeout"
	fi
done </tests/list
say "END $(uptime)"
sync
poweroff -f
sleep 60
