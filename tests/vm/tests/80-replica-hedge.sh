#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A read that two legs may answer, under verified I/O: while a leg holds its reads, all of them are answered by the other;
# the late leg touches private pages only, is read no more while it owes many answers, and comes back; a volume that is
# removed waits for it. Errors of one leg, and of both tries, end as without hedging. A volume without the option asks
# nobody twice.
# needs: kernel:6.12 module:semantos_testdev module:dm-semantos-replica program:build/tests/vm/verifyio program:dmsetup
# required: 6.12
# timeout: 120

fail() { dmesg | tail -n 20; dmsetup status v 2>/dev/null; cat $param/state; echo "$*"; exit 1; }
param=/sys/module/semantos_testdev/parameters
mb=8
length=$(((mb - 1) * 2048))
spec="fixed:fast_us=50,write_us=50,jitter_pct=0,mb=$mb,cache=1"
table() { echo "0 $length semantos 1 2 /dev/semtest0 0 /dev/semtest1 0 $*"; }
node() { rm -f /dev/mapper/v; ln -s "/dev/dm-$(dmsetup info -c --noheadings -o minor v)" /dev/mapper/v; }
io() { build/tests/vm/verifyio --blocks 1024 --state /tmp/state80 --think-us 300 --readers 3 "$@" /dev/mapper/v; }
check() { build/tests/vm/verifyio --blocks 1024 --state /tmp/state80 --check /dev/mapper/v >/tmp/said || { cat /tmp/said; fail "$*"; }; }
figure() { dmsetup status v | awk -v n="$1" '{ print $(NF - 4 + n) }'; } # 1 asked, 2 won, 3 could not, 4 owed
held() { sed -n "s/^semtest$1 .*held=//p" $param/state; }
until_true() { # seconds, command...
	n=$(($1 * 10))
	shift
	until "$@"; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.1
	done
}
nothing_owed() { [ "$(figure 4)" = 0 ]; }

modprobe semantos_testdev devices="$spec,store=1;$spec,store=2" || fail "the test disks do not load"
modprobe dm-semantos-replica || fail "the module does not load"
dmsetup create v --table "$(table 4 create assume_equal hedge_us 1000001)" 2>/dev/null && fail "a second and more was accepted"
dmsetup create v --table "$(table 6 create assume_equal region_sectors 64 hedge_us 2000)" || fail "no volume was created"
node
dmsetup table v | grep -q ' 4 region_sectors 64 hedge_us 2000$' || fail "the table is $(dmsetup table v)"
io --seconds 2 || fail "I/O on two good legs"
check "after I/O on two good legs"
easy=$(figure 1)

# Each leg in turn holds its reads. The readers go on, and what they read is checked.
for leg in 0 1; do
	before=$(figure 2)
	echo $leg:hang=1 >$param/change
	io --seconds 3 >/tmp/said || { cat /tmp/said; fail "I/O while leg $leg holds reads"; }
	reads=$(sed -n 's/.* reads=\([0-9]*\) .*/\1/p' /tmp/said)
	won=$(($(figure 2) - before)) owed=$(figure 4) kept=$(held $leg)
	[ "$won" -gt 0 ] || fail "nobody answered for leg $leg: $(cat /tmp/said)"
	[ "$reads" -gt 200 ] || fail "$reads reads while leg $leg held some"
	# 16, and those that were under way when it came to that; all of them held, and none beside.
	if [ "$owed" -lt 1 ] || [ "$owed" -gt 20 ]; then fail "leg $leg owes $owed answers"; fi
	[ "$owed" = "$kept" ] || fail "leg $leg holds $kept requests and owes $owed answers"
	echo "NOTE leg $leg held $kept reads, $won of $reads were answered by the other; asked in vain before: $easy"
	echo $leg:hang=0 >$param/change
	until_true 5 nothing_owed || fail "leg $leg still owes answers"
	io --seconds 1 || fail "I/O after leg $leg let go"
done
check "after both legs held reads"

# A leg that fails reads while the other is slow: answered all the same, the leg stays.
echo 0:fast_us=8000 >$param/change
echo 1:read_errors=100 >$param/change
io --seconds 3 || fail "I/O while one leg fails reads and the other is slow"
echo 0:fast_us=50,read_errors=0 >$param/change
echo 1:fast_us=50,read_errors=0 >$param/change
[ "$(dmsetup status v | cut -d' ' -f6)" = AA ] || fail "a leg that failed reads is out"
# Both fail: the reader gets the error, once.
sleep 1.1
echo 0:read_errors=4294967295 >$param/change
echo 1:read_errors=4294967295 >$param/change
dd if=/dev/mapper/v of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null && fail "a read that both legs failed was answered"
echo 0:read_errors=0 >$param/change
echo 1:read_errors=0 >$param/change
sleep 1.1

# Put out while a read of it is held: the volume goes on; removed, it waits for the leg.
echo 1:hang=1 >$param/change
io --seconds 1 >/tmp/said || { cat /tmp/said; fail "I/O while leg 1 holds reads again"; }
[ "$(held 1)" -ge 1 ] || fail "leg 1 holds nothing"
dmsetup message v 0 fail 1 || fail "a leg that holds reads cannot be put out"
io --seconds 1 || fail "I/O with the leg that holds reads out"
check "with the leg that holds reads out"
dmsetup remove v &
pid=$!
sleep 1
kill -0 $pid 2>/dev/null || fail "the volume went while a leg still had its pages"
rmmod dm-semantos-replica 2>/dev/null && fail "the module left while a leg still had its pages"
echo 1:hang=0 >$param/change
wait $pid || fail "the volume cannot be removed"

# hedge_us 0: only where the policy says so, and none is attached. Nobody is asked twice.
dmsetup create v --table "$(table 4 region_sectors 64 hedge_us 0)" || fail "the volume does not come back"
node
echo 0:fast_us=8000 >$param/change
io --seconds 1 || fail "I/O with hedge_us 0"
[ "$(figure 1)" = 0 ] || fail "$(figure 1) second legs were asked though nobody wanted it"
check "at the end"
dmsetup remove v
rmmod dm-semantos-replica || fail "the module does not leave"
rmmod semantos_testdev || fail "the test disks do not leave"
