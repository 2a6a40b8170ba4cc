/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpf_sched.h - the scheduler in a policy's object (sched_ext): is it for this kernel, on and off, what it counted, how
 * it ended.
 *
 * An object that has one marks its programs and its struct_ops map as optional (`?` before the section); here it is
 * settled before loading which of them this kernel takes. The scheduler is not pinned: it goes with the agent, and the
 * kernel's own goes on. Times are measured, as sched_ext cannot be replaced in one step.
 */
#ifndef SEMANTOS_CORE_BPF_SCHED_H
#define SEMANTOS_CORE_BPF_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bpf/lib/mlp.h"
#include "bpf/sched_wire.h"

struct bpf_object;
struct bpf_link;
struct bpf_map;

struct bpf_sched {
	struct bpf_map *scheduler; /* NULL = this object has none, or this kernel no sched_ext */
	struct bpf_link *link; /* NULL = it is off */
	bool known; /* the object is one of scheduling at all */
	bool observes; /* the kernel's own answers are heard */
	char silent[160]; /* why not, half a sentence */
	const volatile struct semantos_sched_end *end; /* read-only; NULL = none */
	int counts_fd, model_fd, n_cpus;
	uint64_t on_ns; /* how long it took to get it on, the last time */
};

/* Between opening and loading: choose what this kernel takes. */
void bpf_sched_prepare(struct bpf_sched *sched, struct bpf_object *object, int n_cpus);
/* After loading; 0 or -errno with one sentence. */
int bpf_sched_tables(
	struct bpf_sched *sched, struct bpf_object *object, char *error, size_t error_len);
void bpf_sched_close(struct bpf_sched *sched); /* off, unmapped; before the object is closed */

/*
 * Both wait for the kernel (some ms to some 100). -EBUSY names the scheduler that is attached already. error: one
 * sentence. Not at once from two threads.
 */
int bpf_sched_on(struct bpf_sched *sched, char *error, size_t error_len);
void bpf_sched_off(struct bpf_sched *sched);
bool bpf_sched_is_on(
	const struct bpf_sched *sched); /* we attached it; the kernel may have ended it since */

int bpf_sched_counts(const struct bpf_sched *sched, struct semantos_sched_row *sum);
/* The net every CPU asks from now on; no decision sees a mixture. 0 or -errno. */
int bpf_sched_model(const struct bpf_sched *sched, const struct mlp_model *net);

/* Decisions that the law of bpf/sched_wire.h cannot account for: 0. */
uint64_t bpf_sched_unaccounted(const struct semantos_sched_row *sum);

/* Name of the scheduler that is attached to this kernel; "" = none. */
void bpf_sched_attached(char *name, size_t len);

/* Why the kernel ended the scheduler, one sentence without its full stop; true when a hog and not the scheduler is to blame. */
bool bpf_sched_end_text(const struct semantos_sched_end *end, char *text, size_t len);

#endif
