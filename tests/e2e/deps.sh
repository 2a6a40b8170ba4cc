#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# deps.sh - agent/install/deps.sh derives the backports entry from each form of apt entry, keeping its key and options,
# and on another distribution names the packages, adds no source and says so by its exit code. Installs nothing.

set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
deps=agent/install/deps.sh
fail() { echo "$*"; exit 1; }

same() { # what, file, expected
	local got
	got=$($deps --derive "$2")
	[[ $got == "$3" ]] || fail "$1: got '$got', expected '$3'"
}

# The one line a minimal debootstrap has.
echo 'deb http://mirror.invalid/debian bookworm main' >"$dir/plain.list"
same "one-line entry" "$dir/plain.list" 'deb http://mirror.invalid/debian bookworm-backports main'

cat >"$dir/options.list" <<-'END'
	# deb http://off.invalid/debian bookworm main
	deb-src http://mirror.invalid/debian bookworm main
	deb http://mirror.invalid/debian-security bookworm-security main
	deb [arch=amd64 signed-by=/usr/share/keyrings/key.gpg] http://mirror.invalid/debian bookworm main contrib
END
same "one-line entry with options" "$dir/options.list" \
	'deb [arch=amd64 signed-by=/usr/share/keyrings/key.gpg] http://mirror.invalid/debian bookworm-backports main'

cat >"$dir/stanza.sources" <<-'END'
	Enabled: no
	Types: deb
	URIs: http://off.invalid/debian
	Suites: bookworm

	Types: deb deb-src
	# a comment
	URIs: http://mirror.invalid/debian
	Suites: bookworm bookworm-updates
	Components: main non-free-firmware
	Signed-By: /usr/share/keyrings/key.gpg
END
same "deb822 stanza" "$dir/stanza.sources" 'Types: deb
Suites: bookworm-backports
Components: main
URIs: http://mirror.invalid/debian
Signed-By: /usr/share/keyrings/key.gpg'

printf 'Types: deb\nURIs: http://m.invalid\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN\n .\n xyz\n' \
	>"$dir/inline.sources"
$deps --derive "$dir/inline.sources" | grep -qx ' xyz' || fail "a key inside a stanza was lost"

printf 'ID=fedora\nPRETTY_NAME="Fedora 40"\n' >"$dir/os-release"
find /etc/apt/sources.list* -type f 2>/dev/null | sort >"$dir/before" || true
code=0
DEPS_OS_RELEASE=$dir/os-release $deps build run >"$dir/out" 2>&1 || code=$?
[[ $code -eq 6 ]] || fail "another distribution: exit code $code, expected 6"
grep -q 'Fedora 40' "$dir/out" || fail "another distribution is not named"
grep -q 'libbpf-dev .*1.4 or newer' "$dir/out" || fail "another distribution: libbpf is not listed"
find /etc/apt/sources.list* -type f 2>/dev/null | sort >"$dir/after" || true
cmp -s "$dir/before" "$dir/after" || fail "another distribution: a package source was added"

code=0
$deps nonsense >/dev/null 2>&1 || code=$?
[[ $code -eq 2 ]] || fail "an unknown group: exit code $code, expected 2"
