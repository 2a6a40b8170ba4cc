#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# dkms.sh - the kernel modules by DKMS, in a Debian 12 of its own, for the kernel that the lab boots as 6.12: added, built,
# signed with the key that DKMS makes, installed, and removed without a trace. docs/kmod.md has the same commands.
#
# The Debian, with dkms and the kernel's headers, is debootstrapped once into the cache (1 GB); each run begins with
# an empty DKMS tree there. Nothing is mounted that the host sees, and no module is loaded: signatures are looked at, and
# who refuses them is the lab's 99-signature.
#
# Needs root, debootstrap and a Debian entry in apt's sources.
# timeout: 3000

set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${SEMANTOS_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/semantos}
root=$cache/dkms/bookworm

skip() { echo "$*"; exit 77; }
fail() { echo "$*"; exit 1; }
inside() { # seconds, shell command: its mounts end with it
	# shellcheck disable=SC2016 # for the shell inside
	timeout --kill-after=10 "$1" unshare --mount --pid --fork sh -c '
		mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" &&
		exec chroot "$0" /usr/bin/env -i HOME=/root TERM=dumb LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
			PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -c "$1"' "$root" "$2"
}

[[ $(id -u) -eq 0 ]] || skip "needs root"
command -v debootstrap >/dev/null || skip "debootstrap is not installed"
line=$(tests/vm/kernels.sh 6.12) || exit 1
IFS=$'\t' read -r _ release why <<<"$line"
[[ $release != - ]] || skip "no kernel 6.12: $why"
version=$(sed -n 's/^VERSION *[:?]*= *//p' Makefile)
[[ -n $version ]] || fail "the Makefile names no version"

mkdir -p "$cache/dkms"
exec 7>"$cache/dkms/lock"
flock 7
if [[ $(cat "$root/complete" 2>/dev/null) != "$release" ]]; then
	# shellcheck disable=SC2016 # $(REPO_URI) is apt's
	from=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
		awk '$1 ~ /^(bookworm|stable|oldstable)$/ && !seen { print $2; seen = 1 }')
	[[ -n $from ]] || skip "apt has no Debian bookworm entry to take the mirror from"
	echo "a Debian 12 with dkms and the headers of $release is made in $root"
	rm -rf --one-file-system "${root:?}"
	timeout 900 debootstrap --variant=minbase bookworm "$root" "$from" >"$cache/dkms/log" 2>&1 ||
		fail "debootstrap failed: $(tail -n 2 "$cache/dkms/log")"
	# Where the lab has its kernels from.
	rm -f "$root/etc/apt/sources.list"
	cp "$cache"/kernels/apt/parts/* "$root/etc/apt/sources.list.d/"
	sed -i -E '/^Suites:/s/ trixie-backports//; / trixie-backports main$/d' "$root"/etc/apt/sources.list.d/*
	cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
	[[ ! -d /etc/apt/apt.conf.d ]] || cp -n /etc/apt/apt.conf.d/*proxy* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
	inside 1500 "apt-get -q update && apt-get -q install -y --no-install-recommends dkms dwarves openssl &&
		apt-get -q install -y --no-install-recommends linux-headers-$release" >>"$cache/dkms/log" 2>&1 ||
		fail "the packages could not be installed: see $cache/dkms/log"
	echo "$release" >"$root/complete"
fi

# What a run before this one left.
rm -rf "$root"/usr/src/semantos-* "$root"/var/lib/dkms/* "$root/lib/modules/$release/updates"
make -s dkms DESTDIR="$root" || fail "make dkms failed"
inside 60 "dkms add semantos/$version" || fail "dkms does not take the sources"
inside 1200 "dkms build semantos/$version -k $release" || {
	tail -n 20 "$root/var/lib/dkms/semantos/$version/build/make.log" || true
	fail "dkms does not build the modules"
}
inside 300 "dkms install semantos/$version -k $release" || fail "dkms does not install the modules"
inside 60 "dkms status semantos/$version -k $release" | grep -q ': installed' || fail "dkms does not say that they are installed"
serial=$(inside 60 "openssl x509 -inform DER -in /var/lib/dkms/mok.pub -noout -serial" | cut -d= -f2)
for module in semantos dm-semantos-replica; do
	said=$(inside 60 "modinfo -k $release $module") || fail "$module is not where modprobe looks for it"
	grep -q '^filename:.*/updates/dkms/' <<<"$said" || fail "$module lies elsewhere: $(grep '^filename' <<<"$said")"
	signer=$(sed -n 's/^signer: *//p' <<<"$said")
	[[ -n $signer ]] || fail "$module is not signed"
	key=$(sed -n 's/^sig_key: *//p' <<<"$said" | tr -d ':')
	[[ $key == "$serial" ]] || fail "$module is signed by the key $key, not by $serial of /var/lib/dkms/mok.pub"
	# Without BTF no policy could ever find it. DKMS compresses as the kernel's packages do.
	inside 60 "file=\$(modinfo -k $release -n $module) && case \$file in *.xz) xz -dc \$file ;; *) cat \$file ;; esac >/tmp/module.ko &&
		objdump -h /tmp/module.ko | grep -q '[.]BTF '" || fail "$module has no BTF"
	echo "$module: $(sed -n 's/^vermagic: *//p' <<<"$said"), signed by '$signer'"
done
inside 60 "dkms remove semantos/$version --all" || fail "dkms does not remove them"
[[ -z $(find "$root/lib/modules/$release" -name '*semantos*') ]] || fail "modules are left after dkms remove"
[[ -z $(inside 60 "dkms status semantos") ]] || fail "dkms still knows of semantos"
rm -rf "$root/usr/src/semantos-$version"
