// SPDX-License-Identifier: GPL-2.0
/*
 * legs.c - which legs are in sync: a leg goes out, a leg comes back; and what that takes on disk.
 *
 * A change is made in memory first, so that no read goes to a leg that lost a write, and is durable on every leg in sync
 * before anything that depends on it is answered. By the worker only (or by who resumes, before the worker runs).
 */
#include "kmod/replica/replica.h"

/*
 * dm_io(), waiting. Some 7.x has a second word of bits, of the areas that do not support what was asked: they failed too,
 * and the header's declaration says which of the two it is.
 */
static int dm_io_wait(struct dm_io_request *request, unsigned int n, struct dm_io_region *where,
	unsigned long *failed)
{
	int (*bits_of_errors)(struct dm_io_request *, unsigned int, struct dm_io_region *,
		unsigned long *, unsigned short) = (void *)dm_io;
	int (*bits_of_both)(struct dm_io_request *, unsigned int, struct dm_io_region *,
		unsigned long *, unsigned long *, unsigned short) = (void *)dm_io;
	unsigned long unsupported = 0;
	int err;

	if (__builtin_types_compatible_p(typeof(bits_of_errors), typeof(&dm_io)))
		return bits_of_errors(request, n, where, failed, IOPRIO_DEFAULT);
	BUILD_BUG_ON(!__builtin_types_compatible_p(typeof(bits_of_errors), typeof(&dm_io)) &&
		     !__builtin_types_compatible_p(typeof(bits_of_both), typeof(&dm_io)));
	err = bits_of_both(request, n, where, failed, &unsupported, IOPRIO_DEFAULT);
	*failed |= unsupported;
	return err;
}

/*
 * Move one block between memory and the same place of the area of each of `legs`; a page of NULL goes with a flush.
 * Waits. Returns the legs where it failed.
 */
unsigned long replica_meta_io(
	struct replica *r, unsigned long legs, blk_opf_t opf, sector_t sector, void *page)
{
	struct dm_io_region where[REPLICA_MAX_LEGS];
	struct dm_io_request request = {
		.bi_opf = opf,
		.mem.type = DM_IO_KMEM,
		.mem.ptr.addr = page,
		.client = r->io,
	};
	unsigned long bits = 0, failed = 0;
	unsigned int leg, n = 0;
	int err;

	for_each_set_bit(leg, &legs, r->nr_legs) where[n++] =
		(struct dm_io_region){ .bdev = r->leg[leg].dev->bdev,
			.sector = page ? r->leg[leg].start + sector : 0,
			.count = page ? REPLICA_BLOCK >> SECTOR_SHIFT : 0 };
	if (!n)
		return 0;
	err = dm_io_wait(&request, n, where, &bits);
	if (err && !bits)
		return legs;
	n = 0;
	for_each_set_bit(leg, &legs, r->nr_legs) if (test_bit(n++, &bits)) failed |= BIT(leg);
	return failed;
}

/* Everything that `legs` answered is on their media. Returns the legs where that failed. */
unsigned long replica_flush_legs(struct replica *r, unsigned long legs)
{
	return replica_meta_io(r, legs, REQ_OP_WRITE | REQ_PREFLUSH | REQ_SYNC, 0, NULL);
}

/* Tell semantos.ko which legs may be chosen. A leg comes before reads are sent to it, and goes after. */
void replica_tell_legs(struct replica *r, unsigned long legs, bool in_use)
{
	unsigned int leg;

	for_each_set_bit(leg, &legs, r->nr_legs) semantos_blk_set_leg(
		r->blk, leg, r->leg[leg].dev ? r->leg[leg].dev->bdev->bd_dev : 0, in_use);
}

/* Take legs out in memory. False if none in sync would be left: then only those that were catching up are out. */
static bool put_out(struct replica *r, unsigned long legs)
{
	unsigned long lost = legs & r->sync_legs;
	unsigned int leg;

	if (lost && lost == r->sync_legs) {
		WRITE_ONCE(r->active_legs, r->active_legs & (~legs | r->sync_legs));
		/* Each may have lost something else: until that is mended, one serves what may differ. */
		replica_log_copy_all_dirty(r);
		return false;
	}
	for_each_set_bit(leg, &lost, r->nr_legs)
	{
		r->leg[leg].left = r->leg[leg].held;
		atomic_long_inc(&r->ejected);
		DMWARN("leg %u (%s) is out; %u of %u are in sync", leg, r->leg[leg].dev->name,
			(unsigned int)hweight_long(r->sync_legs & ~lost), r->nr_legs);
	}
	if (lost)
		r->generation_pending = true;
	WRITE_ONCE(r->sync_legs, r->sync_legs & ~legs);
	WRITE_ONCE(r->active_legs, r->active_legs & ~legs);
	replica_tell_legs(r, lost, false);
	schedule_work(&r->event_work);
	return true;
}

/*
 * Make what sync_legs says durable on all active legs; those that do not take it are put out, which is one more
 * generation. -EIO: no leg in sync took it, and nothing may be issued or acknowledged.
 */
int replica_generation_sync(struct replica *r)
{
	unsigned long failed;

	while (r->generation_pending) {
		/*
		 * Refused by all, and nothing changed since: the same record once more. A new number would take the slot of
		 * the last one that they have, and in time push it out of the history that they are known by.
		 */
		if (r->tried_legs != r->sync_legs)
			replica_generation_next(r);
		r->tried_legs = r->sync_legs;
		r->generation_pending = false;
		failed = replica_super_write(r, r->active_legs);
		if (failed && !put_out(r, failed)) {
			r->generation_pending = true;
			DMERR_LIMIT("no leg in sync takes generation %llu", r->generation);
			return -EIO;
		}
		r->tried_legs = 0;
	}
	return 0;
}

/* These failed what is not a read. 0: they are out, durably. -EIO: it cannot be recorded, or none would be left. */
int replica_legs_failed(struct replica *r, unsigned long legs)
{
	legs &= r->active_legs;
	if (legs && !put_out(r, legs))
		return -EIO;
	return replica_generation_sync(r);
}

/* Let legs that are out take part in writes again, and copy to them what they lack. */
void replica_catch_up(struct replica *r, unsigned long legs)
{
	unsigned long failed;
	unsigned int leg;

	legs &= replica_all(r) & ~r->active_legs;
	for_each_set_bit(leg, &legs, r->nr_legs) if (!r->leg[leg].dev) legs &= ~BIT(leg);
	if (!legs)
		return;
	/* First it says itself that it is not in sync: from the first copied block on it is neither old nor new. */
	failed = replica_super_write(r, legs);
	failed |= replica_log_write_all(r, legs & ~failed);
	for_each_set_bit(leg, &failed, r->nr_legs) DMWARN(
		"leg %u (%s) cannot be written, so it stays out", leg, r->leg[leg].dev->name);
	legs &= ~failed;
	if (!legs)
		return;
	WRITE_ONCE(r->active_legs, r->active_legs | legs);
	replica_log_copy_all_dirty(r);
	for_each_set_bit(leg, &legs, r->nr_legs) DMINFO(
		"leg %u (%s) catches up: %llu of %llu regions", leg, r->leg[leg].dev->name,
		(unsigned long long)replica_log_to_copy(r), (unsigned long long)r->nr_regions);
}

/* No region is left to copy: the legs that were catching up are in sync, once what was copied is on their media. */
void replica_catch_up_done(struct replica *r)
{
	unsigned long ready = r->active_legs & ~r->sync_legs;
	unsigned int leg;

	if (!ready || replica_log_to_copy(r))
		return;
	if (replica_legs_failed(r, replica_flush_legs(r, r->active_legs)))
		return;
	ready &= r->active_legs;
	if (!ready)
		return;
	replica_tell_legs(r, ready, true);
	WRITE_ONCE(r->sync_legs, r->sync_legs | ready);
	r->generation_pending = true;
	if (replica_generation_sync(r))
		return;
	ready &= r->sync_legs;
	for_each_set_bit(leg, &ready, r->nr_legs)
		DMINFO("leg %u (%s) is in sync", leg, r->leg[leg].dev->name);
	replica_log_clean_rest(r);
	schedule_work(&r->event_work);
}
