// SPDX-License-Identifier: Apache-2.0
/*
 * watch_work.c - the watch's own thread: reads references when their file changes, and acts on findings.
 *
 * Judging 4,096 references by themselves and waiting for the journal both take longer than the loop may. What is done is
 * one at a time; what waits is a queue of fixed length.
 */
#include "agent/core/watch_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/util/log.h"

void watch_set_free(struct watch_set *set)
{
	if (!set)
		return;
	kin_scratch_free(set->scratch);
	kin_free(set->kin);
	kin_store_free(&set->store);
	free(set);
}

/* Nothing to compare with is a set too, one that says why. */
static struct watch_set *set_read(const struct watch *watch, const char *path)
{
	struct watch_set *set = calloc(1, sizeof(*set));
	struct model_error error = { "" };
	int err;

	if (!set)
		return NULL;
	err = kin_store_load(&set->store, path, &error);
	if (err == -ENOENT || (!err && !set->store.n)) {
		snprintf(set->note, sizeof(set->note),
			"it has no references yet: `semantosctl learn` records some");
		return set;
	}
	if (!err) {
		set->kin = kin_new(set->store.reference, set->store.n, watch->options.one_class,
			watch->options.false_share);
		set->scratch = set->kin ? kin_scratch_new(set->kin) : NULL;
		if (!set->scratch)
			snprintf(error.text, sizeof(error.text), "%s.", strerror(errno));
	}
	if (err || !set->scratch) {
		kin_free(set->kin);
		set->kin = NULL;
		snprintf(set->note, sizeof(set->note), "its references cannot be used: %.150s",
			error.text);
	} else if (!kin_report(set->kin)->signal) {
		snprintf(set->note, sizeof(set->note), "no signal: %s", kin_report(set->kin)->why);
	}
	return set;
}

/* Whichever file is used, another one may have taken its place. */
static bool changed(const char *path, struct stat *seen)
{
	struct stat now = { 0 };
	bool differs;

	if (stat(path, &now))
		memset(&now, 0, sizeof(now));
	differs = now.st_ino != seen->st_ino || now.st_size != seen->st_size ||
		  now.st_mtim.tv_sec != seen->st_mtim.tv_sec ||
		  now.st_mtim.tv_nsec != seen->st_mtim.tv_nsec;
	*seen = now;
	return differs;
}

static void offer(struct watch *watch, struct watch_set *set)
{
	struct watch_set *old;

	pthread_mutex_lock(&watch->lock);
	old = watch->next;
	watch->next = set;
	pthread_mutex_unlock(&watch->lock);
	watch_set_free(old);
}

static void said(struct watch *watch, uint64_t number, uint64_t change, const char *text)
{
	struct finding_view *finding;

	pthread_mutex_lock(&watch->lock);
	finding = &watch->finding[number % WATCH_FINDINGS];
	if (finding->number == number) {
		finding->change = change;
		snprintf(finding->act, sizeof(finding->act), "%s", text);
	}
	if (change && watch->n_changes < sizeof(watch->change) / sizeof(watch->change[0]))
		watch->change[watch->n_changes++] = change;
	pthread_mutex_unlock(&watch->lock);
}

static uint64_t calmed(struct watch *watch)
{
	uint64_t times;

	pthread_mutex_lock(&watch->lock);
	times = watch->calmed;
	pthread_mutex_unlock(&watch->lock);
	return times;
}

static void act(struct watch *watch, const struct watch_act *todo)
{
	static const char *const words[] = { "logged", "stop it", "freeze its control group" };
	char knob[RECORD_NAME_MAX], why[160] = "", because[RECORD_TEXT_MAX], text[200];
	struct safety_knob change = { .name = knob };
	struct safety_request request = { .owner = watch->policy,
		.mode = CHANGE_AUTO,
		.knob = &change,
		.n_knobs = 1,
		.because = because,
		.evidence = todo->evidence,
		.expected = "it makes no system call until this is undone" };
	struct control_reply reply = { 0 };
	uint64_t before = calmed(watch);
	int err = watch_knob(&watch->options, &todo->target, knob, &change.value, why, sizeof(why));

	if (err) {
		snprintf(text, sizeof(text), "left alone: %s", why);
	} else if (todo->dry) {
		snprintf(text, sizeof(text), "dry run: would %s", words[watch->options.action]);
	} else {
		snprintf(because, sizeof(because),
			"the system calls of process %u (%s) are like those of %s",
			todo->target.pid, todo->comm, todo->label);
		watch->options.apply(watch->options.ctx, &request, &reply);
		/* put into shadow or ejected meanwhile: what that undid did not hold this one yet */
		if (!reply.error && calmed(watch) != before) {
			watch->options.undo(watch->options.ctx, reply.change,
				"the policy is in shadow by now", &reply);
			snprintf(text, sizeof(text), "let go again: it is in shadow by now");
		} else if (reply.error)
			snprintf(text, sizeof(text), "not done: %.180s", reply.text);
		else
			snprintf(text, sizeof(text), "%s; undo: semantosctl rollback %llu",
				watch->options.action == WATCH_STOP ? "stopped" : "frozen",
				(unsigned long long)reply.change);
	}
	log_info("%s: process %u (%s): %s.", watch->policy, todo->target.pid, todo->comm, text);
	said(watch, todo->finding, reply.error ? 0 : reply.change, text);
}

void *watch_work(void *arg)
{
	struct watch *watch = arg;
	struct stat seen = { 0 }, seen_shipped = { 0 };
	struct watch_act todo;
	bool first = true, look, some;

	pthread_mutex_lock(&watch->lock);
	for (;;) {
		while (!watch->ends && !watch->look && !watch->n_acts)
			pthread_cond_wait(&watch->more, &watch->lock);
		if (watch->ends)
			break;
		look = watch->look;
		watch->look = false;
		some = watch->n_acts > 0;
		if (some) {
			todo = watch->act[0];
			memmove(watch->act, watch->act + 1, --watch->n_acts * sizeof(todo));
		}
		pthread_mutex_unlock(&watch->lock);
		if (look) {
			bool differs = changed(watch->file, &seen);

			differs |= changed(watch->shipped, &seen_shipped);
			if (differs || first)
				offer(watch, seen.st_ino || !seen_shipped.st_ino
						     ? set_read(watch, watch->file)
						     : set_read(watch, watch->shipped));
			first = false;
		}
		if (some)
			act(watch, &todo);
		pthread_mutex_lock(&watch->lock);
	}
	pthread_mutex_unlock(&watch->lock);
	return NULL;
}
