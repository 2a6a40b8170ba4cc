// SPDX-License-Identifier: GPL-2.0
/*
 * read.c - reads: one leg, and the next one if it fails.
 *
 * Only a leg in sync is read, and where legs may differ, only the first of them, so that two reads of one block
 * agree. Or two legs, see hedge.c. A read that fails costs its leg nothing but a second without reads: it may still take writes, and what it
 * cannot read it may yet be able to write. Runs in the submitter's context, sleeps nowhere, allocates nothing.
 */
#include "kmod/replica/replica.h"

void replica_counts_sum(struct replica *r, struct replica_counts *sum)
{
	unsigned int leg;
	int cpu;

	memset(sum, 0, sizeof(*sum));
	for_each_possible_cpu(cpu)
	{
		struct replica_counts *c = per_cpu_ptr(r->counts, cpu);

		for (leg = 0; leg < r->nr_legs; leg++) {
			sum->reads[leg] += READ_ONCE(c->reads[leg]);
			sum->writes[leg] += READ_ONCE(c->writes[leg]);
		}
		sum->retried += READ_ONCE(c->retried);
		sum->refused += READ_ONCE(c->refused);
		sum->hedges += READ_ONCE(c->hedges);
		sum->hedges_won += READ_ONCE(c->hedges_won);
		sum->unhedged += READ_ONCE(c->unhedged);
	}
}

/* Does nothing speak against a read from this leg, if another has the data as well? */
bool replica_leg_good(struct replica *r, unsigned int leg)
{
	return !time_before(jiffies, READ_ONCE(r->leg[leg].avoid_until)) &&
	       !replica_hedge_owes(r, leg);
}

/* A leg failed a read: for a while it gets none, if there is another. */
void replica_read_failed(struct replica *r, unsigned int leg)
{
	atomic_long_inc(&r->leg[leg].read_errors);
	WRITE_ONCE(r->leg[leg].avoid_until, jiffies + REPLICA_AVOID);
}

/*
 * Pick a leg not tried before and point the bio at it; nothing is counted yet. False: there is none.
 * `read` is for semantos_blk_admit() and count_start().
 */
static bool point_at_next(struct replica *r, struct replica_bio *rb, struct semantos_blk_read *read)
{
	unsigned long eligible = READ_ONCE(r->sync_legs) & ~rb->tried, good = eligible;
	struct bio *bio = rb->bio;
	sector_t sector = dm_target_offset(r->ti, rb->iter.bi_sector);
	unsigned int leg;
	int chosen;

	if (!eligible)
		return false;
	if (replica_log_differs(r, sector >> ilog2(r->region_sectors))) {
		good = BIT(__ffs(eligible));
	} else {
		for_each_set_bit(leg, &eligible, r->nr_legs) if (!replica_leg_good(r, leg)) good &=
			~BIT(leg);
	}
	*read = (struct semantos_blk_read){
		.sector = sector,
		.sectors = rb->iter.bi_size >> SECTOR_SHIFT,
		.flags = (bio->bi_opf & REQ_NOWAIT ? SEMANTOS_BLK_R_NOWAIT : 0) |
			 (bio->bi_opf & REQ_RAHEAD ? SEMANTOS_BLK_R_AHEAD : 0) |
			 (bio->bi_opf & REQ_META ? SEMANTOS_BLK_R_META : 0) |
			 (rb->tried ? SEMANTOS_BLK_R_RETRY : 0),
		.eligible = good ?: eligible,
	};
	chosen = semantos_blk_choose(r->blk, read);
	/* A leg that went out between the two looks still held the data when this read came. */
	rb->leg = chosen < 0 ? __ffs(good ?: eligible) : chosen;
	bio_set_dev(bio, r->leg[rb->leg].dev->bdev);
	bio->bi_iter.bi_sector = replica_data_sector(r, rb->leg, sector);
	return true;
}

static void count_start(
	struct replica *r, struct replica_bio *rb, const struct semantos_blk_read *read)
{
	rb->tried |= BIT(rb->leg);
	this_cpu_inc(r->counts->reads[rb->leg]);
	semantos_blk_start(
		r->blk, &rb->io, rb->leg, SEMANTOS_OP_READ, read->sector, read->sectors, read->id);
}

/* May a read that must not wait go to its leg? By the table's depth, and by the policy. */
static bool admitted(struct replica *r, unsigned int leg, const struct semantos_blk_read *read)
{
	return semantos_blk_inflight(r->blk, leg) < r->nowait_depth &&
	       semantos_blk_admit(r->blk, read, leg);
}

int replica_map_read(struct replica *r, struct bio *bio)
{
	struct replica_bio *rb = replica_bio_of(r, bio);
	struct semantos_blk_read read;

	rb->iter = bio->bi_iter;
	rb->bio_flags = bio->bi_flags;
	rb->bio_remaining = atomic_read(&bio->__bi_remaining);
	rb->tried = 0;
	if (!point_at_next(r, rb, &read))
		return DM_MAPIO_KILL;
	if (r->nowait_depth && bio->bi_opf & REQ_NOWAIT && !admitted(r, rb->leg, &read)) {
		this_cpu_inc(r->counts->refused);
		bio_wouldblock_error(bio);
		return DM_MAPIO_SUBMITTED;
	}
	if (replica_hedge_read(r, rb, &read))
		return DM_MAPIO_SUBMITTED;
	count_start(r, rb, &read);
	return DM_MAPIO_REMAPPED;
}

/* Have a read that failed sent to a leg that was not tried. False: there is none. Any context. */
bool replica_read_next(struct replica *r, struct replica_bio *rb)
{
	unsigned long flags;

	if (!(READ_ONCE(r->sync_legs) & ~rb->tried))
		return false;
	this_cpu_inc(r->counts->retried);
	spin_lock_irqsave(&r->lock, flags);
	bio_list_add(&r->failed_reads, rb->bio);
	/* With the lock held: once the worker has answered the read, the volume may go. */
	queue_work(r->read_wq, &r->read_work);
	spin_unlock_irqrestore(&r->lock, flags);
	return true;
}

static void take_reads(struct replica *r, struct bio_list *from, struct bio_list *to)
{
	bio_list_init(to);
	spin_lock_irq(&r->lock);
	bio_list_merge(to, from);
	bio_list_init(from);
	spin_unlock_irq(&r->lock);
}

int replica_end_read(struct replica *r, struct bio *bio, blk_status_t *status)
{
	struct replica_bio *rb = replica_bio_of(r, bio);

	if (!rb->tried)
		return DM_ENDIO_DONE; /* nothing was sent, or a hedge saw to it */
	semantos_blk_end(r->blk, &rb->io, blk_status_to_errno(*status));
	if (likely(!*status) || *status == BLK_STS_AGAIN)
		return DM_ENDIO_DONE;
	replica_read_failed(r, rb->leg);
	return replica_read_next(r, rb) ? DM_ENDIO_INCOMPLETE : DM_ENDIO_DONE;
}

/* Find the next leg for reads that one failed. Apart from the worker, which may be waiting for a leg; this never does. */
void replica_retry_reads(struct work_struct *work)
{
	struct replica *r = container_of(work, struct replica, read_work);
	struct semantos_blk_read read;
	struct bio_list list;
	struct bio *bio;

	take_reads(r, &r->failed_reads, &list);
	while ((bio = bio_list_pop(&list)) != NULL) {
		struct replica_bio *rb = replica_bio_of(r, bio);
		blk_status_t was = bio->bi_status;

		bio->bi_iter = rb->iter;
		bio->bi_flags = rb->bio_flags;
		/* A leg that had to split it left 0, and the next one would answer it before its last part is back. */
		atomic_set(&bio->__bi_remaining, rb->bio_remaining);
		bio->bi_status = BLK_STS_OK;
		if (point_at_next(r, rb, &read)) {
			struct replica_leg *leg = &r->leg[rb->leg];

			count_start(r, rb, &read);
			spin_lock_irq(&r->lock);
			bio_list_add(&leg->reads, bio);
			queue_work(r->read_wq, &leg->read_work);
			spin_unlock_irq(&r->lock);
			continue;
		}
		/* The leg that was left is gone meanwhile: the error stands. Not counted as sent again. */
		rb->tried = 0;
		bio->bi_status = was;
		bio_endio(bio);
	}
}

/* Send them. One work a leg: one that is full and answers nothing holds up only what goes to it. */
void replica_send_reads(struct work_struct *work)
{
	struct replica_leg *leg = container_of(work, struct replica_leg, read_work);
	struct bio_list list;
	struct bio *bio;

	take_reads(leg->of, &leg->reads, &list);
	while ((bio = bio_list_pop(&list)) != NULL)
		submit_bio_noacct(bio);
}
