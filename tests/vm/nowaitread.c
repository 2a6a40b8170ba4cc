// SPDX-License-Identifier: Apache-2.0
/*
 * nowaitread.c - reads blocks of a disk with preadv2(RWF_NOWAIT) and counts the answers.
 *
 * Prints "ok=N again=N other=N max_us=N", max_us being the longest call that answered EAGAIN. Must never be linked to
 * anything of the product. Usage: nowaitread COUNT DISK. Exit: 0, or 1 when it could not be tried.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
	unsigned int ok = 0, again = 0, other = 0, count;
	uint64_t longest = 0, begin, took;
	struct iovec iov = { .iov_len = 4096 };
	int fd;

	if (argc != 3 || posix_memalign(&iov.iov_base, 4096, 4096))
		return 1;
	count = (unsigned int)strtoul(argv[1], NULL, 10);
	fd = open(argv[2], O_RDONLY | O_DIRECT);
	if (fd < 0) {
		perror(argv[2]);
		return 1;
	}
	for (unsigned int i = 0; i < count; i++) {
		ssize_t n;

		begin = now_us();
		n = preadv2(fd, &iov, 1, (off_t)i * 4096, RWF_NOWAIT);
		took = now_us() - begin;
		if (n == 4096) {
			ok++;
		} else if (n < 0 && errno == EAGAIN) {
			again++;
			if (took > longest)
				longest = took;
		} else {
			other++;
		}
	}
	printf("ok=%u again=%u other=%u max_us=%llu\n", ok, again, other,
		(unsigned long long)longest);
	return 0;
}
