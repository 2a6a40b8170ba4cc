#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# workload.sh - real programs under a load that can be measured again and again; what `make bench-tune` tunes for.
#
# Each lives in a folder of its own and listens on a Unix socket or on loopback there; none is a service of the machine.
# The last line that `run` prints is "NAME of what is measured: NUMBER". Needs root (PostgreSQL runs as its own user).
#
# Usage: workload.sh NAME start|run|stop DIR [SECONDS]
#        workload.sh list        lines: NAME  higher|lower  what is measured  programs it needs
set -euo pipefail

workloads() {
	cat <<'END'
postgres higher transactions a second (pgbench, 4 clients, 300 MB)|initdb pgbench
redis higher requests a second (SET and GET, 50 clients, append-only file)|redis-server redis-benchmark
nginx higher requests a second (wrk, 32 connections, 16 KiB file)|nginx wrk
fio higher MiB a second (one reader, 64 KiB buffered reads in order, cache dropped)|fio
mapped higher reads a second (512 random 4 KiB pages of a mapped 512 MiB file, none in memory at first)|fio
compile lower seconds (6 files, gcc -O1, two at a time, objects dropped)|gcc
END
}

for folder in /usr/sbin /usr/lib/postgresql/*/bin; do
	[[ ! -d $folder ]] || PATH=$PATH:$folder
done
name=${1-} act=${2-} dir=${3-} seconds=${4:-3}
if [[ $name == list ]]; then workloads; exit; fi
if [[ -z $act || ${dir:0:1} != / ]] || ! workloads | grep -q "^$name "; then sed -n 's/^# \(Usage\|   \)/\1/p' "$0"; exit 2; fi
needs=$(workloads | sed -n "s/^$name .*|//p")
for program in $needs; do
	command -v "$program" >/dev/null || { echo "$program is not installed"; exit 77; }
done
as_user() { runuser -u postgres -- "$@"; }

start_postgres() {
	chown postgres "$dir"
	as_user initdb -D "$dir/data" -A trust -N >"$dir/initdb.log" 2>&1
	printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$dir'" 'shared_buffers = 64MB' 'max_wal_size = 256MB' \
		>>"$dir/data/postgresql.conf"
	as_user pg_ctl -D "$dir/data" -l "$dir/log" -t 60 -w start >/dev/null
	as_user createdb -h "$dir" bench
	as_user pgbench -h "$dir" -q -i -s 20 bench >>"$dir/initdb.log" 2>&1
}
run_postgres() {
	as_user pgbench -h "$dir" -n -c 4 -j 2 -M prepared -T "$seconds" bench 2>"$dir/err" |
		sed -nE 's/^tps = ([0-9.]+) .*/transactions a second: \1/p'
}
stop_postgres() { as_user pg_ctl -D "$dir/data" -m immediate -t 30 -w stop >/dev/null 2>&1 || true; }

start_redis() {
	redis-server --port 0 --unixsocket "$dir/socket" --dir "$dir" --appendonly yes --appendfsync everysec --save '' \
		--daemonize yes --pidfile "$dir/pid" --logfile "$dir/log"
	for _ in {1..100}; do [[ ! -S $dir/socket ]] || return 0; sleep 0.1; done
	return 1
}
run_redis() { # requests are counted, not seconds: some 40,000 a second
	redis-benchmark -s "$dir/socket" -n $((seconds * 20000)) -c 50 -d 512 -r 100000 -t set,get --csv |
		awk -F'","' '/^"(SET|GET)"/ { n++; sum += 1 / $2 } END { if (n == 2) printf "requests a second: %.1f\n", 2 / sum }'
}
stop_redis() { # it writes its file once more as it ends
	[[ -s $dir/pid ]] || return 0
	kill "$(<"$dir/pid")" 2>/dev/null || return 0
	for _ in {1..100}; do [[ -e $dir/pid ]] || return 0; sleep 0.1; done
}

start_nginx() {
	mkdir -p "$dir/www"
	head -c 16384 /dev/zero >"$dir/www/file"
	chmod 755 "$dir" "$dir/www"
	cat >"$dir/conf" <<END
user root; worker_processes 1; pid $dir/pid; error_log $dir/log;
events { worker_connections 256; }
http { access_log off; sendfile on; server { listen 127.0.0.1:18080; root $dir/www; } }
END
	nginx -p "$dir" -c "$dir/conf"
}
run_nginx() {
	wrk -t 1 -c 32 -d "${seconds}s" http://127.0.0.1:18080/file 2>&1 | sed -nE 's/^Requests\/sec: +/requests a second: /p'
}
stop_nginx() { [[ ! -s $dir/pid ]] || kill "$(<"$dir/pid")" 2>/dev/null || true; }

start_fio() { fio --name=lay --filename="$dir/file" --size=512m --rw=write --bs=1m --end_fsync=1 --minimal >"$dir/log"; }
run_fio() {
	fio --name=read --filename="$dir/file" --size=512m --rw=read --bs=64k --ioengine=psync --invalidate=1 --time_based \
		--runtime="$seconds" --output-format=json | sed -nE '/"read" *:/,/"write"/s/^ *"bw_bytes" *: *([0-9]+),?$/\1/p' |
		awk 'NR == 1 { printf "MiB a second: %.2f\n", $1 / 1048576 }'
}
stop_fio() { :; }

# Programs that read a mapped file here and there and do not say so to the kernel: what is read around each page is read in vain.
start_mapped() { fio --name=lay --filename="$dir/file" --size=512m --rw=write --bs=1m --end_fsync=1 --minimal >"$dir/log"; }
run_mapped() {
	dd of="$dir/file" oflag=nocache conv=notrunc,fdatasync count=0 status=none
	fio --name=read --filename="$dir/file" --size=512m --io_size=2m --rw=randread --bs=4k --ioengine=mmap --invalidate=0 \
		--fadvise_hint=0 --output-format=json | sed -nE '/"read" *:/,/"write"/s/^ *"iops" *: *([0-9.]+),?$/\1/p' |
		awk 'NR == 1 { printf "reads a second: %.1f\n", $1 }'
}
stop_mapped() { :; }

start_compile() {
	mkdir -p "$dir/src"
	for n in {1..6}; do
		printf '#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <math.h>\n' >"$dir/src/$n.c"
		for f in {1..60}; do
			printf 'double f%d_%d(double *a, int n) { double s = %d; for (int i = 0; i < n; i++) { s += a[i] * sin(s + i); if (s > %d) s = strlen("x") - s; } return s; }\n' "$n" "$f" "$f" "$((n * f))"
		done >>"$dir/src/$n.c"
	done
}
run_compile() {
	rm -rf "$dir/out"
	mkdir "$dir/out"
	local begin=$EPOCHREALTIME
	(cd "$dir/src" && printf '%s\n' *.c | xargs -P 2 -I '{}' gcc -O1 -c -o ../out/'{}'.o '{}')
	awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "seconds: %.4f\n", b - a }'
}
stop_compile() { :; }

case $act in
start) mkdir -p "$dir"; "start_$name" ;;
run) "run_$name" ;;
stop) "stop_$name" ;;
*) exit 2 ;;
esac
