// SPDX-License-Identifier: Apache-2.0
/*
 * encode.c - the encoders: raw numbers of one read to a model's features.
 *
 * Owns the table of names. Reads only what stood in the record at issue, never an outcome field, so that no score can
 * leak; works on one record without memory of others. Any thread.
 */
#include <math.h>
#include <string.h>
#include "agent/infer/encode.h"
#include "bpf/lib/sched_features.h"

/* Most significant digit first; what does not fit shows as all nines. */
static float *put_digits(float *to, uint32_t value, uint32_t n_digits)
{
	static const uint32_t limit[] = { 0, 9, 99, 999, 9999 };

	if (value > limit[n_digits])
		value = limit[n_digits];
	for (uint32_t i = n_digits; i-- > 0; value /= 10)
		to[i] = (float)(value % 10);
	return to + n_digits;
}

static void encode_linnos_digits(const struct semantos_block_record *record, float *features)
{
	for (int i = 0; i < SEMANTOS_HISTORY; i++)
		features = put_digits(features, semantos_hist_pending_pages(record->history[i]), 3);
	features = put_digits(features, record->pending_pages, 3);
	for (int i = 0; i < SEMANTOS_HISTORY; i++)
		features = put_digits(features, semantos_hist_latency_us(record->history[i]), 4);
}

#define HEIMDALL_HISTORY 3 /* reads Heimdall looks back on */
#define HEIMDALL_MAX 0x1p24f /* the widest of its numbers: a latency of 24 bits */

static float bounded(uint64_t value, uint64_t limit)
{
	return (float)(value < limit ? value : limit);
}

static void encode_heimdall(const struct semantos_block_record *record, float *features)
{
	const uint64_t *history = record->history + SEMANTOS_HISTORY - HEIMDALL_HISTORY;
	const uint64_t limit = (uint64_t)HEIMDALL_MAX;

	features[0] = record->op == SEMANTOS_OP_READ;
	features[1] = bounded((uint64_t)record->sectors * 512, limit);
	features[2] = bounded(record->inflight, limit);
	for (int i = 0; i < HEIMDALL_HISTORY; i++) {
		uint32_t latency_us = semantos_hist_latency_us(history[i]);
		uint32_t bytes = semantos_hist_sectors(history[i]) * 512;

		features[3 + i] = (float)semantos_hist_inflight(history[i]);
		features[6 + i] = (float)latency_us;
		features[9 + i] = (float)bytes / (float)(latency_us ? latency_us : 1);
	}
}

static float log_scaled(uint32_t value)
{
	return log2f(1.0f + (float)value);
}

static void encode_latency_ages(const struct semantos_block_record *record, float *features)
{
	*features++ = log_scaled(record->pending_pages);
	*features++ = log_scaled(record->inflight);
	*features++ = log_scaled(record->inflight_reads);
	*features++ = log_scaled(record->sectors);
	*features++ = log_scaled(record->since_done_us);
	*features++ = log_scaled(record->last_latency_us);
	*features++ = log_scaled(record->oldest_age_us);
	*features++ = log_scaled(record->ewma_latency_us);
	for (int i = 0; i < SEMANTOS_HISTORY; i++) {
		uint64_t entry = record->history[i];

		*features++ = log_scaled(semantos_hist_latency_us(entry));
		*features++ = log_scaled(semantos_hist_pending_pages(entry));
		*features++ = log_scaled(semantos_hist_sectors(entry));
	}
}

static void encode_pending_only(const struct semantos_block_record *record, float *features)
{
	features[0] = bounded(record->pending_pages, SEMANTOS_HIST_PENDING_MAX);
}

/* A record of the kind `sched`, whose answer stands where a block record has its latency. */
static void encode_mllb(const struct semantos_block_record *record, float *features)
{
	const struct semantos_sched_record *candidate =
		(const struct semantos_sched_record *)record;
	wire_s64 x[SCHED_FEATURES];

	sched_features(candidate, x);
	for (int i = 0; i < SCHED_FEATURES; i++)
		features[i] = (float)((double)x[i] / (double)MLP_ONE);
}

static const struct encoder encoders[] = {
	{ "linnos-digits", "31 decimal digits of pending pages and latencies (LinnOS, OSDI'20)", 31,
		9, encode_linnos_digits, NULL, NULL },
	{ "heimdall", "12 numbers: operation, size, depth, last three reads (Heimdall, EuroSys'25)",
		12, HEIMDALL_MAX, encode_heimdall, NULL, NULL },
	{ "latency-ages", "20 log-scaled numbers: depth, ages, moving average, last four reads", 20,
		32, encode_latency_ages, NULL, NULL },
	{ "pending-only", "the number of pages in flight, the baseline to beat", 1,
		SEMANTOS_HIST_PENDING_MAX, encode_pending_only, NULL, NULL },
	{ "mllb", "15 numbers of a task and two CPUs: may it migrate? (MLLB, APSys'20)",
		SCHED_FEATURES, SCHED_FEATURE_MOST, encode_mllb, "answers", "time since it ran" },
};

const struct encoder *encoder_at(uint32_t index)
{
	return index < sizeof(encoders) / sizeof(encoders[0]) ? &encoders[index] : NULL;
}

const struct encoder *encoder_find(const char *name)
{
	for (uint32_t i = 0; encoder_at(i); i++)
		if (!strcmp(encoders[i].name, name))
			return &encoders[i];
	return NULL;
}

const char *encoder_rows(const struct encoder *encoder)
{
	return encoder && encoder->rows ? encoder->rows : "reads";
}

const char *encoder_baseline(const struct encoder *encoder)
{
	return encoder && encoder->baseline ? encoder->baseline : "pending pages";
}
