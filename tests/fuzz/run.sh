#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh - runs one libFuzzer program for FUZZ_SECONDS (10) from its corpus tests/fuzz/corpus/<name>/.
# What it finds is kept in build/fuzz/<name>/: new inputs, and crash-* when it fails. Must not write to the corpus.
#
# Usage: run.sh PROGRAM
# timeout: 300

set -eu
program=$1
name=$(basename "$program")
name=${name#fuzz_}
found=build/fuzz/$name
[[ -x $program ]] || { echo "the clang 19 sanitizer runtime (libclang-rt-19-dev) was missing at build time"; exit 77; }
mkdir -p "$found"
set -- "$found"
[[ ! -d tests/fuzz/corpus/$name ]] || set -- "$@" "tests/fuzz/corpus/$name"
exec "$program" -max_total_time="${FUZZ_SECONDS:-10}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	-verbosity=1 -artifact_prefix="$found/" "$@"
