// SPDX-License-Identifier: Apache-2.0
/*
 * bpf_sched.c - libbpf and sysfs behind the calls of bpf_sched.h.
 */
#include "agent/core/bpf_sched.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "agent/util/bpf_open.h"

#define ROOT_OPS "/sys/kernel/sched_ext/root/ops"
#define STATE "/sys/kernel/sched_ext/state"
#define HOOK "can_migrate_task"
#define HOG_NS 1000000000ULL /* a CPU held so long by another class explains a stall */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void one_line(const char *path, char *text, size_t len)
{
	FILE *file = fopen(path, "re");

	text[0] = 0;
	if (!file)
		return;
	if (!fgets(text, (int)len, file))
		text[0] = 0;
	text[strcspn(text, "\n")] = 0;
	fclose(file);
}

void bpf_sched_attached(char *name, size_t len)
{
	char state[32];

	one_line(STATE, state, sizeof(state));
	name[0] = 0;
	if (!state[0] || strcmp(state, "disabled") == 0)
		return;
	one_line(ROOT_OPS, name, len);
	if (!name[0])
		snprintf(name, len, "one without a name");
}

void bpf_sched_prepare(struct bpf_sched *sched, struct bpf_object *object, int n_cpus)
{
	struct bpf_program *program;
	struct bpf_map *map, *scheduler = NULL;
	struct btf *kernel;
	bool ext, hook;

	memset(sched, 0, sizeof(*sched));
	sched->n_cpus = n_cpus;
	bpf_object__for_each_map(map, object) if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
		scheduler = map;
	sched->known = scheduler != NULL;
	if (!sched->known)
		return;
	kernel = btf__load_vmlinux_btf();
	ext = kernel && btf__find_by_name_kind(kernel, "sched_ext_ops", BTF_KIND_STRUCT) > 0;
	hook = kernel && btf__find_by_name_kind(kernel, HOOK, BTF_KIND_FUNC) > 0;
	btf__free(kernel);
	sched->scheduler = ext ? scheduler : NULL;
	sched->observes = hook;
	if (!hook)
		snprintf(sched->silent, sizeof(sched->silent),
			"this kernel has no function " HOOK " that can be hooked");
	bpf_map__set_autocreate(scheduler, ext);
	bpf_object__for_each_program(program, object)
	{
		if (bpf_program__type(program) == BPF_PROG_TYPE_STRUCT_OPS)
			bpf_program__set_autoload(program, ext);
		else if (bpf_program__type(program) == BPF_PROG_TYPE_TRACING)
			bpf_program__set_autoload(program, hook);
	}
	/* Of types that came later than what the hook needs. */
	bpf_object__for_each_map(map, object)
	{
		if (bpf_map__type(map) == BPF_MAP_TYPE_CGRP_STORAGE ||
			bpf_map__type(map) == BPF_MAP_TYPE_TASK_STORAGE)
			bpf_map__set_autocreate(map, ext);
	}
	map = bpf_object__find_map_by_name(object, "cpus");
	if (map)
		bpf_map__set_max_entries(map, (__u32)n_cpus);
}

int bpf_sched_tables(
	struct bpf_sched *sched, struct bpf_object *object, char *error, size_t error_len)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, "sched_end");
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *end;

	if (!sched->known)
		return 0;
	sched->counts_fd = bpf_object__find_map_fd_by_name(object, "sched_counts");
	sched->model_fd = bpf_object__find_map_fd_by_name(object, "mlp");
	if (!map || sched->counts_fd < 0 || sched->model_fd < 0 ||
		bpf_map__value_size(map) != sizeof(*sched->end)) {
		snprintf(error, error_len,
			"The object's tables of scheduling are not those of wire format %d; "
			"rebuild the policy and the agent from one source.",
			SEMANTOS_WIRE_VERSION);
		return -EPROTO;
	}
	end = mmap(NULL, page, PROT_READ, MAP_SHARED, bpf_map__fd(map), 0);
	if (end == MAP_FAILED) {
		int err = -errno;

		snprintf(error, error_len, "The object's table sched_end cannot be mapped: %s.",
			strerror(-err));
		return err;
	}
	sched->end = end;
	return 0;
}

void bpf_sched_close(struct bpf_sched *sched)
{
	bpf_sched_off(sched);
	if (sched->end)
		munmap((void *)(uintptr_t)sched->end, (size_t)sysconf(_SC_PAGESIZE));
	sched->end = NULL;
}

bool bpf_sched_is_on(const struct bpf_sched *sched)
{
	return sched->link != NULL;
}

int bpf_sched_on(struct bpf_sched *sched, char *error, size_t error_len)
{
	uint64_t from = now_ns();
	char other[128];
	int err;

	if (sched->link)
		return 0;
	if (!sched->scheduler) {
		snprintf(error, error_len,
			"This kernel cannot be given a scheduler: it lacks CONFIG_SCHED_CLASS_EXT "
			"(Debian: 6.18 or newer), so only mode shadow is possible.");
		return -EOPNOTSUPP;
	}
	bpf_sched_attached(other, sizeof(other));
	bpf_complaints_catch();
	sched->link = other[0] ? NULL : bpf_map__attach_struct_ops(sched->scheduler);
	if (sched->link) {
		sched->on_ns = now_ns() - from;
		return 0;
	}
	err = other[0] ? -EBUSY : -errno;
	if (!other[0])
		bpf_sched_attached(other, sizeof(other)); /* it may have come meanwhile */
	if (err == -EBUSY && other[0])
		snprintf(error, error_len,
			"Another scheduler, %.60s, is attached to this kernel; stop it first.",
			other);
	else
		snprintf(error, error_len, "The kernel does not take the scheduler: %s%s.",
			strerror(-err), bpf_complaint());
	return err;
}

void bpf_sched_off(struct bpf_sched *sched)
{
	bpf_link__destroy(sched->link);
	sched->link = NULL;
}

int bpf_sched_counts(const struct bpf_sched *sched, struct semantos_sched_row *sum)
{
	struct semantos_sched_row *rows = calloc((size_t)sched->n_cpus, sizeof(*rows));
	uint32_t zero = 0;
	int err = 0;

	memset(sum, 0, sizeof(*sum));
	if (!rows)
		return -ENOMEM;
	if (bpf_map_lookup_elem(sched->counts_fd, &zero, rows))
		err = -errno;
	for (int cpu = 0; !err && cpu < sched->n_cpus; cpu++) {
		for (int i = 0; i < SEMANTOS_S_MAX; i++)
			sum->count[i] += rows[cpu].count[i];
		for (int i = 0; i < SEMANTOS_SCHED_WAITS; i++)
			sum->waits[i] += rows[cpu].waits[i];
	}
	free(rows);
	return err;
}

int bpf_sched_model(const struct bpf_sched *sched, const struct mlp_model *net)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "net", sizeof(uint32_t), sizeof(*net), 1, NULL);
	uint32_t zero = 0;
	int err = fd < 0 ? -errno : 0;

	if (!err && (bpf_map_update_elem(fd, &zero, net, BPF_ANY) ||
			    bpf_map_update_elem(sched->model_fd, &zero, &fd, BPF_ANY)))
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

static uint64_t apart(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

uint64_t bpf_sched_unaccounted(const struct semantos_sched_row *sum)
{
	const uint64_t *c = sum->count;
	uint64_t plain = c[SEMANTOS_S_PLAIN_NO_LEASE] + c[SEMANTOS_S_PLAIN_NO_MODEL] +
			 c[SEMANTOS_S_PLAIN_NO_SIGNAL] + c[SEMANTOS_S_PLAIN_SHADOW] +
			 c[SEMANTOS_S_PLAIN_CONTROL];

	return apart(c[SEMANTOS_S_CANDIDATES],
		       c[SEMANTOS_S_NET] + plain + c[SEMANTOS_S_WAITED] + c[SEMANTOS_S_FIXED]) +
	       apart(c[SEMANTOS_S_YES], c[SEMANTOS_S_MOVED] + c[SEMANTOS_S_LOST]) +
	       apart(c[SEMANTOS_S_NET], c[SEMANTOS_S_NET_YES] + c[SEMANTOS_S_NET_NO]);
}

bool bpf_sched_end_text(const struct semantos_sched_end *end, char *text, size_t len)
{
	bool hog = end->kind == SEMANTOS_SCHED_EXIT_STALL && end->hog_cpu >= 0 &&
		   end->hog_ns >= HOG_NS;
	const char *message = end->message[0] ? end->message : end->reason;

	if (hog)
		snprintf(text, len,
			"a task did not run for too long (%.120s); CPU %d was held for %.1f s by "
			"%.15s (process %u), which the kernel puts before any task of this "
			"scheduler, so the scheduler is not to blame",
			message, end->hog_cpu, (double)end->hog_ns / 1e9, end->hog, end->hog_pid);
	else if (end->kind >= SEMANTOS_SCHED_EXIT_FAULT)
		snprintf(text, len, "the kernel took it off: %.60s%s%.180s", end->reason,
			end->message[0] ? ": " : "", end->message);
	else
		snprintf(text, len, "it was taken off from outside: %.60s%s%.180s", end->reason,
			end->message[0] ? ": " : "", end->message);
	return hog;
}
