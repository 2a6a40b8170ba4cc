/* SPDX-License-Identifier: Apache-2.0 */
/*
 * safety_root.h - the knobs the tests of agent/safety change, a clock they set, and one way to open.
 *
 * The knobs are files of a fake root, or with SEMANTOS_REAL_KNOBS=1 those of the machine, which must then be one of the
 * lab: the root is "" there, and the kernel has its say. The values of one knob have one length where a test stops a
 * program between two of its system calls. One thread.
 */
#ifndef TESTS_SAFETY_ROOT_H
#define TESTS_SAFETY_ROOT_H

#include "agent/safety/safety.h"
#include "agent/util/log.h"
#include "tests/unit/safety_dir.h"

#define BOOT_1 "aaaaaaaa-1111-4111-8111-111111111111\n"
#define BOOT_2 "bbbbbbbb-2222-4222-8222-222222222222\n"
#define SWAPPINESS "sysctl:vm.swappiness"
#define SWAPPINESS_FILE "proc/sys/vm/swappiness"
#define READ_AHEAD "sysfs:block/vda/queue/read_ahead_kb"
#define READ_AHEAD_FILE "sys/block/vda/queue/read_ahead_kb"
#define DIRTY_BYTES "sysctl:vm.dirty_bytes"
#define DIRTY_BYTES_FILE "proc/sys/vm/dirty_bytes"
#define DIRTY_RATIO "sysctl:vm.dirty_ratio"
#define DIRTY_RATIO_FILE "proc/sys/vm/dirty_ratio"

struct fake {
	char root[64], dir[80]; /* dir is of the journal */
	char scratch[64]; /* all that the test makes */
	bool real;
	uint64_t boot_ns, real_ns;
	struct safety_clock clock;
	struct safety_options options;
};

static inline uint64_t fake_boot_ns(void *ctx)
{
	return ((struct fake *)ctx)->boot_ns;
}

static inline uint64_t fake_real_ns(void *ctx)
{
	return ((struct fake *)ctx)->real_ns;
}

static inline void fake_sentence(void *ctx, enum log_level level, const char *sentence)
{
	(void)ctx, (void)level, (void)sentence;
}

static inline void fake_reset_knobs(const struct fake *f)
{
	file_put(f->root, SWAPPINESS_FILE, "060\n");
	file_put(f->root, READ_AHEAD_FILE, "128\n");
	file_put(f->root, DIRTY_RATIO_FILE, "20\n");
	/* the kernel does this by itself */
	if (!f->real)
		file_put(f->root, DIRTY_BYTES_FILE, "0\n");
}

static inline void fake_make(struct fake *f)
{
	memset(f, 0, sizeof(*f));
	f->real = getenv("SEMANTOS_REAL_KNOBS") != NULL;
	if (f->real && access("/tests/list", F_OK)) {
		printf("skipped: real settings are changed in the lab only\n");
		exit(77);
	}
	dir_make(f->scratch);
	snprintf(f->root, sizeof(f->root), "%s", f->real ? "" : f->scratch);
	snprintf(f->dir, sizeof(f->dir), "%s/journal.d", f->scratch);
	if (!f->real)
		file_put(f->root, "proc/sys/kernel/random/boot_id", BOOT_1);
	fake_reset_knobs(f);
	f->boot_ns = 1000000000000ULL;
	f->real_ns = 1700000000000000000ULL;
	f->clock = (struct safety_clock){ fake_boot_ns, fake_real_ns, f };
	f->options = (struct safety_options){
		.dir = f->dir, .root = f->root, .clock = &f->clock, .no_keeper_needed = true
	};
	log_set_sink(fake_sentence, NULL);
}

static inline void fake_unmake(const struct fake *f)
{
	fake_reset_knobs(f);
	dir_remove(f->scratch);
}

static inline int change_one(struct safety *s, const char *owner, enum change_mode mode,
	const char *name, const char *value, uint64_t *id, struct safety_error *error)
{
	const struct safety_knob knob = { name, value };
	const struct safety_request rq = { .owner = owner,
		.mode = mode,
		.knob = &knob,
		.n_knobs = 1,
		.because = "a test asks for it",
		.evidence = "p99 21 ms",
		.expected = "p99 15 ms" };

	return safety_apply(s, &rq, id, error);
}

/* Swappiness and read-ahead in one change. */
static inline int change_two(
	struct safety *s, enum change_mode mode, uint64_t *id, struct safety_error *error)
{
	static const struct safety_knob knob[] = { { SWAPPINESS, "010" }, { READ_AHEAD, "512" } };
	const struct safety_request rq = { .owner = "tuner",
		.mode = mode,
		.knob = knob,
		.n_knobs = 2,
		.because = "a test asks for it" };

	return safety_apply(s, &rq, id, error);
}

#endif
