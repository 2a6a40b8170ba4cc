#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The whole loop with nobody's script: the agent, semantos-advisor and semantosctl tune on a disk that takes 1 ms a read
# and does not read ahead. Read-ahead is found among the disk's settings and kept; all else ends as it was, and what had no
# effect is not proposed again by an advisor that was started anew.
# needs: program:build/semantos-agent program:build/semantosctl program:build/semantos-keeper program:build/semantos-advisor
# needs: module:null_blk file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# clock: icount
# elsewhere: soak
# timeout: 300

queue=/sys/block/nullb0/queue knob=sysfs:block/nullb0/queue trials=${SEMANTOS_SOAK:+8}
trials=${trials:-4}
fail() { tail -n 5 /tmp/agent.err; tail -n 20 /tmp/tune /tmp/advisor; echo "$*"; exit 1; }
until_shows() { # file, words
	n=0
	until grep -q -- "$2" "$1" 2>/dev/null; do
		n=$((n + 1))
		[ $n -lt 600 ] || fail "\"$2\" does not come in $1"
		usleep 50000
	done
}
advise() {
	build/semantos-advisor --user root --kb /tmp/kb >/tmp/advisor 2>&1 &
	advisor=$!
	until_shows /tmp/advisor "The knowledge base"
}
tune() {
	build/semantosctl tune --workload /tmp/load.sh --knob "$knob/*" --slice 400ms --washout 100ms --pairs 8 --apply auto \
		--trials "$trials" --because "the lab asks" >/tmp/tune 2>&1 || fail "tune ended with $?"
}
# What was tried and undone by its measurement: the move of a question, and what came of it.
failed() {
	awk '/^Question/ { move = $0; sub(/^Question .* us: /, "", move); sub(/, because.*/, "", move) }
		/^Trace .*"(no-effect|worse|breach)"/ { print move }' /tmp/advisor
}
proposed() { sed -n 's/^Question .* us: \(.*\), because.*/\1/p' /tmp/advisor; }
settings() { for file in "$queue"/*; do [ -f "$file" ] && [ "${file##*/}" != read_ahead_kb ] && echo "$file $(cat "$file" 2>/dev/null)"; done; }

modprobe null_blk nr_devices=1 irqmode=2 completion_nsec=1000000 queue_mode=2 || exit 1
cat >/tmp/load.sh <<'END'
#!/bin/sh
# 128 KiB that nobody has in memory: 32 reads of a page, or one or two with read-ahead
blockdev --flushbufs /dev/nullb0
exec dd if=/dev/nullb0 of=/dev/null bs=128k count=1 2>/dev/null
END
chmod +x /tmp/load.sh
echo 0 >$queue/read_ahead_kb
settings >/tmp/before
build/semantos-agent --device nullb0 --quiet --no-syscall-rate >/tmp/agent.out 2>/tmp/agent.err &
agent=$!
until_shows /proc/net/unix /run/semantos/agent.sock
advise
tune
ahead=$(cat $queue/read_ahead_kb)
[ "$ahead" -ge 64 ] || fail "read_ahead_kb is $ahead after $trials trials"
first=$(grep -c "came to" /tmp/advisor)
tried=$(failed)
at=$(proposed | grep -n "read_ahead_kb 0 -> " | head -n 1 | cut -d: -f1)
kill -TERM $advisor
wait $advisor || fail "the advisor ended with $?"

advise
trials=${SEMANTOS_SOAK:+3}
trials=${trials:-2}
tune
again=$(proposed)
echo "$again" | while read -r move; do
	[ -n "$move" ] || continue
	! echo "$tried" | grep -qxF "$move" || echo "$move" >/tmp/twice
done
[ ! -e /tmp/twice ] || fail "proposed again: $(cat /tmp/twice)"
build/semantosctl reset >/dev/null || fail "no reset"
[ "$(cat $queue/read_ahead_kb)" = 0 ] || fail "read_ahead_kb is $(cat $queue/read_ahead_kb) after a reset"
settings >/tmp/after
cmp -s /tmp/before /tmp/after || fail "other settings changed: $(diff /tmp/before /tmp/after)"
kill -TERM $agent
wait $agent || fail "the agent ended with $?"
kill -TERM $advisor
wait $advisor || fail "the advisor ended with $? when the agent was gone"
rmmod null_blk || fail "null_blk does not leave"
echo "NOTE read_ahead_kb 0 -> $ahead at trial $at of $first; then $(echo "$again" | wc -l) proposals, none of them again"
