/* SPDX-License-Identifier: GPL-2.0 */
/*
 * replica.h - what the files of dm-semantos-replica.ko share.
 *
 * Who may do what:
 *   - Reads are mapped by whoever submits them and touch no lock: they load `sync_legs` once.
 *   - One worker (worker.c), alone, changes which legs are in sync, issues writes and flushes, keeps the map of regions
 *     and starts copies. Whatever changes a decision about data goes through it, in order. While the target is
 *     suspended, or not yet resumed, the one who suspends or resumes has its role.
 *   - Completions, in any context, count, and hand to the worker what failed.
 *
 * The rules that everything else follows from:
 *   1. A write is issued only when the region's bit is durable on every active leg, and its generation is.
 *   2. A write is acknowledged when all clones are back. If one failed, its leg is out first, durably.
 *   3. A bit is cleared only when every leg of the volume is in sync and has flushed since the last write below it.
 *   4. A leg becomes active again only after it says itself, durably, that it is not in sync; and in sync only when no
 *      region is left to copy and it has flushed.
 */
#ifndef SEMANTOS_REPLICA_H
#define SEMANTOS_REPLICA_H

#include <linux/device-mapper.h>
#include <linux/dm-dirty-log.h>
#include <linux/dm-io.h>
#include <linux/dm-kcopyd.h>
#include <linux/dm-region-hash.h>
#include <linux/crc32.h>
#include <linux/hrtimer.h>
#include <linux/percpu.h>
#include <linux/version.h>
#include <linux/workqueue.h>
#include "kmod/replica/disk_format.h"
#include "kmod/semantos_blk.h"

#define DM_MSG_PREFIX "semantos-replica"
#define REPLICA_TABLE_VERSION 1
#define REPLICA_COPIES 2 /* regions copied at a time */
#define REPLICA_CLEAN_DELAY (2 * HZ) /* a region that rests for so long is marked clean */
#define REPLICA_RETRY_DELAY HZ /* until a region whose copy failed is tried again */
#define REPLICA_MAX_HEDGE_US 1000000
#define REPLICA_AVOID HZ /* so long no read goes to a leg that failed one, if there is another */

struct replica_leg {
	struct replica *of;
	struct dm_dev *dev; /* NULL: not there ("-" in the table) */
	sector_t start; /* of its area on the device */
	u64 held; /* the last generation that it surely has on disk */
	u64 left; /* while it is out: see struct replica_super */
	unsigned long avoid_until; /* jiffies */
	atomic_long_t read_errors, write_errors;
	atomic_t owed; /* reads in flight that another leg has answered */
	struct bio_list reads; /* to be sent to it, after another failed them */
	struct work_struct read_work; /* which may have to wait for it */
};

/* Per CPU. What is in flight on a leg, semantos.ko counts. */
struct replica_counts {
	u64 reads[REPLICA_MAX_LEGS], writes[REPLICA_MAX_LEGS];
	u64 retried, refused;
	u64 hedges, hedges_won; /* a second leg was asked; and was the first to answer */
	u64 unhedged; /* reads that were to have a second leg in time, and could not */
};

/* A region on its way from one leg to others. */
struct replica_copy {
	struct replica *r;
	struct dm_region *region; /* NULL: this place is free */
	unsigned int source;
	unsigned long targets; /* in the order of kcopyd's error bits */
	unsigned long unreadable; /* legs it could not be read from */
	bool again; /* set by kcopyd's thread, for the worker: from another leg */
};

struct replica_log; /* log.c */

enum replica_flag {
	REPLICA_CLEAN_DUE, /* it is time to look for regions at rest */
	REPLICA_COPIED, /* a copy ended */
	REPLICA_STOPPING, /* suspended: no copies */
	REPLICA_ASSEMBLED, /* the legs' superblocks have been read and agree */
};

struct replica {
	struct dm_target *ti;
	unsigned int nr_legs;
	struct replica_leg leg[REPLICA_MAX_LEGS];
	struct replica_counts __percpu *counts;
	struct semantos_blk_volume
		*blk; /* depth and history of the legs, and the policy that picks one */

	/* the table's options */
	bool create, assume_equal, degraded;
	unsigned int nowait_depth; /* 0: reads that must not wait are never refused here */
	bool hedging; /* hedge_us was given */
	unsigned int hedge_us; /* 0: only where the policy says so */
	unsigned long rebuild; /* legs to be taken as blank */
	u32 region_sectors;

	/* Written by the worker, read by all with READ_ONCE. */
	unsigned long sync_legs; /* hold everything that was acknowledged */
	unsigned long active_legs; /* those, and the ones catching up: they get every write */

	/* what is, or will be, on disk */
	u8 uuid[16];
	u64 generation, id, past[REPLICA_PAST];
	bool generation_pending; /* sync_legs changed and no leg says so yet: nothing may be issued */
	unsigned long
		tried_legs; /* what the last generation, which no leg in sync took, says is in sync; 0: it was taken */
	void *page; /* for superblocks and map blocks; the worker's */

	struct replica_log *log;
	struct dm_region_hash *rh;
	region_t nr_regions;
	struct dm_io_client *io;
	struct dm_kcopyd_client *kcopyd;
	struct replica_copy copy[REPLICA_COPIES];
	bool recovery_started;

	struct workqueue_struct *wq, *read_wq;
	struct work_struct work, read_work, event_work;
	struct delayed_work later;
	unsigned long flags; /* enum replica_flag */
	atomic_t failed_legs; /* found out by a copy; the worker will put them out */
	atomic_t wanted_legs; /* to catch up, asked for by a message */
	atomic_t unwanted_legs; /* to be put out, asked for by a message */
	atomic_long_t ejected;
	atomic_t hedges; /* that exist */

	spinlock_t lock; /* the lists below; taken with interrupts off */
	struct bio_list writes; /* from map, and from regions that were copied: to be issued */
	struct bio_list ended; /* came back, and a leg failed it */
	struct bio_list failed_reads; /* another leg is to be found for them */
};

struct replica_clone {
	struct bio bio;
	struct semantos_blk_io io;
	struct replica_bio *of;
	unsigned int leg;
};

/* What goes with every bio. */
struct replica_bio {
	struct replica *r;
	struct bio *bio;
	/* a read: as it was before it was mapped, for another try */
	struct bvec_iter iter;
	unsigned short bio_flags;
	int bio_remaining;
	unsigned long tried; /* legs */
	unsigned int leg;
	struct semantos_blk_io io;
	/* a write or flush */
	region_t region;
	bool pending; /* the region hash counts it */
	unsigned long issued, failed; /* legs */
	atomic_t left;
	blk_status_t status;
	struct replica_clone clone[];
};

/* The table-driven one that is always built in: superblocks are few, and the map is written with a flush. */
static inline u32 replica_crc(const void *data, size_t bytes)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
	return crc32c(~0, data, bytes);
#else
	return __crc32c_le(~0, data, bytes);
#endif
}

static inline struct replica_bio *replica_bio_of(struct replica *r, struct bio *bio)
{
	return dm_per_bio_data(bio, struct_size_t(struct replica_bio, clone, r->nr_legs));
}

static inline sector_t replica_data_sector(struct replica *r, unsigned int leg, sector_t sector)
{
	return r->leg[leg].start + REPLICA_META_SECTORS + sector;
}

static inline unsigned long replica_all(struct replica *r)
{
	return (1UL << r->nr_legs) - 1;
}

static inline void replica_timer_init(
	struct hrtimer *timer, enum hrtimer_restart (*function)(struct hrtimer *))
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
	hrtimer_setup(timer, function, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
	hrtimer_init(timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	timer->function = function;
#endif
}

/* read.c */
int replica_map_read(struct replica *r, struct bio *bio);
bool replica_leg_good(struct replica *r, unsigned int leg);
void replica_read_failed(struct replica *r, unsigned int leg);
bool replica_read_next(struct replica *r, struct replica_bio *rb);
int replica_end_read(struct replica *r, struct bio *bio, blk_status_t *status);
void replica_retry_reads(struct work_struct *work);
void replica_send_reads(struct work_struct *work);
void replica_counts_sum(struct replica *r, struct replica_counts *sum);

/* hedge.c */
bool replica_hedge_read(
	struct replica *r, struct replica_bio *rb, const struct semantos_blk_read *read);
bool replica_hedge_owes(struct replica *r, unsigned int leg);
void replica_hedges_end(struct replica *r);

/* write.c; all but replica_queue_write() by the worker only */
void replica_queue_write(struct replica *r, struct bio *bio);
void replica_issue_writes(struct replica *r, struct bio_list *writes);
void replica_judge_ended(struct replica *r, struct bio_list *ended);

/* worker.c */
void replica_wake(struct replica *r);
void replica_work(struct work_struct *work);
void replica_later(struct work_struct *work);

/* legs.c; by the worker only */
void replica_tell_legs(struct replica *r, unsigned long legs, bool in_use);
int replica_legs_failed(struct replica *r, unsigned long legs);
int replica_generation_sync(struct replica *r);
void replica_catch_up(struct replica *r, unsigned long legs);
void replica_catch_up_done(struct replica *r);
unsigned long replica_flush_legs(struct replica *r, unsigned long legs);
unsigned long replica_meta_io(
	struct replica *r, unsigned long legs, blk_opf_t opf, sector_t sector, void *page);

/* super.c: by who resumes, and the worker */
int replica_assemble(struct replica *r);
unsigned long replica_super_write(struct replica *r, unsigned long legs);
void replica_generation_next(struct replica *r);

/* log.c */
int replica_log_register(void);
void replica_log_unregister(void);
struct dm_dirty_log *replica_log_create(struct replica *r);
bool replica_log_differs(struct replica *r, region_t region);
void replica_log_set_differs(struct replica *r, region_t region);
region_t replica_log_to_copy(struct replica *r);
region_t replica_log_dirty(struct replica *r);
void replica_log_search_again(struct replica *r);
void replica_log_copy_all_dirty(struct replica *r);
void replica_log_all_dirty(struct replica *r);
void replica_log_clean_rest(struct replica *r);
void replica_log_load(struct replica *r, unsigned long legs);
unsigned long replica_log_write_all(struct replica *r, unsigned long legs);

/* recover.c */
struct dm_kcopyd_throttle *replica_throttle(void);
void replica_recover(struct replica *r);
bool replica_can_copy(struct replica *r);
void replica_recovery_start(struct replica *r);
void replica_recovery_stop(struct replica *r);

#endif
