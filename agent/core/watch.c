// SPDX-License-Identifier: Apache-2.0
/*
 * watch.c - windows become answers, answers in a row become findings, findings are told and handed to the thread that acts.
 *
 * The loop's thread, which waits for nothing: the lock is held for copies alone. A process is one by number and start
 * time, whatever it calls itself.
 */
#include "agent/core/watch_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/util/log.h"

#define WAYS 4 /* places a process may have in the table */
#define MINUTE_NS 60000000000ULL

int watch_action_parse(const char *text)
{
	static const char *const words[] = { "log", "stop", "freeze" };

	for (int i = 0; i < 3; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	return -EINVAL;
}

struct watch *watch_new(const struct watch_options *options)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	watch->options = *options;
	snprintf(watch->policy, sizeof(watch->policy), "%s", options->policy);
	snprintf(watch->file, sizeof(watch->file), "%s", options->file);
	snprintf(watch->shipped, sizeof(watch->shipped), "%s", options->shipped);
	snprintf(watch->allow, sizeof(watch->allow), "%s", options->allow);
	watch->options.policy = watch->policy;
	watch->options.file = watch->file;
	watch->options.shipped = watch->shipped;
	watch->options.allow = watch->allow;
	pthread_mutex_init(&watch->lock, NULL);
	pthread_cond_init(&watch->more, NULL);
	watch->look = true;
	errno = pthread_create(&watch->thread, NULL, watch_work, watch);
	if (!errno)
		return watch;
	pthread_mutex_destroy(&watch->lock);
	pthread_cond_destroy(&watch->more);
	free(watch);
	return NULL;
}

void watch_free(struct watch *watch, bool undo)
{
	struct control_reply reply;

	if (!watch)
		return;
	pthread_mutex_lock(&watch->lock);
	watch->ends = true;
	pthread_cond_signal(&watch->more);
	pthread_mutex_unlock(&watch->lock);
	pthread_join(watch->thread, NULL);
	for (size_t i = 0; undo && i < watch->n_changes; i++)
		watch->options.undo(watch->options.ctx, watch->change[i],
			"the policy that asked for it was detached", &reply);
	watch_set_free(watch->set);
	watch_set_free(watch->next);
	pthread_mutex_destroy(&watch->lock);
	pthread_cond_destroy(&watch->more);
	free(watch);
}

bool watch_record_valid(const void *bytes, size_t n_bytes)
{
	struct semantos_calls_record record;
	uint32_t sum = 0, saturated = 0;

	if (n_bytes != sizeof(record))
		return false;
	memcpy(&record, bytes, sizeof(record));
	if (record.head.version != SEMANTOS_WIRE_VERSION || record.head.bytes != sizeof(record) ||
		record.head.kind != SEMANTOS_CALLS_RECORD || !record.head.request_id ||
		record.head.flags & ~(SEMANTOS_CALLS_F_EXIT | SEMANTOS_CALLS_F_I386))
		return false;
	for (size_t i = 0; i < SEMANTOS_CALLS; i++) {
		sum += record.count[i];
		saturated |= record.count[i] == UINT16_MAX;
	}
	return record.pid && record.start_ns && (saturated || sum == record.calls);
}

/* A new set takes the old one's place between two records. */
static void take_next(struct watch *watch)
{
	struct watch_set *old = NULL;

	pthread_mutex_lock(&watch->lock);
	if (watch->next) {
		old = watch->set;
		watch->set = watch->next;
		watch->next = NULL;
	}
	pthread_mutex_unlock(&watch->lock);
	if (!old)
		return;
	watch_set_free(old);
}

static struct watch_process *process_of(
	struct watch *watch, const struct semantos_calls_record *record)
{
	uint32_t base = (record->pid * 2654435761u >> 8) % (WATCH_PROCESSES / WAYS) * WAYS;
	struct watch_process *oldest = &watch->process[base], *at;

	for (uint32_t i = 0; i < WAYS; i++) {
		at = &watch->process[base + i];
		if (at->pid == record->pid && at->start_ns == record->start_ns)
			return at;
		/* the same number with another start: that one is gone for certain */
		if (at->pid == record->pid || !at->pid) {
			oldest = at;
			at->pid = 0;
		} else if (oldest->pid && at->start_ns < oldest->start_ns) {
			oldest = at;
		}
	}
	watch->forgotten += oldest->pid != 0;
	*oldest = (struct watch_process){ .pid = record->pid, .start_ns = record->start_ns };
	return oldest;
}

static void printable(char *to, const char *from, size_t n)
{
	size_t i = 0;

	for (; i + 1 < n && from[i]; i++)
		to[i] = (char)(from[i] >= ' ' && from[i] < 127 ? from[i] : '?');
	to[i] = '\0';
}

static void neighbours(
	const struct watch_set *set, const struct kin_answer *answer, char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < answer->n_near && len < size; i++) {
		const struct kin_near *near = &answer->near[i];

		len += (size_t)snprintf(text + len, size - len, "%s%s of %s at %.3f",
			i ? ", " : "nearest: ", set->store.label[near->label],
			set->store.name[near->index], near->distance);
	}
}

/* So many in a minute are told one by one; who forks a storm does not fill the log. */
static bool may_log(struct watch *watch, uint64_t now_ns)
{
	uint64_t minute = now_ns / MINUTE_NS;

	if (minute != watch->logged_minute) {
		watch->logged_minute = minute;
		watch->logged = 0;
	}
	if (watch->logged++ < WATCH_LOGGED)
		return true;
	watch->unlogged++;
	return false;
}

static void ask_act(struct watch *watch, const struct finding_view *finding, bool treated)
{
	struct watch_act *todo;

	if (watch->options.action == WATCH_LOG || finding->ended)
		return;
	pthread_mutex_lock(&watch->lock);
	if (watch->n_acts == WATCH_QUEUE) {
		watch->unacted++;
	} else {
		todo = &watch->act[watch->n_acts++];
		memset(todo, 0, sizeof(*todo));
		todo->target = (struct watch_target){ finding->pid, finding->start_ns };
		todo->finding = finding->number;
		todo->dry = !treated;
		snprintf(todo->comm, sizeof(todo->comm), "%s", finding->comm);
		snprintf(todo->label, sizeof(todo->label), "%s", finding->label);
		snprintf(todo->evidence, sizeof(todo->evidence),
			"score %.2f, threshold %.2f, %s in %u windows in a row; %s", finding->score,
			kin_report(watch->set->kin)->threshold, finding->label, finding->windows,
			finding->neighbours);
		pthread_cond_signal(&watch->more);
	}
	pthread_mutex_unlock(&watch->lock);
}

static void found(struct watch *watch, const struct semantos_calls_record *record,
	const struct watch_process *process, const struct kin_answer *answer)
{
	bool treated = semantos_in_canary(record->start_ns ^ record->pid, watch->percent);
	struct finding_view finding = { .pid = record->pid,
		.start_ns = record->start_ns,
		.ts_ns = record->head.ts_ns,
		.score = answer->score,
		.probability = answer->probability,
		.windows = process->in_a_row,
		.ended = record->head.flags & SEMANTOS_CALLS_F_EXIT };

	printable(finding.comm, record->comm, sizeof(finding.comm));
	snprintf(finding.label, sizeof(finding.label), "%s",
		watch->options.one_class ? "nothing known"
					 : watch->set->store.label[answer->label]);
	neighbours(watch->set, answer, finding.neighbours, sizeof(finding.neighbours));
	snprintf(finding.act, sizeof(finding.act), "%s",
		finding.ended			     ? "it ended by itself"
		: watch->options.action == WATCH_LOG ? "logged"
						     : "waits for its turn");
	pthread_mutex_lock(&watch->lock);
	finding.number = ++watch->n_findings;
	watch->finding[finding.number % WATCH_FINDINGS] = finding;
	pthread_mutex_unlock(&watch->lock);
	if (may_log(watch, record->head.ts_ns))
		log_warn("%s: process %u (%s) calls the kernel like %s: score %.2f over %.2f; %s.",
			watch->policy, finding.pid, finding.comm, finding.label, finding.score,
			kin_report(watch->set->kin)->threshold, finding.neighbours);
	ask_act(watch, &finding, treated);
}

void watch_record(struct watch *watch, const struct semantos_calls_record *record)
{
	struct watch_process *process;
	struct kin_answer answer;

	take_next(watch);
	if (!watch->set || !watch->set->kin ||
		kin_judge(watch->set->kin, watch->set->scratch, record->count, &answer))
		return;
	watch->judged++;
	process = process_of(watch, record);
	process->windows++;
	if (!answer.flagged) {
		process->in_a_row = 0;
		return;
	}
	watch->flagged++;
	process->flagged++;
	process->in_a_row++;
	/* a process that ends leaves no more windows to wait for */
	if (process->found || (process->in_a_row < watch->options.windows &&
				      !(record->head.flags & SEMANTOS_CALLS_F_EXIT &&
					      process->in_a_row == process->windows)))
		return;
	process->found = true;
	found(watch, record, process, &answer);
}

void watch_tick(struct watch *watch)
{
	const struct kin_report *report;

	take_next(watch);
	pthread_mutex_lock(&watch->lock);
	watch->look = true;
	pthread_cond_signal(&watch->more);
	pthread_mutex_unlock(&watch->lock);
	if (!watch->set || watch->set->told)
		return;
	watch->set->told = true;
	if (watch->set->note[0]) {
		log_info("%s: %s.", watch->policy, watch->set->note);
		return;
	}
	report = kin_report(watch->set->kin);
	if (watch->options.one_class)
		log_info("%s: compares with %zu benign windows of %zu recordings.", watch->policy,
			report->benign, report->benign_recordings);
	else
		log_info("%s: compares with %zu windows of %zu recordings; held out by recording "
			 "AUC %.3f (95 %% sure of %.3f), recall %.2f at %.1f %% false positives.",
			watch->policy, watch->set->store.n,
			report->benign_recordings + report->other_recordings, report->auc,
			report->auc_low, report->recall, 100 * report->false_positives);
}

void watch_mode(struct watch *watch, uint32_t percent)
{
	watch->percent = percent;
	if (percent)
		return;
	/* what still waits is not done any more */
	pthread_mutex_lock(&watch->lock);
	watch->calmed++;
	for (size_t i = 0; i < watch->n_acts; i++)
		watch->act[i].dry = true;
	pthread_mutex_unlock(&watch->lock);
}

bool watch_signal(const struct watch *watch)
{
	return watch->set && watch->set->kin && kin_report(watch->set->kin)->signal;
}

int watch_view(const struct watch *watch, struct watch_view *view)
{
	static const char *const actions[] = { "log", "stop", "freeze" };
	struct watch *locked = (struct watch *)(uintptr_t)watch;

	memset(view, 0, sizeof(*view));
	view->finding = calloc(WATCH_FINDINGS, sizeof(*view->finding));
	if (!view->finding)
		return -ENOMEM;
	view->there = true;
	view->auc = view->auc_low = view->recall = view->false_positives = view->threshold = NAN;
	snprintf(view->action, sizeof(view->action), "%s", actions[watch->options.action]);
	view->percent = watch->percent;
	view->one_class = watch->options.one_class;
	view->judged = watch->judged;
	view->flagged = watch->flagged;
	view->forgotten = watch->forgotten;
	view->unlogged = watch->unlogged;
	snprintf(view->note, sizeof(view->note), "%s",
		watch->set ? watch->set->note : "its references are being read");
	if (watch->set && watch->set->kin) {
		const struct kin_report *report = kin_report(watch->set->kin);

		view->references = (uint32_t)watch->set->store.n;
		view->benign = (uint32_t)report->benign;
		view->recordings = (uint32_t)(report->benign_recordings + report->other_recordings);
		view->auc = report->auc;
		view->auc_low = report->auc_low;
		view->recall = report->recall;
		view->false_positives = report->false_positives;
		view->threshold = report->threshold;
		view->signal = report->signal;
	}
	pthread_mutex_lock(&locked->lock);
	view->unacted = watch->unacted;
	view->findings = watch->n_findings;
	/* the newest first */
	for (uint64_t n = watch->n_findings; n && view->n_findings < WATCH_FINDINGS; n--) {
		const struct finding_view *finding = &watch->finding[n % WATCH_FINDINGS];

		if (finding->number != n)
			break;
		view->finding[view->n_findings++] = *finding;
	}
	pthread_mutex_unlock(&locked->lock);
	return 0;
}
