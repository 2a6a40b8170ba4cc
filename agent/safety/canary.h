/* SPDX-License-Identifier: Apache-2.0 */
/*
 * canary.h - is the treated share of requests better off than the control group? Decided with its error.
 *
 * Requests are split by a hash of their id (bpf/wire.h), so both groups meet the same disk at the same time. Latencies
 * are averaged in blocks of time; each block that has both groups gives one difference, and blocks are long enough to
 * stand for themselves. It is looked at only when the number of blocks has doubled, and each look spends half of the
 * error that is left, so looking often does not make a gain out of nothing. Used by one thread.
 */
#ifndef SEMANTOS_SAFETY_CANARY_H
#define SEMANTOS_SAFETY_CANARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CANARY_BLOCK_NS 250000000ULL
#define CANARY_BLOCK_MIN 8 /* requests a group needs in a block for the block to count */
#define CANARY_FIRST_LOOK 32 /* blocks */
#define CANARY_LOOKS 6 /* the last at 1,024 blocks: over four minutes of load */

enum canary_decision {
	CANARY_WAIT, /* not enough is known */
	CANARY_PROMOTE, /* treated requests are faster, by more than the error */
	CANARY_DEMOTE, /* treated requests are slower, by more than the error */
	CANARY_NO_GAIN, /* after the last look no difference could be shown */
};

struct canary {
	uint64_t block; /* number of the block being filled: time / CANARY_BLOCK_NS */
	double sum[2]; /* of the block: control, treated */
	uint64_t n[2];
	uint64_t requests[2]; /* of all blocks */
	double total[2];
	double mean, m2; /* of the blocks' differences, running (Welford) */
	uint32_t blocks, looks;
	enum canary_decision decided;
};

struct canary_view {
	double control_us, treated_us; /* mean latency of each group; NaN = none yet */
	double difference_us, low_us,
		high_us; /* treated - control, and the interval of the last look; NaN = none yet */
	uint32_t blocks, looks;
	uint64_t control_requests, treated_requests;
};

void canary_reset(struct canary *canary);

/* A whole block that somebody else summed up: requests and their latencies, [0] control, [1] treated. */
void canary_add_block(struct canary *canary, const uint64_t requests[2], const double sum_us[2]);

/* One request that ended. ts_ns: when it was issued, in any order within a block or so. */
void canary_add(struct canary *canary, uint64_t ts_ns, bool treated, double latency_us);

/* Once decided it stays so until canary_reset(). *why gets one sentence when it is not CANARY_WAIT. */
enum canary_decision canary_decide(struct canary *canary, char *why, size_t why_len);
void canary_view(const struct canary *canary, struct canary_view *view);

#endif
