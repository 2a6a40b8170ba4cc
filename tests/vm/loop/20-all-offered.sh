#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The same wrong settings, one after another, and this time the advisor may change everything of low risk that this kernel
# has: repaired within 15 trials, with three seeds (ten with
# SEMANTOS_SOAK=1).
# needs: program:build/semantos-agent program:build/semantosctl program:build/semantos-keeper program:build/semantos-advisor
# needs: module:semantos_testdev file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# needs: program:build/tests/vm/loopload file:tests/vm/loop/lib.sh
# clock: icount
# required: 6.12
# timeout: 2400

. tests/vm/loop/lib.sh
seeds=$few
most=15 seed=1 good_seeds=0 sum='' found=''
while [ "$seed" -le "$seeds" ]; do
	set -- read-ahead queue-depth merging request-size swap-read-ahead huge-pages
	shift $(((seed - 1) % $#))
	setting "$1"
	known_good
	agent_start
	advisor_start anew
	set --
	$ctl tune --workload true --dry-run "$@" >/tmp/shown 2>&1 || fail "no dry run: $(cat /tmp/shown)"
	offered=$(sed -n 's/^\([0-9]*\) settings may be tried.*/\1/p' /tmp/shown)
	tune_until_repaired "$seed" $most "$@"
	good_seeds=$((good_seeds + repaired)) sum="$sum $trials"
	[ "$repaired" -eq 1 ] || found="$found $setting"
	$ctl reset --forget >/tmp/shown 2>&1 || fail "no reset: $(cat /tmp/shown)"
	[ "$(value)" = "$bad" ] || fail "$file is $(value) after a reset, not $bad"
	agent_end
	advisor_end
	setting_end
	seed=$((seed + 1))
done
echo "NOTE $offered settings offered: repaired in $good_seeds of $seeds seeds, trials:$sum; not:${found:- none}"
[ $((good_seeds * 10)) -ge $((seeds * 9)) ] || fail "repaired in $good_seeds of $seeds seeds only; not:$found"
