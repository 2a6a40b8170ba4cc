// SPDX-License-Identifier: GPL-2.0
/*
 * policies.bpf.c - the rows of `make bench-replica` that learn nothing, each a policy of semantos.ko, so that all take the
 * same path: first leg, random, the module's default (fewest outstanding), EWMA, hedging on top of the default, and the
 * oracle, which the test disks tell how long each leg would take.
 *
 * Which leg answered a read is seen on the legs' queues, by a tracepoint, so that it is seen of every policy alike.
 */
#include "bpf/lib/common.h"
#include "bpf/lib/blk.h"
#include "tests/bench/replica/policies.h"

extern __u64 semantos_testdev_peek_ns(__u32 dev, __u32 bytes) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct replay_shared);
} shared SEC(".maps");

static __always_inline struct replay_shared *row(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&shared, &zero);
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(answered, struct request *rq, blk_status_t error, unsigned int bytes)
{
	struct replay_shared *s = row();
	struct gendisk *disk = rq->q->disk;
	__u64 sector = rq->__sector;

	if (!s || !disk || disk->major != (int)s->major || (rq->cmd_flags & 0xff) != 0)
		return 0;
	if (sector < REPLAY_SECTORS && !s->served[sector])
		s->served[sector] = disk->first_minor + 1;
	__sync_fetch_and_add(&s->answers, 1);
	return 0;
}

static __always_inline bool eligible(const struct semantos_blk_read *read, __u32 leg)
{
	return read->eligible >> (leg & 31) & 1;
}

SEC("struct_ops/first")
int BPF_PROG(first, struct semantos_blk_read *read)
{
	return eligible(read, 0) ? 0 : SEMANTOS_BLK_DEFAULT;
}

SEC("struct_ops/any")
int BPF_PROG(any, struct semantos_blk_read *read)
{
	__u32 leg = bpf_get_prandom_u32() % (read->nr_legs ?: 1);

	return eligible(read, leg) ? (int)leg : SEMANTOS_BLK_DEFAULT;
}

SEC("struct_ops/ewma")
int BPF_PROG(ewma, struct semantos_blk_read *read)
{
	struct semantos_block_record record = {};
	__u64 least = ~0ULL, cost;
	int best = SEMANTOS_BLK_DEFAULT;
	__u32 i;

	bpf_for (i, 0, SEMANTOS_BLK_MAX_LEGS) {
		if (i >= read->nr_legs || !eligible(read, i) ||
			semantos_blk_leg_record(read, i, &record))
			continue;
		/* inflight counts this read */
		cost = (__u64)record.ewma_latency_us * record.inflight;
		if (cost < least || (cost == least && i == read->default_leg)) {
			least = cost;
			best = i;
		}
	}
	return best;
}

/* The default, and after the given time the leg with the fewest outstanding among the others. */
SEC("struct_ops/hedge")
int BPF_PROG(hedge, struct semantos_blk_read *read)
{
	__u32 least = ~0U, second = read->default_leg, n, i;
	struct replay_shared *s = row();

	bpf_for (i, 0, SEMANTOS_BLK_MAX_LEGS) {
		if (i >= read->nr_legs || !eligible(read, i) || i == read->default_leg)
			continue;
		n = semantos_blk_leg_inflight(read, i);
		if (n < least) {
			least = n;
			second = i;
		}
	}
	if (s && second != read->default_leg)
		semantos_blk_set_hedge(read, second, s->hedge_after_us);
	return SEMANTOS_BLK_DEFAULT;
}

SEC("struct_ops/oracle")
int BPF_PROG(oracle, struct semantos_blk_read *read)
{
	int best = SEMANTOS_BLK_DEFAULT;
	__u64 least = ~0ULL, ns;
	__u32 i;

	bpf_for (i, 0, SEMANTOS_BLK_MAX_LEGS) {
		if (i >= read->nr_legs || !eligible(read, i))
			continue;
		ns = semantos_testdev_peek_ns(semantos_blk_leg_dev(read, i), read->sectors << 9);
		if (ns < least || (ns == least && i == read->default_leg)) {
			least = ns;
			best = i;
		}
	}
	return best;
}

#define POLICY(which, chooser)                    \
	SEC(".struct_ops.link")                   \
	struct semantos_blk_ops row_##which = {   \
		.select_leg = (void *)chooser,    \
		.flags = SEMANTOS_BLK_F_NO_LEASE, \
		.version = SEMANTOS_BLK_VERSION,  \
		.name = #which,                   \
	}

POLICY(first, first);
POLICY(random, any);
POLICY(ewma, ewma);
POLICY(hedge, hedge);
POLICY(oracle, oracle);

/* The module's default, attached like the others. */
SEC(".struct_ops.link")
struct semantos_blk_ops row_fewest = {
	.flags = SEMANTOS_BLK_F_NO_LEASE,
	.version = SEMANTOS_BLK_VERSION,
	.name = "fewest",
};

char LICENSE[] SEC("license") = "GPL";
