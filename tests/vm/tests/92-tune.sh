#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# semantosctl tune from first to last on a disk that takes 1 ms a read and does not read ahead: the advisor finds that, and
# it is kept; explained, reset. Then proposals of a script (tests/vm/proposer.c): refused, approved, interrupted.
# needs: program:build/semantos-agent program:build/semantosctl program:build/semantos-keeper program:build/tests/vm/proposer
# needs: program:build/semantos-advisor
# needs: module:null_blk file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# clock: icount
# elsewhere: soak
# timeout: 240

queue=/sys/block/nullb0/queue knob=sysfs:block/nullb0/queue
fail() { tail -n 5 /tmp/agent.err; tail -n 20 /tmp/shown /tmp/tune /tmp/proposer; echo "$*"; exit 1; }
ctl() { build/semantosctl "$@" >/tmp/shown 2>&1 || fail "semantosctl $*"; }
shows() { grep -q -- "$2" "$1" || fail "\"$2\" is not in $1"; }
reads_ahead() { [ "$(cat $queue/read_ahead_kb)" = "$1" ] || fail "read_ahead_kb is $(cat $queue/read_ahead_kb), not $1: $2"; }
until_shows() { # file, words, process that brings them
	n=0
	until grep -q -- "$2" "$1" 2>/dev/null; do
		n=$((n + 1))
		if [ $n -gt 4000 ] || ! kill -0 "$3"; then
			fail "\"$2\" does not come in $1"
		fi
		usleep 50000
	done
}
waits() { sed -n 's/.*semantosctl approve \([0-9]*\) .*/\1/p' /tmp/tune | tail -n 1; }
propose() {
	build/tests/vm/proposer "$@" >/tmp/proposer 2>&1 &
	proposer=$!
}
# In a subshell, or behind an &: an interrupt must reach the command itself.
tune() { exec build/semantosctl tune --workload /tmp/load.sh --slice 400ms --washout 100ms --pairs 8 "$@"; }

modprobe null_blk nr_devices=1 irqmode=2 completion_nsec=1000000 queue_mode=2 || exit 1
cat >/tmp/load.sh <<'END'
#!/bin/sh
# 128 KiB that nobody has in memory: 32 reads of a page, or one or two with read-ahead
blockdev --flushbufs /dev/nullb0
exec dd if=/dev/nullb0 of=/dev/null bs=128k count=1 2>/dev/null
END
chmod +x /tmp/load.sh
echo 0 >$queue/read_ahead_kb
# The advisor is a user of its own, whom the agent knows by name.
mkdir -p /etc /var/lib
# It must get to its folder and its libraries: the root of this machine may be root's alone.
find / -xdev -type d -exec chmod a+rx {} +
printf 'root:x:0:0::/:/bin/sh\nsemantos-advisor:x:990:990::/:/bin/false\n' >/etc/passwd
build/semantos-agent --device nullb0 --quiet --no-syscall-rate >/tmp/agent.out 2>/tmp/agent.err &
agent=$!
until_shows /proc/net/unix /run/semantos/agent.sock $agent

# Nothing is asked of the agent, and nothing changes.
(tune --dry-run --knob "$knob/*") >/tmp/shown 2>&1 || fail "no dry run"
shows /tmp/shown "$knob/read_ahead_kb *0 *low"
ctl recommend
shows /tmp/shown "There are no proposals"

# Without asking, by the advisor itself, which knows nothing of this disk yet.
build/semantos-advisor >/tmp/proposer 2>&1 &
proposer=$!
begin=$(cut -d. -f1 /proc/uptime)
tune --apply auto --knob $knob/read_ahead_kb --trials 12 --json --because "the lab asks" >/tmp/tune 2>&1 &
tune=$!
until_shows /tmp/tune '"kind":"kept"' $proposer
took=$(($(cut -d. -f1 /proc/uptime) - begin))
kill -INT $tune
wait $tune || fail "tune ended with $?"
trials=$(sed '/"kind":"kept"/q' /tmp/tune | grep -c '"kind":"admitted"')
[ "$(cat $queue/read_ahead_kb)" != 0 ] || fail "what was kept does not stand"
gain=$(sed -n 's/.*"kind":"kept","text":"\([^"]*\)".*/\1/p' /tmp/tune | head -n 1)
change=$(sed -n 's/.*"kind":"kept".*"change":\([0-9]*\).*/\1/p' /tmp/tune | head -n 1)
ctl explain "$change"
shows /tmp/shown "^Proposal .* kept"
kill $proposer
wait $proposer
! (tune --apply auto --slo "cmd:echo no >&2; exit 1 < 3") >/tmp/shown 2>&1 || fail "a guard that fails was taken"
shows /tmp/shown "cannot be measured: it ended with code 1 (no)"
ctl reset
reads_ahead 0 "after a reset"

# Asking: one is refused, the other approved, and interrupted while it is tried.
propose "$knob/rq_affinity=2" "$knob/read_ahead_kb=256"
tune --knob "$knob/*" >/tmp/tune 2>&1 &
tune=$!
until_shows /tmp/tune "semantosctl approve" $tune
first=$(waits)
shows /tmp/tune "semantosctl reject $first --why TEXT"
ctl recommend
shows /tmp/shown "^ *$first  waiting"
ctl reject "$first" --why "not in the lab"
until_shows /tmp/tune "semantosctl approve $((first + 1))" $tune
reads_ahead 0 "nothing was approved"
ctl approve $((first + 1))
n=0
while [ "$(cat $queue/read_ahead_kb)" = 0 ]; do
	n=$((n + 1))
	[ $n -lt 1000 ] || fail "what was approved is not tried"
	usleep 10000
done
kill -INT $tune
wait $tune || fail "tune ended with $? after an interrupt"
shows /tmp/tune "Nothing is being tried any more"
reads_ahead 0 "tune was interrupted"
ctl recommend p$((first + 1))
shows /tmp/shown "undone"
kill $proposer

ctl audit
kill -TERM $agent
wait $agent || fail "the agent ended with $?"
rm /etc/passwd
rmmod null_blk || fail "null_blk does not leave"
echo "NOTE found in $took s, $trials trials: $gain"
