/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_internal.h - the insides of a watch, shared by watch.c and watch_work.c alone.
 */
#ifndef SEMANTOS_CORE_WATCH_INTERNAL_H
#define SEMANTOS_CORE_WATCH_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include "agent/core/watch.h"
#include "agent/infer/kin.h"
#include "agent/infer/kin_store.h"

/* References, and what judges by them; built on the watch's thread, then the loop's. */
struct watch_set {
	struct kin_store store;
	struct kin *kin;
	struct kin_scratch *scratch;
	char note[200]; /* why there is none, or no signal */
	bool told; /* of it in the log */
};

struct watch_process {
	uint64_t start_ns;
	uint32_t pid, windows, flagged, in_a_row;
	bool found;
};

struct watch_act {
	struct watch_target target;
	uint64_t finding; /* its number */
	char comm[16], label[KIN_LABEL_LEN], evidence[RECORD_TEXT_MAX];
	bool dry;
};

struct watch {
	struct watch_options options;
	char policy[CONTROL_NAME_LEN], file[PATH_MAX], shipped[PATH_MAX], allow[512];

	/* the loop's thread */
	struct watch_set *set; /* in use; NULL: none yet */
	struct watch_process process[WATCH_PROCESSES];
	uint32_t percent;
	uint64_t judged, flagged, forgotten, unlogged, logged_minute;
	uint32_t logged;

	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t more;
	bool ends, look; /* look: has the file changed? */
	struct watch_set *next; /* not taken yet by the loop */
	struct watch_act act[WATCH_QUEUE];
	size_t n_acts;
	uint64_t unacted;
	uint64_t calmed; /* times it was put into a dry run */
	struct finding_view finding[WATCH_FINDINGS];
	uint64_t n_findings; /* ever */
	uint64_t change[SAFETY_RATE * 8]; /* in force, as far as known */
	size_t n_changes;
};

void watch_set_free(struct watch_set *set); /* accepts NULL */
void *watch_work(void *watch); /* the thread */

#endif
