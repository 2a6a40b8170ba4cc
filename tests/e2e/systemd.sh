#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# systemd.sh - the shipped unit under a real systemd: a Debian 12 is debootstrapped, `make install` puts the product into it, and
# it boots in QEMU on Debian's stock 6.12. There guest/systemd.sh starts the unit and looks at what it may and may not, and at
# what is undone when it is killed, stopped or restarted for an upgrade; then at /metrics and at the advisor's own unit.
#
# Needs root, debootstrap, QEMU, a Debian entry in apt's sources, and a host that is Debian 12 itself: the programs are the ones
# built here, with the libraries they were linked to. Every step is bounded; everything is removed at the end.
# results: lines
# timeout: 3000

set -uo pipefail
skip() { echo "$*"; exit 77; }
die() { echo "FAIL the guest: $*"; exit 1; }
[[ $(id -u) -eq 0 ]] || skip "needs root"
[[ $(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release) == bookworm ]] || skip "what is built here does not run on Debian 12"
for program in debootstrap qemu-system-x86_64 busybox cpio modprobe mke2fs; do
	PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || skip "$program is not installed"
done
# shellcheck disable=SC2016 # $(REPO_URI) is apt's
from=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
	awk '$1 ~ /^(bookworm|stable|oldstable)$/ && !seen { print $2; seen = 1 }')
[[ -n $from ]] || skip "apt has no Debian bookworm entry to take the mirror from"
IFS=$'\t' read -r _ release kernel < <(tests/vm/kernels.sh 6.12)
[[ $release != - ]] || skip "kernel 6.12: $kernel"

dir=$(mktemp -d "${SEMANTOS_E2E_DIR:-/var/tmp}/semantos-systemd.XXXXXX") || exit 1
root=$dir/root
trap 'rm -rf --one-file-system "$dir"' EXIT
trap 'exit 130' INT TERM

# ---- the root: Debian, the product, the test ----
timeout 900 debootstrap --variant=minbase --include=systemd-sysv,iproute2 bookworm "$root" "$from" >"$dir/log" 2>&1 ||
	die "debootstrap failed: $(tail -n 1 "$dir/log")"
timeout 120 make -s install DESTDIR="$root" PREFIX=/usr || die "make install failed"
for program in sbin/semantos-agent sbin/semantos-keeper sbin/semantos-advisor bin/semantosctl; do
	[[ ! -e $root/usr/$program ]] || ldd "$root/usr/$program" | grep -oE '/[^ ]+' | while read -r library; do
		cp -L --parents --remove-destination "$library" "$root" # also what Debian has in an older version
	done
done
timeout 60 systemd-sysusers --root="$root" "$root/usr/lib/sysusers.d/semantos.conf" >/dev/null 2>&1 ||
	timeout 60 chroot "$root" systemd-sysusers || die "the groups cannot be made"
install -m 755 tests/e2e/guest/systemd.sh "$root/usr/local/sbin/check"
# the drop-in that the documentation shows, as it stands there
awk '/^    \[Service\]/ { on = 1 } on && !/^    / { exit } on { sub(/^    /, ""); print }' docs/telemetry.md \
	>"$root/usr/local/share/metrics.conf"
grep -q 'metrics 127.0.0.1' "$root/usr/local/share/metrics.conf" || die "docs/telemetry.md has no drop-in for /metrics"
echo '/dev/vda / ext4 rw 0 1' >"$root/etc/fstab"
echo semantos-lab >"$root/etc/hostname"
printf '[Journal]\nStorage=volatile\n' >"$root/etc/systemd/journald.conf"
cat >"$root/etc/systemd/system/check.service" <<-UNIT
	[Unit]
	After=local-fs.target systemd-journald.service dbus.service
	[Service]
	Type=oneshot
	ExecStart=/usr/local/sbin/check
	[Install]
	WantedBy=multi-user.target
UNIT
timeout 60 systemctl --root="$root" -q enable check.service || die "the test cannot be enabled"
# what an emulated machine would wait for in vain
for unit in getty@tty1 serial-getty@ttyS0 systemd-timesyncd apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
	e2scrub_all.timer e2scrub_reap fstrim.timer; do
	timeout 60 systemctl --root="$root" -q mask "$unit" 2>/dev/null
done
timeout 300 mke2fs -q -t ext4 -d "$root" "$dir/disk" "$(($(du -sm "$root" | cut -f 1) + 200))M" >"$dir/log" 2>&1 ||
	die "no disk image: $(tail -n 1 "$dir/log")"
rm -rf --one-file-system "$root"

# ---- what mounts it: busybox and the modules of the disk ----
mkdir -p "$root"/{bin,proc,sys,dev,new,modules} && cp "$(command -v busybox)" "$root/bin/busybox" || exit 1
n=0
for module in virtio_pci virtio_blk crc32c_generic ext4; do
	while read -r kind path _; do
		[[ $kind == insmod ]] || continue
		to=$root/modules/$((100 + n)).ko
		case $path in
		*.xz) xz -dc "$path" >"$to" ;;
		*.zst) zstd -qdc "$path" >"$to" ;;
		*) cp "$path" "$to" ;;
		esac
		n=$((n + 1))
	done < <(PATH=$PATH:/usr/sbin:/sbin modprobe -d "$kernel" -S "$release" --show-depends "$module" 2>/dev/null)
done
cat >"$root/init" <<-'INIT'
	#!/bin/busybox sh
	/bin/busybox --install -s /bin
	mount -t proc none /proc && mount -t sysfs none /sys && mount -t devtmpfs none /dev
	for module in /modules/*.ko; do insmod "$module" 2>/dev/null; done
	for _ in $(seq 100); do [ -b /dev/vda ] && break; usleep 100000; done
	mount -t ext4 /dev/vda /new || poweroff -f
	umount /dev /sys /proc
	exec switch_root /new /lib/systemd/systemd
INIT
chmod 755 "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet) >"$dir/initrd"

# ---- the boot ----
accel=(-accel tcg)
if [[ -w /dev/kvm ]] && grep -qwE 'vmx|svm' /proc/cpuinfo; then accel=(-accel kvm -accel tcg); fi
# An emulated machine may die in its boot, before the test begins: it is then tried again.
for attempt in 1 2 3; do
	timeout -k 5 1500 qemu-system-x86_64 "${accel[@]}" -cpu max -smp 2 -m 1024 -display none -nic none -monitor none -no-reboot \
		-kernel "$kernel/vmlinuz" -initrd "$dir/initrd" -drive "file=$dir/disk,format=raw,if=virtio,cache=unsafe" \
		-serial "file:$dir/console" -serial "file:$dir/report" \
		-append "console=ttyS0 quiet panic=-1 random.trust_cpu=on systemd.show_status=no" >"$dir/log" 2>&1 </dev/null
	! grep -q '^NOTE' "$dir/report" || break
	echo "boot $attempt died before the test began: $(grep -m 1 -E 'BUG|Oops|panic' "$dir/console" | tr -d '\r')"
done
tr -d '\r' <"$dir/report"
grep -q '^END' "$dir/report" || { tail -n 15 "$dir/console" "$dir/log"; die "it died, or did not get to the end"; }
! grep -q '^FAIL' "$dir/report"
