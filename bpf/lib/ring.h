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

/*
 * Copy a block record into this CPU's ring, and write what every record says alike (version, bytes, cpu): the source
 * may hold anything there. since_wake is the caller's own per-CPU count.
 */
static __always_inline enum ring_result ring_send(
	const struct semantos_block_record *record, __u32 *since_wake)
{
	__u32 cpu = bpf_get_smp_processor_id(), zero = 0;
	void *ring = bpf_map_lookup_elem(&rings, &cpu);
	struct semantos_wake *row;
	struct semantos_block_record *out;
	__u64 flags = BPF_RB_NO_WAKEUP;

	if (!ring)
		return RING_MISSING;
	out = bpf_ringbuf_reserve(ring, sizeof(*out), 0);
	if (!out)
		return RING_FULL;
	*out = *record;
	out->head.version = SEMANTOS_WIRE_VERSION;
	out->head.bytes = sizeof(*out);
	out->head.cpu = cpu;
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
	return RING_SENT;
}

#endif
