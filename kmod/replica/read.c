// SPDX-License-Identifier: GPL-2.0
/*
 * read.c - reads: one leg, and the next one if it fails.
 *
 * Only a leg in sync is read, and where legs may differ, only the first of them, so that two reads of one block
 * agree. A read that fails costs its leg nothing but a second without reads: it may still take writes, and what it
 * cannot read it may yet be able to write. Runs in the submitter's context, sleeps nowhere, allocates nothing.
 */
#include "kmod/replica/replica.h"

void replica_count_start(struct replica *r, unsigned int leg, bool read)
{
	this_cpu_inc(r->counts->outstanding[leg]);
	if (read)
		this_cpu_inc(r->counts->reads[leg]);
	else
		this_cpu_inc(r->counts->writes[leg]);
}

void replica_count_end(struct replica *r, unsigned int leg)
{
	this_cpu_dec(r->counts->outstanding[leg]);
}

void replica_counts_sum(struct replica *r, struct replica_counts *sum)
{
	unsigned int leg;
	int cpu;

	memset(sum, 0, sizeof(*sum));
	for_each_possible_cpu(cpu)
	{
		struct replica_counts *c = per_cpu_ptr(r->counts, cpu);

		for (leg = 0; leg < r->nr_legs; leg++) {
			sum->outstanding[leg] += READ_ONCE(c->outstanding[leg]);
			sum->reads[leg] += READ_ONCE(c->reads[leg]);
			sum->writes[leg] += READ_ONCE(c->writes[leg]);
		}
		sum->retried += READ_ONCE(c->retried);
		sum->refused += READ_ONCE(c->refused);
	}
}

static long outstanding(struct replica *r, unsigned int leg)
{
	long n = 0;
	int cpu;

	for_each_possible_cpu(cpu) n += READ_ONCE(per_cpu_ptr(r->counts, cpu)->outstanding[leg]);
	return n;
}

static DEFINE_PER_CPU(unsigned int, turn);

/* The leg for a read among `eligible`, which is not empty: fewest outstanding, ties in turn. */
static unsigned int choose(struct replica *r, struct bio *bio, unsigned long eligible)
{
	unsigned int leg, best = __ffs(eligible), i;
	long fewest = LONG_MAX;

	if (is_power_of_2(eligible))
		return best;
	i = this_cpu_inc_return(turn);
	for (leg = 0; leg < r->nr_legs; leg++) {
		unsigned int at = (leg + i) % r->nr_legs;
		long n;

		if (!(eligible & BIT(at)))
			continue;
		n = outstanding(r, at);
		if (n < fewest) {
			fewest = n;
			best = at;
		}
	}
	return best;
}

/* Send the read to a leg not tried before. False: there is none. */
static bool send_to_next(struct replica *r, struct replica_bio *rb)
{
	unsigned long eligible = READ_ONCE(r->sync_legs) & ~rb->tried, good = eligible;
	struct bio *bio = rb->bio;
	sector_t sector = dm_target_offset(r->ti, rb->iter.bi_sector);
	unsigned int leg;

	if (!eligible)
		return false;
	if (replica_log_differs(r, sector >> ilog2(r->region_sectors))) {
		good = BIT(__ffs(eligible));
	} else {
		for_each_set_bit(leg, &eligible,
			r->nr_legs) if (time_before(jiffies, READ_ONCE(r->leg[leg].avoid_until)))
			good &= ~BIT(leg);
	}
	rb->leg = choose(r, bio, good ?: eligible);
	rb->tried |= BIT(rb->leg);
	replica_count_start(r, rb->leg, true);
	bio_set_dev(bio, r->leg[rb->leg].dev->bdev);
	bio->bi_iter.bi_sector = replica_data_sector(r, rb->leg, sector);
	return true;
}

int replica_map_read(struct replica *r, struct bio *bio)
{
	struct replica_bio *rb = replica_bio_of(r, bio);

	rb->iter = bio->bi_iter;
	rb->bio_flags = bio->bi_flags;
	rb->tried = 0;
	if (!send_to_next(r, rb))
		return DM_MAPIO_KILL;
	if (r->nowait_depth && bio->bi_opf & REQ_NOWAIT &&
		outstanding(r, rb->leg) > r->nowait_depth) {
		replica_count_end(r, rb->leg);
		this_cpu_inc(r->counts->refused);
		rb->tried = 0; /* nothing was sent */
		bio_wouldblock_error(bio);
		return DM_MAPIO_SUBMITTED;
	}
	return DM_MAPIO_REMAPPED;
}

int replica_end_read(struct replica *r, struct bio *bio, blk_status_t *status)
{
	struct replica_bio *rb = replica_bio_of(r, bio);
	unsigned long flags;

	if (!rb->tried)
		return DM_ENDIO_DONE;
	replica_count_end(r, rb->leg);
	if (likely(!*status) || *status == BLK_STS_AGAIN)
		return DM_ENDIO_DONE;
	atomic_long_inc(&r->leg[rb->leg].read_errors);
	WRITE_ONCE(r->leg[rb->leg].avoid_until, jiffies + REPLICA_AVOID);
	if (!(READ_ONCE(r->sync_legs) & ~rb->tried))
		return DM_ENDIO_DONE;
	this_cpu_inc(r->counts->retried);
	spin_lock_irqsave(&r->lock, flags);
	bio_list_add(&r->failed_reads, bio);
	spin_unlock_irqrestore(&r->lock, flags);
	queue_work(r->read_wq, &r->read_work);
	return DM_ENDIO_INCOMPLETE;
}

/* Send reads that a leg failed to the next one. Apart from the worker, which may be waiting for a leg. */
void replica_retry_reads(struct work_struct *work)
{
	struct replica *r = container_of(work, struct replica, read_work);
	struct bio_list list;
	struct bio *bio;

	bio_list_init(&list);
	spin_lock_irq(&r->lock);
	bio_list_merge(&list, &r->failed_reads);
	bio_list_init(&r->failed_reads);
	spin_unlock_irq(&r->lock);
	while ((bio = bio_list_pop(&list)) != NULL) {
		struct replica_bio *rb = replica_bio_of(r, bio);
		blk_status_t was = bio->bi_status;

		bio->bi_iter = rb->iter;
		bio->bi_flags = rb->bio_flags;
		bio->bi_status = BLK_STS_OK;
		if (send_to_next(r, rb)) {
			submit_bio_noacct(bio);
			continue;
		}
		/* The leg that was left is gone meanwhile: the error stands. Not counted as sent again. */
		rb->tried = 0;
		bio->bi_status = was;
		bio_endio(bio);
	}
}
