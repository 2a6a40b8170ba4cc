/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * policies.h - what the policies of policies.bpf.c and replay.c, which attaches them, share: one row of a mapped array.
 */
#ifndef SEMANTOS_BENCH_REPLICA_POLICIES_H
#define SEMANTOS_BENCH_REPLICA_POLICIES_H

#include "bpf/blk_ops.h"

#define REPLAY_SECTORS 65536 /* of a leg; 32 MiB */

struct replay_shared {
	/* set by replay.c */
	wire_u32 hedge_after_us; /* for the policy `hedge` */
	wire_u32 major; /* of the test disks */
	/* set by the programs */
	wire_u64
		answers; /* reads that legs have answered, those whose answer nobody waited for included */
	wire_u8 served
		[REPLAY_SECTORS]; /* by sector of the leg: 1 + the leg that answered the latest read there first */
};

#endif
