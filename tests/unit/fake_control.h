/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_control.h - a whole agent/core/control.h with two invented policies behind it, included by one test program.
 *
 * Because it defines every function of that header, the linker takes none of the real ones. Records of a tap come
 * from a thread of its own, as they would from the loop.
 */
#ifndef SEMANTOS_TESTS_UNIT_FAKE_CONTROL_H
#define SEMANTOS_TESTS_UNIT_FAKE_CONTROL_H

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/core/control.h"

#define FAKE_DEVICES 3

static atomic_bool fake_tap_on;
static pthread_t fake_tap_thread;
static uint32_t fake_view_delay_ms;
static struct {
	control_sink *sink;
	void *ctx;
	uint64_t max_rows;
} fake_tap;

static void fake_device(struct device_view *d, unsigned int i)
{
	static const char *const names[FAKE_DEVICES] = { "nvme0n1", "vda", "pmem0" };

	snprintf(d->name, sizeof(d->name), "%s", names[i]);
	d->major = 259;
	d->minor = i;
	d->slot = i;
	d->phase = i == 0 ? DEVICE_PREDICTING : i == 1 ? DEVICE_LEARNING : DEVICE_UNSUPPORTED;
	snprintf(d->note, sizeof(d->note), "Note on device %u.", i);
	d->rows = 3412;
	d->rows_wanted = 14000;
	d->heldout_auc = d->heldout_auc_low = d->heldout_auc_pending = d->heldout_majority = NAN;
	d->score.auc = d->score.auc_pending = d->score.recall = d->score.precision = NAN;
	d->score.accuracy = d->score.majority = d->score.in_force_accuracy = NAN;
	d->latency_us_p50 = d->latency_us_p95 = d->latency_us_p99 = NAN;
	if (i != 0)
		return;
	d->has_model = d->signal = d->verdict_live = true;
	snprintf(d->model, sizeof(d->model), "linnos-nvme0n1");
	snprintf(d->trained_at, sizeof(d->trained_at), "2026-11-20T10:00:00Z");
	d->heldout_auc = 0.71;
	d->heldout_auc_low = 0.69;
	d->heldout_auc_pending = 0.60;
	d->heldout_majority = 0.85;
	d->slow_threshold_us = 1887;
	d->score.evaluated = 1234567;
	d->score.auc = 0.70;
	d->verdict_confidence = 200;
	d->latency_us_p50 = 92.5;
}

int control_view(struct core *core, const char *only, struct agent_view *view)
{
	struct policy_view *p;

	(void)core;
	usleep(fake_view_delay_ms * 1000);
	memset(view, 0, sizeof(*view));
	if (only && strcmp(only, "linnos") != 0)
		return -ENOENT;
	snprintf(view->version, sizeof(view->version), "0.1.0");
	snprintf(view->kernel, sizeof(view->kernel), "6.12.0-test");
	view->pid = (uint32_t)getpid();
	view->uptime_s = 3661;
	view->cpu_percent = 0.05;
	view->rss_bytes = 20 << 20;
	view->lease_live = true;
	view->n_policies = 1;
	p = view->policy = calloc(1, sizeof(*p));
	snprintf(p->name, sizeof(p->name), "linnos");
	snprintf(p->summary, sizeof(p->summary), "predicts slow reads");
	snprintf(p->note, sizeof(p->note), "Held in shadow: nothing here enforces yet.");
	p->mode = SEMANTOS_CANARY;
	p->canary_percent = 20;
	p->age_s = 125;
	p->delivered = 1234500;
	p->decide_us_p50 = 12.5;
	p->decide_us_p99 = NAN;
	for (unsigned int i = 0; i < SEMANTOS_C_NR; i++)
		p->counters.count[i] = 1000 + i;
	p->n_programs = 1;
	snprintf(p->program[0].name, sizeof(p->program[0].name), "on_issue");
	p->program[0].id = 42;
	p->program[0].runs = 1000000;
	p->program[0].run_ns = 155000000;
	p->n_devices = FAKE_DEVICES;
	p->device = calloc(FAKE_DEVICES, sizeof(*p->device));
	for (unsigned int i = 0; i < FAKE_DEVICES; i++)
		fake_device(&p->device[i], i);
	return 0;
}

void control_view_free(struct agent_view *view)
{
	for (uint32_t i = 0; i < view->n_policies; i++)
		free(view->policy[i].device);
	free(view->policy);
	memset(view, 0, sizeof(*view));
}

__attribute__((format(printf, 3, 4))) static void fake_say(
	struct control_reply *reply, int error, const char *fmt, ...)
{
	va_list args;

	reply->error = error;
	va_start(args, fmt);
	vsnprintf(reply->text, sizeof(reply->text), fmt, args);
	va_end(args);
}

void control_attach(
	struct core *core, const char *name, const char *mode_text, struct control_reply *reply)
{
	(void)core;
	if (strcmp(name, "linnos") == 0)
		fake_say(reply, -EEXIST, "linnos is attached already.");
	else if (strcmp(name, "broken") == 0)
		fake_say(reply, -EINVAL, "broken/policy.conf line 3: unknown key colour.");
	else
		fake_say(reply, 0, "%s: detached -> %s, because it was asked for.", name,
			mode_text ? mode_text : "manifest");
}

void control_detach(struct core *core, const char *name, struct control_reply *reply)
{
	(void)core;
	fake_say(reply, strcmp(name, "linnos") ? -ENOENT : 0, "%s: detached.", name);
}

void control_mode(
	struct core *core, const char *name, const char *mode_text, struct control_reply *reply)
{
	(void)core;
	fake_say(reply, 0, "%s: canary:20 -> %s.", name, mode_text);
}

void control_model_use(struct core *core, const char *name, const char *device, const void *bytes,
	size_t n_bytes, struct control_reply *reply)
{
	uint64_t sum = 0;

	(void)core;
	for (size_t i = 0; i < n_bytes; i++)
		sum += ((const uint8_t *)bytes)[i];
	fake_say(reply, 0, "%s %s: %zu bytes, sum %llu.", name, device, n_bytes,
		(unsigned long long)sum);
}

static void *fake_tap_main(void *arg)
{
	struct semantos_block_record rows[64];
	uint64_t n = 0;

	(void)arg;
	while (atomic_load(&fake_tap_on) && n < fake_tap.max_rows) {
		size_t k = 0;

		for (; k < 64 && n < fake_tap.max_rows; k++) {
			memset(&rows[k], 0, sizeof(rows[k]));
			rows[k].head.version = SEMANTOS_WIRE_VERSION;
			rows[k].head.bytes = sizeof(rows[k]);
			rows[k].head.kind = SEMANTOS_OUTCOME;
			rows[k].head.request_id = ++n;
			rows[k].latency_us = 100;
		}
		if (!fake_tap.sink(fake_tap.ctx, rows, k))
			break;
		usleep(1000);
	}
	return NULL;
}

uint64_t control_tap_start(struct core *core, const char *name, const char *device,
	uint64_t max_rows, control_sink *sink, void *ctx, struct control_reply *reply)
{
	(void)core;
	(void)name;
	(void)device;
	if (atomic_exchange(&fake_tap_on, true)) {
		fake_say(reply, -EBUSY, "Another tap runs.");
		return 0;
	}
	fake_tap.sink = sink;
	fake_tap.ctx = ctx;
	fake_tap.max_rows = max_rows;
	pthread_create(&fake_tap_thread, NULL, fake_tap_main, NULL);
	return 7;
}

void control_tap_stop(struct core *core, uint64_t tap)
{
	(void)core;
	(void)tap;
	atomic_store(&fake_tap_on, false);
	pthread_join(fake_tap_thread, NULL);
}

void control_shutdown(struct core *core, bool upgrade, struct control_reply *reply)
{
	(void)core;
	fake_say(reply, 0, "The agent ends: it was asked to%s.", upgrade ? ", for an upgrade" : "");
}

void control_apply(
	struct core *core, const struct control_change *change, struct control_reply *reply)
{
	const struct control_knob *knob = change->knob;
	const char *mode = change->mode, *because = change->because;
	size_t n = change->n;

	(void)core;
	if (n > 8)
		return fake_say(reply, -EINVAL, "A change has 1 to 8 settings.");
	if (strcmp(knob[0].name, "sysctl:vm.unknown") == 0)
		return fake_say(reply, -ENOENT, "No such setting is offered.");
	reply->change = 42;
	fake_say(reply, 0,
		"Change 42 of %s: %zu settings, first %s=%s, %s, because %s, on %s, for %s.",
		*change->policy ? change->policy : "operator", n, knob[0].name, knob[0].value,
		*mode ? mode : "auto", because, *change->evidence ? change->evidence : "nothing",
		*change->expected ? change->expected : "nothing");
}

void control_rollback(struct core *core, uint64_t id, const char *because, const char *observed,
	struct control_reply *reply)
{
	(void)core;
	(void)because;
	fake_say(reply, id == 42 ? 0 : -ENOENT, "Change %llu%s%s.", (unsigned long long)id,
		*observed ? " observed " : "", observed);
}

void control_keep(struct core *core, uint64_t id, const char *observed, struct control_reply *reply)
{
	(void)core;
	fake_say(reply, id == 42 ? 0 : -ENOENT, "Change %llu kept: %s.", (unsigned long long)id,
		observed);
}

void control_unquarantine(struct core *core, const char *policy, struct control_reply *reply)
{
	(void)core;
	fake_say(reply, strcmp(policy, "broken") ? -ENOENT : 0, "%s: quarantined -> allowed.",
		policy);
}

static struct tuner *fake_tuner;

struct tuner *control_tuner(struct core *core)
{
	(void)core;
	return fake_tuner;
}

int control_parse_mode(const char *text, enum semantos_mode *mode, uint32_t *canary_percent)
{
	unsigned int percent = 0;

	*canary_percent = 0;
	if (strcmp(text, "shadow") == 0)
		*mode = SEMANTOS_SHADOW;
	else if (strcmp(text, "enforce") == 0)
		*mode = SEMANTOS_ENFORCE;
	else if (sscanf(text, "canary:%u", &percent) == 1 && percent >= 1 && percent <= 99)
		*mode = SEMANTOS_CANARY;
	else
		return -EINVAL;
	*canary_percent = percent;
	return 0;
}

const char *control_mode_name(enum semantos_mode mode)
{
	return mode == SEMANTOS_SHADOW ? "shadow" : mode == SEMANTOS_CANARY ? "canary" : "enforce";
}

#endif
