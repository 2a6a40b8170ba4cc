/* SPDX-License-Identifier: Apache-2.0 */
/*
 * safety_dir.h - folders and files of the tests of agent/safety: a scratch folder, and a fake root with knobs in it.
 *
 * A failure ends the program: there is nothing to test without a folder. One thread.
 */
#ifndef TESTS_SAFETY_DIR_H
#define TESTS_SAFETY_DIR_H

#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static inline int dir_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static inline void dir_remove(const char *path)
{
	nftw(path, dir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* path[64] is filled in. */
static inline void dir_make(char *path)
{
	/* in memory where there is such a folder: thousands of fsyncs then cost no time */
	strcpy(path, access("/dev/shm", W_OK) == 0 ? "/dev/shm/semantos-safety-XXXXXX"
						   : "/tmp/semantos-safety-XXXXXX");
	if (!mkdtemp(path)) {
		perror(path);
		exit(1);
	}
}

static inline void file_write(const char *dir, const char *name, const void *bytes, size_t n)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (char *p = path + strlen(dir) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(path, 0700);
		*p = '/';
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n) {
		perror(path);
		exit(1);
	}
	close(fd);
}

static inline void file_put(const char *dir, const char *name, const char *text)
{
	file_write(dir, name, text, strlen(text));
}

/* malloc'ed, with a NUL after its *n bytes. */
static inline char *file_read(const char *dir, const char *name, size_t *n)
{
	char path[512], *bytes;
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		perror(path);
		exit(1);
	}
	bytes = calloc(1, (size_t)st.st_size + 1);
	if (!bytes || read(fd, bytes, (size_t)st.st_size) != st.st_size) {
		perror(path);
		exit(1);
	}
	close(fd);
	if (n)
		*n = (size_t)st.st_size;
	return bytes;
}

static inline int file_is(const char *dir, const char *name, const char *text)
{
	char *got = file_read(dir, name, NULL);
	size_t n = strcspn(got, "\n");
	int same = n == strlen(text) && memcmp(got, text, n) == 0;

	if (!same)
		fprintf(stderr, "%s reads \"%.*s\", not \"%s\"\n", name, (int)n, got, text);
	free(got);
	return same;
}

#endif
