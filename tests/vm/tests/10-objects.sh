#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# This kernel's verifier accepts every BPF object of the build, and nothing stays behind when its pins are gone.
# needs: program:bpftool file:build/policies/*/*.bpf.o file:build/bpf/*/*.bpf.o
# timeout: 90

bad=0
for object in build/policies/*/*.bpf.o build/bpf/*/*.bpf.o; do
	case $object in
	*_volume.bpf.o) continue ;; # its types are semantos.ko's: 80-linnos-decides loads it
	*/mllb.bpf.o) continue ;; # which of its programs are loaded goes by the kernel, and the agent chooses: make vmtest-sched
	esac
	name=$(basename "$object" .bpf.o)
	if bpftool prog loadall "$object" "/sys/fs/bpf/$name" pinmaps "/sys/fs/bpf/$name-maps" >"/tmp/$name" 2>&1; then
		programs=0 maps=0
		for pin in /sys/fs/bpf/"$name"/*; do
			programs=$((programs + 1))
		done
		for pin in /sys/fs/bpf/"$name"-maps/*; do
			[ ! -e "$pin" ] || maps=$((maps + 1))
		done
		echo "NOTE $name: $programs programs, $maps maps"
	else
		bad=$((bad + 1))
		tail -n 25 "/tmp/$name"
		echo "$object was refused"
	fi
	rm -rf "/sys/fs/bpf/$name" "/sys/fs/bpf/$name-maps"
done
[ $bad -eq 0 ] || exit 1

# Freeing is asynchronous.
for _ in 1 2 3 4 5 6 7 8 9 10; do
	left=$(bpftool prog show | grep -c '^[0-9]')
	[ "$left" -ne 0 ] || exit 0
	sleep 0.5
done
bpftool prog show
echo "$left programs are still loaded"
exit 1
