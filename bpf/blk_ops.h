/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * blk_ops.h - the struct_ops type of semantos.ko: what a policy is asked about block I/O, and what it is shown.
 *
 * Shared by the module, which defines the type, and BPF policies, which fill one in with SEC(".struct_ops.link") and
 * attach it with bpf_map__attach_struct_ops(). Upstream has no struct_ops for block I/O (looked for up to Linux 7.3).
 * docs/kmod.md shows a whole policy and the commands around it.
 *
 * The view is read-only to a policy; what it may change has a kfunc of its own. Views live for the length of the
 * call only: the verifier lets no policy keep a pointer to one.
 */
#ifndef SEMANTOS_BLK_OPS_H
#define SEMANTOS_BLK_OPS_H

#include "bpf/wire.h"

#define SEMANTOS_BLK_VERSION 1
#define SEMANTOS_BLK_NAME 16 /* bytes, the closing zero included */
#define SEMANTOS_BLK_MAX_LEGS 8

/* What select_leg() returns when it has nothing to say. */
#define SEMANTOS_BLK_DEFAULT (-1)

/* What admit() returns. */
#define SEMANTOS_BLK_ADMIT 0
#define SEMANTOS_BLK_REFUSE 1

#ifdef __bpf__
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#endif

/* flags of a read */
#define SEMANTOS_BLK_R_NOWAIT 0x01 /* the issuer asked not to wait (RWF_NOWAIT, io_uring) */
#define SEMANTOS_BLK_R_AHEAD 0x02 /* readahead: nobody waits for it yet */
#define SEMANTOS_BLK_R_META 0x04 /* metadata of a file system */
#define SEMANTOS_BLK_R_RETRY 0x08 /* a leg failed this read already; it is not eligible any more */

/* One read that needs a leg, as it stands at the decision. */
struct semantos_blk_read {
	wire_u64 id; /* never 0; unique while the module is loaded; the same in on_complete() */
	wire_u64 now_ns; /* boot time of the decision, the clock of every age in the leg records */
	wire_u64 sector; /* first, of 512 bytes, within the volume */
	wire_u32 sectors;
	wire_u32 flags; /* SEMANTOS_BLK_R_* */
	wire_u32 volume; /* number of the volume, never used twice */
	wire_u32 nr_legs; /* of the volume; legs are 0..nr_legs - 1 */
	wire_u32 eligible; /* bit i: leg i holds current data for this read and is in use */
	wire_u32 default_leg; /* the leg that serves it if the policy does not say otherwise */
	/* Set by the kfunc semantos_blk_set_hedge(); 0 = no second leg. */
	wire_u32 hedge_after_us;
	wire_u32 hedge_leg;
	wire_u32 reserved[2];
};

/* One read that a leg has answered. */
struct semantos_blk_done {
	wire_u64 id;
	wire_u64 now_ns; /* boot time */
	wire_u64 sector;
	wire_u32 sectors;
	wire_u32 volume;
	wire_u32 leg;
	wire_u32 latency_us; /* sent to the leg until it answered; saturates */
	int error; /* 0, or the negative error the leg answered with */
	wire_u32 reserved;
};

#ifdef __bpf__
#pragma clang attribute pop
#endif

/* ---- in-kernel inference ---- */

#define SEMANTOS_MODELS 64 /* an agent may hand over; numbered from 0 */

struct semantos_infer_result {
	long long score; /* integer; comparable with others of the same model only */
	long long threshold; /* of the model: score >= this is class 1 */
	int error; /* 0; -ENOENT: no such model */
	wire_u32
		generation; /* of the model's number; moves on with every model handed over under it */
};

/*
 * All legs of a read at once: model[i] judges leg i, the rest as in struct semantos_infer_result. A number that no model
 * has is fine: that leg's error says so. (Arrays of numbers, because the verifier takes no array of structs.)
 */
struct semantos_infer_legs {
	wire_u32 model[SEMANTOS_BLK_MAX_LEGS];
	long long score[SEMANTOS_BLK_MAX_LEGS];
	long long threshold[SEMANTOS_BLK_MAX_LEGS];
	int error[SEMANTOS_BLK_MAX_LEGS];
	wire_u32 generation[SEMANTOS_BLK_MAX_LEGS];
};

/* flags of a policy; others are refused at attach */
#define SEMANTOS_BLK_F_NO_LEASE \
	0x01 /* it decides by nothing that an agent keeps current: ask it with no agent alive, too */
#define SEMANTOS_BLK_F_ALL SEMANTOS_BLK_F_NO_LEASE

/*
 * A policy. One is attached at a time, for all volumes; attaching a second is refused with EBUSY, and the holder's
 * name is in /sys/module/semantos/parameters/holder. bpf_link__update_map() replaces it without a decision in
 * between that neither of the two was asked for. When its link goes, so does the policy: what follows is the default.
 *
 * All callbacks are programs that cannot sleep, run with preemption as the caller had it, possibly at the same time
 * on all CPUs, and interrupt one another. None is called after detach or replacement returned. A callback
 * is asked only while the agent's lease is alive (see SEMANTOS_BLK_F_NO_LEASE); without, the default applies.
 * What it returns is checked; nonsense counts (`bad_leg`, `bad_admit` in /sys/module/semantos/parameters/state) and
 * means the default. Every member but the name may be left out.
 */
struct semantos_blk_ops {
	/**
	 * @select_leg: Which leg serves this read?
	 * @read: the read. semantos_blk_leg_record(), semantos_infer_legs() and the other kfuncs take it.
	 *
	 * Called once for every read of a volume that has at least two eligible legs, before it is sent, and again,
	 * with SEMANTOS_BLK_R_RETRY, when the chosen leg failed it. In the context of who submits the read: a task,
	 * possibly with GFP_NOIO, or the volume's worker. The legs' depths count this read on none of them.
	 *
	 * Returns a leg whose bit is set in read->eligible, or SEMANTOS_BLK_DEFAULT. Left out: always the default,
	 * fewest outstanding requests, ties to the leg that is next in turn.
	 */
	int (*select_leg)(struct semantos_blk_read *read);

	/**
	 * @admit: May this read, which must not wait, be sent to the leg that was chosen for it?
	 * @read: the read; SEMANTOS_BLK_R_NOWAIT is set
	 * @leg: the leg
	 *
	 * Called after select_leg(), in its context, only for a volume created with nowait_reject.
	 *
	 * Returns SEMANTOS_BLK_ADMIT, or SEMANTOS_BLK_REFUSE: its issuer gets EAGAIN at once, and nothing was sent.
	 * Left out: every read is admitted.
	 */
	int (*admit)(struct semantos_blk_read *read, wire_u32 leg);

	/**
	 * @on_complete: A leg has answered a read, well or not.
	 * @done: which, and how long it took
	 *
	 * Called for each answer of each leg (a read that failed on one leg and was sent to another: twice), after
	 * the leg's history took it in. Any context, hard interrupts included. Reads that were in flight at attach
	 * are reported too. Left out: nothing.
	 */
	void (*on_complete)(struct semantos_blk_done *done);

	/** @flags: SEMANTOS_BLK_F_*; 0 is what a policy driven by an agent wants. */
	wire_u32 flags;

	/** @version: SEMANTOS_BLK_VERSION it was written for, refused when it differs; 0 = does not say. */
	wire_u32 version;

	/** @name: for people: letters, digits, '_', '-' and '.'. Mandatory. */
	char name[SEMANTOS_BLK_NAME];
};

SEMANTOS_ASSERT_SIZE(struct semantos_blk_read, 64);
SEMANTOS_ASSERT_SIZE(struct semantos_blk_done, 48);
SEMANTOS_ASSERT_SIZE(struct semantos_infer_result, 24);
SEMANTOS_ASSERT_SIZE(struct semantos_infer_legs, 224);

#endif
