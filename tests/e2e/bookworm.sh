#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# bookworm.sh - proves the README's commands on a fresh Debian 12: debootstraps one, clones the tree into it and runs
# there, as its root, first `make` with what deps.sh installs, then whatever is asked for.
#
# Needs root, debootstrap and a Debian entry in apt's sources (its address is the mirror). Every step is bounded; all
# mounts and the root are removed at the end. The BPF file system is shared with the host: a `run` step pins there.
#
# Usage: bookworm.sh [--keep] [STEP...]     STEP: build, run, test, or a shell command; build is the default, and in
# `make soak` build and run
# timeout: 8500

set -euo pipefail
tree=$(readlink -f "$(dirname "$0")/../..")
base=${SEMANTOS_E2E_DIR:-/var/tmp}
keep=

skip() { echo "$*"; exit 77; }

cleanup() {
	local code=$? point
	trap - EXIT INT TERM
	# Whatever a step left running.
	for point in /proc/[0-9]*; do
		[[ $(readlink "$point/root") != "$root" ]] || kill -KILL "${point#/proc/}"
	done 2>/dev/null
	awk -v root="$root/" 'index($5, root) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
		while read -r point; do umount "$point" 2>/dev/null || umount -l "$point"; done
	if grep -qF " $root/" /proc/self/mountinfo; then
		echo "some mounts under $root are still there; remove them by hand before deleting it" >&2
	elif [[ -z $keep ]]; then
		rm -rf --one-file-system "$root"
	else
		echo "kept $root"
	fi
	exit "$code"
}

# Print the address of the Debian mirror that apt uses for bookworm itself.
mirror() {
	# shellcheck disable=SC2016 # $(REPO_URI) is apt's
	apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
		awk '$1 ~ /^(bookworm|stable|oldstable)$/ && !seen { print $2; seen = 1 }'
}

inside() { # seconds, shell command
	timeout --kill-after=10 "$1" chroot "$root" /usr/bin/env -i HOME=/root TERM=dumb LANG=C.UTF-8 \
		PATH=/usr/sbin:/usr/bin:/sbin:/bin ${SEMANTOS_SOAK:+SEMANTOS_SOAK=1} \
		bash -c "cd /root/semantos && $2"
}

step() {
	local begin=$SECONDS
	echo "== $1"
	case $1 in
	build)
		# shellcheck disable=SC2016 # for the shell inside
		inside 1200 'agent/install/deps.sh build run && make -j"$(nproc)"'
		inside 60 'build/semantos-agent --version && build/semantosctl --version' ;;
	run)
		mkdir -p "$root/root/load"
		inside 900 'make run ARGS="--duration 60 --json --exercise /root/load"' | tee "$root/root/run.out"
		# The last line is one JSON object, and what it predicted was compared with what happened.
		tail -n 1 "$root/root/run.out" | grep -E '^\{.*"evaluated": *[1-9].*\}$' >/dev/null || {
			echo "no prediction was evaluated, or the last line is no JSON object"
			exit 1
		} ;;
	test)
		inside 5400 'make test' | tee "$root/root/test.out"
		tail -n 1 "$root/root/test.out" | grep -E '^[0-9]+ passed, 0 failed(, [0-9]+ skipped)?$' ;;
	*) inside 1200 "$1" ;;
	esac
	echo "== $1: done in $((SECONDS - begin)) s"
}

[[ ${1-} != --keep ]] || { keep=1; shift; }
[[ $(id -u) -eq 0 ]] || skip "needs root"
command -v debootstrap >/dev/null || skip "debootstrap is not installed"
command -v git >/dev/null || skip "git is not installed"
from=$(mirror)
[[ -n $from ]] || skip "apt has no Debian bookworm entry to take the mirror from"

root=$(mktemp -d "$base/semantos-bookworm.XXXXXX")
chmod 755 "$root" # apt reads packages as another user
trap cleanup EXIT
trap 'exit 130' INT TERM
echo "== debootstrap"
timeout 900 debootstrap --variant=minbase bookworm "$root" "$from" >"$root.log" 2>&1 || {
	tail -n 5 "$root.log"
	rm -f "$root.log"
	exit 1
}
rm -f "$root.log"
mount -t proc proc "$root/proc"
# Slaves: nothing mounted or unmounted below them reaches the host's own.
for point in sys dev; do
	mount --rbind "/$point" "$root/$point"
	mount --make-rslave "$root/$point"
done
cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
timeout 60 git clone -q --no-hardlinks "$tree" "$root/root/semantos"

# A stranger has make; everything else comes from deps.list.
timeout 600 chroot "$root" sh -c 'apt-get -q update && apt-get -q install -y --no-install-recommends make' >/dev/null
[[ $# -gt 0 ]] || set -- build ${SEMANTOS_SOAK:+run}
for name; do
	step "$name"
done
