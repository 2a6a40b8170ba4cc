// SPDX-License-Identifier: Apache-2.0
/*
 * test_loop.c - calls of other threads run on the loop's thread or never, sources may go at any time, nothing starves.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/core/loop.h"

#define MS 1000000ULL
#define CALLERS 8
#define CALLS 2000

static pthread_t loop_thread;
static int loop_result;

static void *run(void *loop)
{
	loop_result = loop_run(loop);
	return NULL;
}

static struct loop *start(void)
{
	struct loop *loop = loop_new();

	assert_non_null(loop);
	assert_int_equal(pthread_create(&loop_thread, NULL, run, loop), 0);
	return loop;
}

static void end(struct loop *loop)
{
	loop_stop(loop);
	pthread_join(loop_thread, NULL);
	assert_int_equal(loop_result, 0);
	loop_free(loop);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void note_thread(void *ctx)
{
	*(pthread_t *)ctx = pthread_self();
}

static void call_runs_on_the_loops_thread(void **state)
{
	struct loop *loop = start();
	pthread_t where = pthread_self();

	(void)state;
	assert_int_equal(loop_call(loop, note_thread, &where, 5000), 0);
	assert_true(pthread_equal(where, loop_thread));
	end(loop);
}

static atomic_int ran;
static atomic_bool hold, held;

static void hold_loop(void *ctx)
{
	(void)ctx;
	atomic_store(&held, true);
	while (atomic_load(&hold))
		usleep(1000);
}

static void *hold_from_another_thread(void *loop)
{
	loop_call(loop, hold_loop, NULL, 60000);
	return NULL;
}

static void count(void *ctx)
{
	(void)ctx;
	atomic_fetch_add(&ran, 1);
}

static void call_that_timed_out_never_runs(void **state)
{
	struct loop *loop = start();
	pthread_t holder;
	uint64_t begin;

	(void)state;
	atomic_store(&ran, 0);
	atomic_store(&hold, true);
	atomic_store(&held, false);
	assert_int_equal(pthread_create(&holder, NULL, hold_from_another_thread, loop), 0);
	while (!atomic_load(&held))
		usleep(1000);
	begin = now_ns();
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_call(loop, count, NULL, 10), -ETIMEDOUT);
	assert_true(now_ns() - begin >= 50 * MS);
	atomic_store(&hold, false);
	pthread_join(holder, NULL);
	/* The queue is whole again: later calls run, the lost ones do not. */
	assert_int_equal(loop_call(loop, count, NULL, 5000), 0);
	assert_int_equal(loop_call(loop, count, NULL, 5000), 0);
	assert_int_equal(atomic_load(&ran), 2);
	end(loop);
}

struct release {
	uint32_t after_ms; /* of the call's begin */
	atomic_bool given_up; /* it did not begin */
};

static void *release_later(void *arg)
{
	struct release *release = arg;

	while (!atomic_load(&held) && !atomic_load(&release->given_up))
		usleep(1000);
	usleep(release->after_ms * 1000);
	atomic_store(&hold, false);
	return NULL;
}

/* A call that has begun is waited for, however short the timeout. */
static void call_that_began_is_waited_for(void **state)
{
	struct loop *loop = start();
	int err = -ETIMEDOUT;

	(void)state;
	/* On a busy machine it may not have begun in time: longer ones then, as long as that. */
	for (uint32_t timeout_ms = 5; timeout_ms <= 5000 && err == -ETIMEDOUT; timeout_ms *= 10) {
		struct release release = { .after_ms = timeout_ms + 15 };
		pthread_t releaser;

		atomic_store(&hold, true);
		atomic_store(&held, false);
		assert_int_equal(pthread_create(&releaser, NULL, release_later, &release), 0);
		err = loop_call(loop, hold_loop, NULL, timeout_ms);
		if (err)
			atomic_store(&release.given_up, true);
		else
			assert_false(atomic_load(&hold));
		pthread_join(releaser, NULL);
	}
	assert_int_equal(err, 0);
	end(loop);
}

static void *call_until_ended(void *loop)
{
	int err;

	do
		err = loop_call(loop, count, NULL, 5000);
	while (!err);
	return (void *)(intptr_t)err;
}

static void calls_end_with_the_loop(void **state)
{
	struct loop *loop = start();
	pthread_t caller[CALLERS];
	void *err;

	(void)state;
	for (int i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_create(&caller[i], NULL, call_until_ended, loop), 0);
	usleep(20000);
	loop_stop(loop);
	for (int i = 0; i < CALLERS; i++) {
		pthread_join(caller[i], &err);
		assert_int_equal((intptr_t)err, -ESHUTDOWN);
	}
	pthread_join(loop_thread, NULL);
	assert_int_equal(loop_call(loop, count, NULL, 5000), -ESHUTDOWN);
	loop_free(loop);
}

static uint64_t plain; /* only the loop's thread touches it while the loop runs */

static void add_plain(void *ctx)
{
	plain += *(uint64_t *)ctx;
}

static void *call_often(void *loop)
{
	uint64_t one = 1, failed = 0;

	for (int i = 0; i < CALLS; i++)
		failed += loop_call(loop, add_plain, &one, 30000) != 0;
	return (void *)(uintptr_t)failed;
}

static void many_threads_lose_no_call(void **state)
{
	struct loop *loop = start();
	pthread_t caller[CALLERS];
	void *failed;

	(void)state;
	plain = 0;
	for (int i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_create(&caller[i], NULL, call_often, loop), 0);
	for (int i = 0; i < CALLERS; i++) {
		pthread_join(caller[i], &failed);
		assert_int_equal((uintptr_t)failed, 0);
	}
	end(loop);
	assert_int_equal(plain, CALLERS * CALLS);
}

struct beat {
	uint64_t n, longest_ns, last_ns;
};

static void on_beat(void *ctx)
{
	struct beat *beat = ctx;
	uint64_t now = now_ns();

	if (beat->n++ && now - beat->last_ns > beat->longest_ns)
		beat->longest_ns = now - beat->last_ns;
	beat->last_ns = now;
}

struct gap {
	struct loop *loop;
	uint64_t turn; /* of the loop */
	uint64_t calls, most; /* calls run since the loop's last turn */
	struct loop_source *source;
};

static void on_turn(void *ctx)
{
	struct gap *gap = ctx;

	if (gap->calls > gap->most)
		gap->most = gap->calls;
	gap->calls = 0;
	gap->turn++;
}

static void count_call(void *ctx)
{
	struct gap *gap = ctx;

	gap->calls++;
	usleep(100); /* the others have time to queue theirs */
}

static void *call_gap(void *ctx)
{
	struct gap *gap = ctx;

	for (int i = 0; i < 200; i++)
		loop_call(gap->loop, count_call, gap, 30000);
	return NULL;
}

/* The loop renews the agent's lease: callers must not keep other events from their turn. */
static void callers_do_not_starve_other_sources(void **state)
{
	struct loop *loop = loop_new();
	struct gap gap = { .loop = loop };
	pthread_t caller[CALLERS];
	uint64_t one = 1;
	int fd = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
	assert_non_null(loop_add_fd(loop, fd, on_turn, &gap)); /* ready in every round */
	assert_int_equal(pthread_create(&loop_thread, NULL, run, loop), 0);
	for (int i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_create(&caller[i], NULL, call_gap, &gap), 0);
	for (int i = 0; i < CALLERS; i++)
		pthread_join(caller[i], NULL);
	end(loop);
	close(fd);
	print_message("at most %d calls in one turn\n", (int)gap.most);
	assert_true(gap.most <= CALLERS);
}

struct look {
	const struct beat *fast, *armed;
	uint64_t fast_n, armed_n;
};

static void read_beats(void *ctx)
{
	struct look *look = ctx;

	look->fast_n = look->fast->n;
	look->armed_n = look->armed->n;
}

static void timers_beat_and_rest(void **state)
{
	int before = open_fds();
	struct loop *loop = loop_new();
	struct beat fast = { 0 }, never = { 0 }, armed = { 0 };
	struct look look = { .fast = &fast, .armed = &armed };
	struct loop_source *timer;
	uint64_t begin = now_ns(), seen = 0;

	(void)state;
	assert_non_null(loop_add_timer(loop, 5 * MS, on_beat, &fast));
	assert_non_null(loop_add_timer(loop, 0, on_beat, &never));
	timer = loop_add_timer(loop, 0, on_beat, &armed);
	loop_timer_set(timer, 2 * MS);
	assert_int_equal(pthread_create(&loop_thread, NULL, run, loop), 0);
	/* A busy machine may take its time: at least five beats, and never more than there were periods. */
	for (int i = 0; i < 500 && seen < 5; i++) {
		usleep(20000);
		assert_int_equal(loop_call(loop, read_beats, &look, 30000), 0);
		seen = look.fast_n < look.armed_n ? look.fast_n : look.armed_n;
	}
	end(loop);
	begin = now_ns() - begin;
	assert_in_range(fast.n, 5, begin / (5 * MS) + 1);
	assert_int_equal(never.n, 0);
	assert_in_range(armed.n, 5, begin / (2 * MS) + 1);
	assert_int_equal(open_fds(), before);
}

struct pair {
	struct loop_source *mine, *other;
	int calls;
	struct pair *partner;
};

/* Both are ready in the same round: whoever comes first takes the other away, and itself. */
static void remove_both(void *ctx)
{
	struct pair *pair = ctx;

	pair->calls++;
	loop_remove(pair->other);
	loop_remove(pair->mine);
	loop_remove(pair->mine);
}

static void removed_source_is_not_called(void **state)
{
	struct loop *loop = loop_new();
	struct pair a = { 0 }, b = { 0 };
	uint64_t one = 1;
	int fd[2] = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) };

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(write(fd[i], &one, sizeof(one)), sizeof(one));
	a.mine = b.other = loop_add_fd(loop, fd[0], remove_both, &a);
	b.mine = a.other = loop_add_fd(loop, fd[1], remove_both, &b);
	assert_int_equal(pthread_create(&loop_thread, NULL, run, loop), 0);
	assert_int_equal(loop_call(loop, count, NULL, 5000), 0);
	end(loop);
	assert_int_equal(a.calls + b.calls, 1);
	/* The descriptors stayed ours. */
	assert_int_equal(close(fd[0]) + close(fd[1]), 0);
}

struct churn {
	struct loop *loop;
	struct loop_source *timer;
	int left;
};

/* A timer that replaces itself from inside its callback; its descriptor's number is used again at once. */
static void replace_timer(void *ctx)
{
	struct churn *churn = ctx;

	loop_remove(churn->timer);
	churn->timer =
		--churn->left ? loop_add_timer(churn->loop, 100000, replace_timer, churn) : NULL;
	if (!churn->left)
		loop_stop(churn->loop);
}

static void sources_come_and_go_inside_callbacks(void **state)
{
	int before = open_fds();
	struct loop *loop = loop_new();
	struct churn churn = { .loop = loop, .left = 500 };

	(void)state;
	churn.timer = loop_add_timer(loop, 100000, replace_timer, &churn);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(churn.left, 0);
	loop_free(loop);
	assert_int_equal(open_fds(), before);
}

static void bad_descriptors_are_refused(void **state)
{
	struct loop *loop = loop_new();

	(void)state;
	errno = 0;
	assert_null(loop_add_fd(loop, -1, count, NULL));
	assert_int_equal(errno, EBADF);
	loop_remove(NULL);
	loop_free(loop);
	loop_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(call_runs_on_the_loops_thread),
		cmocka_unit_test(call_that_timed_out_never_runs),
		cmocka_unit_test(call_that_began_is_waited_for),
		cmocka_unit_test(calls_end_with_the_loop),
		cmocka_unit_test(many_threads_lose_no_call),
		cmocka_unit_test(callers_do_not_starve_other_sources),
		cmocka_unit_test(timers_beat_and_rest),
		cmocka_unit_test(removed_source_is_not_called),
		cmocka_unit_test(sources_come_and_go_inside_callbacks),
		cmocka_unit_test(bad_descriptors_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
