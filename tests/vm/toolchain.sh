#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# toolchain.sh - unpacks the compiler that a kernel of the cache was built with, for headers that this system's own cannot use.
#
# The newest kernels are backports to Debian 12 of none: their headers want the compiler, and their build programs the C library,
# of the Debian release they were made for. Both, with make and the few programs kbuild calls, are downloaded into the cache
# and unpacked, not installed: a folder that is good for chroot and for nothing else (about 120 MB to fetch, 500 MB unpacked).
# Needs root, for chroot. Must change nothing outside the cache. kernels.sh must have run before.
#
# Usage: toolchain.sh COMPILER RELEASE    e.g. gcc-14 7.3.4+deb13-amd64
# Output: the folder. Exit: 0, or 1 with a sentence.

set -uo pipefail
compiler=$1 release=$2
cache=${SEMANTOS_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/semantos}
kernels=$cache/kernels/apt
programs="make bash dash coreutils sed grep mawk findutils diffutils binutils dwarves"

die() { printf 'toolchain: %s\n' "$*" >&2; exit 1; }

case $release in
*+deb12*) suite=bookworm ;;
*+deb13*) suite=trixie ;;
*+deb14*) suite=forky ;;
*) die "$release does not say which Debian it was made for" ;;
esac
dir=$cache/toolchain/$suite-$compiler
mkdir -p "$dir" || die "the cache $dir cannot be written"
exec 7>"$dir.lock"
flock 7
if [[ -e $dir/complete ]]; then
	echo "$dir"
	exit
fi
[[ $(id -u) -eq 0 ]] || die "it is used by chroot, which needs root"
compgen -G "$kernels/parts/main.*" >/dev/null || die "kernels.sh has found no Debian entry to derive $suite from"

rm -rf "${dir:?}" && mkdir -p "$dir/apt/parts" "$dir/apt/lists/partial" "$dir/apt/archives/partial"
for entry in "$kernels"/parts/main.*; do
	case $entry in
	*.sources) sed -E "s/^Suites:.*/Suites: $suite/" "$entry" >"$dir/apt/parts/main.sources" ;;
	*) sed -nE "s/ bookworm main\$/ $suite main/p" "$entry" >"$dir/apt/parts/main.list" ;;
	esac
done
sed "s|$kernels|$dir/apt|" "$kernels/apt.conf" >"$dir/apt/apt.conf"
: >"$dir/apt/status"
# shellcheck disable=SC2086 # words are meant
{
	timeout 180 apt-get -q -c "$dir/apt/apt.conf" update &&
		timeout 900 apt-get -q -y -c "$dir/apt/apt.conf" --no-install-recommends --download-only install "$compiler" $programs
} >"$dir/download.log" 2>&1 || die "$compiler of $suite cannot be had: see $dir/download.log"
# Debian keeps everything below usr; packages that still say bin or lib must follow the links.
mkdir -p "$dir/usr/bin" "$dir/usr/sbin" "$dir/usr/lib" "$dir/usr/lib64" "$dir/tmp" "$dir/dev" "$dir/proc"
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$dir/$folder"; done
for deb in "$dir"/apt/archives/*.deb; do
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir" --keep-directory-symlink --exclude './usr/share/doc*' --exclude './usr/share/man*' \
		--exclude './usr/share/locale*' || die "$deb cannot be unpacked"
done
rm -rf "$dir/apt"
[[ -e $dir/usr/bin/sh ]] || ln -s dash "$dir/usr/bin/sh"
[[ -e $dir/usr/bin/awk ]] || ln -s mawk "$dir/usr/bin/awk"
[[ -c $dir/dev/null ]] || mknod -m 666 "$dir/dev/null" c 1 3 || die "no device can be made in $dir"
chroot "$dir" "/usr/bin/$compiler" --version >/dev/null || die "$compiler does not run in $dir"
touch "$dir/complete"
echo "$dir"
