// SPDX-License-Identifier: Apache-2.0
/*
 * idlewatch.c - runs a command, and prints how much CPU time stood idle while tasks waited, as long as it ran (idle.bpf.c).
 *
 * Usage: idlewatch COMMAND [ARGUMENT...]    Exit: the command's, or 1.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* As in idle.bpf.c. */
struct idle_sum {
	uint64_t last_ns, wasted_ns, idle_ns, waited_ns;
	int64_t runnable, busy;
	uint64_t events, cpus;
};

int main(int argc, char **argv)
{
	struct bpf_object *object =
		bpf_object__open_file("build/tests/bench/sched/idle.bpf.o", NULL);
	struct idle_sum from, to;
	struct bpf_program *program;
	double all;
	uint32_t zero = 0, cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	int fd, status = 0;
	pid_t child;

	if (!object || argc < 2)
		return fprintf(stderr, "usage: idlewatch COMMAND [ARGUMENT...], as root, from the "
				       "root of the tree\n"),
		       2;
	if (bpf_object__load(object))
		return perror("idlewatch: load"), 1;
	fd = bpf_object__find_map_fd_by_name(object, "sum");
	from = (struct idle_sum){ .cpus = cpus };
	if (bpf_map_update_elem(fd, &zero, &from, BPF_ANY))
		return perror("idlewatch: table"), 1;
	bpf_object__for_each_program(program,
		object) if (!bpf_program__attach(program)) return perror("idlewatch: attach"),
		1;
	usleep(300000); /* every CPU has switched once by then */
	bpf_map_lookup_elem(fd, &zero, &from);
	child = fork();
	if (child == 0) {
		execv(argv[1], argv + 1);
		perror(argv[1]);
		_exit(1);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return perror("idlewatch: the command"), 1;
	bpf_map_lookup_elem(fd, &zero, &to);
	all = (double)(to.last_ns - from.last_ns) * cpus;
	printf("wasted_pct=%.3f idle_pct=%.3f events=%llu\n",
		100 * (double)(to.wasted_ns - from.wasted_ns) / all,
		100 * (double)(to.idle_ns - from.idle_ns) / all,
		(unsigned long long)(to.events - from.events));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
