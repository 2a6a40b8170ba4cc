#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kernels.sh - finds, downloads and unpacks Debian's stock kernels for the test machine.
#
# Resolves the newest build of each series asked for (6.1, 6.12, 6.18, 7 ...) through an apt configuration of its own,
# derived from the machine's Debian entries by changing the suite, and unpacks the image, a choice of modules and,
# where offered, the headers into a cache outside the tree. With a filled cache it works without a network.
# Must never install a package or touch the machine's own apt state. Runs may overlap: one lock guards the cache.
#
# Usage: kernels.sh SERIES...
# Output: per series one line "SERIES<TAB>RELEASE<TAB>DIR", or "SERIES<TAB>-<TAB>why there is none".
#   DIR/vmlinuz, DIR/lib/modules/RELEASE, DIR/headers (a link to the build folder; absent when not offered)
# Environment: SEMANTOS_CACHE; SEMANTOS_OFFLINE=1 asks no server. Exit: 0, or 1 when the cache cannot be used.

set -uo pipefail
cache=${SEMANTOS_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/semantos}/kernels
state=$cache/apt
refresh_minutes=720
suites="bookworm-backports trixie-backports"
# What tests may load: enough of the tree for block devices, file systems and what those depend on.
module_folders="arch block crypto fs lib mm drivers/base drivers/block drivers/char drivers/cpufreq drivers/dax
	drivers/md drivers/misc drivers/nvme drivers/scsi drivers/virtio"

note() { printf 'kernels: %s\n' "$*" >&2; }

# Copy the machine's Debian entry from FILE with the suite changed. KIND main: the first entry for a plain suite, once
# for each suite given; KIND security: the entry of the security archive, as bookworm-security.
derive() { # kind, file, suites
	local kind=$1 file=$2 to=$3
	[[ $kind == main ]] || to=bookworm-security
	case $file in
	*.sources)
		awk -v kind="$kind" -v to="$to" 'BEGIN { RS = ""; FS = "\n" }
		{
			types = suites = off = keep = ""
			for (i = 1; i <= NF; i++) {
				if ($i ~ /^#/)
					continue
				name = tolower($i); sub(/:.*/, "", name)
				value = $i; sub(/^[^:]*:[ \t]*/, "", value)
				if ($i ~ /^[ \t]/) keep = keep $i "\n"
				else if (name == "types") types = " " value " "
				else if (name == "suites") suites = " " value " "
				else if (name == "enabled") off = tolower(value)
				else if (name != "components" && name != "architectures") keep = keep $i "\n"
			}
			security = suites ~ /-security |\/updates /
			if (types !~ / deb / || off == "no" || security != (kind == "security") ||
			    suites !~ / (bookworm|trixie|stable|oldstable)/)
				next
			printf "Types: deb\nSuites: %s\nComponents: main\n%s\n", to, keep
			exit
		}' "$file" ;;
	*)
		awk -v kind="$kind" -v to="$to" '$1 == "deb" {
			at = $2 ~ /^\[/ ? 0 : 3
			for (i = 3; !at && i <= NF; i++)
				if ($(i - 1) ~ /\]$/)
					at = i + 1
			if (!at || (($at ~ /-security$|\/updates$/) != (kind == "security")) ||
			    $at !~ /^(bookworm|trixie|stable|oldstable)/)
				next
			head = ""
			for (i = 1; i < at; i++)
				head = head $i " "
			n = split(to, suite, " ")
			for (i = 1; i <= n; i++)
				print head suite[i] " main"
			exit
		}' "$file" ;;
	esac
}

configure() {
	local file kind entry suffix
	mkdir -p "$state/parts" "$state/lists/partial" "$state/archives/partial" || return 1
	rm -f "$state/parts/"*
	for kind in main security; do
		for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list; do
			[[ -r $file ]] || continue
			entry=$(derive "$kind" "$file" "bookworm $suites")
			[[ -n $entry ]] || continue
			suffix=list
			[[ $file != *.sources ]] || suffix=sources
			printf '%s\n' "$entry" >"$state/parts/$kind.$suffix"
			break
		done
	done
	: >"$state/status"
	# The machine's apt.conf.d still counts (proxies, certificates), its hooks do not.
	cat >"$state/apt.conf" <<-CONF
		#clear APT::Update::Pre-Invoke;
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		Dir::Etc::sourcelist "/dev/null";
		Dir::Etc::sourceparts "$state/parts";
		Dir::State "$state";
		Dir::State::status "$state/status";
		Dir::State::lists "$state/lists";
		Dir::Cache "$state";
		Dir::Cache::archives "$state/archives";
		APT::Architecture "amd64";
		APT::Architectures { "amd64"; };
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		APT::Update::Error-Mode "any";
		Acquire::Retries "2";
		Acquire::http::Timeout "30";
		Acquire::https::Timeout "30";
	CONF
	compgen -G "$state/parts/*" >/dev/null
}

# Fetch the package lists when they are old. 0 = there are lists to look in, maybe older ones.
refresh() {
	[[ -z ${SEMANTOS_OFFLINE-} ]] || return 1
	command -v apt-get >/dev/null || { note "there is no apt here: only cached kernels can be used"; return 1; }
	if [[ -n $(find "$state/fresh" -mmin "-$refresh_minutes" 2>/dev/null) ]]; then
		return 0
	fi
	configure || { note "no Debian entry was found in /etc/apt to derive kernel suites from"; return 1; }
	if timeout 180 apt-get -q -c "$state/apt.conf" update >"$state/update.log" 2>&1; then
		touch "$state/fresh"
		return 0
	fi
	note "package lists could not be read ($state/update.log): using what the cache holds"
	compgen -G "$state/lists/*_Packages*" >/dev/null
}

known() { apt-cache -c "$state/apt.conf" pkgnames "$1" 2>/dev/null | grep -Fx -- "$1" >/dev/null; }

newest() { # series: the newest release that the archive offers, e.g. 6.12.117+deb12-amd64
	apt-cache -c "$state/apt.conf" pkgnames "linux-image-$1." 2>/dev/null |
		sed -nE 's/^linux-image-([0-9]+\.[0-9]+\.[0-9]+([-+.~][0-9a-z.+]+)?-amd64)$/\1/p' |
		grep -vE 'cloud|rt-' | sort -V | tail -n 1
}

cached() { # series: the newest release in the cache
	local dir
	for dir in "$cache/$1".*; do
		[[ ! -e $dir/complete ]] || basename "$dir"
	done | sort -V | tail -n 1
}

# Packages that the headers of a release consist of: their own common part and build programs.
header_packages() {
	local package=linux-headers-$1
	known "$package" || return 0
	echo "$package"
	apt-cache -c "$state/apt.conf" show "$package" | sed -n 's/^Depends: //p' | head -n 1 | tr ',' '\n' |
		sed -nE 's/^ *(linux-headers-[^ ]+-common|linux-kbuild-[^ ]+).*/\1/p'
}

fetch() { # release: download and unpack it as $cache/RELEASE
	local release=$1 dir="$cache/$1" tmp packages=() headers deb folder patterns=()
	for deb in image binary modules base; do
		! known "linux-$deb-$release" || packages+=("linux-$deb-$release")
	done
	mapfile -t headers < <(header_packages "$release")
	tmp=$dir.new
	rm -rf "$tmp"
	mkdir -p "$tmp/debs" || return 1
	note "downloading ${packages[*]} ${headers[*]}"
	(cd "$tmp/debs" && timeout 900 apt-get -q -c "$state/apt.conf" download "${packages[@]}" "${headers[@]}") \
		>"$state/download.log" 2>&1 || { rm -rf "$tmp"; return 1; }
	for folder in $module_folders; do
		patterns+=("*/lib/modules/*/kernel/$folder/*")
	done
	for deb in "$tmp"/debs/*.deb; do
		case ${deb##*/} in
		linux-headers-* | linux-kbuild-*) dpkg-deb -x "$deb" "$tmp" || return 1 ;;
		*)
			dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$tmp" --wildcards '*/vmlinuz*' \
				'*/lib/modules/*/modules.*' "${patterns[@]}" 2>/dev/null
			;;
		esac
	done
	rm -rf "$tmp/debs"
	arrange "$tmp" "$release" || { note "the packages of $release do not hold what is expected"; return 1; }
	rm -rf "$dir"
	touch "$tmp/complete" && mv "$tmp" "$dir"
}

# Bring packages of any generation into the one layout described above.
arrange() { # folder, release
	local tmp=$1 release=$2 kernel
	if [[ -d $tmp/usr/lib/modules/$release ]]; then
		mkdir -p "$tmp/lib/modules"
		cp -a "$tmp/usr/lib/modules/$release" "$tmp/lib/modules/" && rm -rf "$tmp/usr/lib/modules"
	fi
	for kernel in "$tmp/boot/vmlinuz-$release" "$tmp/lib/modules/$release/vmlinuz"; do
		[[ ! -f $kernel ]] || mv "$kernel" "$tmp/vmlinuz"
	done
	[[ -f $tmp/vmlinuz && -d $tmp/lib/modules/$release/kernel ]] || return 1
	rm -f "$tmp/lib/modules/$release/build" "$tmp/lib/modules/$release/source"
	PATH=$PATH:/usr/sbin:/sbin depmod -b "$tmp" "$release" 2>/dev/null || return 1
	if [[ -f $tmp/usr/src/linux-headers-$release/Makefile ]]; then
		# The packages expect to lie under /usr/src.
		sed -i "s|/usr/src/|$cache/$release/usr/src/|" "$tmp/usr/src/linux-headers-$release/Makefile"
		ln -s "usr/src/linux-headers-$release" "$tmp/headers"
	fi
}

provide() { # series
	local series=$1 release old reason="not in the cache, and the archive could not be asked"
	if [[ $online -eq 1 ]]; then
		reason="no longer offered by the Debian archive"
		release=$(newest "$series")
		if [[ -n $release && ! -e $cache/$release/complete ]] && ! fetch "$release"; then
			rm -rf "$cache/$release.new"
			reason="$release could not be downloaded or unpacked ($state/download.log)"
		fi
	fi
	release=$(cached "$series")
	if [[ -z $release ]]; then
		printf '%s\t-\t%s\n' "$series" "$reason"
		return
	fi
	for old in "$cache/$series".*; do
		[[ $old == "$cache/$release" ]] || rm -rf "$old"
	done
	printf '%s\t%s\t%s\n' "$series" "$release" "$cache/$release"
}

[[ $# -gt 0 ]] || { echo "Usage: kernels.sh SERIES..." >&2; exit 2; }
mkdir -p "$cache" || { note "cannot create $cache; set SEMANTOS_CACHE to a folder that can be written"; exit 1; }
exec 9>"$cache/lock"
flock 9
online=0
! refresh || online=1
for series; do
	provide "$series"
done
