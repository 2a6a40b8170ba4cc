/* SPDX-License-Identifier: GPL-2.0 */
/*
 * volume.h - which leg serves a read: the decision a policy takes for semantos.ko (bpf/blk_ops.h), and what comes of it.
 *
 * A policy's object for volumes is this header, a licence and a program for each callback; policies/linnos shows it. Its
 * maps policy, slots, verdicts, trial, lease and devices are those of the policy's own object, which the agent gives it.
 *
 * Decisions are computed in every mode, and each prediction is compared with what the read took. The default is left only
 * where the mode, the canary's hash and the models (slots[].obey and choose) all permit it, and then:
 *   a model that tells slow from fast: from a leg foreseen to be slow to the least busy one foreseen to be fast
 *   a model that foresees a latency:   to the leg with the least, if it gains more than the models' error
 * and never to one that is much deeper: the default, under which they learned, never showed them such a leg.
 * A leg that nobody asked for a while is unknown, however slow it was: the default may use it, and so finds out.
 */
#ifndef SEMANTOS_BPF_VOLUME_H
#define SEMANTOS_BPF_VOLUME_H

#include "bpf/lib/verdict.h"
#include "bpf/lib/blk.h"
#include "bpf/volume_wire.h"

#define VOLUME_ASKED 4096 /* reads in flight whose prediction is remembered, a power of two */
#define VOLUME_BUSY (~0ULL) /* id of a row that is being written */
#define VOLUME_NO_MODEL 0xffffffffU

/* dev_t -> slot, as bpf/hooks/block.h has it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * SEMANTOS_MAX_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SEMANTOS_MAX_SLOTS);
	__type(key, __u32);
	__type(value, struct semantos_leg_model);
} leg_models SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct semantos_decisions);
} decisions SEC(".maps");

/* What was foreseen of a read for the leg that serves it. */
struct volume_asked {
	__u64 id; /* 0 = nothing */
	__u32 leg;
	__u32 slow_us; /* of the leg's model; 0 = nothing was foreseen */
	__u32 us; /* foreseen latency; 0 = the model foresees none */
	__u8 slow, obeyed, treated, tried;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VOLUME_ASKED);
	__type(key, __u32);
	__type(value, struct volume_asked);
} asked SEC(".maps");

/* What is known of the legs of one read. Masks have bit i for leg i. */
struct volume_view {
	struct semantos_infer_legs legs; /* score[i]: microseconds, once they are judged */
	__u16 slot_plus_1[SEMANTOS_BLK_MAX_LEGS];
	__u32 known, slow, obeyed, choose, foreseen; /* foreseen: a latency, and not only a class */
	__u32 margin_permille, deeper;
};

static __always_inline void decision_add(enum semantos_decision which, __u64 n)
{
	__u32 zero = 0;
	struct semantos_decisions *row = bpf_map_lookup_elem(&decisions, &zero);

	if (row)
		__sync_fetch_and_add(&row->count[which], n);
}

static __always_inline struct volume_asked *volume_asked_row(__u64 id)
{
	__u32 index = (id * 0x9e3779b97f4a7c15ULL) >> 52;

	return bpf_map_lookup_elem(&asked, &index);
}

/* May a decision about this read be followed? */
static __always_inline bool volume_treated(const struct semantos_policy *pol, __u64 id)
{
	return pol->mode == SEMANTOS_ENFORCE ||
	       (pol->mode == SEMANTOS_CANARY && semantos_in_canary(id, pol->canary_percent));
}

/* The slot of the disk a leg lies on, if it is that very disk; its number in *index. */
static __always_inline struct semantos_slot *volume_slot(
	struct semantos_blk_read *read, __u32 leg, __u32 *index)
{
	__u32 dev = semantos_blk_leg_dev(read, leg);
	__u32 *found = bpf_map_lookup_elem(&devices, &dev);
	struct semantos_slot *slot;

	if (!found)
		return NULL;
	*index = *found;
	slot = bpf_map_lookup_elem(&slots, index);
	return slot && slot->in_use && slot->dev == dev ? slot : NULL;
}

/* 2^(x / 1024), to within a quarter of a percent. */
static __always_inline __u32 volume_exp2(__u32 x)
{
	__u32 whole = x >> 10, part = x & 1023;
	__u64 mantissa = 1024 + part - (part * (1024 - part) * 352 >> 20);

	return whole < 31 ? (__u32)(mantissa << whole >> 10) : 0x7fffffffU;
}

/* The microseconds that a score foresees; see SEMANTOS_PREDICTS_LATENCY. Without a signed division and without overflow. */
static __always_inline __u32 volume_us(long long score, long long threshold, __u32 warn_log2)
{
	__u64 s = score, t = threshold, log2;

	if (score <= 0 || threshold <= 0)
		return 0;
	if (s >> 38 || t >> 38) {
		s >>= 24;
		t >>= 24;
	}
	if (!t || s >> 38)
		return 0x7fffffffU;
	log2 = s * (warn_log2 & 0xffff) / t;
	return volume_exp2(log2 < 0xffff ? (__u32)log2 : 0xffff);
}

/* What the slot's model may do for the leg of that bit. */
static __always_inline void volume_permit(
	struct volume_view *view, const struct semantos_slot *slot, __u32 bit)
{
	if (!slot->obey)
		return;
	view->obeyed |= bit;
	if (slot->choose)
		view->choose |= bit;
}

/* One leg by the score of its model, which has been run. */
static __always_inline void volume_judge_leg(
	struct semantos_blk_read *read, struct volume_view *view, __u32 leg)
{
	struct semantos_block_record record = {};
	__u32 index = view->slot_plus_1[leg], bit = 1U << leg, us;
	struct semantos_leg_model *row;
	struct semantos_slot *slot;

	if (!index || view->legs.error[leg])
		return;
	index--;
	row = bpf_map_lookup_elem(&leg_models, &index);
	slot = bpf_map_lookup_elem(&slots, &index);
	if (!row || !slot || !row->model_plus_1 || row->generation != view->legs.generation[leg]) {
		decision_add(SEMANTOS_D_STALE, 1);
		return;
	}
	if (semantos_blk_leg_record(read, leg, &record) || record.history_len < SEMANTOS_HISTORY)
		return;
	/* The record counts this read as in flight. */
	if (record.inflight_reads <= 1 && record.since_done_us > row->probe_us) {
		decision_add(SEMANTOS_D_PROBED, 1);
		return;
	}
	view->known |= bit;
	volume_permit(view, slot, bit);
	if (row->predicts == SEMANTOS_PREDICTS_LATENCY) {
		us = volume_us(view->legs.score[leg], view->legs.threshold[leg], row->warn_log2);
		view->foreseen |= bit;
		if (us >= row->warn_us)
			view->slow |= bit;
		if (row->margin_permille > view->margin_permille)
			view->margin_permille = row->margin_permille;
		view->deeper = row->deeper;
		view->legs.score[leg] = us;
	} else if (view->legs.score[leg] >= view->legs.threshold[leg]) {
		view->slow |= bit;
	}
}

/* By the models, for this very read. */
static __always_inline void volume_judge_inline(
	struct semantos_blk_read *read, struct volume_view *view)
{
	__u32 i, index;

	bpf_for (i, 0, SEMANTOS_BLK_MAX_LEGS) {
		struct semantos_leg_model *row = NULL;

		i &= SEMANTOS_BLK_MAX_LEGS - 1;
		view->legs.model[i] = VOLUME_NO_MODEL;
		if (i < read->nr_legs && volume_slot(read, i, &index))
			row = bpf_map_lookup_elem(&leg_models, &index);
		if (!row || !row->model_plus_1)
			continue;
		view->legs.model[i] = row->model_plus_1 - 1;
		view->slot_plus_1[i] = index + 1;
	}
	if (semantos_infer_legs(read, &view->legs)) {
		decision_add(SEMANTOS_D_MODEL_FAILED, 1);
		return;
	}
	bpf_for (i, 0, SEMANTOS_BLK_MAX_LEGS) {
		volume_judge_leg(read, view, i & (SEMANTOS_BLK_MAX_LEGS - 1));
	}
}

/* By the verdicts that the agent keeps of the legs' disks. */
static __always_inline void volume_judge_async(
	struct semantos_blk_read *read, struct volume_view *view, const struct semantos_policy *pol)
{
	__u32 i, index;

	bpf_for (i, 0, SEMANTOS_BLK_MAX_LEGS) {
		struct semantos_slot *slot;
		__u64 word;

		i &= SEMANTOS_BLK_MAX_LEGS - 1;
		if (i >= read->nr_legs)
			break;
		slot = volume_slot(read, i, &index);
		if (!slot)
			continue;
		view->slot_plus_1[i] = index + 1;
		word = verdict_in_force(index, slot->generation, pol, read->now_ns);
		if (!word)
			continue;
		view->known |= 1U << i;
		volume_permit(view, slot, 1U << i);
		if (semantos_verdict_class(word))
			view->slow |= 1U << i;
	}
}

/* The leg that ought to serve the read, of those that something is known of. The default's is one of them. */
static __always_inline __u32 volume_best(struct semantos_blk_read *read, struct volume_view *view)
{
	__u32 among = read->eligible & view->known, best = read->default_leg & 7, i;
	bool by_latency = (among & view->foreseen) == among;
	__u64 least, own = view->legs.score[best], at;
	__u32 depth, most = semantos_blk_leg_inflight(read, best);

	if (!by_latency && !(view->slow & 1U << best))
		return best;
	least = by_latency ? own : ~0ULL;
	most += by_latency ? view->deeper : SEMANTOS_CLASS_DEEPER;
	if (!by_latency)
		among &= ~view->slow;
	bpf_for (i, 0, SEMANTOS_BLK_MAX_LEGS) {
		i &= SEMANTOS_BLK_MAX_LEGS - 1;
		if (!(among & 1U << i))
			continue;
		depth = semantos_blk_leg_inflight(read, i);
		at = by_latency ? (__u64)view->legs.score[i] : depth;
		if (at < least && depth <= most) {
			least = at;
			best = i;
		}
	}
	if (by_latency && own - least <= own * view->margin_permille / 1000)
		return read->default_leg & 7;
	return best;
}

static __always_inline void volume_remember(struct semantos_blk_read *read,
	struct volume_view *view, __u32 leg, __u32 treated, __u32 tried)
{
	struct volume_asked *row = volume_asked_row(read->id);
	__u32 bit = 1U << (leg & 7), index = view->slot_plus_1[leg & 7];
	struct semantos_leg_model *model = NULL;
	__u64 before;

	if (!row)
		return;
	if (index && view->known & bit) {
		index--;
		model = bpf_map_lookup_elem(&leg_models, &index);
	}
	/* Others may write or read their entry here: while it is written, the row is ours, and nobody's to read. */
	before = *(volatile __u64 *)&row->id;
	if (before == VOLUME_BUSY ||
		__sync_val_compare_and_swap(&row->id, before, VOLUME_BUSY) != before)
		return;
	row->leg = leg;
	row->slow_us = model ? model->slow_us : 0;
	row->us = view->foreseen & bit ? (__u32)view->legs.score[leg & 7] : 0;
	row->slow = !!(view->slow & bit);
	row->obeyed = !!(view->obeyed & bit);
	row->treated = treated;
	row->tried = tried;
	barrier();
	*(volatile __u64 *)&row->id = read->id;
}

/* What is remembered of a read, whole. False when another read has the row by now. */
static __always_inline bool volume_recall(
	const struct volume_asked *row, __u64 id, struct volume_asked *copy)
{
	if (!row || *(const volatile __u64 *)&row->id != id)
		return false;
	barrier();
	*copy = *row;
	barrier();
	return *(const volatile __u64 *)&row->id == id;
}

/* Only one may take what is remembered of a read, and not the entry of another. */
static __always_inline bool volume_take(struct volume_asked *row, __u64 id)
{
	return __sync_val_compare_and_swap(&row->id, id, 0) == id;
}

/* select_leg(): by the models when `by_model`, else by the verdicts. */
static __always_inline int volume_select(struct semantos_blk_read *read, bool by_model)
{
	__u32 usual = read->default_leg & 7, best = usual, both;
	struct semantos_policy *pol = policy_row();
	struct volume_view view = {};
	enum semantos_decision what;
	bool treated;

	if (!pol)
		return SEMANTOS_BLK_DEFAULT;
	decision_add(SEMANTOS_D_DECIDED, 1);
	treated = volume_treated(pol, read->id);
	if (by_model)
		volume_judge_inline(read, &view);
	else
		volume_judge_async(read, &view, pol);
	what = SEMANTOS_D_UNKNOWN;
	if (view.known & 1U << usual) {
		best = volume_best(read, &view);
		both = 1U << usual | 1U << (best & 7);
		what = best == usual		      ? SEMANTOS_D_AGREED
		       : pol->mode == SEMANTOS_SHADOW ? SEMANTOS_D_HELD
		       : (view.choose & both) != both ? SEMANTOS_D_NO_SIGNAL
		       : !treated		      ? SEMANTOS_D_CONTROL
						      : SEMANTOS_D_MOVED;
	}
	decision_add(what, 1);
	if (what != SEMANTOS_D_MOVED)
		best = usual;
	volume_remember(read, &view, best, treated, pol->mode == SEMANTOS_CANARY);
	return what == SEMANTOS_D_MOVED ? (int)best : SEMANTOS_BLK_DEFAULT;
}

/* admit(): a read that must not wait is refused where a slow answer is foreseen, as far as the mode goes. */
static __always_inline int volume_admit(struct semantos_blk_read *read, __u32 leg)
{
	struct semantos_policy *pol = policy_row();
	struct volume_asked *found = volume_asked_row(read->id), row;

	if (!pol || !volume_recall(found, read->id, &row) || row.leg != leg || !row.slow ||
		!row.obeyed || !row.treated || !volume_take(found, read->id))
		return SEMANTOS_BLK_ADMIT;
	decision_add(SEMANTOS_D_REFUSED, 1);
	return SEMANTOS_BLK_REFUSE;
}

/* on_complete(): what was foreseen, and what it was. */
static __always_inline void volume_complete(struct semantos_blk_done *done)
{
	struct volume_asked *found = volume_asked_row(done->id), row;
	struct semantos_trial *report;
	__u32 zero = 0;
	bool slow;

	/* Another read may have taken the row meanwhile: then this one is not judged. */
	if (!volume_recall(found, done->id, &row) || !volume_take(found, done->id))
		return;
	if (row.leg != done->leg || done->error)
		return;
	if (row.tried) {
		report = bpf_map_lookup_elem(&trial, &zero);
		if (report)
			semantos_trial_report(report, row.treated, done->latency_us);
	}
	if (!row.slow_us)
		return;
	slow = done->latency_us >= row.slow_us;
	decision_add(SEMANTOS_D_JUDGED, 1);
	decision_add(row.slow ? (slow ? SEMANTOS_D_SLOW_RIGHT : SEMANTOS_D_SLOW_WRONG)
			      : (slow ? SEMANTOS_D_FAST_WRONG : SEMANTOS_D_FAST_RIGHT),
		1);
	if (row.us)
		decision_add(SEMANTOS_D_ERROR_US, row.us > done->latency_us
							  ? row.us - done->latency_us
							  : done->latency_us - row.us);
}

/* The agent's only way to say which model judges a disk. */
SEC("syscall")
int leg_model_set(struct semantos_leg_model_command *command)
{
	__u32 index = command->slot;
	struct semantos_leg_model *row = bpf_map_lookup_elem(&leg_models, &index);

	if (!row)
		return -2; /* -ENOENT */
	*(volatile __u32 *)&row->model_plus_1 = 0;
	barrier();
	row->generation = command->row.generation;
	row->predicts = command->row.predicts;
	row->slow_us = command->row.slow_us;
	row->margin_permille = command->row.margin_permille;
	row->deeper = command->row.deeper;
	row->probe_us = command->row.probe_us;
	row->warn_us = command->row.warn_us;
	row->warn_log2 = command->row.warn_log2;
	barrier();
	*(volatile __u32 *)&row->model_plus_1 = command->row.model_plus_1;
	return 0;
}

#endif
