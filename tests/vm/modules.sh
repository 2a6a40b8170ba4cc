#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# modules.sh - builds the kernel modules, the test-only ones too, for one kernel of the cache, outside the tree's sources.
#
# Writes build/vm/RELEASE/*.ko, and to failing/ there the modules whose allocations can be told to fail. Where a kernel has
# no headers it says so and the tests that need the module are skipped. So it does where the headers want another compiler
# or C library than this system's, unless VM_TOOLCHAIN=1 (make vmtest, make soak): then they are fetched, by toolchain.sh.
# Run from the root of the tree.
#
# Usage: modules.sh RELEASE DIR    (as kernels.sh prints them). Exit: 0 also when nothing can be built, 1 if it fails.

set -uo pipefail
release=$1 dir=$2
out=build/vm/$release

[[ -f kmod/test/semantos_testdev.c ]] || exit 0
if [[ ! -d $dir/headers ]]; then
	echo "NOTE $release: no headers are offered, so no module is built for it"
	exit 0
fi
compiler=$(sed -nE 's/^CC .*[^a-z](gcc-[0-9]+)$/\1/p' "$dir/headers/.kernelvariables" 2>/dev/null)
foreign=
command -v "${compiler:-gcc}" >/dev/null || foreign="it was built with $compiler, which is not installed"
for program in scripts/basic/fixdep scripts/mod/modpost tools/objtool/objtool tools/bpf/resolve_btfids/resolve_btfids; do
	if [[ -z $foreign ]] && ldd "$dir/headers/$program" 2>&1 | grep -q 'not found'; then
		foreign="$program of its headers does not run on this system"
	fi
done
root=
if [[ -n $foreign && -z ${VM_TOOLCHAIN-} ]]; then
	echo "NOTE $release: $foreign, so no module is built for it; make vmtest fetches what it needs"
	exit 0
elif [[ -n $foreign ]]; then
	root=$(tests/vm/toolchain.sh "$compiler" "$release") || { echo "FAIL $release modules: no compiler"; exit 1; }
	# It has one folder to build in: one at a time, to the end of this script.
	exec 8>"$root.lock"
	flock 8
	# The headers know where they lie: there they must lie for the compiler's root as well.
	[[ -e $root$dir/headers ]] || { mkdir -p "$root$dir" && cp -a "$dir/usr" "$dir/headers" "$root$dir/"; }
fi
# build FOLDER WORDS...: the modules, from a copy of the sources in $out/FOLDER. They include "bpf/..." and "kmod/..."
# from the tree's root: the copy is laid out like the tree.
build() {
	local src=$out/$1 log=$out/$1.log
	shift
	find bpf kmod -name '*.[chS]' ! -name '*.bpf.c' -o -name Kbuild | while read -r file; do
		mkdir -p "$src/$(dirname "$file")" && cp -u "$file" "$src/$file"
	done
	# A source that is gone from the tree must not be built either.
	(cd "$src" && find . -name '*.[chS]' ! -name '*.mod.c') | while read -r file; do
		[[ -f $file ]] || rm -f "$src/$file"
	done
	if [[ -z $root ]]; then
		timeout 900 make -j"$(nproc)" -C "$dir/headers" M="$PWD/$src/kmod" "$@" modules >"$log" 2>&1 && return
	else
		rm -rf "$root/build" && mkdir -p "$root/build" && cp -a "$src" "$root/build/src" || exit 1
		# shellcheck disable=SC2016 # for the shell inside
		timeout 900 unshare --mount sh -c 'mount --bind /proc "$0/proc" && exec chroot "$0" /usr/bin/env -i PATH=/usr/bin "$@"' \
				"$root" make -j"$(nproc)" -C "$dir/headers" M=/build/src/kmod "$@" modules >"$log" 2>&1 && cp -a "$root/build/src/." "$src/" && return
	fi
	echo "FAIL $release modules: see $log"
	grep -m 5 -E 'error|Error' "$log" | sed 's/^/  | /'
	exit 1
}

take() { # from, to
	mkdir -p "$2"
	find "$1" -name '*.ko' | while read -r module; do
		strip -g -o "$2/$(basename "$module")" "$module"
	done
}

build src
take "$out/src" "$out"
[[ -f $out/semantos.ko ]] || exit 0
build src-failing SEMANTOS_FAIL_NTH=y
take "$out/src-failing" "$out/failing"
