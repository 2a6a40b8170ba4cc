/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.c - creates the rings, drains them through libbpf, keeps our half of the wake protocol.
 */
#include "agent/core/ring.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include "agent/core/capture.h"

struct ring_reader {
	struct ring_buffer *buffer;
	struct semantos_wake *wake;
	ring_record_fn *fn;
	void *ctx;
	int n_cpus, first; /* first: ring the next drain begins with */
	size_t taken; /* of this drain */
	uint64_t delivered, refused;
};

static int on_sample(void *ctx, void *data, size_t size)
{
	struct ring_reader *reader = ctx;

	reader->taken++;
	reader->delivered++;
	if (record_valid(data, size))
		reader->fn(reader->ctx, data);
	else
		reader->refused++;
	/* A negative answer ends the drain; this record counts as consumed. */
	return reader->taken >= RING_DRAIN_MAX ? -EAGAIN : 0;
}

struct ring_reader *ring_reader_new(int rings_fd, struct semantos_wake *wake, int n_cpus,
	uint32_t ring_bytes, uint32_t every, ring_record_fn *fn, void *ctx)
{
	struct ring_reader *reader = calloc(1, sizeof(*reader));
	int fd, err = ENOMEM;

	if (!reader)
		return NULL;
	*reader = (struct ring_reader){ .wake = wake, .fn = fn, .ctx = ctx, .n_cpus = n_cpus };
	wake->every = every;
	for (int cpu = 0; cpu < n_cpus; cpu++) {
		fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ring", 0, 0, ring_bytes, NULL);
		if (fd < 0) {
			err = errno;
			goto out_free;
		}
		if (bpf_map_update_elem(rings_fd, &cpu, &fd, BPF_ANY)) {
			err = errno;
			close(fd);
			goto out_free;
		}
		if (!reader->buffer)
			reader->buffer = ring_buffer__new(fd, on_sample, reader, NULL);
		else if (ring_buffer__add(reader->buffer, fd, on_sample, reader))
			err = errno, ring_buffer__free(reader->buffer), reader->buffer = NULL;
		/* The outer map and the mapping keep the ring; the number is no longer needed. */
		close(fd);
		if (!reader->buffer)
			goto out_free;
	}
	return reader;

out_free:
	ring_reader_free(reader);
	errno = err;
	return NULL;
}

void ring_reader_free(struct ring_reader *reader)
{
	if (!reader)
		return;
	ring_buffer__free(reader->buffer);
	free(reader);
}

int ring_poll_fd(const struct ring_reader *reader)
{
	return ring_buffer__epoll_fd(reader->buffer);
}

size_t ring_drain(struct ring_reader *reader)
{
	int cpu = reader->first;

	reader->taken = 0;
	for (int i = 0; i < reader->n_cpus && reader->taken < RING_DRAIN_MAX; i++) {
		ring__consume(ring_buffer__ring(reader->buffer, (unsigned int)cpu));
		cpu = cpu + 1 < reader->n_cpus ? cpu + 1 : 0;
	}
	/* Where it ended early the next one goes on, or busy rings would starve those behind them. */
	reader->first = cpu;
	return reader->taken;
}

size_t ring_waiting_bytes(const struct ring_reader *reader)
{
	size_t bytes = 0;

	for (int cpu = 0; cpu < reader->n_cpus; cpu++)
		bytes +=
			ring__avail_data_size(ring_buffer__ring(reader->buffer, (unsigned int)cpu));
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

uint64_t ring_delivered(const struct ring_reader *reader)
{
	return reader->delivered;
}

uint64_t ring_refused(const struct ring_reader *reader)
{
	return reader->refused;
}
