/* SPDX-License-Identifier: GPL-2.0 */
/*
 * testdev_store.h - the memory behind a test disk: what is on the medium, and what only its write cache holds.
 *
 * A numbered store outlives the disk that uses it, so that a disk can vanish and return with its contents. With a cache,
 * `data` is what reads see, `durable` what survives a loss of power: a flush copies what is dirty from one to the other,
 * and a crash image is `durable` plus a random choice of the dirty blocks of 4 KiB, for a cache writes back in any
 * order. A block is whole or absent in it (no torn blocks), and of several unflushed writes to one block only the last
 * can be there. Locking: `stores_power` is held shared around every transfer and exclusively while images are
 * taken, so that the images of several stores are of one instant. `dirty` changes by atomic bit operations.
 */
#ifndef SEMANTOS_TESTDEV_STORE_H
#define SEMANTOS_TESTDEV_STORE_H

#include <linux/bitmap.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include "testdev_process.h"

#define MAX_STORES 64
#define STORE_BLOCK_SHIFT 12
#define STORE_BLOCK (1UL << STORE_BLOCK_SHIFT)

struct store {
	u8 *data, *durable; /* durable: NULL without a cache */
	unsigned long *dirty; /* blocks of data that are not durable */
	size_t bytes;
	unsigned int users;
};

static struct store *stores[MAX_STORES]; /* those with a number; [0] is not used */
static DECLARE_RWSEM(stores_power);

static void store_free(struct store *s)
{
	if (!s)
		return;
	vfree(s->data);
	vfree(s->durable);
	bitmap_free(s->dirty);
	kfree(s);
}

static struct store *store_new(size_t bytes)
{
	struct store *s = kzalloc(sizeof(*s), GFP_KERNEL);

	if (!s)
		return NULL;
	s->bytes = bytes;
	s->data = vzalloc(bytes);
	if (s->data)
		return s;
	store_free(s);
	return NULL;
}

/* From now on what is written waits for a flush. What is there already is durable. */
static int store_add_cache(struct store *s)
{
	if (s->durable)
		return 0;
	s->dirty = bitmap_zalloc(s->bytes >> STORE_BLOCK_SHIFT, GFP_KERNEL);
	s->durable = s->dirty ? vmalloc(s->bytes) : NULL;
	if (!s->durable) {
		bitmap_free(s->dirty);
		s->dirty = NULL;
		return -ENOMEM;
	}
	memcpy(s->durable, s->data, s->bytes);
	return 0;
}

/* The store of a number (0: a new one without) for one disk. ERR_PTR: no memory, in use, or of another size. */
static struct store *store_get(u32 number, size_t bytes)
{
	struct store *s = number ? stores[number] : NULL;

	if (!s)
		s = store_new(bytes);
	if (!s)
		return ERR_PTR(-ENOMEM);
	if (s->users)
		return ERR_PTR(-EBUSY);
	if (s->bytes != bytes)
		return ERR_PTR(-EINVAL);
	s->users++;
	if (number)
		stores[number] = s;
	return s;
}

static void store_put(struct store *s, u32 number)
{
	s->users--;
	if (!number)
		store_free(s);
}

static inline void store_block_durable(struct store *s, size_t block)
{
	memcpy(s->durable + (block << STORE_BLOCK_SHIFT), s->data + (block << STORE_BLOCK_SHIFT),
		STORE_BLOCK);
}

static inline void store_flush(struct store *s)
{
	unsigned long block;

	if (!s->durable)
		return;
	for_each_set_bit(block, s->dirty, s->bytes >> STORE_BLOCK_SHIFT)
	{
		clear_bit(block, s->dirty); /* first: what is written meanwhile is dirty again */
		store_block_durable(s, block);
	}
}

/* `bytes` at `at` were written; forced = they must be durable now (FUA). */
static inline void store_written(struct store *s, size_t at, size_t bytes, bool forced)
{
	size_t block;

	if (!s->durable || !bytes)
		return;
	for (block = at >> STORE_BLOCK_SHIFT; block <= (at + bytes - 1) >> STORE_BLOCK_SHIFT;
		block++)
		if (forced)
			store_block_durable(s, block);
		else
			set_bit(block, s->dirty);
}

/*
 * What a loss of power now would leave of `from`, into `to` (of the same size, without users): of the dirty blocks, each
 * is there with probability keep_ppm / 10^6. `from` may be `to`. Called with stores_power held exclusively.
 */
static void store_crash(struct store *to, struct store *from, u32 keep_ppm, u64 *rng)
{
	unsigned long block;

	if (to != from)
		memcpy(to->data, from->durable ?: from->data, to->bytes);
	if (from->durable) {
		for_each_set_bit(block, from->dirty, from->bytes >> STORE_BLOCK_SHIFT)
		{
			bool kept = (u64)draw(rng) * 1000000 >> 32 < keep_ppm;
			size_t at = block << STORE_BLOCK_SHIFT;

			if (to == from)
				memcpy(kept ? to->durable + at : to->data + at,
					kept ? to->data + at : to->durable + at, STORE_BLOCK);
			else if (kept)
				memcpy(to->data + at, from->data + at, STORE_BLOCK);
		}
	}
	if (to->durable) {
		if (to != from)
			memcpy(to->durable, to->data, to->bytes);
		bitmap_zero(to->dirty, to->bytes >> STORE_BLOCK_SHIFT);
	}
}

static void stores_free(void)
{
	int i;

	for (i = 0; i < MAX_STORES; i++) {
		store_free(stores[i]);
		stores[i] = NULL;
	}
}

#endif
