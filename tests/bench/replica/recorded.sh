#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# recorded.sh - the recorded latencies of plan.txt's disks, as semantos_testdev takes them: FOLDER/537.txt and 490.txt.
#
# They come from $SEMANTOS_DATA (../shared/data) and stay outside the tree; without them there is neither file, and the
# output says so. Usage: recorded.sh FOLDER

set -uo pipefail
out=$1
data=${SEMANTOS_DATA:-../shared/data}/flashnet-trovi
rm -f "$out"/[0-9]*.txt
for number in 537 490; do
	trace=$(compgen -G "$data/*.$number.trace.gz" | head -n 1)
	if [[ -z $trace ]]; then
		echo "not there: $data/*.$number.trace.gz; the volume of recorded latencies is left out (SEMANTOS_DATA names the folder)"
		continue
	fi
	# ts_record ms, latency us, 1 = read, size, offset, ts_submit ms, size -> us since the start, latency us
	zcat "$trace" | awk -F, '$3 == 1 { printf "%.0f %d\n", $6 * 1000, $2 }' | sort -n -s -k 1,1 >"$out/$number.txt"
done
[[ -e $out/537.txt && -e $out/490.txt ]] || rm -f "$out"/[0-9]*.txt
