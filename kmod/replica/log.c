// SPDX-License-Identifier: GPL-2.0
/*
 * log.c - the map of regions that may differ between the legs: a dirty log of device-mapper's, kept on every leg.
 *
 * The kernel's own "disk" log lives on one device, which would be one more thing to lose; this one is the same interface
 * (struct dm_dirty_log_type), so that dm-region-hash does the rest. Bits of a region:
 *   dirty     on disk: it may differ. Set before the first write, cleared when all legs are in sync and flushed
 *   differs   in memory: it must be copied before any leg but one may serve it; a subset of dirty
 *   copying   dm-region-hash has it in hand
 *   again     a leg joined while it was being copied: that copy did not go to it
 * Bits change by the worker only; `differs` is read by anybody. A block of the map that cannot be read, or has a wrong
 * sum, counts as all dirty: that costs copying and nothing else.
 */
#include "kmod/replica/replica.h"

#include <linux/vmalloc.h>

struct replica_log {
	struct replica *r;
	unsigned long *dirty, *differs, *copying;
	unsigned long *again; /* the copy under way does not count: it may not go to all legs */
	unsigned long *resting; /* dirty, but could be cleared at the next flush of the log */
	unsigned long
		touched[BITS_TO_LONGS(REPLICA_MAP_BLOCKS)]; /* blocks that are not yet so on disk */
	bool any_resting;
	unsigned long resting_since; /* jiffies */
	region_t nr, nr_differs, search;
};

static unsigned long *bits_new(region_t nr)
{
	return vzalloc(BITS_TO_LONGS(nr) * sizeof(unsigned long));
}

static void log_dtr(struct dm_dirty_log *log)
{
	struct replica_log *l = log->context;

	vfree(l->dirty);
	vfree(l->differs);
	vfree(l->copying);
	vfree(l->again);
	vfree(l->resting);
	kfree(l);
}

static int log_ctr(struct dm_dirty_log *log, struct dm_target *ti, unsigned int argc, char **argv)
{
	struct replica *r = ti->private;
	struct replica_log *l = kzalloc(sizeof(*l), GFP_KERNEL);

	if (!l)
		return -ENOMEM;
	log->context = l;
	l->r = r;
	l->nr = r->nr_regions;
	l->dirty = bits_new(l->nr);
	l->differs = bits_new(l->nr);
	l->copying = bits_new(l->nr);
	l->again = bits_new(l->nr);
	l->resting = bits_new(l->nr);
	if (!l->dirty || !l->differs || !l->copying || !l->again || !l->resting) {
		log_dtr(log);
		return -ENOMEM;
	}
	r->log = l;
	return 0;
}

static u32 block_crc(struct replica_map_block *b)
{
	__le32 was = b->crc;
	u32 crc;

	b->crc = 0;
	crc = replica_crc(b, sizeof(*b));
	b->crc = was;
	return crc;
}

static unsigned int nr_blocks(struct replica_log *l)
{
	return DIV_ROUND_UP(l->nr, REPLICA_MAP_BITS);
}

static sector_t block_sector(unsigned int index)
{
	return REPLICA_MAP_SECTOR + (sector_t)index * (REPLICA_BLOCK >> SECTOR_SHIFT);
}

/* Write one block of the map to `legs`, durably. Returns the legs where that failed. */
static unsigned long write_block(struct replica_log *l, unsigned int index, unsigned long legs)
{
	struct replica_map_block *b = l->r->page;
	region_t first = (region_t)index * REPLICA_MAP_BITS, i;

	memset(b, 0, sizeof(*b));
	b->magic = cpu_to_le32(REPLICA_MAP_MAGIC);
	b->index = cpu_to_le32(index);
	memcpy(b->uuid, l->r->uuid, sizeof(b->uuid));
	for (i = find_next_bit(l->dirty, l->nr, first);
		i < min_t(region_t, l->nr, first + REPLICA_MAP_BITS);
		i = find_next_bit(l->dirty, l->nr, i + 1))
		b->bits[(i - first) / 8] |= 1 << (i - first) % 8;
	b->crc = cpu_to_le32(block_crc(b));
	return replica_meta_io(
		l->r, legs, REQ_OP_WRITE | REQ_SYNC | REQ_FUA, block_sector(index), b);
}

/* Add what one leg's block says to the map. */
static void load_block(struct replica_log *l, unsigned int index, unsigned int leg)
{
	struct replica_map_block *b = l->r->page;
	region_t first = (region_t)index * REPLICA_MAP_BITS, i;
	bool good = !replica_meta_io(l->r, BIT(leg), REQ_OP_READ, block_sector(index), b) &&
		    le32_to_cpu(b->magic) == REPLICA_MAP_MAGIC && le32_to_cpu(b->index) == index &&
		    !memcmp(b->uuid, l->r->uuid, sizeof(b->uuid)) &&
		    le32_to_cpu(b->crc) == block_crc(b);

	if (!good)
		DMWARN("block %u of the map on leg %u is not valid: its regions count as different",
			index, leg);
	for (i = 0; i < REPLICA_MAP_BITS && first + i < l->nr; i++)
		if (!good || b->bits[i / 8] & 1 << i % 8)
			__set_bit(first + i, l->dirty);
}

/* At resume: what any leg in sync says is dirty, is; and may differ. */
void replica_log_load(struct replica *r, unsigned long legs)
{
	unsigned int leg, index;

	for_each_set_bit(leg, &legs, r->nr_legs) for (index = 0; index < nr_blocks(r->log); index++)
		load_block(r->log, index, leg);
	replica_log_copy_all_dirty(r);
}

/* Write the whole map to `legs`. Returns the legs where that failed. */
unsigned long replica_log_write_all(struct replica *r, unsigned long legs)
{
	unsigned long failed = 0;
	unsigned int index;

	for (index = 0; index < nr_blocks(r->log) && legs & ~failed; index++)
		failed |= write_block(r->log, index, legs & ~failed);
	return failed;
}

/* ---- what the other files ask ---- */

bool replica_log_differs(struct replica *r, region_t region)
{
	return test_bit(region, r->log->differs);
}

void replica_log_set_differs(struct replica *r, region_t region)
{
	struct replica_log *l = r->log;

	if (!test_and_set_bit(region, l->differs))
		l->nr_differs++;
	l->search = min(l->search, region);
}

region_t replica_log_to_copy(struct replica *r)
{
	return READ_ONCE(r->log->nr_differs);
}

region_t replica_log_dirty(struct replica *r)
{
	return bitmap_weight(r->log->dirty, r->log->nr);
}

void replica_log_search_again(struct replica *r)
{
	r->log->search = 0;
}

void replica_log_copy_all_dirty(struct replica *r)
{
	region_t i;

	for_each_set_bit(i, r->log->dirty, r->log->nr)
	{
		replica_log_set_differs(r, i);
		if (test_bit(i, r->log->copying))
			__set_bit(i, r->log->again);
	}
	replica_log_search_again(r);
}

void replica_log_all_dirty(struct replica *r)
{
	bitmap_fill(r->log->dirty, r->log->nr);
	replica_log_copy_all_dirty(r);
}

static void set_resting(struct replica_log *l, region_t region)
{
	__set_bit(region, l->resting);
	if (!l->any_resting)
		l->resting_since = jiffies;
	l->any_resting = true;
}

/* All legs came to be in sync: what is dirty and at rest need not stay so. */
void replica_log_clean_rest(struct replica *r)
{
	struct replica_log *l = r->log;
	region_t i;

	for_each_set_bit(i, l->dirty, l->nr)
	{
		if (test_bit(i, l->differs) || dm_rh_get_state(r->rh, i, 0) != DM_RH_CLEAN)
			continue;
		set_resting(l, i);
	}
	dm_rh_flush(r->rh);
}

/* ---- what dm-region-hash asks ---- */

static u32 log_region_size(struct dm_dirty_log *log)
{
	return ((struct replica_log *)log->context)->r->region_sectors;
}

static int log_is_clean(struct dm_dirty_log *log, region_t region)
{
	return !test_bit(region, ((struct replica_log *)log->context)->dirty);
}

static int log_in_sync(struct dm_dirty_log *log, region_t region, int can_block)
{
	return !test_bit(region, ((struct replica_log *)log->context)->differs);
}

/* A write is about to begin. Under a lock of the region hash: must not sleep. */
static void log_mark(struct dm_dirty_log *log, region_t region)
{
	struct replica_log *l = log->context;

	__clear_bit(region, l->resting);
	if (!__test_and_set_bit(region, l->dirty))
		__set_bit(region / REPLICA_MAP_BITS, l->touched);
}

/* Nothing is being written there any more, or it was copied. */
static void log_clear(struct dm_dirty_log *log, region_t region)
{
	struct replica_log *l = log->context;

	if (test_bit(region, l->differs) && !test_bit(region, l->copying))
		return;
	set_resting(l, region);
}

/*
 * Clear what rests, if every leg of the volume is in sync and flushes: a leg that is out, or that loses what it had in
 * its cache, needs these bits to catch up.
 */
static void clear_resting(struct replica_log *l)
{
	struct replica *r = l->r;
	unsigned long all = replica_all(r);
	region_t i;

	if (r->sync_legs == all && !replica_legs_failed(r, replica_flush_legs(r, all)) &&
		r->sync_legs == all) {
		for_each_set_bit(i, l->resting, l->nr)
		{
			if (test_bit(i, l->differs) || !__test_and_clear_bit(i, l->dirty))
				continue;
			__set_bit(i / REPLICA_MAP_BITS, l->touched);
		}
	}
	bitmap_zero(l->resting, l->nr);
	l->any_resting = false;
}

/* What changed becomes durable on all active legs. Negative: no leg in sync takes it, and no write may be issued. */
static int log_flush(struct dm_dirty_log *log)
{
	struct replica_log *l = log->context;
	struct replica *r = l->r;
	unsigned int index;
	int err = 0;

	/* While regions are copied, one after the other, not each of them is worth a flush of all legs. */
	if (l->any_resting && (!l->nr_differs || test_bit(REPLICA_STOPPING, &r->flags) ||
				      time_after(jiffies, l->resting_since + REPLICA_CLEAN_DELAY)))
		clear_resting(l);
	for_each_set_bit(index, l->touched, nr_blocks(l))
	{
		err = replica_legs_failed(r, write_block(l, index, r->active_legs));
		if (err)
			return err;
		__clear_bit(index, l->touched);
	}
	return 0;
}

static int log_resync_work(struct dm_dirty_log *log, region_t *region)
{
	struct replica_log *l = log->context;

	if (!replica_can_copy(l->r))
		return 0;
	do {
		*region = find_next_bit(l->differs, l->nr, l->search);
		if (*region >= l->nr)
			return 0;
		l->search = *region + 1;
	} while (__test_and_set_bit(*region, l->copying));
	return 1;
}

static void log_set_sync(struct dm_dirty_log *log, region_t region, int in_sync)
{
	struct replica_log *l = log->context;

	__clear_bit(region, l->copying);
	/* Was true of the legs the copy went to, not of all that take part now. */
	if (__test_and_clear_bit(region, l->again) && in_sync) {
		l->search = min(l->search, region);
		return;
	}
	/* A copy that failed is tried again later, not at once: the search goes on behind it. */
	if (!in_sync && !test_and_set_bit(region, l->differs))
		l->nr_differs++;
	else if (in_sync && test_and_clear_bit(region, l->differs))
		l->nr_differs--;
}

static region_t log_sync_count(struct dm_dirty_log *log)
{
	struct replica_log *l = log->context;

	return l->nr - l->nr_differs;
}

static struct dm_dirty_log_type log_type = {
	.name = "semantos-replica",
	.module = THIS_MODULE,
	.ctr = log_ctr,
	.dtr = log_dtr,
	.get_region_size = log_region_size,
	.is_clean = log_is_clean,
	.in_sync = log_in_sync,
	.flush = log_flush,
	.mark_region = log_mark,
	.clear_region = log_clear,
	.get_resync_work = log_resync_work,
	.set_region_sync = log_set_sync,
	.get_sync_count = log_sync_count,
};

int replica_log_register(void)
{
	return dm_dirty_log_type_register(&log_type);
}

void replica_log_unregister(void)
{
	dm_dirty_log_type_unregister(&log_type);
}

/* NULL: no memory. dm_region_hash_destroy() destroys it. */
struct dm_dirty_log *replica_log_create(struct replica *r)
{
	return dm_dirty_log_create("semantos-replica", r->ti, NULL, 0, NULL);
}
