#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# knobs.sh - `semantosctl knobs` on this machine: nothing is opened for writing, made, removed or asked of a device, by
# what strace saw; what is listed is there and reads so; and every reference is to a file and a section of linux-doc,
# where that is installed.
# timeout: 120

set -uo pipefail
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
ctl=build/semantosctl
fail() { echo "$*"; exit 1; }
command -v strace >/dev/null || { echo "strace is not installed"; exit 77; }

for args in "" "--json" "sysctl:vm.swappiness" "--subsystem block"; do
	# shellcheck disable=SC2086 # words are meant
	strace -f -o "$dir/trace" "$ctl" knobs $args >"$dir/out" || fail "knobs $args ends with $?"
	opened=$(grep -cE '(open|openat|openat2)\(.*O_RDONLY' "$dir/trace")
	[[ $opened -gt 20 ]] || fail "strace saw $opened files opened by knobs $args, which cannot be all"
	! grep -E 'O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND' "$dir/trace" || fail "knobs $args opened a file for writing"
	! grep -E '\b(creat|truncate|ftruncate|unlink|unlinkat|mkdir|mkdirat|rename|renameat|renameat2|link|linkat|symlink|mount|setxattr|chmod|fchmod|fchmodat|chown|mknod|socket|connect|pwrite64|pwritev|sendfile|process_madvise|sched_setattr|sched_setaffinity|setpriority|pidfd_send_signal)\(' \
		"$dir/trace" || fail "knobs $args does more than read"
	# its answer, and nothing else
	! grep -E '\b(write|writev)\(' "$dir/trace" | grep -vE '(write|writev)\([12],' || fail "knobs $args writes into a file"
	! grep -E 'ioctl\(' "$dir/trace" | grep -vE 'TCGETS|TIOCGWINSZ' || fail "knobs $args asks a device"
done

"$ctl" knobs >"$dir/out"
listed=$(($(wc -l <"$dir/out") - 1))
here=$(sed -nE 's/^sysctl:vm\.swappiness +([0-9]+) .*/\1/p' "$dir/out")
[[ $here == "$(cat /proc/sys/vm/swappiness)" ]] || fail "vm.swappiness is listed as '$here'"
while read -r name _; do
	file=${name#sysctl:}
	[[ -e /proc/sys/${file//.//} ]] || fail "$name is listed and is not there"
done < <(grep '^sysctl:' "$dir/out")
[[ $listed -ge 100 ]] || fail "only $listed knobs are listed"

documentation=$(compgen -G '/usr/share/doc/linux-doc*/Documentation' | sort -V | tail -n 1)
[[ -n ${LINUX_DOC-$documentation} ]] || { echo "$listed knobs listed; linux-doc is not installed, so its references were not checked"; exit 77; }
documentation=${LINUX_DOC-$documentation} wrong=0 checked=0
# A knob that the kernel of this documentation does not have may be documented in another one's only.
series=$(sed -nE 's/.*linux-doc-([0-9.]+).*/\1/p' <<<"$documentation")
seen=agent/util/knobs/seen-$series.tsv
while read -r name doc; do
	[[ ! -e $seen ]] || grep -qF -- "$name"$'\t' "$seen" || continue
	[[ $doc != *\(*\) && $doc != undocumented ]] || continue
	file=$documentation/${doc%%#*} section=${doc#*#}
	# written after 6.1, of settings that are older
	[[ $series != 6.1 || $file != */networking/napi.rst ]] || continue
	text=$(cat "$file" 2>/dev/null || zcat "$file.gz" 2>/dev/null) || { echo "there is no $file"; wrong=1; continue; }
	checked=$((checked + 1))
	[[ $doc != *#* ]] || grep -qF -- "$section" <<<"$text" || { echo "$doc: the file does not have that"; wrong=1; }
done < <(awk -F '"' '/\.pattern = "/ { name = $2 } { i = index($0, ".doc = \""); if (i) { split(substr($0, i + 8), d, "\""); print name, d[1] } }' \
	build/gen/agent/util/knob_rows.c)
[[ $wrong -eq 0 ]] || exit 1
echo "$listed knobs listed, $checked references found in $documentation"
