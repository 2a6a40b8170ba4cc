/* SPDX-License-Identifier: GPL-2.0 */
/*
 * semantos_blk.h - what semantos.ko offers to a driver that has several legs to read from (dm-semantos-replica).
 *
 * The driver owns the bios, the legs' devices and which leg holds current data. semantos.ko owns each leg's depth and
 * history, the attached policy and what is counted. The driver calls, in this order:
 *
 *   semantos_blk_register()          once a volume
 *   semantos_blk_choose()            for each read: which leg; never fails while a leg is eligible
 *   semantos_blk_admit()             only for a read that must not wait
 *   semantos_blk_start()             a read or write goes to a leg now
 *   semantos_blk_end()               it came back, once for each start
 *   semantos_blk_set_leg()           a leg went, or came back
 *   semantos_blk_unregister()        when every start has had its end
 *
 * choose, admit, start and end take any context, do not sleep, allocate nothing and are bounded: a policy's program,
 * which the verifier bounds, and one spinlock a leg, held for some twenty instructions.
 */
#ifndef SEMANTOS_BLK_H
#define SEMANTOS_BLK_H

#include <linux/list.h>
#include <linux/types.h>
#include "bpf/blk_ops.h"

struct semantos_blk_volume;

/*
 * One request on its way through one leg. Lives in the driver's per-bio data, one for each leg a bio is sent to; the
 * driver touches nothing in it, except to read `leg` and `issue_ns`. Needs no initialisation.
 */
struct semantos_blk_io {
	struct list_head node; /* reads only: the leg's reads in flight, oldest first */
	u64 id;
	u64 issue_ns; /* boot time */
	u64 sector;
	u32 sectors;
	u32 pending_pages; /* of the leg at issue, this one included; so is inflight */
	u32 inflight;
	u8 leg;
	u8 op; /* enum semantos_op */
};

enum semantos_blk_counter {
	SEMANTOS_BLK_C_DECISIONS, /* reads that needed a leg, any way that it was found; the sum of the next seven */
	SEMANTOS_BLK_C_OBEYED, /* the policy's leg was taken */
	SEMANTOS_BLK_C_ONE_LEG, /* only one leg was eligible: nobody was asked */
	SEMANTOS_BLK_C_NO_LEG, /* none was: the driver got -EIO */
	SEMANTOS_BLK_C_NO_POLICY, /* nothing is attached, or it has no select_leg */
	SEMANTOS_BLK_C_NO_LEASE, /* the agent's lease had lapsed */
	SEMANTOS_BLK_C_DEFERRED, /* the policy said SEMANTOS_BLK_DEFAULT */
	SEMANTOS_BLK_C_BAD_LEG, /* it named a leg that is not eligible, or none at all */
	SEMANTOS_BLK_C_BAD_HEDGE, /* it named a second leg that is not eligible: there is none */
	SEMANTOS_BLK_C_ADMITTED, /* reads that must not wait, sent all the same */
	SEMANTOS_BLK_C_REFUSED, /* and refused by the policy */
	SEMANTOS_BLK_C_BAD_ADMIT, /* it returned neither of the two: admitted, and counted there too */
	SEMANTOS_BLK_C_COMPLETED, /* reads answered by a leg */
	SEMANTOS_BLK_C_NR,
};

/**
 * semantos_blk_register - a volume comes into being
 * @name: for people, copied, cut to 31 bytes
 * @nr_legs: 1 to SEMANTOS_BLK_MAX_LEGS
 * @dev: kernel dev_t of each leg; all legs are in use at first
 *
 * May sleep. Returns the volume, or ERR_PTR(-EINVAL) or ERR_PTR(-ENOMEM).
 */
struct semantos_blk_volume *semantos_blk_register(
	const char *name, unsigned int nr_legs, const dev_t *dev);

/* The volume goes. Nothing of it may be in flight any more. May sleep. NULL is fine. */
void semantos_blk_unregister(struct semantos_blk_volume *volume);

/**
 * semantos_blk_choose - the leg that serves a read
 * @read: the driver fills sector, sectors, flags and eligible, and need not touch the rest; on return all is filled
 *
 * Returns a leg that is eligible and in use, or -EIO when there is none. A second leg after a time, if the policy
 * wants one, is in read->hedge_leg when read->hedge_after_us is not 0; it is eligible, and not the first.
 * A driver that cannot hedge ignores it.
 */
int semantos_blk_choose(struct semantos_blk_volume *volume, struct semantos_blk_read *read);

/**
 * semantos_blk_admit - may a read that must not wait be sent?
 * @read: as semantos_blk_choose() left it, with SEMANTOS_BLK_R_NOWAIT
 * @leg: what semantos_blk_choose() returned
 *
 * Returns true, or false: the driver completes it with BLK_STS_AGAIN and sends nothing.
 */
bool semantos_blk_admit(
	struct semantos_blk_volume *volume, const struct semantos_blk_read *read, unsigned int leg);

/**
 * semantos_blk_start - a read or write goes to a leg now
 * @io: stays where it is until semantos_blk_end()
 * @op: SEMANTOS_OP_READ or SEMANTOS_OP_WRITE (whatever is not a read)
 * @id: read->id of a read; 0 for a write
 */
void semantos_blk_start(struct semantos_blk_volume *volume, struct semantos_blk_io *io,
	unsigned int leg, enum semantos_op op, u64 sector, u32 sectors, u64 id);

/**
 * semantos_blk_end - the leg answered, or the driver gave up on it
 * @error: 0 or negative. A read that failed leaves the depth but not its latency in the history.
 */
void semantos_blk_end(struct semantos_blk_volume *volume, struct semantos_blk_io *io, int error);

/**
 * semantos_blk_set_leg - a leg is taken out of use, or (again) into use
 * @dev: its dev_t, which may be another than before
 *
 * Its generation moves on, so that no verdict about what was there before counts; coming back, its history begins
 * anew. The depth stays: what is in flight has yet to end.
 */
void semantos_blk_set_leg(
	struct semantos_blk_volume *volume, unsigned int leg, dev_t dev, bool in_use);

/* What was counted since the volume was registered, summed over CPUs. For status lines. */
void semantos_blk_counters(struct semantos_blk_volume *volume, u64 counts[SEMANTOS_BLK_C_NR]);

/* Requests in flight on a leg, reads and writes. */
u32 semantos_blk_inflight(struct semantos_blk_volume *volume, unsigned int leg);

#endif
