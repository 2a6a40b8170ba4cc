// SPDX-License-Identifier: Apache-2.0
/*
 * kernel.c - libbpf behind kernel.h. Readings are differences of what the maps held: rows are summed over CPUs at the
 * counters' own width, so that wrapping cancels out.
 */
#include "agent/telemetry/kernel.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "agent/util/bpf_open.h"
#include "agent/util/log.h"

enum hook {
	HOOK_BLOCK,
	HOOK_SWITCH,
	HOOK_RECLAIM_BEGIN,
	HOOK_RECLAIM_END,
	HOOK_MEMCG_BEGIN,
	HOOK_MEMCG_END,
	HOOK_SOFTIRQ_EXIT, /* before the entry: an exit alone is counted as a loss */
	HOOK_SOFTIRQ_ENTRY,
	HOOK_SYSCALL, /* attached by kernel_syscalls_per_s() alone */
	HOOK_RETRANSMIT,
	HOOK_RTT,
	HOOKS
};

static const struct {
	const char *program, *tracepoint;
} hooks[HOOKS] = {
	[HOOK_BLOCK] = { "on_block_complete", "block_rq_complete" },
	[HOOK_SWITCH] = { "on_switch", "sched_switch" },
	[HOOK_RECLAIM_BEGIN] = { "on_reclaim_begin", "mm_vmscan_direct_reclaim_begin" },
	[HOOK_RECLAIM_END] = { "on_reclaim_end", "mm_vmscan_direct_reclaim_end" },
	[HOOK_MEMCG_BEGIN] = { "on_memcg_begin", "mm_vmscan_memcg_reclaim_begin" },
	[HOOK_MEMCG_END] = { "on_memcg_end", "mm_vmscan_memcg_reclaim_end" },
	[HOOK_SOFTIRQ_EXIT] = { "on_softirq_exit", "softirq_exit" },
	[HOOK_SOFTIRQ_ENTRY] = { "on_softirq_entry", "softirq_entry" },
	[HOOK_SYSCALL] = { "on_syscall", "sys_enter" },
	[HOOK_RETRANSMIT] = { "on_retransmit", "tcp_retransmit_skb" },
	[HOOK_RTT] = { "on_tcp_segment", "tcp_probe" },
};

struct kernel {
	struct bpf_object *object;
	struct bpf_program *program[HOOKS]; /* NULL = left out */
	struct bpf_link *link[HOOKS];
	int n_cpus, cpus_fd, disks_fd, slots_fd;
	uint32_t n_disks;
	size_t bytes;
	volatile uint32_t *epoch; /* mapped */
	char missing[512];
	struct telemetry_cpu *cpu_rows; /* [n_cpus] */
	struct telemetry_disk *disk_rows; /* [n_cpus] */
	struct telemetry_cpu cpu_last; /* summed over CPUs */
	struct {
		uint32_t dev;
		bool used;
		struct telemetry_disk last;
	} disk[TELEMETRY_MAX_DISKS];
};

static void name_missing(struct kernel *kernel, enum hook hook)
{
	size_t used = strlen(kernel->missing);

	snprintf(kernel->missing + used, sizeof(kernel->missing) - used, "%s%s", used ? ", " : "",
		hooks[hook].tracepoint);
}

static bool has_member(const struct btf *btf, const char *name, const char *wanted)
{
	int id = btf__find_by_name_kind(btf, name, BTF_KIND_STRUCT);
	const struct btf_type *type = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;
	const struct btf_member *member = type ? btf_members(type) : NULL;

	for (int i = 0; type && i < btf_vlen(type); i++) {
		if (strcmp(btf__name_by_offset(btf, member[i].name_off), wanted) == 0)
			return true;
	}
	return false;
}

/* Does this kernel note when a task became runnable, and can the clock it used be found from the task? */
static bool times_waits(const struct btf *btf)
{
	return has_member(btf, "sched_info", "last_queued") &&
	       has_member(btf, "sched_entity", "cfs_rq") && has_member(btf, "cfs_rq", "rq") &&
	       has_member(btf, "rq", "clock");
}

/* Find the programs; those whose tracepoint is not there are not loaded. */
static int choose_programs(struct kernel *kernel)
{
	struct btf *btf = btf__load_vmlinux_btf();

	if (!btf)
		return -errno;
	for (enum hook hook = 0; hook < HOOKS; hook++) {
		struct bpf_program *program =
			bpf_object__find_program_by_name(kernel->object, hooks[hook].program);
		char name[64];

		snprintf(name, sizeof(name), "btf_trace_%s", hooks[hook].tracepoint);
		if (program && btf__find_by_name_kind(btf, name, BTF_KIND_TYPEDEF) > 0 &&
			(hook != HOOK_SWITCH || times_waits(btf))) {
			kernel->program[hook] = program;
			continue;
		}
		if (program)
			bpf_program__set_autoload(program, false);
		name_missing(kernel, hook);
	}
	btf__free(btf);
	return 0;
}

/* The constant the object was compiled with; it is the only one. */
static uint32_t object_version(struct bpf_object *object)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, ".rodata");
	uint32_t version = 0;
	size_t bytes = 0;
	const void *data = map ? bpf_map__initial_value(map, &bytes) : NULL;

	if (data && bytes >= sizeof(version))
		memcpy(&version, data, sizeof(version));
	return version;
}

static int table_fd(struct bpf_object *object, const char *name, size_t value_size)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	return map && bpf_map__value_size(map) == value_size ? bpf_map__fd(map) : -EPROTO;
}

static int open_tables(struct kernel *kernel)
{
	struct bpf_map *data = bpf_object__find_map_by_name(kernel->object, ".data");
	void *mapped;

	kernel->cpus_fd = table_fd(kernel->object, "cpus", sizeof(struct telemetry_cpu));
	kernel->disks_fd = table_fd(kernel->object, "disks", sizeof(struct telemetry_disk));
	kernel->slots_fd = table_fd(kernel->object, "disk_slots", sizeof(uint32_t));
	if (kernel->cpus_fd < 0 || kernel->disks_fd < 0 || kernel->slots_fd < 0 || !data)
		return -EPROTO;
	mapped = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED,
		bpf_map__fd(data), 0);
	if (mapped == MAP_FAILED)
		return -errno;
	kernel->epoch = mapped;
	kernel->cpu_rows = calloc((size_t)kernel->n_cpus, sizeof(*kernel->cpu_rows));
	kernel->disk_rows = calloc((size_t)kernel->n_cpus, sizeof(*kernel->disk_rows));
	return kernel->cpu_rows && kernel->disk_rows ? 0 : -ENOMEM;
}

static void attach(struct kernel *kernel)
{
	for (enum hook hook = 0; hook < HOOKS; hook++) {
		if (!kernel->program[hook] || hook == HOOK_SYSCALL)
			continue;
		kernel->link[hook] = bpf_program__attach_trace(kernel->program[hook]);
		if (!kernel->link[hook])
			name_missing(kernel, hook);
	}
}

struct kernel *kernel_open(const char *path, uint32_t n_disks, char *error, size_t error_len)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	struct bpf_map *map;
	int err = -ENOMEM;

	if (!kernel)
		goto fail;
	bpf_complaints_catch();
	kernel->n_cpus = libbpf_num_possible_cpus();
	kernel->n_disks = n_disks < 1			  ? 1
			  : n_disks > TELEMETRY_MAX_DISKS ? TELEMETRY_MAX_DISKS
							  : n_disks;
	kernel->object = bpf_open(path);
	if (!kernel->object) {
		err = -errno;
		goto fail;
	}
	if (object_version(kernel->object) != TELEMETRY_VERSION) {
		snprintf(error, error_len, "%s is of another version: rebuild it with the agent.",
			path);
		goto refuse;
	}
	err = kernel->n_cpus < 0 ? kernel->n_cpus : choose_programs(kernel);
	map = bpf_object__find_map_by_name(kernel->object, "disks");
	if (!err)
		err = map ? bpf_map__set_max_entries(map, kernel->n_disks) : -EPROTO;
	if (!err && bpf_object__load(kernel->object))
		err = -errno;
	if (!err)
		err = open_tables(kernel);
	if (err)
		goto fail;
	kernel->bytes =
		(size_t)kernel->n_cpus *
		(sizeof(struct telemetry_cpu) + kernel->n_disks * sizeof(struct telemetry_disk));
	attach(kernel);
	return kernel;
fail:
	snprintf(error, error_len, "%s cannot be loaded: %s%s.", path, bpf_reason(&err),
		bpf_complaint());
refuse:
	kernel_close(kernel);
	return NULL;
}

void kernel_close(struct kernel *kernel)
{
	if (!kernel)
		return;
	for (enum hook hook = 0; hook < HOOKS; hook++)
		bpf_link__destroy(kernel->link[hook]);
	if (kernel->epoch)
		munmap((void *)(uintptr_t)kernel->epoch, (size_t)sysconf(_SC_PAGESIZE));
	bpf_object__close(kernel->object);
	free(kernel->cpu_rows);
	free(kernel->disk_rows);
	free(kernel);
}

const char *kernel_missing(const struct kernel *kernel)
{
	return kernel->missing;
}

size_t kernel_bytes(const struct kernel *kernel)
{
	return kernel->bytes;
}

/* ---- sums and differences ---- */

static void hist_sum(struct telemetry_hist *sum, const struct telemetry_hist *row)
{
	sum->sum_ns += row->sum_ns;
	for (int i = 0; i < TELEMETRY_BUCKETS; i++)
		sum->bucket[i] += row->bucket[i];
}

/* What came since `last`, which then is `now`. */
static void hist_take(
	struct kernel_times *times, struct telemetry_hist *last, const struct telemetry_hist *now)
{
	times->count = 0;
	times->sum_ns = now->sum_ns - last->sum_ns;
	for (int i = 0; i < TELEMETRY_BUCKETS; i++) {
		times->bucket[i] = now->bucket[i] - last->bucket[i];
		times->count += times->bucket[i];
	}
	*last = *now;
}

static int sum_cpus(struct kernel *kernel, struct telemetry_cpu *sum)
{
	uint32_t zero = 0;

	memset(sum, 0, sizeof(*sum));
	if (bpf_map_lookup_elem(kernel->cpus_fd, &zero, kernel->cpu_rows))
		return -errno;
	for (int cpu = 0; cpu < kernel->n_cpus; cpu++) {
		const struct telemetry_cpu *row = &kernel->cpu_rows[cpu];

		hist_sum(&sum->runq, &row->runq);
		hist_sum(&sum->rtt, &row->rtt);
		hist_sum(&sum->softirq, &row->softirq);
		for (int i = 0; i < TELEMETRY_RECLAIMS; i++)
			hist_sum(&sum->reclaim[i], &row->reclaim[i]);
		for (int i = 0; i < TELEMETRY_SOFTIRQS; i++)
			sum->softirq_ns[i] += row->softirq_ns[i];
		for (int i = 0; i < TELEMETRY_L_NR; i++)
			sum->loss[i] += row->loss[i];
		sum->syscalls += row->syscalls;
		sum->retransmits += row->retransmits;
	}
	return 0;
}

int kernel_program(const struct kernel *kernel, size_t i, struct kernel_program *program)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	memset(program, 0, sizeof(*program));
	if (i >= HOOKS)
		return -1;
	program->name = hooks[i].program;
	if (!kernel->program[i] ||
		bpf_prog_get_info_by_fd(bpf_program__fd(kernel->program[i]), &info, &len))
		return 0;
	program->runs = info.run_cnt;
	program->run_ns = info.run_time_ns;
	program->missed = info.recursion_misses;
	return 0;
}

int kernel_read(struct kernel *kernel, struct kernel_reading *reading)
{
	struct telemetry_cpu *last = &kernel->cpu_last, now;
	struct kernel_program program;
	int err = sum_cpus(kernel, &now);

	memset(reading, 0, sizeof(*reading));
	if (err)
		return err;
	reading->has_block = kernel->link[HOOK_BLOCK];
	reading->has_runq = kernel->link[HOOK_SWITCH];
	reading->has_reclaim = kernel->link[HOOK_RECLAIM_BEGIN] && kernel->link[HOOK_RECLAIM_END];
	reading->has_memcg = kernel->link[HOOK_MEMCG_BEGIN] && kernel->link[HOOK_MEMCG_END];
	reading->has_softirq = kernel->link[HOOK_SOFTIRQ_ENTRY] && kernel->link[HOOK_SOFTIRQ_EXIT];
	reading->has_retransmits = kernel->link[HOOK_RETRANSMIT];
	reading->has_rtt = kernel->link[HOOK_RTT];
	hist_take(&reading->runq, &last->runq, &now.runq);
	hist_take(&reading->rtt, &last->rtt, &now.rtt);
	hist_take(&reading->softirq, &last->softirq, &now.softirq);
	for (int i = 0; i < TELEMETRY_RECLAIMS; i++)
		hist_take(&reading->reclaim[i], &last->reclaim[i], &now.reclaim[i]);
	for (int i = 0; i < TELEMETRY_SOFTIRQS; i++)
		reading->softirq_ns[i] = now.softirq_ns[i] - last->softirq_ns[i];
	reading->retransmits = now.retransmits - last->retransmits;
	memcpy(reading->loss, now.loss, sizeof(now.loss));
	*last = now;
	for (size_t i = 0; kernel_program(kernel, i, &program) == 0; i++) {
		reading->missed += program.missed;
		reading->hook_runs += program.runs;
		reading->hook_ns += program.run_ns;
	}
	return 0;
}

/* ---- disks ---- */

static int sum_disk(struct kernel *kernel, uint32_t row, struct telemetry_disk *sum)
{
	memset(sum, 0, sizeof(*sum));
	if (bpf_map_lookup_elem(kernel->disks_fd, &row, kernel->disk_rows))
		return -errno;
	for (int cpu = 0; cpu < kernel->n_cpus; cpu++) {
		for (int i = 0; i < TELEMETRY_DIRECTIONS; i++) {
			sum->of[i].bytes += kernel->disk_rows[cpu].of[i].bytes;
			sum->of[i].errors += kernel->disk_rows[cpu].of[i].errors;
			hist_sum(&sum->of[i].latency, &kernel->disk_rows[cpu].of[i].latency);
		}
	}
	return 0;
}

int kernel_disk_add(struct kernel *kernel, uint32_t dev)
{
	for (uint32_t row = 0; row < kernel->n_disks; row++) {
		int err;

		if (kernel->disk[row].used)
			continue;
		/* what another disk left in the row is not this one's */
		err = sum_disk(kernel, row, &kernel->disk[row].last);
		if (!err && bpf_map_update_elem(kernel->slots_fd, &dev, &row, BPF_ANY))
			err = -errno;
		if (err)
			return err;
		kernel->disk[row].dev = dev;
		kernel->disk[row].used = true;
		(*kernel->epoch)++;
		return (int)row;
	}
	return -ENOSPC;
}

void kernel_disk_remove(struct kernel *kernel, uint32_t row)
{
	if (row >= kernel->n_disks || !kernel->disk[row].used)
		return;
	bpf_map_delete_elem(kernel->slots_fd, &kernel->disk[row].dev);
	(*kernel->epoch)++;
	kernel->disk[row].used = false;
}

int kernel_disk_read(struct kernel *kernel, uint32_t row, struct kernel_disk_reading *reading)
{
	struct telemetry_disk *last, now;
	int err;

	memset(reading, 0, sizeof(*reading));
	if (row >= kernel->n_disks || !kernel->disk[row].used)
		return -ENOENT;
	err = sum_disk(kernel, row, &now);
	if (err)
		return err;
	last = &kernel->disk[row].last;
	for (int i = 0; i < TELEMETRY_DIRECTIONS; i++) {
		reading->bytes[i] = now.of[i].bytes - last->of[i].bytes;
		reading->errors += now.of[i].errors - last->of[i].errors;
		last->of[i].bytes = now.of[i].bytes;
		last->of[i].errors = now.of[i].errors;
		hist_take(&reading->latency[i], &last->of[i].latency, &now.of[i].latency);
	}
	return 0;
}

/* ---- system calls ---- */

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

double kernel_syscalls_per_s(struct kernel *kernel, uint32_t window_ms)
{
	struct timespec wait = { window_ms / 1000, (long)(window_ms % 1000) * 1000000L };
	struct kernel_program missed_before, missed_after;
	struct telemetry_cpu before, after;
	double begin = 0, end = 0;
	struct bpf_link *link;
	int err;

	if (!kernel->program[HOOK_SYSCALL])
		return NAN;
	link = bpf_program__attach_trace(kernel->program[HOOK_SYSCALL]);
	if (!link)
		return NAN;
	err = sum_cpus(kernel, &before);
	kernel_program(kernel, HOOK_SYSCALL, &missed_before);
	begin = now_s();
	nanosleep(&wait, NULL);
	if (!err)
		err = sum_cpus(kernel, &after);
	kernel_program(kernel, HOOK_SYSCALL, &missed_after);
	end = now_s();
	bpf_link__destroy(link);
	if (err || end <= begin)
		return NAN;
	/* On 7.3 the hook can be interrupted, and does not run for others on that CPU until it goes on: those are calls too. */
	return (double)(after.syscalls - before.syscalls + missed_after.missed -
			missed_before.missed) /
	       (end - begin);
}
