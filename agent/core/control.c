/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - calls from other threads, carried to the loop's thread.
 *
 * `change` is held by whoever alters the set of policies, for the whole alteration; the loop's thread never takes it,
 * so it cannot be held up by a slow load.
 */
#include "agent/core/core_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "agent/util/log.h"

int control_parse_mode(const char *text, enum semantos_mode *mode, uint32_t *canary_percent)
{
	unsigned int percent;
	int used = 0;

	*canary_percent = 0;
	if (strcmp(text, "shadow") == 0) {
		*mode = SEMANTOS_SHADOW;
	} else if (strcmp(text, "enforce") == 0) {
		*mode = SEMANTOS_ENFORCE;
	} else if (sscanf(text, "canary:%2u%n", &percent, &used) == 1 && !text[used] &&
		   isdigit((unsigned char)text[sizeof("canary:") - 1]) && percent >= 1 &&
		   percent <= 99) {
		*mode = SEMANTOS_CANARY;
		*canary_percent = percent;
	} else {
		return -EINVAL;
	}
	return 0;
}

const char *control_mode_name(enum semantos_mode mode)
{
	static const char *const names[] = { "shadow", "canary", "enforce" };

	return mode <= SEMANTOS_ENFORCE ? names[mode] : "unknown";
}

__attribute__((format(printf, 3, 4))) static void answer(
	struct control_reply *reply, int error, const char *fmt, ...)
{
	va_list args;

	reply->error = error;
	va_start(args, fmt);
	vsnprintf(reply->text, sizeof(reply->text), fmt, args);
	va_end(args);
}

static void answer_lost(struct control_reply *reply, int err)
{
	answer(reply, err,
		err == -ESHUTDOWN
			? "The agent is ending."
			: "The agent was too busy to answer in time; nothing was changed.");
}

/* One struct for all calls; each uses what it needs. */
struct call {
	struct core *core;
	const char *name, *device;
	struct policy *policy;
	const void *bytes;
	size_t n_bytes;
	enum semantos_mode mode;
	uint32_t canary_percent;
	uint64_t id, max_rows;
	control_sink *sink;
	void *sink_ctx;
	struct control_reply *reply;
	struct agent_view *view;
	int err;
	char error[256];
};

static void no_such(struct call *call)
{
	answer(call->reply, -ENOENT,
		"No policy called %.31s is attached; `semantosctl list` shows those that are.",
		call->name);
}

static uint64_t resident_bytes(void)
{
	unsigned long long size, resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (file) {
		if (fscanf(file, "%llu %llu", &size, &resident) != 2)
			resident = 0;
		fclose(file);
	}
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t boot_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void do_view(void *ctx)
{
	struct call *call = ctx;
	struct core *core = call->core;
	struct agent_view *view = call->view;
	struct timespec now;
	struct rusage usage;
	struct utsname name;
	double elapsed;

	memset(view, 0, sizeof(*view));
	view->policy = calloc(core->n_policies ? core->n_policies : 1, sizeof(*view->policy));
	if (!view->policy) {
		call->err = -ENOMEM;
		return;
	}
	uname(&name);
	snprintf(view->version, sizeof(view->version), "%s", SEMANTOS_VERSION);
	snprintf(view->kernel, sizeof(view->kernel), "%.63s", name.release);
	if (core->options.control != PLACEBO_NONE)
		snprintf(view->control, sizeof(view->control), "%s",
			placebo_name(core->options.control));
	view->pid = (uint32_t)getpid();
	clock_gettime(CLOCK_MONOTONIC, &now);
	elapsed = (double)(now.tv_sec - core->since.tv_sec) +
		  (double)(now.tv_nsec - core->since.tv_nsec) / 1e9;
	view->uptime_s = (uint64_t)elapsed;
	getrusage(RUSAGE_SELF, &usage);
	view->cpu_percent =
		elapsed > 0 ? 100.0 *
				      ((double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
					      (double)(usage.ru_utime.tv_usec +
						       usage.ru_stime.tv_usec) /
						      1e6) /
				      elapsed
			    : 0;
	view->rss_bytes = resident_bytes();
	view->lease_live = semantos_lease_alive(core->lease.row->expires_ns, boot_now_ns());
	view->unaccounted = core->unaccounted;
	view->lease_renewals = core->lease.row->renewals;
	for (uint32_t i = 0; i < core->n_policies; i++) {
		if (call->name && strcmp(call->name, policy_name(core->policy[i])))
			continue;
		call->err = policy_view(
			core->policy[i], view->lease_live, &view->policy[view->n_policies]);
		if (call->err)
			return;
		view->n_policies++;
	}
	if (call->name && !view->n_policies)
		call->err = -ENOENT;
}

int control_view(struct core *core, const char *only, struct agent_view *view)
{
	struct call call = { .core = core, .name = only, .view = view };
	int err;

	memset(view, 0, sizeof(*view));
	err = loop_call(core->loop, do_view, &call, CONTROL_WAIT_MS);
	if (!err)
		err = call.err;
	if (!err)
		err = guard_view(core->guard, view);
	if (err)
		control_view_free(view);
	return err;
}

void control_view_free(struct agent_view *view)
{
	for (uint32_t i = 0; i < view->n_policies; i++) {
		free(view->policy[i].device);
		free(view->policy[i].watch.finding);
	}
	free(view->policy);
	free(view->change);
	free(view->quarantined);
	memset(view, 0, sizeof(*view));
}

static void do_find(void *ctx)
{
	struct call *call = ctx;

	call->policy = core_policy(call->core, call->name);
	call->id = call->core->n_policies;
}

static void do_join(void *ctx)
{
	struct call *call = ctx;
	struct core *core = call->core;

	call->err = policy_join(call->policy, call->error, sizeof(call->error));
	if (call->err)
		return;
	core->policy[core->n_policies++] = call->policy;
	policy_sync_disks(call->policy, core->disks, core->n_disks);
}

static void do_leave(void *ctx)
{
	struct call *call = ctx;
	struct core *core = call->core;

	for (uint32_t i = 0; i < core->n_policies; i++) {
		if (core->policy[i] != call->policy)
			continue;
		core->policy[i] = core->policy[--core->n_policies];
		policy_leave(call->policy);
		return;
	}
	call->err = -ENOENT;
}

/* Find the manifest, load, join, hook on; whatever fails takes back what was done before it. */
static void attach(
	struct core *core, const char *name, const char *text, struct control_reply *reply)
{
	struct policy_env env = { core->loop, core->trainer, &core->lease, &core->options,
		core_active, core_eject, core_note, core, core_apply, core_undo };
	struct call call = { .core = core, .name = name, .reply = reply };
	struct manifest *manifest = calloc(1, sizeof(*manifest));
	char mode_now[POLICY_MODE_LEN];
	enum semantos_mode mode;
	uint32_t percent;
	int err;

	if (!manifest)
		return answer(reply, -ENOMEM, "Out of memory.");
	err = loop_call(core->loop, do_find, &call, CONTROL_WAIT_MS);
	if (err) {
		answer_lost(reply, err);
		goto out;
	}
	if (call.policy) {
		answer(reply, -EEXIST,
			"%.31s is attached already; detach it first, or change its mode.", name);
		goto out;
	}
	if (call.id >= CONTROL_MAX_POLICIES) {
		answer(reply, -ENOSPC,
			"%d policies are attached, which is the most; detach one first.",
			CONTROL_MAX_POLICIES);
		goto out;
	}
	err = manifest_find(
		core->options.policy_path, name, manifest, call.error, sizeof(call.error));
	if (err) {
		answer(reply, err, "%s", call.error);
		goto out;
	}
	if (control_parse_mode(text && *text ? text : manifest->mode, &mode, &percent)) {
		answer(reply, -EINVAL,
			"'%.20s' is no mode; shadow, canary:N (1 to 99) and enforce are.", text);
		goto out;
	}
	call.policy =
		policy_open(&env, manifest, mode, percent, &err, call.error, sizeof(call.error));
	if (!call.policy) {
		answer(reply, err, "%.31s is not attached: %s", name, call.error);
		goto out;
	}
	err = loop_call(core->loop, do_join, &call, CONTROL_WAIT_MS);
	if (err || call.err) {
		if (err)
			answer_lost(reply, err);
		else
			answer(reply, call.err, "%.31s is not attached: %s", name, call.error);
		policy_close(call.policy);
		goto out;
	}
	err = policy_attach(call.policy, call.error, sizeof(call.error));
	if (err) {
		answer(reply, err, "%.31s is not attached: %s", name, call.error);
		/* Were the loop gone, core_run() would take it down with the rest. */
		if (loop_call(core->loop, do_leave, &call, CONTROL_WAIT_MS) == 0)
			policy_close(call.policy);
		goto out;
	}
	err = core_sched_match(core, call.policy, call.error, sizeof(call.error));
	if (err) {
		answer(reply, err, "%.31s is not attached: %s", name, call.error);
		control_take_down(core, call.policy);
		goto out;
	}
	core_volume_up(core, call.policy); /* what hinders it is in the log, and tried again */
	policy_mode_text(mode, percent, mode_now);
	answer(reply, 0, "%.31s: detached -> %s, because it was asked for.", name, mode_now);
	log_info("%s", reply->text);
	core_note(core, name, "detached", mode_now, "it was asked for", manifest->summary,
		manifest_is_sched(manifest)
			? "its hook hears the kernel's own answers; see `semantosctl status`"
			: "its hooks see every read of the disks it follows; see `semantosctl "
			  "status`");
out:
	free(manifest);
}

/* What cannot be found or read is refused later, with its own sentence. */
static bool shadow_only(struct core *core, const char *name, const char *text)
{
	struct manifest *manifest = calloc(1, sizeof(*manifest));
	char unused[256];
	bool shadow = true;

	if (text && *text)
		shadow = strcmp(text, "shadow") == 0;
	else if (manifest && manifest_find(core->options.policy_path, name, manifest, unused,
				     sizeof(unused)) == 0)
		shadow = strcmp(manifest->mode, "shadow") == 0;
	free(manifest);
	return shadow;
}

void control_attach(
	struct core *core, const char *name, const char *mode_text, struct control_reply *reply)
{
	for (;;) {
		uint64_t epoch = guard_epoch(core->guard);

		/* Not under `change`: the guard takes it to take an ejected policy down. */
		memset(reply, 0, sizeof(*reply));
		guard_admit(core->guard, name, shadow_only(core, name, mode_text), reply);
		if (reply->error)
			return;
		pthread_mutex_lock(&core->change);
		if (epoch == guard_epoch(core->guard))
			break;
		pthread_mutex_unlock(&core->change);
	}
	attach(core, name, mode_text, reply);
	pthread_mutex_unlock(&core->change);
}

int control_find(struct core *core, const char *name, struct policy **policy)
{
	struct call call = { .core = core, .name = name };
	int err = loop_call(core->loop, do_find, &call, CONTROL_WAIT_MS);

	*policy = call.policy;
	return err ? err : call.policy ? 0 : -ENOENT;
}

int control_take_down(struct core *core, struct policy *policy)
{
	struct call call = { .core = core, .policy = policy };
	bool scheduled = policy_sched_on(policy);
	int err;

	policy_detach(policy);
	if (scheduled)
		core_sched_left(core);
	err = loop_call(core->loop, do_leave, &call, CONTROL_WAIT_MS);
	if (err)
		return err;
	core->unaccounted += policy_audit(policy);
	policy_close(policy);
	return 0;
}

void control_detach(struct core *core, const char *name, struct control_reply *reply)
{
	struct call call = { .core = core, .name = name, .reply = reply };
	char from[POLICY_MODE_LEN];
	int err;

	pthread_mutex_lock(&core->change);
	err = control_find(core, name, &call.policy);
	if (err == -ENOENT) {
		no_such(&call);
	} else if (err) {
		answer_lost(reply, err);
	} else {
		/* the loop's thread may change it meanwhile; then the journal has that as well */
		policy_mode_now(call.policy, from);
		err = control_take_down(core, call.policy);
		if (err) {
			answer_lost(reply, err);
			snprintf(reply->text, sizeof(reply->text),
				"%.31s: its hooks are off, but the agent was too busy to take it "
				"down; detach it again.",
				name);
		} else {
			answer(reply, 0,
				"%.31s: attached -> detached, because the operator asked; the "
				"kernel's default decides.",
				name);
			log_info("%s", reply->text);
			core_note(core, name, from, "detached", "the operator asked", NULL,
				"the kernel's default decides");
		}
	}
	pthread_mutex_unlock(&core->change);
}

static void do_mode(void *ctx)
{
	struct call *call = ctx;
	struct policy *policy = core_policy(call->core, call->name);

	if (policy)
		policy_set_mode(policy, call->mode, call->canary_percent, call->reply);
	else
		no_such(call);
}

/* A mode that a scheduler must be taken on or off for; where that fails the policy is back in shadow. */
static void mode_carry_out(struct core *core, struct call *call)
{
	struct control_reply *reply = call->reply, back = { 0 };
	struct call shadow = {
		.core = core, .name = call->name, .mode = SEMANTOS_SHADOW, .reply = &back
	};
	char error[256];
	int err;

	pthread_mutex_lock(&core->change);
	err = control_find(core, call->name, &call->policy);
	err = err ? 0 : core_sched_match(core, call->policy, error, sizeof(error));
	if (err)
		loop_call(core->loop, do_mode, &shadow, CONTROL_WAIT_MS);
	pthread_mutex_unlock(&core->change);
	if (err)
		answer(reply, err, "%.31s stays in shadow: %s", call->name, error);
}

void control_mode(
	struct core *core, const char *name, const char *mode_text, struct control_reply *reply)
{
	struct call call = { .core = core, .name = name, .reply = reply };
	int err;

	if (control_parse_mode(mode_text, &call.mode, &call.canary_percent))
		return answer(reply, -EINVAL,
			"'%.20s' is no mode; shadow, canary:N (1 to 99) and enforce are.",
			mode_text);
	err = loop_call(core->loop, do_mode, &call, CONTROL_WAIT_MS);
	if (err)
		answer_lost(reply, err);
	else if (!reply->error)
		mode_carry_out(core, &call);
}

static void do_use_model(void *ctx)
{
	struct call *call = ctx;
	struct policy *policy = core_policy(call->core, call->name);

	if (policy)
		policy_use_model(policy, call->device, call->bytes, call->n_bytes, call->reply);
	else
		no_such(call);
}

void control_model_use(struct core *core, const char *name, const char *device, const void *bytes,
	size_t n_bytes, struct control_reply *reply)
{
	struct call call = { .core = core,
		.name = name,
		.device = device,
		.bytes = bytes,
		.n_bytes = n_bytes,
		.reply = reply };
	int err = loop_call(core->loop, do_use_model, &call, CONTROL_WAIT_MS);

	if (err)
		answer_lost(reply, err);
}

static void do_tap(void *ctx)
{
	struct call *call = ctx;
	struct policy *policy = core_policy(call->core, call->name);

	if (!policy)
		return no_such(call);
	call->id = policy_tap_start(policy, ++call->core->next_tap, call->device, call->max_rows,
		call->sink, call->sink_ctx, call->reply);
}

uint64_t control_tap_start(struct core *core, const char *name, const char *device,
	uint64_t max_rows, control_sink *sink, void *ctx, struct control_reply *reply)
{
	struct call call = {
		.core = core,
		.name = name,
		.device = device,
		.max_rows = max_rows,
		.sink = sink,
		.sink_ctx = ctx,
		.reply = reply,
	};
	int err;

	memset(reply, 0, sizeof(*reply));
	if (!max_rows) {
		answer(reply, -EINVAL, "A capture needs at least one row.");
		return 0;
	}
	err = loop_call(core->loop, do_tap, &call, CONTROL_WAIT_MS);
	if (err)
		answer_lost(reply, err);
	return err ? 0 : call.id;
}

static void do_tap_stop(void *ctx)
{
	struct call *call = ctx;

	for (uint32_t i = 0; i < call->core->n_policies; i++)
		if (policy_tap_stop(call->core->policy[i], call->id))
			return;
}

void control_tap_stop(struct core *core, uint64_t tap)
{
	struct call call = { .core = core, .id = tap };

	/* The sink's memory is the caller's: it must be certain. A loop that ended runs no sink. */
	while (loop_call(core->loop, do_tap_stop, &call, CONTROL_WAIT_MS) == -ETIMEDOUT)
		log_warn("The agent's loop has not answered for %d ms.", CONTROL_WAIT_MS);
}
