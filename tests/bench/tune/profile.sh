#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# profile.sh - what a profile of tuned would set on this machine, as lines KNOB=VALUE of settings that are described.
#
# The profiles are read from FOLDER, an unpacked package; tuned itself is never installed, as it would begin to tune. Taken
# are [sysctl], transparent_hugepages of [vm] and readahead of [disk], includes first; "=>" holds only where it is more than
# what stands. Power, the scheduler's debugfs and what asks for a function are left out.
#
# Usage: profile.sh FOLDER PROFILE DISK
set -euo pipefail
folder=$1 disk=$3

lines() { # profile: SECTION KEY VALUE, those it includes first
	local include
	[[ -f $folder/$1/tuned.conf ]] || { echo "there is no profile $1 in $folder" >&2; exit 1; }
	include=$(sed -nE 's/^include *= *([^ ,]+)$/\1/p' "$folder/$1/tuned.conf" | head -n 1)
	[[ -z $include ]] || lines "$include"
	awk '/^\[/ { section = $0; gsub(/[][]/, "", section) }
		/^[a-z].*=/ {
			key = value = $0
			sub(/ *=.*/, "", key)
			sub(/^[^=]*= */, "", value)
			gsub(/"/, "", value)
			if (value !~ /\$/) print section "\t" key "\t" value
		}' "$folder/$1/tuned.conf"
}
declare -A set=()
while IFS=$'\t' read -r section key value; do
	knob=
	case $section/$key in
	sysctl/*) knob=sysctl:$key ;;
	vm/transparent_hugepages) knob=sysfs:kernel/mm/transparent_hugepage/enabled ;;
	disk/readahead) knob=sysfs:block/$disk/queue/read_ahead_kb ;;
	*) continue ;;
	esac
	told=$(build/semantosctl knobs "$knob" --json 2>/dev/null) || continue
	now=$(grep -oE '"value": *"[^"]*"' <<<"$told" | head -n 1 | sed -E 's/.*: *"//; s/"$//')
	[[ -n $now ]] || continue
	if [[ $value == '>'* ]]; then
		value=${value#>}
		[[ $now -lt $value ]] || continue
	fi
	most=$(grep -oE '"max": *[0-9]+' <<<"$told" | head -n 1 | grep -oE '[0-9]+$') || most=
	if [[ $value =~ ^[0-9]+$ && -n $most && $value -gt $most ]]; then
		echo "$knob=$value is left out: $most is the most that is offered" >&2
		continue
	fi
	# a ratio of 0 stands for "by bytes" there; the bytes say it
	[[ $key != vm.dirty_*ratio || $value != 0 ]] || { unset "set[$knob]"; continue; }
	if [[ $value == "$now" ]]; then unset "set[$knob]"; else set[$knob]=$value; fi
done < <(lines "$2")
for knob in "${!set[@]}"; do echo "$knob=${set[$knob]}"; done | sort
