// SPDX-License-Identifier: Apache-2.0
/*
 * policy_mode.c - how far a policy is obeyed: set by an operator, or by what its canary's consumers report.
 *
 * Every change is handed to policy_env.noted for the journal. The loop's thread.
 */
#include "agent/core/policy_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "agent/util/log.h"

void policy_mode_text(enum semantos_mode mode, uint32_t canary_percent, char text[POLICY_MODE_LEN])
{
	if (mode == SEMANTOS_CANARY)
		snprintf(text, POLICY_MODE_LEN, "canary:%u", canary_percent);
	else
		snprintf(text, POLICY_MODE_LEN, "%s", control_mode_name(mode));
}

void policy_mode_now(const struct policy *policy, char text[POLICY_MODE_LEN])
{
	policy_mode_text(policy->mode, policy->canary_percent, text);
}

/* What speaks for its devices' models at this moment, into text; how many have one, and one with signal. */
static void weigh(
	const struct policy *policy, uint32_t *judged, uint32_t *ready, char *text, size_t text_len)
{
	size_t len = 0;

	*judged = *ready = 0;
	text[0] = '\0';
	for (uint32_t slot = 0; slot < policy->n_slots; slot++) {
		struct device_view view;

		if (!policy->device[slot])
			continue;
		device_view(policy->device[slot], true, false, &view);
		if (!view.has_model)
			continue;
		(*judged)++;
		*ready += view.signal;
		if (len < text_len)
			len += (size_t)snprintf(text + len, text_len - len,
				"%s%s: held-out AUC %.2f, %s alone %.2f, %s", len ? "; " : "",
				view.name, view.heldout_auc, view.baseline,
				view.heldout_auc_pending, view.signal ? "signal" : "no signal");
	}
	if (!*judged)
		snprintf(text, text_len, "%s",
			policy->watch ? "its references tell benign windows from others"
				      : "no device has a model yet");
}

static const char *expectation(enum semantos_mode mode)
{
	switch (mode) {
	case SEMANTOS_CANARY:
		return "treated requests are faster than the control group; promoted or demoted by "
		       "the "
		       "difference that consumers report";
	case SEMANTOS_ENFORCE:
		return "every request may be treated, where the device's model is above its floor";
	default:
		return "nothing obeys its verdicts";
	}
}

static int refuse(struct policy *policy, struct control_reply *reply, int err, const char *why)
{
	char now[POLICY_MODE_LEN];

	policy_mode_text(policy->mode, policy->canary_percent, now);
	reply->error = err;
	snprintf(reply->text, sizeof(reply->text), "%s stays in %s: %s.", policy_name(policy), now,
		why);
	return err;
}

/* evidence: NULL = what the models have shown. */
static int set_mode(struct policy *policy, enum semantos_mode mode, uint32_t canary_percent,
	const char *because, const char *evidence, struct control_reply *reply)
{
	enum semantos_mode old_mode = policy->mode;
	uint32_t old_percent = policy->canary_percent, ready, judged;
	char from[POLICY_MODE_LEN], to[POLICY_MODE_LEN], models[400], why[128];

	policy_mode_text(old_mode, old_percent, from);
	policy_mode_text(mode, canary_percent, to);
	if (policy_held(policy)) {
		reply->error = -EPERM;
		snprintf(reply->text, sizeof(reply->text),
			"%s is ejected and about to be detached.", policy_name(policy));
		return -EPERM;
	}
	if (strcmp(from, to) == 0) {
		snprintf(reply->text, sizeof(reply->text), "%s is in %s already.",
			policy_name(policy), to);
		return reply->error = 0;
	}
	weigh(policy, &judged, &ready, models, sizeof(models));
	if (mode != SEMANTOS_SHADOW && judged && !ready)
		return refuse(policy, reply, -EPERM,
			"no model of it predicts better than the baselines, so it can be promoted "
			"to nothing");
	if (mode != SEMANTOS_SHADOW && policy->watch && !watch_signal(policy->watch))
		return refuse(policy, reply, -EPERM,
			"its references do not tell anything apart yet, so nothing may be acted "
			"on");
	policy->mode = mode;
	policy->canary_percent = mode == SEMANTOS_CANARY ? canary_percent : 0;
	reply->error = policy_push_row(policy);
	if (reply->error) {
		policy->mode = old_mode;
		policy->canary_percent = old_percent;
		snprintf(why, sizeof(why), "the kernel side refused: %s", strerror(-reply->error));
		return refuse(policy, reply, reply->error, why);
	}
	if (policy->bpf.devices)
		trial_begin(&policy->trial, policy->bpf.trial);
	snprintf(reply->text, sizeof(reply->text), "%s: %s -> %s, because %s.", policy_name(policy),
		from, to, because);
	log_info("%s", reply->text);
	if (policy->env.noted)
		policy->env.noted(policy->env.active_ctx, policy_name(policy), from, to, because,
			evidence ? evidence : models, expectation(mode));
	return 0;
}

int policy_set_mode(struct policy *policy, enum semantos_mode mode, uint32_t canary_percent,
	struct control_reply *reply)
{
	return set_mode(policy, mode, canary_percent, "the operator asked for it", NULL, reply);
}

void policy_demote(struct policy *policy, const char *because)
{
	struct control_reply reply = { 0 };

	if (policy->mode != SEMANTOS_SHADOW &&
		set_mode(policy, SEMANTOS_SHADOW, 0, because, because, &reply))
		log_error("%s", reply.text);
}

void policy_try(struct policy *policy)
{
	enum placebo_kind control = policy->env.options->control;
	struct control_reply reply = { 0 };
	enum canary_decision decision;
	char why[256];

	if (policy->mode != SEMANTOS_CANARY || policy_held(policy))
		return;
	decision = trial_tick(&policy->trial, policy->bpf.trial, why, sizeof(why));
	if (decision == CANARY_WAIT)
		return;
	if (decision == CANARY_NO_GAIN) {
		log_info("%s stays in canary: no difference could be shown: %s.",
			policy_name(policy), why);
		return;
	}
	/* a control that knows nothing is a measurement and nothing to promote */
	if (decision == CANARY_PROMOTE && control != PLACEBO_NONE) {
		log_warn(
			"%s stays in canary: the control '%s' in the model's place gains too, so a "
			"gain is not the model's: %s.",
			policy_name(policy), placebo_name(control), why);
		return;
	}
	if (set_mode(policy, decision == CANARY_PROMOTE ? SEMANTOS_ENFORCE : SEMANTOS_SHADOW, 0,
		    decision == CANARY_PROMOTE ? "its canary was faster than the control group"
					       : "its canary was slower than the control group",
		    why, &reply))
		log_warn("%s", reply.text);
}
