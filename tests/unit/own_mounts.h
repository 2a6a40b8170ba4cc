/* SPDX-License-Identifier: Apache-2.0 */
/*
 * own_mounts.h - runs a function in a child with mounts of its own, which end with it. As root, or where user namespaces
 * are permitted. One thread.
 */
#ifndef TESTS_OWN_MOUNTS_H
#define TESTS_OWN_MOUNTS_H

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of a coverage build: write the counts, which _exit() does not. */
void __gcov_dump(void) __attribute__((weak));

/* Without this a user's own files are nobody's there. */
static inline int own_mounts_as_user(void)
{
	uid_t uid = geteuid();
	FILE *map;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return -1;
	map = fopen("/proc/self/uid_map", "we");
	if (map)
		fprintf(map, "0 %u 1\n", uid);
	return map ? fclose(map) : -1;
}

/* The status of waitpid(); fn's value is the exit status, and 77 says that no such mounts are permitted here. */
static inline int own_mounts(int (*fn)(void))
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		if (unshare(CLONE_NEWNS) < 0 && own_mounts_as_user() < 0)
			_exit(77);
		if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(77);
		status = fn();
		if (__gcov_dump)
			__gcov_dump();
		_exit(status);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
	return status;
}

#endif
