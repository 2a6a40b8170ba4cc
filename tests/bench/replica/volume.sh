# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# volume.sh - what the scripts of tests/bench/replica/vm share: the volumes of plan.txt, in the lab's machine. Sourced, not run.
# Words of the kernel's command line: replay_stretch=N, replay_volumes=A,B, and replay_rows=A,B.

plan=/tests/bench/replica/plan.txt
stretch=${replay_stretch:-8}
fail() { dmesg | tail -n 20; echo "$*"; exit 1; }

spec_of() { # disk: its SPEC with all times stretched
	sed -n "s/^disk $1 //p" $plan | awk -v by="$stretch" '{
		model = $0; sub(/:.*/, "", model); sub(/^[^:]*:/, "")
		n = split($0, pair, ",")
		printf "%s:backed=2,mb=40,depth=1024", model
		if (model == "trace") printf ",stretch=%d", by
		for (i = 1; i <= n; i++) {
			split(pair[i], part, "=")
			printf ",%s=%s", part[1], part[1] ~ /_(us|ms|ns)$/ ? part[2] * by : part[2]
		}
	}'
}

# Disk names are words.
# shellcheck disable=SC2013
make_volume() { # name: it becomes /dev/mapper/v
	specs='' table='' legs=0
	for disk in $(sed -n "s/^volume $1 //p" $plan); do
		specs="$specs${specs:+;}$(spec_of "$disk")"
		table="$table /dev/semtest$legs 0"
		legs=$((legs + 1))
	done
	[ $legs -gt 1 ] || fail "plan.txt has no volume $1"
	modprobe semantos_testdev devices="$specs" || fail "the disks of $1 do not load"
	for i in $(seq 0 $((legs - 1))); do echo none >/sys/block/semtest"$i"/queue/scheduler; done
	dmsetup create v --table "0 $((39 * 2048)) semantos 1 $legs$table 6 create assume_equal region_sectors 65536 hedge_us 0" ||
		fail "no volume on the disks of $1"
	dmsetup mknodes v 2>/dev/null
	[ -e /dev/mapper/v ] || ln -s "/dev/$(basename "$(readlink /sys/dev/block/"$(dmsetup info -c --noheadings -o major,minor --separator : v)")")" /dev/mapper/v
}

remove_volume() {
	dmsetup remove v || fail "the volume cannot be removed"
	i=0
	while ! rmmod semantos_testdev 2>/dev/null; do # BPF lets go of its modules a moment after the last link
		i=$((i + 1))
		[ $i -lt 50 ] || fail "the disks do not leave: $(rmmod semantos_testdev 2>&1)"
		sleep 0.1
	done
}

volumes() { # those asked for, and at hand
	for volume in $(echo "${replay_volumes:-two,three,recorded}" | tr , ' '); do
		if [ "$volume" = recorded ] && [ ! -e /build/bench/replica/537.txt ]; then
			echo "NOTE skip $volume: the recorded latencies are not at hand" >&2
		else
			echo "$volume"
		fi
	done
}

# What is found goes to the report at once, so that it is there whatever happens later.
report() { sed "s/^NOTE /OUT ${name:?}: /" >/dev/ttyS1; }

# shellcheck disable=SC2086 # rows are words
replay() { # volume, set (- is any but train), mix ('' is any), rows
	replay_set=$2 replay_mix=$3 build/tests/bench/replica/replay $plan "$1" /dev/mapper/v "$stretch" $4 >/tmp/replayed
	code=$?
	[ "$2" = train ] || grep '^NOTE' /tmp/replayed | report
	[ $code -eq 0 ] || tail -n 1 /tmp/replayed
	return $code
}
