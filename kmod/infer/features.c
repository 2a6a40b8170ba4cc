// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * features.c - the encoders in integers. Pure: reads one record, writes features, bounded.
 */
#include "kmod/infer/features.h"

/* Most significant digit first; what does not fit shows as all nines. */
static uint32_t *put_digits(uint32_t *to, uint32_t value, uint32_t n_digits)
{
	uint32_t limit = n_digits == 3 ? 999 : 9999;

	if (value > limit)
		value = limit;
	for (uint32_t i = n_digits; i-- > 0; value /= 10)
		to[i] = value % 10;
	return to + n_digits;
}

static void linnos_digits(const struct semantos_block_record *record, uint32_t *feature)
{
	for (int i = 0; i < SEMANTOS_HISTORY; i++)
		feature = put_digits(feature, semantos_hist_pending_pages(record->history[i]), 3);
	feature = put_digits(feature, record->pending_pages, 3);
	for (int i = 0; i < SEMANTOS_HISTORY; i++)
		feature = put_digits(feature, semantos_hist_latency_us(record->history[i]), 4);
}

#define HEIMDALL_HISTORY 3
#define HEIMDALL_MAX (1u << 24)

static uint32_t bounded(uint64_t value)
{
	return value < HEIMDALL_MAX ? (uint32_t)value : HEIMDALL_MAX;
}

static void heimdall(const struct semantos_block_record *record, uint32_t *feature)
{
	const wire_u64 *history = record->history + SEMANTOS_HISTORY - HEIMDALL_HISTORY;

	feature[0] = record->op == SEMANTOS_OP_READ;
	feature[1] = bounded((uint64_t)record->sectors * 512);
	feature[2] = bounded(record->inflight);
	for (int i = 0; i < HEIMDALL_HISTORY; i++) {
		uint32_t latency_us = semantos_hist_latency_us(history[i]);
		uint32_t bytes = semantos_hist_sectors(history[i]) * 512;

		feature[3 + i] = semantos_hist_inflight(history[i]);
		feature[6 + i] = latency_us;
		feature[9 + i] = bytes / (latency_us ? latency_us : 1);
	}
}

/* 16384 * log2(1 + i / 64) */
static const uint16_t fraction[65] = {
	0,
	366,
	727,
	1083,
	1433,
	1778,
	2118,
	2453,
	2784,
	3110,
	3432,
	3749,
	4062,
	4371,
	4676,
	4977,
	5274,
	5568,
	5858,
	6145,
	6428,
	6707,
	6984,
	7257,
	7527,
	7794,
	8059,
	8320,
	8578,
	8834,
	9086,
	9337,
	9584,
	9829,
	10071,
	10311,
	10549,
	10784,
	11017,
	11248,
	11476,
	11702,
	11926,
	12148,
	12368,
	12586,
	12802,
	13016,
	13228,
	13438,
	13646,
	13853,
	14057,
	14260,
	14461,
	14661,
	14858,
	15055,
	15249,
	15442,
	15634,
	15823,
	16012,
	16199,
	16384,
};

uint32_t infer_log2(uint32_t value)
{
	uint64_t x = (uint64_t)value + 1;
	uint32_t whole = 63 - (uint32_t)__builtin_clzll(x);
	/* What follows the leading one, in 2^-32: six bits choose the entry, the rest is between it and the next. */
	uint64_t rest = (x << (63 - whole)) << 1 >> 32;
	uint32_t at = (uint32_t)(rest >> 26), between = (uint32_t)(rest & 0x3ffffff);
	uint64_t part =
		fraction[at] + ((uint64_t)(fraction[at + 1] - fraction[at]) * between >> 26);

	return whole * 1024 + (uint32_t)((part + 8) >> 4);
}

static void latency_ages(const struct semantos_block_record *record, uint32_t *feature)
{
	*feature++ = infer_log2(record->pending_pages);
	*feature++ = infer_log2(record->inflight);
	*feature++ = infer_log2(record->inflight_reads);
	*feature++ = infer_log2(record->sectors);
	*feature++ = infer_log2(record->since_done_us);
	*feature++ = infer_log2(record->last_latency_us);
	*feature++ = infer_log2(record->oldest_age_us);
	*feature++ = infer_log2(record->ewma_latency_us);
	for (int i = 0; i < SEMANTOS_HISTORY; i++) {
		*feature++ = infer_log2(semantos_hist_latency_us(record->history[i]));
		*feature++ = infer_log2(semantos_hist_pending_pages(record->history[i]));
		*feature++ = infer_log2(semantos_hist_sectors(record->history[i]));
	}
}

void infer_encode(
	enum infer_encoder encoder, const struct semantos_block_record *record, uint32_t *feature)
{
	switch (encoder) {
	case INFER_LINNOS_DIGITS:
		linnos_digits(record, feature);
		break;
	case INFER_HEIMDALL:
		heimdall(record, feature);
		break;
	case INFER_LATENCY_AGES:
		latency_ages(record, feature);
		break;
	}
}
