// SPDX-License-Identifier: Apache-2.0
/*
 * bench_stages.c - what each stage between ring and verdict costs by itself, warm, in a loop on one CPU: together they
 * explain the agent's CPU a record in bench_path.c. Needs no privilege. Stages take turns.
 */
#include <time.h>
#include <unistd.h>
#include "agent/core/capture.h"
#include "agent/core/evaluate.h"
#include "agent/infer/encode.h"
#include "agent/infer/infer.h"
#include "agent/infer/random.h"
#include "tests/bench/bench.h"

#define ROUNDS 40
#define RECORDS 4096 /* 512 KiB: as a ring they lie in L2 */
#define BATCH 64

enum stage { VALID, ENCODE_AGES, ENCODE_DIGITS, INFER_OURS, INFER_LINNOS, EVALUATE, CLOCK, STAGES };
static const char *const name[STAGES] = { "a record's bounds checked", "20 features encoded",
	"31 digits encoded", "20-64-2, a row of 64", "31-256-2, a row of 64",
	"prediction kept and judged", "clock read" };

static struct semantos_block_record record[RECORDS];
static float features[RECORDS][ENCODE_MAX_FEATURES], scores[BATCH];
static volatile uint64_t sink;

static uint64_t now_ns(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (uint64_t)at.tv_sec * 1000000000ULL + (uint64_t)at.tv_nsec;
}

static void records_make(void)
{
	struct random_state random = random_seed(1);

	for (uint64_t i = 0; i < RECORDS; i++) {
		struct semantos_block_record *r = &record[i];

		*r = (struct semantos_block_record){
			.head = { .version = SEMANTOS_WIRE_VERSION,
				.bytes = sizeof(*r),
				.kind = SEMANTOS_REQUEST,
				.ts_ns = i * 1000,
				.request_id = (i + 1) << 12 },
			.pending_pages = 1 + (uint32_t)random_below(&random, 64),
			.inflight = 1 + (uint32_t)random_below(&random, 32),
			.inflight_reads = 1,
			.sectors = 8,
			.since_done_us = (uint32_t)random_below(&random, 5000),
			.last_latency_us = (uint32_t)random_below(&random, 5000),
			.oldest_age_us = (uint32_t)random_below(&random, 5000),
			.ewma_latency_us = (uint32_t)random_below(&random, 5000),
			.history_len = SEMANTOS_HISTORY,
			.class_in_force = SEMANTOS_CLASS_DEFAULT,
		};
		for (int h = 0; h < SEMANTOS_HISTORY; h++)
			r->history[h] = semantos_hist_pack(
				random_below(&random, 5000), random_below(&random, 64), 3, 8);
	}
}

struct net {
	struct infer_plan *plan;
	struct infer_scratch *scratch;
};

static struct net net_make(uint32_t inputs, uint32_t hidden)
{
	struct random_state random = random_seed(2);
	const uint32_t widths[] = { inputs, hidden, 2 };
	struct model *model = model_new("m", "e", widths, 3);
	struct net net = { NULL, NULL };

	if (!model)
		exit(1);
	model->layer[0].activation = MODEL_RELU;
	for (uint32_t l = 0; l < 2; l++)
		for (uint32_t i = 0; i < model->layer[l].inputs * model->layer[l].outputs; i++)
			model->layer[l].weight[i] = (float)(random_unit(&random) - 0.5);
	net.plan = infer_prepare(model, BATCH, INFER_FLOAT);
	net.scratch = net.plan ? infer_scratch_new(net.plan) : NULL;
	if (!net.scratch)
		exit(1);
	model_free(model);
	return net;
}

static void infer(const struct net *net, uint32_t inputs)
{
	static float rows[RECORDS * ENCODE_MAX_FEATURES];

	for (size_t at = 0; at < RECORDS; at += BATCH) {
		infer_run(net->plan, net->scratch, rows + at * inputs, BATCH, scores);
		sink += scores[0] > 0;
	}
}

static void run(enum stage stage, const struct net *ours, const struct net *linnos,
	struct evaluator *evaluator)
{
	static const struct encoder *ages, *digits;

	if (!ages) {
		ages = encoder_find("latency-ages");
		digits = encoder_find("linnos-digits");
	}
	if (stage == INFER_OURS || stage == INFER_LINNOS) {
		infer(stage == INFER_OURS ? ours : linnos, stage == INFER_OURS ? 20 : 31);
		return;
	}
	for (size_t i = 0; i < RECORDS; i++) {
		const struct semantos_block_record *r = &record[i];
		struct evaluator_outcome outcome;

		switch (stage) {
		case VALID:
			sink += record_valid(r, sizeof(*r));
			break;
		case ENCODE_AGES:
			ages->encode(r, features[i]);
			break;
		case ENCODE_DIGITS:
			digits->encode(r, features[i]);
			break;
		case EVALUATE:
			evaluator_predicted(evaluator, r->head.request_id, r->pending_pages, 1, 1);
			/* The outcome comes some hundred reads later. */
			outcome = evaluator_outcome_of(&record[(i + RECORDS - 256) % RECORDS]);
			sink += evaluator_judge(evaluator, &outcome, 100);
			break;
		default:
			sink += now_ns();
		}
	}
}

int main(void)
{
	static double ns[STAGES][ROUNDS];
	struct net ours = net_make(20, 64), linnos = net_make(31, 256);
	struct evaluator *evaluator = evaluator_new(4096);

	if (!evaluator)
		return 1;
	pin_to((int)sysconf(_SC_NPROCESSORS_ONLN) - 1);
	records_make();
	for (int round = 0; round < ROUNDS; round++)
		for (int stage = 0; stage < STAGES; stage++) {
			uint64_t start;

			run((enum stage)stage, &ours, &linnos, evaluator);
			start = now_ns();
			run((enum stage)stage, &ours, &linnos, evaluator);
			ns[stage][round] = (double)(now_ns() - start) / RECORDS;
		}
	for (int stage = 0; stage < STAGES; stage++)
		row(name[stage], "ns", ns[stage], ROUNDS, NO_TARGET);
	rows_end("stages");
	return 0;
}
