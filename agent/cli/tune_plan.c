/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_plan.c - looks up every source and knob of a goal once and shows them; asks the agent for its last snapshot only.
 */
#include "agent/cli/tune_plan.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/cli/status_json.h"
#include "agent/cli/table.h"
#include "agent/core/tune.h"
#include "agent/util/knob_desc.h"

struct plan {
	const struct ctl *ctl;
	const struct tune_wish *wish;
	const struct tune_sources *sources;
	double value[TUNE_SOURCES];
	char why[TUNE_SOURCES][COMMAND_WHY_MAX]; /* no value: half a sentence */
	struct tune_offer offer; /* what may be tried */
	char scope[120]; /* subsystems it is of, "" = any */
	const char *unmatched; /* the first of --knob that fits nothing */
	int code;
};

static double figure_of(const Semantos__V1__TelemetryMetric *metric, const char *figure)
{
	const struct {
		const char *name;
		double value;
	} figures[] = { { "value", metric->value }, { "median", metric->median },
		{ "p95", metric->p95 }, { "p99", metric->p99 }, { "per_s", metric->per_s },
		{ "anomalies", metric->anomalies } };

	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
		if (strcmp(figures[i].name, figure) == 0)
			return figures[i].value;
	}
	return NAN;
}

static void look_up(struct plan *plan, size_t i, const Semantos__V1__TelemetrySnapshot *snapshot)
{
	const struct goal_source *source = tune_wish_source(plan->wish, i);
	bool any = false;

	for (size_t k = 0; k < snapshot->n_metrics; k++) {
		const Semantos__V1__TelemetryMetric *metric = snapshot->metrics[k];

		if (strcmp(metric->name, source->metric) != 0)
			continue;
		any = true;
		if (strcmp(metric->label, source->label) != 0)
			continue;
		plan->value[i] = figure_of(metric, source->figure);
		if (!isfinite(plan->value[i]))
			snprintf(plan->why[i], sizeof(plan->why[i]),
				"it has no value now, e.g. because nothing happened");
		return;
	}
	snprintf(plan->why[i], sizeof(plan->why[i]), "%s",
		!snapshot->number ? "no snapshot was taken yet: try again in a few seconds"
		: any		  ? "there is no such label: see `semantosctl telemetry`"
		      : "this machine does not measure it: see `semantosctl telemetry`");
	plan->code = EXIT_CODE_NOT_FOUND;
}

/* CTL_GO_ON, or the exit code when the agent cannot be asked. */
static int take_telemetry(struct plan *plan)
{
	Semantos__V1__TelemetryRequest request = SEMANTOS__V1__TELEMETRY_REQUEST__INIT;
	Semantos__V1__TelemetrySnapshot *snapshot;
	bool any = false;
	int code;

	for (size_t i = 0; i < tune_wish_sources(plan->wish); i++)
		any |= tune_wish_measured(plan->wish, i) &&
		       tune_wish_source(plan->wish, i)->kind == GOAL_TELEMETRY;
	if (!any)
		return CTL_GO_ON;
	snapshot = (Semantos__V1__TelemetrySnapshot *)ctl_call(plan->ctl, "TelemetryAgent/Snapshot",
		&request.base, &semantos__v1__telemetry_snapshot__descriptor, &code);
	if (!snapshot)
		return code;
	for (size_t i = 0; i < tune_wish_sources(plan->wish); i++) {
		if (tune_wish_measured(plan->wish, i) &&
			tune_wish_source(plan->wish, i)->kind == GOAL_TELEMETRY)
			look_up(plan, i, snapshot);
	}
	semantos__v1__telemetry_snapshot__free_unpacked(snapshot, NULL);
	return CTL_GO_ON;
}

static bool fits(const char *pattern, const char *name)
{
	return strcmp(pattern, name) == 0 || fnmatch(pattern, name, 0) == 0;
}

static int take_knobs(struct plan *plan)
{
	struct tune_goal *goal = calloc(1, sizeof(*goal));
	const struct tune_wish *wish = plan->wish;
	int err = -ENOMEM;

	for (size_t i = 0; goal && i < wish->n_knobs; i++)
		snprintf(goal->pattern[goal->n_patterns++], sizeof(goal->pattern[0]), "%s",
			wish->knob[i]);
	if (goal) {
		goal->objective.kind =
			wish->objective.kind == GOAL_TELEMETRY ? SLO_TELEMETRY : SLO_COMMAND;
		snprintf(goal->objective.metric, sizeof(goal->objective.metric), "%s",
			wish->objective.metric);
		snprintf(goal->objective.label, sizeof(goal->objective.label), "%s",
			wish->objective.label);
		for (size_t m = 0; m < wish->n_members; m++)
			snprintf(goal->member[goal->n_members++], sizeof(goal->member[0]), "%s",
				wish->member[m]);
	}
	if (goal)
		err = tune_offer("", goal, &plan->offer);
	if (goal)
		tune_scope(goal, plan->scope, sizeof(plan->scope));
	free(goal);
	if (err)
		return ctl_fail(plan->ctl, EXIT_CODE_FAILED, "No memory is left.");
	for (size_t i = 0; i < wish->n_knobs && !plan->unmatched; i++) {
		bool any = false;

		for (uint32_t k = 0; k < plan->offer.n; k++)
			any |= fits(wish->knob[i], plan->offer.knob[k].name);
		if (!any)
			plan->unmatched = wish->knob[i];
	}
	return CTL_GO_ON;
}

static const char *risk_of(const struct tune_knob *knob)
{
	const struct knob_desc *desc = knob_desc_find(knob->name);

	return desc ? knob_risk_names[desc->risk] : "";
}

static bool holds(const struct goal_guard *guard, double value)
{
	switch (guard->relation[0] + (guard->relation[1] == '=')) {
	case '<':
		return value < guard->limit;
	case '<' + 1:
		return value <= guard->limit;
	case '>':
		return value > guard->limit;
	default:
		return value >= guard->limit;
	}
}

/* ---- how it is shown ---- */

static void add_row(struct table *table, const struct plan *plan, size_t i)
{
	const struct goal_source *source = tune_wish_source(plan->wish, i);
	const char *to = plan->wish->direction == TUNE_HIGHER ? "raise" : "lower", *note = "";
	char text[GOAL_TEXT_MAX + 60], value[40];

	goal_source_text(source, text, sizeof(text) - 50);
	if (i > 0 && i <= plan->wish->n_guards) {
		const struct goal_guard *guard = &plan->wish->guard[i - 1];

		to = "hold";
		snprintf(text + strlen(text), 50, " %s %s", guard->relation,
			goal_value_text(source, guard->limit, value, sizeof(value)));
		note = holds(guard, plan->value[i])
			       ? "holds"
			       : "does not hold: nothing can be tried until it does";
	}
	table_cell(table, "%s", to);
	table_cell(table, "%s", text);
	table_cell(table, "%s", goal_value_text(source, plan->value[i], value, sizeof(value)));
	table_cell(table, "%s", isfinite(plan->value[i]) ? note : plan->why[i]);
}

static int print_plan(const struct plan *plan)
{
	static const char *const headers[] = { "TO", "WHAT", ">NOW", "", NULL };
	static const char *const knob_headers[] = { "KNOB", "VALUE", "RISK", NULL };
	const struct tune_wish *wish = plan->wish;
	struct table *table = table_new(headers);
	int err;

	for (size_t i = 0; i < tune_wish_sources(wish); i++) {
		if (tune_wish_measured(wish, i))
			add_row(table, plan, i);
	}
	err = table_print(table, stdout, 0, ctl_width());
	table_free(table);
	printf("\n%u setting%s may be tried%s%s%s:\n", plan->offer.n, plan->offer.n == 1 ? "" : "s",
		wish->n_knobs	 ? ""
		: plan->scope[0] ? " (those of low risk of the "
				 : " (those of low risk; --knob names others)",
		plan->scope,
		plan->scope[0] ? "; --knob '*' is all of low risk, --knob names others)" : "");
	table = table_new(knob_headers);
	for (uint32_t k = 0; k < plan->offer.n; k++) {
		table_cell(table, "%s", plan->offer.knob[k].name);
		table_cell(table, "%.48s", plan->offer.knob[k].value);
		table_cell(table, "%s", risk_of(&plan->offer.knob[k]));
	}
	if (plan->offer.n > 0 && !err)
		err = table_print(table, stdout, 0, ctl_width());
	table_free(table);
	if (plan->offer.left_out)
		printf("%u more fit, which are too many at once: name fewer.\n",
			plan->offer.left_out);
	if (plan->offer.differ)
		printf("The members differ in %u more, which are not tried: %s.\n",
			plan->offer.differ, plan->offer.first);
	printf("\n%s\n", strcmp(wish->apply, "auto") == 0
				 ? "Each would be tried without asking (--apply auto)."
				 : "Each would wait for `semantosctl approve` (--apply advise).");
	return err ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

static json_t *source_json(const struct plan *plan, size_t i)
{
	const struct goal_source *source = tune_wish_source(plan->wish, i);
	const struct goal_guard *guard =
		i > 0 && i <= plan->wish->n_guards ? &plan->wish->guard[i - 1] : NULL;
	char text[GOAL_TEXT_MAX + 8];
	json_t *all;

	goal_source_text(source, text, sizeof(text));
	all = json_pack("{s:s, s:o, s:o, s:o}", "kind", goal_kind_name(source->kind), "source",
		text_json(text), "value", number_json(plan->value[i]), "why",
		text_json(plan->why[i]));
	if (guard)
		json_object_update_new(
			all, json_pack("{s:s, s:f, s:b}", "relation", guard->relation, "limit",
				     guard->limit, "holds", holds(guard, plan->value[i])));
	return all;
}

static int plan_json(const struct plan *plan, int code, const char *wrong)
{
	json_t *guards = json_array(), *knobs = json_array(), *members = json_array(), *all;
	const struct tune_wish *wish = plan->wish;

	for (size_t i = 1; i <= wish->n_guards; i++)
		json_array_append_new(guards, source_json(plan, i));
	for (uint32_t k = 0; k < plan->offer.n; k++)
		json_array_append_new(knobs,
			json_pack("{s:o, s:o, s:s}", "name", text_json(plan->offer.knob[k].name),
				"value", text_json(plan->offer.knob[k].value), "risk",
				risk_of(&plan->offer.knob[k])));
	for (size_t i = 1 + wish->n_guards; i < tune_wish_sources(wish); i++) {
		json_t *member = source_json(plan, i);

		json_object_set_new(member, "member", text_json(tune_wish_source(wish, i)->label));
		json_array_append_new(members, member);
	}
	all = json_pack("{s:b, s:s, s:s, s:o, s:o, s:o, s:o}", "ok", code == EXIT_CODE_OK, "apply",
		plan->wish->apply, "direction",
		plan->wish->direction == TUNE_HIGHER ? "higher" : "lower", "objective",
		source_json(plan, 0), "guards", guards, "members", members, "knobs", knobs);
	if (code != EXIT_CODE_OK)
		json_object_update_new(
			all, json_pack("{s:i, s:o}", "code", code, "error", text_json(wrong)));
	return ctl_print_json(all);
}

/* What is wrong, in one sentence; "" = nothing. The exit code for it. */
static int verdict(const struct plan *plan, char *out, size_t len)
{
	char text[GOAL_TEXT_MAX + 8];

	out[0] = '\0';
	for (size_t i = 0; i < tune_wish_sources(plan->wish); i++) {
		if (isfinite(plan->value[i]) || !tune_wish_measured(plan->wish, i))
			continue;
		goal_source_text(tune_wish_source(plan->wish, i), text, sizeof(text));
		snprintf(out, len, "%s cannot be measured: %s.", text, plan->why[i]);
		return plan->code;
	}
	if (!plan->unmatched)
		return EXIT_CODE_OK;
	snprintf(out, len,
		"No setting of this machine that may be tried fits --knob %.80s: see `semantosctl "
		"knobs`. What is not of low risk must be named in full.",
		plan->unmatched);
	return EXIT_CODE_NOT_FOUND;
}

int tune_plan(
	const struct ctl *ctl, const struct tune_wish *wish, const struct tune_sources *sources)
{
	struct plan plan = {
		.ctl = ctl, .wish = wish, .sources = sources, .code = EXIT_CODE_FAILED
	};
	char wrong[600];
	int code;

	for (size_t i = 0; i < tune_wish_sources(wish); i++) {
		const struct measured *m = tune_sources_measured(sources, i);

		plan.value[i] = m ? m->value : NAN;
		if (m)
			memcpy(plan.why[i], m->why, sizeof(plan.why[i]));
	}
	code = take_telemetry(&plan);
	if (code == CTL_GO_ON)
		code = take_knobs(&plan);
	if (code == CTL_GO_ON) {
		int shown;

		code = verdict(&plan, wrong, sizeof(wrong));
		shown = ctl->json ? plan_json(&plan, code, wrong) : print_plan(&plan);
		if (code != EXIT_CODE_OK && !ctl->json)
			ctl_fail(ctl, code, "%s", wrong);
		code = code == EXIT_CODE_OK ? shown : code;
	}
	free(plan.offer.knob);
	return code;
}
