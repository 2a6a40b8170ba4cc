#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Settings of a disk that the work never touches: of 200 trials (24 unless SEMANTOS_SOAK=1; LOOP_AA=N) at most a twentieth
# keeps anything. The work is one on a disk with slow periods that last, or, every other time, one on memory alone.
# needs: program:build/semantos-agent program:build/semantosctl program:build/semantos-keeper program:build/semantos-advisor
# needs: module:semantos_testdev file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# needs: program:build/tests/vm/loopload file:tests/vm/loop/lib.sh
# clock: icount
# required: 6.12
# timeout: 2400

. tests/vm/loop/lib.sh
observes=--no-telemetry
most=${LOOP_AA:-${SEMANTOS_SOAK:+200}}
most=${most:-24}
modprobe semantos_testdev seed=11 \
	devices="memory:fast_us=1000,slow_us=3000,fast_ms=300,slow_ms=100,jitter_pct=30;fixed:fast_us=1000" || exit 1
settings() { grep -s . /sys/block/semtest1/queue/*; }
settings >/tmp/before
slice=200
agent_start
advisor_start anew
seed=1 runs=0 kept=0 judged=0
while [ "$runs" -lt "$most" ]; do
	load="exec build/tests/vm/loopload queue SEED /dev/semtest0 8"
	[ $((seed % 2)) -eq 1 ] || load="exec build/tests/vm/loopload huge SEED 256"
	was=$runs
	tune_start "$seed" --apply auto --trials $((most - runs)) --knob 'sysfs:block/semtest1/queue/*'
	while tune_line; do
		case $line in
		*'"kind":"admitted"'*) runs=$((runs + 1)) ;;
		*'"kind":"stage"'*full:*) judged=$((judged + 1)) ;;
		*'"kind":"kept"'*)
			kept=$((kept + 1))
			say "kept with seed $seed: $line" ;;
		esac
	done
	tune_end
	[ $tune_code -eq 0 ] || fail "tune ended with $tune_code"
	[ $runs -gt $was ] || fail "nothing was tried with seed $seed"
	afresh
	seed=$((seed + 1))
done
settings >/tmp/after
cmp -s /tmp/before /tmp/after || fail "settings changed: $(diff /tmp/before /tmp/after)"
agent_end
advisor_end
rmmod semantos_testdev || fail "the disks do not leave"
csv "aa,$runs,$kept"
echo "NOTE of $runs trials of what has no effect, $judged of them to the last stage, with $((seed - 1)) seeds, $kept were kept"
# A twentieth of them; of a few, what chance makes of a twentieth in 999 of 1,000 cases.
[ "$most" -lt 200 ] || { [ $((kept * 20)) -le $runs ] || fail "$kept of $runs were kept"; }
[ "$kept" -le $((runs / 20)) ] || awk -v n=$runs -v k=$kept 'BEGIN { more = k - n / 20; exit !(more * more <= 9.6 * n * 0.05 * 0.95) }' || fail "$kept of $runs were kept"
