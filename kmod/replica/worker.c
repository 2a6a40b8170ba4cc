// SPDX-License-Identifier: GPL-2.0
/*
 * worker.c - the one thread of a volume that decides about data: takes what waits, in an order that keeps the rules.
 *
 * Legs that failed go out before what they failed is answered; regions at rest are let go before new writes mark theirs;
 * copies start before writes are looked at, so that a write sees that its region is being copied. It waits for the
 * superblock and map writes of legs: a leg whose driver never answers holds it up, as it would hold up any write.
 */
#include "kmod/replica/replica.h"

void replica_wake(struct replica *r)
{
	queue_work(r->wq, &r->work);
}

/* What can wait a little: regions at rest, copies that failed. */
void replica_later(struct work_struct *work)
{
	struct replica *r = container_of(to_delayed_work(work), struct replica, later);

	set_bit(REPLICA_CLEAN_DUE, &r->flags);
	replica_wake(r);
}

static void take(struct replica *r, struct bio_list *from, struct bio_list *to)
{
	bio_list_init(to);
	spin_lock_irq(&r->lock);
	bio_list_merge(to, from);
	bio_list_init(from);
	spin_unlock_irq(&r->lock);
}

void replica_work(struct work_struct *work)
{
	struct replica *r = container_of(work, struct replica, work);
	unsigned long failed, wanted;
	bool due, copied;
	struct bio_list list;

	failed = atomic_xchg(&r->failed_legs, 0) | atomic_xchg(&r->unwanted_legs, 0);
	if (failed)
		replica_legs_failed(r, failed);
	take(r, &r->ended, &list);
	replica_judge_ended(r, &list);
	wanted = atomic_xchg(&r->wanted_legs, 0);
	if (wanted)
		replica_catch_up(r, wanted);
	due = test_and_clear_bit(REPLICA_CLEAN_DUE, &r->flags);
	copied = test_and_clear_bit(REPLICA_COPIED, &r->flags);
	if (due || copied)
		dm_rh_update_states(r->rh, 1);
	if (due)
		replica_log_search_again(r);
	replica_recover(r);
	take(r, &r->writes, &list);
	replica_issue_writes(r, &list);
}
