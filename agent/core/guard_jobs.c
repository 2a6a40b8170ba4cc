// SPDX-License-Identifier: Apache-2.0
/*
 * guard_jobs.c - what the guard's thread does: admit, apply, undo, eject; the heartbeat; the picture others look at.
 *
 * The heartbeat is on before a change of mode auto is begun, and off when none is in force. One thread, but for
 * guard_view() and the heartbeat itself.
 */
#include "agent/core/guard_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/safety/keeper.h"
#include "agent/safety/watch.h"
#include "agent/util/log.h"

void guard_say(struct control_reply *reply, int error, const char *before, const char *text)
{
	size_t n;

	reply->error = error;
	snprintf(reply->text, sizeof(reply->text) - 1, "%s%s", before, text);
	reply->text[0] = (char)toupper((unsigned char)reply->text[0]);
	n = strlen(reply->text);
	if (n && reply->text[n - 1] != '.')
		strcpy(reply->text + n, ".");
}

static void say_report(const struct safety_report *r)
{
	if (r->rolled_back || r->left_alone || r->failed || r->cut_bytes)
		log_warn("The last agent did not end in order: %u of its changes are rolled back, "
			 "%u "
			 "left alone, %u could not be undone, %u stay in force.",
			r->rolled_back, r->left_alone, r->failed, r->in_force);
	else if (r->in_force)
		log_info("%u changes of the last agent stay in force, as they were meant to.",
			r->in_force);
}

bool guard_open(struct guard *g)
{
	const struct safety_options options = { .dir = g->dir, .root = g->root };
	struct safety_report report = { 0 };
	struct safety_error error = { "" };
	int err;

	if (g->safety)
		return true;
	err = safety_open(&g->safety, &options, &report, &error);
	if (err) {
		if (!g->complained)
			log_error("No setting can be changed and policies stay in shadow, because "
				  "%s.",
				error.text);
		g->complained = true;
		return false;
	}
	if (g->complained)
		log_info("The journal of changes can be used again.");
	g->complained = false;
	say_report(&report);
	if (g->keeper[0])
		safety_keeper_later(g->safety, g->keeper);
	return true;
}

/* ---- what others may look at ---- */

static void fill_change(struct change_view *out, const struct change *c)
{
	out->id = c->id;
	snprintf(out->mode, sizeof(out->mode), "%s", change_mode_name(c->mode));
	snprintf(out->state, sizeof(out->state), "%s", change_state_name(c->state));
	snprintf(out->owner, sizeof(out->owner), "%s", c->owner);
	snprintf(out->sentence, sizeof(out->sentence), "%s", c->sentence);
}

void guard_snapshot(struct guard *g)
{
	struct safety_error error = { "" };
	const struct book *book = g->safety ? safety_book(g->safety, &error) : NULL;
	struct change_view *change = NULL;
	struct quarantine_view *quarantined = NULL;
	uint32_t n = 0, autos = 0;

	if (!book)
		return;
	change = calloc(book_open(book) + 1, sizeof(*change));
	quarantined = calloc(book->n_quarantine + 1, sizeof(*quarantined));
	if (!change || !quarantined) {
		free(change);
		free(quarantined);
		return;
	}
	for (size_t i = 0; i < book->n_changes; i++) {
		if (!change_open(book->change[i]))
			continue;
		autos += book->change[i]->mode == CHANGE_AUTO;
		fill_change(&change[n++], book->change[i]);
	}
	for (size_t i = 0; i < book->n_quarantine; i++) {
		snprintf(quarantined[i].policy, sizeof(quarantined[i].policy), "%s",
			book->quarantine[i].policy);
		snprintf(quarantined[i].sentence, sizeof(quarantined[i].sentence), "%s",
			book->quarantine[i].sentence);
	}
	pthread_mutex_lock(&g->lock);
	free(g->change);
	free(g->quarantined);
	g->change = change;
	g->n_changes = n;
	g->quarantined = quarantined;
	g->n_quarantined = (uint32_t)book->n_quarantine;
	pthread_mutex_unlock(&g->lock);
	atomic_store(&g->auto_open, autos);
}

int guard_view(struct guard *g, struct agent_view *view)
{
	int err = 0;

	if (!g)
		return 0;
	pthread_mutex_lock(&g->lock);
	view->change = calloc(g->n_changes + 1, sizeof(*view->change));
	view->quarantined = calloc(g->n_quarantined + 1, sizeof(*view->quarantined));
	if (view->change && view->quarantined) {
		view->n_changes = g->n_changes;
		view->n_quarantined = g->n_quarantined;
		if (g->n_changes)
			memcpy(view->change, g->change, g->n_changes * sizeof(*g->change));
		if (g->n_quarantined)
			memcpy(view->quarantined, g->quarantined,
				g->n_quarantined * sizeof(*g->quarantined));
	} else {
		err = -ENOMEM;
	}
	pthread_mutex_unlock(&g->lock);
	return err;
}

/* ---- the heartbeat ---- */

void guard_on_beat(void *ctx)
{
	struct guard *g = ctx;

	if (!g->safety || pthread_mutex_trylock(&g->link))
		return;
	safety_beat(g->safety);
	pthread_mutex_unlock(&g->link);
}

static void start_beat(void *ctx)
{
	loop_timer_set(((struct guard *)ctx)->beat, KEEPER_BEAT_MS * 1000000ULL);
}

static void stop_beat(void *ctx)
{
	loop_timer_set(((struct guard *)ctx)->beat, 0);
}

/* A loop that does not come to it is silent, and the keeper undoes what is in force: as it should. */
static void set_beat(struct guard *g, bool on)
{
	loop_call(g->options.loop, on ? start_beat : stop_beat, g, GUARD_WAIT_MS);
}

int guard_watch(struct guard *g, struct safety_error *error)
{
	int err;

	pthread_mutex_lock(&g->link);
	err = safety_watch(g->safety, error);
	pthread_mutex_unlock(&g->link);
	return err;
}

/* ---- jobs, on the guard's thread ---- */

static bool have_journal(struct guard *g, struct job *job)
{
	if (guard_open(g))
		return true;
	guard_say(&job->reply, -EROFS, "",
		"the journal of changes cannot be used, so nothing is changed; see the agent's "
		"log, free "
		"or mend its state folder, and try again");
	return false;
}

void guard_run_admit(struct guard *g, struct job *job)
{
	struct safety_error error = { "" };
	int err;

	if (!guard_open(g)) {
		if (!job->shadow)
			have_journal(g, job);
		return;
	}
	err = safety_admit(g->safety, job->name, &error);
	if (err)
		guard_say(&job->reply, err == -EPERM ? -EKEYREJECTED : err,
			"not attached: ", error.text);
}

void guard_run_apply(struct guard *g, struct job *job)
{
	struct safety_knob knob[RECORD_KNOBS_MAX];
	struct safety_request rq = { .owner = job->name,
		.mode = job->mode,
		.knob = knob,
		.n_knobs = job->n_knobs,
		.because = job->because,
		.evidence = job->evidence,
		.expected = job->expected,
		.later = job->later };
	struct safety_error error = { "" };
	int err = 0;

	if (!have_journal(g, job))
		return;
	for (size_t i = 0; i < job->n_knobs; i++)
		knob[i] = (struct safety_knob){ job->knob[i].name, job->knob[i].value };
	if (job->mode == CHANGE_AUTO) {
		err = guard_watch(g, &error);
		if (!err)
			set_beat(g, true);
	}
	if (!err)
		err = safety_apply(g->safety, &rq, &job->id, &error);
	guard_snapshot(g);
	if (job->mode == CHANGE_AUTO && !atomic_load(&g->auto_open))
		set_beat(g, false);
	job->reply.change = job->id;
	if (err) {
		guard_say(&job->reply, err, "nothing is changed: ", error.text);
		return;
	}
	pthread_mutex_lock(&g->lock);
	for (uint32_t i = 0; i < g->n_changes; i++) {
		if (g->change[i].id == job->id)
			snprintf(job->reply.text, sizeof(job->reply.text), "Change %llu of %.460s.",
				(unsigned long long)job->id, g->change[i].sentence);
	}
	pthread_mutex_unlock(&g->lock);
}

/* A change that was made after nobody waited for it any more. */
void guard_undo_orphan(struct guard *g, struct job *job)
{
	struct safety_error error = { "" };

	if (job->reply.error || !job->id)
		return;
	safety_rollback(g->safety, job->id, "it was made too late: nobody waits for it any more",
		NULL, &error);
	guard_snapshot(g);
	if (!atomic_load(&g->auto_open))
		set_beat(g, false);
}

void guard_run_rollback(struct guard *g, struct job *job)
{
	struct safety_error error = { "" };
	int err;

	if (!have_journal(g, job))
		return;
	err = safety_rollback(
		g->safety, job->id, job->because, job->observed[0] ? job->observed : NULL, &error);
	guard_say(&job->reply, err, "", error.text);
	job->reply.change = job->id;
	guard_snapshot(g);
	if (!atomic_load(&g->auto_open))
		set_beat(g, false);
}

void guard_run_swap(struct guard *g, struct job *job)
{
	struct safety_error error = { "" };
	char text[100];
	int err;

	if (!have_journal(g, job))
		return;
	err = safety_swap_some(g->safety, job->id, job->new_set, &error);
	snprintf(text, sizeof(text), "the values of change %llu stand as they were asked for",
		(unsigned long long)job->id);
	guard_say(&job->reply, err, "", err ? error.text : text);
	job->reply.change = job->id;
	/* otherwise nothing changed that others see */
	if (!err)
		return;
	guard_snapshot(g);
	if (!atomic_load(&g->auto_open))
		set_beat(g, false);
}

void guard_run_keep(struct guard *g, struct job *job)
{
	struct safety_error error = { "" };
	char text[400];
	int err;

	if (!have_journal(g, job))
		return;
	err = safety_keep(g->safety, job->id, job->observed, &error);
	snprintf(text, sizeof(text), "change %llu: kept, because it was observed: %.300s",
		(unsigned long long)job->id, job->observed);
	guard_say(&job->reply, err, "", err ? error.text : text);
	if (!err)
		log_info("%s", job->reply.text);
	job->reply.change = job->id;
	guard_snapshot(g);
}

void guard_run_unquarantine(struct guard *g, struct job *job)
{
	struct safety_error error = { "" };
	char text[200];
	int err;

	if (!have_journal(g, job))
		return;
	err = safety_unquarantine(g->safety, job->name, &error);
	snprintf(text, sizeof(text), "%.60s: quarantined -> allowed, because the operator asked",
		job->name);
	guard_say(&job->reply, err, "", err ? error.text : text);
	if (!err)
		log_info("%s", job->reply.text);
	guard_snapshot(g);
}

void guard_run_eject(struct guard *g, struct job *job)
{
	struct safety_error error = { "" };
	bool quarantined = false;

	if (guard_open(g)) {
		if (safety_exit(g->safety, &job->exit, &quarantined, &error))
			log_error("The ejection of %s is not recorded: %s.", job->exit.policy,
				error.text);
		safety_breach(g->safety, job->exit.policy, "the policy was ejected");
		guard_snapshot(g);
	}
	if (quarantined)
		atomic_fetch_add(&g->epoch, 1);
	if (g->options.eject)
		g->options.eject(g->options.ctx, job->exit.policy);
}

void guard_run_note(struct guard *g, struct job *job)
{
	struct policy_event *event = &job->event;
	struct safety_error error = { "the journal cannot be used" };

	if (guard_open(g) && safety_note(g->safety, event, &error) == 0)
		return;
	log_error("It is not recorded that %s: %s.", event->sentence, error.text);
	if (g->options.unrecorded && strcmp(event->to, "shadow") != 0 &&
		strcmp(event->to, "detached") != 0)
		g->options.unrecorded(g->options.ctx, event->policy);
}

/* A keeper that died is started anew; what one undid while we were silent is taken in. */
void guard_run_tick(struct guard *g, struct job *job)
{
	struct safety_error error = { "" };

	(void)job;
	atomic_store(&g->ticking, false);
	if (!g->safety)
		return;
	/* What an upgrade left gets its keeper here: before the loop runs nobody would beat for it. */
	set_beat(g, true);
	if (guard_watch(g, &error))
		log_error("Changes in force have no keeper: %s.", error.text);
	guard_snapshot(g);
	if (!atomic_load(&g->auto_open))
		set_beat(g, false);
}
