#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# deps.sh - names and installs the packages that a group in deps.list stands for.
#
# Says what it will install before it does. Packages come from apt on Debian 12; those marked "backports" from
# bookworm-backports, which is added in a file of its own, derived from the Debian entry the machine already has.
# Must never edit an existing file, add a source on another distribution, or install anything not in deps.list.
#
# Usage: deps.sh [--list | --missing] GROUP...     --derive FILE...  prints the derived entry (for tests)
# Exit: 0 all there; 1 apt failed; 2 usage; 4 something is missing and we are not root; 6 not Debian 12 on x86-64.

set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
list=${DEPS_LIST:-$here/deps.list}
os_release=${DEPS_OS_RELEASE:-/etc/os-release}
suite=bookworm-backports

say() { printf 'semantos: %s\n' "$*"; }
die() { # exit code, words
	local code=$1
	shift
	printf 'semantos: %s\n' "$*" >&2
	exit "$code"
}

# The lines of deps.list for the groups given, without comments.
wanted() {
	awk -v groups=" $* " '!/^#/ && NF && index(groups, " " $1 " ")' "$list"
}

have() { # package minimum
	local version
	version=$(dpkg-query -W -f '${db:Status-Status} ${Version}' "$1" 2>/dev/null) || return 1
	[[ $version == installed\ * ]] || return 1
	[[ $2 == - ]] || dpkg --compare-versions "${version#installed }" ge "$2"
}

missing() {
	local group package from minimum role
	wanted "$@" | while read -r group package from minimum role; do
		have "$package" "$minimum" || echo "$group $package $from $minimum $role"
	done
}

# Print the first enabled Debian entry for bookworm in FILE with the suite changed: deb822 stanza or one-line entry.
derive() {
	case $1 in
	*.sources)
		awk -v suite="$suite" 'BEGIN { RS = ""; FS = "\n" }
		{
			types = suites = off = keep = ""
			for (i = 1; i <= NF; i++) {
				line = $i
				if (line ~ /^#/)
					continue
				name = tolower(line); sub(/:.*/, "", name)
				value = line; sub(/^[^:]*:[ \t]*/, "", value)
				if (line ~ /^[ \t]/) { keep = keep line "\n"; continue }
				if (name == "types") types = " " value " "
				else if (name == "suites") suites = " " value " "
				else if (name == "enabled") off = tolower(value)
				else if (name != "components") keep = keep line "\n"
			}
			if (types !~ / deb / || suites !~ / (bookworm|stable|oldstable) / || off == "no")
				next
			printf "Types: deb\nSuites: %s\nComponents: main\n%s", suite, keep
			exit
		}' "$1" ;;
	*)
		sed -nE "s/^[[:space:]]*deb([[:space:]]+(\[[^]]*\][[:space:]]+)?[^[:space:]]+[[:space:]]+)(bookworm|stable|oldstable)[[:space:]].*/deb\1$suite main/p" \
			"$1" | head -n 1 ;;
	esac
}

# Does apt already know the backports suite?
suite_known() {
	# shellcheck disable=SC2016 # $(RELEASE) is apt's
	apt-get indextargets --format '$(RELEASE)' 'Created-By: Packages' | grep -x "$suite" >/dev/null
}

add_suite() {
	local file entry out
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list; do
		[[ -r $file ]] || continue
		entry=$(derive "$file")
		[[ -n $entry ]] || continue
		out=/etc/apt/sources.list.d/semantos-backports
		case $file in *.sources) out+=.sources ;; *) out+=.list ;; esac
		printf '# Added by semantos, derived from %s; delete this file to undo.\n%s\n' "$file" "$entry" >"$out"
		say "added $out ($suite, derived from $file)."
		return
	done
	die 1 "no enabled apt entry for Debian bookworm was found to derive $suite from; add $suite, or install the packages above by hand and use DEPS=no."
}

apt() {
	DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 \
		-o Dpkg::Use-Pty=0 "$@" </dev/null
}

install_missing() {
	local main backports
	main=$(awk '$3 == "main" { print $2 }' <<<"$1")
	backports=$(awk '$3 == "backports" { print $2 }' <<<"$1")
	if [[ -n $backports ]] && ! suite_known; then
		add_suite
	fi
	apt update || die 1 "apt could not read the package lists; check the network and /etc/apt, then run this again."
	# shellcheck disable=SC2086 # one word a package
	{
		[[ -z $main ]] || apt install -y --no-install-recommends $main ||
			die 1 "apt could not install the packages above; its own message says why."
		[[ -z $backports ]] || apt install -y --no-install-recommends -t "$suite" $backports ||
			die 1 "apt could not install" $backports "from $suite; its own message says why."
	}
}

by_role() {
	local group package from minimum role
	while read -r group package from minimum role; do
		[[ $minimum == - ]] || role+=", $minimum or newer"
		printf '  %-22s %s\n' "$package" "$role"
	done
}

mode=install
case ${1-} in
--list | --missing) mode=${1#--}; shift ;;
--derive) shift; for f; do derive "$f"; done; exit ;;
esac
[[ $# -gt 0 ]] || die 2 "name at least one group: build, run, test, bench."
for group; do
	[[ -n $(wanted "$group") ]] || die 2 "there is no group '$group' in $list; use build, run, test, bench or peers."
done
if [[ $mode == list ]]; then
	wanted "$@" | by_role
	exit
fi

if ! grep -qx 'ID="\?debian"\?' "$os_release" || ! grep -qx 'VERSION_CODENAME="\?bookworm"\?' "$os_release"; then
	system=$(sed -nE 's/^PRETTY_NAME="?([^"]*)"?/\1/p' "$os_release")
	echo "semantos installs packages only on Debian 12; this is ${system:-another system}. It needs (Debian's name, role):"
	wanted "$@" | by_role
	die 6 "nothing was installed and no package source was added; install these by hand, then use DEPS=no."
fi
[[ $(uname -m) == x86_64 ]] || die 6 "semantos supports x86-64 only, and this machine is $(uname -m)."

todo=$(missing "$@")
if [[ $mode == missing ]]; then
	[[ -z $todo ]] || by_role <<<"$todo"
	exit
fi
[[ -n $todo ]] || exit 0
say "these packages are missing and will be installed with apt (DEPS=no installs nothing):"
by_role <<<"$todo"
[[ $(id -u) -eq 0 ]] || die 4 "installing packages needs root; run the same command with sudo."
install_missing "$todo"
