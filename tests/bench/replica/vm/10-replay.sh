#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the lab's machine: every trace of the volumes asked for, under every row that learns nothing.
# clock: icount
# needs: kernel:6.12 module:semantos_testdev module:dm-semantos-replica program:dmsetup
# needs: program:build/tests/bench/replica/replay file:build/tests/bench/replica/policies.bpf.o
# needs: file:tests/bench/replica/plan.txt file:tests/bench/replica/volume.sh file:build/bench/replica/[0-9]*.txt?
# timeout: 4000

# shellcheck disable=SC2034 # for volume.sh
name=10-replay
# shellcheck source=/dev/null # it is linted apart
. /tests/bench/replica/volume.sh
echo 2 >/proc/sys/vm/nr_hugepages
modprobe dm-semantos-replica || fail "the module does not load"
for volume in $(volumes); do
	make_volume "$volume"
	replay "$volume" - "" "$(echo "${replay_rows:-fewest,first,random,ewma,hedge,oracle}" | tr , ' ')" || fail "the volume $volume"
	remove_volume
done
