#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# coverage.sh - `make coverage` finds every branch of agent/safety taken by its tests. Part of `make soak`: it builds those
# tests once more, into build/coverage.
# timeout: 600

set -uo pipefail
# counts are full elsewhere; here each branch is taken once
unset SEMANTOS_SOAK
exec make --no-print-directory coverage
