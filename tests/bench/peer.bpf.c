// SPDX-License-Identifier: GPL-2.0
/*
 * peer.bpf.c - what a block-latency tool in common use does at each event, for comparison with the hooks.
 *
 * Issue time in a hash keyed by device and sector, a log2 histogram of microseconds at completion: the structure of
 * biolatency and of the usual bpftrace script. Observes only; never part of the product.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct peer_key {
	__u64 sector;
	__u32 dev;
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, struct peer_key);
	__type(value, __u64);
} started SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} latency SEC(".maps");

static __always_inline void key_of(struct request *rq, struct peer_key *key)
{
	struct gendisk *disk = rq->q->disk;

	key->sector = rq->__sector;
	key->dev = disk ? (__u32)disk->major << 20 | (__u32)disk->first_minor : 0;
	key->reserved = 0;
}

SEC("tp_btf/block_rq_issue")
int BPF_PROG(peer_issue, struct request *rq)
{
	__u64 now = bpf_ktime_get_ns();
	struct peer_key key;

	key_of(rq, &key);
	bpf_map_update_elem(&started, &key, &now, BPF_ANY);
	return 0;
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(peer_complete, struct request *rq, blk_status_t error, unsigned int nr_bytes)
{
	__u64 now = bpf_ktime_get_ns(), *start, *count, us;
	struct peer_key key;
	__u32 bucket = 0;

	key_of(rq, &key);
	start = bpf_map_lookup_elem(&started, &key);
	if (!start)
		return 0;
	us = (now - *start) / 1000;
	for (int i = 0; i < 63 && us > 1; i++, us >>= 1)
		bucket++;
	count = bpf_map_lookup_elem(&latency, &bucket);
	if (count)
		__sync_fetch_and_add(count, 1);
	bpf_map_delete_elem(&started, &key);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
