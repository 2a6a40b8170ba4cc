// SPDX-License-Identifier: Apache-2.0
/*
 * test_safety_keeper.c - the agent is killed, stopped, or its keeper is: within a second nothing of it is in force.
 *
 * The agent is a child with a change in force that beats; the keeper is this program under its own name. Counts and the
 * longest times are printed; full counts with SEMANTOS_SOAK=1.
 *
 * timeout: 300
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <cmocka.h>
#include "agent/safety/keeper.h"
#include "tests/fault/spread.h"
#include "tests/fault/steps.h"
#include "tests/unit/safety_root.h"

#define UNDONE_MS 1000
#define STILL_MS 50 /* between two looks that are a millisecond apart */
#define WAIT_MS 10000 /* when to give up looking */

static struct fake f;

/* What agent and test tell each other. */
static struct shared {
	volatile int ready, keeper, ended, changed_again, quit;
} *shared;

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void nap(long ms)
{
	const struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

/* An emulated machine gets a fifth of a full count. */
static long count(long few, long many)
{
	if (!getenv("SEMANTOS_SOAK"))
		return few;
	return f.real && many >= 5 ? many / 5 : many;
}

static bool reads(const char *file, const char *text)
{
	return file_reads(f.root, file, text);
}

/* For how long this process, which has the highest priority, was kept from looking: the machine stood still. */
static uint64_t stood_still;

/* Milliseconds until both knobs read as at the beginning, WAIT_MS when they never do. */
static uint64_t until_undone(uint64_t since)
{
	uint64_t before = now_ms(), now = before;

	stood_still = 0;
	while (now - since - stood_still < WAIT_MS) {
		bool undone = reads(SWAPPINESS_FILE, "060") && reads(READ_AHEAD_FILE, "128");

		now = now_ms();
		if (now - before > STILL_MS)
			stood_still += now - before;
		if (undone)
			return now - since;
		before = now;
		nap(1);
	}
	return WAIT_MS;
}

/* What a busy machine takes from us it takes from the keeper, and is not the keeper's delay. */
static bool undone_in_time(void)
{
	return until_undone(now_ms()) - stood_still <= UNDONE_MS;
}

/* The pid of the keeper this process started. */
static int keeper_of(int parent)
{
	char path[64];
	int pid = 0;
	FILE *children;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent, parent);
	children = fopen(path, "r");
	if (children && fscanf(children, "%d", &pid) != 1)
		pid = 0;
	if (children)
		fclose(children);
	return pid;
}

static int agent(void *arg)
{
	struct safety_error error;
	struct safety *s;
	uint64_t id;

	(void)arg;
	if (safety_open(&s, &f.options, NULL, &error) || change_two(s, CHANGE_AUTO, &id, &error)) {
		fprintf(stderr, "%s\n", error.text);
		return 1;
	}
	shared->keeper = keeper_of(getpid());
	shared->ready = 1;
	while (!shared->quit) {
		safety_beat(s);
		safety_tick(s, &error);
		shared->keeper = keeper_of(getpid());
		/* the keeper has ended our change: we see it, and may make another */
		if (!shared->ended && access(f.dir, F_OK) == 0 && reads(SWAPPINESS_FILE, "060")) {
			int err = safety_rollback(s, id, "it is time", NULL, &error);

			shared->ended = err == -EALREADY ? 1 : -1;
			shared->changed_again =
				change_two(s, CHANGE_AUTO, &id, &error) == 0 ? 1 : -1;
		}
		nap(20);
	}
	return (int)safety_close(s, shared->quit == 2 ? SAFETY_UPGRADE : SAFETY_STOP);
}

static pid_t start(void)
{
	uint64_t since = now_ms();
	pid_t pid;

	memset((void *)shared, 0, sizeof(*shared));
	dir_remove(f.dir);
	fake_reset_knobs(&f);
	pid = fork();
	if (pid == 0) {
		setpriority(PRIO_PROCESS, 0, 0);
		_exit(agent(NULL));
	}
	while (!shared->ready && now_ms() - since < WAIT_MS)
		nap(1);
	assert_true(shared->ready);
	assert_true(reads(SWAPPINESS_FILE, "010"));
	return pid;
}

/* Everybody ends: the agent, and its keeper, which came to us when it was orphaned. */
static void reap_all(void)
{
	uint64_t since = now_ms();

	while (now_ms() - since < WAIT_MS) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);

		if (pid < 0)
			return;
		if (pid == 0)
			nap(2);
	}
	fail_msg("a keeper does not end");
}

/* Undone within the second, every time; a second in which the machine ran. */
static void timed(struct spread *s, uint64_t took)
{
	if (took > UNDONE_MS / 2)
		print_message("time %zu: %llu ms, of which the machine stood still for %llu\n",
			s->n, (unsigned long long)took, (unsigned long long)stood_still);
	spread_add(s, took);
	assert_true(took - stood_still <= UNDONE_MS);
}

static void told(const char *what, const struct spread *s)
{
	print_message("%zu agents %s: undone after p50 %llu, p99 %llu, at most %llu ms\n", s->n,
		what, spread_at(s, 50), spread_at(s, 99), spread_at(s, 100));
}

static void check_log(void)
{
	struct safety_error error = { "" };
	struct safety_audit audit;

	if (safety_audit(f.dir, f.root, &audit, &error))
		fail_msg("%s", error.text);
	assert_int_equal(audit.open, 0);
}

static void test_agent_killed(void **state)
{
	static struct spread spread;
	long n = count(20, 1000);

	(void)state;
	for (long i = 0; i < n; i++) {
		pid_t pid = start();
		uint64_t since, took;

		if (i % 4 == 0)
			nap(i % 40);
		since = now_ms();
		kill(pid, SIGKILL);
		took = until_undone(since);
		timed(&spread, took);
		reap_all();
		check_log();
	}
	told("killed", &spread);
}

static void test_agent_stopped(void **state)
{
	static struct spread spread;
	long n = count(8, 1000);

	(void)state;
	for (long i = 0; i < n; i++) {
		pid_t pid = start();
		uint64_t since = now_ms(), took;

		kill(pid, SIGSTOP);
		took = until_undone(since);
		timed(&spread, took);
		if (i % 2) {
			kill(pid, SIGKILL);
			reap_all();
			check_log();
			continue;
		}
		/* back again: it knows, and goes on */
		nap(30);
		kill(pid, SIGCONT);
		since = now_ms();
		while (!shared->changed_again && now_ms() - since < WAIT_MS)
			nap(1);
		assert_int_equal(shared->ended, 1);
		assert_int_equal(shared->changed_again, 1);
		assert_true(reads(SWAPPINESS_FILE, "010"));
		/* and the keeper is on guard as before */
		kill(pid, SIGKILL);
		assert_true(undone_in_time());
		reap_all();
		check_log();
	}
	told("stopped", &spread);
}

static void test_keeper_killed(void **state)
{
	long n = count(4, 100);

	(void)state;
	for (long i = 0; i < n; i++) {
		pid_t pid = start();
		int first = shared->keeper;
		uint64_t since = now_ms();

		assert_true(first > 0);
		kill(first, SIGKILL);
		while ((shared->keeper == first || shared->keeper == 0) &&
			now_ms() - since < WAIT_MS)
			nap(1);
		assert_int_not_equal(shared->keeper, first);
		assert_true(reads(SWAPPINESS_FILE, "010"));
		/* the second keeper may still be starting */
		kill(pid, SIGKILL);
		assert_true(until_undone(now_ms()) < WAIT_MS);
		reap_all();
		check_log();
	}
}

/* Both at once: whoever comes next undoes it. */
static void test_both_killed(void **state)
{
	struct safety_report report;
	struct safety_error error;
	pid_t pid = start();
	int keeper = shared->keeper;

	(void)state;
	kill(pid, SIGSTOP);
	kill(keeper, SIGKILL);
	kill(pid, SIGKILL);
	reap_all();
	assert_true(reads(SWAPPINESS_FILE, "010"));
	f.options.keeper = NULL;
	assert_int_equal(safety_recover(&f.options, &report, &error), 0);
	f.options.keeper = "/proc/self/exe";
	assert_int_equal(report.rolled_back, 1);
	assert_true(until_undone(now_ms()) < WAIT_MS);
	check_log();
}

static char process_state(pid_t pid)
{
	char path[40], text[256] = "", *at;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (file && !fgets(text, sizeof(text), file))
		text[0] = 0;
	if (file)
		fclose(file);
	at = strrchr(text, ')');
	return at ? at[2] : 0;
}

/* An agent that has stopped a process; it answers for it until it is killed. */
static int stopper(pid_t who)
{
	struct safety_error error;
	char name[64];
	struct safety *s;
	uint64_t id;

	snprintf(name, sizeof(name), "sched:%d/state", who);
	if (safety_open(&s, &f.options, NULL, &error) ||
		change_one(s, "knn", CHANGE_AUTO, name, "stopped", &id, &error)) {
		fprintf(stderr, "%s\n", error.text);
		return 1;
	}
	shared->ready = 1;
	while (!shared->quit) {
		safety_beat(s);
		safety_tick(s, &error);
		nap(20);
	}
	return 0;
}

/* A process that a policy has stopped does not stay so when the agent is killed: its keeper sends SIGCONT. */
static void test_stopped_process_goes_on(void **state)
{
	long n = count(5, 100), continued = 0;

	(void)state;
	for (long i = 0; i < n; i++) {
		pid_t who, pid;
		uint64_t since;

		memset((void *)shared, 0, sizeof(*shared));
		dir_remove(f.dir);
		who = fork();
		if (who == 0)
			for (;;)
				pause();
		pid = fork();
		if (pid == 0)
			_exit(stopper(who));
		since = now_ms();
		while (!shared->ready && now_ms() - since < WAIT_MS)
			nap(1);
		assert_true(shared->ready);
		assert_int_equal(process_state(who), 'T');
		kill(pid, SIGKILL);
		since = now_ms();
		while (process_state(who) == 'T' && now_ms() - since < WAIT_MS)
			nap(1);
		continued += process_state(who) == 'S' || process_state(who) == 'R';
		kill(who, SIGKILL);
		reap_all();
		check_log();
	}
	print_message("%ld agents killed: %ld stopped processes went on\n", n, continued);
	assert_int_equal(continued, n);
}

static void test_ends(void **state)
{
	pid_t pid = start();
	int status;

	(void)state;
	shared->quit = 1;
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_true(reads(SWAPPINESS_FILE, "060"));
	reap_all();
	check_log();
	/* an upgrade: nothing is undone, and the keeper goes with the agent */
	pid = start();
	shared->quit = 2;
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	reap_all();
	assert_true(reads(SWAPPINESS_FILE, "010"));
	{
		struct safety_report report;
		struct safety_error error;
		struct safety *s;

		assert_int_equal(safety_open(&s, &f.options, &report, &error), 0);
		assert_int_equal(report.in_force, 1);
		assert_true(reads(SWAPPINESS_FILE, "010"));
		assert_int_equal(safety_close(s, SAFETY_STOP), 0);
		assert_true(reads(SWAPPINESS_FILE, "060"));
		reap_all();
	}
}

/* One change under a debugger that holds the agent for longer than it may be silent, at one stop. */
struct held {
	long at, kill_after; /* stops after the hold, -1 = not killed */
	bool held, over;
};

static enum step_action hold(void *ctx, struct step *step)
{
	struct held *h = ctx;

	h->over |= step->call == STEPS_END_CALL;
	if (step->n == h->at && !h->over) {
		nap(KEEPER_SILENCE_MS + 250);
		h->held = true;
	}
	return h->kill_after >= 0 && step->n == h->at + h->kill_after ? STEP_KILL : STEP_GO_ON;
}

static int apply(void *arg)
{
	struct safety_error error;
	struct safety_audit audit;
	struct safety *s;
	uint64_t id;
	int err;

	(void)arg;
	if (safety_open(&s, &f.options, NULL, &error))
		return 1;
	safety_beat(s);
	steps_begin();
	err = change_two(s, CHANGE_AUTO, &id, &error);
	steps_end(); /* the look itself is not held: the keeper would act in between */
	/*
	 * Back from its silence the agent leaves nothing in force that the journal calls ended, nor the reverse. On a
	 * slow machine the look itself is a silence, so the keeper may act between its two halves: it is taken again.
	 */
	for (int look = 0; look < 5; look++) {
		safety_beat(s);
		if (safety_audit(f.dir, f.root, &audit, &error))
			return 2;
		if (reads(SWAPPINESS_FILE, "010") == (audit.open == 1))
			return err && audit.open ? 3 : 0;
	}
	return 4;
}

/* Wherever in a change the agent was silent, and whether or not it is killed soon after: the old values stand. */
static void test_held_in_a_change(void **state)
{
	long every = count(5, 1), done = 0, steps = 0;

	bool held = true;

	(void)state;
	for (long at = 0; held; at += every) {
		for (long kill_after = -1; kill_after <= 3; kill_after += 2) {
			struct held h = { .at = at, .kill_after = kill_after };
			int status;

			dir_remove(f.dir);
			fake_reset_knobs(&f);
			status = steps_run(apply, NULL, hold, &h, &steps);
			if (!WIFSIGNALED(status) && status)
				fail_msg("held at stop %ld: the agent says %x", at, status);
			if (!undone_in_time())
				fail_msg("held at stop %ld, killed %ld later: still changed", at,
					kill_after);
			reap_all();
			if (!reads(SWAPPINESS_FILE, "060") || !reads(READ_AHEAD_FILE, "128"))
				fail_msg("held at stop %ld, killed %ld later: changed", at,
					kill_after);
			check_log();
			done++;
			held = kill_after >= 0 ? held : h.held;
			if (kill_after >= 0 && getenv("SEMANTOS_SOAK") == NULL)
				break;
		}
	}
	print_message("%ld changes held at a stop: undone every time\n", done);
}

/* The keeper itself held at one stop of its take-over, while the agent wakes and makes a change. */
struct woken {
	long at;
	struct safety *agent;
	int fd; /* the agent's end of the pipe, -1 = closed */
	bool made, over;
};

static enum step_action wake(void *ctx, struct step *step)
{
	struct woken *w = ctx;
	struct safety_error error;
	struct safety_audit audit;
	uint64_t id;

	if (step->n == w->at && w->fd >= 0) {
		w->made = change_one(w->agent, "kml", CHANGE_AUTO, DIRTY_RATIO, "40", &id,
				  &error) == 0;
		return STEP_GO_ON;
	}
	/* it waits for the agent again: what stands and what the journal says must be one, and then the agent dies */
	if (w->fd < 0 || !step->before || step->call != SYS_poll || !reads(SWAPPINESS_FILE, "060"))
		return STEP_GO_ON;
	w->over = step->n > w->at; /* it was woken before that */
	if (safety_audit(f.dir, f.root, &audit, &error))
		fail_msg("%s", error.text);
	assert_int_equal(audit.open, reads(DIRTY_RATIO_FILE, "40"));
	assert_int_equal(audit.differs, 0);
	safety_leave(w->agent);
	close(w->fd);
	w->fd = -1;
	return STEP_GO_ON;
}

static int keeper_child(void *arg)
{
	const int *pipe_fd = arg;
	char fd[12];
	char *argv[] = { (char *)KEEPER_NAME, (char *)"--dir", f.dir, (char *)"--root", f.root,
		(char *)"--fd", fd, NULL };

	/* as after exec: the agent's lock is not ours */
	dup2(pipe_fd[0], 3);
	close_range(4, ~0U, 0);
	snprintf(fd, sizeof(fd), "%d", 3);
	log_set_sink(fake_sentence, NULL);
	steps_begin();
	return keeper_main(7, argv);
}

static void test_agent_wakes_in_a_take_over(void **state)
{
	long every = count(7, 1), done = 0, made = 0;
	struct woken w = { .at = 0 };

	(void)state;
	f.options.no_keeper_needed = true;
	f.options.keeper = NULL;
	for (long at = 8; done == 0 || w.over; at += every) {
		struct safety_error error;
		int pipe_fd[2], status;
		uint64_t id;
		long steps;

		dir_remove(f.dir);
		fake_reset_knobs(&f);
		w = (struct woken){ .at = at };
		assert_int_equal(safety_open(&w.agent, &f.options, NULL, &error), 0);
		assert_int_equal(change_two(w.agent, CHANGE_AUTO, &id, &error), 0);
		assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
		w.fd = pipe_fd[1];
		status = steps_run(keeper_child, pipe_fd, wake, &w, &steps);
		close(pipe_fd[0]);
		if (status || !reads(SWAPPINESS_FILE, "060") || !reads(READ_AHEAD_FILE, "128") ||
			!reads(DIRTY_RATIO_FILE, "20"))
			fail_msg("woken at the keeper's stop %ld: status %x, something is still "
				 "changed",
				at, status);
		check_log();
		done++;
		made += w.made;
	}
	f.options.no_keeper_needed = false;
	f.options.keeper = "/proc/self/exe";
	print_message("%ld changes while the keeper took over, %ld of them made: none was lost\n",
		done, made);
	assert_true(done > 5);
}

static int setup(void **state)
{
	(void)state;
	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	/* who looks must not be what is late on a busy machine; the agents have no priority */
	setpriority(PRIO_PROCESS, 0, -20);
	fake_make(&f);
	f.options.clock = NULL;
	f.options.keeper = "/proc/self/exe";
	f.options.no_keeper_needed = false;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_unmake(&f);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_agent_killed),
		cmocka_unit_test(test_agent_stopped),
		cmocka_unit_test(test_keeper_killed),
		cmocka_unit_test(test_both_killed),
		cmocka_unit_test(test_stopped_process_goes_on),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_held_in_a_change),
		cmocka_unit_test(test_agent_wakes_in_a_take_over),
	};

	if (strcmp(argv[0], KEEPER_NAME) == 0) {
		log_set_sink(fake_sentence, NULL);
		return keeper_main(argc, argv);
	}
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, setup, teardown);
}
