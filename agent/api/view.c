/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view.c - an agent_view as the AgentStatus message.
 *
 * The message borrows every string of the view and owns only its arrays, all from one list that is freed at the end.
 * No state, any thread.
 */
#include "agent/api/internal.h"

#include <stdlib.h>
#include "agent/api/counter_names.h"
#include "agent/proto/semantos.pb-c.h"

/* One allocation of the message under construction. */
struct piece {
	struct piece *next;
	max_align_t bytes[];
};

static void *piece_new(struct piece **list, size_t n, size_t size)
{
	struct piece *piece = calloc(1, sizeof(*piece) + n * size + 1);

	if (!piece)
		return NULL;
	piece->next = *list;
	*list = piece;
	return piece->bytes;
}

static Semantos__V1__Score *score_message(struct piece **list, const struct score_view *view)
{
	Semantos__V1__Score *score = piece_new(list, 1, sizeof(*score));

	if (!score)
		return NULL;
	semantos__v1__score__init(score);
	score->evaluated = view->evaluated;
	score->window_rows = view->window_rows;
	score->auc = view->auc;
	score->auc_pending = view->auc_pending;
	score->recall = view->recall;
	score->precision = view->precision;
	score->accuracy = view->accuracy;
	score->majority = view->majority;
	score->slow_share = view->slow_share;
	score->in_force_rows = view->in_force_rows;
	score->in_force_accuracy = view->in_force_accuracy;
	return score;
}

static Semantos__V1__Device *device_message(struct piece **list, const struct device_view *view)
{
	Semantos__V1__Device *device = piece_new(list, 1, sizeof(*device));

	if (!device)
		return NULL;
	semantos__v1__device__init(device);
	device->name = (char *)view->name;
	device->major = view->major;
	device->minor = view->minor;
	device->slot = view->slot;
	device->generation = view->generation;
	device->phase = (Semantos__V1__Phase)view->phase;
	device->note = (char *)view->note;
	device->rows = view->rows;
	device->rows_wanted = view->rows_wanted;
	device->has_model = view->has_model;
	device->signal = view->signal;
	device->model = (char *)view->model;
	device->trained_at = (char *)view->trained_at;
	device->trained_rows = view->trained_rows;
	device->heldout_auc = view->heldout_auc;
	device->heldout_auc_low = view->heldout_auc_low;
	device->heldout_auc_pending = view->heldout_auc_pending;
	device->heldout_majority = view->heldout_majority;
	device->slow_threshold_us = (double)view->slow_threshold_us;
	device->score = score_message(list, &view->score);
	device->verdict_class = view->verdict_class;
	device->verdict_confidence = view->verdict_confidence;
	device->verdict_live = view->verdict_live;
	device->retrained = view->retrained;
	device->latency_us_p50 = view->latency_us_p50;
	device->latency_us_p95 = view->latency_us_p95;
	device->latency_us_p99 = view->latency_us_p99;
	device->reads_per_s = view->reads_per_s;
	return device->score ? device : NULL;
}

static bool counters_message(
	struct piece **list, const struct semantos_counters *counters, Semantos__V1__Policy *policy)
{
	policy->counters = piece_new(list, SEMANTOS_C_NR, sizeof(*policy->counters));
	if (!policy->counters)
		return false;
	for (unsigned int i = 0; i < SEMANTOS_C_NR; i++) {
		Semantos__V1__Counter *counter = piece_new(list, 1, sizeof(*counter));

		if (!counter)
			return false;
		semantos__v1__counter__init(counter);
		counter->name = (char *)counter_name(i);
		counter->value = counters->count[i];
		policy->counters[policy->n_counters++] = counter;
	}
	return true;
}

static bool programs_message(
	struct piece **list, const struct policy_view *view, Semantos__V1__Policy *policy)
{
	uint32_t n = view->n_programs;

	if (n > sizeof(view->program) / sizeof(view->program[0]))
		n = sizeof(view->program) / sizeof(view->program[0]);
	policy->programs = piece_new(list, n, sizeof(*policy->programs));
	if (!policy->programs)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		Semantos__V1__Program *program = piece_new(list, 1, sizeof(*program));

		if (!program)
			return false;
		semantos__v1__program__init(program);
		program->name = (char *)view->program[i].name;
		program->id = view->program[i].id;
		program->runs = view->program[i].runs;
		program->run_ns = view->program[i].run_ns;
		program->missed = view->program[i].missed;
		policy->programs[policy->n_programs++] = program;
	}
	return true;
}

static Semantos__V1__Watch *watch_message(struct piece **list, const struct watch_view *view)
{
	Semantos__V1__Watch *watch = piece_new(list, 1, sizeof(*watch));

	if (!watch)
		return NULL;
	semantos__v1__watch__init(watch);
	watch->action = (char *)view->action;
	watch->percent = view->percent;
	watch->one_class = view->one_class;
	watch->signal = view->signal;
	watch->references = view->references;
	watch->benign = view->benign;
	watch->recordings = view->recordings;
	watch->auc = view->auc;
	watch->auc_low = view->auc_low;
	watch->recall = view->recall;
	watch->false_positives = view->false_positives;
	watch->threshold = view->threshold;
	watch->note = (char *)view->note;
	watch->judged = view->judged;
	watch->flagged = view->flagged;
	watch->found = view->findings;
	watch->forgotten = view->forgotten;
	watch->unlogged = view->unlogged;
	watch->unacted = view->unacted;
	watch->findings = piece_new(list, view->n_findings, sizeof(*watch->findings));
	for (uint32_t i = 0; watch->findings && i < view->n_findings; i++) {
		const struct finding_view *from = &view->finding[i];
		Semantos__V1__Finding *finding = piece_new(list, 1, sizeof(*finding));

		if (!finding)
			return NULL;
		semantos__v1__finding__init(finding);
		finding->number = from->number;
		finding->pid = from->pid;
		finding->comm = (char *)from->comm;
		finding->label = (char *)from->label;
		finding->score = from->score;
		finding->probability = from->probability;
		finding->windows = from->windows;
		finding->ended = from->ended;
		finding->neighbours = (char *)from->neighbours;
		finding->act = (char *)from->act;
		finding->change = from->change;
		finding->ts_ns = from->ts_ns;
		watch->findings[watch->n_findings++] = finding;
	}
	return watch->findings ? watch : NULL;
}

static Semantos__V1__Policy *policy_message(struct piece **list, const struct policy_view *view)
{
	Semantos__V1__Policy *policy = piece_new(list, 1, sizeof(*policy));

	if (!policy)
		return NULL;
	semantos__v1__policy__init(policy);
	policy->name = (char *)view->name;
	policy->summary = (char *)view->summary;
	policy->mode = (Semantos__V1__Mode)view->mode;
	policy->canary_percent = view->canary_percent;
	policy->note = (char *)view->note;
	policy->delivered = view->delivered;
	policy->batches = view->batches;
	policy->verdicts_stored = view->verdicts_stored;
	policy->verdicts_refused_stale = view->verdicts_refused_stale;
	policy->ring_bad_records = view->ring_bad_records;
	policy->decide_us_p50 = view->decide_us_p50;
	policy->decide_us_p99 = view->decide_us_p99;
	policy->age_s = view->age_s;
	if (view->watch.there) {
		policy->watch = watch_message(list, &view->watch);
		if (!policy->watch)
			return NULL;
	}
	policy->devices = piece_new(list, view->n_devices, sizeof(*policy->devices));
	if (!policy->devices || !counters_message(list, &view->counters, policy) ||
		!programs_message(list, view, policy))
		return NULL;
	for (uint32_t i = 0; i < view->n_devices; i++) {
		policy->devices[i] = device_message(list, &view->device[i]);
		if (!policy->devices[i])
			return NULL;
		policy->n_devices++;
	}
	return policy;
}

static bool safety_messages(
	struct piece **list, const struct agent_view *view, Semantos__V1__AgentStatus *status)
{
	status->changes = piece_new(list, view->n_changes, sizeof(*status->changes));
	status->quarantined = piece_new(list, view->n_quarantined, sizeof(*status->quarantined));
	if (!status->changes || !status->quarantined)
		return false;
	for (uint32_t i = 0; i < view->n_changes; i++) {
		Semantos__V1__Change *change = piece_new(list, 1, sizeof(*change));

		if (!change)
			return false;
		semantos__v1__change__init(change);
		change->id = view->change[i].id;
		change->mode = view->change[i].mode;
		change->state = view->change[i].state;
		change->owner = view->change[i].owner;
		change->sentence = view->change[i].sentence;
		status->changes[status->n_changes++] = change;
	}
	for (uint32_t i = 0; i < view->n_quarantined; i++) {
		Semantos__V1__Quarantine *quarantine = piece_new(list, 1, sizeof(*quarantine));

		if (!quarantine)
			return false;
		semantos__v1__quarantine__init(quarantine);
		quarantine->policy = view->quarantined[i].policy;
		quarantine->sentence = view->quarantined[i].sentence;
		status->quarantined[status->n_quarantined++] = quarantine;
	}
	return true;
}

bool view_encode(const struct agent_view *view, grpc_slice *out)
{
	Semantos__V1__AgentStatus status = SEMANTOS__V1__AGENT_STATUS__INIT;
	struct piece *list = NULL;
	bool ok = false;

	status.version = (char *)view->version;
	status.kernel = (char *)view->kernel;
	status.pid = view->pid;
	status.uptime_s = view->uptime_s;
	status.cpu_percent = view->cpu_percent;
	status.rss_bytes = view->rss_bytes;
	status.lease_live = view->lease_live;
	status.lease_renewals = view->lease_renewals;
	status.policies = piece_new(&list, view->n_policies, sizeof(*status.policies));
	if (!status.policies)
		goto out;
	for (uint32_t i = 0; i < view->n_policies; i++) {
		status.policies[i] = policy_message(&list, &view->policy[i]);
		if (!status.policies[i])
			goto out;
		status.n_policies++;
	}
	if (!safety_messages(&list, view, &status))
		goto out;
	*out = grpc_slice_malloc(semantos__v1__agent_status__get_packed_size(&status));
	semantos__v1__agent_status__pack(&status, GRPC_SLICE_START_PTR(*out));
	ok = true;
out:
	while (list) {
		struct piece *next = list->next;

		free(list);
		list = next;
	}
	return ok;
}
