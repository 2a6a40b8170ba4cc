/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * sim.h - what the parts of `make bench-replica-sim` share: the lab's bench without the lab. Requests, disks and the
 * policy are the sources that the lab runs; the block layer, the volume and the machine are left out, and time is a number.
 */
#ifndef SEMANTOS_SIM_H
#define SEMANTOS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bpf/blk_ops.h"
#include "bpf/volume_wire.h"
#include "kmod/leg.h"
#include "tests/bench/replica/sim/disk.h"

struct model;

/* ---- volume.c ---- */
struct sim_volume {
	uint32_t nr_legs;
	struct sim_disk *disk[SEMANTOS_BLK_MAX_LEGS];
	struct leg_history leg[SEMANTOS_BLK_MAX_LEGS];
	uint64_t now_ns, ids;
};

/* A leg for this read, or SEMANTOS_BLK_DEFAULT; may ask for a second one in hedge_*. */
typedef int sim_select(struct sim_volume *volume, struct semantos_blk_read *read);

struct sim_row {
	sim_select *select; /* NULL: the default */
	void (*issued)(uint32_t leg, const struct semantos_block_record *record); /* or NULL */
	void (*done)(struct semantos_blk_done *done); /* or NULL */
	/* Where the leg had full history: each read as the hooks would have captured it, or NULL. */
	void (*captured)(uint32_t leg, const struct semantos_block_record *outcome);
};

struct sim_trace {
	const char *mix;
	uint32_t seed, ms, stretch;
};

struct sim_run {
	uint32_t reads;
	uint64_t extra; /* reads of legs beyond one a read */
	float *us; /* [reads], of original time */
	uint8_t *leg; /* [reads], from 1 */
};

/* Replays a trace. The owner frees us and leg. Ends when there is no memory. */
void sim_replay(struct sim_volume *volume, const struct sim_trace *trace, const struct sim_row *row,
	struct sim_run *run);

/* ---- policy.c: linnos_volume.bpf.c, with the module's inference behind its kfuncs ---- */

/* Which model judges a leg from now on; NULL: none. Ends when the kernel would not take it. */
void sim_policy_model(uint32_t leg, const struct model *model, bool obey, bool choose);
void sim_policy_start(struct sim_volume *volume); /* mode enforce, counters zero, no verdicts */
sim_select sim_policy_inline, sim_policy_async;
void sim_policy_done(struct semantos_blk_done *done);
void sim_policy_verdict(uint32_t leg, bool slow, uint64_t now_ns, uint64_t ttl_ns);
const struct semantos_decisions *sim_policy_decisions(void);

#endif
