// SPDX-License-Identifier: Apache-2.0
/*
 * result_json.c - packs a view into JSON; see docs for the names.
 */
#include "agent/cli/result_json.h"

#include <math.h>
#include <string.h>
#include "agent/api/counter_names.h"
#include "agent/cli/status_json.h"

static const char *phase_name(enum device_phase phase)
{
	static const char *const names[] = { "waiting", "learning", "predicting", "unsupported",
		"gone" };

	return phase <= DEVICE_GONE ? names[phase] : "unknown";
}

/* A disk that is not followed has no scores: NaN, which becomes null. */
static struct device_view without_scores(const struct device_view *d)
{
	struct device_view bare = *d;

	bare.heldout_auc = bare.heldout_auc_low = bare.heldout_auc_pending = NAN;
	bare.heldout_majority = bare.score.auc = bare.score.auc_pending = NAN;
	bare.score.recall = bare.score.precision = bare.score.accuracy = NAN;
	bare.score.majority = bare.score.slow_share = bare.score.in_force_accuracy = NAN;
	bare.latency_us_p50 = bare.latency_us_p95 = bare.latency_us_p99 = NAN;
	return bare;
}

static json_t *device_json(const struct device_view *d)
{
	json_t *object = json_object();
	struct device_view bare = without_scores(d);

	if (d->phase == DEVICE_UNSUPPORTED)
		d = &bare;

	json_object_set_new(object, "device", text_json(d->name));
	json_object_set_new(object, "dev", json_sprintf("%u:%u", d->major, d->minor));
	json_object_set_new(object, "phase", json_string(phase_name(d->phase)));
	json_object_set_new(object, "model", d->has_model ? text_json(d->model) : json_null());
	json_object_set_new(
		object, "trained_at", d->trained_at[0] ? text_json(d->trained_at) : json_null());
	json_object_set_new(object, "training_rows", json_integer((json_int_t)d->trained_rows));
	json_object_set_new(object, "slow_threshold_us",
		d->has_model ? number_json(d->slow_threshold_us) : json_null());
	json_object_set_new(object, "heldout",
		json_pack("{s:o,s:o,s:o,s:o}", "auc", number_json(d->heldout_auc), "auc_low",
			number_json(d->heldout_auc_low), "pending_only_auc",
			number_json(d->heldout_auc_pending), "majority_accuracy",
			number_json(d->heldout_majority)));
	json_object_set_new(object, "signal", d->has_model ? json_boolean(d->signal) : json_null());
	json_object_set_new(object, "evaluated", json_integer((json_int_t)d->score.evaluated));
	json_object_set_new(object, "window",
		json_pack("{s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "rows",
			(json_int_t)d->score.window_rows, "auc", number_json(d->score.auc),
			"pending_only_auc", number_json(d->score.auc_pending), "accuracy",
			number_json(d->score.accuracy), "majority_accuracy",
			number_json(d->score.majority), "recall", number_json(d->score.recall),
			"precision", number_json(d->score.precision), "slow_share",
			number_json(d->score.slow_share)));
	json_object_set_new(object, "in_force",
		json_pack("{s:I,s:o}", "rows", (json_int_t)d->score.in_force_rows, "accuracy",
			number_json(d->score.in_force_accuracy)));
	json_object_set_new(object, "latency_us",
		json_pack("{s:o,s:o,s:o}", "p50", number_json(d->latency_us_p50), "p95",
			number_json(d->latency_us_p95), "p99", number_json(d->latency_us_p99)));
	json_object_set_new(object, "retrained", json_integer((json_int_t)d->retrained));
	json_object_set_new(object, "note", text_json(d->note));
	return object;
}

static json_t *policy_json(const struct policy_view *p)
{
	json_t *object = json_object(), *drops = json_object(), *counters = json_object(),
	       *devices = json_array();
	json_t *programs = json_array();
	const struct device_view *first = NULL;

	for (uint32_t i = 0; i < p->n_devices; i++) {
		const struct device_view *d = &p->device[i];

		json_array_append_new(devices, device_json(d));
		if (!first || d->score.evaluated > first->score.evaluated ||
			(d->score.evaluated == first->score.evaluated && d->rows > first->rows))
			first = d;
	}
	if (first) {
		json_t *lead = device_json(first);

		json_object_update_missing(object, lead);
		json_decref(lead);
	}
	json_object_set_new(object, "policy", text_json(p->name));
	json_object_set_new(object, "mode",
		p->mode == SEMANTOS_CANARY ? json_sprintf("canary:%u", p->canary_percent)
					   : json_string(control_mode_name(p->mode)));
	if (p->note[0])
		json_object_set_new(object, "mode_note", text_json(p->note));
	for (unsigned int i = 0; i < SEMANTOS_C_NR; i++) {
		const char *name = counter_name(i);

		json_object_set_new(counter_is_drop(name) ? drops : counters, name,
			json_integer((json_int_t)p->counters.count[i]));
	}
	json_object_set_new(object, "drops", drops);
	json_object_set_new(object, "counters", counters);
	json_object_set_new(object, "delivered", json_integer((json_int_t)p->delivered));
	json_object_set_new(object, "bad_records", json_integer((json_int_t)p->ring_bad_records));
	json_object_set_new(
		object, "verdicts_stored", json_integer((json_int_t)p->verdicts_stored));
	json_object_set_new(object, "verdicts_refused_stale",
		json_integer((json_int_t)p->verdicts_refused_stale));
	json_object_set_new(object, "decide_us",
		json_pack("{s:o,s:o}", "p50", number_json(p->decide_us_p50), "p99",
			number_json(p->decide_us_p99)));
	for (uint32_t i = 0; i < p->n_programs; i++) {
		const struct program_view *g = &p->program[i];

		json_array_append_new(programs,
			json_pack("{s:s,s:I,s:I,s:o}", "program", g->name, "sampled_runs",
				(json_int_t)g->runs, "missed_runs", (json_int_t)g->missed,
				"ns_per_run",
				number_json(g->runs ? (double)g->run_ns / (double)g->runs : NAN)));
	}
	json_object_set_new(object, "programs", programs);
	json_object_set_new(object, "devices", devices);
	return object;
}

json_t *result_json(const struct agent_view *view, double duration_s)
{
	json_t *result = view->n_policies ? policy_json(&view->policy[0]) : json_object();

	if (!result)
		return NULL;
	if (view->n_policies > 1) {
		json_t *policies = json_array();

		for (uint32_t i = 0; i < view->n_policies; i++)
			json_array_append_new(policies, policy_json(&view->policy[i]));
		json_object_set_new(result, "policies", policies);
	}
	json_object_set_new(result, "overhead",
		json_pack("{s:o,s:I}", "cpu_percent", number_json(view->cpu_percent), "rss_bytes",
			(json_int_t)view->rss_bytes));
	json_object_set_new(
		result, "control", view->control[0] ? text_json(view->control) : json_null());
	json_object_set_new(result, "kernel", text_json(view->kernel));
	json_object_set_new(result, "version", text_json(view->version));
	json_object_set_new(result, "duration_s", number_json(duration_s));
	return result;
}
