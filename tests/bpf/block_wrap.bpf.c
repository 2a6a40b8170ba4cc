// SPDX-License-Identifier: GPL-2.0
/*
 * block_wrap.bpf.c - the block hooks' bodies behind a program that a test can run: tracing programs cannot be.
 *
 * Same maps, same control program, same lines as a policy object; only the front end differs. `repeat` runs pairs of
 * issue and completion for a benchmark, each event reading the clock as the real front end does.
 */
#include "bpf/hooks/block.h"
#include "bpf/hooks/block_control.h"

enum wrap_what { WRAP_ISSUE, WRAP_COMPLETE, WRAP_REQUEUE, WRAP_PAIRS, WRAP_CLOCK, WRAP_VERDICT };

struct wrap_command {
	struct block_event event;
	__u64 now_ns;
	__u32 what; /* enum wrap_what */
	__u32 repeat; /* WRAP_PAIRS: pairs to run, tags counting up from event.tag, modulo tags; WRAP_VERDICT: most looks */
	__u32 tags;
	__u32 devices; /* WRAP_PAIRS: each pair on the next of so many devices, slot and queue number alike */
	__u64 elapsed_ns; /* out */
};

struct pairs {
	struct block_event event;
	__u32 first_tag, tags, devices, first_dev;
};

static long one_pair(__u64 i, struct pairs *pairs)
{
	if (!pairs->tags)
		return 1;
	pairs->event.tag = pairs->first_tag + (__u32)i % pairs->tags;
	if (pairs->devices) {
		/* 37 is prime to 1,024: the order has no neighbours in it. */
		pairs->event.queue_id = (__u32)i * 37 % pairs->devices;
		pairs->event.dev = pairs->first_dev + pairs->event.queue_id;
	}
	block_on_issue(&pairs->event, bpf_ktime_get_boot_ns());
	block_on_complete(&pairs->event, bpf_ktime_get_boot_ns());
	return 0;
}

/* What the loop and the clock alone cost. */
static long one_clock(__u64 i, struct pairs *pairs)
{
	pairs->event.sector += bpf_ktime_get_boot_ns() ^ bpf_ktime_get_boot_ns();
	return 0;
}

struct looks {
	__u32 slot;
	__u64 expires;
	bool seen;
};

static long one_look(__u64 i, struct looks *looks)
{
	struct semantos_verdict_row *row = bpf_map_lookup_elem(&verdicts, &looks->slot);

	looks->seen = row && *(volatile __u64 *)&row->verdict >> 24 == looks->expires;
	return looks->seen;
}

/*
 * Issue a read, then look at its device's verdict until the one made from this read's record is there: what a kernel
 * consumer on this CPU would see. elapsed_ns is from the record's own time to then, 0 when it never came. Verdicts
 * are told apart by their expiry, so two reads must be more than 65,536 ns apart.
 */
static int issue_and_look(struct wrap_command *command, const struct block_event *event)
{
	struct semantos_policy *pol = policy_row();
	struct looks looks = { .slot = event->queue_id };
	__u64 now_ns = bpf_ktime_get_boot_ns();

	if (!pol)
		return -22;
	looks.expires = (now_ns + pol->ttl_ns) >> SEMANTOS_EXPIRES_SHIFT & SEMANTOS_EXPIRES_MASK;
	block_on_issue(event, now_ns);
	bpf_loop(command->repeat, one_look, &looks, 0);
	command->elapsed_ns = looks.seen ? bpf_ktime_get_boot_ns() - now_ns : 0;
	return 0;
}

SEC("syscall")
int wrap(struct wrap_command *command)
{
	struct pairs pairs;
	struct block_event event;
	__u64 start;

	__builtin_memcpy(&event, &command->event, sizeof(event));
	switch (command->what) {
	case WRAP_ISSUE:
		return block_on_issue(&event, command->now_ns);
	case WRAP_COMPLETE:
		return block_on_complete(&event, command->now_ns);
	case WRAP_REQUEUE:
		return block_on_requeue(&event);
	case WRAP_VERDICT:
		return issue_and_look(command, &event);
	case WRAP_PAIRS:
	case WRAP_CLOCK:
		__builtin_memcpy(&pairs.event, &event, sizeof(event));
		pairs.first_tag = event.tag;
		pairs.tags = command->tags;
		pairs.devices = command->devices;
		pairs.first_dev = event.dev;
		start = bpf_ktime_get_ns();
		bpf_loop(command->repeat,
			command->what == WRAP_PAIRS ? (void *)one_pair : (void *)one_clock, &pairs,
			0);
		command->elapsed_ns = bpf_ktime_get_ns() - start;
		return 0;
	}
	return -22;
}

char LICENSE[] SEC("license") = "GPL";
