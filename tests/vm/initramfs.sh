#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# initramfs.sh - writes the root of the test machine: static busybox, and what the tests given say that they need.
#
# Programs of the host come with the libraries that ldd names; modules with those they depend on. The archive is not
# compressed: emulated, copying is cheaper than unpacking. Runs as any user, from the root of the tree.
#
# A test says in its first lines, in words separated by blanks:
#   # needs: kernel:6.12 module:null_blk program:dmsetup program:build/semantos-agent file:build/policies/*/*.bpf.o
#   # timeout: 30        seconds of guest time, 60 if it says nothing
# What is absent turns into a skip that names it, unless its word ends in "?". A file of the tree has the same path in
# the guest, where / is the working directory; a program of the host is in /bin. A module built here
# (build/vm/RELEASE/*.ko) counts like others.
#
# Usage: initramfs.sh DIR RELEASE OUT TEST...    (DIR as kernels.sh prints it)

set -uo pipefail
dir=$1 release=$2 out=$3
shift 3
PATH=$PATH:/usr/sbin:/sbin
built=build/vm/$release
root=$(mktemp -d) || exit 1
trap 'rm -rf "$root"' EXIT
modules=$root/lib/modules/$release

die() { printf 'initramfs: %s\n' "$*" >&2; exit 1; }

header() { # key, test
	head -n 25 "$2" | sed -nE "s/^# $1: *(.*)/\1/p"
}

# Copy a file; a program brings its libraries and its loader.
add() { # source, path in the guest
	local library
	mkdir -p "$root/$(dirname "$2")" && cp -L "$1" "$root/$2" || return 1
	[[ -x $1 ]] || return 0
	ldd "$1" 2>/dev/null | grep -oE '/[^ ]+' | while read -r library; do
		[[ -e $root$library ]] || { mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"; }
	done
	return 0
}

add_module() { # name: copied uncompressed, with its dependencies
	local path to
	if [[ -f $built/$1.ko ]]; then
		mkdir -p "$modules/extra" && cp "$built/$1.ko" "$modules/extra/"
		for path in $(modinfo -F depends "$built/$1.ko" | tr ',' ' '); do
			add_module "$path" || return 1
		done
		return 0
	fi
	modprobe -d "$dir" -S "$release" --show-depends "$1" 2>/dev/null >"$root/depends" || return 1
	while read -r kind path _; do
		[[ $kind == insmod ]] || continue
		to=$modules/${path#*/lib/modules/"$release"/}
		mkdir -p "$(dirname "$to")"
		case $path in
		*.xz) xz -dc "$path" >"${to%.xz}" ;;
		*.zst) zstd -qdc "$path" >"${to%.zst}" ;;
		*) cp "$path" "$to" ;;
		esac
	done <"$root/depends"
	rm -f "$root/depends"
}

older() { # is version $1 older than $2?
	[[ $1 != "$2" && $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]
}

# Provide one word of a "needs" line; print why that is not possible.
provide() {
	local what=${1#*:} path found=0
	case $1 in
	kernel:*) ! older "$(cut -d. -f1,2 <<<"$release")" "$what" || echo "needs kernel $what or newer" ;;
	module:*) add_module "$what" || echo "module $what is not there for this kernel" ;;
	program:*/*)
		while read -r path; do
			[[ ! -x $path || -d $path ]] || { add "$path" "$path" && found=1; }
		done < <(compgen -G "$what")
		[[ $found -eq 1 ]] || echo "$what is not built"
		;;
	program:*)
		path=$(command -v "$what") || { echo "program $what is not installed on the host"; return; }
		add "$path" "bin/$what"
		;;
	file:*)
		while read -r path; do
			[[ ! -f $path ]] || { add "$path" "$path" && found=1; }
		done < <(compgen -G "$what")
		[[ $found -eq 1 ]] || echo "$what is not there"
		;;
	*) echo "its word '$1' in the needs line is not known" ;;
	esac
}

mkdir -p "$root"/{bin,sbin,proc,sys,dev,etc,tests} "$modules"
busybox=$(command -v busybox) || die "busybox is not installed: install busybox-static"
cp "$busybox" "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
install -m 755 "$(dirname "$0")/init.sh" "$root/init"
add_module virtio_pci
add_module virtio_blk || die "$dir has no module virtio_blk"

for test; do
	name=$(basename "$test" .sh)
	cp "$test" "$root/tests/"
	why=
	for word in $(header needs "$test"); do
		missing=$(provide "${word%\?}")
		[[ -z $missing || $word == *\? ]] || why=${why:-$missing}
	done
	seconds=$(header timeout "$test" | grep -oE '^[0-9]+' | head -n 1)
	if [[ -n $why ]]; then
		echo "$name skip $why"
	else
		seconds=$((${seconds:-60} * ${VM_FACTOR:-1}))
		[[ -z ${SEMANTOS_SOAK-} ]] || seconds=$((seconds * 20))
		echo "$name $seconds"
	fi
done >"$root/tests/list"

cp "$dir/lib/modules/$release/modules."{order,builtin,builtin.modinfo} "$modules/" 2>/dev/null
depmod -b "$root" "$release" 2>/dev/null || die "depmod failed for $release"
mkdir -p "$(dirname "$out")"
(cd "$root" && find . -print0 | cpio -0 -o -H newc --quiet) >"$out" || die "cpio could not write $out"
