#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# mok.sh - Secure Boot from the firmware on: OVMF with Microsoft's keys starts Debian's shim, GRUB and 6.12 kernel, all as
# Debian signed them. The kernel refuses semantos.ko; the key it is signed with is handed over with mokutil; shim's MokManager is
# driven by the keys that docs/kmod.md tells a person to press; the next start takes the module that this key signed.
# results: lines
# timeout: 1500
#
# The packages with firmware, shim, GRUB and mokutil are downloaded into the cache (10 MB), unpacked and not installed. Nothing of
# this host's firmware is touched. Emulated unless there is KVM. Run from the root of the tree, after make.
# Exit: 0; 1 something failed; 77 the host lacks QEMU or openssl, or the kernel or a package cannot be had.

set -uo pipefail
here=tests/vm
cache=${SEMANTOS_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/semantos}
packages="ovmf shim-signed shim-helpers-amd64-signed grub-efi-amd64-signed mokutil libefivar1"
password=semantos
PATH=$PATH:/usr/sbin:/sbin
for program in qemu-system-x86_64 busybox cpio depmod openssl objcopy; do
	command -v $program >/dev/null || { echo "$program is not installed; install qemu-system-x86, busybox-static, cpio, kmod, openssl and binutils"; exit 77; }
done
mkdir -p build/vm "$cache/mok"
dir=$(mktemp -d "$PWD/build/vm/mok-XXXXXX") || exit 1
qemu=
cleanup() {
	trap - EXIT
	[[ -z $qemu ]] || kill -9 "$qemu" 2>/dev/null
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
fail() { echo "FAIL $*"; exit 1; }

IFS=$'\t' read -r _ release kernel < <("$here/kernels.sh" 6.12)
[[ $release != - ]] || { echo "no kernel 6.12 can be had: $kernel"; exit 77; }
"$here/modules.sh" "$release" "$kernel"
[[ -f build/vm/$release/semantos.ko ]] || { echo "no module can be built for $release"; exit 77; }
got=$cache/mok/root
exec 7>"$cache/mok/lock"
flock 7
if [[ ! -e $got/complete ]]; then
	rm -rf "$got" "$cache/mok/deb" && mkdir -p "$got" "$cache/mok/deb"
	# shellcheck disable=SC2086 # words are meant
	(cd "$cache/mok/deb" && timeout 300 apt-get -q -c "$cache/kernels/apt/apt.conf" download $packages) >"$cache/mok/log" 2>&1 ||
		{ echo "the packages $packages cannot be had: see $cache/mok/log"; exit 77; }
	for deb in "$cache"/mok/deb/*.deb; do dpkg-deb -x "$deb" "$got" || fail "unpack: $deb"; done
	rm -rf "$cache/mok/deb" && touch "$got/complete"
fi
flock -u 7

# Two keys as DKMS makes its own, one of which will be enrolled; the module unsigned, signed with either, and signed but
# without BTF, as it comes of a build without pahole.
extra=$dir/extra
mkdir -p "$extra/mok" "$extra/bin"
sign=$kernel/headers/scripts/sign-file
for key in mok stranger; do
	openssl req -new -x509 -nodes -days 3650 -subj "/CN=semantos $key test" -newkey rsa:2048 -keyout "$dir/$key.key" -outform DER \
		-out "$dir/$key.pub" 2>/dev/null || fail "openssl makes no key"
done
cp "$dir/mok.pub" "$extra/mok/"
cp "build/vm/$release/semantos.ko" "$extra/mok/unsigned.ko"
"$sign" sha256 "$dir/mok.key" "$dir/mok.pub" "$extra/mok/unsigned.ko" "$extra/mok/signed.ko" || fail "the module cannot be signed"
"$sign" sha256 "$dir/stranger.key" "$dir/stranger.pub" "$extra/mok/unsigned.ko" "$extra/mok/stranger.ko" || fail "the module cannot be signed"
objcopy --remove-section .BTF --remove-section .BTF.base "$extra/mok/unsigned.ko" "$extra/mok/nobtf.ko" || fail "objcopy fails"
"$sign" sha256 "$dir/mok.key" "$dir/mok.pub" "$extra/mok/nobtf.ko" || fail "the module cannot be signed"
export LD_LIBRARY_PATH=$got/usr/lib/x86_64-linux-gnu
openssl passwd -6 $password >"$extra/mok/hash" || fail "openssl makes no hash of the password"
cp "$got/usr/bin/mokutil" "$extra/bin/"
ldd "$extra/bin/mokutil" | grep -oE '/[^ ]+' | while read -r library; do
	to=$extra${library#"$got"}
	to=${to/#"$extra"\/usr/"$extra"}
	mkdir -p "$(dirname "$to")" && cp -L "$library" "$to"
done
unset LD_LIBRARY_PATH

# The disk that the firmware starts from: a folder, which QEMU shows as FAT.
esp=$dir/esp
mkdir -p "$esp/EFI/BOOT" "$esp/EFI/debian"
cp "$got/usr/lib/shim/shimx64.efi.signed" "$esp/EFI/BOOT/BOOTX64.EFI"
cp "$got/usr/lib/shim/mmx64.efi.signed" "$esp/EFI/BOOT/mmx64.efi"
cp "$got/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" "$esp/EFI/BOOT/grubx64.efi"
cp "$kernel/vmlinuz" "$esp/vmlinuz"
cat >"$esp/EFI/debian/grub.cfg" <<EOF
linux /vmlinuz console=ttyS0 quiet panic=-1 random.trust_cpu=on
initrd /root.cpio
boot
EOF
cp "$got/usr/share/OVMF/OVMF_VARS_4M.ms.fd" "$dir/vars.fd"
mkfifo "$dir/monitor.in" "$dir/monitor.out"

boot() { # test: starts the machine with it
	local accel=tcg
	[[ ! -w /dev/kvm ]] || ! grep -qwE 'vmx|svm' /proc/cpuinfo || accel=kvm:tcg
	"$here/initramfs.sh" "$kernel" "$release" "$dir/root.cpio" "$1" || fail "the machine's root could not be built"
	{ cat "$dir/root.cpio" && (cd "$extra" && find . -print0 | cpio -0 -o -H newc --quiet); } >"$esp/root.cpio"
	: >"$dir/report" && : >"$dir/console"
	qemu-system-x86_64 -machine "q35,smm=on,accel=$accel" -cpu max -m 1024 -display none -nic none -monitor "pipe:$dir/monitor" -no-reboot \
		-global driver=cfi.pflash01,property=secure,value=on -global ICH9-LPC.disable_s3=1 \
		-drive "if=pflash,format=raw,unit=0,readonly=on,file=$got/usr/share/OVMF/OVMF_CODE_4M.ms.fd" \
		-drive "if=pflash,format=raw,unit=1,file=$dir/vars.fd" \
		-drive "if=none,id=esp,format=raw,file=fat:rw:$esp" -device virtio-blk-pci,drive=esp \
		-serial "file:$dir/console" -serial "file:$dir/report" >"$dir/qemu" 2>&1 </dev/null &
	qemu=$!
	exec 6<>"$dir/monitor.in" 5<>"$dir/monitor.out"
}
waits_for() { # seconds, file, words; not when the machine ends before
	local i
	for ((i = 0; i < $1 * 5; i++)); do
		! grep -aqE "$3" "$2" || return 0
		kill -0 "$qemu" 2>/dev/null || { grep -aqE "$3" "$2"; return; }
		sleep 0.2
	done
	return 1
}
seen() { tr -d '\r' <"$dir/console" | sed 's/\x1b\[[0-9;]*[A-Za-z]/ /g' | tail -n 15; }
judged() { # test's name, what it says: until the machine is off
	waits_for 400 "$dir/report" '^(PASS|FAIL|SKIP) ' || { seen; fail "$2: the machine did not get there"; }
	sed -n "s/^OUT $1: /  | /p" "$dir/report"
	grep -q "^PASS $1" "$dir/report" || fail "$2: $(grep -E '^(FAIL|SKIP)' "$dir/report")"
	echo "PASS $2"
	waits_for 60 "$dir/report" '^END'
	wait "$qemu"
	qemu=
}
press() { # keys, one after the other
	local key
	for key; do
		echo "sendkey $key" >&6
		sleep 1
	done
}
screen() { # words that MokManager shows: from then on only what comes later counts
	waits_for 180 "$dir/console" "$1" || { seen; fail "enrolment: no \"$1\" on the screen"; }
	sleep 2
	: >"$dir/console"
}

boot tests/e2e/mok/10-refused.sh
judged 10-refused "under Secure Boot the module is refused, and its key handed over"

boot tests/e2e/mok/20-enrolled.sh
screen 'Press any key'
press ret
screen 'Enroll MOK'
press down ret
screen 'View key'
press down ret
screen 'Enroll the key'
press down ret
screen 'Password'
# shellcheck disable=SC2046 # one key a letter
press $(grep -o . <<<$password) ret
screen 'Reboot'
press ret
wait "$qemu"
boot tests/e2e/mok/20-enrolled.sh
judged 20-enrolled "enrolled with the password, its key makes the kernel take it"
