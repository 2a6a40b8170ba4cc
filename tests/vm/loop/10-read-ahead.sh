#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# 128 KiB read one after another from a disk of 1 ms: no read-ahead, 32 reads of a page.
# The loop finds that, and repairs it, in nine of ten seeds, within 4 trials.
# needs: program:build/semantos-agent program:build/semantosctl program:build/semantos-keeper program:build/semantos-advisor
# needs: module:semantos_testdev file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# needs: program:build/tests/vm/loopload file:tests/vm/loop/lib.sh
# clock: icount
# required: 6.12
# timeout: 1200

. tests/vm/loop/lib.sh
repairs read-ahead 4
