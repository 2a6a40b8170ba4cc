// SPDX-License-Identifier: Apache-2.0
/*
 * canary.c - block differences, a running variance, and looks at doubling sample sizes.
 */
#include "agent/safety/canary.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/*
 * Two-sided normal quantiles of an error of 0.05 spent by halves: 0.025, 0.0125, ... at look 0, 1, ... Their sum stays
 * below 0.05 however many looks there are.
 */
static const double spent[CANARY_LOOKS] = { 2.2414, 2.4977, 2.7344, 2.9552, 3.1630, 3.3595 };

void canary_reset(struct canary *canary)
{
	memset(canary, 0, sizeof(*canary));
}

static void close_block(struct canary *canary)
{
	if (canary->n[0] >= CANARY_BLOCK_MIN && canary->n[1] >= CANARY_BLOCK_MIN) {
		double difference = canary->sum[1] / (double)canary->n[1] -
				    canary->sum[0] / (double)canary->n[0];
		double from_mean = difference - canary->mean;

		canary->blocks++;
		canary->mean += from_mean / canary->blocks;
		canary->m2 += from_mean * (difference - canary->mean);
	}
	canary->sum[0] = canary->sum[1] = 0;
	canary->n[0] = canary->n[1] = 0;
}

void canary_add_block(struct canary *canary, const uint64_t requests[2], const double sum_us[2])
{
	close_block(canary);
	for (int group = 0; group < 2; group++) {
		canary->sum[group] = sum_us[group];
		canary->n[group] = requests[group];
		canary->total[group] += sum_us[group];
		canary->requests[group] += requests[group];
	}
	close_block(canary);
}

void canary_add(struct canary *canary, uint64_t ts_ns, bool treated, double latency_us)
{
	uint64_t block = ts_ns / CANARY_BLOCK_NS;

	/* A straggler of the block before is counted with this one: it is as good a witness there. */
	if (block > canary->block) {
		close_block(canary);
		canary->block = block;
	}
	canary->sum[treated] += latency_us;
	canary->n[treated]++;
	canary->total[treated] += latency_us;
	canary->requests[treated]++;
}

/* Half the width of the interval at a look; Student's correction to the normal quantile to first order. */
static double half_width(const struct canary *canary, uint32_t look)
{
	double z = spent[look], freedom = canary->blocks - 1.0;
	double deviation = sqrt(canary->m2 / freedom);

	return z * (1 + (z * z + 1) / (4 * freedom)) * deviation / sqrt(canary->blocks);
}

enum canary_decision canary_decide(struct canary *canary, char *why, size_t why_len)
{
	double low, high;

	/* the last look decides, so there is none beyond it */
	if (canary->decided == CANARY_WAIT && canary->blocks >= (uint32_t)CANARY_FIRST_LOOK
									<< canary->looks) {
		double half = half_width(canary, canary->looks);

		canary->looks++;
		if (canary->mean + half < 0)
			canary->decided = CANARY_PROMOTE;
		else if (canary->mean - half > 0)
			canary->decided = CANARY_DEMOTE;
		else if (canary->looks == CANARY_LOOKS)
			canary->decided = CANARY_NO_GAIN;
	}
	if (canary->decided == CANARY_WAIT)
		return CANARY_WAIT;
	low = canary->mean - half_width(canary, canary->looks - 1);
	high = canary->mean + half_width(canary, canary->looks - 1);
	snprintf(why, why_len,
		"treated requests took %+.1f us (%+.1f to %+.1f) against the control group's %.1f "
		"us over %u blocks",
		canary->mean, low, high, canary->total[0] / (double)canary->requests[0],
		canary->blocks);
	return canary->decided;
}

void canary_view(const struct canary *canary, struct canary_view *view)
{
	memset(view, 0, sizeof(*view));
	view->blocks = canary->blocks;
	view->looks = canary->looks;
	view->control_requests = canary->requests[0];
	view->treated_requests = canary->requests[1];
	view->control_us =
		canary->requests[0] ? canary->total[0] / (double)canary->requests[0] : NAN;
	view->treated_us =
		canary->requests[1] ? canary->total[1] / (double)canary->requests[1] : NAN;
	view->difference_us = canary->blocks ? canary->mean : NAN;
	view->low_us = view->high_us = NAN;
	if (canary->looks) {
		double half = half_width(canary, canary->looks - 1);

		view->low_us = canary->mean - half;
		view->high_us = canary->mean + half;
	}
}
