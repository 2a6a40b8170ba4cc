#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash disable=SC3043 # busybox has local
#
# Every described knob of this kernel, one after another through the journal: written, read back, restored, and what else
# stood there as before. Presence, defaults and what the kernel makes of a value are compared with those recorded in
# agent/util/knobs; SEMANTOS_RECORD=1 prints them instead (tests/vm/knobs_record.sh). At least 60 must have been written.
# needs: program:build/tests/vm/knobwrite module:bfq module:kyber-iosched module:mq-deadline?
# timeout: 240

queue=/sys/block/vda/queue
record=${SEMANTOS_RECORD:+--record}

for module in bfq kyber-iosched mq-deadline; do modprobe $module 2>/dev/null; done
for controller in cpu memory io pids; do
	echo +$controller >/sys/fs/cgroup/cgroup.subtree_control || exit 1
done
mkdir /sys/fs/cgroup/lab || exit 1
# shellcheck disable=SC2086 # a word, or none
build/tests/vm/knobwrite vda lab '*' $record >/tmp/all
code=$?
# What a scheduler has is there while it is chosen.
before=$(sed 's/.*\[\(.*\)\].*/\1/' $queue/scheduler)
for scheduler in mq-deadline kyber bfq; do
	echo $scheduler >$queue/scheduler || { echo "there is no $scheduler"; code=1; continue; }
	# shellcheck disable=SC2086 # a word, or none
	build/tests/vm/knobwrite vda lab 'sysfs:block/*/queue/iosched/*' $record >>/tmp/all || code=1
done
echo "$before" >$queue/scheduler
[ -z "$record" ] || sed -n 's/^SEEN /NOTE SEEN /p' /tmp/all
grep -v '^SEEN' /tmp/all
written=$(sed -n 's/^NOTE [0-9]* knobs are here, \([0-9]*\) were.*/\1/p' /tmp/all | head -n 1)
[ -z "$record" ] || exit 0
[ "${written:-0}" -ge 60 ] || { echo "only ${written:-0} knobs were changed and restored"; exit 1; }
exit $code
