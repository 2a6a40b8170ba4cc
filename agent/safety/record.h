/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.h - what one entry of the journal says, and its bytes.
 *
 * A record of a change carries the change whole, as it stands after the step the record announces: replaying is taking
 * the last record of each id, and a new segment of the journal begins with one record for each open change. Bytes are
 * little endian, strings carry their length; the reader refuses what the writer could not have written. Pure functions.
 */
#ifndef SEMANTOS_SAFETY_RECORD_H
#define SEMANTOS_SAFETY_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_KNOBS_MAX 8
#define RECORD_NAME_MAX 256 /* sizes with the final NUL */
#define RECORD_VALUE_MAX 128
#define RECORD_TEXT_MAX 512
#define RECORD_OWNER_MAX 64
#define RECORD_BOOT_ID_MAX 40
#define RECORD_PAYLOAD_MAX 16384

enum record_kind {
	RECORD_START = 1, /* first record of a segment */
	RECORD_CHANGE = 2,
	RECORD_EXIT = 3, /* a policy was ejected */
	RECORD_QUARANTINE = 4, /* a policy may not be attached any more, or may again */
	RECORD_MARK = 5, /* the agent began, ended or makes way for another version of itself */
	RECORD_POLICY = 6, /* a policy was attached, detached or given another mode */
};

/* intent -> applied -> kept; from each of them -> rolled-back or left-alone, which end it. Once: intent -> done. */
enum change_state {
	CHANGE_INTENT = 1, /* announced; the knobs may or may not have been written */
	CHANGE_APPLIED = 2, /* written and read back */
	CHANGE_KEPT = 3, /* judged and kept in force */
	CHANGE_ROLLED_BACK = 4, /* the originals stand again */
	CHANGE_LEFT_ALONE = 5, /* a value that is not ours stands there: nothing more to undo */
	CHANGE_DONE = 6, /* of mode once: carried out, over, and not to be undone */
};

enum change_mode {
	CHANGE_AUTO = 1, /* undone on breach and when the agent ends */
	CHANGE_ON_BREACH = 2, /* undone on breach only */
	CHANGE_NEVER = 3, /* undone only when a person asks */
	CHANGE_ONCE = 4, /* an action (KNOB_ACTION): done once, in force never, cannot be undone */
};

/* When something was recorded. Uptime counts suspended time and is comparable within one boot only. */
struct record_stamp {
	uint64_t real_ns; /* CLOCK_REALTIME */
	uint64_t boot_ns; /* CLOCK_BOOTTIME */
	char boot_id[RECORD_BOOT_ID_MAX];
};

struct change_knob {
	char name[RECORD_NAME_MAX]; /* knob.h */
	char original[RECORD_VALUE_MAX];
	char intended
		[RECORD_VALUE_MAX]; /* "" = not written by us, recorded because it is coupled */
	char readback[RECORD_VALUE_MAX]; /* "" = not read back yet */
};

struct change {
	uint64_t id; /* from 1 */
	uint64_t state; /* enum change_state */
	uint64_t mode; /* enum change_mode */
	uint64_t n_knobs;
	struct record_stamp begun;
	char owner[RECORD_OWNER_MAX]; /* policy or tuner that asked */
	char sentence[RECORD_TEXT_MAX]; /* what: object, old -> new, because */
	char evidence[RECORD_TEXT_MAX];
	char expected[RECORD_TEXT_MAX];
	char observed[RECORD_TEXT_MAX];
	char why[RECORD_TEXT_MAX]; /* of the last step */
	uint32_t
		swapped; /* not on record: bit k says that knob[k] has its old value for now (safety_swap()) */
	struct change_knob knob[RECORD_KNOBS_MAX];
};

struct exit_record {
	uint64_t
		environment; /* 1: not the policy's fault; such exits never count towards quarantine */
	char policy[RECORD_OWNER_MAX];
	char kind[RECORD_OWNER_MAX]; /* one word: slo, accuracy, stall, error, device… */
	char reason[RECORD_TEXT_MAX];
	char evidence[RECORD_TEXT_MAX];
};

struct quarantine {
	uint64_t on; /* 1 or 0 */
	char policy[RECORD_OWNER_MAX];
	char sentence[RECORD_TEXT_MAX];
};

/* What ends with the agent by itself, so that the keeper has nothing to undo. */
struct policy_event {
	uint64_t id; /* among those of changes */
	char policy[RECORD_OWNER_MAX];
	char from[RECORD_OWNER_MAX], to[RECORD_OWNER_MAX]; /* detached, shadow, canary:N, enforce */
	char sentence[RECORD_TEXT_MAX];
	char evidence[RECORD_TEXT_MAX];
	char expected[RECORD_TEXT_MAX];
	char undo[RECORD_TEXT_MAX]; /* the command that goes back */
};

enum mark { MARK_BEGUN = 1, MARK_ENDED = 2, MARK_UPGRADE = 3 };

struct record {
	enum record_kind kind;
	uint64_t seq; /* counts all records ever, from 1 */
	struct record_stamp stamp;
	union {
		uint64_t segment; /* RECORD_START: from 1 */
		uint64_t mark; /* RECORD_MARK: enum mark */
		struct change change;
		struct exit_record exit;
		struct quarantine quarantine;
		struct policy_event policy;
	};
};

/* Payload bytes into out[RECORD_PAYLOAD_MAX]. Their number; a field too long for its place cannot happen. */
size_t record_pack(const struct record *record, uint8_t *out);

/* kind and seq are the caller's. 0, or -EINVAL: not what record_pack() writes. */
int record_unpack(struct record *record, const uint8_t *bytes, size_t n);

bool change_open(const struct change *change); /* something of it may be in force */
const char *change_state_name(uint64_t state);
const char *change_mode_name(uint64_t mode);

/* Append to the text of *len bytes in out[size]; what does not fit is cut. */
__attribute__((format(printf, 4, 5))) void record_add(
	char *out, size_t size, size_t *len, const char *fmt, ...);

/* Copy text, cut at `size`, never inside a UTF-8 character; control characters become spaces. */
void record_text(char *out, size_t size, const char *text);

#endif
