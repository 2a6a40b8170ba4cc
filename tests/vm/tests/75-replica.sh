#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A replica volume under verified I/O: legs that fail reads, fail writes, hang, vanish and return. What was acknowledged is
# read back, the legs end up equal, only what differs is copied, and the module leaves only when nobody uses it.
# needs: kernel:6.12 module:semantos_testdev module:dm-semantos-replica program:build/tests/vm/verifyio program:dmsetup
# required: 6.12
# timeout: 120

fail() { dmesg | tail -n 20; dmsetup status v 2>/dev/null; echo "$*"; exit 1; }
param=/sys/module/semantos_testdev/parameters
mb=8
length=$(((mb - 1) * 2048)) # after 1 MiB of the leg's own
spec="fixed:fast_us=50,write_us=50,jitter_pct=0,mb=$mb,cache=1"
legs() { echo "/dev/semtest0 0 /dev/semtest1 0"; }
table() { echo "0 $length semantos 1 2 $(legs) $*"; }
letters() { dmsetup status v | cut -d' ' -f6; }
field() { dmsetup status v | cut -d' ' -f"$1"; }
synced() { [ "$(letters)" = AA ] && [ "$(field 7)" = "$((length / 64))/$((length / 64))" ]; }
at_rest() { [ "$(dmsetup status v | awk '{ print $NF }')" = 0 ]; } # no region marked
until_true() { # seconds, command...: wait for it
	n=$(($1 * 10))
	shift
	while ! "$@"; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.1
	done
}
io() { build/tests/vm/verifyio --blocks 1024 --state /tmp/state --think-us 300 "$@" /dev/mapper/v; }
check() { build/tests/vm/verifyio --blocks 1024 --state /tmp/state --check /dev/mapper/v >/tmp/said || { cat /tmp/said; fail "$*"; }; }
equal() { # the data of both legs
	for leg in 0 1; do dd if=/dev/semtest$leg bs=1M skip=1 iflag=direct 2>/dev/null | md5sum >/tmp/sum$leg; done
	cmp -s /tmp/sum0 /tmp/sum1 || fail "the legs differ: $*"
}
map() { dmsetup mknodes v 2>/dev/null; [ -e /dev/mapper/v ] || ln -s "/dev/$(basename "$(readlink /sys/dev/block/"$(dmsetup info -c --noheadings -o major,minor --separator : v)")")" /dev/mapper/v; }

modprobe semantos_testdev devices="$spec,store=1;$spec,store=2" || fail "the test disks do not load"
modprobe dm-semantos-replica || fail "the module does not load"

# What is no table is refused.
for words in "1 1 /dev/semtest0 0 0" "2 2 $(legs) 0" "1 2 $(legs) 1 nonsense" "1 2 $(legs) 2 region_sectors 9" \
	"1 2 $(legs) 1 rebuild" "1 2 /dev/semtest0 0 /dev/semtest1 4096 0" "1 2 $(legs) 0 more"; do
	dmsetup create w --table "0 $length semantos $words" 2>/dev/null && fail "accepted: $words"
done
dmsetup create w --table "$(table 0)" 2>/dev/null && fail "legs without superblocks were joined"
dmsetup create w --table "0 18014398509481983 semantos 1 2 - 0 - 0 0" 2>/dev/null && fail "a volume of 2^54 sectors"

# Leg 0 is copied to the other, but for what cannot be read there.
for leg in 0 1; do
	yes "leg $leg" | head -c $((mb << 20)) | dd of=/dev/semtest$leg bs=1M conv=fsync 2>/dev/null || fail "leg $leg cannot be filled"
	dd if=/dev/zero of=/dev/semtest$leg bs=1M count=1 conv=fsync,notrunc 2>/dev/null
done
dmsetup create v --table "$(table 3 create region_sectors 64)" || fail "no volume was created"
echo 0:read_errors=1 >$param/change # the superblock has been read, most regions have not
map
until_true 20 synced || fail "the legs do not come to be equal: $(dmsetup status v)"
equal "after a region could not be read from leg 0"
foreign=$(dd if=/dev/mapper/v bs=32k iflag=direct 2>/dev/null | tr -d '\n' | grep -o 'leg 1' | wc -l)
[ "$foreign" -gt 0 ] || fail "no read of leg 0 failed: $(dmsetup status v)"
# One request carries up to four regions of 32 KiB.
[ "$foreign" -le $((4 * 32768 / 5)) ] || fail "other regions were taken from leg 1 as well: $foreign words of it"

# Large reads, which a leg must split, are right when they are sent again.
dmsetup remove v
for leg in 0 1; do dd if=/dev/zero of=/dev/semtest$leg bs=1M count=1 conv=fsync,notrunc 2>/dev/null; done
dd if=/dev/urandom of=/dev/semtest0 bs=1M seek=1 count=$((mb - 1)) conv=fsync,notrunc 2>/dev/null
dmsetup create v --table "$(table 1 create)" || fail "no volume of large regions was created"
map
whole() { [ "$(letters)" = AA ] && [ "$(field 7)" = 7/7 ]; }
until_true 20 whole || fail "its legs do not come to be equal: $(dmsetup status v)"
dd if=/dev/mapper/v of=/tmp/whole bs=64k iflag=direct 2>/dev/null
echo 0:read_errors=20 >$param/change
echo 1:read_errors=20 >$param/change
for _ in 1 2 3 4 5 6 7 8; do
	dd if=/dev/mapper/v of=/tmp/large bs=1M iflag=direct 2>/dev/null && { cmp -s /tmp/whole /tmp/large || fail "a large read that was sent again is wrong"; }
done
echo 0:read_errors=0 >$param/change
echo 1:read_errors=0 >$param/change
dmsetup remove v
for leg in 0 1; do dd if=/dev/zero of=/dev/semtest$leg bs=1M count=$mb conv=fsync 2>/dev/null; done

dmsetup create v --table "$(table 3 create region_sectors 64)" || fail "no volume was created"
map
until_true 20 synced || fail "the legs do not come to be equal: $(dmsetup status v)"
dmsetup table v | grep -q "semantos 1 2 .* 2 region_sectors 64\$" || fail "the table is $(dmsetup table v)"
rmmod dm-semantos-replica 2>/dev/null && fail "the module left under a volume"

io --seconds 3 || fail "I/O on two good legs"
check "after I/O on two good legs"
equal "after I/O on two good legs"
until_true 10 at_rest || fail "regions at rest stay dirty: $(dmsetup status v)"

# Reads that one leg fails come from the other; it stays in sync.
echo 1:read_errors=200 >$param/change
io --seconds 3 || fail "I/O while a leg fails reads"
[ "$(letters)" = AA ] || fail "a leg that failed reads is out"
dmsetup status v | grep -q "^0 .* [1-9][0-9]* 0 0 [0-9]*\$" || fail "no read was sent again: $(dmsetup status v)"
echo 1:read_errors=0 >$param/change

# A leg that fails a write is out; what was acknowledged is on the other.
io --seconds 4 &
pid=$!
sleep 1
echo 1:write_errors=1 >$param/change
wait $pid || fail "I/O while a leg fails a write"
[ "$(letters)" = AD ] || fail "the leg that failed a write is not out: $(letters)"
check "with one leg out"

# It comes back under I/O, by copying less than all of it.
io --seconds 6 &
pid=$!
sleep 1
dmsetup message v 0 resync 1 || fail "resync was refused"
until_true 20 synced || fail "the leg does not catch up"
wait $pid || fail "I/O while a leg catches up"
check "after a leg caught up"
dmsetup suspend v && equal "after a leg caught up" && dmsetup resume v

# The last leg in sync is never put out.
dmsetup message v 0 fail 0 || fail "a leg could not be put out"
dmsetup message v 0 fail 1 2>/dev/null && fail "the last leg was put out"
[ "$(letters)" = DA ] || fail "the legs are $(letters)"
io --seconds 1 || fail "I/O on the second leg alone"
dmsetup message v 0 resync 0 || fail "resync was refused"
until_true 20 synced || fail "the first leg does not catch up"

# A leg that hangs holds writes, and only those; nothing is answered before it is released.
echo 1:hang=2 >$param/change
io --readers 2 --seconds 3 >/tmp/hung &
pid=$!
sleep 1
dd if=/dev/mapper/v of=/dev/null bs=4k count=16 iflag=direct 2>/dev/null || fail "reads hang with a leg that holds writes"
sleep 1
[ "$(sed -n 's/^semtest1 .*held=//p' $param/state)" -ge 1 ] || fail "nothing is held"
echo 1:hang=0 >$param/change
wait $pid || { cat /tmp/hung; fail "I/O on a leg that hung"; }
synced || until_true 10 synced || fail "a leg that hung is out"

# A leg vanishes under I/O and returns with its old contents: it catches up by the map.
io --seconds 5 &
pid=$!
sleep 1
echo 1 >$param/remove
wait $pid || fail "I/O while a leg vanishes"
[ "$(letters)" = AD ] || fail "the leg that vanished is not out: $(letters)"
dmsetup remove v || fail "the volume cannot be removed"
echo "$spec,store=2" >$param/add || fail "the leg does not return"
dmsetup create v --table "$(table 2 region_sectors 64)" || fail "the leg that returned is refused"
map
check "before the leg that returned caught up"
until_true 20 synced || fail "the leg that returned does not catch up: $(dmsetup status v)"
check "after the leg that returned caught up"
dmsetup remove v
equal "after the leg that returned caught up"
rmmod dm-semantos-replica || fail "the module does not leave"
rmmod semantos_testdev || fail "the test disks do not leave"
