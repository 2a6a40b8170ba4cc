// SPDX-License-Identifier: Apache-2.0
/*
 * replay.c - replays request traces against a replica volume on test disks, once under each policy, in the lab's machine.
 *
 * Open loop: a request is sent when its time has come, however many are in flight, and its latency counts from that
 * time. One thread, direct and asynchronous I/O, one buffer for all: nobody looks at the data. Before each run the disks'
 * processes begin anew, so that every policy meets the same requests on the same disks at the same times.
 * All times are the original's times the stretch; what is printed is divided by it again.
 *
 * Usage: replay PLAN VOLUME DEVICE STRETCH ROW...    PLAN: plan.txt, of which the lines "trace VOLUME ..." count.
 *   The environment's replay_ms=N cuts each trace to N ms of original time; replay_set=NAME takes the traces of that set
 *   only, else those of all sets but "train"; replay_mix=NAME those of that mix only.
 *   ROW: a policy of policies.bpf.c, or NAME=- for whichever policy others have attached
 * Prints NOTE lines: "run VOLUME MIX SEED SET ROW STRETCH READS EXTRA CPU" with the reads that legs did beyond one a read,
 * and the share of the machine's CPU in 1/1000; "reads VOLUME MIX SEED ROW STRETCH FIRST L:W...": of each read in turn its
 * latency in 1/10 us and the leg that answered first (from 1; 0: not known).
 * Exit: 0, or 1 with a sentence.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "tests/bench/replica/policies.h"
#include "tests/bench/replica/trace.h"

#define OBJECT "build/tests/bench/replica/policies.bpf.o"
#define RESTART "/sys/module/semantos_testdev/parameters/restart"
#define BUFFER (2U << 20)
#define IN_FLIGHT 4096 /* requests, at most */
#define DRAIN_S 60
#define DATA_SECTOR 2048 /* of a leg */

struct plan {
	const char *volume, *mix, *set;
	uint32_t seed, ms;
};

static struct {
	struct bpf_object *object;
	volatile struct replay_shared *shared;
	void *buffer;
	int fd;
	aio_context_t aio;
	uint32_t stretch, flying;
	uint64_t begin_ns, errors;
	struct request *request;
	float *latency_us; /* of each request, unstretched */
	uint8_t *leg;
} lab;

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	exit(1);
}

#define expect(what, ...)                  \
	do {                               \
		if (!(what))               \
			fail(__VA_ARGS__); \
	} while (0)

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- the machine ---- */

/* Seconds since boot, and of idleness. */
static void uptimes(double *up, double *idle)
{
	FILE *file = fopen("/proc/uptime", "r");

	expect(file && fscanf(file, "%lf %lf", up, idle) == 2, "/proc/uptime cannot be read");
	fclose(file);
}

static void restart_disks(uint32_t seed)
{
	char text[64];
	int fd = open(RESTART, O_WRONLY);
	int n = snprintf(text, sizeof(text), "%u:%u", seed * 100, seed % 50 * 1000);

	expect(fd >= 0 && write(fd, text, (size_t)n) == n, "the disks cannot begin anew: %s",
		strerror(errno));
	close(fd);
}

static uint32_t disks_major(void)
{
	FILE *file = fopen("/sys/block/semtest0/dev", "r");
	unsigned int major;

	expect(file && fscanf(file, "%u:", &major) == 1, "there is no disk semtest0");
	fclose(file);
	return major;
}

static void load(void)
{
	struct bpf_program *program;
	struct bpf_map *map;

	lab.object = bpf_object__open_file(OBJECT, NULL);
	expect(lab.object && !bpf_object__load(lab.object), "%s cannot be loaded: %s", OBJECT,
		strerror(errno));
	map = bpf_object__find_map_by_name(lab.object, "shared");
	program = bpf_object__find_program_by_name(lab.object, "answered");
	expect(map && program && bpf_program__attach(program), "%s cannot be attached: %s", OBJECT,
		strerror(errno));
	lab.shared = mmap(NULL, sizeof(struct replay_shared), PROT_READ | PROT_WRITE, MAP_SHARED,
		bpf_map__fd(map), 0);
	expect(lab.shared != MAP_FAILED, "the shared map cannot be mapped: %s", strerror(errno));
	lab.shared->major = disks_major();
}

/* ---- one run ---- */

static void reap(struct io_event *events, long n)
{
	uint64_t now = now_ns();

	for (long i = 0; i < n; i++) {
		uint64_t k = events[i].data;
		const struct request *r = &lab.request[k];
		double us = (double)(now - lab.begin_ns) / 1e3 / lab.stretch - r->at_us;

		lab.errors += events[i].res != (long long)r->sectors * 512;
		lab.latency_us[k] = (float)us;
		lab.leg[k] = lab.shared->served[DATA_SECTOR + r->sector];
		lab.flying--;
	}
}

/* Take what comes until that time. */
static void wait_until(uint64_t until_ns)
{
	struct io_event events[64];
	struct timespec t;
	uint64_t now;
	long n;

	while ((now = now_ns()) < until_ns || lab.flying >= IN_FLIGHT) {
		uint64_t ns = now < until_ns ? until_ns - now : 1000000;

		t = (struct timespec){ (time_t)(ns / 1000000000), (long)(ns % 1000000000) };
		n = syscall(SYS_io_getevents, lab.aio, 1L, 64L, events, &t);
		expect(n >= 0 || errno == EINTR, "io_getevents: %s", strerror(errno));
		if (n > 0)
			reap(events, n);
	}
}

static void send(uint64_t k)
{
	const struct request *r = &lab.request[k];
	struct iocb cb = { .aio_data = k,
		.aio_lio_opcode = r->read ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE,
		.aio_fildes = (uint32_t)lab.fd,
		.aio_buf = (uint64_t)(uintptr_t)lab.buffer,
		.aio_nbytes = r->sectors * 512ULL,
		.aio_offset = (long long)r->sector * 512 };
	struct iocb *list = &cb;

	if (r->read)
		lab.shared->served[DATA_SECTOR + r->sector] = 0;
	expect(syscall(SYS_io_submit, lab.aio, 1L, &list) == 1, "io_submit: %s", strerror(errno));
	lab.flying++;
}

static void replay(uint32_t count)
{
	uint64_t until;

	lab.begin_ns = now_ns();
	for (uint32_t k = 0; k < count; k++) {
		wait_until(lab.begin_ns + (uint64_t)(lab.request[k].at_us * 1e3 * lab.stretch));
		send(k);
	}
	until = now_ns() + DRAIN_S * 1000000000ULL;
	while (lab.flying && now_ns() < until)
		wait_until(now_ns() + 1000000);
	expect(!lab.flying, "%u requests were not answered in %u s", lab.flying, DRAIN_S);
	expect(!lab.errors, "%llu requests failed", (unsigned long long)lab.errors);
}

static void print_reads(const struct plan *p, const char *row, uint32_t count)
{
	uint32_t reads = 0;

	for (uint32_t k = 0; k < count; k++) {
		if (!lab.request[k].read)
			continue;
		if (reads % 100 == 0)
			printf("%sNOTE reads %s %s %u %s %u %u", reads ? "\n" : "", p->volume,
				p->mix, p->seed, row, lab.stretch, reads);
		printf(" %ld:%u", (long)(lab.latency_us[k] * 10 + .5F), lab.leg[k]);
		reads++;
	}
	printf("\n");
}

static int ascending(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

/* The latency that 5 % of the reads exceed. */
static float p95(uint32_t count)
{
	float *reads = malloc(sizeof(*reads) * count), result;
	uint32_t n = 0;

	expect(reads, "no memory");
	for (uint32_t k = 0; k < count; k++)
		if (lab.request[k].read)
			reads[n++] = lab.latency_us[k];
	qsort(reads, n, sizeof(*reads), ascending);
	result = n ? reads[n * 95 / 100] : 0;
	free(reads);
	return result;
}

static void run_row(const struct plan *p, const char *row, uint32_t count)
{
	char name[64], label[64];
	double up[2], idle[2], busy;
	struct bpf_link *link = NULL;
	struct bpf_map *map;
	uint32_t reads = 0;
	uint64_t answers;

	snprintf(label, sizeof(label), "%.*s", (int)strcspn(row, "="), row);
	if (!strstr(row, "=-")) {
		snprintf(name, sizeof(name), "row_%s", row);
		map = bpf_object__find_map_by_name(lab.object, name);
		link = map ? bpf_map__attach_struct_ops(map) : NULL;
		expect(link, "the policy %s cannot be attached: %s", row, strerror(errno));
	}
	for (uint32_t k = 0; k < count; k++)
		reads += lab.request[k].read;
	answers = lab.shared->answers;
	lab.errors = 0;
	uptimes(&up[0], &idle[0]);
	restart_disks(p->seed);
	replay(count);
	uptimes(&up[1], &idle[1]);
	busy = 1000 * (1 - (idle[1] - idle[0]) / (up[1] - up[0]));
	if (link)
		bpf_link__destroy(link);
	/* A leg that lost a race answers later. */
	usleep(500000);
	printf("NOTE run %s %s %u %s %s %u %u %lld %.0f\n", p->volume, p->mix, p->seed, p->set,
		label, lab.stretch, reads, (long long)(lab.shared->answers - answers) - reads,
		busy);
	print_reads(p, label, count);
	if (!strcmp(label, "fewest"))
		lab.shared->hedge_after_us = (uint32_t)(p95(count) * (float)lab.stretch);
}

static void run_trace(const struct plan *p, char **rows)
{
	uint32_t count = trace_count(p->mix, p->ms);

	lab.request = trace_make(p->mix, p->seed, count);
	lab.latency_us = calloc(count, sizeof(*lab.latency_us));
	lab.leg = calloc(count, 1);
	expect(lab.request && lab.latency_us && lab.leg, "no trace %s can be made", p->mix);
	for (char **row = rows; *row; row++)
		run_row(p, *row, count);
	free(lab.request);
	free(lab.latency_us);
	free(lab.leg);
}

int main(int argc, char **argv)
{
	char line[256], volume[32], mix[32], set[32];
	const char *cut = getenv("replay_ms"), *only = getenv("replay_set"),
		   *of = getenv("replay_mix");
	uint32_t seed, ms, traces = 0;
	FILE *file;

	expect(argc > 5, "usage: replay PLAN VOLUME DEVICE STRETCH ROW...");
	lab.stretch = (uint32_t)strtoul(argv[4], NULL, 10);
	lab.fd = open(argv[3], O_RDWR | O_DIRECT);
	expect(lab.fd >= 0 && lab.stretch, "%s cannot be opened: %s", argv[3], strerror(errno));
	lab.buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	expect(lab.buffer != MAP_FAILED, "there is no huge page");
	expect(!syscall(SYS_io_setup, IN_FLIGHT, &lab.aio), "io_setup: %s", strerror(errno));
	prctl(PR_SET_TIMERSLACK, 1UL);
	load();
	file = fopen(argv[1], "r");
	expect(file, "%s cannot be opened", argv[1]);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "trace %31s %31s %u %u %31s", volume, mix, &seed, &ms, set) != 5 ||
			strcmp(volume, argv[2]) || (of && *of && strcmp(mix, of)))
			continue;
		if (only && *only != '-' ? strcmp(set, only) : !strcmp(set, "train"))
			continue;
		if (cut && ms > strtoul(cut, NULL, 10))
			ms = (uint32_t)strtoul(cut, NULL, 10);
		run_trace(&(struct plan){ volume, mix, set, seed, ms }, argv + 5);
		traces++;
	}
	fclose(file);
	expect(traces, "%s has no trace for the volume %s", argv[1], argv[2]);
	return 0;
}
