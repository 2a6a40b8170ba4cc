#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tidy.sh - clang-tidy over what changed since it last passed, as one test; see .clang-tidy for what it looks for.
# timeout: 600

set -eu
command -v clang-tidy-19 >/dev/null || { echo "clang-tidy-19 is not installed"; exit 77; }
exec make -k -s --no-print-directory -j"$(nproc)" tidy
