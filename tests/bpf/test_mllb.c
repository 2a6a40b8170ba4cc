// SPDX-License-Identifier: Apache-2.0
/*
 * test_mllb.c - mllb's decisions in the kernel: the net answers there as in user space, bit for bit; whoever decides is
 * counted, with the reason; what the kernel answered reaches the agent whole, or is counted as lost.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/core/bpf_object.h"
#include "agent/core/ring.h"
#include "agent/infer/random.h"
#include "agent/infer/sched_net.h"

#define ROWS 2000
#define TAKEN 4096

/* As in mllb_wrap.bpf.c. */
enum what { DECIDE, SEND, NET };
struct mllb_command {
	struct semantos_sched_record record;
	uint64_t now_ns;
	uint32_t what, answer;
	int64_t output;
	uint64_t reserved;
};

static struct bpf_lease lease;
static struct bpf_policy policy;
static struct ring_reader *reader;
static char bpffs_dir[64];
static int fd;
static struct semantos_sched_record taken[TAKEN];
static size_t n_taken;

static void take(void *ctx, const struct semantos_block_record *record)
{
	(void)ctx;
	if (n_taken < TAKEN)
		memcpy(&taken[n_taken++], record, sizeof(taken[0]));
}

static int open_all(void **state)
{
	char error[512] = "";
	int err;

	(void)state;
	if (geteuid() != 0 || access("/sys/kernel/btf/vmlinux", R_OK)) {
		printf("skipped: needs root and a kernel with BTF\n");
		exit(77);
	}
	snprintf(bpffs_dir, sizeof(bpffs_dir), "/sys/fs/bpf/semantos-test-%d", getpid());
	err = bpf_filesystem_ready(bpffs_dir, error, sizeof(error));
	if (!err)
		err = bpf_lease_open(&lease, "build/bpf/lib", bpffs_dir, error, sizeof(error));
	if (!err)
		err = bpf_policy_open(&policy, "build/tests/bpf/mllb_wrap.bpf.o", "mllb", &lease,
			bpffs_dir, error, sizeof(error));
	if (err)
		fail_msg("%s", error);
	reader = ring_reader_new(
		policy.rings_fd, policy.wake, policy.n_cpus, 256 << 10, 64, take, NULL);
	assert_non_null(reader);
	fd = bpf_program__fd(bpf_object__find_program_by_name(policy.object, "wrap"));
	return 0;
}

static int close_all(void **state)
{
	(void)state;
	ring_reader_free(reader);
	bpf_policy_close(&policy);
	bpf_lease_close(&lease);
	bpf_remove_pins(bpffs_dir);
	assert_int_not_equal(access(bpffs_dir, F_OK), 0);
	return 0;
}

static void run(struct mllb_command *command)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = command, .ctx_size_in = sizeof(*command));

	assert_int_equal(bpf_prog_test_run_opts(fd, &options), 0);
	assert_int_equal(options.retval, 0);
}

static int order(uint32_t op, uint32_t mode, uint32_t canary, uint64_t budget)
{
	const struct semantos_control command = { .op = op,
		.mode = mode,
		.canary_percent = canary,
		.ttl_ns = 50000000,
		.budget_per_s = budget };

	return bpf_policy_control(&policy, &command);
}

static struct semantos_sched_row counts(void)
{
	struct semantos_sched_row sum;

	assert_int_equal(bpf_sched_counts(&policy.sched, &sum), 0);
	return sum;
}

/* Decide once; the counter that must have moved by it. */
static bool decide(
	const struct semantos_sched_record *record, uint64_t now_ns, enum semantos_sched_counter by)
{
	struct mllb_command command = { .record = *record, .now_ns = now_ns, .what = DECIDE };
	struct semantos_sched_row before = counts(), after;

	run(&command);
	after = counts();
	assert_int_equal(after.count[by], before.count[by] + 1);
	assert_int_equal(bpf_sched_unaccounted(&after), 0);
	return command.answer;
}

static void random_candidate(struct random_state *random, struct semantos_sched_record *record)
{
	uint64_t *word = (uint64_t *)record;

	for (size_t i = 0; i < sizeof(*record) / 8; i++)
		word[i] = random_u64(random);
	if (random_below(random, 4)) { /* most of them as they come */
		record->src_nr = (uint32_t)random_below(random, 40);
		record->dst_nr = (uint32_t)random_below(random, 4);
		record->src_load = (uint32_t)random_below(random, 40000);
		record->dst_load = (uint32_t)random_below(random, 4000);
		record->delta_ns = (int64_t)random_below(random, 2000000);
		record->delta_faults = (int32_t)random_below(random, 200) - 100;
		record->total_faults = (uint32_t)random_below(random, 300);
		record->nr_fails = (uint32_t)random_below(random, 4);
		record->cache_nice_tries = (uint32_t)random_below(random, 3);
	}
}

static struct model *random_model(struct random_state *random)
{
	const uint32_t widths[] = { SCHED_FEATURES, 10, 2 };
	struct model *model = model_new("random", "mllb", widths, 3);

	assert_non_null(model);
	model->layer[0].activation = MODEL_RELU;
	model->layer[1].activation = MODEL_LINEAR;
	for (uint32_t l = 0; l < 2; l++) {
		struct model_layer *layer = &model->layer[l];

		for (uint32_t i = 0; i < layer->inputs * layer->outputs; i++)
			layer->weight[i] = (float)random_below(random, 2000) / 1000.0f - 1;
		for (uint32_t o = 0; o < layer->outputs; o++)
			layer->bias[o] = (float)random_below(random, 2000) / 1000.0f - 1;
	}
	return model;
}

static void kernel_and_user_space_agree(void **state)
{
	struct random_state random = random_seed(11);
	size_t yes = 0;

	(void)state;
	for (uint32_t m = 0; m < 4; m++) {
		struct model *model = random_model(&random);
		struct mlp_model net;

		assert_int_equal(sched_net_pack(model, m + 1, &net), 0);
		assert_int_equal(bpf_sched_model(&policy.sched, &net), 0);
		for (int r = 0; r < ROWS / 4; r++) {
			struct mllb_command command = { .what = NET };
			struct mlp_vectors v = { { 0 }, { 0 } };

			random_candidate(&random, &command.record);
			sched_features(&command.record, v.x);
			mlp_run(&net, &v);
			run(&command);
			assert_true(command.output == v.x[0]);
			assert_int_equal(command.answer, sched_net_says_yes(&net, &command.record));
			yes += command.answer;
		}
		model_free(model);
	}
	assert_in_range(yes, ROWS / 20, ROWS - ROWS / 20);
}

/* A net that always says yes, of a candidate that is hot: the plain rule says no. */
static void whoever_decides_is_counted(void **state)
{
	const uint32_t widths[] = { SCHED_FEATURES, 2, 1 };
	struct model *model = model_new("yes", "mllb", widths, 3);
	const struct semantos_sched_record hot = { .src_nr = 3, .delta_ns = 1000 },
					   cold = { .src_nr = 3, .delta_ns = 600000 };
	struct mlp_model net;
	uint64_t treated = 0, control = 0, asked;

	(void)state;
	model->layer[1].bias[0] = 1;
	assert_int_equal(sched_net_pack(model, 9, &net), 0);
	assert_int_equal(bpf_sched_model(&policy.sched, &net), 0);
	model_free(model);
	assert_int_equal(order(SEMANTOS_CTL_POLICY, SEMANTOS_SHADOW, 0, 0), 0);
	assert_false(decide(&hot, 0, SEMANTOS_S_PLAIN_SHADOW));
	assert_true(decide(&cold, 0, SEMANTOS_S_PLAIN_SHADOW));

	assert_int_equal(order(SEMANTOS_CTL_POLICY, SEMANTOS_ENFORCE, 0, 0), 0);
	assert_int_equal(bpf_lease_release(&lease), 0);
	assert_false(decide(&hot, 0, SEMANTOS_S_PLAIN_NO_LEASE));
	assert_int_equal(bpf_lease_renew(&lease), 0);
	asked = lease.row->expires_ns;
	/* to the nanosecond: one before it lapses it counts, but its slot has no model with signal */
	assert_false(decide(&hot, asked - 1, SEMANTOS_S_PLAIN_NO_SIGNAL));
	assert_false(decide(&hot, asked, SEMANTOS_S_PLAIN_NO_LEASE));
	assert_int_equal(order(SEMANTOS_CTL_SLOT_OBEY, SEMANTOS_OBEY, 0, 0), 0);
	assert_true(decide(&hot, asked - 1, SEMANTOS_S_NET));
	assert_true(decide(&hot, asked - 1, SEMANTOS_S_NET_YES));

	assert_int_equal(order(SEMANTOS_CTL_POLICY, SEMANTOS_CANARY, 30, 0), 0);
	for (int slice = 0; slice < 400; slice++) {
		struct mllb_command command = { .record = hot, .what = DECIDE };

		/* the lease of the row is at a fixed time: slices are tried where it lives */
		command.now_ns = asked - 1 - ((uint64_t)slice * SEMANTOS_LEASE_NS / 401);
		run(&command);
		treated += command.answer;
		control += !command.answer;
		assert_int_equal(command.answer, semantos_in_canary(command.now_ns >> 27, 30));
	}
	assert_int_equal(treated + control, 400);
	assert_int_equal(order(SEMANTOS_CTL_SLOT_OBEY, 0, 0, 0), 0);
	assert_int_equal(order(SEMANTOS_CTL_POLICY, SEMANTOS_SHADOW, 0, 0), 0);
}

static void bad_orders_are_refused(void **state)
{
	struct semantos_control command = { .op = SEMANTOS_CTL_SLOT_OBEY, .slot = 1 };

	(void)state;
	assert_int_equal(bpf_policy_control(&policy, &command), -ENOENT);
	assert_int_equal(order(SEMANTOS_CTL_SLOT_OBEY, 4, 0, 0), -EINVAL);
	assert_int_equal(order(SEMANTOS_CTL_POLICY, 3, 0, 0), -EINVAL);
	assert_int_equal(order(SEMANTOS_CTL_POLICY, SEMANTOS_CANARY, 101, 0), -EINVAL);
	assert_int_equal(order(99, 0, 0, 0), -EINVAL);
	assert_int_equal(order(SEMANTOS_CTL_SLOT_REMOVE, 0, 0, 0), -ENOENT);
	assert_int_equal(order(SEMANTOS_CTL_SLOT_ADD, 0, 0, 0), 0);
	assert_int_equal(order(SEMANTOS_CTL_SLOT_ADD, 0, 0, 0), -EBUSY);
	assert_int_equal(order(SEMANTOS_CTL_SLOT_REMOVE, 0, 0, 0), 0);
}

/* The law of bpf/wire.h, for a hook that knows question and answer at once. */
static void conserved(void)
{
	struct semantos_counters sum;
	const uint64_t *c = sum.count;

	assert_int_equal(bpf_policy_counters(&policy, &sum), 0);
	assert_int_equal(c[SEMANTOS_C_REQUESTS], c[SEMANTOS_C_REQUESTS_SUBMITTED] +
							 c[SEMANTOS_C_DROP_OVER_BUDGET] +
							 c[SEMANTOS_C_DROP_RING_FULL]);
	assert_int_equal(c[SEMANTOS_C_REQUESTS_SUBMITTED], c[SEMANTOS_C_OUTCOMES]);
	assert_int_equal(c[SEMANTOS_C_OUTCOMES],
		c[SEMANTOS_C_OUTCOMES_SUBMITTED] + c[SEMANTOS_C_DROP_OUTCOME_RING_FULL]);
	assert_int_equal(c[SEMANTOS_C_REQUESTS_SUBMITTED] + c[SEMANTOS_C_OUTCOMES_SUBMITTED],
		ring_delivered(reader) + ring_waiting_bytes(reader) / (sizeof(taken[0]) + 8));
}

static void answers_reach_the_agent(void **state)
{
	struct mllb_command command = { .what = SEND };
	struct semantos_counters sum;

	(void)state;
	assert_int_equal(order(SEMANTOS_CTL_POLICY, SEMANTOS_SHADOW, 0, 10000000), 0);
	run(&command); /* no slot yet: nothing is asked */
	assert_int_equal(order(SEMANTOS_CTL_SLOT_ADD, 0, 0, 0), 0);
	for (uint32_t i = 0; i < 50; i++) {
		command = (struct mllb_command){ .what = SEND, .answer = i % 3 == 0 };
		command.record.src_nr = i;
		command.record.delta_ns = -5;
		run(&command);
	}
	n_taken = 0;
	while (ring_drain(reader))
		;
	assert_int_equal(n_taken, 100);
	for (size_t i = 0; i < n_taken; i++) {
		const struct semantos_sched_record *record = &taken[i];

		assert_int_equal(record->head.kind, i % 2 ? SEMANTOS_OUTCOME : SEMANTOS_REQUEST);
		assert_int_equal(record->head.bytes, sizeof(*record));
		assert_true(record->head.request_id == taken[i - i % 2].head.request_id);
		assert_int_equal(record->src_nr, i / 2);
		assert_int_equal(record->cold_us, 0);
		assert_int_equal(record->history_len, SEMANTOS_HISTORY);
		assert_int_equal(record->class_in_force, 1); /* the net that always says yes */
		assert_int_equal(record->answer, i % 2 && i / 2 % 3 == 0);
	}
	conserved();
	/* no budget: each is counted as such, and none is sent */
	assert_int_equal(order(SEMANTOS_CTL_POLICY, SEMANTOS_SHADOW, 0, 0), 0);
	bpf_policy_counters(&policy, &sum);
	for (int i = 0; i < 100; i++) {
		command = (struct mllb_command){ .what = SEND, .now_ns = (1ULL << 40) };
		run(&command);
	}
	n_taken = 0;
	while (ring_drain(reader))
		;
	assert_int_equal(n_taken, 0);
	conserved();
	/* more than the rings hold */
	assert_int_equal(order(SEMANTOS_CTL_POLICY, SEMANTOS_SHADOW, 0, 10000000), 0);
	for (int i = 0; i < 3000; i++) {
		command = (struct mllb_command){ .what = SEND, .now_ns = (uint64_t)i << 28 };
		run(&command);
	}
	bpf_policy_counters(&policy, &sum);
	assert_true(sum.count[SEMANTOS_C_DROP_RING_FULL] > 0);
	conserved();
	while (ring_drain(reader))
		;
	conserved();
	assert_int_equal(order(SEMANTOS_CTL_SLOT_REMOVE, 0, 0, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernel_and_user_space_agree),
		cmocka_unit_test(whoever_decides_is_counted),
		cmocka_unit_test(bad_orders_are_refused),
		cmocka_unit_test(answers_reach_the_agent),
	};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
