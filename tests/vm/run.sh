#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh - boots stock kernels in QEMU and runs tests/vm/tests/NN-name.sh in each, in order, in one boot per kernel.
# Tests that say "# clock: icount" share a second boot whose virtual time is deterministic (and which has one CPU).
# results: lines
# timeout: 4800
#
# Adding a test is adding one file; initramfs.sh says what its first lines may ask for, init.sh how it is judged.
# A kernel that died of a breakpoint that it had just taken away ("Oops: int3") is run once more with one thread for all
# CPUs: it patches its own code (sched_ext does when a scheduler comes or goes), and the emulator's threads may run what stood
# there before. A NOTE says so. What is ours cannot cause it, and with one thread it cannot happen.
# Every machine has a physical disk, vda: 64 MiB of zeros that forgets what is written.
# A test that says "# required: 6.12" fails on that series where it would be skipped; with "# elsewhere: soak" other series
# run it with full counts only. SEMANTOS_SOAK=1 reaches the tests.
# A boot that dies before it reaches its init is tried once more. Works without KVM. Must change nothing on the host.
#
# Usage: run.sh [--only GLOB | --named NAMES] [--kernel NAME:RELEASE:DIR] [--icount | --plain] [--append WORDS] [--verbose]
#               [SERIES...]    default: 6.1 6.12 6.18 7
#   --named: these tests, each of which must have run, and passed, on 6.12. --kernel: this one, laid out as kernels.sh does,
#   and judged as 6.12. --icount, --plain: only the boots of that clock. --append: more words for the command line.
# SEMANTOS_SOAK=1 is passed on to the tests, which then take twenty times as long.
# VM_FACTOR=N gives tests N times their time (3: what they say holds of a quiet machine, and two machines run beside each other),
# VM_MEMORY=MIB the machine its memory: for kernels that are slow and large.
# VM_SMP=N gives it so many CPUs where time is not virtual.
# VM_TESTS=DIR takes the tests from another folder. Run from the root of the tree, after make.
# Output: PASS|FAIL|SKIP SERIES NAME lines, and a last line of totals. Logs: build/vm/SERIES[-icount].{console,report}
# Exit: 0 all passed; 1 something failed, or 6.12 could not be had; 77 the host lacks QEMU or busybox.

set -uo pipefail
here=tests/vm
soak=${SEMANTOS_SOAK:+SEMANTOS_SOAK=1} # the kernel hands words of this form to its init as environment
only='*' named='' own='' append='' clocks="plain icount" verbose=0 required=6.12
while [[ ${1-} == --* ]]; do
	case $1 in
	--only) only=$2; shift ;;
	--named) named=" $2 "; shift ;;
	--kernel) own=$2; shift ;;
	--icount) clocks=icount ;;
	--plain) clocks=plain ;;
	--verbose) verbose=1 ;;
	--append) append=$2; shift ;;
	*) sed -n 's/^# Usage: //p' "$0"; exit 2 ;;
	esac
	shift
done
series=("${@%.x}")
[[ $# -gt 0 ]] || series=(6.1 6.12 6.18 7)
factor=${VM_FACTOR:-3}
export VM_FACTOR=$factor
[[ -z ${SEMANTOS_SOAK-} ]] || { factor=$((factor * 20)) append+=" SEMANTOS_SOAK=1"; }
boot_seconds=$((90 * VM_FACTOR)) # until INIT; 5-14 s are usual
passed=0 failed=0 skipped=0

pass() { passed=$((passed + 1)); echo "PASS $1"; }
fail() { failed=$((failed + 1)); echo "FAIL $1"; }
skip() { skipped=$((skipped + 1)); echo "SKIP $1"; }

for program in qemu-system-x86_64 busybox cpio depmod; do
	PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || {
		echo "$program is not installed; install qemu-system-x86, busybox-static, cpio and kmod"
		exit 77
	}
done

clock_of() { head -n 25 "$1" | sed -nE 's/^# clock: *([a-z]+).*/\1/p' | grep . || echo plain; }
required_on() { # test, series
	[[ -z $named || ($2 != "$required" && $2 != "${own%%:*}") ]] || return 0
	head -n 25 "$1" | grep -qE "^# required:.* $2( |\$)"
}
chosen() { # test
	local name
	name=$(basename "$1" .sh)
	# shellcheck disable=SC2053 # a glob is meant
	[[ -n $named && $named == *" $name "* ]] || [[ -z $named && $name == $only ]]
}
# "# elsewhere: soak": on kernels other than the required ones only with full counts, or when it is named.
here_too() { # test, series
	[[ -n $soak || -n $named || $2 == "$required" || $2 == "${own%%:*}" ]] || required_on "$1" "$2" || ! head -n 25 "$1" | grep -q '^# elsewhere: soak'
}
seconds_of() { head -n 25 "$1" | sed -nE 's/^# timeout: *([0-9]+).*/\1/p' | grep . || echo 60; }

# Boot once. The report and the console are left in files; 0 = the machine came to its init.
boot() { # folder of the kernel, initramfs, log prefix, clock, seconds for all
	local accel=(-accel "${tcg:-tcg}") smp=${VM_SMP:-2} pid waited=0
	if [[ $4 == icount ]]; then
		accel+=(-icount "shift=1,sleep=off")
		smp=1
	elif [[ -w /dev/kvm ]] && grep -qwE 'vmx|svm' /proc/cpuinfo; then
		accel=(-accel kvm "${accel[@]}")
	fi
	: >"$3.report"
	timeout -k 5 "$5" qemu-system-x86_64 "${accel[@]}" -cpu max -smp "$smp" -m "${VM_MEMORY:-1024}" -display none -nic none \
		-blockdev driver=null-co,node-name=disk,size=67108864,read-zeroes=on \
		-device virtio-blk-pci,drive=disk,serial=lab0 -monitor none -no-reboot -kernel "$1/vmlinuz" -initrd "$2" -serial "file:$3.console" \
		-serial "file:$3.report" -append \
		"console=ttyS0 quiet panic=-1 log_buf_len=4M random.trust_cpu=on rcupdate.rcu_cpu_stall_timeout=60 $soak $append" \
		>"$3.qemu" 2>&1 </dev/null &
	pid=$!
	trap 'kill "$pid" 2>/dev/null; exit 143' TERM INT
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.5
		waited=$((waited + 1))
		if [[ $waited -eq $((boot_seconds * 2)) ]] && ! grep -q '^INIT ' "$3.report"; then
			kill "$pid"
		fi
	done
	wait "$pid"
	trap - TERM INT
	grep -q '^INIT ' "$3.report"
}

# Judge each test by the report of its boot; one that is not in it did not get there.
judge() { # series, log prefix, test...
	local kernel=$1 log=$2 test name line
	shift 2
	for test; do
		name=$(basename "$test" .sh)
		sed -n "s/^OUT $name: /  | /p" "$log.report" >"$log.output"
		line=$(grep -E "^(PASS|SKIP|FAIL) $name(:| |\$)" "$log.report" | tail -n 1)
		case $line in
		PASS*) pass "$kernel $name (${line##* } s)" ;;
		SKIP*)
			if required_on "$test" "$kernel"; then
				fail "$kernel $name must run, but:${line#*:}"
			else
				skip "$kernel $name:${line#*:}"
			fi ;;
		FAIL*) fail "$kernel $name:${line#*:}" ;;
		*)
			if grep -q "^BEGIN $name\$" "$log.report"; then
				fail "$kernel $name: the machine died or hung in it ($log.console)"
				{ grep -m 1 -A 12 -E 'BUG|Oops|panic|fault' "$log.console" || tail -n 12 "$log.console"; } |
					tr -d '\r' | sed 's/^/  | /'
			else
				fail "$kernel $name: the machine did not get there ($log.console)"
			fi ;;
		esac
		cat "$log.output"
		rm -f "$log.output"
	done
}

run() { # series, release, folder, clock
	local kernel=$1 release=$2 dir=$3 clock=$4 log image test tests=() seconds=60 attempt
	for test in "${VM_TESTS:-$here/tests}"/[0-9][0-9]-*.sh; do
		if chosen "$test" && here_too "$test" "$kernel" && [[ $(clock_of "$test") == "$clock" ]]; then
			tests+=("$test")
			seconds=$((seconds + factor * $(seconds_of "$test")))
		fi
	done
	[[ ${#tests[@]} -gt 0 ]] || return
	log=build/vm/$kernel
	[[ $clock == plain ]] || log+=-icount
	# Virtual seconds of a busy icount machine take longer than real ones.
	[[ $clock == plain ]] || seconds=$((seconds * 3))
	image=$log.cpio
	"$here/initramfs.sh" "$dir" "$release" "$image" "${tests[@]}" || {
		fail "$kernel ($clock): its root could not be built"
		return
	}
	for attempt in 1 2; do
		if boot "$dir" "$image" "$log" "$clock" $((seconds + boot_seconds)); then
			break
		fi
		echo "NOTE $kernel: boot $attempt died before its init ($log.console)"
	done
	if [[ $clock == plain ]] && grep -q 'Oops: int3' "$log.console"; then
		mv "$log.console" "$log.console.int3"
		echo "NOTE $kernel: died of a breakpoint of its own that was gone already ($log.console.int3), which emulated CPUs do; once more, with one thread"
		tcg=tcg,thread=single boot "$dir" "$image" "$log" "$clock" $((2 * seconds + boot_seconds))
	fi
	[[ $verbose -eq 0 ]] || cat "$log.console"
	echo "NOTE $release ($clock): $(($(wc -c <"$image") / 1048576)) MiB root, init after $(sed -n 's/^INIT .* //p' \
		"$log.report") s, end after $(sed -n 's/^END //p' "$log.report") s"
	judge "$kernel" "$log" "${tests[@]}"
}

mkdir -p build/vm
begin=$SECONDS
for name in $named; do
	[[ -f ${VM_TESTS:-$here/tests}/$name.sh ]] || fail "there is no test $name"
done
if [[ -n $own ]]; then
	series=("${own%%:*}")
	tr : '\t' <<<"$own" >build/vm/kernels
else
	"$here/kernels.sh" "${series[@]}" >build/vm/kernels || exit 1
fi
while IFS=$'\t' read -r kernel release dir; do
	if [[ $release != - ]]; then
		"$here/modules.sh" "$release" "$dir" || failed=$((failed + 1)) # it has said what failed
	elif [[ $kernel == "$required" ]]; then
		fail "$kernel: $dir; this kernel must run"
	else
		skip "$kernel: $dir"
	fi
done <build/vm/kernels

boots() { # clock
	local kernel release dir
	while IFS=$'\t' read -r kernel release dir; do
		[[ $release == - ]] || run "$kernel" "$release" "$dir" "$1"
	done <build/vm/kernels
}

# A machine with virtual time keeps one CPU busy and does not mind waiting for it, so those boots go on beside the others.
if [[ $clocks == *" "* ]]; then
	boots icount >build/vm/icount.lines 2>&1 &
	beside=$!
	trap 'kill "$beside" 2>/dev/null' EXIT
	boots plain
	wait "$beside"
	trap - EXIT
	cat build/vm/icount.lines
	passed=$((passed + $(grep -c '^PASS ' build/vm/icount.lines)))
	failed=$((failed + $(grep -c '^FAIL ' build/vm/icount.lines)))
	skipped=$((skipped + $(grep -c '^SKIP ' build/vm/icount.lines)))
else
	boots "$clocks"
fi
echo "$passed passed, $failed failed, $skipped skipped on ${series[*]} in $((SECONDS - begin)) s"
[[ $failed -eq 0 && $passed -gt 0 ]]
