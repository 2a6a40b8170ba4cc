#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Read-ahead on a disk that gets hot: fast at first, and a hundred times slower after so many runs with it, in canary, in
# ramp or in the last stage. It is found out, undone, remembered, and not proposed again: by the same advisor, by one
# begun anew with what it knew, under an agent begun anew; and a script that proposes it is refused.
# needs: program:build/semantos-agent program:build/semantosctl program:build/semantos-keeper program:build/semantos-advisor
# needs: module:semantos_testdev file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# needs: program:build/tests/vm/loopload file:tests/vm/loop/lib.sh
# needs: program:build/tests/vm/proposer
# clock: icount
# required: 6.12
# timeout: 900

. tests/vm/loop/lib.sh
observes=--no-telemetry
setting read-ahead
cat >/tmp/load.sh <<'END'
#!/bin/sh
# Every run with read-ahead heats it; it is slow while it is hot and read so.
read -r ahead </sys/block/semtest0/queue/read_ahead_kb
read -r heat </tmp/heat
read -r bears </tmp/bears
us=1000
if [ "$ahead" != 0 ]; then
	heat=$((heat + 1))
	echo $heat >/tmp/heat
	[ $heat -le "$bears" ] || us=100000
fi
echo "0:fast_us=$us" >/sys/module/semantos_testdev/parameters/change
exec build/tests/vm/loopload read 1 /dev/semtest0 128
END
chmod +x /tmp/load.sh
load="exec /tmp/load.sh" # the same for every goal: what failed is remembered for one objective
slice=400
proposals() { sed -n 's/.*"kind":"proposed","text":"Proposal [0-9]*: \(.*\), because.*/\1/p' /tmp/events; }
# One goal to its end; what was proposed is added to /tmp/tried.
goal() { # seed, trials
	tune_start "$1" --apply auto --trials "$2" --knob "$knob"
	while tune_line; do
		case $line in *'"kind":"kept"'*) fail "it was kept" ;; esac
	done
	tune_end
	[ $tune_code -eq 0 ] || fail "tune ended with $tune_code"
	proposals >>/tmp/tried
	[ "$(value)" = "$bad" ] || fail "read_ahead_kb is $(value), not $bad"
	[ -z "$(sort /tmp/tried | uniq -d)" ] || fail "proposed again: $(sort /tmp/tried | uniq -d)"
}

echo "$bad" >"$file"
agent_start
advisor_start anew
for row in canary:3 ramp:11 full:24; do
	where=${row%:*} bears=${row#*:}
	echo 0 >/tmp/heat
	echo "$bears" >/tmp/bears
	: >/tmp/tried
	goal "$bears" 1
	grep -q "\"text\":\"Proposal [0-9]*, $where:" /tmp/events || fail "it did not get to $where"
	last=$(grep -o '"kind":"stage","text":"Proposal [0-9]*, [a-z]*' /tmp/events | tail -n 1)
	last=${last##* }
	why=$(sed -n 's/.*"kind":"undone","text":"\([^"]*\)".*/\1/p' /tmp/events)
	case $why in
	*worse* | *rose*) ;;
	*) fail "$where: it was undone, but not for its harm: $why" ;;
	esac
	csv "hurts,$where,$last,$why"
	first=$(cat /tmp/tried)
	goal $((bears + 1)) 2
	n=$(wc -l </tmp/tried)
	if [ "$where" = full ]; then
		agent_end
		advisor_end
		agent_start
		advisor_start
		goal 77 3
		advisor_end
		build/tests/vm/proposer "$knob=${first##*-> }" >/tmp/proposer 2>&1 &
		proposer=$!
		goal 78 1
		kill $proposer
		grep -q "This was tried before" /tmp/proposer || fail "what did harm was not refused: $(cat /tmp/proposer)"
		advisor_start
		say "after the restart $(($(wc -l </tmp/tried) - n)) proposals, none of them again; the script's was refused"
	fi
	sum="${sum-} $where:$last"
	afresh
done
$ctl audit >/tmp/shown 2>&1 || fail "the audit says: $(cat /tmp/shown)"
agent_end
advisor_end
setting_end
echo "NOTE turned bad in, and was found out in:$sum"
