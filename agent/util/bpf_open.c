// SPDX-License-Identifier: Apache-2.0
/*
 * bpf_open.c - reads an object file and hands libbpf its bytes; keeps its first complaint.
 *
 * Not bpf_object__open_file(): libbpf 1.4 keeps its descriptor for good when libelf has no memory to look at the file.
 */
#include "agent/util/bpf_open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/util/log.h"

#define OBJECT_MAX_BYTES (64 << 20) /* a hundred times what the largest has */

/* malloc'ed; NULL with errno. */
static void *read_file(const char *path, size_t *n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	char *bytes = NULL;
	struct stat st;
	size_t used = 0;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) < 0)
		err = errno;
	else if (!S_ISREG(st.st_mode) || st.st_size > OBJECT_MAX_BYTES)
		err = EINVAL;
	if (!err) {
		bytes = malloc((size_t)st.st_size + 1);
		err = bytes ? 0 : ENOMEM;
	}
	while (!err && used < (size_t)st.st_size) {
		ssize_t got = read(fd, bytes + used, (size_t)st.st_size - used);

		if (got > 0)
			used += (size_t)got;
		else if (got == 0 || errno != EINTR)
			err = got == 0 ? EIO : errno;
	}
	close(fd);
	if (err) {
		free(bytes);
		errno = err;
		return NULL;
	}
	*n = used;
	return bytes;
}

struct bpf_object *bpf_open(const char *path)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	char name[64];
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = name);
	struct bpf_object *object;
	size_t n;
	void *bytes = read_file(path, &n);
	int err;

	if (!bytes)
		return NULL;
	/* as libbpf names the object of a file; .rodata and .bss are named after it */
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(base, "."), base);
	object = bpf_object__open_mem(bytes, n, &options);
	err = errno;
	free(bytes);
	errno = err;
	return object;
}

static _Thread_local char complaint[256];

static int on_libbpf(enum libbpf_print_level level, const char *fmt, va_list args)
{
	char line[sizeof(complaint)];
	int used;

	if (level > LIBBPF_WARN)
		return 0;
	used = snprintf(line, sizeof(line), ": ");
	vsnprintf(line + used, sizeof(line) - (size_t)used, fmt, args);
	line[strcspn(line, "\n")] = 0;
	/* The first one is the cause, what follows are its consequences. */
	if (!complaint[0])
		memcpy(complaint, line, sizeof(complaint));
	log_debug("%s", line + used);
	return 0;
}

void bpf_complaints_catch(void)
{
	complaint[0] = 0;
	libbpf_set_print(on_libbpf);
}

const char *bpf_complaint(void)
{
	return complaint;
}

const char *bpf_reason(int *err)
{
	static _Thread_local char text[128];

	if (-*err < __LIBBPF_ERRNO__START) {
		const char *why = strerror(-*err);

		if (*err == -EACCES) /* to root it means: the verifier says no */
			*err = -ENOEXEC;
		return why;
	}
	libbpf_strerror(*err, text, sizeof(text));
	*err = -ENOEXEC;
	return text;
}
