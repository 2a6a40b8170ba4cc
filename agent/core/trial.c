// SPDX-License-Identifier: Apache-2.0
/*
 * trial.c - the row's differences as blocks. Reads what other processes write: any values may stand there. One thread.
 */
#include "agent/core/trial.h"

#include <string.h>

static void take(
	const volatile struct semantos_trial *row, uint64_t requests[2], uint64_t latency_us[2])
{
	for (int group = 0; group < 2; group++) {
		/* a report adds the latency first: the sum is never short of a request that is counted */
		requests[group] = __atomic_load_n(&row->requests[group], __ATOMIC_ACQUIRE);
		latency_us[group] = __atomic_load_n(&row->latency_us[group], __ATOMIC_RELAXED);
	}
}

void trial_begin(struct trial *trial, const volatile struct semantos_trial *row)
{
	canary_reset(&trial->canary);
	take(row, trial->requests, trial->latency_us);
	trial->told = false;
}

enum canary_decision trial_tick(
	struct trial *trial, const volatile struct semantos_trial *row, char *why, size_t why_len)
{
	uint64_t requests[2], latency_us[2], n[2];
	enum canary_decision decision;
	double sum[2];

	take(row, requests, latency_us);
	for (int group = 0; group < 2; group++) {
		/* somebody set the row back: nothing before that can be compared with it */
		if (requests[group] < trial->requests[group] ||
			latency_us[group] < trial->latency_us[group]) {
			trial_begin(trial, row);
			return CANARY_WAIT;
		}
		n[group] = requests[group] - trial->requests[group];
		sum[group] = (double)(latency_us[group] - trial->latency_us[group]);
	}
	/* a block grows until both groups can speak in it */
	if (n[0] < CANARY_BLOCK_MIN || n[1] < CANARY_BLOCK_MIN)
		return CANARY_WAIT;
	memcpy(trial->requests, requests, sizeof(requests));
	memcpy(trial->latency_us, latency_us, sizeof(latency_us));
	canary_add_block(&trial->canary, n, sum);
	decision = canary_decide(&trial->canary, why, why_len);
	if (decision == CANARY_WAIT || trial->told)
		return CANARY_WAIT;
	trial->told = true;
	return decision;
}
