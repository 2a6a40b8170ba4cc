#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# template.sh - a policy is a folder: policies/template copied to a new name, with no other file of the tree changed,
# is built by make, and the kernel accepts its object (loaded and closed again; nothing is attached or pinned).
# Works in a copy of the tree.
# timeout: 300

set -euo pipefail
name=mytest$$
dir=$(mktemp -d)
pin=/sys/fs/bpf/semantos-template-$$
trap 'rm -rf "$dir"; [[ ! -d $pin ]] || { rm -f "$pin"/*; rmdir "$pin"; }' EXIT
fail() { echo "$*"; exit 1; }

[[ -f policies/template/policy.conf ]] || { echo "there is no policies/template yet"; exit 77; }
cp -r Makefile vmlinux.h bpf kmod policies agent tests "$dir"
cd "$dir"
cp -r policies/template "policies/$name"
find "policies/$name" -depth -name '*template*' | while read -r file; do
	mv "$file" "${file%/*}/$(basename "$file" | sed "s/template/$name/g")"
done
grep -rlI template "policies/$name" | xargs -r sed -i "s/template/$name/g"

make -sn all | grep -F "policies/$name/$name.bpf.c" >/dev/null || fail "make all leaves the copy out"
make -s "build/policies/$name/$name.bpf.o" "build/policies/$name/policy.conf" || fail "the copy was not built"
grep -q "$name" "build/policies/$name/policy.conf" || fail "the manifest does not carry the new name"
[[ -s build/policies/$name/$name.bpf.o ]] || fail "there is no object of the new name"

for test in "policies/$name"/tests/test_*.c; do
	[[ -f $test ]] || continue
	make -s -j"$(nproc)" "build/${test%.c}" || fail "$test was not built"
	"build/${test%.c}" || fail "$test failed under the new name"
done

[[ $(id -u) -eq 0 ]] || { echo "loading the object needs root; it was built"; exit 77; }
command -v bpftool >/dev/null || { echo "bpftool is not installed; the object was built, not loaded"; exit 77; }
mountpoint -q /sys/fs/bpf || { echo "no BPF file system at /sys/fs/bpf; the object was built, not loaded"; exit 77; }
bpftool prog loadall "build/policies/$name/$name.bpf.o" "$pin" || fail "the kernel refused the object"
[[ $(find "$pin" -type f | wc -l) -gt 0 ]] || fail "the object holds no program"
