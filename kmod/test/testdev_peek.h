/* SPDX-License-Identifier: GPL-2.0 */
/*
 * testdev_peek.h - a kfunc that tells BPF policies the future: how long a read would take on each test disk.
 *
 * For the policy that no learned one can beat, in benches. Included once, by semantos_testdev.c, after its disks. Asking
 * changes nothing: the answer comes from a copy of the disk's process. A policy may ask in any context, so a disk is
 * found under `peek_lock`, which is taken before a disk's own lock, and by who adds or removes one.
 */
#ifndef SEMANTOS_TESTDEV_PEEK_H
#define SEMANTOS_TESTDEV_PEEK_H

#include <linux/version.h>

static DEFINE_SPINLOCK(peek_lock);

static void disk_show(int index, struct disk *d)
{
	spin_lock_irq(&peek_lock);
	disks[index] = d;
	spin_unlock_irq(&peek_lock);
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#include <linux/btf.h>
#include <linux/btf_ids.h>

__bpf_kfunc_start_defs();

/* Nanoseconds until a read of `bytes` that is sent now to the disk of this kernel dev_t is answered; ~0: no such disk. */
__bpf_kfunc u64 semantos_testdev_peek_ns(u32 dev, u32 bytes)
{
	u32 index = MINOR(dev);
	u64 ns = U64_MAX;
	unsigned long flags;
	struct disk *d;

	spin_lock_irqsave(&peek_lock, flags);
	d = MAJOR(dev) == major && index < MAX_DISKS ? disks[index] : NULL;
	if (d) {
		struct process copy;

		spin_lock(&d->lock);
		copy = d->process;
		spin_unlock(&d->lock);
		ns = process_request_ns(&copy, ktime_get_ns(), bytes, false);
	}
	spin_unlock_irqrestore(&peek_lock, flags);
	return ns;
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(peek_set)
BTF_ID_FLAGS(func, semantos_testdev_peek_ns)
BTF_KFUNCS_END(peek_set)

static const struct btf_kfunc_id_set peek_kfuncs = {
	.owner = THIS_MODULE,
	.set = &peek_set,
};

static int peek_init(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_STRUCT_OPS, &peek_kfuncs);
}
#else
static int peek_init(void)
{
	return 0;
}
#endif

#endif
