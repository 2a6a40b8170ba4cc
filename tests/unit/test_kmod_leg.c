// SPDX-License-Identifier: Apache-2.0
/*
 * test_kmod_leg.c - the depth and history that semantos.ko keeps of a leg are the numbers that the BPF hooks keep of a
 * disk: one random sequence of reads and writes through both gives the same record at each read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "agent/infer/random.h"
#include "bpf/hooks/block_history.h"
#include "kmod/leg.h"

#define MAX_IN_FLIGHT 12

struct flight {
	struct semantos_block_record record; /* what the hooks noted at issue */
	uint64_t issue_ns;
	uint32_t pending_pages, inflight, sectors;
	int is_read;
};

static void same(const struct semantos_block_record *hook, const struct semantos_block_record *leg)
{
	assert_int_equal(hook->pending_pages, leg->pending_pages);
	assert_int_equal(hook->inflight, leg->inflight);
	assert_int_equal(hook->inflight_reads, leg->inflight_reads);
	assert_int_equal(hook->sectors, leg->sectors);
	assert_memory_equal(hook->history, leg->history, sizeof(hook->history));
	assert_int_equal(hook->history_len, leg->history_len);
	assert_int_equal(hook->since_done_us, leg->since_done_us);
	assert_int_equal(hook->last_latency_us, leg->last_latency_us);
	assert_int_equal(hook->ewma_latency_us, leg->ewma_latency_us);
}

static void one_sequence(uint64_t seed)
{
	struct random_state random = random_seed(seed);
	struct block_shared shared = { 0 };
	struct block_cpu cpu = { 0 };
	struct leg_history leg = { 0 };
	struct flight flight[MAX_IN_FLIGHT];
	uint64_t now_ns = 1000000000;
	int n = 0;

	for (int step = 0; step < 4000; step++) {
		now_ns += random_below(&random, 3000000);
		if (n < MAX_IN_FLIGHT && (n == 0 || random_below(&random, 2))) {
			struct flight *f = &flight[n++];
			struct semantos_block_record mine = { 0 };

			memset(f, 0, sizeof(*f));
			f->issue_ns = now_ns;
			f->sectors = 1 + (uint32_t)random_below(&random, 300);
			f->is_read = random_below(&random, 4) != 0;
			/* The view at a decision comes before the read is sent, and counts it. */
			leg_record(&leg, &mine, f->sectors, now_ns);
			leg_enter(&leg, f->sectors, f->is_read);
			f->pending_pages = leg.pending_pages;
			f->inflight = leg.inflight;
			block_depth_enter(&shared, &cpu, f->sectors, f->is_read, now_ns);
			f->record.sectors = f->sectors;
			block_depth_features(&cpu, &f->record);
			if (f->is_read) {
				block_features(&cpu, &f->record, now_ns);
				same(&f->record, &mine);
			}
		} else {
			int at = (int)random_below(&random, (uint64_t)n);
			struct flight f = flight[at];
			uint32_t latency_us = leg_us_between(f.issue_ns, now_ns);

			flight[at] = flight[--n];
			leg_leave(&leg, f.sectors, f.is_read);
			block_depth_leave(&cpu, f.sectors, f.is_read);
			if (!f.is_read) {
				leg_done(&leg, latency_us, now_ns);
				block_completed(&shared, &cpu, &f.record, 0, latency_us, now_ns);
				continue;
			}
			leg_read_done(
				&leg, latency_us, f.pending_pages, f.inflight, f.sectors, now_ns);
			block_completed(&shared, &cpu, &f.record, 1, latency_us, now_ns);
		}
	}
}

static void same_numbers_as_the_hooks(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++)
		one_sequence(seed);
}

static void times(void **state)
{
	struct leg_history leg = {
		.oldest_ns = 500, .last = semantos_last_pack(2048, 700), .completed = 3
	};
	struct semantos_block_record record = { 0 };

	(void)state;
	assert_int_equal(leg_us_between(5, 4), 0); /* clocks of two CPUs crossed */
	assert_int_equal(leg_us_between(0, 999), 0);
	assert_int_equal(leg_us_between(0, 1000), 1);
	assert_int_equal(leg_us_between(0, 0xffffffffULL), 4294967);
	assert_int_equal(leg_us_between(0, 5000000000ULL), 5000000);
	assert_int_equal(leg_us_between(0, UINT64_MAX), UINT32_MAX);
	leg_record(&leg, &record, 8, 2500500);
	assert_int_equal(record.oldest_age_us, 2500);
	assert_int_equal(record.since_done_us, 2498);
	assert_int_equal(record.last_latency_us, 700);
	leg.inflight = 5;
	leg_forget(&leg);
	leg_record(&leg, &record, 8, 2500500);
	assert_int_equal(record.history_len, 0);
	assert_int_equal(record.since_done_us, 0);
	assert_int_equal(record.inflight, 6); /* what is in flight is no history */
}

/* The last request in one word: to a microsecond, saturating, and right when its clock comes round. */
static void the_last_request(void **state)
{
	const uint64_t round = 1ULL << 52; /* ns in which the word's clock comes round */
	uint64_t word = semantos_last_pack(3 * round - 512, 5000000), later;

	(void)state;
	assert_int_equal(semantos_last_latency_us(word), 0xfffff);
	assert_int_equal(semantos_last_since_us(word, 3 * round + 999488), 999);
	assert_int_equal(semantos_last_since_us(word, 3 * round - 5000), 0); /* clocks crossed */
	assert_int_equal(semantos_last_since_us(0, 12345678), 0); /* none yet */
	later = semantos_last_pack(3 * round + 10000, 3);
	assert_true(semantos_last_newer(later, word));
	assert_false(semantos_last_newer(word, later));
	assert_false(semantos_last_newer(word, word));
	assert_true(semantos_last_newer(word, 0));
	assert_false(semantos_last_newer(0, word));
	for (uint64_t us = 1; us < 20000000; us = us * 3 + 7) {
		uint32_t since = semantos_last_since_us(
			semantos_last_pack(1ULL << 40, 1), (1ULL << 40) + us * 1000);

		assert_true(since + 1 >= us && since <= us);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_request),
		cmocka_unit_test(same_numbers_as_the_hooks),
		cmocka_unit_test(times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
