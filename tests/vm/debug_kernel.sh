#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# debug_kernel.sh - builds Debian's linux-source-6.12 with KASAN, lockdep, kmemleak and debug objects (debug.config), once.
#
# The result lies in the cache outside the tree, laid out as kernels.sh does, and is used as long as its sources, debug.config
# and the compiler are the same. Takes an hour or more on two cores and 15 GB. Must install nothing: it names what is
# missing. Run from the root of the tree.
#
# Usage: debug_kernel.sh [--config]    --config: only up to the configuration, which is then checked
# Output: one line NAME:RELEASE:DIR, for run.sh --kernel. Exit: 0, or 1 with a sentence.

set -uo pipefail
here=tests/vm
cache=${SEMANTOS_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/semantos}
apt=$cache/kernels/apt/apt.conf
dir=$cache/debug
wanted="BLK_DEV_NULL_BLK KASAN PROVE_LOCKING DEBUG_KMEMLEAK DEBUG_OBJECTS DEBUG_INFO_BTF_MODULES VIRTIO_BLK IO_URING BLK_DEV_DM DM_LOG_WRITES"

note() { printf 'debug_kernel: %s\n' "$*" >&2; }
die() { note "$*"; exit 1; }

mkdir -p "$dir" || die "the cache $dir cannot be written"
exec 7>"$dir/lock"
flock 7
stamp=$({ cat "$here/debug.config"; gcc --version; } | sha256sum | cut -c1-16)
if [[ -f $dir/complete && $(head -n 1 "$dir/complete") == "$stamp" ]]; then
	sed -n 2p "$dir/complete"
	exit
fi
for program in make gcc flex bison bc pahole xz cpio; do
	command -v $program >/dev/null || die "$program is not installed; install build-essential, flex, bison, bc, dwarves, libelf-dev and libssl-dev"
done
for header in gelf.h openssl/opensslv.h; do
	[[ -f /usr/include/$header || -n $(compgen -G "/usr/include/*/$header") ]] || die "$header is not there: install libelf-dev and libssl-dev"
done

if ! compgen -G "$dir/linux-source-6.12/Makefile" >/dev/null; then
	[[ -f $apt ]] || "$here/kernels.sh" 6.12 >/dev/null
	note "downloading linux-source-6.12"
	rm -rf "$dir/deb" && mkdir -p "$dir/deb"
	(cd "$dir/deb" && timeout 900 apt-get -q -c "$apt" download linux-source-6.12) >"$dir/download.log" 2>&1 ||
		die "linux-source-6.12 cannot be had: see $dir/download.log"
	dpkg-deb --fsys-tarfile "$dir"/deb/*.deb | tar -x -O --wildcards '*.tar.xz' | tar -x -J -C "$dir" || die "it cannot be unpacked"
	rm -rf "$dir/deb"
fi
source=$dir/linux-source-6.12
build=$dir/build
mkdir -p "$build"
{
	make -C "$source" O="$build" x86_64_defconfig &&
		"$source/scripts/kconfig/merge_config.sh" -m -O "$build" "$build/.config" "$here/debug.config" &&
		make -C "$source" O="$build" olddefconfig
} >"$dir/config.log" 2>&1 || die "it cannot be configured: see $dir/config.log"
for name in $wanted; do
	grep -qE "^CONFIG_$name=[ym]$" "$build/.config" || die "CONFIG_$name did not come to be set in $build/.config"
done
[[ ${1-} != --config ]] || { note "the configuration is right: $build/.config"; exit 0; }

note "building; the log is $dir/build.log"
{
	make -C "$source" O="$build" -j"$(nproc)" bzImage modules &&
		rm -rf "${dir:?}/lib" && make -C "$source" O="$build" INSTALL_MOD_PATH="$dir" modules_install &&
		cp "$build/arch/x86/boot/bzImage" "$dir/vmlinuz" && ln -sfn build "$dir/headers"
} >"$dir/build.log" 2>&1 || die "it does not build: see $dir/build.log"
release=$(cat "$build/include/config/kernel.release")
printf '%s\n%s\n' "$stamp" "6.12-debug:$release:$dir" >"$dir/complete"
sed -n 2p "$dir/complete"
