/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ring.h - one ring buffer a CPU, and when to wake the consumer.
 *
 * Wake protocol. The consumer sets wake.idle before it sleeps and looks at every ring once more after that; a
 * producer reserves first and reads wake.idle afterwards. Between the two stands an atomic with a result on each
 * side, so at least one of them sees the other. While the consumer is awake it drains by its own deadline, and a
 * producer wakes it at every wake.every-th record of the CPU only.
 */
#ifndef SEMANTOS_BPF_RING_H
#define SEMANTOS_BPF_RING_H

#include "bpf/lib/common.h"

struct semantos_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
};

/* max_entries and the inner rings are set by the agent: one for each possible CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct semantos_ring);
} rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct semantos_wake);
} wake SEC(".maps");

enum ring_result { RING_SENT, RING_FULL, RING_MISSING };

/* Room for `bytes` in this CPU's ring; NULL with why in *result. What was reserved must go to ring_submit(). */
#define ring_reserve(bytes, result)                                                          \
	({                                                                                   \
		__u32 ring_cpu = bpf_get_smp_processor_id();                                 \
		void *ring_here = bpf_map_lookup_elem(&rings, &ring_cpu), *ring_room = NULL; \
                                                                                             \
		if (ring_here)                                                               \
			ring_room = bpf_ringbuf_reserve(ring_here, bytes, 0);                \
		*(result) = ring_room ? RING_SENT : ring_here ? RING_FULL : RING_MISSING;    \
		ring_room;                                                                   \
	})

/* since_wake is the caller's own per-CPU count. */
static __always_inline void ring_submit(void *out, __u32 *since_wake)
{
	__u64 flags = BPF_RB_NO_WAKEUP;
	struct semantos_wake *row;
	__u32 zero = 0;

	row = bpf_map_lookup_elem(&wake, &zero);
	if (row) {
		/* Full barrier; pairs with the one between `idle = 1` and the last look in agent/core/ring.c. */
		__u32 n = __sync_fetch_and_add(since_wake, 1);

		if (*(volatile __u32 *)&row->idle) {
			*(volatile __u32 *)&row->idle = 0;
			*since_wake = 0;
			flags = BPF_RB_FORCE_WAKEUP;
		} else if (n >= row->every) {
			*since_wake = 0;
			flags = BPF_RB_FORCE_WAKEUP;
		}
	}
	bpf_ringbuf_submit(out, flags);
}

/*
 * Copy a block record into this CPU's ring, and write what every record says alike (version, bytes, cpu): the source
 * may hold anything there.
 */
static __always_inline enum ring_result ring_send(
	const struct semantos_block_record *record, __u32 *since_wake)
{
	struct semantos_block_record *out;
	enum ring_result result;

	out = ring_reserve(sizeof(*out), &result);
	if (!out)
		return result;
	*out = *record;
	out->head.version = SEMANTOS_WIRE_VERSION;
	out->head.bytes = sizeof(*out);
	out->head.cpu = bpf_get_smp_processor_id();
	ring_submit(out, since_wake);
	return RING_SENT;
}

#endif
