#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# lint.sh - what `make lint` checks in every file of the tree, beside clang-tidy (which make runs, file by file):
# clang-format, an SPDX line with the right licence, at most 700 lines a source file, shellcheck.
# Prints every offence before it fails; exit 77 names a tool that is missing. Must change nothing, but for the layout
# of C files when given --fix.

set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
bad=0
offence() { echo "$1"; bad=1; }

# Tracked files, and new ones not ignored; without git, everything outside build/.
mapfile -t files < <(git ls-files -co --exclude-standard 2>/dev/null || find . -type f ! -path './build/*' ! -path './.git/*' -printf '%P\n')
[[ ${#files[@]} -gt 0 ]] || { echo "no files were found to check"; exit 1; }

sources=() scripts=()
for file in "${files[@]}"; do
	[[ -f $file && ! -L $file ]] || continue
	case $file in
	# Recorded bytes carry no comment.
	tests/fuzz/corpus/* | *.safetensors | *.json | *.png | *.svg | *.bin | *.gz) continue ;;
	esac
	spdx=$(head -n 5 "$file" | sed -nE 's/.*SPDX-License-Identifier: ([^*>]*).*/\1/p' | head -n 1)
	case $file in
	bpf/* | kmod/* | *.bpf.c | vmlinux.h) [[ $spdx == *GPL-2.0* ]] || offence "$file: no line SPDX-License-Identifier: GPL-2.0" ;;
	*) [[ $spdx == *Apache-2.0* ]] || offence "$file: no line SPDX-License-Identifier: Apache-2.0" ;;
	esac
	[[ $file != vmlinux.h && $file != LICENSE.md ]] || continue
	lines=$(wc -l <"$file")
	[[ $lines -le 700 ]] || offence "$file: $lines lines, more than 700; give the second thing in it a file of its own"
	case $file in
	*.c | *.h) sources+=("$file") ;;
	# A script that is sourced has no first line, but says which shell it is for.
	*) [[ $(head -c 20 "$file") != '#!/bin/'*sh* && $(head -n 3 "$file") != *'# shellcheck shell='* ]] || scripts+=("$file") ;;
	esac
done

missing=
for tool in clang-format-19 clang-tidy-19 shellcheck; do
	command -v $tool >/dev/null || missing+=" $tool"
done
if [[ ${1-} == --fix ]]; then
	printf '%s\0' "${sources[@]}" | xargs -0 clang-format-19 -i || exit 1
elif [[ $missing != *clang-format* ]]; then
	printf '%s\0' "${sources[@]}" | xargs -0 -n 16 -P "$(nproc)" clang-format-19 --dry-run -Werror || bad=1
fi
if [[ $missing != *shellcheck* ]]; then
	shellcheck "${scripts[@]}" || bad=1
fi
[[ $bad -eq 0 ]] || exit 1
[[ -z $missing ]] || { echo "not installed, so not everything was checked:$missing"; exit 77; }
