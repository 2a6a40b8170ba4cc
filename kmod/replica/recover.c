// SPDX-License-Identifier: GPL-2.0
/*
 * recover.c - copies regions that may differ from one leg in sync to all other active legs.
 *
 * dm-region-hash picks regions one by one, waits until no write is in flight there and holds back new ones; kcopyd moves
 * the data. Which regions, the map says (log.c): after a crash those that were being written, after a leg's absence
 * those that were written meanwhile.
 */
#include "kmod/replica/replica.h"

#include <linux/module.h>

DECLARE_DM_KCOPYD_THROTTLE_WITH_MODULE_PARM(
	resync_throttle, "A percentage of time allocated for copying regions between legs");

struct dm_kcopyd_throttle *replica_throttle(void)
{
	return &dm_kcopyd_throttle;
}

/* Is there anything to copy from, and to? */
bool replica_can_copy(struct replica *r)
{
	return !test_bit(REPLICA_STOPPING, &r->flags) && hweight_long(r->active_legs) > 1;
}

/* kcopyd's thread. */
static void copied(int read_err, unsigned long write_err, void *context)
{
	struct replica_copy *copy = context;
	struct replica *r = copy->r;
	struct dm_region *region = copy->region;
	unsigned long failed = 0;
	unsigned int leg, n = 0;

	for_each_set_bit(leg, &copy->targets, r->nr_legs) if (test_bit(n++, &write_err)) failed |=
		BIT(leg);
	if (read_err) {
		DMERR_LIMIT("region %llu cannot be read from leg %u",
			(unsigned long long)dm_rh_get_region_key(region), copy->source);
		atomic_long_inc(&r->leg[copy->source].read_errors);
		/* kcopyd writes nothing that it could not read. Another leg may have this region, and only this one. */
		copy->unreadable |= BIT(copy->source);
		smp_store_release(&copy->again, true);
		replica_wake(r);
		return;
	}
	if (failed)
		atomic_or(failed, &r->failed_legs);
	set_bit(REPLICA_COPIED, &r->flags);
	WRITE_ONCE(copy->region, NULL);
	dm_rh_recovery_end(region, !failed); /* wakes the worker */
}

static struct replica_copy *free_copy(struct replica *r)
{
	unsigned int i;

	for (i = 0; i < REPLICA_COPIES; i++)
		if (!READ_ONCE(r->copy[i].region))
			return &r->copy[i];
	return NULL;
}

/* Give a region back that was picked but has nowhere to go any more; the worker then lets its writes go on. */
static void not_copied(struct replica *r, struct dm_region *region)
{
	set_bit(REPLICA_COPIED, &r->flags);
	dm_rh_recovery_end(region, 0); /* wakes the worker */
}

/*
 * Copy, or copy again, from the first leg in sync that has not failed to be read: the one that readers of a region which
 * may differ are sent to. The worker only.
 */
static void copy_begin(struct replica *r, struct replica_copy *copy)
{
	struct dm_region *region = copy->region;
	sector_t begin = dm_rh_region_to_sector(r->rh, dm_rh_get_region_key(region));
	sector_t count = min_t(sector_t, r->region_sectors, r->ti->len - begin);
	unsigned long sources = r->sync_legs & ~copy->unreadable;
	struct dm_io_region from, to[REPLICA_MAX_LEGS];
	unsigned int leg, n = 0;

	copy->source = sources ? __ffs(sources) : 0;
	copy->targets = r->active_legs & ~BIT(copy->source);
	if (!sources || !copy->targets) {
		WRITE_ONCE(copy->region, NULL);
		not_copied(r, region);
		return;
	}
	from = (struct dm_io_region){ .bdev = r->leg[copy->source].dev->bdev,
		.sector = replica_data_sector(r, copy->source, begin),
		.count = count };
	for_each_set_bit(leg, &copy->targets, r->nr_legs) to[n++] =
		(struct dm_io_region){ .bdev = r->leg[leg].dev->bdev,
			.sector = replica_data_sector(r, leg, begin),
			.count = count };
	dm_kcopyd_copy(r->kcopyd, &from, n, to, 0, copied, copy);
}

static void copy_region(struct replica *r, struct dm_region *region)
{
	struct replica_copy *copy = free_copy(r);

	if (WARN_ON_ONCE(!copy)) {
		not_copied(r, region);
		return;
	}
	*copy = (struct replica_copy){ .r = r, .region = region };
	copy_begin(r, copy);
}

/* Go on with what is to be copied. The worker only. */
void replica_recover(struct replica *r)
{
	struct dm_region *region;
	unsigned int i;

	if (!r->recovery_started)
		return;
	for (i = 0; i < REPLICA_COPIES; i++)
		if (smp_load_acquire(&r->copy[i].again)) {
			r->copy[i].again = false;
			copy_begin(r, &r->copy[i]);
		}
	dm_rh_recovery_prepare(r->rh);
	while ((region = dm_rh_recovery_start(r->rh)) != NULL)
		copy_region(r, region);
	if (!replica_can_copy(r))
		return;
	if (!replica_log_to_copy(r) && r->active_legs != r->sync_legs)
		replica_catch_up_done(r);
	/* Something is left, and nothing moves: once more in a while. */
	if ((replica_log_to_copy(r) || r->active_legs != r->sync_legs) &&
		!dm_rh_recovery_in_flight(r->rh))
		queue_delayed_work(r->wq, &r->later, REPLICA_RETRY_DELAY);
}

void replica_recovery_start(struct replica *r)
{
	clear_bit(REPLICA_STOPPING, &r->flags);
	if (!r->recovery_started)
		dm_rh_start_recovery(r->rh);
	r->recovery_started = true;
}

/* No copy is under way when it returns, and none begins. Writes that waited for one are with the worker. */
void replica_recovery_stop(struct replica *r)
{
	set_bit(REPLICA_STOPPING, &r->flags);
	if (r->recovery_started)
		dm_rh_stop_recovery(r->rh);
	r->recovery_started = false;
}
