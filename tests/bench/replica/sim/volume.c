// SPDX-License-Identifier: Apache-2.0
/*
 * volume.c - a replica volume as a queue of events: requests come when the trace says, go to their legs at once, and
 * are answered when the disk says. What kmod/blk_volume.c and hedge.c do to a leg's history happens here in the same order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/bench/replica/sim/sim.h"
#include "tests/bench/replica/trace.h"

#define PAUSE_NS 1000000000ULL /* between two traces */
/*
 * A request of more sectors than a test disk takes at once is cut up by device-mapper, and a leg decided on for each part;
 * the leg's queue cuts what does not end at a page of the disk once more.
 */
#define PART_SECTORS 255
#define PAGE_SECTORS 8

/* One request on one leg, or (leg == HEDGE) the time at which a read may be sent to a second one. */
#define HEDGE 255

/* A part of a request that came to the volume. */
struct part {
	struct part *next;
	uint64_t id;
	uint32_t request, sector, sectors;
	bool answered;
};

struct event {
	uint64_t at_ns, order, issue_ns;
	struct part *part;
	struct event *older, *newer; /* reads in flight on the leg, by issue */
	uint32_t pending_pages, inflight;
	uint8_t leg, second;
	struct semantos_block_record record; /* of a read: as it stood at issue */
};

struct replay {
	struct sim_volume *volume;
	const struct sim_trace *trace;
	const struct sim_row *row;
	struct sim_run *run;
	struct request *request;
	uint32_t *read_number; /* of each request that is a read */
	uint32_t *parts_left; /* of each request */
	struct part *parts;
	uint64_t begin_ns, order;
	struct event **heap;
	size_t n, room;
	struct event *oldest[SEMANTOS_BLK_MAX_LEGS], *newest[SEMANTOS_BLK_MAX_LEGS];
};

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "sim: no memory\n");
		exit(1);
	}
	return p;
}

/* ---- the queue ---- */

static bool before(const struct event *a, const struct event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void push(struct replay *r, struct event *e)
{
	size_t i;

	if (r->n == r->room) {
		r->room = r->room ? 2 * r->room : 256;
		r->heap = must(realloc(r->heap, r->room * sizeof(struct event *)));
	}
	e->order = r->order++;
	for (i = r->n++; i && before(e, r->heap[(i - 1) / 2]); i = (i - 1) / 2)
		r->heap[i] = r->heap[(i - 1) / 2];
	r->heap[i] = e;
}

static struct event *pop(struct replay *r)
{
	struct event *first = r->heap[0], *last = r->heap[--r->n];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < r->n) {
		child += child + 1 < r->n && before(r->heap[child + 1], r->heap[child]);
		if (before(last, r->heap[child]))
			break;
		r->heap[i] = r->heap[child];
		i = child;
	}
	r->heap[i] = last;
	return first;
}

/* ---- legs ---- */

static void order_add(struct replay *r, struct event *e)
{
	struct leg_history *leg = &r->volume->leg[e->leg];

	e->older = r->newest[e->leg];
	if (e->older)
		e->older->newer = e;
	else
		r->oldest[e->leg] = e;
	r->newest[e->leg] = e;
	if (!e->older)
		leg->oldest_ns = e->issue_ns;
}

static void order_remove(struct replay *r, struct event *e)
{
	*(e->older ? &e->older->newer : &r->oldest[e->leg]) = e->newer;
	*(e->newer ? &e->newer->older : &r->newest[e->leg]) = e->older;
	r->volume->leg[e->leg].oldest_ns = r->oldest[e->leg] ? r->oldest[e->leg]->issue_ns : 0;
}

/* Until the disk has answered the last piece of a part. */
static uint64_t serve(struct replay *r, const struct part *p, uint32_t leg, bool write)
{
	uint32_t sector = p->sector, left = p->sectors, n;
	uint64_t ns, most = 0;

	for (; left; left -= n, sector += n) {
		n = left;
		if (sector % PAGE_SECTORS + n > PART_SECTORS)
			n = (sector % PAGE_SECTORS + PART_SECTORS) / PAGE_SECTORS * PAGE_SECTORS -
			    sector % PAGE_SECTORS;
		n = n < left ? n : left;
		ns = sim_disk_serve(r->volume->disk[leg], r->volume->now_ns, n * 512, write);
		most = ns > most ? ns : most;
	}
	return most;
}

static void start(struct replay *r, struct part *p, uint32_t number)
{
	bool read = r->request[p->request].read;
	struct leg_history *leg = &r->volume->leg[number];
	struct event *e = must(calloc(1, sizeof(*e)));
	uint64_t now = r->volume->now_ns;

	e->issue_ns = now;
	e->part = p;
	e->leg = (uint8_t)number;
	if (read)
		leg_record(leg, &e->record, p->sectors, now);
	leg_enter(leg, p->sectors, read);
	e->pending_pages = leg->pending_pages;
	e->inflight = leg->inflight;
	e->at_ns = now + serve(r, p, number, !read);
	e->record.head.kind = SEMANTOS_OUTCOME;
	e->record.head.ts_ns = now;
	e->record.head.request_id = p->id;
	if (read) {
		order_add(r, e);
		r->run->extra++;
		if (r->row->issued && e->record.history_len == SEMANTOS_HISTORY)
			r->row->issued(number, &e->record);
	}
	push(r, e);
}

static void end(struct replay *r, struct event *e)
{
	struct part *p = e->part;
	const struct request *q = &r->request[p->request];
	struct leg_history *leg = &r->volume->leg[e->leg];
	uint64_t now = r->volume->now_ns;
	uint32_t us = leg_us_between(e->issue_ns, now), read = r->read_number[p->request];

	leg_leave(leg, p->sectors, q->read);
	if (!q->read) {
		leg_done(leg, us, now);
		return;
	}
	order_remove(r, e);
	leg_read_done(leg, us, e->pending_pages, e->inflight, p->sectors, now);
	e->record.latency_us = us;
	if (r->row->captured && e->record.history_len == SEMANTOS_HISTORY)
		r->row->captured(e->leg, &e->record);
	if (r->row->done)
		r->row->done(&(struct semantos_blk_done){ .id = p->id,
			.now_ns = now,
			.sectors = p->sectors,
			.leg = e->leg,
			.latency_us = us });
	if (p->answered)
		return; /* the other leg was first */
	p->answered = true;
	if (!r->run->leg[read])
		r->run->leg[read] = e->leg + 1;
	if (!--r->parts_left[p->request])
		r->run->us[read] =
			(float)((double)(now - r->begin_ns) / 1e3 / r->trace->stretch - q->at_us);
}

/* ---- choosing ---- */

static uint32_t fewest_outstanding(const struct sim_volume *volume, uint32_t from)
{
	uint32_t best = 0, least = UINT32_MAX;

	for (uint32_t i = 0; i < volume->nr_legs; i++) {
		uint32_t leg = (from + i) % volume->nr_legs;

		if (volume->leg[leg].inflight < least) {
			least = volume->leg[leg].inflight;
			best = leg;
		}
	}
	return best;
}

static void send_read(struct replay *r, struct part *p)
{
	struct sim_volume *volume = r->volume;
	struct semantos_blk_read read = { .id = ++volume->ids << 12,
		.now_ns = volume->now_ns,
		.sector = p->sector,
		.sectors = p->sectors,
		.nr_legs = volume->nr_legs,
		.eligible = (1U << volume->nr_legs) - 1 };
	uint32_t leg;
	int said;

	p->id = read.id;
	leg = read.default_leg = fewest_outstanding(volume, (uint32_t)volume->ids);
	said = r->row->select ? r->row->select(volume, &read) : SEMANTOS_BLK_DEFAULT;
	if (said >= 0 && (uint32_t)said < volume->nr_legs)
		leg = (uint32_t)said;
	start(r, p, leg);
	if (read.hedge_after_us && read.hedge_leg != leg) {
		struct event *e = must(calloc(1, sizeof(*e)));

		*e = (struct event){ .at_ns = volume->now_ns + read.hedge_after_us * 1000ULL,
			.part = p,
			.leg = HEDGE,
			.second = (uint8_t)read.hedge_leg };
		push(r, e);
	}
}

static void send(struct replay *r, uint32_t k)
{
	const struct request *q = &r->request[k];

	for (uint32_t done = 0; done < q->sectors; done += PART_SECTORS) {
		struct part *p = must(calloc(1, sizeof(*p)));

		p->next = r->parts;
		r->parts = p;
		p->request = k;
		p->sector = q->sector + done;
		p->sectors = q->sectors - done < PART_SECTORS ? q->sectors - done : PART_SECTORS;
		r->parts_left[k]++;
		if (q->read)
			send_read(r, p);
		else
			for (uint32_t i = 0; i < r->volume->nr_legs; i++)
				start(r, p, i);
	}
}

/* Take what comes until that time. */
static void run_until(struct replay *r, uint64_t until_ns)
{
	while (r->n && r->heap[0]->at_ns <= until_ns) {
		struct event *e = pop(r);

		r->volume->now_ns = e->at_ns;
		if (e->leg != HEDGE)
			end(r, e);
		else if (!e->part->answered)
			start(r, e->part, e->second);
		free(e);
	}
	if (until_ns != UINT64_MAX)
		r->volume->now_ns = until_ns;
}

void sim_replay(struct sim_volume *volume, const struct sim_trace *trace, const struct sim_row *row,
	struct sim_run *run)
{
	uint32_t count = trace_count(trace->mix, trace->ms);
	struct replay r = { .volume = volume, .trace = trace, .row = row, .run = run };

	*run = (struct sim_run){ 0 };
	r.request = must(trace_make(trace->mix, trace->seed, count));
	r.read_number = must(calloc(count, sizeof(*r.read_number)));
	r.parts_left = must(calloc(count, sizeof(*r.parts_left)));
	for (uint32_t k = 0; k < count; k++)
		if (r.request[k].read)
			r.read_number[k] = run->reads++;
	run->us = must(calloc(run->reads, sizeof(*run->us)));
	run->leg = must(calloc(run->reads, 1));
	volume->now_ns += PAUSE_NS;
	volume->ids = 0; /* legs take turns alike under every row */
	r.begin_ns = volume->now_ns;
	for (uint32_t i = 0; i < volume->nr_legs; i++)
		sim_disk_restart(volume->disk[i], trace->seed * 100 + i, trace->seed % 50 * 1000,
			r.begin_ns);
	for (uint32_t k = 0; k < count; k++) {
		run_until(&r, r.begin_ns + (uint64_t)(r.request[k].at_us * 1e3 * trace->stretch));
		send(&r, k);
	}
	run_until(&r, UINT64_MAX);
	run->extra -= run->reads;
	while (r.parts) {
		struct part *p = r.parts;

		r.parts = p->next;
		free(p);
	}
	free(r.heap);
	free(r.parts_left);
	free(r.read_number);
	free(r.request);
}
