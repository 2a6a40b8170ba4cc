/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device_harness.h - one device with the real trainer, and a kernel side that is a slot row and what it was told.
 *
 * Included by one test program; everything here is of its single thread but the trainer's own.
 */
#ifndef SEMANTOS_TESTS_DEVICE_HARNESS_H
#define SEMANTOS_TESTS_DEVICE_HARNESS_H

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/core/device_internal.h"
#include "agent/util/log.h"
#include "tests/unit/synthetic.h"

#define ROWS 4000 /* the least the test device learns from */
#define SLOT 3

static struct manifest manifest;
static struct learn_recipe recipe;
static struct loop *loop;
static struct trainer *trainer;
static struct semantos_verdict_row verdict;
static struct semantos_slot slot;
static int obeyed, chooses; /* what was told last; -1 = nothing */
static bool decides_volumes;
static int bumps;
static char state_dir[64], said[8192];
static const struct disk disk = {
	.name = "test0", .major = 259, .minor = 3, .identity = "serial_1", .supported = true
};

static void on_sentence(void *ctx, enum log_level level, const char *sentence)
{
	size_t n = strlen(said);

	(void)ctx, (void)level;
	snprintf(said + n, sizeof(said) - n, "%s\n", sentence);
}

static void bump(void *ctx, uint32_t which)
{
	(void)ctx;
	assert_int_equal(which, SLOT);
	slot.generation = (slot.generation + 1) & SEMANTOS_GENERATION_MASK;
	bumps++;
}

static void obey(void *ctx, uint32_t which, bool value, bool choose)
{
	(void)ctx;
	assert_int_equal(which, SLOT);
	obeyed = value;
	chooses = choose;
}

static bool decides_now(void *ctx)
{
	(void)ctx;
	return decides_volumes;
}

static void remove_state(void)
{
	DIR *dir = opendir(state_dir);
	struct dirent *entry;
	char path[400];

	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", state_dir, entry->d_name);
		if (entry->d_name[0] != '.')
			unlink(path);
	}
	if (dir)
		closedir(dir);
	rmdir(state_dir);
}

static int setup(void **state)
{
	static const char text[] =
		"[policy]\nname = test\nobject = test.bpf.o\nwire = 1\n"
		"ttl_ms = 40\n[model]\nencoder = latency-ages\nhidden = 32\n"
		"[learn]\nmin_rows = 4000\nmax_rows = 8000\nmargin = 0.02\nmin_seconds = 1\n"
		"epochs = 12\nbatch = 64\n[evaluate]\nwindow = 512\n"
		"floor_rows = 256\ndrift = 0.10\n[batch]\nmax = 64\n";
	char error[256];

	(void)state;
	if (manifest_parse(text, "/nowhere", &manifest, error, sizeof(error)) ||
		manifest_recipe(&manifest, &recipe, error, sizeof(error)))
		return -1;
	strcpy(state_dir, "/tmp/semantos-device-XXXXXX");
	if (!mkdtemp(state_dir))
		return -1;
	memset(&verdict, 0, sizeof(verdict));
	memset(&slot, 0, sizeof(slot));
	slot.generation = 7;
	obeyed = chooses = -1;
	decides_volumes = false;
	bumps = 0;
	said[0] = 0;
	log_set_sink(on_sentence, NULL);
	loop = loop_new();
	trainer = trainer_new(loop);
	return !trainer;
}

static int teardown(void **state)
{
	(void)state;
	trainer_free(trainer);
	loop_free(loop);
	log_set_sink(NULL, NULL);
	remove_state();
	return 0;
}

static struct device *device_open(void)
{
	struct device_env env = { .manifest = &manifest,
		.recipe = &recipe,
		.trainer = trainer,
		.state_dir = state_dir,
		.verdict = &verdict,
		.slot = &slot,
		.bump = bump,
		.obey = obey,
		.decides = decides_now };
	struct device *device = device_new(&env, &disk, SLOT);

	assert_non_null(device);
	return device;
}

static void stop_when_trained(void *ctx)
{
	if (!((struct device *)ctx)->job)
		loop_stop(loop);
}

/* A loop runs once: it is run until the training is through, and the next one takes its place. */
static void wait_trained(struct device *device)
{
	assert_non_null(device->job);
	assert_non_null(loop_add_timer(loop, 10000000, stop_when_trained, device));
	assert_int_equal(loop_run(loop), 0);
	trainer_free(trainer);
	loop_free(loop);
	loop = loop_new();
	trainer = trainer_new(loop);
	assert_non_null(trainer);
	device->env.trainer = trainer;
}

static uint64_t clock_ns = 1000000000; /* issue time of the next read */

/*
 * Up to n reads of a made-up disk, in order of completion, each judged at once; a tick every second of their time.
 * Ends early when `until_training` and a training begins.
 */
static void feed_some(
	struct device *device, const struct synthetic *made, size_t n, bool until_training)
{
	struct semantos_block_record *reads = synthetic_reads(made, n, clock_ns);
	uint64_t second = clock_ns / 1000000000;
	static uint64_t id;

	for (size_t i = 0; i < n && !(until_training && device->job); i++) {
		struct semantos_block_record request;

		reads[i].head.request_id = ++id;
		reads[i].head.generation = slot.generation;
		request = synthetic_request(&reads[i]);
		device_on_request(device, &request);
		device_flush(device);
		device_on_outcome(device, &reads[i]);
		device_flush(device);
		if (reads[i].head.ts_ns > clock_ns)
			clock_ns = reads[i].head.ts_ns;
		if (clock_ns / 1000000000 != second) {
			second = clock_ns / 1000000000;
			device_tick(device, true);
		}
	}
	clock_ns += 1000000;
	free(reads);
}

static void feed(struct device *device, const struct synthetic *made, size_t n)
{
	feed_some(device, made, n, false);
}

static void feed_and_train(struct device *device, const struct synthetic *made)
{
	feed_some(device, made, 6 * ROWS, true);
	wait_trained(device);
}

static const struct synthetic steady = { .seed = 1, .memory = true };

static struct device_view view_of(struct device *device)
{
	struct device_view view;

	device_view(device, true, true, &view);
	return view;
}

/* Attach, learn from a disk, use the model. */
static struct device *learned(const struct synthetic *made)
{
	struct device *device = device_open();

	feed_and_train(device, made);
	assert_non_null(device->model);
	return device;
}

#endif
