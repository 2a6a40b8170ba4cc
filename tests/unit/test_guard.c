// SPDX-License-Identifier: Apache-2.0
/*
 * test_guard.c - the agent's own hold on its changes: killed, stopped or hung it loses them within a second; an upgrade
 * keeps them; what a third party wrote stays; a policy ejected three times stays out across restarts.
 *
 * The agent is a child with the real loop, guard and keeper on a fake root; the keeper is this program under its own
 * name. Counts and the longest times are printed.
 *
 * timeout: 300
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include "agent/core/guard.h"
#include "agent/core/guard_internal.h"
#include "agent/safety/keeper.h"
#include "tests/fault/spread.h"
#include "tests/unit/guard_agent.h"

#define ROUNDS (getenv("SEMANTOS_SOAK") ? 1000 : 5)
#define UNDONE_MS 1000
#define WAIT_MS 10000

static pid_t start(void)
{
	pid_t pid;

	memset((void *)shared, 0, sizeof(*shared));
	shared->in_force = -1;
	pid = fork();
	if (pid == 0) {
		/* a test that fails leaves nobody behind */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(agent_main());
	}
	return pid;
}

static void order(enum order what)
{
	uint64_t since = now_ms();

	shared->done = 0;
	shared->order = what;
	while (!shared->done && now_ms() - since < WAIT_MS)
		nap(1);
	assert_true(shared->done);
}

static pid_t start_and_apply(void)
{
	pid_t pid = start();

	order(APPLY);
	if (shared->error)
		fprintf(stderr, "%s\n", shared->text);
	assert_int_equal(shared->error, 0);
	assert_true(shared->change > 0);
	assert_true(reads(SWAPPINESS_FILE, "010"));
	return pid;
}

static uint64_t until_undone(uint64_t since)
{
	uint64_t looks = 0;

	/* Looks of a ms: what a busy machine takes from us it takes from the keeper, and is not the keeper's delay. */
	for (; looks < WAIT_MS && now_ms() - since < 6 * WAIT_MS; looks++) {
		if (reads(SWAPPINESS_FILE, "060"))
			return looks;
		nap(1);
	}
	return WAIT_MS;
}

/* The agent, and its keeper, which came to us when it was orphaned. */
static void reap_all(void)
{
	uint64_t since = now_ms();

	while (now_ms() - since < WAIT_MS && waitpid(-1, NULL, WNOHANG) >= 0)
		nap(2);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void many(const char *what, void (*harm)(pid_t pid))
{
	static struct spread spread;
	int rounds = ROUNDS;

	spread.n = 0;
	for (int i = 0; i < rounds; i++) {
		pid_t pid = start_and_apply();
		uint64_t took;

		nap((unsigned int)(i * 37 % 250));
		harm(pid);
		took = until_undone(now_ms());
		spread_add(&spread, took);
		kill(pid, SIGCONT);
		kill(pid, SIGKILL);
		reap_all();
		assert_true(took < UNDONE_MS);
		assert_true(reads(SWAPPINESS_FILE, "060"));
		dir_remove(f.dir);
	}
	printf("%s: undone %d of %d times, after p50 %llu, p99 %llu, at most %llu ms\n", what,
		rounds, rounds, spread_at(&spread, 50), spread_at(&spread, 99),
		spread_at(&spread, 100));
}

static void harm_kill(pid_t pid)
{
	kill(pid, SIGKILL);
}

static void harm_stop(pid_t pid)
{
	kill(pid, SIGSTOP);
}

static void harm_hang(pid_t pid)
{
	(void)pid;
	order(HANG);
}

static void killed_agent_is_undone_within_a_second(void **state)
{
	(void)state;
	many("killed", harm_kill);
}

static void stopped_agent_is_undone_within_a_second(void **state)
{
	(void)state;
	many("stopped", harm_stop);
}

static void hung_loop_is_undone_within_a_second(void **state)
{
	(void)state;
	many("hung", harm_hang);
}

static void stopped_agent_learns_what_was_undone(void **state)
{
	pid_t pid = start_and_apply();
	uint64_t since;

	(void)state;
	assert_int_equal(shared->in_force, 1);
	kill(pid, SIGSTOP);
	assert_true(until_undone(now_ms()) < UNDONE_MS);
	kill(pid, SIGCONT);
	since = now_ms();
	while (shared->in_force && now_ms() - since < WAIT_MS)
		nap(2);
	assert_int_equal(shared->in_force, 0);
	order(APPLY);
	assert_int_equal(shared->error, 0);
	assert_true(reads(SWAPPINESS_FILE, "010"));
	shared->order = END;
	reap_all();
	assert_true(reads(SWAPPINESS_FILE, "060"));
}

static void beating_agent_keeps_its_change(void **state)
{
	pid_t pid = start_and_apply();

	(void)state;
	for (int i = 0; i < 20; i++) {
		nap(100);
		assert_true(reads(SWAPPINESS_FILE, "010"));
	}
	assert_int_equal(shared->in_force, 1);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	shared->order = END;
	reap_all();
	assert_true(reads(SWAPPINESS_FILE, "060"));
}

static void idle_agent_has_no_keeper(void **state)
{
	pid_t pid = start();
	uint64_t since = now_ms();

	(void)state;
	(void)pid;
	while (shared->in_force < 0 && now_ms() - since < WAIT_MS)
		nap(1);
	order(APPLY);
	assert_int_equal(shared->keepers, 0);
	shared->order = END;
	reap_all();
}

static void upgrade_keeps_and_the_next_agent_watches(void **state)
{
	pid_t pid = start_and_apply();
	uint64_t since = now_ms();

	(void)state;
	shared->order = UPGRADE;
	reap_all();
	nap(600);
	assert_true(reads(SWAPPINESS_FILE, "010"));
	pid = start();
	while (shared->in_force < 1 && now_ms() - since < WAIT_MS)
		nap(1);
	assert_int_equal(shared->in_force, 1);
	nap(1000);
	assert_true(reads(SWAPPINESS_FILE, "010"));
	kill(pid, SIGKILL);
	assert_true(until_undone(now_ms()) < UNDONE_MS);
	reap_all();
}

static void third_partys_value_is_left_alone(void **state)
{
	pid_t pid = start_and_apply();

	(void)state;
	file_put(f.root, SWAPPINESS_FILE, "033");
	kill(pid, SIGKILL);
	reap_all();
	assert_true(reads(SWAPPINESS_FILE, "033"));
}

/* ---- in this process: admission ---- */

static volatile int ejections;

static void on_eject(void *ctx, const char *policy)
{
	(void)ctx;
	assert_string_equal(policy, "shaky");
	ejections++;
}

static struct guard *local(struct loop *loop)
{
	const struct guard_options options = {
		.dir = f.dir, .root = f.root, .loop = loop, .eject = on_eject
	};

	return guard_new(&options);
}

static void eject(struct guard *guard, int n)
{
	struct exit_record record = { .kind = "records" };
	uint64_t since = now_ms();

	strcpy(record.policy, "shaky");
	strcpy(record.reason, "a test says so");
	assert_true(guard_eject(guard, &record));
	while (ejections < n && now_ms() - since < WAIT_MS)
		nap(1);
	assert_int_equal(ejections, n);
}

/* What an operator knows of a change goes on record, and an ejection undoes what its policy owns and nothing else. */
static void change_is_explained_and_undone_with_its_policy(void **state)
{
	const struct safety_knob knob = { SWAPPINESS, "010" }, other = { READ_AHEAD, "64" };
	struct safety_request rq = { .owner = "shaky",
		.mode = CHANGE_ON_BREACH,
		.knob = &knob,
		.n_knobs = 1,
		.because = "a test asks for it",
		.evidence = "p99 21 ms",
		.expected = "p99 14 ms" };
	struct loop *loop = loop_new();
	struct guard *guard = local(loop);
	struct control_reply reply = { 0 };
	static char text[8192];
	uint64_t id;

	(void)state;
	ejections = 0;
	guard_apply(guard, &rq, &reply);
	assert_int_equal(reply.error, 0);
	id = reply.change;
	rq.owner = "operator";
	rq.knob = &other;
	memset(&reply, 0, sizeof(reply));
	guard_apply(guard, &rq, &reply);
	assert_int_equal(reply.error, 0);
	memset(&reply, 0, sizeof(reply));
	guard_keep(guard, id, "p99 15 ms", &reply);
	assert_int_equal(reply.error, 0);
	assert_non_null(strstr(reply.text, "kept, because it was observed: p99 15 ms."));
	memset(&reply, 0, sizeof(reply));
	guard_keep(guard, id + 1000, "p99 15 ms", &reply);
	assert_int_equal(reply.error, -ENOENT);
	assert_true(reads(SWAPPINESS_FILE, "010"));
	eject(guard, 1);
	assert_true(reads(SWAPPINESS_FILE, "060"));
	assert_true(reads(READ_AHEAD_FILE, "64"));
	assert_int_equal(safety_explain(f.dir, id, text, sizeof(text), NULL), 0);
	assert_non_null(strstr(text, "evidence: p99 21 ms"));
	assert_non_null(strstr(text, "expected: p99 14 ms"));
	assert_non_null(strstr(text, "observed: p99 15 ms"));
	assert_non_null(strstr(text, "because the policy was ejected"));
	guard_free(guard);
	loop_free(loop);
}

static int admit(struct guard *guard, const char *policy, bool shadow)
{
	struct control_reply reply = { 0 };

	guard_admit(guard, policy, shadow, &reply);
	assert_true((reply.error != 0) == (reply.text[0] != '\0'));
	if (reply.error)
		assert_int_equal(reply.text[strlen(reply.text) - 1], '.');
	return reply.error;
}

static void three_ejections_quarantine_across_restarts(void **state)
{
	struct loop *loop = loop_new();
	struct guard *guard = local(loop);
	struct control_reply reply = { 0 };
	struct agent_view view = { 0 };
	uint64_t epoch = guard_epoch(guard);

	(void)state;
	ejections = 0;
	for (int i = 1; i <= 2; i++) {
		eject(guard, i);
		assert_int_equal(admit(guard, "shaky", true), 0);
	}
	assert_true(guard_epoch(guard) == epoch);
	guard_free(guard);
	guard = local(loop);
	epoch = guard_epoch(guard);
	eject(guard, 3);
	assert_false(guard_epoch(guard) == epoch);
	assert_int_equal(admit(guard, "shaky", true), -EKEYREJECTED);
	assert_int_equal(admit(guard, "steady", false), 0);
	guard_free(guard);

	guard = local(loop);
	assert_int_equal(admit(guard, "shaky", true), -EKEYREJECTED);
	assert_int_equal(guard_view(guard, &view), 0);
	assert_int_equal(view.n_quarantined, 1);
	assert_string_equal(view.quarantined[0].policy, "shaky");
	free(view.change);
	free(view.quarantined);
	guard_unquarantine(guard, "steady", &reply);
	assert_int_equal(reply.error, -ENOENT);
	memset(&reply, 0, sizeof(reply));
	guard_unquarantine(guard, "shaky", &reply);
	assert_int_equal(reply.error, 0);
	assert_int_equal(admit(guard, "shaky", true), 0);
	guard_end(guard, SAFETY_STOP);
	memset(&reply, 0, sizeof(reply));
	guard_admit(guard, "shaky", true, &reply);
	assert_int_equal(reply.error, -ESHUTDOWN);
	guard_free(guard);
	loop_free(loop);
}

static void without_a_journal_only_shadow(void **state)
{
	struct loop *loop = loop_new();
	struct agent a = { .loop = loop };
	struct control_reply reply;

	(void)state;
	dir_remove(f.dir);
	file_put(f.root, "journal.d", "in the way");
	a.guard = local(loop);
	assert_non_null(a.guard);
	assert_int_equal(admit(a.guard, "steady", true), 0);
	assert_int_equal(admit(a.guard, "steady", false), -EROFS);
	apply(&a, "010", &reply);
	assert_int_equal(reply.error, -EROFS);
	assert_true(reads(SWAPPINESS_FILE, "060"));
	remove(f.dir);
	assert_int_equal(admit(a.guard, "steady", false), 0);
	/* no keeper here: a change that needs one is refused */
	apply(&a, "010", &reply);
	assert_int_not_equal(reply.error, 0);
	assert_true(reads(SWAPPINESS_FILE, "060"));
	guard_free(a.guard);
	loop_free(loop);
}

static int fresh(void **state)
{
	(void)state;
	dir_remove(f.dir);
	fake_reset_knobs(&f);
	file_put(f.root, "proc/sys/kernel/random/boot_id", BOOT_1);
	return 0;
}

static volatile int taken_back;

static void take_back(void *ctx, const char *policy)
{
	(void)ctx;
	taken_back += strcmp(policy, "linnos") == 0;
}

/* A policy that is more than in shadow must not be so off the record. */
static void what_cannot_be_recorded_is_taken_back(void **state)
{
	struct guard_options options = { .dir = "/dev/null/x", .unrecorded = take_back };
	struct policy_event event = { .policy = "linnos", .from = "enforce", .to = "shadow" };
	struct guard *guard;

	(void)state;
	options.loop = loop_new();
	guard = guard_new(&options);
	assert_non_null(guard);
	assert_true(guard_note(guard, &event));
	strcpy(event.to, "detached");
	assert_true(guard_note(guard, &event));
	strcpy(event.from, "shadow");
	strcpy(event.to, "enforce");
	assert_true(guard_note(guard, &event));
	for (int i = 0; i < 2000 && !taken_back; i++)
		nap(1);
	guard_free(guard);
	loop_free(options.loop);
	assert_int_equal(taken_back, 1);
}

static void *run_loop(void *arg)
{
	loop_run(arg);
	return NULL;
}

/* The journal's disk is so slow that the tuner gives up: what is made all the same is undone, as it would never know. */
static void a_change_nobody_waits_for_is_undone(void **state)
{
	const struct safety_knob knob = { SWAPPINESS, "010" };
	struct safety_request rq = { .owner = SAFETY_TUNER,
		.mode = CHANGE_AUTO,
		.knob = &knob,
		.n_knobs = 1,
		.because = "a test asks for it" };
	struct loop *loop = loop_new();
	const struct guard_options options = {
		.dir = f.dir, .root = f.root, .keeper = "/proc/self/exe", .loop = loop
	};
	struct guard *guard = guard_new(&options);
	uint64_t since;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, run_loop, loop), 0);
	for (int i = 0; i < 2; i++) {
		struct control_reply reply = { 0 };

		/* the thread is held up where it starts the keeper */
		pthread_mutex_lock(&guard->link);
		guard_apply(guard, &rq, &reply);
		pthread_mutex_unlock(&guard->link);
		assert_int_equal(reply.error, -ETIMEDOUT);
		since = now_ms();
		while (now_ms() - since < 1000 && reads(SWAPPINESS_FILE, "060"))
			nap(1);
		nap(300);
		/* an operator's is left to whoever looks at the history */
		assert_true(reads(SWAPPINESS_FILE, i ? "010" : "060"));
		rq.owner = "operator";
	}
	loop_stop(loop);
	pthread_join(thread, NULL);
	guard_free(guard);
	loop_free(loop);
	assert_true(reads(SWAPPINESS_FILE, "060"));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(killed_agent_is_undone_within_a_second, fresh),
		cmocka_unit_test_setup(stopped_agent_is_undone_within_a_second, fresh),
		cmocka_unit_test_setup(hung_loop_is_undone_within_a_second, fresh),
		cmocka_unit_test_setup(stopped_agent_learns_what_was_undone, fresh),
		cmocka_unit_test_setup(beating_agent_keeps_its_change, fresh),
		cmocka_unit_test_setup(idle_agent_has_no_keeper, fresh),
		cmocka_unit_test_setup(upgrade_keeps_and_the_next_agent_watches, fresh),
		cmocka_unit_test_setup(third_partys_value_is_left_alone, fresh),
		cmocka_unit_test_setup(change_is_explained_and_undone_with_its_policy, fresh),
		cmocka_unit_test_setup(three_ejections_quarantine_across_restarts, fresh),
		cmocka_unit_test_setup(without_a_journal_only_shadow, fresh),
		cmocka_unit_test(what_cannot_be_recorded_is_taken_back),
		cmocka_unit_test_setup(a_change_nobody_waits_for_is_undone, fresh),
	};
	const struct sched_param first = { .sched_priority = 1 };
	int failed;

	if (strcmp(argv[0], KEEPER_NAME) == 0)
		return keeper_main(argc, argv);
	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1))
		return 1;
	/*
	 * Beats and silences are tenths of a second, and an agent that gets no CPU for so long is rightly taken for a
	 * dead one: where we may, we and our children go before what else the machine does.
	 */
	if (sched_setscheduler(0, SCHED_RR, &first))
		setpriority(PRIO_PROCESS, 0, -20);
	fake_make(&f);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	fake_unmake(&f);
	return failed;
}
