#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# README.md's five commands from two files to a volume where linnos decides: they are taken out of README.md itself and run
# as they stand there, in that order. The files lie on two disks whose slow periods last. The policy is attached, asked for
# every read, in shadow at first, and after the last command reads move.
# needs: kernel:6.12 module:semantos module:semantos_testdev module:dm-semantos-replica module:loop module:ext4
# needs: module:crc32c_generic? program:losetup program:dmsetup program:bpftool program:build/semantos-agent file:README.md
# needs: program:build/semantosctl program:build/tests/vm/loadgen file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# needs: file:tests/vm/linnos.sh
# required: 6.12
# clock: icount
# timeout: 200

fail() { lsmod; cat /tmp/commands /tmp/said; tail -n 12 /tmp/agent.err; cat $state; /bin/losetup; echo "$*"; exit 1; }
# shellcheck source=tests/vm/linnos.sh
. /tests/vm/linnos.sh
: >/tmp/said
command() { sed -n "$1p" /tmp/commands; }
run() { # number: one of the five, as it stands
	eval "$(command "$1")" >>/tmp/said 2>&1 || fail "command $1 ended with $?: $(command "$1")"
}
learned() { build/semantosctl status --json >/tmp/status 2>/dev/null && [ "$(grep -o '"has_model": *true' /tmp/status | wc -l)" -ge 2 ]; }

sed -n '/^## From two files to a volume where linnos decides/,/^## A /s/^    //p' README.md >/tmp/commands
[ "$(wc -l </tmp/commands)" = 5 ] || fail "README.md does not have five commands there"

until_true 5 modules_gone || fail "the modules of another test do not leave"
# What the reader of README.md has: sudo, the modules built in the tree, a file system that is on a disk, and nodes.
# Whose losetup is meant is not busybox's, which its shell would take for itself.
# shellcheck disable=SC2016 # for the shell that runs it
printf '#!/bin/sh\ncase $1 in */*) exec "$@" ;; esac\ncommand=/bin/$1\nshift\nexec "$command" "$@"\n' >/bin/sudo && chmod 755 /bin/sudo
mkdir -p kmod/replica /var/tmp /mnt/a /mnt/b
ln -s "/lib/modules/$(uname -r)/extra/semantos.ko" kmod/semantos.ko
ln -s "/lib/modules/$(uname -r)/extra/dm-semantos-replica.ko" kmod/replica/dm-semantos-replica.ko
modprobe crc32c_generic 2>/dev/null # ext4 asks for it, and a program that is not here would load it
modprobe -a ext4 loop || fail "no file system or no loop devices"
disk=memory:fast_us=300,slow_us=10000,fast_ms=800,slow_ms=300,write_us=100,mb=96,backed=1
test_disks seed=3 devices="$disk;$disk"
n=0
for name in a b; do
	mke2fs /dev/semtest$n >/dev/null || fail "no file system on disk $n"
	mount -t ext4 /dev/semtest$n /mnt/$name || fail "disk $n cannot be mounted"
	ln -s /mnt/$name/file /var/tmp/$name.img
	n=$((n + 1))
done

run 1
run 2
run 3
node sm
build/semantosctl volume status
# The agent stays in the foreground, as any program does that is left running in a terminal.
eval "$(command 4)" >/tmp/agent.out 2>/tmp/agent.err &
agent=$!
until_true 30 held || fail "linnos is not attached: $(holder)"
dd if=/dev/zero of=/dev/mapper/sm bs=1M oflag=direct 2>/dev/null # files without holes: every read reaches a disk
build/tests/vm/loadgen --depth 2 --seconds 190 --think-us 1500 /dev/mapper/sm >/tmp/load 2>&1 &
load=$!
until_true 120 learned || fail "the legs are not learned: $(cat /tmp/status)"
until_true 10 models 2 || fail "the models were not handed to the module"
asked=$(decision 0)
sleep 4
[ "$(decision 0)" -gt "$asked" ] || fail "it is not asked"
[ "$(counter obeyed)" = 0 ] || fail "in shadow it was obeyed"
until_true 20 choosers 2 || fail "no signal, so the last command would be refused, or move nothing: $(cat /tmp/status)"
run 5
sleep 8
build/semantosctl status | sed 's/^/NOTE /'
[ "$(decision 6)" -gt 0 ] || fail "no read moved"
[ "$(decision 4)" -gt 0 ] || fail "no read was left as control"
moved=$(decision 6) # asked for before what the module did, as reads go on
obeyed=$(counter obeyed)
[ "$obeyed" -ge "$moved" ] || fail "$moved reads were to move, the module moved $obeyed"
echo "NOTE asked $(decision 0) times; canary:20 moved $(decision 6), left $(decision 4) as control"
kill $load
wait $load
build/semantosctl shutdown >/tmp/mode 2>&1 || fail "the agent does not end: $(cat /tmp/mode)"
wait $agent || fail "the agent ended with $?"
free || fail "the agent ended, and linnos is attached"
build/semantosctl volume remove sm || fail "the volume does not go"
/bin/losetup -D
umount /mnt/a /mnt/b || fail "a file system stays busy"
modules_leave
