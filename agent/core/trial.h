/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trial.h - the canary of one policy: what its consumers report of obeying and of not obeying, block by block.
 *
 * Consumers add to the pinned row `trial` (bpf/wire.h); once a second the difference since the last block is one more
 * block for agent/safety/canary.h, when both groups have enough in it. Nobody who reports, nothing is decided. One thread.
 */
#ifndef SEMANTOS_CORE_TRIAL_H
#define SEMANTOS_CORE_TRIAL_H

#include "agent/safety/canary.h"
#include "bpf/wire.h"

struct trial {
	struct canary canary;
	uint64_t requests[2], latency_us[2]; /* of the row, at the end of the last block */
	bool told; /* what was decided has been returned once */
};

/* A share was set anew: what was reported before counts no more. */
void trial_begin(struct trial *trial, const volatile struct semantos_trial *row);

/*
 * Once a second. CANARY_WAIT, or once what was decided, with one sentence of evidence in why; afterwards CANARY_WAIT until
 * trial_begin().
 */
enum canary_decision trial_tick(
	struct trial *trial, const volatile struct semantos_trial *row, char *why, size_t why_len);

#endif
