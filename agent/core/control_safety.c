// SPDX-License-Identifier: Apache-2.0
/*
 * control_safety.c - what leads to the journal: settings changed, undone, quarantines lifted, policies ejected.
 *
 * An ejection goes loop -> guard -> here: the loop puts the policy into shadow at once and waits for nothing, the
 * guard's thread records it and then takes the policy down as an operator would.
 */
#include "agent/core/core_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent/util/log.h"

static void refuse(struct control_reply *reply, int error, const char *text)
{
	reply->error = error;
	snprintf(reply->text, sizeof(reply->text), "%s", text);
}

static int parse_mode(const char *text, enum change_mode *mode)
{
	*mode = CHANGE_AUTO;
	if (!text || !*text)
		return 0;
	for (; *mode <= CHANGE_ONCE; (*mode)++)
		if (strcmp(text, change_mode_name(*mode)) == 0)
			return 0;
	return -EINVAL;
}

static bool said(const char *text)
{
	return text && *text;
}

/* Attached, and not about to be taken down? */
static bool may_own(struct core *core, const char *name)
{
	struct policy *policy;
	bool may;

	pthread_mutex_lock(&core->change);
	may = control_find(core, name, &policy) == 0 && !policy_held(policy);
	pthread_mutex_unlock(&core->change);
	return may;
}

void control_apply(
	struct core *core, const struct control_change *change, struct control_reply *reply)
{
	struct safety_knob copy[RECORD_KNOBS_MAX];
	const char *policy = said(change->policy) ? change->policy : NULL;
	struct safety_request rq = { .owner = policy ? policy : "operator",
		.knob = copy,
		.n_knobs = change->n,
		.because = change->because,
		.evidence = change->evidence,
		.expected = change->expected };

	if (change->n == 0 || change->n > RECORD_KNOBS_MAX)
		return refuse(reply, -EINVAL, "A change has 1 to 8 settings; nothing is changed.");
	if (!said(change->because))
		return refuse(reply, -EINVAL,
			"A change needs its reason (--because); nothing is changed.");
	if (parse_mode(change->mode, &rq.mode))
		return refuse(reply, -EINVAL,
			"The mode of a change is auto, on-breach, never or once; nothing is "
			"changed.");
	for (size_t i = 0; i < change->n; i++) {
		const struct control_knob *knob = &change->knob[i];

		if (strlen(knob->name) >= RECORD_NAME_MAX ||
			strlen(knob->value) >= RECORD_VALUE_MAX)
			return refuse(reply, -EINVAL,
				"A setting's name or value is too long; nothing is changed.");
		copy[i] = (struct safety_knob){ knob->name, knob->value };
	}
	if (policy && !may_own(core, policy))
		return refuse(reply, -ENOENT,
			"No policy of that name is attached to own the change; `semantosctl list` "
			"shows those that are. Nothing is changed.");
	guard_apply(core->guard, &rq, reply);
	/* an ejection that came in between undid what there was, and this is to follow it */
	if (policy && !reply->error && !may_own(core, policy)) {
		guard_rollback(core->guard, reply->change,
			"its policy was ejected or detached meanwhile", NULL, reply);
		if (!reply->error)
			reply->error = -ECANCELED;
	}
}

void control_rollback(struct core *core, uint64_t id, const char *because, const char *observed,
	struct control_reply *reply)
{
	guard_rollback(core->guard, id, said(because) ? because : "the operator asked",
		said(observed) ? observed : NULL, reply);
	if (!reply->error)
		tune_rolled_back(core->tuner, id);
}

struct tuner *control_tuner(struct core *core)
{
	return core->tuner;
}

void control_keep(struct core *core, uint64_t id, const char *observed, struct control_reply *reply)
{
	if (!said(observed))
		return refuse(reply, -EINVAL,
			"A change is kept for what was observed (--observed); nothing is "
			"recorded.");
	guard_keep(core->guard, id, observed, reply);
}

void control_unquarantine(struct core *core, const char *policy, struct control_reply *reply)
{
	guard_unquarantine(core->guard, policy, reply);
}

void control_shutdown(struct core *core, bool upgrade, struct control_reply *reply)
{
	snprintf(reply->text, sizeof(reply->text),
		"The agent ends, because the operator asked; every policy is detached%s.",
		upgrade ? ", changes of settings stay for the next agent" : "");
	log_info("%s", reply->text);
	if (upgrade)
		core_stop_for_upgrade(core);
	else
		core_stop(core);
}

void core_eject(void *ctx, struct policy *policy, const char *kind, const char *reason,
	const char *evidence)
{
	struct core *core = ctx;
	struct exit_record exit = { 0 };

	policy_hold(policy);
	record_text(exit.policy, sizeof(exit.policy), policy_name(policy));
	record_text(exit.kind, sizeof(exit.kind), kind);
	record_text(exit.reason, sizeof(exit.reason), reason);
	record_text(exit.evidence, sizeof(exit.evidence), evidence);
	if (!guard_eject(core->guard, &exit))
		log_error("%s is in shadow but not taken down: too much waits for the journal.",
			exit.policy);
}

void core_note(void *ctx, const char *policy, const char *from, const char *to, const char *because,
	const char *evidence, const char *expected)
{
	struct core *core = ctx;
	struct policy_event event = { 0 };
	char text[RECORD_TEXT_MAX + 128];

	record_text(event.policy, sizeof(event.policy), policy);
	record_text(event.from, sizeof(event.from), from);
	record_text(event.to, sizeof(event.to), to);
	snprintf(text, sizeof(text), "%s: %s -> %s, because %s", policy, from, to, because);
	record_text(event.sentence, sizeof(event.sentence), text);
	record_text(event.evidence, sizeof(event.evidence), evidence);
	record_text(event.expected, sizeof(event.expected), expected);
	if (strcmp(to, "detached") == 0)
		snprintf(text, sizeof(text), "semantosctl attach %s --mode %s", policy, from);
	else if (strcmp(from, "detached") == 0)
		snprintf(text, sizeof(text), "semantosctl detach %s", policy);
	else
		snprintf(text, sizeof(text), "semantosctl mode %s %s", policy, from);
	record_text(event.undo, sizeof(event.undo), text);
	if (!guard_note(core->guard, &event))
		log_error("Too much waits for the journal; it misses that %s.", event.sentence);
}

static void do_demote(void *ctx)
{
	policy_demote(ctx, "the change to its mode could not be recorded");
}

void core_unrecorded(void *ctx, const char *name)
{
	struct core *core = ctx;
	struct policy *policy;

	pthread_mutex_lock(&core->change);
	if (control_find(core, name, &policy) == 0)
		loop_call(core->loop, do_demote, policy, CONTROL_WAIT_MS);
	pthread_mutex_unlock(&core->change);
}

void core_take_down(void *ctx, const char *name)
{
	struct core *core = ctx;
	struct policy *policy;
	int err;

	pthread_mutex_lock(&core->change);
	err = control_find(core, name, &policy);
	/* somebody may have detached it, and even attached it anew, meanwhile */
	if (!err && policy_held(policy)) {
		err = control_take_down(core, policy);
		if (err)
			log_error("%s: its hooks are off, but the loop was too busy to take it "
				  "down; detach it.",
				name);
		else
			log_warn("%s: attached -> detached, because it was ejected; the kernel's "
				 "default decides.",
				name);
		if (!err)
			core_note(core, name, "shadow", "detached", "it was ejected",
				"the ejection recorded before", "the kernel's default decides");
	}
	pthread_mutex_unlock(&core->change);
}

void core_apply(void *ctx, const struct safety_request *request, struct control_reply *reply)
{
	struct core *core = ctx;

	guard_apply(core->guard, request, reply);
}

void core_undo(void *ctx, uint64_t change, const char *because, struct control_reply *reply)
{
	struct core *core = ctx;

	guard_rollback(core->guard, change, because, NULL, reply);
}
