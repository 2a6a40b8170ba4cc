#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# knobs_record.sh - writes agent/util/knobs/seen-SERIES.tsv anew from what 64-every-knob sees on the kernels of the lab:
# which knobs are there, what they read after a boot, and what became of the value written. Look at the difference before
# you keep it. Runs from the root of the tree, after make vm's programs are built.
#
# Usage: knobs_record.sh [SERIES...]    default: 6.1 6.12 6.18 7

set -uo pipefail
[[ $# -gt 0 ]] || set -- 6.1 6.12 6.18 7
tests/vm/run.sh --plain --only '64-every-knob' --append SEMANTOS_RECORD=1 "$@" >build/knobs-record.log || { cat build/knobs-record.log; exit 1; }
grep -vE '^ *\| SEEN' build/knobs-record.log
for series; do
	to=agent/util/knobs/seen-$series.tsv
	release=$(sed -nE 's/^INIT ([^ ]+) .*/\1/p' "build/vm/$series.report" | tr -d '\r')
	{
		echo "# SPDX-License-Identifier: Apache-2.0"
		echo "# Linux $release in the lab (1 GiB, 2 CPUs): knob, value after the boot, what became of the value written."
		echo "# Made by tests/vm/knobs_record.sh."
		# of an iosched knob that two schedulers have, the first one's
		tr -d '\r' <"build/vm/$series.report" | sed -n 's/^OUT 64-every-knob: SEEN //p' | awk -F '\t' '!seen[$1]++'
	} >"$to"
	echo "$to: $(grep -vc '^#' "$to") knobs"
done
