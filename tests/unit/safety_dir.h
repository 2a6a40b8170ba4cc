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

/* To the kernel a number with a leading zero is octal, so on the machine itself (dir "") such zeros are left out. */
static inline void file_put(const char *dir, const char *name, const char *text)
{
	if (!dir[0]) {
		while (text[0] == '0' && text[1] >= '0' && text[1] <= '9')
			text++;
	}
	file_write(dir, name, text, strlen(text));
}

/* malloc'ed, with a NUL after its *n bytes. Files of the kernel do not know their size, so it is a guess. */
static inline char *file_read(const char *dir, const char *name, size_t *n)
{
	char path[512], *bytes;
	size_t size, used = 0;
	struct stat st;
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		perror(path);
		exit(1);
	}
	size = (size_t)st.st_size + 4096;
	bytes = calloc(1, size + 1);
	while (bytes && (got = read(fd, bytes + used, size - used)) > 0)
		used += (size_t)got;
	if (!bytes || got < 0) {
		perror(path);
		exit(1);
	}
	close(fd);
	if (n)
		*n = used;
	return bytes;
}

/* Is the first line this text? Of numbers it is enough that they are equal, as it is to the kernel. */
static inline int text_is(const char *got, const char *text)
{
	size_t n = strcspn(got, "\n");
	char *end, *want_end;
	long long value = strtoll(got, &end, 10), want = strtoll(text, &want_end, 10);

	return (n == strlen(text) && memcmp(got, text, n) == 0) ||
	       (n > 0 && end == got + n && text[0] && !*want_end && value == want);
}

static inline int file_reads(const char *dir, const char *name, const char *text)
{
	char *got = file_read(dir, name, NULL);
	int same = text_is(got, text);

	free(got);
	return same;
}

/* The same, for what must be so: if not it is said. */
static inline int file_is(const char *dir, const char *name, const char *text)
{
	char *got = file_read(dir, name, NULL);
	int same = text_is(got, text);

	if (!same)
		fprintf(stderr, "%s reads \"%.*s\", not \"%s\"\n", name, (int)strcspn(got, "\n"),
			got, text);
	free(got);
	return same;
}

#endif
