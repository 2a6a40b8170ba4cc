#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# bad_input.sh - what bad input gets, from the real programs: one sentence that names what and what to do, the
# documented exit code, nothing half attached, and the policy that runs meanwhile goes on predicting, untouched.
# results: lines
# timeout: 300
#
# One agent predicts this machine's reads all the time, under its own run and BPF folders; between the cases its slot
# generation, its pins and its BPF descriptors must stay as they were and its predictions must go on. What needs a
# full or read-only disk, a kernel without BTF or an old one is simulated: private mounts, a personality that reports
# Linux 2.6; the line then says so. Needs root, and a disk that can be followed.

# shellcheck disable=SC2317 # functions are called by name, through expect
set -uo pipefail
dir=$(mktemp -d "$PWD/build/bad-XXXXXX") || exit 1
pins=/sys/fs/bpf/semantos-bad-$$
# Copies: for another user to run, and so that a build meanwhile disturbs nothing.
agent=$dir/bin/semantos-agent
ctl=$dir/bin/semantosctl
failed=0 main="" load=""

cleanup() {
	trap - EXIT
	[[ -z $load ]] || kill "$load" 2>/dev/null
	[[ -z $main ]] || { kill "$main" 2>/dev/null; wait "$main" 2>/dev/null; }
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

skip() { echo "$*"; exit 77; }
bad() { failed=1; echo "FAIL $1: $2"; sed 's/^/  | /' "$dir/said" | cut -c 1-240 | head -n 8; }

# The agent under test, away from the one that runs: $1 names its folders.
other() { # name, options...
	local name=$1
	shift
	timeout -k 5 40 "$agent" --state-dir "$dir/state-$name" --run-dir "$dir/run-$name" --bpffs-dir "$pins-$name" \
		--quiet "$@"
}

status() { timeout 10 "$ctl" --socket "$dir/run/agent.sock" status --json 2>/dev/null; }
evaluated() { status | grep -oE '"evaluated": ?[0-9]+' | head -n 1 | grep -oE '[0-9]+$'; }
# What must not change: generation and model of the device, mode, pins, and the agent's BPF descriptors.
standing() {
	status | grep -oE '"(generation|model|mode)": ?("[^"]*"|[0-9]+)' | tr '\n' ' '
	find $pins -type f | wc -l
	# the one for run-time statistics comes and goes
	find "/proc/$main/fd" -lname 'anon_inode:bpf*' ! -lname '*stats*' | wc -l
}

# Run a command that must fail: the code, one sentence with these words, and what runs is as before.
expect() { # case, code, words, command...
	local case=$1 want=$2 words=$3 code before after lines
	shift 3
	before=$(evaluated)
	"$@" >"$dir/said" 2>&1 </dev/null
	code=$?
	lines=$(grep -cE -- "$words" "$dir/said")
	if [[ $code -ne $want ]]; then
		bad "$case" "exit code $code, expected $want"
	elif [[ $lines -ne 1 ]]; then
		bad "$case" "$lines lines say '$words', expected one"
	elif ! grep -E -- "$words" "$dir/said" | grep -qE '([.!]|: mount -t bpf .*)$'; then
		bad "$case" "its answer is no whole sentence"
	elif compgen -G "$pins-*" >/dev/null; then
		bad "$case" "it left pins: $(echo "$pins"-*)"
	elif [[ $(standing) != "$stands" ]]; then
		bad "$case" "the running policy changed: $(standing | tr '\n' ' '), before $(tr '\n' ' ' <<<"$stands")"
	else
		for _ in 1 2 3 4 5 6 7 8 9 10; do
			after=$(evaluated)
			[[ ${after:-0} -le ${before:-0} ]] || break
			sleep 0.3
		done
		if [[ ${after:-0} -gt ${before:-0} ]]; then
			echo "PASS $case"
		else
			bad "$case" "the running policy judges no more reads ($before, then $after)"
		fi
	fi
}

# An agent that must go on without what was bad, and say so; it ends in order, when told to.
carries_on() { # case, words, name, options...
	local case=$1 words=$2 name=$3 code
	shift 3
	timeout -s TERM -k 10 5 "$agent" --policy linnos --state-dir "$dir/state-$name" --run-dir "$dir/run-$name" \
		--bpffs-dir "$pins-$name" --quiet "$@" >"$dir/said" 2>&1 </dev/null
	code=$?
	if [[ $code -ne 124 ]] || grep -q 'No disk had' "$dir/said"; then
		bad "$case" "exit code $code: it did not run until it was stopped"
	elif ! grep -E -- "$words" "$dir/said" | grep -qE '\.$'; then
		bad "$case" "no sentence says '$words'"
	elif [[ -e $pins-$name ]]; then
		bad "$case" "it left pins"
	elif [[ $(standing) != "$stands" ]]; then
		bad "$case" "the running policy changed"
	else
		echo "PASS $case"
	fi
}

[[ $(id -u) -eq 0 ]] || skip "needs root"
mkdir "$dir/bin"
cp -r build/semantos-agent build/semantosctl build/policies build/bpf "$dir/bin/" || skip "nothing is built"
[[ -r /sys/kernel/btf/vmlinux ]] || skip "this kernel has no BTF"
dd if=/dev/zero of="$dir/read" bs=1M count=16 conv=fsync 2>/dev/null
dd if="$dir/read" of=/dev/null bs=4k iflag=direct count=1 2>/dev/null ||
	skip "the build folder's file system has no O_DIRECT"
while dd if="$dir/read" of=/dev/null bs=4k iflag=direct; do :; done 2>/dev/null &
load=$!

# ---- models ----
echo '{"dense/kernel:0": [[-1, 1]], "dense/bias:0": [2, 0]}' >"$dir/net.json"
"$ctl" model import --encoder pending-only --slow-threshold 500 --name good "$dir/net.json" -o "$dir/good" >/dev/null ||
	skip "no model could be made"
bytes=$(stat -c %s "$dir/good")
head -c $((bytes / 2)) "$dir/good" >"$dir/truncated"
cp "$dir/good" "$dir/oversized" && truncate -s 65M "$dir/oversized"
{ head -c $((bytes - 4)) "$dir/good"; printf '\000\000\300\177'; } >"$dir/nan"
LC_ALL=C sed 's/\[2,1\]/[1,2]/' "$dir/good" >"$dir/shape"
: >"$dir/empty"
cmp -s "$dir/good" "$dir/shape" && skip "the model could not be bent"

# ---- policies ----
mkdir "$dir/policies"
policy() { # name: a copy of linnos
	mkdir "$dir/policies/$1"
	sed "s/^name = linnos/name = $1/" "$dir/bin/policies/linnos/policy.conf" >"$dir/policies/$1/policy.conf"
	cp "$dir/bin/policies/linnos/linnos.bpf.o" "$dir/policies/$1/"
}
policy unknown_key && sed -i 's/^hidden = .*/&\nhiden = 3/' "$dir/policies/unknown_key/policy.conf"
policy bad_value && sed -i 's/^ttl_ms = .*/ttl_ms = soon/' "$dir/policies/bad_value/policy.conf"
policy no_object && rm "$dir/policies/no_object/linnos.bpf.o"
policy half_object && truncate -s 1000 "$dir/policies/half_object/linnos.bpf.o"
policy text_object && echo hello >"$dir/policies/text_object/linnos.bpf.o"
policy other_wire
mkdir -p "$dir/tree" && cp -r bpf policies "$dir/tree" && ln -s "$PWD/vmlinux.h" "$dir/tree/vmlinux.h"
sed -i 's/^#define SEMANTOS_WIRE_VERSION 1$/#define SEMANTOS_WIRE_VERSION 9/' "$dir/tree/bpf/wire.h"
timeout 60 clang-19 -std=gnu11 -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -I"$dir/tree" \
	-idirafter /usr/include/x86_64-linux-gnu -c -o "$dir/policies/other_wire/linnos.bpf.o" \
	"$dir/tree/policies/linnos/linnos.bpf.c" 2>"$dir/said" || rm -rf "$dir/policies/other_wire"
path=$dir/bin/policies:$dir/policies

# ---- the agent that must not notice ----
mkdir "$dir/run" # its socket must be reachable for all, so that the agent itself says no
chmod 755 "$dir"
# the hook that counts system calls comes and goes, and descriptors are counted
"$agent" --policy linnos --policy-path "$path" --state-dir "$dir/state" --run-dir "$dir/run" --bpffs-dir $pins --quiet --no-syscall-rate \
	--rows 1000000 \
	>"$dir/agent.log" 2>&1 </dev/null &
main=$!
for _ in $(seq 50); do
	sleep 0.2
	device=$(status | grep -oE '"name": ?"[^"]*"' | grep -v linnos | head -n 1 | cut -d'"' -f4)
	[[ -z ${device:-} ]] || break
done
[[ -n ${device:-} ]] || { cat "$dir/agent.log"; skip "this machine has no disk to follow"; }
"$ctl" --socket "$dir/run/agent.sock" model use linnos "$device" "$dir/good" >"$dir/said" 2>&1 ||
	{ cat "$dir/said"; exit 1; }
for _ in $(seq 50); do
	sleep 0.2
	n=$(evaluated)
	[[ ${n:-0} -eq 0 ]] || break
done
[[ ${n:-0} -gt 0 ]] || { cat "$dir/agent.log"; skip "no read of $device is predicted"; }
stands=$(standing)
use() { "$ctl" --socket "$dir/run/agent.sock" model use linnos "$device" "$1"; }
attach() { "$ctl" --socket "$dir/run/agent.sock" attach "$1"; }

expect "a truncated model, handed in" 6 'truncated|ends|cut|header|bytes' use "$dir/truncated"
expect "an oversized model, handed in" 6 '67108864' use "$dir/oversized"
expect "a model with a NaN, handed in" 6 'NaN|infinit|finite' use "$dir/nan"
expect "a model of another shape, handed in" 6 'shape|input|output|bias' use "$dir/shape"
expect "an empty model, handed in" 6 '.' use "$dir/empty"
expect "a model that is not there" 10 'nowhere' use "$dir/nowhere"
for kind in truncated oversized nan shape empty; do
	expect "model show of one that is $kind" 6 '.' "$ctl" model show "$dir/$kind"
done
expect "an unknown key in a manifest" 6 "hiden" attach unknown_key
expect "a malformed value in a manifest" 6 'ttl_ms' attach bad_value
expect "a missing BPF object" 10 'cannot be opened' attach no_object
expect "half a BPF object" 6 'half_object' attach half_object
expect "a text file as BPF object" 6 'text_object' attach text_object
if [[ -d $dir/policies/other_wire ]]; then
	expect "a BPF object of another wire version" 6 'wire format 9' attach other_wire
else
	echo "SKIP a BPF object of another wire version: clang-19 could not build one"
fi
expect "no such policy" 10 "No policy" attach nosuch
expect "an agent with an unknown key" 6 'hiden' other key --policy-path "$path" --policy unknown_key
expect "an agent with another wire version" 6 'wire format 9' other wire --policy-path "$path" --policy other_wire

# ---- the command line: each command answers a wrong one as JSON when asked for it, with the usage code ----
is_json() { grep -qE '^\{"ok":false,"code":2,"error":"([^"\\]|\\.)+\."\}$'; }
commands=$("$ctl" --help | awk '/^  / { print $1 }')
[[ $(wc -w <<<"$commands") -ge 19 ]] || bad "commands" "semantosctl --help lists too few"
for command in '' nonsense $commands 'model use' 'model show' 'model import'; do
	# shellcheck disable=SC2086 # two words of a command are two
	"$ctl" $command --json --nonsense >"$dir/said" 2>/dev/null
	code=$?
	if [[ $code -ne 2 ]]; then
		bad "semantosctl $command with a wrong option" "exit code $code, expected 2"
	elif ! is_json <"$dir/said"; then
		bad "semantosctl $command with a wrong option" "no JSON object with ok and error"
	else
		n_commands=$((${n_commands:-0} + 1))
	fi
done
echo "PASS $n_commands commands with a wrong option"
expect "an answer that cannot be written" 9 'standard output' bash -c "'$ctl' probe >/dev/full"
expect "an agent's version that cannot be written" 9 'standard output' bash -c "'$agent' --version >/dev/full"
unwritten() {
	timeout --preserve-status -s TERM -k 10 3 "$agent" --policy linnos --json --quiet --state-dir "$dir/state-out" \
		--run-dir "$dir/run-out" --bpffs-dir "$pins-out" >/dev/full
}
expect "an agent's result that cannot be written" 9 'standard output' unwritten
expect "an agent with a wrong option" 2 'no option' "$agent" --policy linnos --nonsense
expect "an agent without a policy's name" 2 'names of 1 to' "$agent" --policy ''
expect "an agent whose policies lie nowhere" 6 'is missing' other nowhere --policy linnos --policy-path "$dir/nowhere"

# ---- who and how often ----
expect "a second agent" 5 "process $main" "$agent" --policy linnos --run-dir "$dir/run" --state-dir "$dir/state" \
	--bpffs-dir $pins
nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
if nobody "$agent" --version >/dev/null 2>&1; then
	expect "an agent without root" 4 'root' nobody "$agent" --policy linnos --run-dir "$dir/run-nobody"
	chmod 755 "$dir/run"
	mkdir -m 700 "$dir/closed"
	expect "references that nobody may look for" 4 "^semantosctl: $dir/closed/x cannot be opened: Permission denied\.\$" nobody "$ctl" \
		learn --list --references "$dir/closed/x"
	expect "a change asked for by nobody" 4 'semantos-admin|root' nobody "$ctl" \
		--socket "$dir/run/agent.sock" mode linnos enforce
else
	echo "SKIP an agent without root: this tree cannot be read by another user"
fi

# ---- the socket ----
cat >"$dir/send.c" <<-'END'
	#include <stdio.h>
	#include <string.h>
	#include <sys/socket.h>
	#include <sys/time.h>
	#include <sys/un.h>
	#include <unistd.h>
	/* Send standard input to a socket, wait a second for what it answers. */
	int main(int argc, char **argv)
	{
		struct sockaddr_un to = { .sun_family = AF_UNIX };
		struct timeval second = { 1, 0 };
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		char buffer[65536];
		ssize_t n;

		strncpy(to.sun_path, argv[argc - 1], sizeof(to.sun_path) - 1);
		if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
			return 1;
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));
		while ((n = read(0, buffer, sizeof(buffer))) > 0)
			if (send(fd, buffer, (size_t)n, MSG_NOSIGNAL) != n)
				break;
		while (read(fd, buffer, sizeof(buffer)) > 0)
			;
		puts("The bytes were sent.");
		return 0;
	}
END
if gcc -O1 -o "$dir/send" "$dir/send.c" 2>"$dir/said"; then
	head -c 300000 /dev/urandom >"$dir/noise"
	{ printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'; head -c 100000 /dev/urandom; } >"$dir/noise-http2"
	printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' >"$dir/noise-http1"
	send() { timeout 20 "$dir/send" "$dir/run/agent.sock" <"$dir/$1"; }
	for kind in noise noise-http2 noise-http1; do
		sends() { send "$kind"; }
		expect "$kind to the socket" 0 'were sent' sends
	done
fi
if command -v curl >/dev/null; then
	printf '\000\000\000\000\005\377\377\377\377\377' >"$dir/frame"
	call() {
		curl -s -m 10 --http2-prior-knowledge --unix-socket "$dir/run/agent.sock" -H 'content-type: application/grpc' \
			-H 'te: trailers' --data-binary @"$dir/frame" -D - -o /dev/null http://x/semantos.v1.Agent/SetMode
	}
	call >"$dir/said" 2>&1
	if grep -q '^grpc-status: 3' "$dir/said" && [[ $(standing) == "$stands" ]]; then
		echo "PASS a call whose message is no protobuf"
	else
		bad "a call whose message is no protobuf" "it was not answered with INVALID_ARGUMENT"
	fi
else
	echo "SKIP a call whose message is no protobuf: curl is not installed"
fi

# ---- the state folder ----
expect "a run folder that is a file" 9 'agent.lock cannot be opened' other file --policy linnos --run-dir "$dir/good"
private() { unshare -m --propagation private bash -c "$1"; }
if private true 2>/dev/null; then
	mkdir "$dir/state-ro" "$dir/state-inodes" "$dir/state-full"
	read_only() {
		private "mount -t tmpfs -o ro none $dir/state-ro && exec $agent --policy linnos --quiet --state-dir $dir/state-ro \
			--run-dir $dir/run-ro --bpffs-dir $pins-ro"
	}
	expect "a read-only state folder (a mount of its own)" 9 'Read-only' read_only
	no_inode() {
		private "mount -t tmpfs -o nr_inodes=1 none $dir/state-inodes && exec timeout 20 $agent --policy linnos --quiet \
			--state-dir $dir/state-inodes --run-dir $dir/run-inodes --bpffs-dir $pins-inodes"
	}
	expect "a state folder on a full disk (a mount of its own)" 9 'is not attached: The state folder' no_inode
	mkdir "$dir/over"
	overlay() {
		private "mount -t tmpfs none $dir/over && cd $dir/over && mkdir l u w m && mount -t overlay none -o \
			lowerdir=l,upperdir=u,workdir=w m && exec timeout 20 $agent --policy linnos --quiet --exercise $dir/over/m \
			--state-dir $dir/state-over --run-dir $dir/run-over --bpffs-dir $pins-over"
	}
	expect "a load on an overlay (a mount of its own)" 9 'an overlay.*name a folder on ext4' overlay
	expect "a load in memory" 9 'tmpfs.*name a folder on ext4' other memory --policy linnos --exercise /dev/shm
	# Full only once it runs: what it learned is used, and that it could not be kept is said.
	policy quick && sed -i -e 's/^min_seconds = .*/min_seconds = 1/' -e 's/^epochs = .*/epochs = 1/' \
		"$dir/policies/quick/policy.conf"
	private "mount -t tmpfs -o size=8k none $dir/state-full && mkdir $dir/state-full/quick && head -c 8192 /dev/zero \
		>$dir/state-full/full; exec $agent --policy quick --policy-path $path --quiet --rows 500 --learn-timeout 60 \
		--duration 1 --state-dir $dir/state-full --run-dir $dir/run-full --bpffs-dir $pins-full" \
		>"$dir/said" 2>&1 </dev/null
	code=$?
	if [[ $code -eq 0 ]] && grep -q 'could not be saved: .*\.$' "$dir/said" && [[ ! -e $pins-full ]]; then
		echo "PASS a disk that fills while it learns (a mount of its own)"
	else
		bad "a disk that fills while it learns" "exit code $code"
	fi

	# ---- the kernel ----
	no_btf() {
		private "mount -t tmpfs none /sys/kernel/btf && exec $agent --policy linnos --quiet --state-dir $dir/state-btf \
			--run-dir $dir/run-btf --bpffs-dir $pins-btf"
	}
	expect "a kernel without BTF (simulated: its folder is covered)" 3 'no BTF' no_btf
else
	echo "SKIP full and read-only state folders, a kernel without BTF: no private mounts here"
fi
old() { setarch x86_64 --uname-2.6 "$@"; }
if [[ $(old uname -r) == 2.6.* ]]; then
	expect "an old kernel (simulated: it says that it is 2.6)" 3 'too old' old "$agent" --policy linnos --quiet \
		--state-dir "$dir/state-old" --run-dir "$dir/run-old" --bpffs-dir "$pins-old"
fi
expect "no BPF file system" 3 'No bpf file system' other bpffs --policy linnos --bpffs-dir "$dir/nobpf/x"

# ---- a saved model that went bad: learns anew, and says so ----
timeout -s TERM -k 10 4 "$agent" --policy linnos --state-dir "$dir/state-saved" --run-dir "$dir/run-saved" \
	--bpffs-dir "$pins-saved" --quiet >"$dir/said" 2>&1 </dev/null
saved=$(find "$dir/state-saved/linnos" -name '*.rows' 2>/dev/null | head -n 1)
if [[ -n $saved ]]; then
	for kind in truncated oversized nan shape; do
		cp "$dir/$kind" "${saved%.rows}.safetensors"
		carries_on "a saved model that is $kind" 'the saved model is refused, learning anew' saved
	done
	rm -f "${saved%.rows}.safetensors"
	head -c 1000 /dev/urandom >"$saved"
	carries_on "saved rows that are noise" 'rows saved earlier are refused' saved
else
	bad "a saved model that went bad" "no rows were saved, so the name of its file is not known"
fi

# ---- a terminal that is closed ends the agent as Ctrl-C does ----
kill -HUP "$main"
wait "$main"
code=$?
main=""
tail -n 3 "$dir/agent.log" >"$dir/said"
if [[ $code -eq 0 && ! -e $pins ]]; then
	echo "PASS a terminal that is closed under the agent"
else
	bad "a terminal that is closed under the agent" "exit code $code; pins: $(find $pins -type f 2>/dev/null | wc -l)"
fi

exit $failed
