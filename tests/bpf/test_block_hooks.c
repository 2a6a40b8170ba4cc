// SPDX-License-Identifier: Apache-2.0
/*
 * test_block_hooks.c - what the block hooks count, remember and refuse, event by event.
 */
#include "tests/bpf/wrap.h"

#define DEV (259u << 20 | 3)
#define SEQ 42
#define US 1000ULL
#define T0 1000000000ULL

static void issue(struct wrap *wrap, uint32_t tag, uint32_t op, uint32_t sectors, uint64_t at_us)
{
	wrap_event(wrap, WRAP_ISSUE, 7, DEV, SEQ, tag, op, sectors, T0 + at_us * US);
}

static void issue_at(struct wrap *wrap, uint32_t tag, uint64_t sector, uint64_t at_us)
{
	struct wrap_command command = {
		.event = { .diskseq = SEQ,
			.sector = sector,
			.queue_id = 7,
			.dev = DEV,
			.tag = tag,
			.sectors = 8,
			.request = 0x1000 + tag },
		.now_ns = T0 + at_us * US,
		.what = WRAP_ISSUE,
	};

	assert_int_equal(wrap_run(wrap, &command), 0);
}

static void complete(struct wrap *wrap, uint32_t tag, uint64_t at_us)
{
	wrap_event(wrap, WRAP_COMPLETE, 7, DEV, SEQ, tag, 0, 8, T0 + at_us * US);
}

/* Four reads, one after the other, of 100, 200, 300, 400 us; the device is ready to be predicted at 2000 us. */
static void four_reads(struct wrap *wrap)
{
	for (uint32_t i = 0; i < 4; i++) {
		issue(wrap, i, SEMANTOS_OP_READ, 8, i * 500);
		complete(wrap, i, i * 500 + (i + 1) * 100);
	}
	assert_int_equal(wrap_drain(wrap), 0);
	assert_int_equal(wrap_count(wrap, SEMANTOS_C_NO_HISTORY), 4);
}

static void record_carries_the_raw_numbers(void **state)
{
	const struct semantos_block_record *record;
	struct wrap wrap;

	(void)state;
	wrap_open(&wrap, 1000000, 65536);
	wrap_slot_add(&wrap, 7, DEV, SEQ, 32);
	four_reads(&wrap);
	issue(&wrap, 10, SEMANTOS_OP_WRITE, 24, 2000);
	issue(&wrap, 11, SEMANTOS_OP_READ, 9, 2100);
	issue(&wrap, 12, SEMANTOS_OP_READ, 8, 2150);
	complete(&wrap, 11, 2400);
	assert_int_equal(wrap_drain(&wrap), 3);

	record = &wrap.record[0];
	assert_int_equal(record->head.kind, SEMANTOS_REQUEST);
	assert_int_equal(record->pending_pages,
		3 + 2); /* 24 sectors of the write, 9 of our own, rounded up */
	assert_int_equal(record->inflight, 2);
	assert_int_equal(record->inflight_reads, 1);
	assert_int_equal(record->sectors, 9);
	assert_int_equal(record->history_len, 4);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(semantos_hist_latency_us(record->history[i]), (i + 1) * 100);
		assert_int_equal(semantos_hist_pending_pages(record->history[i]), 1);
		assert_int_equal(semantos_hist_inflight(record->history[i]), 1);
		assert_int_equal(semantos_hist_sectors(record->history[i]), 8);
	}
	assert_in_range(record->since_done_us, 2100 - 1900 - 1, 2100 - 1900); /* to a microsecond */
	assert_int_equal(record->last_latency_us, 400);
	assert_int_equal(record->oldest_age_us, 0); /* a write is no read */
	assert_int_equal(record->class_in_force, SEMANTOS_CLASS_DEFAULT);
	assert_int_equal(record->latency_us, 0);
	assert_int_equal(wrap.record[1].oldest_age_us, 50);
	assert_int_equal(wrap.record[1].inflight_reads, 2);

	record = &wrap.record[2];
	assert_int_equal(record->head.kind, SEMANTOS_OUTCOME);
	assert_int_equal(record->head.request_id, wrap.record[0].head.request_id);
	assert_int_equal(record->latency_us, 300);
	assert_int_equal(record->pending_pages, 5); /* as it was at issue */
	wrap_conserved(&wrap, 1);
	complete(&wrap, 12, 2500);
	complete(&wrap, 10, 2600);
	issue(&wrap, 13, SEMANTOS_OP_READ, 8, 2700);
	assert_int_equal(wrap_drain(&wrap), 2);
	assert_int_equal(wrap.record[1].pending_pages, 1);
	assert_int_equal(wrap.record[1].inflight, 1);
	assert_int_equal(wrap.record[1].last_latency_us, 600); /* a write's */
	assert_in_range(wrap.record[1].since_done_us, 99, 100);
	wrap_conserved(&wrap, 1);
	wrap_close(&wrap);
}

static void oldest_read_is_found_past_finished_ones(void **state)
{
	struct wrap wrap;

	(void)state;
	wrap_open(&wrap, 1000000, 65536);
	wrap_slot_add(&wrap, 7, DEV, SEQ, 64);
	four_reads(&wrap);
	issue(&wrap, 20, SEMANTOS_OP_READ, 8, 3000); /* stays */
	for (uint32_t i = 0; i < 40; i++) {
		issue(&wrap, 21 + i % 4, SEMANTOS_OP_READ, 8, 3010 + i * 10);
		complete(&wrap, 21 + i % 4, 3015 + i * 10);
	}
	wrap_drain(&wrap);
	for (size_t i = 1; i < wrap.n; i++)
		if (wrap.record[i].head.kind == SEMANTOS_REQUEST)
			assert_int_equal(wrap.record[i].oldest_age_us,
				(wrap.record[i].head.ts_ns - T0) / US - 3000);
	complete(&wrap, 20, 4000);
	/* Forty finished reads lie behind it; eight are skipped a call. */
	for (uint32_t i = 0; i < 6; i++) {
		issue(&wrap, 30, SEMANTOS_OP_READ, 8, 4100 + i * 10);
		complete(&wrap, 30, 4105 + i * 10);
	}
	wrap_drain(&wrap);
	assert_int_equal(wrap.record[wrap.n - 1].oldest_age_us, 0);
	wrap_close(&wrap);
}

static void lost_completion_is_mended_and_counted(void **state)
{
	struct wrap wrap;

	(void)state;
	wrap_open(&wrap, 1000000, 65536);
	wrap_slot_add(&wrap, 7, DEV, SEQ, 32);
	four_reads(&wrap);
	issue_at(&wrap, 5, 1000, 3000); /* its completion is never seen */
	issue_at(&wrap, 5, 2000, 4000);
	assert_int_equal(wrap_drain(&wrap), 2);
	assert_int_equal(wrap.record[1].pending_pages, 1);
	assert_int_equal(wrap.record[1].inflight_reads, 1);
	assert_int_equal(wrap_count(&wrap, SEMANTOS_C_DROP_OUTCOME_REUSED), 1);
	wrap_conserved(&wrap, 1);
	complete(&wrap, 5, 4100);
	complete(&wrap, 5, 4200);
	assert_int_equal(wrap_count(&wrap, SEMANTOS_C_UNMATCHED_DONE), 1);
	wrap_conserved(&wrap, 0);
	wrap_close(&wrap);
}

static void requeued_request_is_found_without_its_tag(void **state)
{
	struct wrap_command command;
	struct wrap wrap;

	(void)state;
	wrap_open(&wrap, 1000000, 65536);
	wrap_slot_add(&wrap, 7, DEV, SEQ, 32);
	four_reads(&wrap);
	issue(&wrap, 5, SEMANTOS_OP_READ, 8, 3000);
	command = (struct wrap_command){
		.event = { .diskseq = SEQ,
			.queue_id = 7,
			.dev = DEV,
			.tag = (uint32_t)-1,
			.sectors = 8,
			.request = 0x1005 },
		.what = WRAP_REQUEUE,
	};
	assert_int_equal(wrap_run(&wrap, &command), 0);
	assert_int_equal(wrap_count(&wrap, SEMANTOS_C_REQUEUED), 1);
	assert_int_equal(wrap_count(&wrap, SEMANTOS_C_DROP_OUTCOME_REQUEUED), 1);
	issue(&wrap, 6, SEMANTOS_OP_READ, 8, 3100);
	complete(&wrap, 6, 3200);
	assert_int_equal(wrap_drain(&wrap), 3);
	assert_int_equal(wrap.record[1].pending_pages, 1);
	wrap_conserved(&wrap, 0);
	wrap_close(&wrap);
}

static void read_handed_over_twice_is_one_read(void **state)
{
	struct wrap wrap;

	(void)state;
	wrap_open(&wrap, 1000000, 65536);
	wrap_slot_add(&wrap, 7, DEV, SEQ, 32);
	four_reads(&wrap);
	issue_at(&wrap, 5, 1000, 3000);
	issue_at(&wrap, 5, 1000, 3050); /* no room in the driver: again, same tag, same sectors */
	complete(&wrap, 5, 3200);
	issue_at(&wrap, 6, 1000, 3300);
	assert_int_equal(wrap_drain(&wrap), 3);
	assert_int_equal(wrap.record[1].head.request_id, wrap.record[0].head.request_id);
	assert_int_equal(wrap.record[1].latency_us, 200); /* from the first time */
	assert_int_equal(wrap.record[2].pending_pages, 1);
	assert_int_equal(wrap_count(&wrap, SEMANTOS_C_REQUEUED), 1);
	assert_int_equal(wrap_count(&wrap, SEMANTOS_C_DROP_OUTCOME_REUSED), 0);
	wrap_conserved(&wrap, 1);
	wrap_close(&wrap);
}

static void failed_read_leaves_no_history(void **state)
{
	struct wrap_command command;
	struct wrap wrap;

	(void)state;
	wrap_open(&wrap, 1000000, 65536);
	wrap_slot_add(&wrap, 7, DEV, SEQ, 32);
	four_reads(&wrap);
	issue(&wrap, 5, SEMANTOS_OP_READ, 8, 3000);
	command = (struct wrap_command){
		.event = { .diskseq = SEQ,
			.queue_id = 7,
			.dev = DEV,
			.tag = 5,
			.sectors = 8,
			.error = 10 },
		.now_ns = T0 + 9000 * US,
		.what = WRAP_COMPLETE,
	};
	assert_int_equal(wrap_run(&wrap, &command), 0);
	issue(&wrap, 6, SEMANTOS_OP_READ, 8, 9100);
	assert_int_equal(wrap_drain(&wrap), 3);
	assert_true(wrap.record[1].head.flags & SEMANTOS_F_ERROR);
	assert_int_equal(wrap.record[2].last_latency_us, 400);
	assert_int_equal(semantos_hist_latency_us(wrap.record[2].history[3]), 400);
	wrap_close(&wrap);
}

static void strangers_cost_a_count_and_nothing_else(void **state)
{
	struct wrap wrap;

	(void)state;
	wrap_open(&wrap, 1000000, 65536);
	wrap_slot_add(&wrap, 7, DEV, SEQ, 32);
	wrap_event(&wrap, WRAP_ISSUE, 8, DEV + 1, SEQ, 0, 0, 8, T0); /* another disk */
	assert_int_equal(wrap_count(&wrap, SEMANTOS_C_NOT_OURS), 1);
	wrap_event(&wrap, WRAP_ISSUE, 100000, DEV, SEQ, 0, 0, 8,
		T0); /* a queue number past the table */
	assert_int_equal(wrap_count(&wrap, SEMANTOS_C_NOT_OURS), 2);
	issue(&wrap, 32, SEMANTOS_OP_READ, 8, 10); /* a tag the device never declared */
	issue(&wrap, (uint32_t)-1, SEMANTOS_OP_READ, 8, 10);
	assert_int_equal(wrap_count(&wrap, SEMANTOS_C_TAG_RANGE), 2);
	assert_int_equal(wrap_count(&wrap, SEMANTOS_C_READS), 0);
	wrap_close(&wrap);
}

static void reused_device_number_retires_the_slot(void **state)
{
	struct wrap wrap;
	uint32_t generation;

	(void)state;
	wrap_open(&wrap, 1000000, 65536);
	wrap_slot_add(&wrap, 7, DEV, SEQ, 32);
	four_reads(&wrap);
	generation = wrap.policy.slots[7].generation;
	wrap_event(&wrap, WRAP_ISSUE, 7, DEV, SEQ + 1, 0, 0, 8,
		T0 + 9000 * US); /* same number, another disk */
	assert_int_equal(wrap_count(&wrap, SEMANTOS_C_NOT_OURS), 1);
	assert_int_equal(wrap.policy.slots[7].in_use, 0);
	assert_int_not_equal(wrap.policy.slots[7].generation, generation);
	issue(&wrap, 1, SEMANTOS_OP_READ, 8, 9100); /* even the old one is no longer followed */
	assert_int_equal(wrap_drain(&wrap), 0);
	/* The slot can be given again, and starts without history. */
	assert_int_equal(wrap_slot_command(&wrap, SEMANTOS_CTL_SLOT_REMOVE, 7, 0), 0);
	wrap_slot_add(&wrap, 7, DEV, SEQ + 1, 32);
	wrap_event(&wrap, WRAP_ISSUE, 7, DEV, SEQ + 1, 0, 0, 8, T0 + 9200 * US);
	assert_int_equal(wrap_count(&wrap, SEMANTOS_C_NO_HISTORY), 5);
	wrap_close(&wrap);
}

static void control_refuses_nonsense(void **state)
{
	struct semantos_control command = {
		.op = SEMANTOS_CTL_SLOT_ADD, .slot = SEMANTOS_MAX_SLOTS, .dev = DEV
	};
	struct wrap wrap;
	uint32_t slot = 0;
	struct semantos_slot row = { .in_use = 1 };

	(void)state;
	wrap_open(&wrap, 1000000, 65536);
	assert_int_equal(bpf_policy_control(&wrap.policy, &command), -ENOENT);
	command.slot = 1;
	assert_int_equal(bpf_policy_control(&wrap.policy, &command), -EINVAL); /* no queues */
	command.op = 99;
	assert_int_equal(bpf_policy_control(&wrap.policy, &command), -EINVAL);
	command = (struct semantos_control){
		.op = SEMANTOS_CTL_POLICY, .mode = 3, .ttl_ns = 1000000
	};
	assert_int_equal(bpf_policy_control(&wrap.policy, &command), -EINVAL);
	command = (struct semantos_control){ .op = SEMANTOS_CTL_POLICY,
		.ttl_ns = SEMANTOS_LEASE_NS + 1 };
	assert_int_equal(bpf_policy_control(&wrap.policy, &command),
		-EINVAL); /* nothing may outlive the lease */
	wrap_slot_add(&wrap, 7, DEV, SEQ, 32);
	command = (struct semantos_control){
		.op = SEMANTOS_CTL_SLOT_ADD, .slot = 7, .dev = DEV, .queue_depth = 1, .queues = 1
	};
	assert_int_equal(bpf_policy_control(&wrap.policy, &command), -EBUSY);
	/* What the kernel side owns, user space cannot write: not even root. */
	assert_int_not_equal(
		bpf_map_update_elem(bpf_object__find_map_fd_by_name(wrap.policy.object, "slots"),
			&slot, &row, BPF_ANY),
		0);
	assert_int_equal(errno, EPERM);
	wrap_close(&wrap);
}

static void losses_are_counted_by_cause(void **state)
{
	struct wrap wrap;
	uint64_t at = 5000;

	(void)state;
	wrap_open(&wrap, 750, 4096); /* a hundred records a window of 134 ms; rings of 30 records */
	wrap_slot_add(&wrap, 7, DEV, SEQ, 32);
	four_reads(&wrap);
	for (int i = 0; i < 200; i++, at += 2) {
		issue(&wrap, 1, SEMANTOS_OP_READ, 8, at);
		complete(&wrap, 1, at + 1);
	}
	assert_int_equal(wrap_count(&wrap, SEMANTOS_C_REQUESTS), 200);
	assert_true(wrap_count(&wrap, SEMANTOS_C_DROP_RING_FULL) > 0);
	assert_true(wrap_count(&wrap, SEMANTOS_C_DROP_OVER_BUDGET) >=
		    68); /* allowance 100, in chunks of 32 a CPU */
	wrap_conserved(&wrap, 0);
	assert_true(wrap_drain(&wrap) > 0);
	wrap_conserved(&wrap, 0);
	/* The next window has its own allowance. */
	at += 200000;
	issue(&wrap, 1, SEMANTOS_OP_READ, 8, at);
	assert_int_equal(wrap_drain(&wrap), 1);
	wrap_conserved(&wrap, 1);
	wrap_close(&wrap);
}

static void outcome_of_an_older_generation_judges_nobody(void **state)
{
	struct wrap wrap;

	(void)state;
	wrap_open(&wrap, 1000000, 65536);
	wrap_slot_add(&wrap, 7, DEV, SEQ, 32);
	four_reads(&wrap);
	issue(&wrap, 5, SEMANTOS_OP_READ, 8, 3000);
	assert_int_equal(wrap_slot_command(&wrap, SEMANTOS_CTL_SLOT_BUMP, 7, 0), 0);
	complete(&wrap, 5, 3100);
	assert_int_equal(wrap_drain(&wrap), 1);
	assert_int_equal(wrap_count(&wrap, SEMANTOS_C_DROP_OUTCOME_DEVICE_GONE), 1);
	wrap_conserved(&wrap, 0);
	wrap_close(&wrap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(record_carries_the_raw_numbers),
		cmocka_unit_test(oldest_read_is_found_past_finished_ones),
		cmocka_unit_test(lost_completion_is_mended_and_counted),
		cmocka_unit_test(requeued_request_is_found_without_its_tag),
		cmocka_unit_test(read_handed_over_twice_is_one_read),
		cmocka_unit_test(failed_read_leaves_no_history),
		cmocka_unit_test(strangers_cost_a_count_and_nothing_else),
		cmocka_unit_test(reused_device_number_retires_the_slot),
		cmocka_unit_test(control_refuses_nonsense),
		cmocka_unit_test(losses_are_counted_by_cause),
		cmocka_unit_test(outcome_of_an_older_generation_judges_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
