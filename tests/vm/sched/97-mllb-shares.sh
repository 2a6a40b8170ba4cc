#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash disable=SC3043 # busybox has local
#
# Who gets how much of a CPU under mllb's scheduler: by nice, by the weight of a group however many tasks are in it, by that of
# groups within a group, and by a weight that changes. Seven tasks of four groups want CPU 1 all the time; shares are CPU
# time as the kernel counts it, over a window of seconds, and each must be within 15 % of what the weights say. The same
# under the kernel's own scheduler is told beside it, and so is what comes of weights where tasks may run on any CPU.
# needs: kernel:6.18 program:build/semantos-agent program:build/semantosctl program:build/tests/vm/schedload program:bpftool
# needs: program:build/tests/vm/mllbnet file:build/policies/mllb/* file:build/bpf/*/*.bpf.o file:tests/vm/mllb.sh
# required: 6.18
# timeout: 150

fail() { tail -n 20 /tmp/agent.err; cat $scx/state; dmesg | tail -n 5; echo "$*"; exit 1; }
# shellcheck source=tests/vm/mllb.sh
. /tests/vm/mllb.sh
groups=/sys/fs/cgroup
window=8

new_group() { # path, weight
	mkdir -p "$groups/$1"
	echo "$2" >"$groups/$1/cpu.weight" || fail "no weight for $1"
}
into() { # path of a group, command: it runs there
	local group=$1
	shift
	sh -c "echo \$\$ >$groups/$group/cgroup.procs; exec $*" >/dev/null &
}
used() { sed -n 's/^usage_usec //p' "$groups/$1/cpu.stat"; } # by a group, in us
all_used() { echo "$(used a) $(used b) $(used c) $(used c/one) $(used c/two) $(ran "$nice0") $(ran "$nice5")"; }
# Shares of the second of two, in parts of 1000, over the window.
measure() {
	local before
	before=$(all_used)
	sleep $window
	echo "$before $(all_used)" | awk '{
		for (i = 1; i <= 7; i++)
			d[i] = $(i + 7) - $i
		printf "ab %d ca %d c %d nice %d\n", 1000 * d[2] / (d[1] + d[2]), 1000 * d[1] / (d[1] + d[3]), 1000 * d[5] / (d[4] + d[5]),
			1000 * d[6] / (d[6] + d[7])
	}' >/tmp/shares
	cat /tmp/shares
}
share() { sed -n "s/.*\\<$1 \\([0-9]*\\).*/\\1/p" /tmp/shares; }
near() { # which, expected, in words
	local got
	got=$(share "$1")
	[ $((got * 100)) -ge $(($2 * 85)) ] && [ $((got * 100)) -le $(($2 * 115)) ] || bad="$bad; $3: $got of 1000, not $2"
}

clean
net yes
echo "+cpu" >$groups/cgroup.subtree_control || fail "no controller for CPUs"
new_group a 100
new_group b 300
new_group c 100
echo "+cpu" >$groups/c/cgroup.subtree_control
new_group c/one 100
new_group c/two 300
new_group d 100
start --policy mllb
until_true 20 attached mllb || fail "mllb is not attached"
into a $load hog --hogs 1 --cpu 1 --seconds 900
into b $load hog --hogs 2 --cpu 1 --seconds 900
into c/one $load hog --hogs 1 --cpu 1 --seconds 900
into c/two $load hog --hogs 1 --cpu 1 --seconds 900
into d $load hog --hogs 1 --cpu 1 --seconds 900
nice0=$!
into d $load hog --hogs 1 --cpu 1 --nice 5 --seconds 900
nice5=$!
sleep 1
step "the kernel's own"
kernels || fail "a scheduler is on in shadow"
echo "NOTE shares in parts of 1000 of 750 (weights 100 and 300), 500, 750 (within a group), 754 (nice 0 and 5); the kernel's own: $(measure)"

step "mllb's"
ctl mode mllb enforce || fail "no enforce"
ours || fail "the scheduler is not on"
bad=''
echo "NOTE mllb's: $(measure)"
near ab 750 "weights 100 and 300, of one task and of two"
near ca 500 "weights 100 and 100, of one task and of two groups"
near c 750 "weights 100 and 300 within a group"
near nice 754 "nice 0 and 5"
echo 300 >$groups/a/cpu.weight
echo "NOTE once both weigh 300 (of 500): $(measure)"
near ab 500 "weights 300 and 300"
[ -z "$bad" ] || fail "shares are not as weights say$bad"

step "any CPU"
echo 100 >$groups/a/cpu.weight
for group in a b; do
	echo 1 >$groups/$group/cgroup.kill
	into $group $load hog --hogs 4 --seconds 900
done
for group in c d; do echo 1 >$groups/$group/cgroup.kill; done
sleep 1
before="$(used a) $(used b)"
sleep $window
echo "$before $(used a) $(used b)" | awk '{ print "any " int(1000 * ($4 - $2) / ($3 - $1 + $4 - $2)) }' >/tmp/shares
echo "NOTE on any CPU, four tasks each, weights 100 and 300: $(share any) of 750"
near any 750 "weights 100 and 300 on any CPU"
[ -z "$bad" ] || fail "shares are not as weights say$bad"
ours || fail "the scheduler went"
kill $agent
wait $agent || fail "the agent ended with $?"
grep -q 'unaccounted' /tmp/agent.err && fail "decisions are unaccounted for"
exit 0
