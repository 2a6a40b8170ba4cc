#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# sched.sh - mllb and knn where they act, on every kernel of the lab that can: the tests of tests/vm/sched. Part of
# `make soak`; otherwise `make vmtest-sched`. Exit: as tests/vm/run.sh.
# results: lines
# timeout: 14400

exec env VM_TESTS=tests/vm/sched tests/vm/run.sh --plain 6.12 6.18 7
