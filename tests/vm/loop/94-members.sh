#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Four disks that are alike, 1 ms a read and no read-ahead, tuned as members of one goal by the agent, semantosctl tune and
# its advisor: one value for all, tried on one of them first, kept for all as one change, undone as one. Then somebody
# else writes to one of them while they take turns: that stays, the others go back; and the agent is killed while they do.
# needs: program:build/semantos-agent program:build/semantosctl program:build/semantos-keeper program:build/semantos-advisor
# needs: program:build/tests/vm/proposer
# needs: module:null_blk file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# clock: icount
# elsewhere: soak
# timeout: 300

members=nullb0,nullb1,nullb2,nullb3 family='sysfs:block/*/queue/read_ahead_kb'
fail() { tail -n 5 /tmp/agent.err; tail -n 20 /tmp/tune /tmp/proposer /tmp/shown; echo "$*"; exit 1; }
ctl() { build/semantosctl "$@" >/tmp/shown 2>&1 || fail "semantosctl $*"; }
shows() { grep -q -- "$2" "$1" || fail "\"$2\" is not in $1"; }
values() { cat /sys/block/nullb[0-3]/queue/read_ahead_kb | tr '\n' ' '; }
until_true() { # what, command
	what=$1 n=0
	shift
	until "$@"; do
		n=$((n + 1))
		[ $n -lt 4000 ] || fail "it does not come: $what; now $(values)"
		usleep 50000
	done
}
all_read() { [ "$(values)" = "$1 $1 $1 $1 " ]; }
some_read() { values | grep -q "\<$1\>"; }
start_agent() {
	build/semantos-agent --device nullb0 --quiet --no-syscall-rate >/tmp/agent.out 2>>/tmp/agent.err &
	agent=$!
	until_true "the agent's socket" grep -q /run/semantos/agent.sock /proc/net/unix
}
tune() {
	exec build/semantosctl tune --workload /tmp/load.sh --members $members --knob "$family" --slice 400ms --washout 100ms \
		--pairs 8 --apply auto "$@"
}
propose() {
	build/tests/vm/proposer "$@" >/tmp/proposer 2>&1 &
	proposer=$!
}

modprobe null_blk nr_devices=4 irqmode=2 completion_nsec=1000000 queue_mode=2 || exit 1
cat >/tmp/load.sh <<'END'
#!/bin/sh
# 128 KiB that nobody has in memory: 32 reads of a page, or one or two with read-ahead
blockdev --flushbufs "/dev/$MEMBER"
exec dd if="/dev/$MEMBER" of=/dev/null bs=128k count=1 2>/dev/null
END
chmod +x /tmp/load.sh
for disk in 0 1 2 3; do echo 0 >/sys/block/nullb$disk/queue/read_ahead_kb; done
start_agent

(tune --dry-run) >/tmp/shown 2>&1 || fail "no dry run"
shows /tmp/shown "/tmp/load.sh (nullb3)"
shows /tmp/shown "read_ahead_kb *0 *low"

build/semantos-advisor --user root --kb /tmp/kb >/tmp/proposer 2>&1 &
proposer=$!
(tune --trials 6 --because "the lab asks") >/tmp/tune 2>&1 &
tune=$!
until_true "a change that is kept" grep -qE "is kept: |has ended" /tmp/tune
kill -INT $tune
wait $tune || fail "tune ended with $?"
shows /tmp/tune "canary: 1 of 4 members at a time"
shows /tmp/tune "full: 2 of 4 members at a time"
shows /tmp/tune "is kept: "
ahead=$(cat /sys/block/nullb0/queue/read_ahead_kb)
[ "$ahead" != 0 ] || fail "what is kept does not stand"
all_read "$ahead" || fail "what is kept does not stand on all: $(values)"
gain=$(sed -n 's/.*is kept: \(.*\)/\1/p' /tmp/tune | head -n 1)
change=$(sed -n 's/.*semantosctl rollback \([0-9]*\)$/\1/p' /tmp/tune | head -n 1)
ctl explain "$change"
for disk in 0 1 2 3; do shows /tmp/shown "sysfs:block/nullb$disk/queue/read_ahead_kb 0 -> $ahead"; done
ctl rollback "$change"
all_read 0 || fail "one rollback leaves $(values)"
kill $proposer
wait $proposer

# Somebody else has a wish for one of them, whichever value it has at that moment.
propose "$family=256"
(tune --trials 1) >/tmp/tune 2>&1 &
tune=$!
until_true "the first that is tried" some_read 256
echo 64 >/sys/block/nullb2/queue/read_ahead_kb
until_true "the end of the trial" grep -q "omebody else set sysfs:block/nullb2/" /tmp/tune
wait $tune || fail "tune ended with $?"
[ "$(values)" = "0 0 64 0 " ] || fail "after another's write they read $(values)"
echo 0 >/sys/block/nullb2/queue/read_ahead_kb
kill $proposer
wait $proposer
ctl audit

# The agent dies while they take turns: the keeper undoes all, those that were announced and never read back among them.
propose "$family=512"
(tune --trials 1) >/tmp/tune 2>&1 &
tune=$!
until_true "one that is tried" some_read 512
kill -KILL $agent
until_true "the keeper's undo" all_read 0
wait $tune
kill $proposer 2>/dev/null
start_agent
all_read 0 || fail "the next agent leaves $(values)"
ctl audit
kill -TERM $agent
wait $agent || fail "the agent ended with $?"
rmmod null_blk || fail "null_blk does not leave"
echo "NOTE four disks: $gain"
