// SPDX-License-Identifier: GPL-2.0
/*
 * hedge.c - a read that two legs may answer: when the first has not after a time, a second is asked as well.
 *
 * The first good answer is copied to the reader's pages, and the read is done. The other leg may still write to memory
 * then, so each leg reads into private pages, which are freed when that leg is done and no sooner. A read is hedged
 * only on a volume whose table says hedge_us, and costs a copy even where the first leg is in time. No memory, no second
 * leg: then it is a read like any other, and counted.
 *
 * A leg that owes many answers which others gave is not read until it has given some, so a leg that hangs holds a
 * bounded number of pages. A volume goes when all legs have answered. Locking: a hedge's lock guards who answers.
 */
#include "kmod/replica/replica.h"

#include <linux/hrtimer.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#define HEDGE_MAX_BYTES (128 << 10) /* of a read; a larger one takes its time on the wire anyway */
#define HEDGE_MAX_OWED 16 /* answers that a leg may owe before it gets no more reads */
/* Tried in the submitter's context, which may not sleep here. */
#define HEDGE_NOW (GFP_NOWAIT | __GFP_NOWARN)
#define HEDGE_SOON (GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN)

/* What one leg was asked. */
struct hedge_try {
	struct replica_hedge *of;
	struct bio bio;
	struct semantos_blk_io io;
	struct bio_vec *vec; /* its private pages */
	unsigned int leg;
	bool sent, back;
	bool owed; /* another leg answered for it */
};

struct replica_hedge {
	struct replica *r;
	refcount_t refs; /* the timer or its work, and each leg that was asked */
	struct hrtimer timer;
	struct work_struct work;
	spinlock_t lock; /* taken with interrupts off; guards what follows */
	struct bio *bio; /* the reader's, until somebody takes it to answer it */
	unsigned int in_hand; /* legs that may still answer */
	unsigned long tried;
	/* constant */
	sector_t sector;
	unsigned int bytes, pages;
	u64 id;
	int wanted; /* the second leg that the policy asked for, or -1 */
	struct hedge_try try[2];
	struct bio_vec vec[];
};

bool replica_hedge_owes(struct replica *r, unsigned int leg)
{
	return atomic_read(&r->leg[leg].owed) >= HEDGE_MAX_OWED;
}

static void drop_pages(struct replica_hedge *h, struct hedge_try *t)
{
	unsigned int i;

	for (i = 0; i < h->pages && t->vec[i].bv_page; i++) {
		__free_page(t->vec[i].bv_page);
		t->vec[i].bv_page = NULL;
	}
}

static bool take_pages(struct replica_hedge *h, struct hedge_try *t, gfp_t gfp)
{
	unsigned int left = h->bytes, i, n;

	for (i = 0; i < h->pages; i++, left -= n) {
		struct page *page = alloc_page(gfp);

		if (!page) {
			drop_pages(h, t);
			return false;
		}
		n = min_t(unsigned int, left, PAGE_SIZE);
		__bio_add_page(&t->bio, page, n, 0);
	}
	return true;
}

static void put(struct replica_hedge *h)
{
	struct replica *r = h->r;
	unsigned int i;

	if (!refcount_dec_and_test(&h->refs))
		return;
	for (i = 0; i < ARRAY_SIZE(h->try); i++) {
		drop_pages(h, &h->try[i]);
		bio_uninit(&h->try[i].bio);
	}
	kfree(h);
	/* The last one to go may let go the volume: nothing of it is touched from here on. */
	if (atomic_dec_and_test(&r->hedges))
		wake_up_var(&r->hedges);
}

void replica_hedges_end(struct replica *r)
{
	wait_var_event(&r->hedges, !atomic_read(&r->hedges));
}

/* ---- answering ---- */

/* From the private pages of a leg to the reader's. Any context. */
static void copy_answer(struct replica_bio *rb, const struct hedge_try *t)
{
	struct bvec_iter iter;
	struct bio_vec bv;
	size_t at = 0;

	__bio_for_each_segment(bv, rb->bio, iter, rb->iter)
	{
		u8 *to = bvec_kmap_local(&bv);
		size_t done, n;

		for (done = 0; done < bv.bv_len; done += n, at += n) {
			n = min_t(size_t, bv.bv_len - done, PAGE_SIZE - at % PAGE_SIZE);
			memcpy(to + done,
				page_address(t->vec[at / PAGE_SIZE].bv_page) + at % PAGE_SIZE, n);
		}
		kunmap_local(to);
		flush_dcache_page(bv.bv_page);
	}
}

/* The reader's bio is ours to answer: `t` was the first good answer, or the last bad one. */
static void answer(
	struct replica_hedge *h, struct bio *bio, struct hedge_try *t, unsigned long tried)
{
	struct replica *r = h->r;
	struct replica_bio *rb = replica_bio_of(r, bio);

	bio->bi_status = t->bio.bi_status;
	if (!bio->bi_status) {
		copy_answer(rb, t);
		if (t != &h->try[0])
			this_cpu_inc(r->counts->hedges_won);
		bio_endio(bio);
		return;
	}
	rb->tried = tried;
	if (!replica_read_next(r, rb)) {
		rb->tried = 0; /* what was counted has ended */
		bio_endio(bio);
	}
}

/* A leg is done with its read. Any context. */
static void try_end(struct bio *bio)
{
	struct hedge_try *t = container_of(bio, struct hedge_try, bio);
	struct replica_hedge *h = t->of;
	struct replica *r = h->r;
	struct bio *mine = NULL;
	unsigned long flags, tried;
	unsigned int i;

	semantos_blk_end(r->blk, &t->io, blk_status_to_errno(bio->bi_status));
	if (bio->bi_status)
		replica_read_failed(r, t->leg);
	spin_lock_irqsave(&h->lock, flags);
	t->back = true;
	h->in_hand--;
	tried = h->tried;
	if (h->bio && (!bio->bi_status || !h->in_hand))
		mine = h->bio;
	for (i = 0; i < ARRAY_SIZE(h->try) && mine; i++) {
		struct hedge_try *other = &h->try[i];

		if (other->sent && !other->back) {
			other->owed = true;
			atomic_inc(&r->leg[other->leg].owed);
		}
	}
	if (mine)
		WRITE_ONCE(h->bio, NULL);
	if (t->owed)
		atomic_dec(&r->leg[t->leg].owed);
	spin_unlock_irqrestore(&h->lock, flags);
	/* Where the timer ran off, its work is on the way, and has this reference. */
	if (hrtimer_try_to_cancel(&h->timer) == 1)
		put(h);
	if (mine)
		answer(h, mine, t, tried);
	drop_pages(h, t);
	put(h);
}

/* ---- asking ---- */

static void send(struct replica_hedge *h, struct hedge_try *t)
{
	struct replica *r = h->r;

	this_cpu_inc(r->counts->reads[t->leg]);
	bio_set_dev(&t->bio, r->leg[t->leg].dev->bdev);
	t->bio.bi_iter.bi_sector = replica_data_sector(r, t->leg, h->sector);
	semantos_blk_start(r->blk, &t->io, t->leg, SEMANTOS_OP_READ, h->sector,
		h->bytes >> SECTOR_SHIFT, h->id);
	submit_bio_noacct(&t->bio);
}

/* The policy's second leg, else the one with the fewest requests; one in sync now, or -1. */
static int second_leg(struct replica_hedge *h)
{
	struct replica *r = h->r;
	unsigned long legs = READ_ONCE(r->sync_legs) & ~BIT(h->try[0].leg);
	u32 least = U32_MAX, depth;
	unsigned int leg;
	int best = -1;

	if (replica_log_differs(r, h->sector >> ilog2(r->region_sectors)))
		return -1;
	if (h->wanted >= 0 && legs & BIT(h->wanted))
		return h->wanted;
	for_each_set_bit(leg, &legs, r->nr_legs)
	{
		depth = semantos_blk_inflight(r->blk, leg);
		if (replica_leg_good(r, leg) && depth < least) {
			least = depth;
			best = leg;
		}
	}
	return best;
}

/* The time is over. */
static void ask_second(struct work_struct *work)
{
	struct replica_hedge *h = container_of(work, struct replica_hedge, work);
	struct hedge_try *t = &h->try[1];
	struct replica *r = h->r;
	bool ask = false;
	int leg;

	if (!READ_ONCE(h->bio))
		goto out; /* it was just in time */
	leg = second_leg(h);
	if (leg < 0 || !take_pages(h, t, HEDGE_SOON)) {
		this_cpu_inc(r->counts->unhedged);
		goto out;
	}
	t->leg = leg;
	spin_lock_irq(&h->lock);
	if (h->bio) {
		ask = t->sent = true;
		h->in_hand++;
		h->tried |= BIT(leg);
		refcount_inc(&h->refs);
	}
	spin_unlock_irq(&h->lock);
	if (ask) {
		this_cpu_inc(r->counts->hedges);
		send(h, t);
	}
out:
	put(h);
}

static enum hrtimer_restart time_is_over(struct hrtimer *timer)
{
	struct replica_hedge *h = container_of(timer, struct replica_hedge, timer);

	queue_work(h->r->read_wq, &h->work);
	return HRTIMER_NORESTART;
}

static struct replica_hedge *hedge_new(struct replica *r, struct replica_bio *rb)
{
	const blk_opf_t kept = REQ_SYNC | REQ_META | REQ_PRIO | REQ_RAHEAD | REQ_BACKGROUND;
	unsigned int pages = DIV_ROUND_UP(rb->iter.bi_size, PAGE_SIZE), i;
	struct replica_hedge *h = kzalloc(struct_size(h, vec, 2 * pages), HEDGE_NOW);
	struct bio *bio = rb->bio;

	if (!h)
		return NULL;
	h->r = r;
	h->bio = bio;
	h->bytes = rb->iter.bi_size;
	h->pages = pages;
	spin_lock_init(&h->lock);
	INIT_WORK(&h->work, ask_second);
	replica_timer_init(&h->timer, time_is_over);
	/* Both now: the reader's bio may be gone when the second is sent. */
	for (i = 0; i < ARRAY_SIZE(h->try); i++) {
		struct hedge_try *t = &h->try[i];

		t->of = h;
		t->vec = h->vec + i * pages;
		bio_init(&t->bio, r->leg[rb->leg].dev->bdev, t->vec, pages,
			REQ_OP_READ | (bio->bi_opf & kept));
		bio_clone_blkg_association(&t->bio, bio);
		t->bio.bi_ioprio = bio->bi_ioprio;
		t->bio.bi_end_io = try_end;
	}
	atomic_inc(&r->hedges);
	refcount_set(&h->refs, 1);
	if (take_pages(h, &h->try[0], HEDGE_NOW))
		return h;
	put(h);
	return NULL;
}

/*
 * From map: the leg of `rb` was chosen, nothing was counted. True: the read is under way and will be answered.
 * False: it is not to be hedged, or cannot be.
 */
bool replica_hedge_read(
	struct replica *r, struct replica_bio *rb, const struct semantos_blk_read *read)
{
	u32 after_us = read->hedge_after_us;
	struct replica_hedge *h;

	/* What nobody waits for, only if the policy says so; what must not wait, never. */
	if (!after_us && !(rb->bio->bi_opf & REQ_RAHEAD))
		after_us = r->hedge_us;
	if (!r->hedging || !after_us || rb->bio->bi_opf & (REQ_NOWAIT | REQ_POLLED))
		return false;
	if (rb->iter.bi_size > HEDGE_MAX_BYTES || is_power_of_2(READ_ONCE(r->sync_legs)) ||
		replica_log_differs(r, read->sector >> ilog2(r->region_sectors)))
		h = NULL;
	else
		h = hedge_new(r, rb);
	if (!h) {
		this_cpu_inc(r->counts->unhedged);
		return false;
	}
	h->sector = read->sector;
	h->id = read->id;
	h->wanted = read->hedge_after_us ? (int)read->hedge_leg : -1;
	h->try[0].leg = rb->leg;
	h->try[0].sent = true;
	h->tried = BIT(rb->leg);
	h->in_hand = 1;
	refcount_set(&h->refs, 2);
	hrtimer_start(&h->timer,
		ns_to_ktime(min_t(u32, after_us, REPLICA_MAX_HEDGE_US) * (u64)NSEC_PER_USEC),
		HRTIMER_MODE_REL);
	send(h, &h->try[0]);
	return true;
}
