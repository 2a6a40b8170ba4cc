/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_harness.h - for api_harness.h: a server with the real tuner, guard, journal and keeper on a fake root, and the
 * advisor's user where the machine has none. Included by one test program each, after api_harness.h.
 */
#ifndef SEMANTOS_TESTS_UNIT_TUNE_HARNESS_H
#define SEMANTOS_TESTS_UNIT_TUNE_HARNESS_H

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/core/guard.h"
#include "agent/core/tune.h"
#include "tests/unit/safety_root.h"

static struct fake f;
static char tuner_file[100];

static void *run_loop(void *arg)
{
	loop_run(arg);
	return NULL;
}

/* In the server's process, as harness_telemetry. It ends without a word: the keeper undoes what is left. */
static struct telemetry *make_tuner(void)
{
	static struct guard_options options;
	struct tuner_options tuner = { .root = f.root, .file = tuner_file };
	pthread_t thread;

	options = (struct guard_options){
		.dir = f.dir, .root = f.root, .keeper = "/proc/self/exe", .loop = loop_new()
	};
	tuner.ops = tune_ops(guard_new(&options));
	fake_tuner = tuner_new(&tuner);
	if (!tuner.ops.ctx || !fake_tuner || pthread_create(&thread, NULL, run_loop, options.loop))
		_exit(7);
	return NULL;
}

#ifdef ADVISOR_UID
/* The advisor's user, in a copy of /etc/passwd that only this process and its children see. */
static bool private_user(void)
{
	char path[100], line[512];
	FILE *from = fopen("/etc/passwd", "r"), *to;

	snprintf(path, sizeof(path), "%s/passwd", folder);
	to = fopen(path, "w");
	if (!from || !to)
		return false;
	while (fgets(line, sizeof(line), from)) {
		if (strncmp(line, "semantos-advisor:", 17) != 0)
			fputs(line, to);
	}
	fprintf(to, "semantos-advisor:x:%d:%d::/nonexistent:/usr/sbin/nologin\n", ADVISOR_UID,
		ADVISOR_UID);
	fclose(from);
	fclose(to);
	chmod(path, 0644);
	return mount(path, "/etc/passwd", NULL, MS_BIND, NULL) == 0;
}
#endif

#endif
