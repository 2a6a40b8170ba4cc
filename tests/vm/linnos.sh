# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# linnos.sh - what the tests of linnos on replica volumes share, in the lab's machine. Sourced, not run; a test asks for it
# with "needs: file:tests/vm/linnos.sh". The test has its own fail().

state=/sys/module/semantos/parameters/state
disks=/sys/module/semantos_testdev/parameters/state

until_true() { # seconds, words: wait for it
	n=$(($1 * 5))
	shift
	while ! "$@"; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.2
	done
}

counter() { # name in the volume's line of the module's state; the volume, if not the only one
	sed -n "s/^volume ${2:-[0-9]*} .*[ ]$1=\([0-9]*\).*/\1/p" $state
}
undecided() { # volume, if not the only one: decisions less all that is known of them
	sum=0
	for name in obeyed one_leg no_leg no_policy no_lease deferred bad_leg; do
		sum=$((sum + $(counter $name "$@")))
	done
	echo $(($(counter decisions "$@") - sum))
}
decision() { # number of a counter of bpf/volume_wire.h, summed over CPUs
	bpftool -j map dump pinned /sys/fs/bpf/semantos/linnos/decisions >/tmp/decisions 2>/dev/null
	tr -d ' \n"' </tmp/decisions | sed 's/.*formatted//' | grep -o 'count:\[[0-9,]*\]' | sed 's/count:\[//; s/\]//' |
		cut -d, -f$(($1 + 1)) | awk '{ n += $1 } END { print n + 0 }'
}

holder() { cat /sys/module/semantos/parameters/holder; }
held() { [ "$(holder)" = linnos ]; }
free() { [ "$(holder)" = none ]; }
signals() { # legs: so many have a model with signal
	build/semantosctl status --json >/tmp/status 2>/dev/null && [ "$(grep -o '"signal": *true' /tmp/status | wc -l)" -ge "$1" ]
}
choosers() { # legs: so many have a model by which reads may be moved; status says of which not
	signals "$1" && ! grep -q -e 'it moves no read of a volume' -e 'training on' /tmp/status
}
models() { [ "$(grep -c '^model ' $state)" -eq "$1" ]; } # legs: so many were handed to the module

# Nothing here makes the nodes that udev makes.
node() { [ -e "/dev/mapper/$1" ] || ln -s "/dev/dm-$(dmsetup info -c --noheadings -o minor "$1")" "/dev/mapper/$1"; }

gone() { [ ! -e $disks ] || rmmod semantos_testdev 2>/dev/null; }
test_disks() { # words for the module; a test before this one may have left its disks, and the agent's state
	until_true 5 gone || fail "test disks of another test do not leave"
	rm -rf /var/lib/semantos /sys/fs/bpf/semantos
	modprobe semantos_testdev "$@" || fail "the test disks do not load"
}

modules_gone() { # one by one: busybox ends at the first that it cannot remove
	rmmod dm-semantos-replica 2>/dev/null
	rmmod semantos 2>/dev/null
	[ ! -e $state ]
}
modules_leave() {
	until_true 5 modules_gone || fail "the modules do not leave" # BPF lets go of one a moment after the last program
	until_true 5 gone || fail "the test disks do not leave"
}
