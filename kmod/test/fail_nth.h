/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fail_nth.h - for tests only: the modules' allocations go through a counter that fails the one it is told to.
 *
 * Stock kernels have fault injection off, so a second build of semantos.ko and dm-semantos-replica.ko (make …
 * SEMANTOS_FAIL_NTH=y) has this header put before every source. What allocates gets a wrapper of its name; what frees
 * as well, so that what is still there can be counted. Headers that allocate inline come first, so they are left alone.
 * In /sys/module/semantos/parameters: write fail_nth N (the Nth allocation from now on fails, 0 = none; also at load),
 * read fail_hit (has it?) and fail_live (what was allocated and not freed). Registering with BPF allocates there, and is
 * counted as one allocation. It may not fail while /dev/semantos is there: who has that open would be in code that goes; a
 * warning in the kernel's log says that it did. Must never be part of what is installed.
 */
#ifndef SEMANTOS_FAIL_NTH_H
#define SEMANTOS_FAIL_NTH_H

#include <linux/blkdev.h>
#include <linux/bpf.h>
#include <linux/bpf_verifier.h>
#include <linux/btf.h>
#include <linux/device-mapper.h>
#include <linux/dm-dirty-log.h>
#include <linux/dm-io.h>
#include <linux/dm-kcopyd.h>
#include <linux/dm-region-hash.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

bool semantos_fail_now(void);
void semantos_fail_live(int change);
void semantos_fail_open(bool open);
bool semantos_fail_register(void);

/* A pointer that an allocation gave, counted. */
#define fail_got(pointer)                            \
	({                                           \
		typeof(pointer) fail_p = (pointer);  \
		if (!IS_ERR_OR_NULL((void *)fail_p)) \
			semantos_fail_live(1);       \
		fail_p;                              \
	})

#define FAIL_ALLOC(type, name, none, parameters, arguments)                   \
	static inline type fail_##name parameters                             \
	{                                                                     \
		return semantos_fail_now() ? none : fail_got(name arguments); \
	}
#define FAIL_FREE(name, type)                         \
	static inline void fail_##name(type p)        \
	{                                             \
		if (!IS_ERR_OR_NULL((const void *)p)) \
			semantos_fail_live(-1);       \
		name(p);                              \
	}

FAIL_ALLOC(void *, kzalloc, NULL, (size_t n, gfp_t gfp), (n, gfp))
FAIL_ALLOC(void *, kcalloc, NULL, (size_t n, size_t size, gfp_t gfp), (n, size, gfp))
FAIL_ALLOC(void *, kvzalloc, NULL, (size_t n, gfp_t gfp), (n, gfp))
FAIL_ALLOC(void *, vzalloc, NULL, (unsigned long n), (n))
FAIL_ALLOC(void *, vmemdup_user, ERR_PTR(-ENOMEM), (const void __user *from, size_t n), (from, n))
FAIL_ALLOC(struct page *, alloc_page, NULL, (gfp_t gfp), (gfp))
FAIL_ALLOC(void __percpu *, __alloc_percpu, NULL, (size_t n, size_t align), (n, align))
FAIL_ALLOC(struct dm_io_client *, dm_io_client_create, ERR_PTR(-ENOMEM), (void), ())
FAIL_ALLOC(struct dm_kcopyd_client *, dm_kcopyd_client_create, ERR_PTR(-ENOMEM),
	(struct dm_kcopyd_throttle * t), (t))
FAIL_FREE(kfree, const void *)
FAIL_FREE(kvfree, const void *)
FAIL_FREE(vfree, const void *)
FAIL_FREE(free_percpu, void __percpu *)
FAIL_FREE(destroy_workqueue, struct workqueue_struct *)
FAIL_FREE(dm_io_client_destroy, struct dm_io_client *)
FAIL_FREE(dm_kcopyd_client_destroy, struct dm_kcopyd_client *)
FAIL_FREE(dm_region_hash_destroy, struct dm_region_hash *)

static inline unsigned long fail_get_zeroed_page(gfp_t gfp)
{
	return semantos_fail_now() ? 0 : (unsigned long)fail_got((void *)get_zeroed_page(gfp));
}

static inline void fail_free_page(unsigned long page)
{
	if (page)
		semantos_fail_live(-1);
	free_page(page);
}

static inline void fail___free_page(struct page *page)
{
	semantos_fail_live(-1);
	__free_page(page);
}

static inline int fail_bio_init_clone(
	struct block_device *bdev, struct bio *bio, struct bio *from, gfp_t gfp)
{
	return semantos_fail_now() ? -ENOMEM : bio_init_clone(bdev, bio, from, gfp);
}

static inline int fail_misc_register(struct miscdevice *misc)
{
	int err = semantos_fail_now() ? -ENOMEM : misc_register(misc);

	if (!err)
		semantos_fail_open(true);
	return err;
}

static inline void fail_misc_deregister(struct miscdevice *misc)
{
	misc_deregister(misc);
	semantos_fail_open(false);
}

static inline int fail___register_bpf_struct_ops(struct bpf_struct_ops *ops)
{
	return semantos_fail_register() ? -ENOMEM : __register_bpf_struct_ops(ops);
}

static inline int fail_register_btf_kfunc_id_set(
	enum bpf_prog_type type, const struct btf_kfunc_id_set *set)
{
	return semantos_fail_register() ? -ENOMEM : register_btf_kfunc_id_set(type, set);
}

#define misc_register fail_misc_register
#define misc_deregister fail_misc_deregister
#define __register_bpf_struct_ops fail___register_bpf_struct_ops
#define register_btf_kfunc_id_set fail_register_btf_kfunc_id_set
#undef kzalloc
#undef kcalloc
#undef kvzalloc
#undef vzalloc
#undef vmemdup_user
#undef alloc_page
#undef __alloc_percpu
#undef alloc_percpu
#undef get_zeroed_page
#undef free_page
#undef __free_page
#undef kvfree_rcu
#define kzalloc fail_kzalloc
#define kcalloc fail_kcalloc
#define kvzalloc fail_kvzalloc
#define vzalloc fail_vzalloc
#define vmemdup_user fail_vmemdup_user
#define alloc_page fail_alloc_page
#define __alloc_percpu fail___alloc_percpu
#define alloc_percpu(type) \
	((typeof(type) __percpu *)fail___alloc_percpu(sizeof(type), __alignof__(type)))
#define get_zeroed_page fail_get_zeroed_page
#define dm_io_client_create fail_dm_io_client_create
#define dm_kcopyd_client_create fail_dm_kcopyd_client_create
#define bio_init_clone fail_bio_init_clone
#define kfree fail_kfree
#define kvfree fail_kvfree
#define vfree fail_vfree
#define free_percpu fail_free_percpu
#define free_page fail_free_page
#define __free_page fail___free_page
#define destroy_workqueue fail_destroy_workqueue
#define dm_io_client_destroy fail_dm_io_client_destroy
#define dm_kcopyd_client_destroy fail_dm_kcopyd_client_destroy
#define dm_region_hash_destroy fail_dm_region_hash_destroy
#define kvfree_rcu(p, field)                \
	do {                                \
		semantos_fail_live(-1);     \
		kvfree_rcu_arg_2(p, field); \
	} while (0)
/* A function before some 6.x, a macro from then on; alloc_ordered_workqueue() ends up here. */
#ifdef alloc_workqueue
#undef alloc_workqueue
#define alloc_workqueue(...) \
	(semantos_fail_now() ? NULL : fail_got(alloc_workqueue_noprof(__VA_ARGS__)))
#else
#define alloc_workqueue(...) (semantos_fail_now() ? NULL : fail_got(alloc_workqueue(__VA_ARGS__)))
#endif
#define dm_region_hash_create(...) \
	(semantos_fail_now() ? ERR_PTR(-ENOMEM) : fail_got(dm_region_hash_create(__VA_ARGS__)))
/* The region hash destroys the log; what the log itself allocated is counted where that is. */
#define dm_dirty_log_create(...) (semantos_fail_now() ? NULL : dm_dirty_log_create(__VA_ARGS__))

#endif
