#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Writers that wait for the disk from 1 % of memory on, and one that writes more than the disk takes: without the wait it is
# fast, and what is not on the disk grows and grows. The operator wants at most 16 MiB of that. So what looks good in canary
# breaks the guard later; it is undone, remembered as harmful, and not proposed again.
# needs: program:build/semantos-agent program:build/semantosctl program:build/semantos-keeper program:build/semantos-advisor
# needs: module:semantos_testdev file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# needs: program:build/tests/vm/loopload file:tests/vm/loop/lib.sh
# clock: icount
# required: 6.12
# timeout: 900

. tests/vm/loop/lib.sh
observes=--no-telemetry
setting dirty-limit
echo "$bad" >"$file"
load="exec build/tests/vm/loopload dirty 1 /dev/semtest0 4096" slice=800
cat >/tmp/unwritten.sh <<'END'
#!/bin/sh
exec awk '/^(Dirty|Writeback):/ { kb += $2 } END { print kb / 1024 }' /proc/meminfo
END
chmod +x /tmp/unwritten.sh
agent_start
advisor_start anew
: >/tmp/tried
seen='' breaches=0
for seed in 1 2; do
	tune_start $seed --apply auto --trials 2 --knob "$knob" --slo 'cmd:/tmp/unwritten.sh < 16' --every 100ms
	while tune_line; do
		case $line in
		*'"kind":"kept"'*) fail "it was kept" ;;
		*'"kind":"stage"'*) seen=$(echo "$line" | sed -n 's/.*Proposal [0-9]*, \([a-z]*\):.*/\1/p') ;;
		*'"kind":"breach"'*)
			breaches=$((breaches + 1))
			[ "$(value)" = "$bad" ] || usleep 200000
			[ "$(value)" = "$bad" ] || fail "dirty_ratio is still $(value) 200 ms after the breach"
			why=$(echo "$line" | sed -n 's/.*"text":"\([^"]*\)".*/\1/p')
			csv "breach,$seed,${seen:-confirmation},$why" ;;
		esac
	done
	tune_end
	[ $tune_code -eq 0 ] || fail "tune ended with $tune_code"
	sed -n 's/.*"kind":"proposed","text":"Proposal [0-9]*: \(.*\), because.*/\1/p' /tmp/events >>/tmp/tried
	agent_end
	advisor_end
	agent_start
	advisor_start
done
[ $breaches -gt 0 ] || fail "the guard never broke"
[ -z "$(sort /tmp/tried | uniq -d)" ] || fail "proposed again: $(sort /tmp/tried | uniq -d)"
[ "$(value)" = "$bad" ] || fail "dirty_ratio is $(value), not $bad"
agent_end
advisor_end
setting_end
echo "NOTE $breaches breaches, the last after the stage '$seen'; $(wc -l </tmp/tried) proposals over a restart, none again"
