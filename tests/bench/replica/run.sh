#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh - replays the traces of plan.txt in the lab under every policy, then prints tables and verdicts.
#
# Writes build/bench/replica/: runs.txt and reads.csv (every read), cells.txt; build/bench/replica.json and replica.svg.
# Recorded latencies come from $SEMANTOS_DATA (../shared/data) and stay outside the tree; without them that volume is
# left out, and the output says so.
#
# Usage: run.sh [WORD...]    from the root of the tree, after make bench-replica-build. WORDs reach the lab's machine:
#   replay_ms=100 for short traces, replay_rows=fewest,oracle, replay_learned=inline, replay_volumes=two. Exit: 0, 1, or 77 (no QEMU).

set -uo pipefail
out=build/bench/replica
mkdir -p "$out" || exit 1
rm -f "$out"/runs.txt
tests/bench/replica/recorded.sh "$out"

lab() { # which tests, words for the machine
	local only=$1 code
	shift
	VM_TESTS=tests/bench/replica/vm tests/vm/run.sh --icount --only "$only" --append "$*" 6.12 >"$out/lab.txt" 2>&1
	code=$?
	sed -nE 's/^  \| ((run|reads) )/\1/p' "$out/lab.txt" >>"$out/runs.txt"
	sed -nE 's/^  \| (skip|learned|said|obeyed) /\1: /p' "$out/lab.txt"
	[[ $code -eq 0 ]] || { grep -vE '^  \| (run|reads) ' "$out/lab.txt" | tail -n 20; return $code; }
}

lab '10*' "$@" || exit
lab '20*' "$@" || exit
# Some traces again with time stretched twice as much: what the machine itself adds to a figure.
lab '10*' "$@" replay_stretch=16 replay_rows=fewest replay_volumes=two || exit
build/tests/bench/replica/report "$out/runs.txt" "$out/reads.csv" build/bench/replica.json "$out/cells.txt" || exit
if command -v gnuplot >/dev/null; then
	tests/bench/replica/plot.sh "$out/cells.txt" build/bench/replica.svg || exit
fi
echo "every read is in $out/reads.csv, the figures in build/bench/replica.json"
