#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The test-only disks fail as they are told: recorded latencies, errors on demand, requests held until released, a disk
# that vanishes and returns with its contents, and a write cache whose unflushed blocks are lost with the power.
# needs: module:semantos_testdev program:build/tests/vm/loadgen
# clock: icount
# timeout: 60

fail() { echo "$*"; exit 1; }
param=/sys/module/semantos_testdev/parameters
state() { sed -n "s/^semtest$1 .*$2=\([^ ]*\).*/\1/p" $param/state; } # number, key
got() { sed -n "s/.*\b$1=\([0-9]*\).*/\1/p" /tmp/load; } # figure
between() { # what, value, least, most
	if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then fail "$1 is $2, expected $3 to $4"; fi
}
holds() { # block, file, disk: does the block hold what is in the file?
	get /tmp/back "$1" "$3" || return 1
	cmp -s "$2" /tmp/back
}
put() { dd if="$1" of=/dev/semtest0 bs=4k seek="$2" oflag=direct conv=notrunc 2>/dev/null; } # file, block
get() { dd if=/dev/"${3:-semtest0}" of="$1" bs=4k skip="$2" count=1 iflag=direct 2>/dev/null; } # file, block

printf '# three reads\n1000\n1000\n4000\n' >/tmp/order
printf '0 1000\n1000000 6000\n2000000 1000\n' >/tmp/timed
printf 'five\n' >/tmp/wrong
modprobe semantos_testdev devices="fixed:fast_us=100,store=1,mb=4,cache=1;trace:file=/tmp/order;trace:file=/tmp/timed" ||
	fail "the module does not load"

build/tests/vm/loadgen --depth 1 --seconds 1 /dev/semtest1 >/tmp/load || fail "the load on the trace failed"
between "the trace's median" "$(got p50_us)" 1000 1200
between "the trace's p90" "$(got p90_us)" 4000 4300
sleep 0.2
build/tests/vm/loadgen --depth 1 --seconds 4 --log /tmp/timed.log /dev/semtest2 >/tmp/load || fail "the load on the timed trace failed"
awk '{ if ($2 > 5500) slow++; else fast++ } END { print "NOTE timed trace:", slow + 0, "slow,", fast + 0, "fast reads"
	exit !(slow > 100 && fast > 1000) }' /tmp/timed.log || fail "the timed trace is not followed"
echo trace:file=/tmp/wrong >$param/add 2>/dev/null && fail "a trace of words was accepted"
echo trace >$param/add 2>/dev/null && fail "a trace without a file was accepted"

# Errors: so many, then none.
dd if=/dev/urandom of=/tmp/a bs=4k count=1 2>/dev/null
dd if=/dev/urandom of=/tmp/b bs=4k count=1 2>/dev/null
put /tmp/a 0 || fail "writing failed"
echo 0:write_errors=1 >$param/change
put /tmp/b 0 && fail "a write that was to fail did not"
holds 0 /tmp/a semtest0 || fail "a failed write changed the disk"
put /tmp/b 0 || fail "the second write failed as well"
echo 0:read_errors=4294967295 >$param/change
get /tmp/back 0 && fail "reads do not fail"
echo 0:read_errors=0 >$param/change
holds 0 /tmp/b semtest0 || fail "the disk does not hold the second write"

# Held: nothing is read or written before the release.
echo 0:hang=3 >$param/change
put /tmp/a 0 &
writer=$!
sleep 0.5
[ "$(state 0 held)" = 1 ] || fail "the write is not held"
kill -0 $writer || fail "the held write came to an end"
echo 0:hang=0 >$param/change
wait $writer || fail "the released write failed"
holds 0 /tmp/a semtest0 || fail "the released write was not carried out"
echo 0:hang=1 >$param/change
get /tmp/back 0 &
reader=$!
sleep 0.5

# Vanishing with a held read, returning with the contents.
echo 0 >$param/remove || fail "removal was refused"
wait $reader && fail "the held read of a removed disk did not fail"
echo fixed:store=1,mb=4,cache=1 >$param/add || fail "the disk does not return"
holds 0 /tmp/a semtest0 || fail "the returned disk lost its contents"

# Loss of power: flushed stays, unflushed goes (keep 0) or stays (keep all); an image is of the same instant.
put /tmp/a 1 || fail "writing failed"
sync /dev/semtest0 || fail "flushing failed"
put /tmp/b 1 || fail "writing failed"
put /tmp/b 2 || fail "writing failed"
echo 7:0:1=2 >$param/image || fail "no image was made"
echo 7:1000000:1=3 >$param/image || fail "no second image was made"
echo 0:0 >$param/cut || fail "the cut was refused"
echo fixed:store=1,mb=4,cache=1 >$param/add # takes number 0 again
echo fixed:store=2,mb=4 >$param/add # 3
echo fixed:store=3,mb=4 >$param/add # 4
head -c 4096 /dev/zero >/tmp/zero
holds 1 /tmp/a semtest0 || fail "the cut lost a flushed write"
holds 2 /tmp/zero semtest0 || fail "the cut kept an unflushed write"
holds 1 /tmp/a semtest3 || fail "the image lost a flushed write"
holds 2 /tmp/zero semtest3 || fail "the image has an unflushed write"
holds 1 /tmp/b semtest4 || fail "the image that keeps all lost a write"
echo fixed:store=2,mb=4 >$param/add 2>/dev/null && fail "one memory was given to two disks"
rmmod semantos_testdev || fail "the module does not leave"
