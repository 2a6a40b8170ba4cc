/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - what the outside (gRPC server, live display) may ask of the running agent.
 *
 * Every call may be made from any thread but the loop's own. Each is carried out on the loop thread or, where it
 * takes long (loading BPF), on the caller's, and waits at most CONTROL_WAIT_MS for the loop: -ETIMEDOUT then, and
 * nothing was changed. Who may call what is decided before, by the caller (agent/api/peer.h).
 *
 * Every change writes one sentence to the log; the same sentence is in control_reply.text.
 */
#ifndef SEMANTOS_CORE_CONTROL_H
#define SEMANTOS_CORE_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bpf/wire.h"

#define CONTROL_WAIT_MS 5000
#define CONTROL_MAX_POLICIES 16
#define CONTROL_NAME_LEN 32
#define CONTROL_TEXT_LEN 512

struct core;

struct control_reply {
	int error; /* 0 or -errno: ENOENT no such policy, EEXIST attached already, EINVAL bad argument, ... */
	char text[CONTROL_TEXT_LEN]; /* one sentence for a person, always filled */
	uint64_t change; /* id of the change of settings it is about, 0 = none */
};

enum device_phase {
	DEVICE_WAITING, /* attached, no read with history seen yet: idle disk */
	DEVICE_LEARNING, /* collecting rows, or training */
	DEVICE_PREDICTING, /* a trained model answers */
	DEVICE_UNSUPPORTED, /* named in `note`: bio-only, hidden, no free slot */
	DEVICE_GONE,
};

/* Scores over the sliding window of the evaluator; NaN = not defined yet (one class only, no rows). */
struct score_view {
	uint64_t evaluated; /* predictions compared with their outcome since attach */
	uint64_t window_rows;
	double auc, auc_pending, recall, precision, accuracy, majority;
	double slow_share;
	uint64_t
		in_force_rows; /* outcomes that had a fresh verdict in the slot when they were issued */
	double in_force_accuracy;
};

struct device_view {
	char name[32];
	uint32_t major, minor, slot, generation;
	enum device_phase phase;
	char note[160]; /* one sentence on the phase: what is missing, why no signal, ... */
	uint64_t rows, rows_wanted; /* training rows captured so far, and needed */
	bool has_model, signal; /* signal = beat both baselines on held-out reads */
	char model[CONTROL_NAME_LEN];
	char trained_at[32]; /* ISO 8601, "" = unknown */
	uint64_t trained_rows;
	double heldout_auc, heldout_auc_pending, heldout_majority; /* NaN = none */
	double heldout_auc_low; /* lower end of the 95 % interval */
	const char *judged,
		*baseline; /* what rows are and what alone has auc_pending; NULL = reads, pending pages */
	float slow_threshold_us;
	struct score_view score;
	uint32_t verdict_class, verdict_confidence; /* last stored */
	bool verdict_live; /* fresh at the time of this view */
	uint64_t retrained;
	double latency_us_p50, latency_us_p95,
		latency_us_p99; /* of the device's reads in the window; NaN = none */
	double reads_per_s;
};

/* A process whose system calls are not like the benign ones (watch.h). */
struct finding_view {
	uint64_t number; /* from 1, of this attach */
	uint32_t pid;
	uint64_t start_ns, ts_ns; /* boot time: the process's start, the window's end */
	char comm[16]; /* printable */
	char label[32]; /* what it is like */
	double score, probability; /* NaN = none */
	uint32_t windows; /* flagged in a row */
	bool ended; /* it was over when it was found */
	char neighbours[320]; /* the references it is nearest to */
	char act[200]; /* what was done, would be done or was not, and why */
	uint64_t change; /* in the journal; 0 = none */
};

struct watch_view {
	bool there; /* this policy watches processes, not devices */
	char action[16]; /* log, stop, freeze */
	uint32_t percent; /* of processes acted on; 0 = a dry run */
	bool one_class, signal;
	uint32_t references, benign, recordings;
	double auc, auc_low, recall, false_positives, threshold; /* of the references; NaN = none */
	char note[200]; /* why nothing is flagged, when it is so */
	uint64_t judged, flagged; /* windows */
	uint64_t findings; /* since attach */
	uint64_t forgotten; /* processes whose place others took */
	uint64_t unlogged,
		unacted; /* findings beyond what is logged a minute, and beyond the queue of acts */
	uint32_t n_findings;
	struct finding_view *finding; /* [n_findings] the latest, newest first */
};

struct policy_view {
	char name[CONTROL_NAME_LEN];
	char summary[128];
	enum semantos_mode mode;
	uint32_t canary_percent;
	char note[160]; /* why it is held in shadow, when it is */
	uint32_t n_devices;
	struct device_view *device; /* [n_devices]; freed by control_view_free() */
	struct semantos_counters counters; /* summed over CPUs */
	uint64_t delivered, batches, verdicts_stored, verdicts_refused_stale;
	uint64_t ring_bad_records; /* records refused: version, size, slot */
	double decide_us_p50,
		decide_us_p99; /* agent side: ring drain to verdict store, per batch */
	uint64_t age_s; /* since attach */
	struct watch_view watch;
	/* own cost: from a scoped BPF_ENABLE_STATS fd; 0 runs = statistics not enabled */
	uint32_t n_programs;
	struct program_view {
		char name[32];
		uint32_t id;
		uint64_t runs, run_ns;
		uint64_t
			missed; /* runs the kernel skipped: the hook was active on that CPU already */
	} program[8];
};

/* A change of settings in force (agent/safety/record.h). */
struct change_view {
	uint64_t id;
	char mode[16], state[16];
	char owner[64];
	char sentence[512]; /* without its full stop */
};

struct quarantine_view {
	char policy[64];
	char sentence[512];
};

struct agent_view {
	char version[32];
	char kernel[64];
	uint32_t pid;
	uint64_t uptime_s;
	double cpu_percent; /* of one CPU, since start */
	uint64_t rss_bytes;
	char control[16]; /* the control that stands in for every model, "" = none */
	bool lease_live;
	uint64_t lease_renewals;
	uint64_t unaccounted; /* records no counter explains, over all detaches: must be 0 */
	uint32_t n_policies;
	struct policy_view *policy; /* [n_policies] */
	uint32_t n_changes, n_quarantined;
	struct change_view *change; /* [n_changes] */
	struct quarantine_view *quarantined; /* [n_quarantined] */
};

/* A consistent copy of everything. `only` (may be NULL) limits it to one policy. 0, -ENOENT, -ETIMEDOUT, -ENOMEM. */
int control_view(struct core *core, const char *only, struct agent_view *view);
void control_view_free(struct agent_view *view); /* accepts a zeroed view */

/* name: a policy folder found in the policy path. mode_text: "shadow", "canary:N", "enforce"; NULL = the manifest's. */
void control_attach(
	struct core *core, const char *name, const char *mode_text, struct control_reply *reply);
void control_detach(struct core *core, const char *name, struct control_reply *reply);
void control_mode(
	struct core *core, const char *name, const char *mode_text, struct control_reply *reply);

/* Hand a model file's bytes to one device of a policy; validated before anything changes. */
void control_model_use(struct core *core, const char *name, const char *device, const void *bytes,
	size_t n_bytes, struct control_reply *reply);

/*
 * Copy OUTCOME records as they come. `sink` runs on the loop thread: it must not block, and returns false to stop.
 * The tap ends by itself after max_rows. Returns a handle for control_tap_stop(), or 0 with *reply filled.
 */
typedef bool control_sink(void *ctx, const struct semantos_block_record *records, size_t n);
uint64_t control_tap_start(struct core *core, const char *name, const char *device,
	uint64_t max_rows, control_sink *sink, void *ctx, struct control_reply *reply);
void control_tap_stop(struct core *core, uint64_t tap); /* after return `sink` runs no more */

/*
 * Ask the agent to end in order: detach everything, remove pins, undo changes of mode auto. upgrade: those stay, for
 * the next agent to take over.
 */
void control_shutdown(struct core *core, bool upgrade, struct control_reply *reply);

struct control_knob {
	const char *name, *value;
};

/* NULL and "" are alike. */
struct control_change {
	const struct control_knob *knob; /* [n] */
	size_t n;
	const char *mode; /* auto, on-breach, never or once; "" = auto */
	const char *because; /* half a sentence, not empty */
	const char *evidence, *expected;
	const char *policy; /* attached one that owns the change; "" = the operator */
};

/* Change settings, all or none; reply->change is the id. Errors as safety_apply(). */
void control_apply(
	struct core *core, const struct control_change *change, struct control_reply *reply);
/* observed: what came of the change, "" = nothing is said. */
void control_rollback(struct core *core, uint64_t id, const char *because, const char *observed,
	struct control_reply *reply);
/* Judged and left in force; observed must say something. */
void control_keep(
	struct core *core, uint64_t id, const char *observed, struct control_reply *reply);
void control_unquarantine(struct core *core, const char *policy, struct control_reply *reply);

/* The tuning loop (tune.h); valid as long as `core`. */
struct tuner;
struct tuner *control_tuner(struct core *core);

/* Parse "shadow", "canary:N" (1..99), "enforce". 0 or -EINVAL. */
int control_parse_mode(const char *text, enum semantos_mode *mode, uint32_t *canary_percent);
const char *control_mode_name(enum semantos_mode mode);

#endif
