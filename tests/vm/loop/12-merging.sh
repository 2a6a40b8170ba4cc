#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# 32 adjacent writes, of which a queue that merges none makes 32 requests.
# The loop finds that, and repairs it, in nine of ten seeds, within 4 trials.
# needs: program:build/semantos-agent program:build/semantosctl program:build/semantos-keeper program:build/semantos-advisor
# needs: module:semantos_testdev file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# needs: program:build/tests/vm/loopload file:tests/vm/loop/lib.sh
# clock: icount
# required: 6.12
# timeout: 1200

. tests/vm/loop/lib.sh
repairs merging 4
