/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard_agent.h - an agent with the real loop, guard and keeper on a fake root, which obeys what the test orders.
 *
 * Runs in a child; `shared` is how both talk. Included by one test program.
 */
#ifndef TESTS_GUARD_AGENT_H
#define TESTS_GUARD_AGENT_H

#include <dirent.h>
#include <pthread.h>
#include <time.h>
#include "agent/core/guard.h"
#include "tests/unit/safety_root.h"

enum order { NOTHING, APPLY, HANG, END, UPGRADE };

static struct fake f;
static struct shared {
	volatile int order, done, error, in_force, keepers;
	volatile uint64_t change;
	char text[CONTROL_TEXT_LEN];
} *shared;

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void nap(unsigned int ms)
{
	usleep(ms * 1000);
}

static bool reads(const char *file, const char *text)
{
	return file_reads(f.root, file, text);
}

/* Processes this one started. */
static int children(void)
{
	char path[64], line[64];
	int n = 0, pid = (int)getpid();
	FILE *file;
	DIR *tasks;
	struct dirent *task;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks && (task = readdir(tasks))) {
		char name[400];

		snprintf(name, sizeof(name), "%s/%s/children", path, task->d_name);
		file = task->d_name[0] == '.' ? NULL : fopen(name, "re");
		while (file && fscanf(file, "%63s", line) == 1)
			n++;
		if (file)
			fclose(file);
	}
	if (tasks)
		closedir(tasks);
	return n;
}

/* ---- the agent ---- */

struct agent {
	struct loop *loop;
	struct guard *guard;
	struct loop_source *tick;
	enum safety_end end;
};

static void on_tick(void *ctx)
{
	guard_tick(((struct agent *)ctx)->guard);
}

static void hang(void *ctx)
{
	(void)ctx;
	for (;;)
		pause();
}

static void apply(struct agent *a, const char *value, struct control_reply *reply)
{
	const struct safety_knob knob = { SWAPPINESS, value };
	const struct safety_request rq = { .owner = "operator",
		.mode = CHANGE_AUTO,
		.knob = &knob,
		.n_knobs = 1,
		.because = "a test asks for it" };

	memset(reply, 0, sizeof(*reply));
	guard_apply(a->guard, &rq, reply);
}

static void look(struct agent *a)
{
	struct agent_view view = { 0 };

	if (guard_view(a->guard, &view))
		_exit(3);
	shared->in_force = (int)view.n_changes;
	free(view.change);
	free(view.quarantined);
}

static void *obey(void *arg)
{
	struct agent *a = arg;

	for (;;) {
		struct control_reply reply = { 0 };
		int order = shared->order;

		shared->order = NOTHING;
		look(a);
		switch (order) {
		case APPLY:
			shared->keepers = children();
			apply(a, "010", &reply);
			shared->error = reply.error;
			shared->change = reply.change;
			strcpy(shared->text, reply.text);
			look(a);
			shared->done = 1;
			break;
		case HANG:
			shared->done = 1;
			loop_call(a->loop, hang, NULL, 600000);
			break;
		case END:
		case UPGRADE:
			a->end = order == UPGRADE ? SAFETY_UPGRADE : SAFETY_STOP;
			loop_stop(a->loop);
			return NULL;
		default:
			nap(2);
		}
	}
}

static int agent_main(void)
{
	struct agent a = { .loop = loop_new() };
	const struct guard_options options = {
		.dir = f.dir, .root = f.root, .keeper = "/proc/self/exe", .loop = a.loop
	};
	pthread_t thread;

	a.guard = guard_new(&options);
	a.tick = loop_add_timer(a.loop, 200000000ULL, on_tick, &a);
	if (!a.guard || !a.tick || pthread_create(&thread, NULL, obey, &a))
		return 2;
	loop_run(a.loop);
	pthread_join(thread, NULL);
	guard_end(a.guard, a.end);
	guard_free(a.guard);
	loop_free(a.loop);
	return 0;
}

#endif
