// SPDX-License-Identifier: Apache-2.0
/*
 * loopload.c - one short piece of work whose time hangs on one setting of the kernel: the workloads of tests/vm/loop.
 *
 * Usage: loopload WORK SEED ARGS...
 *   read DISK KIB        read so much one after another, from where nothing is in memory
 *   queue DISK N         N direct reads of 4 KiB at random places, as many at a time as the queue takes
 *   merge DISK N         N direct writes of 4 KiB beside each other, handed over at once
 *   write DISK KIB       write so much into the page cache; afterwards it is brought to the disk
 *   dirty DISK KIB       the same, and it stays there
 *   huge KIB             touch so much new memory
 *   cold DISK ANON FILE  read FILE KiB here and there, again and again, beside ANON KiB of memory that nobody touches any more
 *   swapin GROUP KIB     touch what lies in swap, in order; GROUP: folder of the control group that it runs in
 * Prints metric=MICROSECONDS of the work itself; what prepares it, and cleans up after it, is not in it. Places are drawn
 * by SEED and the time of day. Exit: 0; 1 with a sentence when something failed. Must know nothing of the product.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define MIB (1UL << 20)
#define HUGE_PAGE (2 * MIB)
#define IO_MAX 256
#define RECLAIM_TRIES 40
#define RECLAIM_REST_US 2000
#define COLD_WARM 3
#define COLD_TIMED 4

static uint64_t rng;
static char *buffer; /* 64 KiB, of whole pages */
#define BUFFER (16 * PAGE)

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* splitmix64: any seed will do. */
static uint64_t draw(uint64_t limit)
{
	uint64_t z = (rng += 0x9e3779b97f4a7c15ULL);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (z ^ z >> 31) % limit;
}

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "loopload: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *pages(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		fail("mmap");
	return at;
}

static void touch(volatile char *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += PAGE)
		at[i] = 1;
}

/* A disk, and a place drawn on it from which so many bytes lie; *at is of whole MiB where there is room for that. */
static int open_disk(const char *path, int flags, size_t bytes, uint64_t *at)
{
	int fd = open(path, flags | O_CLOEXEC);
	uint64_t size = 0;

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size) || size < bytes)
		fail(path);
	*at = draw((size - bytes) / MIB + 1) * MIB;
	return fd;
}

static void forget(int fd, uint64_t at, size_t bytes)
{
	if (posix_fadvise(fd, (off_t)at, (off_t)bytes, POSIX_FADV_DONTNEED))
		fail("fadvise");
}

/* ---- disks ---- */

static uint64_t work_read(char **arg)
{
	size_t bytes = strtoul(arg[1], NULL, 10) << 10;
	uint64_t at, begin;
	int fd = open_disk(arg[0], O_RDONLY, bytes, &at);

	forget(fd, at, bytes);
	begin = now_ns();
	for (size_t done = 0; done < bytes; done += BUFFER) {
		if (pread(fd, buffer, BUFFER, (off_t)(at + done)) < 0)
			fail("read");
	}
	return now_ns() - begin;
}

static uint64_t work_write(char **arg, bool stays)
{
	size_t bytes = strtoul(arg[1], NULL, 10) << 10;
	uint64_t at, begin, took;
	int fd = open_disk(arg[0], O_WRONLY, bytes, &at);

	begin = now_ns();
	for (size_t done = 0; done < bytes; done += PAGE) {
		if (pwrite(fd, buffer, PAGE, (off_t)(at + done)) < 0)
			fail("write");
	}
	took = now_ns() - begin;
	if (stays)
		return took;
	/* the next run finds the cache as this one did */
	if (fsync(fd))
		fail("fsync");
	forget(fd, at, bytes);
	return took;
}

/* n requests at once; the kernel's own interface, for glibc has none. */
static uint64_t requests(int fd, uint16_t opcode, const uint64_t *at, unsigned int n)
{
	static struct iocb iocb[IO_MAX], *list[IO_MAX];
	static struct io_event event[IO_MAX];
	aio_context_t context = 0;
	uint64_t begin;

	if (syscall(SYS_io_setup, IO_MAX, &context))
		fail("io_setup");
	for (unsigned int i = 0; i < n; i++) {
		iocb[i] = (struct iocb){ .aio_fildes = (uint32_t)fd,
			.aio_lio_opcode = opcode,
			.aio_buf = (uint64_t)(uintptr_t)buffer,
			.aio_nbytes = PAGE,
			.aio_offset = (int64_t)at[i] };
		list[i] = &iocb[i];
	}
	begin = now_ns();
	for (unsigned int sent = 0; sent < n;) {
		long got = syscall(SYS_io_submit, context, n - sent, list + sent);

		if (got <= 0)
			fail("io_submit");
		sent += (unsigned int)got;
	}
	if (syscall(SYS_io_getevents, context, n, n, event, NULL) != n)
		fail("io_getevents");
	begin = now_ns() - begin;
	for (unsigned int i = 0; i < n; i++) {
		if (event[i].res != (int64_t)PAGE) {
			errno = (int)-event[i].res;
			fail("a request");
		}
	}
	return begin;
}

static uint64_t work_requests(char **arg, uint16_t opcode, bool adjacent)
{
	unsigned int n = (unsigned int)strtoul(arg[1], NULL, 10);
	uint64_t at[IO_MAX], first;
	int fd = open_disk(arg[0], (adjacent ? O_WRONLY : O_RDONLY) | O_DIRECT, MIB, &first);
	uint64_t size = 0;

	if (n == 0 || n > IO_MAX || ioctl(fd, BLKGETSIZE64, &size))
		fail("the number of requests");
	for (unsigned int i = 0; i < n; i++)
		at[i] = adjacent ? first + i * PAGE : draw(size / PAGE) * PAGE;
	return requests(fd, opcode, at, n);
}

/* ---- memory ---- */

static uint64_t work_huge(char **arg)
{
	size_t bytes = strtoul(arg[0], NULL, 10) << 10;
	char *at = pages(bytes + HUGE_PAGE);
	uint64_t begin;

	at += (HUGE_PAGE - (uintptr_t)at % HUGE_PAGE) % HUGE_PAGE;
	begin = now_ns();
	touch(at, bytes);
	return now_ns() - begin;
}

/*
 * One byte of each page, each once, in an order drawn anew: what is measured is where the page comes from, not its being copied,
 * and what is missing costs a read each.
 */
static void read_pages(int fd, size_t n)
{
	static uint16_t order[1 << 15];

	for (size_t i = 0; i < n; i++) {
		size_t other = draw(i + 1);

		order[i] = order[other];
		order[other] = (uint16_t)i;
	}
	for (size_t i = 0; i < n; i++) {
		if (pread(fd, buffer, 1, (off_t)(order[i] * PAGE)) != 1)
			fail("read");
	}
}

static uint64_t work_cold(char **arg)
{
	size_t anon = strtoul(arg[1], NULL, 10) << 10, file = strtoul(arg[2], NULL, 10) << 10;
	uint64_t at, begin;
	int fd = open_disk(arg[0], O_RDONLY, file, &at);

	errno = EINVAL;
	if (file / PAGE > 1 << 15 || posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM))
		fail("so large a file");
	touch(pages(anon), anon);
	/* what is given up is known after some */
	for (int i = 0; i < COLD_WARM; i++)
		read_pages(fd, file / PAGE);
	begin = now_ns();
	for (int i = 0; i < COLD_TIMED; i++)
		read_pages(fd, file / PAGE);
	return now_ns() - begin;
}

static size_t resident(char *at, size_t bytes)
{
	static unsigned char in[1 << 16];
	size_t n = 0;

	if (bytes / PAGE > sizeof(in) || mincore(at, bytes, in))
		fail("mincore");
	for (size_t i = 0; i < bytes / PAGE; i++)
		n += in[i] & 1;
	return n;
}

/* Out to swap, and from memory altogether: a page that was only just written stays until it is looked at again. */
static void swap_out(const char *group, char *at, size_t bytes)
{
	char path[200], amount[32];
	int fd;

	snprintf(path, sizeof(path), "%s/memory.reclaim", group);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		fail(path);
	if (madvise(at, bytes, MADV_PAGEOUT))
		fail("madvise");
	for (int i = 0; i < RECLAIM_TRIES && resident(at, bytes) > 0; i++) {
		usleep(RECLAIM_REST_US);
		/* it fails when less was found than was asked for: looked at by resident() */
		if (write(fd, amount, (size_t)snprintf(amount, sizeof(amount), "%zu", bytes)) < 0 &&
			errno != EAGAIN)
			fail(path);
	}
	errno = EBUSY;
	if (resident(at, bytes) > bytes / PAGE / 8)
		fail("too much of it stays in memory");
}

static uint64_t work_swapin(char **arg)
{
	size_t bytes = strtoul(arg[1], NULL, 10) << 10;
	char *at = pages(bytes);
	uint64_t begin;

	touch(at, bytes);
	swap_out(arg[0], at, bytes);
	begin = now_ns();
	touch(at, bytes);
	return now_ns() - begin;
}

int main(int argc, char **argv)
{
	const char *work = argc > 3 ? argv[1] : "";
	char **arg = argv + 3;
	uint64_t took_ns;
	int args = argc - 3;

	rng = argc > 3 ? strtoull(argv[2], NULL, 10) ^ now_ns() << 20 : 0;
	buffer = pages(BUFFER);
	touch(buffer, BUFFER);
	if (strcmp(work, "read") == 0 && args == 2)
		took_ns = work_read(arg);
	else if (strcmp(work, "queue") == 0 && args == 2)
		took_ns = work_requests(arg, IOCB_CMD_PREAD, false);
	else if (strcmp(work, "merge") == 0 && args == 2)
		took_ns = work_requests(arg, IOCB_CMD_PWRITE, true);
	else if (strcmp(work, "write") == 0 && args == 2)
		took_ns = work_write(arg, false);
	else if (strcmp(work, "dirty") == 0 && args == 2)
		took_ns = work_write(arg, true);
	else if (strcmp(work, "huge") == 0 && args == 1)
		took_ns = work_huge(arg);
	else if (strcmp(work, "cold") == 0 && args == 3)
		took_ns = work_cold(arg);
	else if (strcmp(work, "swapin") == 0 && args == 2)
		took_ns = work_swapin(arg);
	else {
		fprintf(stderr, "loopload WORK SEED ARGS: see the top of its source\n");
		return 2;
	}
	printf("metric=%.1f\n", (double)took_ns / 1000);
	return 0;
}
