/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * volume_wire.h - what a policy's object for volumes (bpf/lib/volume.h) and the agent share: which model judges a disk,
 * and what came of the decisions. Fixed width, no pointers.
 */
#ifndef SEMANTOS_VOLUME_WIRE_H
#define SEMANTOS_VOLUME_WIRE_H

#include "bpf/wire.h"

/* What a model's score means. */
enum semantos_predicts {
	SEMANTOS_PREDICTS_CLASS = 0, /* score >= threshold: this read would be slow */
	SEMANTOS_PREDICTS_LATENCY =
		1, /* score / threshold * warn_log2 is the base-2 logarithm of the microseconds to expect, in units of 1/1024 */
};

/* So many requests more than the default's leg may one have in flight that is gone to because the other's class is slow. */
#define SEMANTOS_CLASS_DEEPER 1

/*
 * One row of the map `leg_models`; index = slot. Written by the program `leg_model_set` alone, model_plus_1 last: while
 * it is 0 the rest means nothing.
 */
struct semantos_leg_model {
	wire_u32
		model_plus_1; /* number of the model in semantos.ko, plus 1; 0 = none judges this disk */
	wire_u32 generation; /* that the module gave it: another one's score is not believed */
	wire_u32 predicts; /* enum semantos_predicts */
	wire_u32 slow_us; /* a read that takes so long is a slow one */
	wire_u32
		margin_permille; /* of a foreseen latency: a gain below that is within the model's error, and the default stays */
	wire_u32
		deeper; /* so many requests more than the default's leg one may have in flight to be better: beyond, no model was taught */
	wire_u32
		probe_us; /* with no read in flight, and none completed for so long, nothing is known of the disk */
	wire_u32 warn_us; /* a read foreseen to take so long is foreseen to be slow */
	wire_u32 warn_log2; /* of warn_us, in units of 1/1024 */
	wire_u32 reserved;
};

/* Argument of the program `leg_model_set`. */
struct semantos_leg_model_command {
	wire_u32 slot;
	wire_u32 reserved;
	struct semantos_leg_model row;
};

/*
 * One per-CPU row, in the pinned map `decisions`. decided = unknown + agreed + held + control + no_signal + moved;
 * judged = slow_right + slow_wrong + fast_right + fast_wrong.
 */
enum semantos_decision {
	SEMANTOS_D_DECIDED, /* reads that select_leg was asked about */
	SEMANTOS_D_UNKNOWN, /* nothing was known of the default's leg: it stays */
	SEMANTOS_D_AGREED, /* no other leg was better by more than the error: the default stays */
	SEMANTOS_D_HELD, /* another was, and the mode is shadow: the default stays */
	SEMANTOS_D_CONTROL, /* another was, and the read is of the canary's control group: the same */
	SEMANTOS_D_NO_SIGNAL, /* another was, by a model without signal, or by which choosing gains nothing: the same */
	SEMANTOS_D_MOVED, /* another was, and served it */
	SEMANTOS_D_STALE, /* legs whose model or verdict was of another generation */
	SEMANTOS_D_PROBED, /* legs of which too long nothing had been heard, and that count as unknown */
	SEMANTOS_D_REFUSED, /* reads that must not wait, refused because a slow answer was foreseen */
	SEMANTOS_D_JUDGED, /* predictions compared with what the read then took */
	SEMANTOS_D_SLOW_RIGHT,
	SEMANTOS_D_SLOW_WRONG, /* foreseen to be slow, and was fast */
	SEMANTOS_D_FAST_RIGHT,
	SEMANTOS_D_FAST_WRONG, /* foreseen to be fast, and was slow */
	SEMANTOS_D_ERROR_US, /* sum of the differences, where a latency was foreseen */
	SEMANTOS_D_MODEL_FAILED, /* inference could not be run */
	SEMANTOS_D_NR,
	SEMANTOS_D_MAX = 24, /* size of the row, stable across additions */
};

struct semantos_decisions {
	wire_u64 count[SEMANTOS_D_MAX];
};

SEMANTOS_ASSERT_SIZE(struct semantos_leg_model, 40);
SEMANTOS_ASSERT_SIZE(struct semantos_leg_model_command, 48);
SEMANTOS_ASSERT_SIZE(struct semantos_decisions, 192);
_Static_assert(SEMANTOS_D_NR <= SEMANTOS_D_MAX, "counters fit their row");

#endif
