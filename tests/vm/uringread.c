// SPDX-License-Identifier: Apache-2.0
/*
 * uringread.c - reads or writes blocks of a disk through io_uring, one at a time, and tells how long they took.
 *
 * io_uring first tries a read without waiting (IOCB_NOWAIT); where that is refused with EAGAIN, it gives the read to a
 * worker thread that may wait: the punt. With "nowait", reads carry RWF_NOWAIT and are not punted but answered
 * EAGAIN. With "poll" or "poll-write", the ring looks for answers itself instead of waiting for interrupts
 * (IORING_SETUP_IOPOLL), and one that does not come ends the program after 10 s. Prints "ok=N again=N other=N p50_us=N
 * p90_us=N". By plain system calls, because the ring is all it needs. Must never be linked to anything of the product.
 * Usage: uringread COUNT DISK [nowait|poll|poll-write]. Exit: 0, or 1 when it could not be tried, 77 when the kernel has no
 * io_uring.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096
#define RWF_NO_WAIT 8 /* RWF_NOWAIT of linux/fs.h, which clashes with libc's headers */
#define POLL_SECONDS 10

struct ring {
	int fd;
	uint32_t *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int ring_open(struct ring *r, bool polled)
{
	struct io_uring_params p = { .flags = polled ? IORING_SETUP_IOPOLL : 0 };
	char *sq, *cq;

	r->fd = (int)syscall(__NR_io_uring_setup, 4, &p);
	if (r->fd < 0)
		return -errno;
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * sizeof(uint32_t), PROT_READ | PROT_WRITE,
		MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe),
		PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_CQ_RING);
	r->sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
		MAP_SHARED, r->fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || r->sqes == MAP_FAILED)
		return -errno;
	r->sq_tail = (uint32_t *)(sq + p.sq_off.tail);
	r->sq_mask = (uint32_t *)(sq + p.sq_off.ring_mask);
	r->sq_array = (uint32_t *)(sq + p.sq_off.array);
	r->cq_head = (uint32_t *)(cq + p.cq_off.head);
	r->cq_tail = (uint32_t *)(cq + p.cq_off.tail);
	r->cq_mask = (uint32_t *)(cq + p.cq_off.ring_mask);
	r->cqes = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
	return 0;
}

/* The result of one read or write: bytes or a negative error. */
static int ring_do(struct ring *r, uint8_t opcode, int fd, void *buffer, uint64_t at, int flags)
{
	uint32_t tail = *r->sq_tail, slot = tail & *r->sq_mask, head, submit = 1;
	int result;

	r->sqes[slot] = (struct io_uring_sqe){ .opcode = opcode,
		.fd = fd,
		.addr = (uintptr_t)buffer,
		.len = BLOCK,
		.off = at,
		.rw_flags = flags };
	r->sq_array[slot] = slot;
	/* Pairs with the kernel's load of the tail: the entry is whole before it is seen. */
	__atomic_store_n(r->sq_tail, tail + 1, __ATOMIC_RELEASE);
	do {
		long n = syscall(
			__NR_io_uring_enter, r->fd, submit, 1, IORING_ENTER_GETEVENTS, NULL, 0);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n >= 0)
			submit = 0;
		/* Pairs with the kernel's store of the tail. A ring that is polled may return without an answer. */
		head = *r->cq_head;
	} while (head == __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE));
	result = r->cqes[head & *r->cq_mask].res;
	__atomic_store_n(r->cq_head, head + 1, __ATOMIC_RELEASE);
	return result;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	unsigned int ok = 0, again = 0, other = 0, count;
	const char *how = argc > 3 ? argv[3] : "";
	bool writes = !strcmp(how, "poll-write"), polled = writes || !strcmp(how, "poll");
	int flags = !strcmp(how, "nowait") ? RWF_NO_WAIT : 0, fd, err;
	struct ring ring = { 0 };
	uint64_t *took;
	void *buffer;

	if (argc < 3 || posix_memalign(&buffer, BLOCK, BLOCK))
		return 1;
	count = (unsigned int)strtoul(argv[1], NULL, 10);
	took = calloc(count + 1, sizeof(*took));
	memset(buffer, 'p', BLOCK);
	fd = open(argv[2], (writes ? O_RDWR : O_RDONLY) | O_DIRECT);
	if (fd < 0 || !took) {
		perror(argv[2]);
		return 1;
	}
	err = ring_open(&ring, polled);
	if (err) {
		fprintf(stderr, "io_uring: %s\n", strerror(-err));
		return err == -ENOSYS || err == -EPERM ? 77 : 1;
	}
	for (unsigned int i = 0; i < count; i++) {
		uint64_t begin = now_us();
		int n;

		/* The kernel would look for a lost answer for ever. */
		if (polled)
			alarm(POLL_SECONDS);
		n = ring_do(&ring, writes ? IORING_OP_WRITE : IORING_OP_READ, fd, buffer,
			(uint64_t)(i % 1024) * BLOCK, flags);
		took[i] = now_us() - begin;
		ok += n == BLOCK;
		again += n == -EAGAIN;
		other += n != BLOCK && n != -EAGAIN;
	}
	qsort(took, count, sizeof(*took), by_size);
	printf("ok=%u again=%u other=%u p50_us=%llu p90_us=%llu\n", ok, again, other,
		(unsigned long long)took[count / 2], (unsigned long long)took[count * 9 / 10]);
	return 0;
}
