#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# metrics.sh - a running agent's /metrics: promtool finds nothing in it, a real Prometheus scrapes it and answers from it,
# and an address that is not this machine's own is refused. The agent has a policy, follows no disk, and samples the
# machine with its hooks.
# timeout: 120

set -uo pipefail
skip() { echo "$*"; exit 77; }
[[ $(id -u) -eq 0 ]] || skip "loading BPF programs needs root"
[[ -r /sys/kernel/btf/vmlinux ]] || skip "this kernel has no BTF"
for program in prometheus promtool curl; do
	command -v $program >/dev/null || skip "$program is missing"
done

dir=$(mktemp -d "$PWD/build/metrics-XXXXXX") || exit 1
pins=/sys/fs/bpf/semantos-metrics-$$
port=$((20000 + $$ % 20000)) agent="" prometheus=""
cleanup() {
	trap - EXIT
	# shellcheck disable=SC2086 # one word a process
	kill $agent $prometheus 2>/dev/null
	wait
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
fail() { echo "$*"; tail -n 5 "$dir/agent.err"; tail -n 5 "$dir/prometheus.err" 2>/dev/null; exit 1; }
start() { # options; in a shell of its own, which becomes the agent
	exec build/semantos-agent --policy-path build/policies --policy linnos --device no-such-disk --quiet --telemetry-interval 1 \
		--state-dir "$dir/state" --run-dir "$dir/run" --bpffs-dir "$pins" "$@" >"$dir/agent.out" 2>"$dir/agent.err"
}

(start --metrics "0.0.0.0:$port") && fail "an address of every network was taken"
grep -q loopback "$dir/agent.err" || fail "the refusal does not say why"

start --metrics "127.0.0.1:$port" &
agent=$!
for _ in $(seq 100); do
	! curl -sf "http://127.0.0.1:$port/metrics" -o "$dir/text" || ! grep -q '^semantos_runq_latency_seconds{quantile="0.99"}' "$dir/text" ||
		! grep -q '^semantos_own_cpu_ratio' "$dir/text" || ! grep -q '^semantos_policy_mode{policy="linnos"' "$dir/text" || break
	kill -0 $agent || fail "the agent ended"
	sleep 0.1
done
grep -q '^semantos_runq_latency_seconds{quantile="0.99"}' "$dir/text" || fail "no run queue latency in the answer"
grep -q '^semantos_policy_mode{policy="linnos"' "$dir/text" || fail "no policy in the answer"
for family in syscalls softirq_duration_seconds_count tcp_retransmits_total cpu_idle_ratio policy_dropped_total \
	bpf_program_runs_total own_cpu_ratio telemetry_lost_total agent_cpu_seconds_total; do
	grep -q "^semantos_$family" "$dir/text" || fail "semantos_$family is missing"
done
said=$(promtool check metrics <"$dir/text" 2>&1) || fail "promtool: $said"
[[ -z $said ]] || fail "promtool: $said"

cat >"$dir/prometheus.yml" <<END
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: semantos
    static_configs:
      - targets: ["127.0.0.1:$port"]
END
promtool check config "$dir/prometheus.yml" >/dev/null || fail "the configuration is refused"
prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/tsdb" --web.listen-address="127.0.0.1:$((port + 1))" \
	>/dev/null 2>"$dir/prometheus.err" &
prometheus=$!
ask() { # query: its first value
	curl -sfG "http://127.0.0.1:$((port + 1))/api/v1/query" --data-urlencode "query=$1" | sed -nE 's/.*"value":\[[0-9.]*,"([^"]*)"\].*/\1/p'
}
rate=
for _ in $(seq 150); do
	rate=$(ask 'rate(semantos_runq_latency_seconds_count[10s]) > 0')
	[[ -z $rate ]] || break
	kill -0 $prometheus || fail "Prometheus ended"
	sleep 0.2
done
[[ $rate ]] || fail "Prometheus shows no waits for a CPU"
[[ $(ask 'up{job="semantos"}') == 1 ]] || fail "Prometheus does not call the agent up"
[[ $(ask 'semantos_build_info') == 1 ]] || fail "Prometheus has no version"
[[ $(ask 'count(semantos_policy_mode)') == 1 ]] || fail "Prometheus does not have one policy"

# The same server as a source of `semantosctl tune`; asked only, nothing is tuned.
goal() { build/semantosctl tune --dry-run --json --prometheus "http://127.0.0.1:$((port + 1))" --slo "$1" >"$dir/goal"; }
goal 'prom:count(semantos_policy_mode) < 2' || fail "tune cannot ask Prometheus: $(cat "$dir/goal")"
grep -q '"value":1.0,.*"holds":true' "$dir/goal" || fail "tune does not have one policy: $(cat "$dir/goal")"
for wrong in 'prom:no_such_series < 2/no such series' 'prom:up{{ < 2/refuses the query' 'prom:{job="semantos"} < 2/rows and not one'; do
	! goal "${wrong%%/*}" || fail "${wrong%%/*} was taken"
	grep -q "${wrong##*/}" "$dir/goal" || fail "${wrong%%/*}: $(cat "$dir/goal")"
done
echo "$(wc -l <"$dir/text") lines, $(ask 'scrape_samples_scraped{job="semantos"}') samples a scrape in $(ask 'scrape_duration_seconds{job="semantos"}') s; $rate waits a second"
kill -TERM $agent
wait $agent || fail "the agent ended with $?"
agent=
