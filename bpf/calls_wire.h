/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * calls_wire.h - the record of one window of a process's system calls, shared by the hooks and the agent.
 *
 * A window ends when it holds SEMANTOS_CALLS_WINDOW calls, at the first call after SEMANTOS_CALLS_WINDOW_NS, or with the
 * process; shorter ones than SEMANTOS_CALLS_LEAST say too little: time does not end them, and with their process they are
 * dropped and counted. References are windows too, so these numbers are part of what they mean.
 */
#ifndef SEMANTOS_CALLS_WIRE_H
#define SEMANTOS_CALLS_WIRE_H

#include "bpf/calls.h"
#include "bpf/wire.h"

#define SEMANTOS_CALLS_WINDOW 1024
#define SEMANTOS_CALLS_LEAST 64
#define SEMANTOS_CALLS_WINDOW_NS 10000000000ULL

#define SEMANTOS_CALLS_RECORD 8 /* kind, beside those of enum semantos_record_kind */

/* flags of the head */
#define SEMANTOS_CALLS_F_EXIT 0x01 /* the process ended: there is nobody left to act on */
#define SEMANTOS_CALLS_F_I386 0x02 /* some of the calls were those of i386 */

/*
 * head.slot 0, head.generation 0, head.ts_ns the end of the window. Names are as the process gave them to itself, any bytes.
 */
struct semantos_calls_record {
	struct semantos_record_head head;
	wire_u64
		start_ns; /* boot time at which the process (its first thread) started: with pid it is one process */
	wire_u64 began_ns; /* of the window, boot time; of its first calls, within 16 of them */
	wire_u64 cgroup; /* id of its group (v2) */
	wire_u32 pid, parent; /* thread group ids in the initial pid namespace */
	wire_u32 calls; /* sum of count */
	wire_u32 threads;
	char comm[16];
	wire_u16 count[SEMANTOS_CALLS]; /* saturates */
};

SEMANTOS_ASSERT_SIZE(struct semantos_calls_record, 344);
_Static_assert(
	__builtin_offsetof(struct semantos_calls_record, count) == 88, "wire offset of count");

#endif
