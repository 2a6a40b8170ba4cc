// SPDX-License-Identifier: Apache-2.0
/*
 * test_safety_calls.c - the Nth call into the C library fails, comes back short or is interrupted, or all from the Nth on
 * fail, N = 0, 1, … until none is left: in every operation of agent/safety, the looking ones and the keeper's included.
 *
 * As test_safety_fail, which lets the kernel fail a child's system calls; here the calls are this program's own versions, so
 * a run takes microseconds, and the keeper's hours of silence none at all: its clock, its pipe and its naps are scripted.
 * Whatever fails: no descriptor is left open, the journal adds up, and recovery finds the way back to the old values.
 *
 * timeout: 300
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <linux/fs.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>
#include "agent/safety/knob.h"
#include "agent/safety/safety_internal.h"
#include "agent/safety/watch.h"
#include "agent/util/exitcode.h"
#include "tests/unit/safety_root.h"
#include "tests/fault/calls.h"

/* ---- the operations ---- */

enum operation {
	OPEN,
	OPEN_TORN,
	REOPEN_MOVED,
	APPLY,
	APPLY_POLICY,
	APPLY_NICE,
	APPLY_CPUS,
	ROLLBACK_TASK,
	ONCE,
	COUPLED,
	KEEP,
	SWAP,
	SWAP_TAKEN,
	SWAP_CROSSED,
	ROLLBACK,
	BREACH,
	ROTATE,
	ROTATE_AGAIN,
	TAKEN_OVER,
	TAKEN_TWICE,
	CLOSE_TAKEN,
	CLOSE_FULL,
	BOOK,
	EXIT,
	ADMIT,
	UNQUARANTINE,
	NOTE,
	CLOSE,
	UPGRADE,
	RECOVER,
	ATTEND,
	HISTORY,
	EXPLAIN,
	EXPLAIN_NOTE,
	AUDIT,
	LINK,
	KEEPER_GONE,
	KEEPER_SILENT,
	KEEPER_LATE,
	KEEPER_CROSSED,
	KEEPER_GOODBYE,
	N_OPERATIONS
};
static const char *const names[] = { "open", "open a torn journal",
	"open with the segment moved away", "apply", "apply a policy", "apply a nice value",
	"apply CPUs", "rollback of a process", "once", "apply to a coupled pair", "keep", "swap",
	"swap after a take-over", "swap while it is taken over", "rollback", "breach",
	"new segment", "new segment, once interrupted", "after a take-over", "after two take-overs",
	"close after a take-over", "close with a full segment", "book", "ejections", "admit",
	"unquarantine", "note", "close", "upgrade", "recover", "attend", "history", "explain",
	"explain a policy's event", "audit", "starting the keeper", "keeper, agent gone",
	"keeper, agent silent", "keeper, agent silent and late",
	"keeper, agent silent but for one change", "keeper, goodbye" };

static pid_t victim; /* a process whose settings are changed */
static int victim_nice;

static int note(const char *from, const char *to, struct safety_error *error)
{
	struct policy_event event = {
		.policy = "linnos", .sentence = "x", .evidence = "y", .undo = "z"
	};

	strcpy(event.from, from);
	strcpy(event.to, to);
	return safety_note(agent, &event, error);
}

static int eject(struct safety_error *error)
{
	struct exit_record ejection = { .policy = "linnos", .kind = "slo", .reason = "slow" };
	bool quarantined;

	return safety_exit(agent, &ejection, &quarantined, error);
}

static void take_over(void)
{
	struct record_stamp stamp = { 0 };
	struct safety_error error;
	struct record **carry;
	struct safety *other;
	size_t n;

	if (safety_begin(&other, &f.options, JOURNAL_TAKE_OVER, &error) ||
		book_carry(other->book, &carry, &n))
		exit(3);
	if (journal_rotate(other->journal, carry, n, &stamp, &error))
		exit(3);
	book_carry_free(carry, n);
	safety_free(other);
}

/* The state each operation begins in, before anything is made to fail. */
static void prepare(enum operation op)
{
	struct safety_error error = { "" };
	char path[160], other[170];
	uint64_t id;
	bool torn = op == OPEN_TORN || op == REOPEN_MOVED;

	dir_remove(f.dir);
	fake_reset_knobs(&f);
	f.options.max_bytes = op == ROTATE || op == ROTATE_AGAIN || op == AUDIT || op == HISTORY
				      ? 1024
			      : op == CLOSE_FULL ? 2000
						 : 0;
	agent = NULL;
	if (op == OPEN)
		return;
	if (safety_open(&agent, &f.options, NULL, &error))
		exit(3);
	if (op != APPLY && op != COUPLED && !torn && change_two(agent, CHANGE_AUTO, &id, &error))
		exit(3);
	if (op == AUDIT || op == HISTORY)
		change_one(agent, "kml", CHANGE_NEVER, DIRTY_RATIO, "40", &id, &error);
	if (op == UNQUARANTINE || op == ADMIT)
		for (int i = 0; i < 3; i++)
			eject(&error);
	if (op == EXPLAIN_NOTE) {
		note("detached", "canary:5", &error);
		note("canary:5", "enforce", &error);
	}
	if (op == ROTATE_AGAIN) {
		snprintf(path, sizeof(path), "%s/journal", f.dir);
		snprintf(other, sizeof(other), "%s/journal.%010d", f.dir, 1);
		if (link(path, other))
			exit(3);
	}
	if (op == ROTATE)
		for (int i = 0; i < 3; i++)
			eject(&error);
	if (op == ROLLBACK_TASK) {
		snprintf(path, sizeof(path), "sched:%d/policy", victim);
		if (change_one(agent, "mllb", CHANGE_AUTO, path, "batch", &id, &error) || id != 5)
			exit(4);
	}
	file_put(f.root, "proc/sys/vm/page-cluster", "3\n");
	if (op == KEEPER_SILENT &&
		change_one(agent, "b", CHANGE_NEVER, "sysctl:vm.page-cluster", "4", &id, &error))
		exit(3);
	taken_twice = taken_in_write = agent_is_late = false;
	if (op == TAKEN_OVER || op == TAKEN_TWICE || op == CLOSE_TAKEN || op == BOOK ||
		op == SWAP_TAKEN)
		take_over();
	if (torn || op == RECOVER || op == ATTEND) {
		safety_leave(agent);
		agent = NULL;
	}
	snprintf(path, sizeof(path), "%s/journal", f.dir);
	if (op == OPEN_TORN && truncate(path, 500))
		exit(3);
	if (op == REOPEN_MOVED) {
		file_put(f.dir, "journal.0000000003", "older");
		file_put(f.dir, "journal.bad", "no number");
		snprintf(other, sizeof(other), "%s/journal.%010d", f.dir, 7);
		if (rename(path, other))
			exit(3);
	}
}

static int on_record(void *ctx, const struct record *record)
{
	(void)ctx, (void)record;
	return 0;
}

static int link_keeper(struct safety_error *error)
{
	static struct keeper_link link;
	int err;

	memset(&link, 0, sizeof(link));
	link.fd = -1;
	strcpy(link.path, "/bin/true");
	err = keeper_start(&link, error);
	keeper_beat(&link);
	keeper_alive(&link);
	keeper_end(&link, false);
	if (link.pid > 0)
		waitpid(link.pid, NULL, 0);
	return err;
}

static int keep_watch(const char *events, struct safety_error *error)
{
	char number[12];
	char *argv[] = { (char *)"keeper", (char *)"--dir", f.dir, (char *)"--root", f.root,
		(char *)"--fd", number, NULL };
	int fd[2], code;

	if (REAL(pipe2)(fd, O_CLOEXEC))
		exit(3);
	keeper_pipe = fd[0];
	snprintf(number, sizeof(number), "%d", fd[0]);
	script = events;
	code = keeper_main(7, argv);
	script = NULL;
	close(fd[0]);
	close(fd[1]);
	if (code)
		safety_say(error, "the keeper ended with %d", code);
	return code;
}

static int operate(enum operation op, struct safety_error *error)
{
	struct safety_knob pair = { DIRTY_BYTES, "1048576" };
	struct safety_request rq = { "mllb", CHANGE_AUTO, &pair, 1, NULL, NULL, NULL, 0 };
	struct safety_report report;
	struct safety_audit audit;
	static char text[8192];
	char name[64];
	uint64_t id = 0;

	snprintf(name, sizeof(name), "sched:%d/policy", victim);
	switch (op) {
	case OPEN:
	case OPEN_TORN:
	case REOPEN_MOVED:
		return safety_open(&agent, &f.options, &report, error);
	case APPLY:
		return change_two(agent, CHANGE_AUTO, &id, error);
	case APPLY_POLICY:
		return change_one(agent, "mllb", CHANGE_AUTO, name, "batch", &id, error);
	case APPLY_NICE:
		snprintf(name, sizeof(name), "sched:%d/nice", victim);
		/* another one than whoever runs this gave us */
		return change_one(
			agent, "mllb", CHANGE_AUTO, name, victim_nice == 5 ? "6" : "5", &id, error);
	case APPLY_CPUS:
		snprintf(name, sizeof(name), "sched:%d/affinity", victim);
		return change_one(agent, "mllb", CHANGE_AUTO, name, "0", &id, error);
	case ROLLBACK_TASK:
		return safety_rollback(agent, 5, "a test ends", NULL, error);
	case ONCE:
		snprintf(name, sizeof(name), "madvise:%d/cold", victim);
		return change_one(agent, "kleio", CHANGE_ONCE, name, "1000-2000", &id, error);
	case COUPLED:
		return safety_apply(agent, &rq, &id, error);
	case KEEP:
		return safety_keep(agent, 3, "better", error);
	case SWAP:
		return safety_swap(agent, 3, false, error) | safety_swap(agent, 3, true, error);
	case SWAP_CROSSED:
		taken_in_write = true;
		/* fall through */
	case SWAP_TAKEN:
		return safety_swap(agent, 3, false, error);
	case ROLLBACK:
		return safety_rollback(agent, 3, "a test ends", "worse", error);
	case BREACH:
		return (int)safety_breach(agent, "tuner", "p99 rose");
	case ROTATE:
	case ROTATE_AGAIN:
		return change_one(agent, "kml", CHANGE_AUTO, DIRTY_RATIO, "40", &id, error);
	case TAKEN_TWICE:
		taken_twice = true;
		/* fall through */
	case TAKEN_OVER:
		return safety_rollback(agent, 3, "a test ends", NULL, error);
	case BOOK:
		return safety_book(agent, error) ? 0 : -EIO;
	case EXIT:
		return eject(error) | eject(error) | eject(error);
	case ADMIT:
		return safety_admit(agent, "linnos", error);
	case UNQUARANTINE:
		return safety_unquarantine(agent, "linnos", error);
	case NOTE:
		return note("shadow", "enforce", error);
	case CLOSE:
	case CLOSE_FULL:
	case CLOSE_TAKEN:
	case UPGRADE:
		(void)safety_close(agent, op == UPGRADE ? SAFETY_UPGRADE : SAFETY_STOP);
		agent = NULL;
		return 0;
	case RECOVER:
		return safety_recover(&f.options, &report, error);
	case ATTEND:
		return safety_attend(&agent, &f.options, error);
	case HISTORY:
		return safety_history(f.dir, on_record, NULL, error);
	case EXPLAIN:
		return safety_explain(f.dir, 3, text, sizeof(text), error);
	case EXPLAIN_NOTE:
		return safety_explain(f.dir, 5, text, sizeof(text), error);
	case AUDIT:
		return safety_audit(f.dir, f.root, &audit, error);
	case LINK:
		return link_keeper(error);
	case KEEPER_GONE:
		return keep_watch("bIAE", error);
	case KEEPER_SILENT:
		return keep_watch("bSSSSbSSwE", error);
	case KEEPER_LATE:
		return keep_watch("SScSSSSwX", error);
	case KEEPER_CROSSED:
		return keep_watch("blSSSSSE", error);
	case KEEPER_GOODBYE:
		return keep_watch("bbq", error);
	default:
		return 0;
	}
}

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

/* What the kernel answers when a device or a process is not there any more. */
static bool gone(int err)
{
	return err == ENOENT || err == ENODEV || err == ENXIO || err == ESRCH;
}

/* True when nothing was left to fail. */
static bool once(enum operation op, long n, int fds, long *errors)
{
	struct safety_error error = { "" };
	struct safety_report report;
	struct safety_audit audit;
	int err;

	prepare(op);
	counted = 0;
	fired = false;
	nth = n;
	err = operate(op, &error);
	nth = -1;
	*errors += err != 0;
	if (err && !error.text[0] && op != BREACH)
		fail_msg("%s, %ld: an error without a sentence", names[op], n);
	/* and once more, with nothing in the way but what the first time left */
	if (op == TAKEN_OVER && agent)
		operate(op, &error);
	safety_leave(agent);
	if (count_fds() != fds)
		fail_msg("%s, %ld: %d descriptors, %d before", names[op], n, count_fds(), fds);
	f.options.ignore_upgrade = true;
	if (safety_recover(&f.options, &report, &error))
		fail_msg("%s, %ld: recovery says: %s", names[op], n, error.text);
	f.options.ignore_upgrade = false;
	/* what a silent agent wrote last is on no record: a keeper that can do nothing at all leaves it */
	/* a knob that is not there is gone, and its change has ended; the file comes back, as no device would */
	if (!gone(with) && !(from_there_on && (op == KEEPER_SILENT || op == KEEPER_LATE ||
						      op == KEEPER_CROSSED))) {
		if (op != AUDIT && op != HISTORY)
			if (!file_is(f.root, DIRTY_RATIO_FILE, "20"))
				fail_msg("%s, %ld, errno %d: %s", names[op], n, with, error.text);
		assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
		assert_true(file_is(f.root, READ_AHEAD_FILE, "128"));
	}
	if (gone(with))
		sched_setscheduler(victim, SCHED_OTHER, &(struct sched_param){ 0 });
	assert_int_equal(sched_getscheduler(victim), SCHED_OTHER);
	err = safety_audit(f.dir, f.root, &audit, &error);
	/* an open that failed early leaves no journal; one that found the segment moved away says that some are missing */
	if (err && op != OPEN && op != REOPEN_MOVED && op != OPEN_TORN)
		fail_msg("%s, %ld: %s", names[op], n, error.text);
	return !fired;
}

static void every_call_fails(void **state)
{
	static const int errnos[] = { EIO, EINTR, ENOENT, EAGAIN, EEXIST, 0, -1, ESRCH, ENODEV,
		ENXIO };
	const size_t usual = 7; /* the others only where they mean something */
	int fds;

	(void)state;
	/* a first run, so that what is opened once and kept is open */
	prepare(CLOSE);
	safety_leave(agent);
	fds = count_fds();
	for (enum operation op = OPEN; op < N_OPERATIONS; op++) {
		long runs = 0, errors = 0;

		for (size_t k = 0; k < 2 * sizeof(errnos) / sizeof(errnos[0]); k++) {
			if (k / 2 >= usual && op != ROLLBACK && op != ROLLBACK_TASK)
				break;
			with = errnos[k / 2];
			from_there_on = k % 2;
			/* a call that is interrupted for ever is tried for ever */
			if (from_there_on && with == EINTR)
				continue;
			for (long n = 0;; n++) {
				runs++;
				if (once(op, n, fds, &errors))
					break;
				assert_true(n < 2000);
			}
		}
		print_message("%s: %ld runs, %ld ended with an error\n", names[op], runs, errors);
	}
}

static void keeper_with_odd_arguments(void **state)
{
	char *none[] = { (char *)"keeper", NULL };
	char *odd[] = { (char *)"keeper", (char *)"--odd", (char *)"1", (char *)"--dir", f.dir,
		NULL };

	(void)state;
	nth = -1;
	assert_int_equal(keeper_main(1, none), EXIT_CODE_USAGE);
	assert_int_equal(keeper_main(5, odd), EXIT_CODE_USAGE);
}

/* An agent that falls silent hundreds of times, a change in force each time. */
static void keeper_of_a_silent_agent(void **state)
{
	enum { TIMES = 300 };
	char events[7 * TIMES + 2] = "";
	struct safety_error error = { "" };

	(void)state;
	prepare(KEEPER_SILENT);
	for (int i = 0; i < TIMES; i++)
		memcpy(events + 7 * i, "cbSSSSb", 7);
	strcpy(events + 7 * TIMES, "E");
	assert_int_equal(keep_watch(events, &error), 0);
	assert_true(file_is(f.root, DIRTY_RATIO_FILE, "20"));
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
}

static void keepers_that_die_or_do_not_end(void **state)
{
	struct keeper_link link = { .fd = -1 };
	struct safety_error error = { "" };
	sigset_t pipe_signal, old;
	char path[160];
	uint64_t id;
	int err = 0;

	(void)state;
	prepare(OPEN);
	script = "";
	scripted_ms = 1000;
	strcpy(link.path, "/bin/true");
	for (int i = 0; i < KEEPER_RESTARTS; i++) {
		keeper_start(&link, &error);
		waitpid(link.pid, NULL, 0);
		assert_false(keeper_alive(&link));
	}
	assert_int_equal(keeper_start(&link, &error), -EAGAIN);
	assert_non_null(strstr(error.text, "died"));
	scripted_ms += KEEPER_RESTART_NS / 1000000;
	keeper_start(&link, &error);
	waitpid(link.pid, NULL, 0);
	/* a dead keeper is heard as EPIPE, whether the program blocks the signal or not */
	assert_int_equal(keeper_beat(&link), -EPIPE);
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	sigprocmask(SIG_BLOCK, &pipe_signal, &old);
	assert_int_equal(keeper_beat(&link), -EPIPE);
	sigtimedwait(&pipe_signal, NULL, &(struct timespec){ 0 });
	sigprocmask(SIG_SETMASK, &old, NULL);
	/* one that reads nothing and ends at nothing: beats are dropped, the end is waited for a second and no more */
	snprintf(path, sizeof(path), "%s/sleeper", f.root);
	file_put(f.root, "sleeper", "#!/bin/sh\nexec sleep 100\n");
	chmod(path, 0700);
	strcpy(link.path, path);
	scripted_ms += KEEPER_RESTART_NS / 1000000;
	assert_int_equal(keeper_start(&link, &error), 0);
	for (int i = 0; i < 70000 && !err; i++)
		err = keeper_beat(&link);
	assert_int_equal(err, 0);
	keeper_end(&link, true);
	assert_true(link.pid > 0);
	kill(link.pid, SIGKILL);
	waitpid(link.pid, NULL, 0);
	script = NULL;
	/* the same through struct safety: without a keeper no change that it would have to undo */
	prepare(APPLY);
	agent->keeper_needed = true;
	assert_int_equal(change_two(agent, CHANGE_AUTO, &id, &error), -EAGAIN);
	assert_int_equal(safety_tick(agent, &error), 0);
	safety_keeper_later(agent, path);
	assert_int_equal(safety_watch(agent, &error), 0);
	assert_int_equal(safety_watch(agent, &error), 0);
	assert_int_equal(safety_tick(agent, &error), 0);
	/* alive, but it does not say that it watches */
	assert_int_equal(change_two(agent, CHANGE_AUTO, &id, &error), -EAGAIN);
	kill(agent->keeper.pid, SIGKILL);
	while (keeper_alive(&agent->keeper))
		usleep(100);
	file_put(f.root, "sleeper", "#!/bin/sh\nprintf r >&3\nexec sleep 100\n");
	assert_int_equal(safety_tick(agent, &error), 0);
	assert_int_equal(change_two(agent, CHANGE_AUTO, &id, &error), 0);
	kill(agent->keeper.pid, SIGKILL);
	while (keeper_alive(&agent->keeper))
		usleep(100);
	assert_int_equal(safety_tick(agent, &error), 0);
	kill(agent->keeper.pid, SIGKILL);
	safety_close(agent, SAFETY_STOP);
	agent = NULL;
}

static void a_keeper_that_is_not_done(void **state)
{
	struct safety_error error;
	char path[160];
	int fd;

	(void)state;
	prepare(TAKEN_OVER);
	snprintf(path, sizeof(path), "%s/journal", f.dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(operate(TAKEN_OVER, &error), -EBUSY);
	assert_non_null(strstr(error.text, "not done"));
	close(fd);
	assert_int_equal(operate(TAKEN_OVER, &error), 0);
	safety_close(agent, SAFETY_STOP);
	agent = NULL;
}

/* Somebody else writes before each of our reads in turn: his value stays, unless it fell between a read and our write. */
static void somebody_else_writes(void **state)
{
	static const enum operation ops[] = { APPLY, ROLLBACK };
	struct safety_error error;
	int his = 0, lost = 0;

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		for (long n = 0; n < 12; n++) {
			char *value;

			prepare(ops[k]);
			foreign_in = n;
			operate(ops[k], &error);
			if (foreign_in < 0) {
				value = file_read(f.root, SWAPPINESS_FILE, NULL);
				his += strncmp(value, "099", 3) == 0;
				lost += strncmp(value, "099", 3) != 0;
				free(value);
			}
			foreign_in = -1;
			safety_close(agent, SAFETY_STOP);
			agent = NULL;
		}
	}
	print_message("a foreign write before each read: %d times his value stands\n", his);
	/* a read is followed by our write twice: once when the change is made, once when it is undone */
	assert_true(his > 5 && lost <= 4);
}

static void read_ahead_by_ioctl(void **state)
{
	struct knob knob;
	char value[RECORD_VALUE_MAX];

	(void)state;
	prepare(CLOSE);
	safety_leave(agent);
	file_put(f.root, "dev/vda", "");
	disk_played = true;
	assert_int_equal(knob_open(&knob, f.root, "blkra:vda", true, NULL), 0);
	assert_int_equal(knob_read(&knob, value), 0);
	assert_string_equal(value, "256");
	assert_int_equal(knob_write(&knob, "512"), 0);
	assert_int_equal(read_ahead, 512);
	assert_int_equal(knob_write(&knob, "x"), -EINVAL);
	with = EACCES;
	from_there_on = true;
	counted = nth = 0;
	assert_int_equal(knob_read(&knob, value), -EACCES);
	assert_int_equal(knob_write(&knob, "256"), -EACCES);
	nth = -1;
	knob_close(&knob);
	disk_played = false;
}

static void odd_answers_of_the_kernel(void **state)
{
	struct knob knob = { .fd = -1, .kind = KNOB_SCHED, .pid = getpid(), .which = 2 };
	struct safety_error error;
	char value[RECORD_VALUE_MAX];
	int fd[2];

	(void)state;
	every_second_cpu = true;
	assert_int_equal(knob_read(&knob, value), -E2BIG);
	every_second_cpu = false;
	/* knobs that take the old value and go on as before */
	prepare(ROLLBACK);
	swallow = true;
	assert_int_equal(safety_rollback(agent, 3, "x", NULL, &error), -EIO);
	assert_non_null(strstr(error.text, "cannot be set back"));
	swallow = false;
	assert_int_equal(safety_rollback(agent, 3, "x", NULL, &error), 0);
	safety_close(agent, SAFETY_STOP);
	agent = NULL;
	/* a knob that takes a part of a value */
	assert_int_equal(REAL(pipe2)(fd, O_CLOEXEC), 0);
	close(fd[0]);
	knob = (struct knob){ .fd = fd[1], .kind = KNOB_SYSCTL, .def = knob_find(SWAPPINESS) };
	with = -1;
	from_there_on = false;
	counted = nth = 0;
	assert_int_equal(knob_write(&knob, "7"), -EIO);
	nth = -1;
	close(fd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeper_with_odd_arguments),
		cmocka_unit_test(keepers_that_die_or_do_not_end),
		cmocka_unit_test(keeper_of_a_silent_agent),
		cmocka_unit_test(a_keeper_that_is_not_done),
		cmocka_unit_test(somebody_else_writes),
		cmocka_unit_test(read_ahead_by_ioctl),
		cmocka_unit_test(odd_answers_of_the_kernel),
		cmocka_unit_test(every_call_fails),
	};
	int failed;

	victim_nice = getpriority(PRIO_PROCESS, 0);
	victim = fork();
	if (victim == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	fake_make(&f);
	f.options.clock = NULL;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	kill(victim, SIGKILL);
	waitpid(victim, NULL, 0);
	dir_remove(f.root);
	return failed;
}
