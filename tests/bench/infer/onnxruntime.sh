#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# onnxruntime.sh - puts npm's onnxruntime-node under build/peers once, and prints where its library is.
#
# The package's own install script is not run: it would fetch GPU libraries. Without npm or network it says so and the bench
# goes on without this peer.
#
# Usage: onnxruntime.sh [--find]    --find prints the path of the library, or nothing, and fetches nothing

set -euo pipefail
peers=build/peers
version=1.30.0

find_library() {
	find "$peers/node_modules/onnxruntime-node/bin" -path '*/linux/x64/*' -name 'libonnxruntime.so*' \
		-print -quit 2>/dev/null || true
}

if [[ ${1-} == --find ]]; then
	find_library
	exit
fi
[[ -z $(find_library) ]] || exit 0
if ! command -v npm >/dev/null; then
	echo "onnxruntime is left out: there is no npm to fetch it with (package npm)."
	exit 0
fi
mkdir -p "$peers"
npm install --ignore-scripts --no-audit --no-fund --silent --prefix "$peers" "onnxruntime-node@$version" ||
	echo "onnxruntime is left out: npm could not fetch onnxruntime-node $version."
