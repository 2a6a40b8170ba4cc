#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the lab's machine: every trace of the volumes asked for, with linnos in force: the agent learns each leg from the
# traces of the set "train" of the same mix, then decides. Variants of its manifest, each with models of its own, and the controls, which
# stand in for the agent's answers.
# clock: icount
# needs: kernel:6.12 module:semantos_testdev module:dm-semantos-replica program:dmsetup
# needs: program:build/tests/bench/replica/replay file:build/tests/bench/replica/policies.bpf.o
# needs: file:tests/bench/replica/plan.txt file:tests/bench/replica/volume.sh file:build/bench/replica/[0-9]*.txt?
# needs: program:build/semantos-agent program:build/semantosctl file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# timeout: 6000

# shellcheck disable=SC2034 # for volume.sh
name=20-learned
# shellcheck source=/dev/null # it is linted apart
. /tests/bench/replica/volume.sh
state=/sys/module/semantos/parameters/state
learned=${replay_learned:-latency,inline,async,permuted,always-fast,always-slow,linnos-digits,heimdall}

# shellcheck disable=SC2086 # options are words
agent() { # manifest, models, options
	build/semantos-agent --policy linnos --policy-path /tmp/"$1"/policies --state-dir /tmp/models-"$2" --device 'semtest*' \
		--quiet $3 >/tmp/agent.out 2>/tmp/agent.err &
	agent=$!
	n=0
	until [ "$(cat /sys/module/semantos/parameters/holder)" = linnos ]; do
		n=$((n + 1))
		[ $n -lt 60 ] || fail "the agent does not take hold: $(tail -n 3 /tmp/agent.err)"
		sleep 0.5
	done
}

stop_agent() {
	kill $agent
	wait $agent || fail "the agent ended with $?: $(tail -n 3 /tmp/agent.err)"
}

signals() { build/semantosctl status --json 2>/dev/null | grep -o '"signal": *true' | wc -l; }

# Let it see the training traces of a mix until it has a model of each leg, twice at most.
learn() { # volume, mix, manifest
	reads=$(sed -n "s/^trace $1 $2 .* train //p" "${plan:?}")
	agent "$3" "$3-$2" "--rows $((reads / ${legs:?}))"
	for round in 1 2; do
		replay "$1" train "$2" learning=- || fail "the training traces of $1"
		n=0
		until [ "$(grep -c '^model ' $state)" = "$legs" ]; do
			n=$((n + 1))
			[ $n -lt 30 ] || break
			sleep 1
		done
		[ $n -eq 30 ] || break
	done
	echo "NOTE learned $1 $2 $3 round $round: $(grep -c '^model ' $state) models, $(signals) of $legs legs with signal" | report
	grep -E 'semtest.*(learned|it moves no read)' /tmp/agent.err | tail -n $((2 * legs)) | sed "s/^/NOTE said $1 $2 $3: /" | report
	stop_agent
}

obeyed() { sed -n 's/^volume .* obeyed=\([0-9]*\).*/\1/p' $state; }

measure() { # volume, mix, row, manifest, options
	agent "$4" "$models-$2" "--mode enforce $5"
	sleep 3 # until the models are in the module
	before=$(obeyed)
	replay "$1" - "$2" "$3=-" || fail "$3 on $1: $(tail -n 3 /tmp/agent.err)"
	echo "NOTE obeyed $1 $2 $3 $(($(obeyed) - before))" | report
	stop_agent
}

echo 2 >/proc/sys/vm/nr_hugepages
modprobe dm-semantos-replica || fail "the module does not load"
set_key() { # row, key, value, section: in that row's manifest
	sed -i "/^$2 = /d; s/^\\[$4\\]/&\\n$2 = $3/" /tmp/"$1"/policies/linnos/policy.conf
}
# shellcheck disable=SC2013 # words are wanted
for row in $(sed -n 's/^learned \([^ ]*\) .*/\1/p' "${plan:?}"); do
	mkdir -p /tmp/"$row"/policies/linnos
	cp /build/policies/linnos/* /tmp/"$row"/policies/linnos/
	ln -s /build/bpf /tmp/"$row"/bpf
	# shellcheck disable=SC2013
	for word in $(sed -n "s/^learned $row //p" "$plan"); do # SECTION.KEY=VALUE
		key=${word#*.}
		set_key "$row" "${key%%=*}" "${key#*=}" "${word%%.*}"
	done
done
for volume in $(volumes); do
	make_volume "$volume"
	rm -rf /tmp/models-*
	for mix in $(echo "${replay_mixes:-bing,cosmos,azure,mixed}" | tr , ' '); do
		grep -q "^trace $volume $mix .* train" "${plan:?}" || continue
		trained=
		for row in $(echo "$learned" | tr , ' '); do
			manifest=$row models=$row options=
			case $row in
			permuted) manifest=async models=async options="--control permute" ;;
			always-fast) manifest=async models=async options="--control fast" ;;
			always-slow) manifest=async models=async options="--control slow" ;;
			esac
			case " $trained " in
			*" $models "*) ;;
			*)
				learn "$volume" "$mix" "$models"
				trained="$trained $models"
				;;
			esac
			measure "$volume" "$mix" "$row" "$manifest" "$options"
		done
	done
	remove_volume
done
