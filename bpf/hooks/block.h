/* SPDX-License-Identifier: GPL-2.0 */
/*
 * block.h - block I/O hooks: from a request issued and completed to a record in a ring.
 *
 * Bodies take a plain `struct block_event`, so tests run them without a disk; block_tp.h fills it from the kernel's
 * request. A device is found by its queue's number in one array load; a request by (queue, tag) in the device's own
 * array, whose entries no two CPUs hold at once. Requests of devices without a slot cost one load.
 */
#ifndef SEMANTOS_BPF_BLOCK_H
#define SEMANTOS_BPF_BLOCK_H

#include "bpf/lib/verdict.h"
#include "bpf/lib/ring.h"
#include "bpf/lib/budget.h"
#include "bpf/hooks/block_history.h"

#define BLOCK_MAX_QUEUES 8192 /* request queues the kernel may number */

/* What a hook knows of a request. */
struct block_event {
	__u64 diskseq;
	__u64 sector;
	__u32 queue_id; /* request_queue.id */
	__u32 dev; /* kernel dev_t of the whole disk */
	__u32 hw_queue;
	__u32 tag;
	__u32 sectors;
	__u32 op; /* enum semantos_op */
	__u32 error; /* completion only */
	__u32 reserved;
	__u64 request; /* the request's address: names it when its tag is already given back */
};

enum block_inflight_state { BLOCK_FREE = 0, BLOCK_IN_FLIGHT = 1, BLOCK_REPORTED = 2 };

/*
 * One request in flight; at index hw_queue * queue_depth + tag of the device's array. It is the record itself, two
 * cache lines: what ring_send() writes into every record anyway (version, bytes, cpu) holds our own state meanwhile.
 * head.ts_ns is the time of issue; head.kind is 0 for a write. The first 48 bytes are all that is written of a request
 * which is not reported.
 */
struct block_inflight {
	union {
		__u32 state; /* enum block_inflight_state */
		struct semantos_block_record record;
	};
};
_Static_assert(sizeof(struct block_inflight) == 128, "two cache lines a request in flight");
#define block_slot_generation(entry) ((entry)->record.head.cpu) /* of the slot at issue */

struct block_inflight_array {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size,
		sizeof(struct
			block_inflight)); /* no __type: clang leaves a mere declaration in BTF */
};

/* slot -> array of the requests in flight, put there by the agent before the slot is added. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SEMANTOS_MAX_SLOTS);
	__type(key, __u32);
	__array(values, struct block_inflight_array);
} inflight SEC(".maps");

/*
 * What all CPUs share of a device: one line each. BPF_F_MMAPABLE for its alignment only: the rows of any other array
 * begin wherever the kernel's header ends, 56 bytes into a line on 6.18, and each row would cost two.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SEMANTOS_MAX_SLOTS);
	__type(key, __u32);
	__type(value, struct block_shared);
} history SEC(".maps");

/* What each CPU keeps of a device; the agent makes it as large as the machine's disks need. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SEMANTOS_MAX_SLOTS);
	__type(key, __u32);
	__type(value, struct block_cpu);
} history_cpu SEC(".maps");

/* dev_t -> slot; read once for each queue and epoch. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * SEMANTOS_MAX_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} devices SEC(".maps");

/*
 * What queue number `id` was last found to be, with what an event needs of its slot, so that it reads one line and
 * not two. Valid for the same disk and epoch only: every change of a slot moves the epoch afterwards.
 */
struct block_queue {
	__u64 diskseq;
	__u32 epoch;
	__u32 slot_plus_1; /* 0 = no slot covers it */
	__u32 dev;
	__u32 generation;
	__u32 queue_depth;
	__u32 queues;
};
_Static_assert(sizeof(struct block_queue) == 32, "half a cache line a queue");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE); /* for its alignment, as above */
	__uint(max_entries, BLOCK_MAX_QUEUES);
	__type(key, __u32);
	__type(value, struct block_queue);
} queues SEC(".maps");

struct block_local {
	__u64 sequence; /* of request ids of this CPU */
	struct budget_local allowance;
	__u32 since_wake_issue;
	__u32 since_wake_done;
	/* The request this CPU handed over last: a requeue follows at once, and has no tag any more. */
	__u64 last_request;
	__u32 last_hw_queue, last_tag;
	__u64 reserved[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct block_local);
} local SEC(".maps");

/* The disk in the slot is not the one that was put there: retire the slot, whoever sees it first. */
static __always_inline void block_retire(struct semantos_slot *slot, struct semantos_policy *pol)
{
	if (__sync_val_compare_and_swap(&slot->in_use, 1, 0) == 1) {
		__sync_fetch_and_add(&slot->generation, 1);
		__sync_fetch_and_add(&pol->epoch, 1);
	}
}

/* Look the event's disk up again: once for each queue and epoch. */
static __always_inline void block_queue_fill(struct block_queue *queue,
	const struct block_event *event, struct semantos_policy *pol, __u32 epoch)
{
	__u32 dev = event->dev, *found = bpf_map_lookup_elem(&devices, &dev);
	struct semantos_slot *slot = found ? bpf_map_lookup_elem(&slots, found) : NULL;
	__u32 slot_plus_1 = 0;

	if (slot && slot->in_use && slot->dev == dev) {
		if (slot->diskseq == event->diskseq) {
			slot_plus_1 = *found + 1;
			queue->generation = *(volatile __u32 *)&slot->generation;
			queue->queue_depth = slot->queue_depth;
			queue->queues = slot->queues;
		} else {
			block_retire(slot, pol);
		}
	}
	queue->dev = dev;
	queue->slot_plus_1 = slot_plus_1;
	/* Last, so that a CPU that finds them equal finds the rest as well; x86 keeps the order of stores. */
	barrier();
	*(volatile __u32 *)&queue->epoch = epoch;
	*(volatile __u64 *)&queue->diskseq = event->diskseq;
}

/* What is known of the event's disk, or NULL when no slot covers it. */
static __always_inline struct block_queue *block_slot(
	const struct block_event *event, struct semantos_policy *pol, __u32 *index)
{
	__u32 id = event->queue_id, epoch = *(volatile __u32 *)&pol->epoch;
	struct block_queue *queue = bpf_map_lookup_elem(&queues, &id);

	if (!queue)
		return NULL;
	if (queue->diskseq != event->diskseq || queue->epoch != epoch)
		block_queue_fill(queue, event, pol, epoch);
	if (!queue->slot_plus_1 || queue->dev != event->dev)
		return NULL;
	*index = queue->slot_plus_1 - 1;
	return queue;
}

/* The entry of the event's tag, or NULL when the device never declared such a tag. */
static __always_inline struct block_inflight *block_request(const struct block_event *event,
	const struct block_queue *queue, __u32 index, void **array, __u32 *position)
{
	*array = bpf_map_lookup_elem(&inflight, &index);
	if (!*array || event->tag >= queue->queue_depth || event->hw_queue >= queue->queues)
		return NULL;
	*position = event->hw_queue * queue->queue_depth + event->tag;
	return bpf_map_lookup_elem(*array, position);
}

/* Issue time of the read an order word stands for, if that very read is still in flight. */
static __always_inline __u64 block_in_flight(void *array, __u64 word)
{
	__u32 position = word & 0xfffff;
	struct block_inflight *entry = bpf_map_lookup_elem(array, &position);
	__u64 issue_ns;

	if (!entry || entry->state == BLOCK_FREE)
		return 0;
	issue_ns = entry->record.head.ts_ns;
	return block_order_pack(issue_ns, position) == word ? issue_ns : 0;
}

/* Put the finished record into the ring: a verdict is asked for. */
static __always_inline void block_ask(
	struct block_inflight *entry, struct block_local *mine, struct semantos_counters *row)
{
	switch (ring_send(&entry->record, &mine->since_wake_issue)) {
	case RING_SENT:
		count_in(row, SEMANTOS_C_REQUESTS_SUBMITTED);
		entry->state = BLOCK_REPORTED;
		break;
	case RING_FULL:
		count_in(row, SEMANTOS_C_DROP_RING_FULL);
		break;
	case RING_MISSING:
		count_in(row, SEMANTOS_C_RING_MISSING);
		break;
	}
}

/* A read without history asks nothing, nor does one beyond the budget. */
static __always_inline bool block_may_ask(const struct block_cpu *here,
	const struct semantos_policy *pol, struct block_local *mine, struct semantos_counters *row,
	__u64 now_ns)
{
	if (here->completed < SEMANTOS_HISTORY) {
		count_in(row, SEMANTOS_C_NO_HISTORY);
		return false;
	}
	count_in(row, SEMANTOS_C_REQUESTS);
	if (budget_take(&mine->allowance, pol->budget_per_s, now_ns))
		return true;
	count_in(row, SEMANTOS_C_DROP_OVER_BUDGET);
	return false;
}

/* A request was handed to the driver. */
static __always_inline int block_on_issue(const struct block_event *event, __u64 now_ns)
{
	struct semantos_counters *row = counter_row();
	struct semantos_policy *pol = policy_row();
	bool is_read = event->op == SEMANTOS_OP_READ;
	struct semantos_block_record *record;
	struct block_inflight *entry;
	struct block_local *mine;
	struct block_shared *shared;
	struct block_cpu *here;
	struct block_queue *queue;
	__u32 index, position, zero = 0;
	__u64 word, oldest_ns;
	void *array;

	if (!row || !pol)
		return 0;
	queue = block_slot(event, pol, &index);
	if (!queue) {
		count_in(row, SEMANTOS_C_NOT_OURS);
		return 0;
	}
	count_in(row, SEMANTOS_C_EVENTS);
	entry = block_request(event, queue, index, &array, &position);
	if (!entry) {
		count_in(row, SEMANTOS_C_TAG_RANGE);
		return 0;
	}
	shared = bpf_map_lookup_elem(&history, &index);
	here = bpf_map_lookup_elem(&history_cpu, &index);
	mine = bpf_map_lookup_elem(&local, &zero);
	if (!shared || !here || !mine) {
		count_in(row, SEMANTOS_C_LOOKUP_FAILED);
		return 0;
	}
	record = &entry->record;
	if (entry->state == BLOCK_REPORTED && is_read && record->sector == event->sector &&
		record->sectors == event->sectors) {
		/* A driver without room gave it back untold (virtio does): the same read is handed over again. */
		count_in(row, SEMANTOS_C_REQUEUED);
		return 0;
	}
	if (entry->state != BLOCK_FREE) {
		/* Its completion was never seen (a nested hook run is skipped by the kernel): mend the depth. */
		block_depth_leave(here, record->sectors, record->head.kind != 0);
		if (entry->state == BLOCK_REPORTED)
			count_in(row, SEMANTOS_C_DROP_OUTCOME_REUSED);
	}
	mine->last_request = event->request;
	mine->last_hw_queue = event->hw_queue;
	mine->last_tag = event->tag;
	entry->state = BLOCK_IN_FLIGHT;
	block_slot_generation(entry) = queue->generation;
	record->head.kind = is_read ? SEMANTOS_REQUEST : 0;
	record->head.ts_ns = now_ns;
	record->sectors = event->sectors;
	block_depth_enter(shared, here, event->sectors, is_read, now_ns);
	if (!is_read) {
		count_in(row, SEMANTOS_C_WRITES);
		return 0;
	}
	count_in(row, SEMANTOS_C_READS);
	oldest_ns = block_oldest_ns(shared, here, block_in_flight, array);
	block_order_push(here, now_ns, position);
	block_depth_features(here, record);
	if (!block_may_ask(here, pol, mine, row, now_ns))
		return 0;
	record->head.slot = index;
	record->head.request_id = ++mine->sequence << 12 | (bpf_get_smp_processor_id() & 0xfff);
	record->head.generation = queue->generation & SEMANTOS_GENERATION_MASK;
	record->head.flags = semantos_in_canary(record->head.request_id, pol->canary_percent)
				     ? SEMANTOS_F_CANARY
				     : 0;
	record->op = SEMANTOS_OP_READ;
	record->sector = event->sector;
	block_features(here, record, now_ns);
	record->oldest_age_us = oldest_ns && now_ns > oldest_ns ? ns_to_us(now_ns - oldest_ns) : 0;
	word = verdict_in_force(index, queue->generation, pol, now_ns);
	record->class_in_force = word ? semantos_verdict_class(word) : SEMANTOS_CLASS_DEFAULT;
	record->confidence_in_force = word ? semantos_verdict_confidence(word) : 0;
	record->latency_us = 0;
	block_ask(entry, mine, row);
	return 0;
}

/* Common to completion and requeue: find the entry in flight and take it out of the depth. */
static __always_inline struct block_inflight *block_take(const struct block_event *event,
	struct semantos_counters *row, struct semantos_policy *pol, struct block_shared **shared,
	struct block_cpu **here, __u32 *was)
{
	struct block_inflight *entry;
	struct block_queue *queue;
	__u32 index, position;
	void *array;

	queue = block_slot(event, pol, &index);
	if (!queue)
		return NULL;
	count_in(row, SEMANTOS_C_EVENTS);
	entry = block_request(event, queue, index, &array, &position);
	*shared = bpf_map_lookup_elem(&history, &index);
	*here = bpf_map_lookup_elem(&history_cpu, &index);
	if (!entry || !*shared || !*here) {
		count_in(row, SEMANTOS_C_TAG_RANGE);
		return NULL;
	}
	*was = entry->state;
	if (*was == BLOCK_FREE) {
		count_in(row, SEMANTOS_C_UNMATCHED_DONE);
		return NULL;
	}
	entry->state = BLOCK_FREE;
	if (block_slot_generation(entry) != queue->generation) {
		/* The model was swapped while it was in flight: the depth still counts it, its outcome judges nobody. */
		if (*was == BLOCK_REPORTED) {
			count_in(row, SEMANTOS_C_OUTCOMES);
			count_in(row, SEMANTOS_C_DROP_OUTCOME_DEVICE_GONE);
			*was = BLOCK_IN_FLIGHT;
		}
	}
	block_depth_leave(*here, entry->record.sectors, entry->record.head.kind != 0);
	if (entry->record.head.kind)
		block_order_done(*here, entry->record.head.ts_ns, position);
	return entry;
}

/* The whole request completed. */
static __always_inline int block_on_complete(const struct block_event *event, __u64 now_ns)
{
	struct semantos_counters *row = counter_row();
	struct semantos_policy *pol = policy_row();
	struct block_inflight *entry;
	struct block_local *mine;
	struct block_shared *shared;
	struct block_cpu *here;
	__u32 was, zero = 0, latency_us;
	__u64 issue_ns;

	if (!row || !pol)
		return 0;
	entry = block_take(event, row, pol, &shared, &here, &was);
	if (!entry)
		return 0;
	issue_ns = entry->record.head.ts_ns;
	latency_us = now_ns > issue_ns ? ns_to_us(now_ns - issue_ns) : 0;
	if (!event->error)
		block_completed(shared, here, &entry->record, entry->record.head.kind != 0,
			latency_us, now_ns);
	if (was != BLOCK_REPORTED)
		return 0;
	count_in(row, SEMANTOS_C_OUTCOMES);
	entry->record.head.kind = SEMANTOS_OUTCOME;
	if (event->error)
		entry->record.head.flags |= SEMANTOS_F_ERROR;
	entry->record.latency_us = latency_us;
	mine = bpf_map_lookup_elem(&local, &zero);
	if (!mine)
		return 0;
	switch (ring_send(&entry->record, &mine->since_wake_done)) {
	case RING_SENT:
		count_in(row, SEMANTOS_C_OUTCOMES_SUBMITTED);
		break;
	case RING_FULL:
		count_in(row, SEMANTOS_C_DROP_OUTCOME_RING_FULL);
		break;
	case RING_MISSING:
		count_in(row, SEMANTOS_C_RING_MISSING);
		break;
	}
	return 0;
}

/*
 * The driver was busy and gave the request back: it will be issued again as a new one. The block layer returns the
 * tag before it says so, and does both right after the issue, on the same CPU.
 */
static __always_inline int block_on_requeue(struct block_event *event)
{
	struct semantos_counters *row = counter_row();
	struct semantos_policy *pol = policy_row();
	struct block_local *mine;
	struct block_shared *shared;
	struct block_cpu *here;
	__u32 was, zero = 0;

	mine = bpf_map_lookup_elem(&local, &zero);
	if (!row || !pol || !mine)
		return 0;
	if (mine->last_request == event->request) {
		event->hw_queue = mine->last_hw_queue;
		event->tag = mine->last_tag;
	}
	if (!block_take(event, row, pol, &shared, &here, &was))
		return 0;
	count_in(row, SEMANTOS_C_REQUEUED);
	if (was == BLOCK_REPORTED)
		count_in(row, SEMANTOS_C_DROP_OUTCOME_REQUEUED);
	return 0;
}

#endif
