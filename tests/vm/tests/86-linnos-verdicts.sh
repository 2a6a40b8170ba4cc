#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# linnos decides by the agent's verdicts (decide = async), on two volumes at once: reads avoid a slow leg where the disks
# have memory, and stay where the default sends them where slow reads come by chance, whatever the mode. A read that must
# not wait gets EAGAIN where a slow answer is foreseen, in force and not in shadow.
# needs: kernel:6.12 module:semantos module:semantos_testdev module:dm-semantos-replica program:dmsetup program:bpftool
# needs: program:build/semantos-agent program:build/semantosctl program:build/tests/vm/loadgen program:build/tests/vm/nowaitread
# needs: file:build/policies/linnos/* file:build/bpf/*/*.bpf.o file:tests/vm/linnos.sh
# required: 6.12
# clock: icount
# timeout: 200

fail() { tail -n 12 /tmp/agent.err; cat $state /tmp/nowait; echo "$*"; exit 1; }
# shellcheck source=tests/vm/linnos.sh
. /tests/vm/linnos.sh
length=14336
modelled() { # all four disks have a model, two of them with signal
	choosers 2 && [ "$(grep -o '"has_model": *true' /tmp/status | wc -l)" -eq 4 ]
}
nowait() { # seconds: reads that must not wait, for so long
	: >/tmp/nowait
	end=$(($(date +%s) + $1))
	while [ "$(date +%s)" -lt $end ]; do
		build/tests/vm/nowaitread 40 /dev/mapper/v >>/tmp/nowait || fail "the reads could not be tried"
	done
	again=$(sed 's/.*again=\([0-9]*\).*/\1/' /tmp/nowait | awk '{ n += $1 } END { print n }')
	ok=$(sed 's/ok=\([0-9]*\).*/\1/' /tmp/nowait | awk '{ n += $1 } END { print n }')
}
make_volume() { # name, legs
	dmsetup create "$1" --table "0 $length semantos 1 2 /dev/semtest$2 0 /dev/semtest$3 0 4 create assume_equal nowait_reject 100" ||
		fail "no volume"
	node "$1"
}

mkdir -p /tmp/lib/policies && cp -r build/policies/linnos /tmp/lib/policies/ && cp -r build/bpf /tmp/lib/
sed -i 's/^decide = .*/decide = async/' /tmp/lib/policies/linnos/policy.conf
memory=memory:fast_us=1000,slow_us=20000,fast_ms=400,slow_ms=400,mb=8,backed=1
chance=iid:fast_us=1000,slow_us=20000,slow_ppm=100000,mb=8,backed=1
test_disks seed=3 devices="$memory;$memory;$chance;$chance"
modprobe dm-semantos-replica || fail "the module does not load"
make_volume v 0 1
make_volume w 2 3
loads=
for name in v w; do
	build/tests/vm/loadgen --depth 3 --seconds 190 --think-us 4000 --write-pct 20 /dev/mapper/$name >/tmp/load.$name 2>&1 &
	loads="$loads $!"
done
build/semantos-agent --policy linnos --policy-path /tmp/lib/policies --device 'semtest*' --rows 1200 --quiet >/tmp/agent.out 2>/tmp/agent.err &
agent=$!
until_true 20 held || fail "the policy is not attached to the module"
until_true 90 modelled || { cat /tmp/status; fail "the disks are not learned"; }

nowait 4
[ "$again" = 0 ] || fail "in shadow $again reads were refused"
[ "$(counter obeyed 1)" = 0 ] || fail "in shadow it was obeyed"
build/semantosctl mode linnos enforce >/tmp/mode 2>&1 || fail "enforce was refused: $(cat /tmp/mode)"
sleep 8
echo "NOTE by verdicts, in force: with memory $(counter obeyed 1) of $(counter decisions 1) reads moved; by chance" \
	"$(counter obeyed 2) of $(counter decisions 2)"
[ "$(counter obeyed 1)" -gt 0 ] || fail "no read avoids a slow leg"
[ "$(counter obeyed 2)" = 0 ] || fail "a model without signal is obeyed"
nowait 8
echo "NOTE reads that must not wait, in force: $again refused, $ok served"
[ "$again" -gt 0 ] || fail "no read that must not wait was refused"
[ "$ok" -gt 0 ] || fail "every read that must not wait was refused"
[ "$(counter refused 1)" = "$again" ] || fail "$(counter refused 1) were refused by the policy, $again got EAGAIN"

kill $agent
wait $agent || fail "the agent ended with $?"
nowait 3
[ "$again" = 0 ] || fail "without an agent $again reads were refused"
# shellcheck disable=SC2086 # one word a process
kill $loads
wait
dmsetup remove v || fail "the volume does not go"
dmsetup remove w || fail "the other volume does not go"
modules_leave
