#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# systemd.sh - runs as a service of the machine that tests/e2e/systemd.sh boots, and of no other: it kills, stops and restarts
# the unit semantos-agent and looks at the settings. One line a behaviour on the second serial port; every wait is bounded.

set -uo pipefail
[[ $(cat /etc/hostname) == semantos-lab ]] || { echo "this is for the test machine only"; exit 2; }
exec >/dev/ttyS1 2>&1
unit=semantos-agent.service
swappiness=/proc/sys/vm/swappiness ra=/sys/block/vda/queue/read_ahead_kb thp=/sys/kernel/mm/transparent_hugepage/enabled
group=/sys/fs/cgroup/system.slice/$unit

finish() {
	echo END
	sync
	systemctl poweroff --force --force
}
trap finish EXIT
pass() { echo "PASS $*"; }
fail() {
	echo "FAIL $*"
	{ semantosctl history | tail -n 6; journalctl -b -u $unit -o cat --no-pager | tail -n 15; cat /tmp/answer; } 2>&1 |
		sed 's/^/  | /'
	exit 1
}
# A process of the unit by its name, while it is there.
process() {
	local pid
	while read -r pid; do
		[[ $(cat "/proc/$pid/comm" 2>/dev/null) != "$1" ]] || echo "$pid"
	done <$group/cgroup.procs 2>/dev/null
}
state() { systemctl show -p "$1" --value $unit; }
ctl() { timeout 20 semantosctl "$@" >/tmp/answer 2>&1; }
until_true() { # seconds, what
	local until=$((SECONDS + $1))
	while [[ $SECONDS -lt $until ]]; do
		! "${@:2}" || return 0
		sleep 0.1
	done
	return 1
}
reads() { # file, value; a choice is the word in brackets
	[[ $(sed 's/.*\[\(.*\)\].*/\1/' "$1") == "$2" ]]
}
answers() { ctl status; }
has_policy() { semantosctl status --json | grep -q '"linnos"'; }
has_keeper() { [[ $(process semantos-keeper) ]]; }
all_read() { # the four of one change
	reads $swappiness "$1" && reads $ra "$2" && reads $thp "$3" && reads /sys/fs/cgroup/lab.slice/cpu.weight "$4"
}
is() { [[ $(state "$1") == "$2" ]]; }
start() {
	timeout 120 systemctl start $unit || fail "$1: the unit does not start"
	until_true 60 answers || fail "$1: the agent does not answer"
}
# A change that the agent must hold. An emulated machine may stop for so long that the keeper thinks the agent silent.
hold() { # what for, file, value, knob=value...
	local what=$1 file=$2 value=$3
	shift 3
	for _ in 1 2 3; do
		ctl apply "$@" --because "the test asks" || fail "$what: not applied: $*"
		id=$(sed -n 's/^Change \([0-9]*\) .*/\1/p' /tmp/answer)
		reads "$file" "$value" && return
		semantosctl explain "$id" | grep -q "the agent is silent" || break
	done
	fail "$what: $file reads $(cat "$file"), not $value"
}
old_swappiness=$(cat $swappiness) old_ra=$(cat $ra) old_thp=$(sed 's/.*\[\(.*\)\].*/\1/' $thp)
echo "NOTE $(uname -r), systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p')," \
	"up for $(cut -d ' ' -f 1 /proc/uptime) s"

# ---- it runs, and is confined ----
start "the first start"
agent=$(state MainPID)
[[ $agent -gt 0 && $(cat "/proc/$agent/comm") == semantos-agent ]] || fail "the main process of the unit is not the agent"
sleep 3
[[ $(state MainPID) == "$agent" && $(state NRestarts) == 0 ]] || fail "the unit does not stay up"
# CAP_SYS_ADMIN 21, CAP_PERFMON 38, CAP_BPF 39
[[ $(awk '/^CapBnd/ { print $2 }' "/proc/$agent/status") == 000000c000200000 ]] || fail "the capabilities are others than the unit's"
[[ $(grep -cE '^(NoNewPrivs:.1|Seccomp:.2)$' "/proc/$agent/status") == 2 ]] || fail "the agent is not confined"
inside() { nsenter -t "$agent" -m -- sh -c "$1" 2>/dev/null; }
for path in /proc/sys/kernel/panic /proc/sys/fs/file-max /sys/kernel/rcu_expedited /etc/hostname /usr/lib/os-release; do
	! inside "cat $path >/tmp/was && cat /tmp/was >$path" || fail "the unit lets $path be written"
done
until_true 60 has_policy || fail "the policy of the unit is not attached"
pass "the unit starts under its hardening, its policy is attached"

# ---- all kinds of settings that it promises, and the keeper's priority ----
mkdir -p /sys/fs/cgroup/lab.slice && echo +cpu >/sys/fs/cgroup/cgroup.subtree_control
hold "each kind" $swappiness 11 sysctl:vm.swappiness=11 sysfs:block/vda/queue/read_ahead_kb=512 \
	sysfs:kernel/mm/transparent_hugepage/enabled=never cgroup:lab.slice/cpu.weight=222
all_read 11 512 never 222 || fail "not all of the change stands"
keeper=$(process semantos-keeper)
[[ $keeper ]] || fail "there is no keeper in the unit's control group"
# 40: real-time priority, 41: policy, 2 = SCHED_RR
[[ $(awk '{ print $40, $41 }' "/proc/$keeper/stat") == "1 2" ]] || fail "the keeper has no real-time priority under the unit"
[[ $(awk '/^VmLck/ { print $2 }' "/proc/$keeper/status") -gt 0 ]] || fail "the keeper's memory is not locked under the unit"
ctl rollback "$id" || fail "not rolled back"
all_read "$old_swappiness" "$old_ra" "$old_thp" 100 || fail "the old values do not stand after rollback"
hold "by ioctl" $ra 1024 blkra:vda=2048
ctl rollback "$id" || fail "BLKRASET is not rolled back"
reads $ra "$old_ra" || fail "read-ahead reads $(cat $ra) after rollback"
! ctl apply "sched:$$/nice=5" --because "the test asks" || fail "a process outside the unit was changed without the drop-in"
pass "sysctl, sysfs, cgroup and ioctl are changed and rolled back; the keeper is real-time 1 with its memory locked"

# ---- agent and keeper are killed: ExecStopPost undoes, and the unit comes again ----
hold "both killed" $swappiness 12 sysctl:vm.swappiness=12
kill -STOP "$(process semantos-keeper)" # so that it cannot be the one who undoes it
systemctl kill -s KILL $unit || fail "systemctl kill failed"
until_true 20 reads $swappiness "$old_swappiness" || fail "ExecStopPost did not undo what both left: $(cat $swappiness)"
until_true 60 is NRestarts 1 || fail "the unit was not restarted after it was killed"
until_true 60 answers || fail "the restarted agent does not answer"
semantosctl explain "$id" | grep -q 'rolled-back: .*the agent that made it is gone' || fail "change $id is not explained as undone"
pass "agent and keeper killed: ExecStopPost undid it, and the unit was started anew"

# ---- the agent alone is killed ----
hold "the agent killed" $swappiness 13 sysctl:vm.swappiness=13
systemctl kill --kill-whom=main -s KILL $unit
until_true 20 reads $swappiness "$old_swappiness" || fail "not undone after the agent was killed"
until_true 60 is NRestarts 2 || fail "the unit was not restarted"
until_true 60 answers || fail "the restarted agent does not answer"
pass "the agent killed: undone, and started anew"

# ---- systemctl stop ----
hold "stop" $swappiness 14 sysctl:vm.swappiness=14
timeout 60 systemctl stop $unit || fail "systemctl stop failed"
reads $swappiness "$old_swappiness" || fail "systemctl stop leaves the change in force"
[[ $(state Result) == success && $(state ActiveState) == inactive ]] || fail "the unit ended as $(state Result), $(state ActiveState)"
[[ ! -e $group || -z $(cat $group/cgroup.procs) ]] || fail "something of the unit still runs"
pass "systemctl stop: undone before it ended, nothing is left running"

# ---- an upgrade to an agent that does not start ----
start "before the bad upgrade"
hold "bad upgrade" $swappiness 16 sysctl:vm.swappiness=16
timeout 60 semantosctl shutdown --upgrade >/tmp/answer 2>&1 || fail "the shutdown for an upgrade was refused"
until_true 60 is ActiveState inactive || fail "the unit did not end for the upgrade"
reads $swappiness 16 || fail "the upgrade lost the change"
mkdir -p /run/systemd/system/$unit.d
printf '[Service]\nExecStart=\nExecStart=/usr/sbin/semantos-agent --no-such-option\n' >/run/systemd/system/$unit.d/bad.conf
systemctl daemon-reload
timeout 60 systemctl start $unit
until_true 20 reads $swappiness "$old_swappiness" || fail "what was left to an agent that does not start is still in force"
is ActiveState failed || fail "the agent that does not start is $(state ActiveState)"
rm -r /run/systemd/system/$unit.d
systemctl daemon-reload
systemctl reset-failed $unit
pass "an upgrade to an agent that does not start: undone"

# ---- restart for an upgrade ----
start "before the upgrade"
# As above: what the keeper undid because an emulated machine kept the next agent from being heard is no loss of the upgrade.
for _ in 1 2 3; do
	hold "upgrade" $swappiness 15 sysctl:vm.swappiness=15
	timeout 60 semantosctl shutdown --upgrade >/tmp/answer 2>&1 || fail "the shutdown for an upgrade was refused"
	until_true 60 is ActiveState inactive || fail "the unit did not end for the upgrade"
	sleep 7 # longer than RestartSec
	is ActiveState inactive || fail "the unit was restarted by itself"
	reads $swappiness 15 || fail "the upgrade lost the change, or ExecStopPost undid it"
	start "after the upgrade"
	! reads $swappiness 15 || break
	semantosctl explain "$id" | grep -q "the agent is silent" || break
	echo "NOTE an upgraded agent was not heard for 0.4 s on this emulated machine"
done
reads $swappiness 15 || fail "the next agent undid what was left to it"
until_true 20 has_keeper || fail "what the upgrade left has no keeper"
timeout 60 systemctl stop $unit || fail "systemctl stop failed"
reads $swappiness "$old_swappiness" || fail "what an upgrade left is not undone at the next stop"
timeout 30 semantosctl audit >/tmp/answer 2>&1 || fail "the journal is not intact"
pass "shutdown --upgrade and systemctl start: the change stayed, the next agent held and undid it; the journal is whole"

# ---- /metrics by the drop-in of docs/telemetry.md: on loopback, and nothing else ----
# A GET of this port; the answer is in /tmp/answer.
get() { # address
	timeout 10 bash -s "$1" >/tmp/answer 2>&1 <<-'GET'
		exec 3<>"/dev/tcp/$1/9464" || exit 1
		printf 'GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
		cat <&3
	GET
}
serves() { get 127.0.0.1 && grep -q '^semantos_' /tmp/answer; }
mkdir -p /run/systemd/system/$unit.d
cp /usr/local/share/metrics.conf /run/systemd/system/$unit.d/metrics.conf
systemctl daemon-reload
start "with the drop-in for /metrics"
until_true 60 serves || fail "nothing is served on 127.0.0.1:9464"
grep -q '^HTTP/1.1 200' /tmp/answer || fail "/metrics does not answer 200"
series=$(grep -c '^semantos_' /tmp/answer)
until_true 60 has_policy || fail "the policy is not attached beside /metrics"
ip address add 192.0.2.1/32 dev lo || fail "no second address"
! get 192.0.2.1 || fail "/metrics answers on another address"
pass "/metrics by the documented drop-in: $series series on 127.0.0.1"

# ---- the advisor under its unit: asked by the loop of a confined agent ----
advisor=semantos-advisor.service
says() { journalctl -b -u $advisor -o cat --no-pager | grep -q "$1"; }
timeout 60 systemctl start $advisor || fail "the advisor's unit does not start"
until_true 60 says "The knowledge base" || fail "the advisor does not say that it is there"
pid=$(systemctl show -p MainPID --value $advisor)
[[ $(stat -c %U "/proc/$pid") == semantos-advisor ]] || fail "the advisor runs as $(stat -c %U "/proc/$pid")"
[[ $(awk '/^Cap(Inh|Prm|Eff|Bnd|Amb)/ && $2 !~ /^0+$/' "/proc/$pid/status" | wc -l) == 0 ]] || fail "the advisor has capabilities"
[[ $(grep -cE '^(NoNewPrivs:.1|Seccomp:.2)$' "/proc/$pid/status") == 2 ]] || fail "the advisor is not confined"
cat >/usr/local/sbin/load <<-'LOAD'
	#!/bin/sh
	blockdev --flushbufs /dev/vda
	exec dd if=/dev/vda of=/dev/null bs=64k count=4 2>/dev/null
LOAD
chmod 755 /usr/local/sbin/load
timeout 600 semantosctl tune --workload /usr/local/sbin/load --knob 'sysfs:block/vda/queue/*' --pairs 8 \
	--apply auto --trials 1 --because "the test asks" >/tmp/answer 2>&1
code=$?
says '^Question' || fail "the advisor was not asked (tune ended with $code)"
says '^Trace' || fail "the advisor was not told what came of it (tune ended with $code)"
[[ $(systemctl show -p NRestarts --value $advisor) == 0 ]] || fail "the advisor was restarted"
question=$(journalctl -b -u $advisor -o cat --no-pager | grep -m 1 '^Question' | cut -c 1-160)
ls /var/lib/semantos-advisor/* >/dev/null 2>&1 || fail "the knowledge base is not in the unit's folder"
[[ $(stat -c '%U %a' /var/lib/semantos-advisor) == "semantos-advisor 700" ]] || fail "the knowledge base is open to others"
timeout 60 systemctl stop $advisor || fail "the advisor's unit does not stop"
timeout 60 systemctl stop $unit || fail "systemctl stop failed"
! systemctl is-failed -q $advisor $unit || fail "a unit ended as failed"
pass "the advisor under its unit, without capabilities, was asked and told: ${question//$'\r'/}"
