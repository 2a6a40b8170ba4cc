#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# coverage.sh - counts the branches of one folder that the runs before took, from what a build with --coverage left.
#
# A line that says "no-branch: REASON" in a comment has branches that no test can take, and the reason is printed with the
# result. Exit 1 when any other branch was never taken; each is listed.
#
# Usage: coverage.sh BUILD-FOLDER SOURCE-FOLDER

set -uo pipefail
top=$PWD
objects=$top/$1/$2
[[ -d $objects ]] || { echo "$1 holds no objects of $2: run make coverage"; exit 1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
for notes in "$objects"/*.gcno; do
	(cd "$top" && gcov -b -c -t -o "${notes%/*}" "$notes" 2>/dev/null) >>all.gcov
done
awk -v folder="$2/" '
	function percent(part, all) { return all ? 100 * part / all : 100 }
	/^ *-: *0:Source:/ { file = $0; sub(/.*Source:/, "", file); ours = index(file, folder) == 1 && file ~ /\.c$/; next }
	/^ *[-0-9#=*]+: *[0-9]+:/ {
		split($0, part, ":"); line = part[2] + 0
		text = $0; sub(/^[^:]*:[^:]*:/, "", text)
		excused = match(text, /no-branch: .*/) ? substr(text, RSTART + 11) : ""
		sub(/ *\*\/.*/, "", excused); told = 0
		next
	}
	/^branch/ && ours {
		if (excused != "") {
			if (!told++) excuse[++n_excuses] = file ":" line ": " excused
			next
		}
		if (!(file in all)) files[++n_files] = file
		all[file]++
		if (/never executed/ || $4 == 0) missed[++n_missed] = file ":" line ":" text
		else taken[file]++
	}
	END {
		for (i = 1; i <= n_missed; i++) print "not taken: " missed[i]
		for (i = 1; i <= n_excuses; i++) print "not counted: " excuse[i]
		for (i = 1; i <= n_files; i++) {
			f = files[i]; t += taken[f]; a += all[f]
			printf "%5.1f %% of %4d branches  %s\n", percent(taken[f], all[f]), all[f], f
		}
		printf "%5.1f %% of %4d branches  %s in all, %d not taken\n", percent(t, a), a, folder, n_missed
		exit n_missed > 0 || a == 0
	}' all.gcov
