#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# install.sh - `make install DESTDIR=` puts every file where docs/building.md says, the unit is one systemd accepts,
# the manuals name every command and option, and `make uninstall` leaves nothing behind. Writes only to a temporary folder.
# timeout: 300

set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "$*"; exit 1; }

make -s install DESTDIR="$dir" PREFIX=/opt/semantos
root=$dir/opt/semantos
for file in sbin/semantos-agent sbin/semantos-advisor lib/systemd/system/semantos-advisor.service bin/semantosctl include/semantos/wire.h lib/systemd/system/semantos-agent.service \
	lib/sysusers.d/semantos.conf lib/tmpfiles.d/semantos.conf lib/semantos/policies/linnos/policy.conf \
	lib/semantos/policies/linnos/linnos.bpf.o; do
	[[ -s $root/$file ]] || fail "$file was not installed"
done
[[ -x $root/sbin/semantos-agent && -x $root/bin/semantosctl ]] || fail "the programs cannot be executed"
[[ ! -e $root/lib/semantos/policies/template ]] || fail "the template was installed as a policy"
"$root/bin/semantosctl" --version >/dev/null || fail "the installed semantosctl does not run"

unit=$root/lib/systemd/system/semantos-agent.service
grep -q '^ExecStart=/opt/semantos/sbin/semantos-agent ' "$unit" || fail "the unit does not start the installed agent"
grep -q '^ExecStopPost=+/opt/semantos/bin/semantosctl recover$' "$unit" || fail "nothing is undone after the unit stops"
# What agent/safety changes must be writable for the agent and its keeper: one row of the tables each, by its folder. What
# the unit's comment leaves to a drop-in must not be.
writable=$(sed -n 's/^ReadWritePaths=//p' "$unit" | tr '\n' ' ')
sed -n 's/^name = //p' agent/util/knobs/*.conf >"$dir/knobs"
[[ -s $dir/knobs ]] || fail "no row of the table of knobs was found"
while read -r knob; do
	case $knob in
	sysctl:vm.*) path=/proc/sys/vm ;;
	sysctl:net.*) path=/proc/sys/net ;;
	sysctl:kernel.* | sysctl:fs.* | debugfs:*)
		grep -q "^# (ReadWritePaths=/proc/sys/kernel/NAME)" "$unit" || fail "the unit does not say how $knob is allowed"
		! grep -qE '^ReadWritePaths=(.* )?-?(/proc/sys/(kernel|fs)|/sys/kernel/debug|/sys|/proc/sys)( |$)' "$unit" ||
			fail "the unit makes more writable than it says: $knob"
		continue
		;;
	sched:* | madvise:* | sysfs:class/net/*) continue ;; # by capabilities that the unit does not give
	sysfs:block/*) path=/sys/devices ;;
	sysfs:kernel/mm/*) path=-/sys/kernel/mm ;;
	sysfs:module/zswap/*) path=-/sys/module/zswap/parameters ;;
	cgroup:*) path=/sys/fs/cgroup ;;
	blkra:*)
		grep -q '^DeviceAllow=block-\* r$' "$unit" || fail "the unit keeps the agent from the nodes of $knob"
		grep -q '^CapabilityBoundingSet=.*CAP_SYS_ADMIN' "$unit" || fail "the unit lacks the capability of $knob"
		continue
		;;
	*) fail "no path of the unit is known for $knob" ;;
	esac
	[[ " $writable " == *" $path "* ]] || fail "the unit makes $knob read-only: ReadWritePaths lacks $path"
done <"$dir/knobs"
for path in /proc/sys /proc/sysrq-trigger /sys; do
	grep -qE "^ReadOnlyPaths=(.* )?$path( |\$)" "$unit" || fail "the unit leaves $path writable"
done
# nor openat2(), by which every setting is opened
! grep -q '^RestrictSUIDSGID=yes' "$unit" || fail "the unit takes openat2() from the agent and its keeper"
# systemd makes /sys/fs/bpf read-only with it, whatever ReadWritePaths= says: the agent could not pin (tests/e2e/systemd.sh)
! grep -q '^ProtectKernelTunables=' "$unit" || fail "the unit takes the BPF file system from the agent"
"$root/bin/semantosctl" recover --dir "$dir/no-journal" >/dev/null || fail "recover fails where there is nothing to undo"
if command -v systemd-analyze >/dev/null; then
	# It looks for the program where the unit says, so point it at the copy; man pages are not on its path.
	sed -e "s|/opt/semantos|$root|" -e '/^Documentation=/d' "$unit" >"$dir/semantos-agent.service"
	said=$(systemd-analyze verify "$dir/semantos-agent.service" 2>&1 | grep -F semantos-agent.service || true)
	[[ -z $said ]] || fail "systemd does not accept the unit: $said"
	systemd-analyze security --offline=true --threshold=25 "$dir/semantos-agent.service" >/dev/null ||
		fail "the unit is less confined than an exposure of 2.5"
fi

# The advisor's unit: nothing of root's, and none of what proposing does not take.
advisor=$root/lib/systemd/system/semantos-advisor.service
grep -q '^ExecStart=/opt/semantos/sbin/semantos-advisor$' "$advisor" || fail "the unit does not start the installed advisor"
for line in User=semantos-advisor CapabilityBoundingSet= NoNewPrivileges=yes RestrictAddressFamilies=AF_UNIX; do
	grep -qx "$line" "$advisor" || fail "the advisor's unit lacks $line"
done
if command -v systemd-analyze >/dev/null; then
	sed -e "s|/opt/semantos|$root|" -e '/^Documentation=/d' "$advisor" >"$dir/semantos-advisor.service"
	said=$(systemd-analyze verify "$dir/semantos-advisor.service" 2>&1 | grep -F semantos-advisor.service || true)
	[[ -z $said ]] || fail "systemd does not accept the advisor's unit: $said"
	systemd-analyze security --offline=true --threshold=10 "$dir/semantos-advisor.service" >/dev/null ||
		fail "the advisor's unit is less confined than an exposure of 1.0"
fi

# Groups and folders, made in an empty root.
if command -v systemd-sysusers >/dev/null && command -v systemd-tmpfiles >/dev/null; then
	mkdir -p "$dir/empty/etc"
	systemd-sysusers --root="$dir/empty" "$root/lib/sysusers.d/semantos.conf" >/dev/null 2>&1
	for group in semantos semantos-admin; do
		grep -q "^$group:" "$dir/empty/etc/group" || fail "the group $group was not made"
	done
	grep -q '^semantos-advisor:' "$dir/empty/etc/passwd" || fail "the advisor's user was not made"
	systemd-tmpfiles --root="$dir/empty" --create "$root/lib/tmpfiles.d/semantos.conf"
	[[ -d $dir/empty/run/semantos && -d $dir/empty/var/lib/semantos ]] || fail "the agent's folders were not made"
fi

# Emphasis that begins with a blank or a comma was meant as a plain _ or *.
if compgen -G "$root/share/man/man*/*" >/dev/null; then
	wrong=$(grep -nE '\\f[BI][ ,]' "$root"/share/man/man*/* || true)
	[[ -z $wrong ]] || fail "a manual page has an unescaped _ or *: $wrong"
fi

# What --help names, the manual and the completions name too.
options() { "$@" --help | grep -oE -- '--[a-z][a-z-]+' | sort -u; }
man=agent/install/man complete=agent/install/completion
for option in $(options "$root/sbin/semantos-agent"); do
	grep -q -- "\*$option\*" $man/semantos-agent.8.scd || fail "semantos-agent(8) does not name $option"
done
for option in $(options "$root/sbin/semantos-advisor"); do
	grep -q -- "\*$option\*" $man/semantos-advisor.8.scd || fail "semantos-advisor(8) does not name $option"
done
for command in $("$root/bin/semantosctl" --help | awk '/^  / { print $1 }') 'model use' 'model show' 'model import'; do
	for file in $man/semantosctl.1.scd $complete/semantosctl.bash $complete/_semantosctl; do
		grep -qw -- "${command##* }" "$file" || fail "$file does not name the command $command"
		# shellcheck disable=SC2086 # two words of a command are two
		for option in $(options "$root/bin/semantosctl" $command); do
			grep -q -- "${option#--}" "$file" || fail "$file does not name $option of $command"
		done
	done
done

make -s uninstall DESTDIR="$dir" PREFIX=/opt/semantos
left=$(find "$root" -type f -printf '%P ')
[[ -z $left ]] || fail "uninstall left behind: $left"
