/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wrap.h - a policy object around tests/bpf/block_wrap.bpf.c: load it, give it devices, run hook bodies, read rings.
 *
 * Nothing is attached to the kernel. Pins go to a folder of this process and are removed again.
 */
#ifndef SEMANTOS_TESTS_WRAP_H
#define SEMANTOS_TESTS_WRAP_H

#include <bpf/bpf.h>
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/core/bpf_object.h"
#include "agent/core/ring.h"

/* As in block_wrap.bpf.c. */
struct wrap_event {
	uint64_t diskseq, sector;
	uint32_t queue_id, dev, hw_queue, tag, sectors, op, error, reserved;
	uint64_t request;
};

enum wrap_what { WRAP_ISSUE, WRAP_COMPLETE, WRAP_REQUEUE, WRAP_PAIRS, WRAP_CLOCK, WRAP_VERDICT };

struct wrap_command {
	struct wrap_event event;
	uint64_t now_ns;
	uint32_t what, repeat, tags, devices;
	uint64_t elapsed_ns;
};

#define WRAP_RECORDS 65536

struct wrap {
	struct bpf_lease lease;
	struct bpf_policy policy;
	struct ring_reader *reader;
	int fd;
	char bpffs_dir[64];
	struct semantos_block_record *record; /* [WRAP_RECORDS] what the rings carried */
	size_t n;
};

static inline void wrap_take(void *ctx, const struct semantos_block_record *record)
{
	struct wrap *wrap = ctx;

	if (wrap->n < WRAP_RECORDS)
		wrap->record[wrap->n++] = *record;
}

static inline uint64_t boot_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* Skips the whole program (exit 77) where BPF cannot be loaded at all. */
static inline void wrap_open(struct wrap *wrap, uint64_t budget_per_s, uint32_t ring_bytes)
{
	struct semantos_control command = {
		.op = SEMANTOS_CTL_POLICY, .ttl_ns = 50000000, .budget_per_s = budget_per_s
	};
	static unsigned int opened;
	char error[512];
	int err;

	memset(wrap, 0, sizeof(*wrap));
	if (geteuid() != 0 || access("/sys/kernel/btf/vmlinux", R_OK)) {
		printf("skipped: needs root and a kernel with BTF\n");
		exit(77);
	}
	snprintf(wrap->bpffs_dir, sizeof(wrap->bpffs_dir), "/sys/fs/bpf/semantos-test-%d-%u",
		getpid(), opened++);
	err = bpf_filesystem_ready(wrap->bpffs_dir, error, sizeof(error));
	if (!err)
		err = bpf_lease_open(
			&wrap->lease, "build/bpf/lib", wrap->bpffs_dir, error, sizeof(error));
	if (!err)
		err = bpf_policy_open(&wrap->policy, "build/tests/bpf/block_wrap.bpf.o", "wrap",
			&wrap->lease, wrap->bpffs_dir, error, sizeof(error));
	if (err)
		fail_msg("%s", error);
	wrap->record = calloc(WRAP_RECORDS, sizeof(*wrap->record));
	wrap->reader = ring_reader_new(wrap->policy.rings_fd, wrap->policy.wake,
		wrap->policy.n_cpus, ring_bytes, 64, wrap_take, wrap);
	assert_non_null(wrap->reader);
	wrap->fd = bpf_program__fd(bpf_object__find_program_by_name(wrap->policy.object, "wrap"));
	assert_int_equal(bpf_policy_control(&wrap->policy, &command), 0);
}

static inline void wrap_close(struct wrap *wrap)
{
	ring_reader_free(wrap->reader);
	bpf_policy_close(&wrap->policy);
	bpf_lease_close(&wrap->lease);
	bpf_remove_pins(wrap->bpffs_dir);
	assert_int_not_equal(access(wrap->bpffs_dir, F_OK), 0);
	free(wrap->record);
}

static inline void wrap_slot_add(
	struct wrap *wrap, uint32_t slot, uint32_t dev, uint64_t diskseq, uint32_t depth)
{
	struct semantos_control command = { .op = SEMANTOS_CTL_SLOT_ADD,
		.slot = slot,
		.dev = dev,
		.diskseq = diskseq,
		.queue_depth = depth,
		.queues = 2 };

	assert_int_equal(bpf_policy_inflight_set(&wrap->policy, slot, 2 * depth), 0);
	assert_int_equal(bpf_policy_control(&wrap->policy, &command), 0);
}

static inline int wrap_slot_command(struct wrap *wrap, uint32_t op, uint32_t slot, uint32_t value)
{
	struct semantos_control command = { .op = op, .slot = slot, .mode = value };

	return bpf_policy_control(&wrap->policy, &command);
}

/* A syscall program's context is copied back to where it came from. */
static inline int wrap_run(struct wrap *wrap, struct wrap_command *command)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = command, .ctx_size_in = sizeof(*command));

	if (bpf_prog_test_run_opts(wrap->fd, &options))
		return -errno;
	return (int)options.retval;
}

/* One event on device (queue id = slot, hardware queue 0) of `wrap_slot_add`'s dev and diskseq. */
static inline void wrap_event(struct wrap *wrap, enum wrap_what what, uint32_t slot, uint32_t dev,
	uint64_t diskseq, uint32_t tag, uint32_t op, uint32_t sectors, uint64_t now_ns)
{
	struct wrap_command command = {
		.event = { .diskseq = diskseq,
			.queue_id = slot,
			.dev = dev,
			.tag = tag,
			.sectors = sectors,
			.op = op,
			.request = 0x1000 + tag },
		.now_ns = now_ns,
		.what = what,
	};

	assert_int_equal(wrap_run(wrap, &command), 0);
}

static inline size_t wrap_drain(struct wrap *wrap)
{
	wrap->n = 0;
	while (ring_drain(wrap->reader))
		;
	return wrap->n;
}

static inline uint64_t wrap_count(struct wrap *wrap, enum semantos_counter which)
{
	struct semantos_counters sum;

	assert_int_equal(bpf_policy_counters(&wrap->policy, &sum), 0);
	return sum.count[which];
}

/* The conservation law of bpf/wire.h: emitted = delivered + dropped by cause + in flight. */
static inline void wrap_conserved(struct wrap *wrap, int64_t in_flight)
{
	struct semantos_counters sum;
	const uint64_t *c = sum.count;

	assert_int_equal(bpf_policy_counters(&wrap->policy, &sum), 0);
	assert_int_equal(c[SEMANTOS_C_REQUESTS], c[SEMANTOS_C_REQUESTS_SUBMITTED] +
							 c[SEMANTOS_C_DROP_OVER_BUDGET] +
							 c[SEMANTOS_C_DROP_RING_FULL]);
	assert_int_equal(c[SEMANTOS_C_REQUESTS_SUBMITTED],
		c[SEMANTOS_C_OUTCOMES] + c[SEMANTOS_C_DROP_OUTCOME_REUSED] +
			c[SEMANTOS_C_DROP_OUTCOME_REQUEUED] + (uint64_t)in_flight);
	assert_int_equal(c[SEMANTOS_C_OUTCOMES], c[SEMANTOS_C_OUTCOMES_SUBMITTED] +
							 c[SEMANTOS_C_DROP_OUTCOME_RING_FULL] +
							 c[SEMANTOS_C_DROP_OUTCOME_DEVICE_GONE]);
	assert_int_equal(c[SEMANTOS_C_REQUESTS_SUBMITTED] + c[SEMANTOS_C_OUTCOMES_SUBMITTED],
		ring_delivered(wrap->reader) + ring_waiting_bytes(wrap->reader) /
						       (sizeof(struct semantos_block_record) + 8));
	assert_int_equal(c[SEMANTOS_C_LOOKUP_FAILED], 0);
	assert_int_equal(c[SEMANTOS_C_RING_MISSING], 0);
}

#endif
