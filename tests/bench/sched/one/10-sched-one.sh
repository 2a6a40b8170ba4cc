#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The loads of vm/10-sched.sh on one CPU in virtual time, where every instruction takes the same time: what the scheduler
# itself costs. There is nobody to pull from.
# clock: icount
# needs: kernel:6.18 program:build/semantos-agent program:build/semantosctl program:build/tests/vm/schedload program:bpftool
# needs: program:build/tests/vm/mllbnet program:build/tests/bench/sched/idlewatch file:build/tests/bench/sched/idle.bpf.o
# needs: file:build/policies/mllb/* file:build/bpf/*/*.bpf.o file:tests/vm/mllb.sh file:tests/bench/sched/vm/10-sched.sh
# timeout: 900

# shellcheck disable=SC2034 # for what is sourced
name=10-sched-one sched_rows=eevdf,plain
# shellcheck source=/dev/null # it is linted apart
. /tests/bench/sched/vm/10-sched.sh
