#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# How many instructions semantos.ko spends on one inference of LinnOS's net, with AVX2 and in plain code. Counted by the
# machine's clock, which moves on by 2 ns with each instruction (run.sh boots with -icount shift=1): from the kfunc's call to
# its return, the taking of the FPU, the encoding of the record and the score included.
# needs: kernel:6.12 module:semantos program:build/tests/vm/kmod program:build/tests/vm/inferns file:build/tests/vm/*.bpf.o
# required: 6.12
# clock: icount
# timeout: 60

fail() { cat /tmp/said; cat $state; echo "$*"; exit 1; }
state=/sys/module/semantos/parameters/state
gone() { [ ! -e $state ] || rmmod semantos 2>/dev/null; }
leave() {
	i=50
	until gone; do
		i=$((i - 1))
		[ $i -gt 0 ] || fail "the module does not leave"
		sleep 0.1
	done
}
instructions() { # word of the state that names the path, words for the module
	path=$1
	shift
	leave
	modprobe semantos "$@" || fail "semantos does not load"
	grep -q "^inference path=$path " $state || fail "the path is not $path"
	build/tests/vm/kmod model >/tmp/said || fail "no model was taken"
	build/tests/vm/inferns >/tmp/said || fail "it cannot be counted"
	count=$(sed 's/.*least_ns=\([0-9]*\).*/\1/' /tmp/said)
	count=$((count / 2))
	echo "NOTE $path: $count instructions for each inference (least of $(sed 's/calls=\([0-9]*\) .*/\1/' /tmp/said))"
}

: >/tmp/said
instructions avx2
avx2=$count
[ "$avx2" -gt 500 ] || fail "$avx2 are fewer than the net's products need: they were not run"
instructions scalar vector=0
# 8,448 products, one at a time.
[ "$count" -gt 8448 ] || fail "$count are fewer than the net has products"
[ "$count" -gt $((4 * avx2)) ] || fail "AVX2 takes $avx2, plain code $count"
leave
