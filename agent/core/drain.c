/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drain.c - a timer, the rings' own descriptors, the change between the two, and spinning in place of the timer.
 *
 * States: asleep (idle is set, the next record wakes us), waiting (the timer runs), spinning (the timer rests and the
 * loop calls spin() without a pause). Sleep is entered through ring_sleep() alone, so the wake protocol holds however
 * we came there.
 */
#include "agent/core/drain.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define WAKE_COST_NS \
	5000 /* epoll_wait, the timer's read and the switch to us: 3 to 6 µs on the machines tried */
#define LOOK_EVERY_NS 20000 /* spinning: between two looks for somebody who waits for the CPU */
#define SPIN_TURN 64 /* records of a round after which descriptors and timers are looked at */
#define SECOND_NS 1000000000ULL

struct drain {
	struct loop *loop;
	struct ring_reader *reader;
	uint64_t window_ns;
	enum drain_spin spin;
	drain_fn *drained;
	void *ctx;
	struct loop_source *timer, **wake; /* wake: [ring_count] */
	bool awake; /* the timer runs, or we spin */
	bool spinning;
	uint32_t empty_rounds;
	uint64_t last_ns; /* when records were found last */
	uint64_t gap_ns; /* mean time between records, weight 1/8 a round */
	uint64_t looked_ns, rest_until_ns; /* spinning */
	uint64_t second_ns, second_barren_ns; /* of the present second */
	long preempted; /* times another task took the CPU from us */
	struct drain_counts counts;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

int drain_spin_parse(const char *text)
{
	static const char *const name[] = { "never", "auto", "always" };

	for (int spin = SPIN_NEVER; spin <= SPIN_ALWAYS; spin++)
		if (!strcmp(text, name[spin]))
			return spin;
	return -EINVAL;
}

uint64_t drain_window(uint64_t ttl_ns, uint64_t round_ns, uint64_t per_s, uint32_t ring_bytes)
{
	const uint64_t record_bytes = sizeof(struct semantos_block_record) + 8;
	uint64_t window_ns = (uint64_t)((double)(round_ns + WAKE_COST_NS) / DRAIN_SHARE);
	uint64_t full_ns = per_s ? (uint64_t)ring_bytes * SECOND_NS / 2 / (2 * per_s * record_bytes)
				 : UINT64_MAX;

	if (window_ns > ttl_ns / 4)
		window_ns = ttl_ns / 4;
	if (window_ns > full_ns)
		window_ns = full_ns;
	return window_ns < DRAIN_WINDOW_LEAST_NS ? DRAIN_WINDOW_LEAST_NS : window_ns;
}

/* "2-3,6" as the kernel writes sets of CPUs: are all of `mine` among them? */
static bool all_listed(const char *list, const cpu_set_t *mine)
{
	cpu_set_t listed;
	int used;

	CPU_ZERO(&listed);
	for (unsigned int first, last; sscanf(list, "%u%n", &first, &used) == 1;) {
		list += used;
		last = first;
		if (*list == '-' && sscanf(list + 1, "%u%n", &last, &used) == 1)
			list += used + 1;
		for (unsigned int cpu = first; cpu <= last && cpu < CPU_SETSIZE; cpu++)
			CPU_SET(cpu, &listed);
		if (*list++ != ',')
			break;
	}
	CPU_AND(&listed, &listed, mine);
	return CPU_COUNT(mine) && CPU_EQUAL(&listed, mine);
}

/* May a thread of ours take a core for itself on this machine? */
static bool core_to_own(void)
{
	char list[1024] = "";
	cpu_set_t mine;
	FILE *file;

	if (sched_getaffinity(0, sizeof(mine), &mine))
		return false;
	if (CPU_COUNT(&mine) >= DRAIN_SPIN_CPUS)
		return true;
	file = fopen("/sys/devices/system/cpu/isolated", "re");
	if (!file)
		return false;
	if (!fgets(list, sizeof(list), file))
		list[0] = 0;
	fclose(file);
	return all_listed(list, &mine);
}

enum drain_spin drain_spin_here(enum drain_spin spin)
{
	return spin == SPIN_AUTO && !core_to_own() ? SPIN_NEVER : spin;
}

static long times_preempted(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_THREAD, &usage) ? 0 : usage.ru_nivcsw;
}

static bool spin_pays(const struct drain *drain, uint64_t now)
{
	if (drain->spin != SPIN_AUTO)
		return drain->spin == SPIN_ALWAYS;
	return drain->gap_ns < DRAIN_SPIN_NS && now >= drain->rest_until_ns;
}

static void spin_begin(struct drain *drain, uint64_t now)
{
	drain->spinning = true;
	drain->looked_ns = now;
	drain->preempted = times_preempted();
	loop_timer_set(drain->timer, 0);
	ring_watched(drain->reader, true);
	loop_busy(drain->loop, 1);
}

/* Back to the timer, from where the way to sleep is the usual one. */
static void spin_end(struct drain *drain)
{
	drain->spinning = false;
	drain->empty_rounds = 0;
	loop_busy(drain->loop, -1);
	ring_watched(drain->reader, false);
	loop_timer_set(drain->timer, drain->window_ns);
}

/* Records were found at `now`, or we were woken. */
static void stay_awake(struct drain *drain, size_t n, uint64_t now)
{
	drain->empty_rounds = 0;
	if (n) {
		uint64_t gap_ns = (now - drain->last_ns) / n;

		/* A long silence is forgotten within some dozen rounds. */
		gap_ns = gap_ns < 100 * DRAIN_SPIN_NS ? gap_ns : 100 * DRAIN_SPIN_NS;
		drain->gap_ns += gap_ns / 8 - drain->gap_ns / 8;
		drain->last_ns = now;
	}
	if (!drain->awake)
		loop_timer_set(drain->timer, drain->window_ns);
	drain->awake = true;
	if (n && !drain->spinning && spin_pays(drain, now))
		spin_begin(drain, now);
}

size_t drain_round(struct drain *drain)
{
	uint64_t start = now_ns();
	size_t n = ring_drain(drain->reader);

	drain->counts.rounds++;
	drain->drained(drain->ctx, n, start);
	/*
	 * Woken, yet nothing there: an interrupt's record woke us while the record it interrupted, before it in the same
	 * ring, was not complete. That one wakes nobody any more, so we stay awake for it.
	 */
	if (n || !drain->awake) {
		stay_awake(drain, n, start);
		return n;
	}
	if (drain->spinning || ++drain->empty_rounds < DRAIN_IDLE_ROUNDS ||
		!ring_sleep(drain->reader))
		return 0;
	loop_timer_set(drain->timer, 0);
	drain->awake = false;
	return 0;
}

/* Somebody else wants this CPU: he ran while we yielded, or took it. */
static bool others_wait(struct drain *drain)
{
	long before = drain->preempted;

	sched_yield();
	drain->preempted = times_preempted();
	return drain->preempted != before;
}

static void on_spin(void *ctx)
{
	struct drain *drain = ctx;
	uint64_t now, since;

	if (!drain->spinning)
		return;
	if (ring_waiting_bytes(drain->reader)) {
		/* Many rounds as long as that would keep the lease's timer waiting. */
		if (drain_round(drain) >= SPIN_TURN)
			loop_turn(drain->loop);
		return;
	}
	__builtin_ia32_pause();
	now = now_ns();
	since = now - drain->last_ns;
	if (now - drain->looked_ns >= LOOK_EVERY_NS) {
		uint64_t spent = now - drain->looked_ns;
		uint64_t barren = since < spent ? since : spent;

		drain->counts.spin_ns += spent;
		drain->counts.barren_ns += barren;
		drain->second_barren_ns += barren;
		drain->looked_ns = now;
		if (now - drain->second_ns >= SECOND_NS) {
			drain->second_ns = now;
			drain->second_barren_ns = 0;
		}
		if (others_wait(drain)) {
			drain->counts.yields++;
			drain->rest_until_ns = now + DRAIN_SPIN_REST_NS;
		} else if (drain->second_barren_ns > SECOND_NS / 2) {
			drain->rest_until_ns = drain->second_ns + SECOND_NS;
		}
	}
	if (drain->spin == SPIN_ALWAYS ? since > DRAIN_SPIN_QUIET_NS
				       : since > DRAIN_SPIN_NS || now < drain->rest_until_ns)
		spin_end(drain);
}

static void on_timer(void *ctx)
{
	drain_round(ctx);
}

static void on_wake(void *ctx)
{
	struct drain *drain = ctx;

	drain->counts.wakes++;
	drain_round(drain);
}

struct drain *drain_new(struct loop *loop, struct ring_reader *reader, uint64_t window_ns,
	enum drain_spin spin, drain_fn *drained, void *ctx)
{
	struct drain *drain = calloc(1, sizeof(*drain));
	int n_rings = ring_count(reader);

	if (!drain)
		return NULL;
	*drain = (struct drain){ .loop = loop,
		.reader = reader,
		.window_ns = window_ns,
		.spin = spin,
		.drained = drained,
		.ctx = ctx };
	drain->wake = calloc((size_t)n_rings, sizeof(struct loop_source *));
	drain->timer = loop_add_timer(loop, 0, on_timer, drain);
	if (!drain->wake || !drain->timer)
		goto out_free;
	if (drain->spin != SPIN_NEVER && loop_add_busy(loop, on_spin, drain)) {
		errno = ENOSPC;
		goto out_free;
	}
	for (int cpu = 0; cpu < n_rings; cpu++) {
		/* By edge: readable for as long as a producer is busy, it would have us drain without a pause. */
		drain->wake[cpu] = loop_add_wake(loop, ring_fd(reader, cpu), on_wake, drain);
		if (!drain->wake[cpu])
			goto out_free;
	}
	if (!ring_sleep(reader)) {
		loop_timer_set(drain->timer, window_ns);
		drain->awake = true;
	}
	return drain;

out_free:
	drain_free(drain);
	return NULL;
}

void drain_free(struct drain *drain)
{
	if (!drain)
		return;
	if (drain->spinning)
		spin_end(drain);
	loop_remove_busy(drain->loop, drain);
	for (int cpu = 0; drain->wake && cpu < ring_count(drain->reader); cpu++)
		loop_remove(drain->wake[cpu]);
	loop_remove(drain->timer);
	free(drain->wake);
	free(drain);
}

bool drain_asleep(const struct drain *drain)
{
	return !drain->awake;
}

void drain_window_set(struct drain *drain, uint64_t window_ns)
{
	if (window_ns == drain->window_ns)
		return;
	drain->window_ns = window_ns;
	if (drain->awake && !drain->spinning)
		loop_timer_set(drain->timer, window_ns);
}

void drain_counts(const struct drain *drain, struct drain_counts *counts)
{
	*counts = drain->counts;
}
