#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# knn.sh - the rows of the policy knn: what its hooks add to a system call, and what an answer costs.
exec "${B:-build}/tests/bench/policies/bench_calls"
