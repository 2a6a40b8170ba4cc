#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh - plan.txt, SIMULATED: no figure of it is a measurement. Writes build/bench/replica-sim/ and replica-sim.json.
#
# Usage: run.sh [WORD...]    from the root of the tree, after make bench-replica-sim once. WORDs: at the top of sim.c.

set -uo pipefail
out=build/bench/replica-sim
# plan.txt names the recorded latencies where the lab has them.
mkdir -p "$out" build/bench/replica || exit 1
tests/bench/replica/recorded.sh build/bench/replica
words=()
[[ -e build/bench/replica/537.txt ]] || words=('replay_volumes=two,three')
build/tests/bench/replica/sim/sim tests/bench/replica/plan.txt "${words[@]}" "$@" >"$out/runs.txt" || exit 1
grep '^learned' "$out/runs.txt"
build/tests/bench/replica/report "$out/runs.txt" "$out/reads.csv" build/bench/replica-sim.json "$out/cells.txt" || exit
echo "simulated: every read is in $out/reads.csv, the figures in build/bench/replica-sim.json"
