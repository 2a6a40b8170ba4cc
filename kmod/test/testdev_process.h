/* SPDX-License-Identifier: GPL-2.0 */
/*
 * testdev_process.h - the random process behind a test disk's latency: when it is slow, and how long a read takes.
 *
 * Owns the truth a predictor is judged against. Integers only; it reads no clock and takes no lock: the caller gives
 * the time, and holds the disk's lock.
 */
#ifndef SEMANTOS_TESTDEV_PROCESS_H
#define SEMANTOS_TESTDEV_PROCESS_H

#include <linux/log2.h>
#include <linux/string.h>
#include <linux/time64.h>
#include <linux/types.h>
#include "testdev_trace.h"

enum model { MEMORY, IID, FIXED, TRACE };
static const char *const model_names[] = { "memory", "iid", "fixed", "trace" };

struct spec {
	enum model model;
	u32 fast_us, slow_us, fast_ms, slow_ms, slow_ppm, jitter_pct, write_us, mb, backed;
	u32 depth, queues, seed;
	u32 cache, store; /* of its memory: testdev_store.h */
	u32 hang; /* held: 1 reads, 2 writes and flushes, 3 both */
	u32 read_errors, write_errors, flush_errors; /* so many still fail */
	u32 stretch; /* a trace's times are multiplied by it */
	u32 channels; /* requests served at a time, the rest wait in turn; 0 = any number */
	u32 kib_ns; /* added for each KiB */
	char file[128]; /* of a trace */
};

#define MAX_CHANNELS 16

struct process {
	struct spec spec;
	const struct trace *trace;
	u64 start_ns;
	u64 period_rng, draw_rng; /* apart, so that the periods do not depend on the load */
	u64 period_end_ns;
	bool slow;
	u64 reads, slow_reads, periods;
	u64 free_ns[MAX_CHANNELS]; /* when each channel is done with what it was given */
};

/* splitmix64 (Steele, Lea and Flood, OOPSLA'14): any seed will do, also neighbours. */
static inline u32 draw(u64 *rng)
{
	u64 z = (*rng += 0x9e3779b97f4a7c15ULL);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (z ^ z >> 31) >> 32;
}

/* An exponential draw: mean * -ln(u). The logarithm is taken to base 2 in 1/65536, exact to 0.01. */
static inline u64 draw_exponential(u64 *rng, u64 mean_ns)
{
	u32 u = draw(rng) | 1, whole = ilog2(u);
	u64 fraction = ((u64)u << (31 - whole) & 0x7fffffff) >> 15;
	u64 log =
		((u64)whole << 16) + fraction + (fraction * (65536 - fraction) * 344 / 1000 >> 16);
	u64 nats = ((32ULL << 16) - log) * 45426 >> 16; /* ln 2 in 1/65536 */

	return (mean_ns >> 8) * nats >> 8;
}

static inline u64 period_ns(struct process *p)
{
	return draw_exponential(
		&p->period_rng, (p->slow ? p->spec.slow_ms : p->spec.fast_ms) * (u64)NSEC_PER_MSEC);
}

/* Is the disk in a slow period at `now`, which may not run backwards? */
static inline bool process_slow(struct process *p, u64 now)
{
	/* Every period is drawn, also those without I/O: 2 ms is the least mean, so this ends soon. */
	while (p->spec.model == MEMORY && now >= p->period_end_ns) {
		p->slow = !p->slow;
		p->periods++;
		p->period_end_ns += period_ns(p) + 1;
	}
	return p->slow;
}

static inline u64 jittered(struct process *p, u64 ns)
{
	u64 spread = ns * p->spec.jitter_pct / 100;

	return ns - spread + (2 * spread * (draw(&p->draw_rng) >> 16) >> 16);
}

/* How long a read of `bytes` takes in ns that is begun at `now`. `now` may not run backwards. */
static inline u64 process_read_ns(struct process *p, u64 now, u32 bytes)
{
	const struct spec *s = &p->spec;
	u64 wire_ns = (u64)bytes * s->kib_ns >> 10;
	bool slow;

	if (s->model == TRACE) {
		u64 at_us = div_u64(now - p->start_ns, NSEC_PER_USEC * s->stretch);

		return wire_ns + trace_latency_us(p->trace, p->reads++, at_us) *
					 (u64)NSEC_PER_USEC * s->stretch;
	}
	slow = s->model == IID ? (u64)draw(&p->draw_rng) * 1000000 >> 32 < s->slow_ppm
			       : process_slow(p, now);
	p->reads++;
	p->slow_reads += slow;
	if (slow)
		wire_ns = div_u64(wire_ns * s->slow_us, s->fast_us);
	return jittered(p, (slow ? s->slow_us : s->fast_us) * (u64)NSEC_PER_USEC) + wire_ns;
}

/* The same of a write. One that has to wait for a channel is as much slower in slow periods as a read is. */
static inline u64 process_write_ns(struct process *p, u64 now, u32 bytes)
{
	const struct spec *s = &p->spec;
	u64 ns = s->write_us * (u64)NSEC_PER_USEC + ((u64)bytes * s->kib_ns >> 10);

	if (!s->channels)
		return ns;
	if (process_slow(p, now))
		ns = div_u64(ns * s->slow_us, s->fast_us);
	return jittered(p, ns);
}

/* How long it takes until a request is answered that arrives at `now`: it waits for a channel, then is served. */
static inline u64 process_request_ns(struct process *p, u64 now, u32 bytes, bool write)
{
	u64 begin = now, ns;
	u32 first = 0, i;

	for (i = 1; i < p->spec.channels; i++)
		if (p->free_ns[i] < p->free_ns[first])
			first = i;
	if (p->spec.channels && p->free_ns[first] > now)
		begin = p->free_ns[first];
	ns = begin - now +
	     (write ? process_write_ns(p, begin, bytes) : process_read_ns(p, begin, bytes));
	p->free_ns[first] = now + ns;
	return ns;
}

/* Begin in a fast period at `now`. */
static inline void process_start(struct process *p, const struct spec *spec, u64 now)
{
	p->spec = *spec;
	p->start_ns = now;
	p->period_rng = (u64)spec->seed << 32;
	p->draw_rng = ~p->period_rng;
	p->slow = false;
	p->reads = p->slow_reads = p->periods = 0;
	memset(p->free_ns, 0, sizeof(p->free_ns));
	p->period_end_ns = now + period_ns(p);
}

#endif
