#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# vmlinux.sh - the committed vmlinux.h is what bpftool prints of the BTF of one pinned kernel image, and nothing else.
#
# The image is Debian's; the lab's cache has it (tests/vm/kernels.sh 6.12). --write makes the file anew: after a new
# release was pinned below. Must write nothing without it.
# timeout: 120

set -euo pipefail
pinned=6.12.117+deb12-amd64 # linux-headers-$pinned of Debian: its vmlinux holds the image's BTF
btf=${SEMANTOS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/semantos}/kernels/$pinned/headers/vmlinux
here=$(dirname "$(readlink -f "$0")")/../..

skip() { echo "$*"; exit 77; }
command -v bpftool >/dev/null || skip "bpftool is not installed"
[[ -r $btf ]] || skip "the headers of $pinned are not in the cache; tests/vm/kernels.sh 6.12 fetches the newest 6.12"
made=$(mktemp)
trap 'rm -f "$made"' EXIT
{
	echo '/* SPDX-License-Identifier: GPL-2.0 */'
	bpftool btf dump file "$btf" format c
} >"$made"
lines=$(wc -l <"$made")
[[ $lines -gt 10000 ]] || { echo "bpftool printed $lines lines of the BTF of $pinned"; exit 1; }
if [[ ${1-} == --write ]]; then
	cat "$made" >"$here/vmlinux.h"
	echo "vmlinux.h was written from $pinned: $lines lines."
elif cmp -s "$made" "$here/vmlinux.h"; then
	echo "vmlinux.h is the BTF of $pinned: $lines lines"
elif [[ $(bpftool version | head -n 1) != 'bpftool v7.5.0' ]]; then
	skip "bpftool 7.5.0, which made vmlinux.h, is not installed, and another one lays it out otherwise"
else
	echo "vmlinux.h is not what bpftool prints of the BTF of $pinned:"
	diff "$made" "$here/vmlinux.h" | head -n 5
	exit 1
fi
