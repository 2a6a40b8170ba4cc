# SPDX-License-Identifier: Apache-2.0
# bash completion for semantosctl: commands, their options, attached policies, disks, modes. Asks the agent only
# for policy names, and waits one second at most.

_semantosctl_policies()
{
	semantosctl list --timeout 1 2>/dev/null | awk 'NR > 1 && $2 ~ /^(shadow|canary:|enforce)/ { print $1 }'
}

_semantosctl_folders()
{
	local conf
	for conf in /usr/lib/semantos/policies/*/policy.conf; do
		[[ -e $conf ]] && basename "$(dirname "$conf")"
	done
}

_semantosctl_proposals()
{
	semantosctl recommend --timeout 1 2>/dev/null | awk '$2 == "waiting" { print $1 }'
}

_semantosctl_knobs()
{
	semantosctl knobs 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_semantosctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	local commands="probe knobs status list attach detach mode stats telemetry capture train learn replay model shutdown
		tune recommend approve reject reset apply keep rollback unquarantine history explain audit recover volume"
	local command="" sub="" nth=0 i words=""
	COMPREPLY=()

	# "canary:7" is three words to bash: only its beginning is completed
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--socket|--timeout|--because|--evidence|--expect|--observed|--policy|--dir|--mode|--device|--rows|--duration|--interval|--count|--label|--root|--subsystem|--policy-path|-o|--output|--model|\
		--wipe|--rebuild|--traces|--references|--seconds|--forget|--region-kib|--nowait-reject|--hedge-us|\
		--slo|--improve|--workload|--apply|--knob|--members|--slice|--washout|--pairs|--trials|--seed|--prometheus|--every|--why)
			((i++)) ;;
		-*) ;;
		*)
			if [[ -z $command ]]; then
				command=${COMP_WORDS[i]}
			elif [[ $command == model && -z $sub ]]; then
				sub=${COMP_WORDS[i]}
			else
				((nth++))
			fi ;;
		esac
	done

	case $prev in
	--socket|-o|--output|--model)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
	--wipe|--rebuild)
		mapfile -t COMPREPLY < <(compgen -f -- "${cur:-/dev/}"); return ;;
	--root|--policy-path)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
	--mode)
		words="shadow canary: enforce"
		[[ $command != apply ]] || words="auto on-breach never once"
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur"); return ;;
	--device)
		mapfile -t COMPREPLY < <(compgen -W "$(ls /sys/block 2>/dev/null)" -- "$cur"); return ;;
	--subsystem)
		mapfile -t COMPREPLY < <(compgen -W "memory reclaim ksm zswap block cgroup scheduler process ipc files network interface tcp" -- "$cur"); return ;;
	--from)
		mapfile -t COMPREPLY < <(compgen -W "linnos-csv keras safetensors" -- "$cur"); return ;;
	--encoder)
		mapfile -t COMPREPLY < <(compgen -W "linnos-digits heimdall latency-ages" -- "$cur"); return ;;
	--optimiser)
		mapfile -t COMPREPLY < <(compgen -W "adam sgd" -- "$cur"); return ;;
	--labeler)
		mapfile -t COMPREPLY < <(compgen -W "inflection percentile-85 periods" -- "$cur"); return ;;
	--apply)
		mapfile -t COMPREPLY < <(compgen -W "advise auto" -- "$cur"); return ;;
	--knob)
		mapfile -t COMPREPLY < <(compgen -W "$(_semantosctl_knobs)" -- "$cur")
		declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$cur"
		return ;;
	--policy)
		mapfile -t COMPREPLY < <(compgen -W "$(_semantosctl_policies)" -- "$cur"); return ;;
	--timeout|--because|--evidence|--expect|--observed|--rows|--duration|--interval|--count|--region-kib|--nowait-reject|--hedge-us|\
	--slo|--improve|--workload|--members|--slice|--washout|--pairs|--trials|--prometheus|--every|--why)
		return ;;
	esac

	if [[ -z $command ]]; then
		words="$commands --json --socket --timeout --help --version"
	elif [[ $cur == -* ]]; then
		words="--json --help"
		case $command in
		status|list|detach|mode) words+=" --socket --timeout" ;;
		shutdown) words+=" --socket --timeout --upgrade" ;;
		tune) words+=" --socket --timeout --slo --improve --higher --lower --workload --apply --knob --members --slice --washout --pairs
			--trials --seed --because --prometheus --every --dry-run" ;;
		recommend|approve) words+=" --socket --timeout" ;;
		reject) words+=" --socket --timeout --why" ;;
		reset) words+=" --socket --timeout --forget" ;;
		apply) words+=" --socket --timeout --mode --because --evidence --expect --policy" ;;
		keep) words+=" --socket --timeout --observed" ;;
		rollback) words+=" --socket --timeout --because --observed --dir" ;;
		unquarantine) words+=" --socket --timeout --dir" ;;
		history|explain|audit) words+=" --dir" ;;
		recover) words+=" --dir --force" ;;
		attach) words+=" --socket --timeout --mode" ;;
		stats) words+=" --socket --timeout --watch --interval --count" ;;
		telemetry) words+=" --socket --timeout --watch --count --history --label" ;;
		capture) words+=" --socket --timeout --device --rows --duration --output" ;;
		probe) words+=" --root --policy-path" ;;
		knobs) words+=" --root --subsystem" ;;
		learn) words+=" --label --traces --references --seconds --forget --list --policy-path" ;;
		train) words+=" --output --encoder --labeler --hidden --outputs --predicts --epochs --batch --optimiser --learning-rate
			--slow-weight --seed --margin --name --device" ;;
		replay) words+=" --model --margin --device" ;;
		volume) words+=" --wipe --assume-equal --region-kib --nowait-reject --hedge-us --degraded --rebuild" ;;
		model)
			case $sub in
			use) words+=" --socket --timeout" ;;
			import) words+=" --output --from --name --encoder --activations --decision
				--slow-threshold" ;;
			esac ;;
		esac
	else
		case $command,$sub,$nth in
		attach,,0|unquarantine,,0) words=$(_semantosctl_folders) ;;
		status,,0|stats,,0|detach,,0|mode,,0|capture,,0|model,use,0) words=$(_semantosctl_policies) ;;
		mode,,1) words="shadow canary: enforce" ;;
		knobs,,0)
			# a name with a colon is several words to bash: what stands before the last one is not repeated
			mapfile -t COMPREPLY < <(compgen -W "$(_semantosctl_knobs)" -- "$cur")
			declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$cur"
			return ;;
		approve,,0|reject,,0|recommend,,0) words=$(_semantosctl_proposals) ;;
		model,,0) words="use show import" ;;
		volume,,0) words="create start status resync remove" ;;
		volume,*) mapfile -t COMPREPLY < <(compgen -f -- "${cur:-/dev/}"); return ;;
		model,use,1) words=$(ls /sys/block 2>/dev/null) ;;
		train,*|replay,*|model,*) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	[[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == canary: ]] && compopt -o nospace 2>/dev/null
	return 0
}

complete -F _semantosctl semantosctl
