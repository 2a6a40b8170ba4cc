// SPDX-License-Identifier: Apache-2.0
/*
 * test_volume_rows.c - what is foreseen of a read is judged whole or not at all, also where two reads in flight share the
 * row in which it is remembered.
 *
 * Of one read, foreseen to be slow, 20 us are slow; of the other, foreseen to be fast, they are not. So every prediction
 * is right, and one that is judged wrong is half the one's and half the other's.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "bpf/volume_wire.h"

#define SECONDS 3
#define REPEAT 20000
#define ROWS_SHIFT 52 /* of 4,096 rows: volume_asked_row() */

/* As in volume_wrap.bpf.c. */
struct volume_command {
	uint64_t id;
	uint32_t repeat, slot, slow, latency_us;
};

static struct bpf_object *object;
static int program_fd;

static uint64_t row_of(uint64_t id)
{
	return id * 0x9e3779b97f4a7c15ULL >> ROWS_SHIFT;
}

struct reader {
	struct volume_command command;
	int cpu;
	uint64_t done;
	const char *why; /* it did not go on */
};

/* On a CPU of its own, or the two would take turns and never meet. */
static void *reads(void *ctx)
{
	struct reader *r = ctx;
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &r->command,
		.ctx_size_in = sizeof(r->command));
	time_t end = time(NULL) + SECONDS;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((unsigned int)r->cpu, &one);
	if (pthread_setaffinity_np(pthread_self(), sizeof(one), &one))
		r->why = "it has no CPU of its own";
	while (!r->why && time(NULL) < end) {
		if (bpf_prog_test_run_opts(program_fd, &options) || options.retval)
			r->why = "a program did not run";
		r->done += r->command.repeat;
	}
	return NULL;
}

static uint64_t decision(enum semantos_decision which)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, "decisions");
	int cpus = libbpf_num_possible_cpus();
	struct semantos_decisions *row = calloc((size_t)cpus, sizeof(*row));
	uint64_t sum = 0;
	uint32_t zero = 0;

	assert_non_null(row);
	assert_int_equal(
		bpf_map__lookup_elem(map, &zero, sizeof(zero), row, (size_t)cpus * sizeof(*row), 0),
		0);
	for (int i = 0; i < cpus; i++)
		sum += row[i].count[which];
	free(row);
	return sum;
}

static void model_set(uint32_t slot, uint32_t slow_us)
{
	struct semantos_leg_model model = { .model_plus_1 = 1, .slow_us = slow_us };
	struct bpf_map *map = bpf_object__find_map_by_name(object, "leg_models");

	assert_int_equal(
		bpf_map__update_elem(map, &slot, sizeof(slot), &model, sizeof(model), 0), 0);
}

static void two_reads_of_one_row_are_not_mixed(void **state)
{
	struct reader slow = {
		.command = { .id = 1, .repeat = REPEAT, .slot = 0, .slow = 1, .latency_us = 20 },
		.cpu = 0
	};
	struct reader fast = {
		.command = { .id = 2, .repeat = REPEAT, .slot = 1, .latency_us = 20 }, .cpu = 1
	};
	uint64_t judged, wrong, all;
	pthread_t thread;

	(void)state;
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		print_message("skipped: needs CPUs 0 and 1\n");
		skip();
	}
	while (row_of(fast.command.id) != row_of(slow.command.id))
		fast.command.id++;
	model_set(0, 10);
	model_set(1, 1000);
	assert_int_equal(pthread_create(&thread, NULL, reads, &fast), 0);
	reads(&slow);
	pthread_join(thread, NULL);
	assert_null(slow.why);
	assert_null(fast.why);
	all = slow.done + fast.done;
	judged = decision(SEMANTOS_D_JUDGED);
	wrong = decision(SEMANTOS_D_SLOW_WRONG) + decision(SEMANTOS_D_FAST_WRONG);
	print_message("%llu of %llu reads were judged, %llu of them by half of another's\n",
		(unsigned long long)judged, (unsigned long long)all, (unsigned long long)wrong);
	assert_int_equal(wrong, 0);
	assert_true(judged > 0);
	if (judged == all) {
		print_message("skipped: the two never met on this machine\n");
		skip();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_reads_of_one_row_are_not_mixed),
	};
	int failed;

	if (geteuid() != 0 || access("/sys/kernel/btf/vmlinux", R_OK)) {
		printf("skipped: needs root and a kernel with BTF\n");
		return 77;
	}
	object = bpf_object__open_file("build/tests/bpf/volume_wrap.bpf.o", NULL);
	if (!object || bpf_object__load(object)) {
		printf("build/tests/bpf/volume_wrap.bpf.o is not taken: %m\n");
		return 1;
	}
	program_fd = bpf_program__fd(bpf_object__find_program_by_name(object, "volume_reads"));
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	bpf_object__close(object);
	return failed;
}
