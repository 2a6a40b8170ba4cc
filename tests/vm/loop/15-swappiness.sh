#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A file read again and again, here and there, beside memory that nobody touches, where only files are given up.
# The loop finds that, and repairs it, in nine of ten seeds (three, unless SEMANTOS_SOAK=1), within 4 trials.
# needs: program:build/semantos-agent program:build/semantosctl program:build/semantos-keeper program:build/semantos-advisor
# needs: module:semantos_testdev file:build/policies/linnos/* file:build/bpf/*/*.bpf.o
# needs: program:build/tests/vm/loopload file:tests/vm/loop/lib.sh
# clock: icount
# timeout: 1200

. tests/vm/loop/lib.sh
seeds=$few
repairs swappiness 4
