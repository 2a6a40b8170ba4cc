// SPDX-License-Identifier: Apache-2.0
/*
 * tune_trial.c - one proposal being tried: what rollout.h orders is carried out through the journal, guards are looked at
 * before each step, and what came of it is concluded.
 *
 * On the tuner's thread. Must never leave a trial without its change kept or undone, or, where the undo itself fails, said.
 */
#include "agent/core/tune_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/util/log.h"

#define SET_AGAIN_MS 2000 /* too many changes too soon: they are allowed a little later */
#define SET_LIMIT_MS 90000
#define UNDO_AGAIN_MS 1000
#define UNDO_TRIES 30
#define CANARY_SHARE 0.2
#define RAMP_SHARE (1.0 / 3)
#define EARLY_PAIRS 2 /* of canary and ramp */

/* ---- the journal, without `lock` ---- */

enum order { SWAP, KEEP, UNDO };

/* Of the settings of the change those that are to have their new values now: all of a unit's, for each unit that is treated. */
static uint32_t new_set(const struct tune_session *s)
{
	uint32_t units = tune_units(&s->goal), set = 0;

	for (uint32_t i = 0; i < s->record->n_knobs; i++)
		set |= s->rollout.treated << (i * units);
	return set;
}

static void carry_out(
	struct tuner *t, enum order order, const char *text, struct control_reply *reply)
{
	uint32_t set = new_set(t->session);
	const struct tuner_ops *ops = &t->options.ops;
	uint64_t change = t->session->record->change;

	memset(reply, 0, sizeof(*reply));
	pthread_mutex_unlock(&t->lock);
	if (order == KEEP)
		ops->keep(ops->ctx, change, text, reply);
	else if (order == UNDO)
		ops->rollback(ops->ctx, change, text, text, reply);
	else
		ops->swap(ops->ctx, change, set, reply);
	pthread_mutex_lock(&t->lock);
}

static void apply(struct tuner *t, struct control_reply *reply)
{
	const struct tuner_ops *ops = &t->options.ops;
	const struct tune_goal *goal = &t->session->goal;
	struct tune_record *record = t->session->record;
	char name[RECORD_KNOBS_MAX][RECORD_NAME_MAX];
	struct safety_knob knob[RECORD_KNOBS_MAX];
	char because[RECORD_TEXT_MAX], expected[200];
	struct safety_request rq = { .owner = SAFETY_TUNER,
		.mode = CHANGE_AUTO,
		.knob = knob,
		.because = because,
		.evidence = record->evidence,
		.expected = expected };

	/* their number was checked with the proposal */
	for (uint32_t i = 0; i < record->n_knobs; i++) {
		for (uint32_t u = 0; u < tune_units(goal); u++, rq.n_knobs++) {
			tune_member_knob(record->knob[i].name,
				goal->n_members ? goal->member[u] : "", name[rq.n_knobs]);
			knob[rq.n_knobs] =
				(struct safety_knob){ name[rq.n_knobs], record->knob[i].value };
		}
	}
	/* one change from first to last: who has no turn yet is announced in it */
	rq.later = ~new_set(t->session) & ((1U << rq.n_knobs) - 1);
	snprintf(because, sizeof(because), "proposal %llu is tried: %.380s",
		(unsigned long long)record->id, record->rationale);
	snprintf(expected, sizeof(expected), "%.120s by %+.1f %%", record->objective,
		100 * record->expected);
	memset(reply, 0, sizeof(*reply));
	pthread_mutex_unlock(&t->lock);
	ops->apply(ops->ctx, &rq, reply);
	pthread_mutex_lock(&t->lock);
	if (!reply->error)
		record->change = reply->change;
}

/* ---- the end of a proposal ---- */

void tune_conclude(struct tuner *t, enum tune_state state, enum tune_verdict verdict, bool unsafe,
	const char *text)
{
	static const char *const kinds[] = { [TUNE_KEPT] = "kept",
		[TUNE_UNDONE] = "undone",
		[TUNE_REJECTED] = "undone",
		[TUNE_VETOED] = "vetoed",
		[TUNE_STALE] = "undone" };
	struct tune_session *s = t->session;
	struct tune_record *record = s->record;

	record->state = state;
	record->verdict = verdict;
	record->unsafe = unsafe;
	record_text(record->text, sizeof(record->text), text);
	tune_remember(t, record);
	tune_say(t, kinds[state], record, "Proposal %llu is %s: %.350s.",
		(unsigned long long)record->id, tune_state_name(state), record->text);
	s->record = NULL;
	tune_to(s, TUNE_REST, tune_now(t) + s->goal.washout_ms * NS_PER_MS);
	pthread_cond_broadcast(&t->news);
	tune_save(t);
}

static void take_gain(struct tune_session *s)
{
	const struct gain *gain = &s->rollout.gain;
	struct tune_record *record = s->record;

	if (isnan(gain->change))
		return;
	record->before = gain->before;
	record->after = gain->after;
	record->change_share = gain->change;
	record->low = gain->low;
	record->high = gain->high;
	record->pairs = s->goal.pairs;
}

/* What the end of the rollout means; *unsafe says whether it did harm. */
static enum tune_verdict verdict_of(const struct tune_session *s, bool *unsafe)
{
	*unsafe = s->rollout.unsafe;
	if (s->by_operator) {
		*unsafe = true;
		return TUNE_V_REJECTED;
	}
	if (s->stopped)
		return TUNE_V_STOPPED;
	if (s->breach)
		return TUNE_V_BREACH;
	if (s->rollout.unsafe)
		return TUNE_V_WORSE;
	return isnan(s->rollout.gain.change) ? TUNE_V_STOPPED : TUNE_V_NO_EFFECT;
}

/* The metric's name in place of gain.h's word for it. */
static void reason(const struct tuner *t, char *out, size_t size)
{
	static const char word[] = "the metric";
	const char *why = t->session->rollout.why, *at = strstr(why, word);
	char what[SLO_TEXT + SLO_NAME];

	slo_source_text(&t->session->goal.objective, what, sizeof(what));
	/* a long command would leave no room for what came of it */
	if (strlen(what) > 80)
		snprintf(what, sizeof(what), "the objective");
	if (at)
		snprintf(out, size, "%.*s%s%s", (int)(at - why), why, what, at + sizeof(word) - 1);
	else
		snprintf(out, size, "%s", why);
}

static uint64_t finish(struct tuner *t, bool keep, uint64_t now)
{
	struct tune_session *s = t->session;
	struct control_reply reply;
	enum tune_verdict verdict;
	char why[ROLLOUT_WHY + 200];
	bool unsafe;

	if (now < s->undo_again_ns)
		return s->undo_again_ns;
	reason(t, why, sizeof(why));
	take_gain(s);
	if (!s->record->telemetry_after)
		s->record->telemetry_after = tune_picture(t);
	if (keep) {
		/* no slice follows that would find somebody else's value */
		carry_out(t, SWAP, why, &reply);
		if (!reply.error)
			carry_out(t, KEEP, why, &reply);
		if (!reply.error) {
			tune_conclude(t, TUNE_KEPT, TUNE_V_KEPT, false, why);
			return now;
		}
		s->rollout.kept = false;
		s->stopped = true;
		snprintf(s->rollout.why, sizeof(s->rollout.why), "it could not be kept: %.180s",
			reply.text);
		reason(t, why, sizeof(why));
	}
	if (s->record->change) {
		carry_out(t, UNDO, why, &reply);
		/* it had ended already: by its own failure, the keeper, or the operator */
		if (reply.error && reply.error != -EALREADY && reply.error != -ENOENT) {
			log_error("Tuning: %s", reply.text);
			s->undo_again_ns = now + UNDO_AGAIN_MS * NS_PER_MS;
			if (++s->undo_tries < UNDO_TRIES && !t->ending)
				return s->undo_again_ns;
			snprintf(why, sizeof(why),
				"it could not be undone, see `semantosctl history`: %.250s",
				reply.text);
			s->stopped = true;
		}
	}
	if (s->by_operator)
		snprintf(why, sizeof(why), "the operator rolled it back while it was tried");
	verdict = verdict_of(s, &unsafe);
	tune_conclude(t, TUNE_UNDONE, verdict, unsafe, why);
	return now;
}

/* ---- while it is tried ---- */

static void stop(struct tune_session *s, const char *why)
{
	char text[ROLLOUT_WHY];
	size_t len;

	/* a reply is a sentence, and this becomes part of one */
	snprintf(text, sizeof(text), "%.220s", why);
	len = strlen(text);
	if (len > 0 && text[len - 1] == '.')
		text[len - 1] = '\0';
	s->stopped = true;
	rollout_stop(&s->rollout, text);
}

static void hold(struct tune_session *s)
{
	for (uint32_t i = 0; i < s->record->n_knobs; i++)
		snprintf(s->held[s->n_held++ % TUNE_HELD], RECORD_NAME_MAX, "%s",
			s->record->knob[i].name);
}

/*
 * What the tables allow, this very kernel or device may not: another value of the same knob may do. The knob is the one that
 * the sentence names, or any of them.
 */
static void refuse_values(struct tune_session *s, const char *text)
{
	const struct tune_record *record = s->record;
	bool named = false;

	for (uint32_t i = 0; i < record->n_knobs; i++)
		named |= strstr(text, record->knob[i].name) != NULL;
	for (uint32_t i = 0; i < record->n_knobs; i++) {
		if (!named || strstr(text, record->knob[i].name))
			s->refused[s->n_refused++ % TUNE_HELD] = record->knob[i];
	}
}

/* Bring the values about that the rollout wants. When that cannot be yet, it is tried again at set_again_ns. */
static void set(struct tuner *t, uint64_t now)
{
	struct tune_session *s = t->session;
	bool new_value = s->rollout.treated != 0;
	struct control_reply reply = { 0 };
	uint64_t took;

	s->set_again_ns = 0;
	if (!s->record->change && !new_value)
		return;
	if (s->record->change)
		carry_out(t, SWAP, "", &reply);
	else
		apply(t, &reply);
	took = tune_now(t) - now;
	if (!reply.error) {
		/* the washout begins when the value stands */
		s->rollout.phase_ns += took + (s->set_since_ns ? now - s->set_since_ns : 0);
		s->set_since_ns = 0;
		return;
	}
	if (reply.error == -EAGAIN && !s->record->change) {
		s->set_since_ns = s->set_since_ns ? s->set_since_ns : now;
		if (now - s->set_since_ns < SET_LIMIT_MS * NS_PER_MS) {
			s->set_again_ns = now + SET_AGAIN_MS * NS_PER_MS;
			return;
		}
	}
	/* held by somebody, or not to be written here: no use in being asked for it again */
	if (!s->record->change && (reply.error == -EINVAL || reply.error == -ERANGE))
		refuse_values(s, reply.text);
	else if (!s->record->change)
		hold(s);
	stop(s, reply.text);
}

static void say_stage(struct tuner *t)
{
	static const char *const names[] = { "canary", "ramp", "full" };
	struct tune_session *s = t->session;
	const struct rollout_plan *plan = &s->rollout.plan;
	unsigned long long id = s->record->id;
	uint32_t stage = s->rollout.stage;

	if (s->stage_said == stage + 1)
		return;
	s->stage_said = stage + 1;
	if (stage == plan->stages)
		tune_say(t, "stage", s->record,
			"Proposal %llu stands for %s and is watched before it is kept.", id,
			s->goal.n_members ? "all members" : "the whole time");
	else if (s->goal.n_members)
		tune_say(t, "stage", s->record,
			"Proposal %llu, %s: %u of %u members at a time under the new value, the "
			"others under the old one, then the sides change; %u pairs.",
			id, names[stage], rollout_units(plan, stage), plan->units,
			plan->stage[stage].pairs);
	else
		tune_say(t, "stage", s->record,
			"Proposal %llu, %s: %.0f %% of the time under the new value, %u pairs.", id,
			names[stage], 100 * plan->stage[stage].share, plan->stage[stage].pairs);
}

static void begin(struct tuner *t, uint64_t now)
{
	struct tune_session *s = t->session;

	s->begin_ns = now;
	if (s->goal.objective.kind != SLO_TELEMETRY)
		tune_say(t, "source", s->record, "Measure the objective now.");
}

/* Has each guard spoken of the time since begin()? One that does not is silent in the end, which is a breach. */
static bool guards_heard(const struct tune_session *s, uint64_t now)
{
	uint32_t n = 1;

	for (uint32_t i = 0; i < s->goal.n_guards && n > 0; i++)
		slo_mean(&s->series[1 + i], s->begin_ns, now, &n);
	return n > 0;
}

/* False: what is measured since begin() has not come in yet. */
static bool measured(struct tuner *t, uint64_t now)
{
	struct tune_session *s = t->session;
	uint64_t wait = SLO_SILENT * s->goal.objective.every_ms * NS_PER_MS;
	bool late = now - s->begin_ns >= s->goal.slice_ms * NS_PER_MS + wait, silent = false;
	uint32_t needed = rollout_needed(&s->rollout);
	double value[ROLLOUT_UNITS_MAX];

	for (uint32_t u = 0; u < tune_units(&s->goal); u++) {
		const struct slo_series *series = &s->series[tune_objective(&s->goal, u)];
		uint32_t n;

		value[u] = slo_mean(series, s->begin_ns, now, &n);
		if (n == 0 && !late && (needed >> u & 1))
			return false;
		silent |= (needed >> u & 1) && !isfinite(value[u]);
	}
	/* nothing is kept that a guard could not have broken */
	if (s->rollout.stage == s->rollout.plan.stages && !silent && !guards_heard(s, now))
		return false;
	s->breach |= silent;
	rollout_measured(&s->rollout, value);
	return true;
}

static void look_at_guards(struct tuner *t, uint64_t now)
{
	struct tune_session *s = t->session;
	char why[SLO_WHY];

	if (s->rollout.phase == ROLLOUT_OVER)
		return;
	for (uint32_t i = 0; i < s->goal.n_guards; i++) {
		if (slo_look(&s->goal.guard[i], &s->series[1 + i], now, why, sizeof(why)) !=
			SLO_BROKEN)
			continue;
		rollout_breach(&s->rollout, why);
		s->breach = true;
		tune_say(t, "breach", s->record, "Proposal %llu is undone at once: %s.",
			(unsigned long long)s->record->id, why);
		return;
	}
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t tune_trial_step(struct tuner *t, uint64_t now)
{
	struct tune_session *s = t->session;
	struct rollout_order order;
	uint64_t tick = now + TUNE_TICK_MS * NS_PER_MS;

	look_at_guards(t, now);
	if (s->by_operator && s->rollout.phase != ROLLOUT_OVER)
		rollout_stop(&s->rollout, "the operator rolled it back");
	if (s->set_again_ns && s->rollout.phase != ROLLOUT_OVER) {
		if (now < s->set_again_ns)
			return sooner(tick, s->set_again_ns);
		set(t, now);
		return now;
	}
	rollout_next(&s->rollout, now, &order);
	switch (order.act) {
	case ROLLOUT_SET:
		say_stage(t);
		set(t, now);
		return now;
	case ROLLOUT_BEGIN:
		begin(t, now);
		return now;
	case ROLLOUT_END:
		return measured(t, now) ? now : tick;
	case ROLLOUT_WAIT:
		return sooner(tick, order.at_ns);
	default:
		return finish(t, order.act == ROLLOUT_KEEP, now);
	}
}

bool tune_trial_begin(struct tuner *t, uint64_t now)
{
	struct tune_session *s = t->session;
	const struct tune_goal *goal = &s->goal;
	const struct rollout_plan plan = {
		.kind = goal->n_members ? ROLLOUT_UNITS : ROLLOUT_SLICES,
		.units = goal->n_members,
		.stage = { { CANARY_SHARE, EARLY_PAIRS }, { RAMP_SHARE, EARLY_PAIRS },
			{ 0.5, goal->pairs } },
		.stages = 3,
		.washout_ns = goal->washout_ms * NS_PER_MS,
		.measure_ns = goal->slice_ms * NS_PER_MS,
		.confirm_ns = goal->slice_ms * NS_PER_MS,
		.lower_is_better = goal->lower_is_better,
		.seed = goal->seed + s->record->id,
	};
	char name[RECORD_NAME_MAX], text[400];
	bool same;

	pthread_mutex_unlock(&t->lock);
	same = tune_unchanged(t->root, goal, s->record->was, s->record->n_knobs, name);
	pthread_mutex_lock(&t->lock);
	if (!same) {
		snprintf(text, sizeof(text),
			"%.200s was changed since, so it does not fit any more", name);
		tune_conclude(t, TUNE_STALE, TUNE_V_STOPPED, false, text);
		return false;
	}
	if (rollout_begin(&s->rollout, &plan, text, sizeof(text))) {
		tune_conclude(t, TUNE_UNDONE, TUNE_V_STOPPED, false, text);
		return false;
	}
	s->record->telemetry_before = tune_picture(t);
	s->record->state = TUNE_TRYING;
	s->breach = s->by_operator = s->stopped = false;
	s->stage_said = 0;
	s->set_since_ns = s->set_again_ns = s->undo_again_ns = 0;
	s->undo_tries = 0;
	tune_to(s, TUNE_TRY, now);
	return true;
}
