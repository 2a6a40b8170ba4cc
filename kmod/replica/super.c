// SPDX-License-Identifier: GPL-2.0
/*
 * super.c - superblocks: which legs of a volume hold the same history, and which of them all of it.
 *
 * Reads those of all legs when the volume is resumed for the first time, decides, or refuses with a sentence in the
 * kernel log; writes them whenever the set of legs in sync changes. It must never guess: legs whose histories parted,
 * a leg that is older than the one the others remember, or one that is not there are refused until the operator
 * says in the table what is to be done (degraded, rebuild N). Called by who resumes, or by the worker.
 */
#include "kmod/replica/replica.h"

#include <linux/random.h>

static u32 super_crc(struct replica_super *s)
{
	__le32 was = s->crc;
	u32 crc;

	s->crc = 0;
	crc = replica_crc(s, sizeof(*s));
	s->crc = was;
	return crc;
}

/* One more generation, which says which legs are in sync now. Whoever calls writes it. */
void replica_generation_next(struct replica *r)
{
	memmove(r->past + 1, r->past, sizeof(r->past) - sizeof(r->past[0]));
	r->past[0] = r->id;
	r->generation++;
	do
		get_random_bytes(&r->id, sizeof(r->id));
	while (!r->id);
}

/* Write the generation to `legs`, durably. Returns the legs where that failed. */
unsigned long replica_super_write(struct replica *r, unsigned long legs)
{
	struct replica_super *s = r->page;
	unsigned long failed = 0;
	unsigned int leg, i;

	for_each_set_bit(leg, &legs, r->nr_legs)
	{
		memset(r->page, 0, REPLICA_BLOCK);
		s->magic = cpu_to_le64(REPLICA_MAGIC);
		s->version = cpu_to_le32(REPLICA_DISK_VERSION);
		memcpy(s->uuid, r->uuid, sizeof(s->uuid));
		s->leg = cpu_to_le32(leg);
		s->nr_legs = cpu_to_le32(r->nr_legs);
		s->generation = cpu_to_le64(r->generation);
		s->id = cpu_to_le64(r->id);
		s->out = cpu_to_le32(replica_all(r) & ~r->sync_legs);
		s->region_sectors = cpu_to_le32(r->region_sectors);
		s->data_sectors = cpu_to_le64(r->ti->len);
		for (i = 0; i < r->nr_legs; i++)
			s->left[i] = cpu_to_le64(r->leg[i].left);
		for (i = 0; i < REPLICA_PAST; i++)
			s->past[i] = cpu_to_le64(r->past[i]);
		s->crc = cpu_to_le32(super_crc(s));
		if (replica_meta_io(r, BIT(leg), REQ_OP_WRITE | REQ_SYNC | REQ_FUA,
			    (r->generation & 1) * REPLICA_SLOT_SECTORS, r->page))
			failed |= BIT(leg);
		else
			r->leg[leg].held = r->generation;
	}
	return failed;
}

/* The newer valid superblock of a leg. -ENODATA: none, -EIO: it cannot be read. */
static int super_read(struct replica *r, unsigned int leg, struct replica_super *out)
{
	struct replica_super *s = r->page;
	int err = -ENODATA, slot;

	for (slot = 0; slot < 2; slot++) {
		if (replica_meta_io(r, BIT(leg), REQ_OP_READ, slot * REPLICA_SLOT_SECTORS, r->page))
			return -EIO;
		if (le64_to_cpu(s->magic) != REPLICA_MAGIC || le32_to_cpu(s->crc) != super_crc(s))
			continue;
		if (!err && le64_to_cpu(s->generation) < le64_to_cpu(out->generation))
			continue;
		*out = *s;
		err = 0;
	}
	return err;
}

/* A volume that did not exist before: nothing of a volume may be on the legs. */
static int create(struct replica *r, const int *found)
{
	unsigned int leg;

	for (leg = 0; leg < r->nr_legs; leg++) {
		if (!r->leg[leg].dev || found[leg] == -EIO) {
			DMERR("leg %u cannot be read, so no volume is created", leg);
			return -ENODEV;
		}
		if (!found[leg]) {
			DMERR("leg %u (%s) belongs to a volume already; it is not created anew",
				leg, r->leg[leg].dev->name);
			return -EEXIST;
		}
	}
	get_random_bytes(r->uuid, sizeof(r->uuid));
	r->generation = 0;
	r->id = 0;
	r->sync_legs = r->active_legs = replica_all(r);
	if (!r->assume_equal)
		replica_log_all_dirty(r);
	/* The map first: a leg with a superblock has a map. */
	if (replica_log_write_all(r, r->active_legs))
		return -EIO;
	replica_generation_next(r);
	if (replica_super_write(r, r->active_legs))
		return -EIO;
	return 0;
}

/* Is the superblock one of this table? Says why not. */
static bool fits(struct replica *r, unsigned int leg, const struct replica_super *s)
{
	if (le32_to_cpu(s->version) != REPLICA_DISK_VERSION)
		DMERR("leg %u has version %u on disk; this module knows %u", leg,
			le32_to_cpu(s->version), REPLICA_DISK_VERSION);
	else if (le32_to_cpu(s->leg) != leg || le32_to_cpu(s->nr_legs) != r->nr_legs)
		DMERR("the device given as leg %u of %u is leg %u of %u", leg, r->nr_legs,
			le32_to_cpu(s->leg), le32_to_cpu(s->nr_legs));
	else if (le64_to_cpu(s->data_sectors) != r->ti->len ||
		 le32_to_cpu(s->region_sectors) != r->region_sectors)
		DMERR("leg %u is of a volume of %llu sectors in regions of %u, not of %llu in %u",
			leg, le64_to_cpu(s->data_sectors), le32_to_cpu(s->region_sectors),
			(unsigned long long)r->ti->len, r->region_sectors);
	else
		return true;
	return false;
}

/* Is generation g with this id in the history of the newest superblock? */
static bool in_history(const struct replica_super *newest, u64 g, u64 id)
{
	u64 back = le64_to_cpu(newest->generation) - g;

	if (back == 0)
		return id == le64_to_cpu(newest->id);
	return back <= REPLICA_PAST && id && le64_to_cpu(newest->past[back - 1]) == id;
}

/*
 * Sort the legs by what the newest superblock says: *sync gets those that hold everything, *behind those that can be
 * brought up by the map. Refuses what it cannot account for.
 */
static int sort_legs(struct replica *r, struct replica_super *super, const int *found,
	const struct replica_super *newest, unsigned long *sync, unsigned long *behind)
{
	u64 last = le64_to_cpu(newest->generation);
	u32 out = le32_to_cpu(newest->out);
	unsigned int leg;

	for (leg = 0; leg < r->nr_legs; leg++) {
		u64 g = le64_to_cpu(super[leg].generation), id = le64_to_cpu(super[leg].id);

		if (!r->leg[leg].dev || found[leg] == -EIO) {
			if (r->degraded)
				continue;
			DMERR("leg %u is not there or cannot be read; say 'degraded' to go on "
			      "without it",
				leg);
			return -ENODEV;
		}
		if (r->rebuild & BIT(leg)) {
			*behind |= BIT(leg);
			continue;
		}
		if (found[leg]) {
			DMERR("leg %u has no superblock; say 'rebuild %u' to fill it from the "
			      "others",
				leg, leg);
			return -EINVAL;
		}
		if (memcmp(super[leg].uuid, newest->uuid, sizeof(newest->uuid))) {
			DMERR("leg %u belongs to another volume", leg);
			return -EINVAL;
		}
		if (!in_history(newest, g, id)) {
			DMERR("leg %u has a history of its own (generation %llu): the legs were "
			      "written apart. "
			      "Say 'rebuild N' for the leg to give up",
				leg, g);
			return -EUCLEAN;
		}
		if (!(out & BIT(leg))) {
			/* Every generation goes to each leg in sync before the next one is made. */
			if (g + 1 < last) {
				DMERR("leg %u is a copy of old (generation %llu of %llu); say "
				      "'rebuild %u'",
					leg, g, last, leg);
				return -EUCLEAN;
			}
			*sync |= BIT(leg);
		} else if (g < le64_to_cpu(newest->left[leg])) {
			DMERR("leg %u is older (generation %llu) than when it left (%llu); say "
			      "'rebuild %u'",
				leg, g, le64_to_cpu(newest->left[leg]), leg);
			return -EUCLEAN;
		} else {
			*behind |= BIT(leg);
		}
	}
	return 0;
}

static int join(struct replica *r, struct replica_super *super, const int *found)
{
	const struct replica_super *newest = NULL;
	unsigned long sync = 0, behind = 0;
	unsigned int leg, i;
	int err;

	for (leg = 0; leg < r->nr_legs; leg++) {
		if (found[leg] || r->rebuild & BIT(leg))
			continue;
		if (!fits(r, leg, &super[leg]))
			return -EINVAL;
		if (!newest || le64_to_cpu(super[leg].generation) > le64_to_cpu(newest->generation))
			newest = &super[leg];
	}
	if (!newest) {
		DMERR("no leg has a superblock; say 'create' to make a volume of them");
		return -ENODATA;
	}
	err = sort_legs(r, super, found, newest, &sync, &behind);
	if (err)
		return err;
	if (!sync) {
		DMERR("no leg that is there holds everything that was written");
		return -EUCLEAN;
	}
	memcpy(r->uuid, newest->uuid, sizeof(r->uuid));
	r->generation = le64_to_cpu(newest->generation);
	r->id = le64_to_cpu(newest->id);
	for (i = 0; i < REPLICA_PAST; i++)
		r->past[i] = le64_to_cpu(newest->past[i]);
	for (leg = 0; leg < r->nr_legs; leg++) {
		/* One that goes missing now held this generation, or the one before. */
		r->leg[leg].left = le32_to_cpu(newest->out) & BIT(leg)
					   ? le64_to_cpu(newest->left[leg])
					   : r->generation - 1;
		r->leg[leg].held = r->leg[leg].left;
	}
	r->tried_legs = 0;
	r->sync_legs = r->active_legs = sync;
	/* Of all: a try that failed may have told something else. */
	replica_tell_legs(r, sync, true);
	replica_tell_legs(r, replica_all(r) & ~sync, false);
	replica_log_load(r, sync);
	if (r->rebuild)
		replica_log_all_dirty(r);
	/* The map is the same on all of them before anybody relies on it. */
	r->generation_pending = true;
	if (replica_legs_failed(r, replica_log_write_all(r, sync)) || replica_generation_sync(r)) {
		DMERR("no leg takes what is known of the volume");
		return -EIO;
	}
	DMINFO("generation %llu: %u of %u legs in sync, %llu of %llu regions may differ",
		r->generation, (unsigned int)hweight_long(r->sync_legs), r->nr_legs,
		(unsigned long long)replica_log_to_copy(r), (unsigned long long)r->nr_regions);
	replica_catch_up(r, behind);
	r->rebuild = 0;
	return 0;
}

/* Find out what is on the legs. On success the volume is ready for I/O. */
int replica_assemble(struct replica *r)
{
	struct replica_super *super = kcalloc(r->nr_legs, sizeof(*super), GFP_KERNEL);
	int found[REPLICA_MAX_LEGS], err;
	unsigned int leg;

	if (!super)
		return -ENOMEM;
	for (leg = 0; leg < r->nr_legs; leg++)
		found[leg] = r->leg[leg].dev ? super_read(r, leg, &super[leg]) : -EIO;
	if (r->create)
		err = create(r, found);
	else
		err = join(r, super, found);
	if (!err)
		r->create = r->assume_equal = false;
	kfree(super);
	return err;
}
