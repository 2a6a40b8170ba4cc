// SPDX-License-Identifier: GPL-2.0
/*
 * write.c - writes and flushes: to every active leg, answered when all are back and what failed is recorded.
 *
 * A write waits while its region is being copied; dm-region-hash keeps it. Clones live in the bio's own data, so nothing
 * is allocated per leg and no two bios of one set wait for one another. Never is a bio answered while a clone of it
 * could still touch its pages: there is no timeout, a leg that hangs holds the write.
 */
#include "kmod/replica/replica.h"

/* From map, in any context that may submit. */
void replica_queue_write(struct replica *r, struct bio *bio)
{
	unsigned long flags;
	bool wake;

	spin_lock_irqsave(&r->lock, flags);
	wake = bio_list_empty(&r->writes);
	bio_list_add(&r->writes, bio);
	spin_unlock_irqrestore(&r->lock, flags);
	if (wake)
		replica_wake(r);
}

static void answer(struct replica_bio *rb, blk_status_t status)
{
	/* Before the answer: who waits for it may end the target. */
	if (rb->pending)
		dm_rh_dec(rb->r->rh, rb->region);
	rb->pending = false;
	rb->bio->bi_status = status;
	bio_endio(rb->bio);
}

/* The last clone is back. Any context. */
static void all_back(struct replica_bio *rb)
{
	struct replica *r = rb->r;
	unsigned long flags;

	if (!rb->failed) {
		answer(rb, BLK_STS_OK);
		return;
	}
	spin_lock_irqsave(&r->lock, flags);
	bio_list_add(&r->ended, rb->bio);
	/* With the lock held: once the worker has answered the write, the volume may go. */
	replica_wake(r);
	spin_unlock_irqrestore(&r->lock, flags);
}

static void clone_end(struct bio *bio)
{
	struct replica_clone *clone = container_of(bio, struct replica_clone, bio);
	struct replica_bio *rb = clone->of;

	if (bio->bi_status) {
		atomic_long_inc(&rb->r->leg[clone->leg].write_errors);
		cmpxchg(&rb->status, BLK_STS_OK, bio->bi_status);
		set_bit(clone->leg, &rb->failed);
	}
	semantos_blk_end(rb->r->blk, &clone->io, blk_status_to_errno(bio->bi_status));
	bio_uninit(bio);
	if (atomic_dec_and_test(&rb->left))
		all_back(rb);
}

/* A clone for each active leg, or none at all: no memory is no leg's fault. */
static bool make_clones(struct replica_bio *rb)
{
	struct replica *r = rb->r;
	unsigned long legs = r->active_legs;
	unsigned int leg, done;

	for_each_set_bit(leg, &legs, r->nr_legs)
	{
		struct replica_clone *c = &rb->clone[leg];

		if (bio_init_clone(r->leg[leg].dev->bdev, &c->bio, rb->bio, GFP_NOIO)) {
			for_each_set_bit(done, &legs, leg) bio_uninit(&rb->clone[done].bio);
			return false;
		}
		c->of = rb;
		c->leg = leg;
		c->bio.bi_private = c;
		c->bio.bi_end_io = clone_end;
		/*
		 * This thread may sleep, and EAGAIN from a leg would look like its failure. Nobody polls a clone: only what
		 * device-mapper submitted itself.
		 */
		c->bio.bi_opf &= ~(REQ_NOWAIT | REQ_POLLED);
		if (bio_sectors(rb->bio))
			c->bio.bi_iter.bi_sector = replica_data_sector(
				r, leg, dm_target_offset(r->ti, rb->bio->bi_iter.bi_sector));
	}
	rb->issued = legs;
	return true;
}

static void issue(struct replica_bio *rb)
{
	struct replica *r = rb->r;
	unsigned long legs;
	unsigned int leg;

	rb->failed = 0;
	rb->status = BLK_STS_OK;
	if (!make_clones(rb)) {
		answer(rb, BLK_STS_RESOURCE);
		return;
	}
	legs = rb->issued;
	/* One more than clones, so that it is not answered while we still look at it. */
	atomic_set(&rb->left, hweight_long(legs) + 1);
	for_each_set_bit(leg, &legs, r->nr_legs)
	{
		this_cpu_inc(r->counts->writes[leg]);
		semantos_blk_start(r->blk, &rb->clone[leg].io, leg, SEMANTOS_OP_WRITE,
			rb->bio->bi_iter.bi_sector, bio_sectors(rb->bio), 0);
		submit_bio_noacct(&rb->clone[leg].bio);
	}
	if (atomic_dec_and_test(&rb->left))
		all_back(rb);
}

void replica_issue_writes(struct replica *r, struct bio_list *writes)
{
	struct bio_list now;
	struct bio *bio;
	int err;

	if (bio_list_empty(writes))
		return;
	bio_list_init(&now);
	while ((bio = bio_list_pop(writes)) != NULL) {
		struct replica_bio *rb = replica_bio_of(r, bio);

		rb->pending = false;
		if (!(bio->bi_opf & REQ_PREFLUSH)) {
			rb->region = dm_rh_bio_to_region(r->rh, bio);
			if (dm_rh_get_state(r->rh, rb->region, 1) == DM_RH_RECOVERING) {
				dm_rh_delay(r->rh, bio);
				continue;
			}
			rb->pending = true;
		}
		bio_list_add(&now, bio);
	}
	dm_rh_inc_pending(r->rh, &now);
	/* Bits, and the generation, are durable before the first write below them. */
	err = dm_rh_flush(r->rh) ?: replica_generation_sync(r);
	while ((bio = bio_list_pop(&now)) != NULL) {
		if (err)
			answer(replica_bio_of(r, bio), BLK_STS_IOERR);
		else
			issue(replica_bio_of(r, bio));
	}
}

/*
 * Bios that a leg failed. One that some leg in sync has is good once those that failed it are out, durably. One that none
 * has is an error, and puts nobody out: it may be on some legs and not on others, so its region is to be copied.
 */
void replica_judge_ended(struct replica *r, struct bio_list *ended)
{
	unsigned long sync = r->sync_legs, out = 0;
	struct bio *bio;
	int err;

	if (bio_list_empty(ended))
		return;
	bio_list_for_each(bio, ended)
	{
		struct replica_bio *rb = replica_bio_of(r, bio);

		/* A leg that was catching up and failed it goes in any case; the others may stay the last ones. */
		out |= rb->failed & ~r->sync_legs;
		if (rb->issued & ~rb->failed & sync) {
			out |= rb->failed;
			sync &= ~rb->failed;
		}
	}
	err = replica_legs_failed(r, out);
	while ((bio = bio_list_pop(ended)) != NULL) {
		struct replica_bio *rb = replica_bio_of(r, bio);

		if (!err && rb->issued & ~rb->failed & r->sync_legs) {
			answer(rb, BLK_STS_OK);
			continue;
		}
		if (rb->pending)
			replica_log_set_differs(r, rb->region);
		else
			replica_log_copy_all_dirty(r);
		answer(rb, rb->status ?: BLK_STS_IOERR);
	}
}
