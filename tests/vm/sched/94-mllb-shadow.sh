#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# mllb without a scheduler of its own: it hears what the kernel's balancer answers, learns from that, and is judged by the
# answers that follow: AUC, and how often the net in the kernel agrees. Nothing is changed, and every record is accounted for.
# needs: kernel:6.12 program:build/semantos-agent program:build/semantosctl program:build/tests/vm/schedload program:bpftool
# needs: file:build/policies/mllb/* file:build/bpf/*/*.bpf.o file:tests/vm/mllb.sh
# required: 6.12
# timeout: 150

fail() { tail -n 20 /tmp/agent.err; tail -n 3 /tmp/status; echo "$*"; exit 1; }
# shellcheck source=tests/vm/mllb.sh
. /tests/vm/mllb.sh
figure() { grep -o "\"$1\": *[-0-9.a-z]*" /tmp/status | head -n 1 | sed 's/.*: *//'; }
learned() { build/semantosctl status --json >/tmp/status 2>/dev/null && grep -q '"has_model": *true' /tmp/status; }
judged() { learned && [ "$(figure evaluated)" -gt 100 ]; }
requests=4 # of enum semantos_counter

clean
# Whoever is asked must get to answer, on an emulated CPU too: so the loads are nice. They keep all CPUs busy as they are.
$load mix --hogs 3 --sleepers 6 --seconds 900 --nice 10 >/tmp/mix &
$load wake --wakers 1 --workers 4 --seconds 900 --nice 10 >/tmp/wake &
start --policy mllb --rows 400
until_true 20 attached mllb || fail "mllb is not attached"
grep -q 'follows cpus' /tmp/agent.err || fail "it does not follow the CPUs"
if grep -q 'answers are not heard' /tmp/agent.err; then
	why=$(sed -n 's/.*are not heard, because //p' /tmp/agent.err)
	case $(uname -r) in
	6.18.*) echo "NOTE $(uname -r): $why"; echo "$why"; exit 77 ;;
	esac
	fail "$why"
fi
until_true 90 learned || fail "after 90 s it has learned nothing: $(sum_of counters $requests) asked"
until_true 30 judged || fail "nothing is judged"
[ -e $scx ] && ! kernels && fail "a scheduler was attached in shadow"
echo "NOTE $(uname -r): $(figure trained_rows) answers learned, held-out AUC $(figure heldout_auc); $(figure evaluated) judged since," \
	"$(sum_of counters $requests) heard"
sed -n 's/.*cpus: learned/NOTE learned/p' /tmp/agent.err
ctl mode mllb enforce >/tmp/mode 2>&1 && [ ! -e $scx ] && fail "enforce without sched_ext"
tail -n 1 /tmp/mode
kill $agent
wait $agent || fail "the agent ended with $?"
grep -q 'unaccounted' /tmp/agent.err && fail "records are unaccounted for"
[ ! -e $pins ] || fail "pins were left"
