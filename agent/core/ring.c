/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.c - creates the rings, walks them in place, keeps our half of the wake protocol.
 *
 * A ring of the kernel (BPF_MAP_TYPE_RINGBUF) is one page that holds how far we have read, one that holds how far
 * producers have reserved, and the data, mapped twice in a row so that no record is ever cut in two. Records are
 * handed out where they lie. libbpf's own reader is not used: it gives room back after each record, which takes the
 * line from the producer each time, and hides the descriptors behind an epoll of its own, one hop more to a wake-up.
 */
#include "agent/core/ring.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "agent/core/capture.h"

#define ROOM_EVERY 64 /* records after which their room is given back while a drain goes on */

struct ring {
	int fd;
	uint64_t *consumer; /* ours to write; the page is shared with the kernel */
	const uint64_t *producer;
	const uint8_t *data;
	uint64_t at; /* what *consumer is, or will be at the end of the drain */
};

struct ring_reader {
	struct semantos_wake *wake;
	ring_record_fn *fn;
	ring_valid_fn *valid;
	void *ctx;
	int n_cpus, first; /* first: ring the next drain begins with */
	uint64_t ring_bytes; /* a power of two */
	size_t page_bytes;
	uint32_t every;
	uint64_t delivered, refused;
	struct ring ring[]; /* [n_cpus] */
};

static int ring_map(const struct ring_reader *reader, struct ring *ring)
{
	size_t page = reader->page_bytes;
	void *produced,
		*consumed = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);

	if (consumed == MAP_FAILED)
		return -errno;
	ring->consumer = consumed;
	produced = mmap(
		NULL, page + 2 * reader->ring_bytes, PROT_READ, MAP_SHARED, ring->fd, (off_t)page);
	if (produced == MAP_FAILED)
		return -errno;
	ring->producer = produced;
	ring->data = (const uint8_t *)produced + page;
	return 0;
}

struct ring_reader *ring_reader_new(int rings_fd, struct semantos_wake *wake, int n_cpus,
	uint32_t ring_bytes, uint32_t every, ring_record_fn *fn, void *ctx)
{
	struct ring_reader *reader =
		calloc(1, sizeof(*reader) + (size_t)n_cpus * sizeof(reader->ring[0]));
	int err = 0;

	if (!reader)
		return NULL;
	reader->wake = wake;
	reader->fn = fn;
	reader->valid = record_valid;
	reader->ctx = ctx;
	reader->n_cpus = n_cpus;
	reader->ring_bytes = ring_bytes;
	reader->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	reader->every = wake->every = every;
	for (int cpu = 0; cpu < n_cpus; cpu++)
		reader->ring[cpu].fd = -1;
	for (int cpu = 0; cpu < n_cpus && !err; cpu++) {
		struct ring *ring = &reader->ring[cpu];

		ring->fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ring", 0, 0, ring_bytes, NULL);
		if (ring->fd < 0 || bpf_map_update_elem(rings_fd, &cpu, &ring->fd, BPF_ANY))
			err = -errno;
		else
			err = ring_map(reader, ring);
	}
	if (!err)
		return reader;
	ring_reader_free(reader);
	errno = -err;
	return NULL;
}

void ring_records(struct ring_reader *reader, ring_valid_fn *valid)
{
	reader->valid = valid;
}

void ring_reader_free(struct ring_reader *reader)
{
	if (!reader)
		return;
	for (int cpu = 0; cpu < reader->n_cpus; cpu++) {
		struct ring *ring = &reader->ring[cpu];

		if (ring->consumer)
			munmap(ring->consumer, reader->page_bytes);
		if (ring->producer)
			munmap((void *)(uintptr_t)ring->producer,
				reader->page_bytes + 2 * reader->ring_bytes);
		if (ring->fd >= 0)
			close(ring->fd);
	}
	free(reader);
}

int ring_count(const struct ring_reader *reader)
{
	return reader->n_cpus;
}

int ring_fd(const struct ring_reader *reader, int cpu)
{
	return reader->ring[cpu].fd;
}

static void ring_take(struct ring_reader *reader, const void *data, uint32_t size)
{
	reader->delivered++;
	if (reader->valid(data, size))
		reader->fn(reader->ctx, data);
	else
		reader->refused++;
}

/* At most `most` records of one ring. */
static size_t ring_walk(struct ring_reader *reader, struct ring *ring, size_t most)
{
	/* Pairs with the release of the producer's position at reserve: headers before it are written. */
	uint64_t end = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
	size_t n = 0;

	while (ring->at < end && n < most) {
		const void *at = ring->data + (ring->at & (reader->ring_bytes - 1));
		/* Pairs with the exchange at submit: once it is not busy, the record is whole. */
		uint32_t header = __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE);
		uint32_t size = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

		if (header & BPF_RINGBUF_BUSY_BIT)
			break;
		if (!(header & BPF_RINGBUF_DISCARD_BIT)) {
			ring_take(reader, (const uint8_t *)at + BPF_RINGBUF_HDR_SZ, size);
			n++;
		}
		ring->at += (size + BPF_RINGBUF_HDR_SZ + 7) & ~7ULL;
		if (n % ROOM_EVERY == 0)
			__atomic_store_n(ring->consumer, ring->at, __ATOMIC_RELEASE);
	}
	if (*ring->consumer != ring->at)
		__atomic_store_n(ring->consumer, ring->at, __ATOMIC_RELEASE);
	return n;
}

size_t ring_drain(struct ring_reader *reader)
{
	int cpu = reader->first;
	size_t taken = 0;

	for (int i = 0; i < reader->n_cpus && taken < RING_DRAIN_MAX; i++) {
		taken += ring_walk(reader, &reader->ring[cpu], RING_DRAIN_MAX - taken);
		cpu = cpu + 1 < reader->n_cpus ? cpu + 1 : 0;
	}
	/* Where it ended early the next one goes on, or busy rings would starve those behind them. */
	reader->first = cpu;
	return taken;
}

size_t ring_waiting_bytes(const struct ring_reader *reader)
{
	size_t bytes = 0;

	for (int cpu = 0; cpu < reader->n_cpus; cpu++) {
		const struct ring *ring = &reader->ring[cpu];

		bytes += __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE) -
			 __atomic_load_n(ring->consumer, __ATOMIC_RELAXED);
	}
	return bytes;
}

bool ring_sleep(struct ring_reader *reader)
{
	__atomic_store_n(&reader->wake->idle, 1, __ATOMIC_SEQ_CST);
	/* Pairs with the atomic add in ring_send(): either the producer sees `idle`, or we see what it reserved. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!ring_waiting_bytes(reader))
		return true;
	__atomic_store_n(&reader->wake->idle, 0, __ATOMIC_RELAXED);
	return false;
}

void ring_watched(struct ring_reader *reader, bool watched)
{
	__atomic_store_n(
		&reader->wake->every, watched ? UINT32_MAX : reader->every, __ATOMIC_RELAXED);
}

uint64_t ring_delivered(const struct ring_reader *reader)
{
	return reader->delivered;
}

uint64_t ring_refused(const struct ring_reader *reader)
{
	return reader->refused;
}
