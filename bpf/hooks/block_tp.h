/* SPDX-License-Identifier: GPL-2.0 */
/*
 * block_tp.h - the tp_btf front end of the block hooks: reads the kernel's request, calls the bodies in block.h.
 *
 * Tracepoints, not functions: block_rq_issue, block_rq_complete and block_rq_requeue carry the same arguments on 6.1
 * to 7.x, and exist wherever BTF does. Each program reads the clock once. Partial completions are not completions.
 */
#ifndef SEMANTOS_BPF_BLOCK_TP_H
#define SEMANTOS_BPF_BLOCK_TP_H

#include "bpf/hooks/block.h"

#define BLOCK_OP_MASK 0xff /* REQ_OP_BITS: the operation is the low byte of cmd_flags */

/* False for what is no data transfer of a disk: flushes, discards, passthrough, requests without data. */
static __always_inline bool block_event_read(struct request *rq, struct block_event *event)
{
	__u32 op = rq->cmd_flags & BLOCK_OP_MASK;
	struct gendisk *disk;

	if (op > SEMANTOS_OP_WRITE || !rq->__data_len)
		return false;
	disk = rq->q->disk;
	if (!disk)
		return false;
	event->op = op;
	event->queue_id = rq->q->id;
	event->dev = (__u32)disk->major << 20 | (__u32)disk->first_minor;
	event->diskseq = disk->diskseq;
	event->hw_queue = rq->mq_hctx->queue_num;
	event->tag = rq->tag;
	event->sectors = rq->__data_len >> 9;
	event->sector = rq->__sector;
	event->error = 0;
	event->request = (__u64)rq;
	return true;
}

SEC("tp_btf/block_rq_issue")
int BPF_PROG(on_rq_issue, struct request *rq)
{
	struct block_event event;

	if (!block_event_read(rq, &event))
		return 0;
	return block_on_issue(&event, bpf_ktime_get_boot_ns());
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(on_rq_complete, struct request *rq, blk_status_t error, unsigned int nr_bytes)
{
	struct block_event event;

	if (nr_bytes < rq->__data_len || !block_event_read(rq, &event))
		return 0;
	event.error = error;
	return block_on_complete(&event, bpf_ktime_get_boot_ns());
}

SEC("tp_btf/block_rq_requeue")
int BPF_PROG(on_rq_requeue, struct request *rq)
{
	struct block_event event;

	if (!block_event_read(rq, &event))
		return 0;
	return block_on_requeue(&event);
}

#endif
