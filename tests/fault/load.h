/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.h - reads of a scratch file that reach the disk, from a thread, until told to stop.
 */
#ifndef SEMANTOS_TESTS_LOAD_H
#define SEMANTOS_TESTS_LOAD_H

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOAD_BYTES (16u << 20)
#define LOAD_BLOCK 4096

struct load {
	int fd;
	atomic_bool stop;
	atomic_ullong reads;
	pthread_t thread;
	bool running;
};

static inline void *load_thread(void *arg)
{
	struct load *load = arg;
	unsigned int seed = 1;
	void *block = NULL;

	if (posix_memalign(&block, LOAD_BLOCK, LOAD_BLOCK))
		return NULL;
	while (!atomic_load(&load->stop)) {
		off_t at = (off_t)((unsigned int)rand_r(&seed) % (LOAD_BYTES / LOAD_BLOCK)) *
			   LOAD_BLOCK;

		if (pread(load->fd, block, LOAD_BLOCK, at) == LOAD_BLOCK)
			atomic_fetch_add(&load->reads, 1);
	}
	free(block);
	return NULL;
}

/* False when the build folder's file system cannot do O_DIRECT (a tmpfs, say): then there is no load. */
static inline bool load_start(struct load *load)
{
	char path[] = "build/load-XXXXXX";
	char *block = NULL;
	int fd = mkstemp(path);

	memset(load, 0, sizeof(*load));
	if (fd < 0 || posix_memalign((void **)&block, LOAD_BLOCK, 1 << 20))
		return false;
	memset(block, 0x5a, 1 << 20);
	for (int i = 0; i < (int)(LOAD_BYTES >> 20); i++)
		if (write(fd, block, 1 << 20) != 1 << 20)
			return false;
	fsync(fd);
	close(fd);
	free(block);
	load->fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	unlink(path);
	if (load->fd < 0)
		return false;
	load->running = pthread_create(&load->thread, NULL, load_thread, load) == 0;
	return load->running;
}

static inline void load_stop(struct load *load)
{
	if (!load->running)
		return;
	atomic_store(&load->stop, true);
	pthread_join(load->thread, NULL);
	close(load->fd);
}

#endif
