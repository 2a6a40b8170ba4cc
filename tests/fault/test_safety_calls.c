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
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>
#include "agent/safety/safety_internal.h"
#include "agent/safety/watch.h"
#include "tests/unit/safety_root.h"

/* ---- which call fails, and how ---- */

static long nth = -1, counted; /* nth < 0: none is counted */
static bool from_there_on, fired;
static int with; /* an errno; 0 = come back short, where a call can */

static bool hit(void)
{
	if (nth < 0)
		return false;
	counted++;
	if (from_there_on ? counted - 1 < nth : counted - 1 != nth)
		return false;
	fired = true;
	errno = with ? with : EIO;
	return true;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAILS(type, name, failed, args, ...)                       \
	type name args                                             \
	{                                                          \
		return hit() ? (failed) : REAL(name)(__VA_ARGS__); \
	}

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static bool no_memory(void)
{
	if (!hit())
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return no_memory() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return no_memory() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	return no_memory() ? NULL : __libc_realloc(p, size);
}

int open(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	return hit() ? -1 : REAL(open)(path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	return hit() ? -1 : REAL(openat)(dir, path, flags, mode);
}

static ssize_t some(
	ssize_t (*really)(int, void *, size_t, off_t), int fd, void *at, size_t n, off_t off)
{
	if (!hit())
		return really(fd, at, n, off);
	/* a knob takes a value or none; only of a file that stands for one could a half be written */
	return with ? -1 : really(fd, at, n > RECORD_VALUE_MAX ? n / 2 : n, off);
}

ssize_t pread(int fd, void *at, size_t n, off_t off)
{
	return some(REAL(pread), fd, at, n, off);
}

/* The kernel's part: of a ratio and its bytes the one written is in force and the other reads 0. */
static void couple(int fd, const char *root)
{
	char link[32], path[256] = "";
	long resume = nth;

	nth = -1;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, path, sizeof(path) - 1) > 0 && strstr(path, DIRTY_BYTES_FILE))
		file_put(root, DIRTY_RATIO_FILE, "0\n");
	else if (strstr(path, DIRTY_RATIO_FILE))
		file_put(root, DIRTY_BYTES_FILE, "0\n");
	nth = resume;
}

static struct fake f;

ssize_t pwrite(int fd, const void *at, size_t n, off_t off)
{
	ssize_t put = some((ssize_t(*)(int, void *, size_t, off_t))(void *)REAL(pwrite), fd,
		(void *)at, n, off);

	if (put > 0 && n <= RECORD_VALUE_MAX)
		couple(fd, f.root);
	return put;
}

FAILS(int, ftruncate, -1, (int fd, off_t n), fd, n)
FAILS(int, fsync, -1, (int fd), fd)
FAILS(int, fstat, -1, (int fd, struct stat *st), fd, st)
FAILS(int, fstatat, -1, (int dir, const char *path, struct stat *st, int flags), dir, path, st,
	flags)
FAILS(int, renameat, -1, (int a, const char *from, int b, const char *to), a, from, b, to)
FAILS(int, linkat, -1, (int a, const char *from, int b, const char *to, int flags), a, from, b, to,
	flags)
FAILS(int, mkdir, -1, (const char *path, mode_t mode), path, mode)
FAILS(int, access, -1, (const char *path, int mode), path, mode)
FAILS(int, flock, -1, (int fd, int op), fd, op)
FAILS(int, dup, -1, (int fd), fd)
FAILS(DIR *, fdopendir, NULL, (int fd), fd)
FAILS(int, scandirat, -1,
	(int dir, const char *path, struct dirent ***names, int (*filter)(const struct dirent *),
		int (*order)(const struct dirent **, const struct dirent **)),
	dir, path, names, filter, order)
FAILS(int, pipe2, -1, (int fd[2], int flags), fd, flags)
FAILS(int, posix_spawnattr_init, errno, (posix_spawnattr_t * a), a)
FAILS(int, posix_spawnattr_setflags, errno, (posix_spawnattr_t * a, short flags), a, flags)
FAILS(int, posix_spawnattr_setsigmask, errno, (posix_spawnattr_t * a, const sigset_t *set), a, set)
FAILS(int, posix_spawn_file_actions_init, errno, (posix_spawn_file_actions_t * a), a)
FAILS(int, posix_spawn_file_actions_adddup2, errno,
	(posix_spawn_file_actions_t * a, int from, int to), a, from, to)
FAILS(int, posix_spawn, errno,
	(pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions,
		const posix_spawnattr_t *attr, char *const argv[], char *const envp[]),
	pid, path, actions, attr, argv, envp)

int fcntl(int fd, int command, ...)
{
	va_list args;
	long arg;

	va_start(args, command);
	arg = va_arg(args, long);
	va_end(args);
	return hit() ? -1 : REAL(fcntl)(fd, command, arg);
}

long syscall(long number, ...)
{
	va_list args;
	long a[6];

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	return hit() ? -1 : REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- the keeper's world ---- */

static const char *script; /* NULL = the real one; see next_event() */
static uint64_t scripted_ms;
static struct safety *agent;
static int keeper_pipe;

int nanosleep(const struct timespec *t, struct timespec *left)
{
	(void)t, (void)left;
	return 0;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
	if (!script || clock != CLOCK_MONOTONIC)
		return REAL(clock_gettime)(clock, t);
	t->tv_sec = (time_t)(scripted_ms / 1000);
	t->tv_nsec = (long)(scripted_ms % 1000) * 1000000;
	return 0;
}

/* S: silence until the timeout; w: the agent writes once more; c: it makes a change; anything else is for read(). */
int poll(struct pollfd *p, nfds_t n, int timeout)
{
	struct safety_error error;
	uint64_t id;

	(void)p, (void)n;
	if (!script)
		return REAL(poll)(p, n, timeout);
	for (;; script++) {
		if (*script == 'w') {
			long resume = nth;

			nth = -1;
			file_put(f.root, SWAPPINESS_FILE, "010\n");
			nth = resume;
		} else if (*script == 'c') {
			change_one(agent, "kml", CHANGE_AUTO, DIRTY_RATIO, "40", &id, &error);
		} else if (*script == 'S') {
			script++;
			scripted_ms += (uint64_t)timeout;
			return 0;
		} else {
			return 1;
		}
	}
}

/* b: a beat, q: goodbye, I: interrupted, A: nothing there, X: failed, E or the end: the agent is gone. */
ssize_t read(int fd, void *at, size_t n)
{
	char event;

	if (!script || fd != keeper_pipe)
		return hit() ? -1 : REAL(read)(fd, at, n);
	event = *script ? *script++ : 'E';
	switch (event) {
	case 'b':
	case 'q':
		memset(at, event, 1);
		return 1;
	case 'I':
	case 'A':
	case 'X':
		errno = event == 'I' ? EINTR : event == 'A' ? EAGAIN : EIO;
		if (event == 'X') {
			safety_leave(agent);
			agent = NULL;
		}
		return -1;
	default:
		safety_leave(agent);
		agent = NULL;
		return 0;
	}
}

/* ---- the operations ---- */

enum operation {
	OPEN,
	OPEN_TORN,
	REOPEN_MOVED,
	APPLY,
	APPLY_TASK,
	ONCE,
	COUPLED,
	KEEP,
	ROLLBACK,
	BREACH,
	ROTATE,
	TAKEN_OVER,
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
	KEEPER_GOODBYE,
	N_OPERATIONS
};
static const char *const names[] = { "open", "open a torn journal",
	"open with the segment moved away", "apply", "apply to a process", "once",
	"apply to a coupled pair", "keep", "rollback", "breach", "new segment", "after a take-over",
	"ejections", "admit", "unquarantine", "note", "close", "upgrade", "recover", "attend",
	"history", "explain", "explain a policy's event", "audit", "starting the keeper",
	"keeper, agent gone", "keeper, agent silent", "keeper, agent silent and late",
	"keeper, goodbye" };

static pid_t victim; /* a process whose settings are changed */

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
	f.options.max_bytes = op == ROTATE || op == AUDIT || op == HISTORY ? 1024 : 0;
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
	if (op == TAKEN_OVER)
		take_over();
	if (torn || op == RECOVER || op == ATTEND) {
		safety_leave(agent);
		agent = NULL;
	}
	snprintf(path, sizeof(path), "%s/journal", f.dir);
	if (op == OPEN_TORN && truncate(path, 500))
		exit(3);
	if (op == REOPEN_MOVED) {
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
	struct safety_request rq = { "mllb", CHANGE_AUTO, &pair, 1, NULL, NULL, NULL };
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
	case APPLY_TASK:
		return change_one(agent, "mllb", CHANGE_AUTO, name, "batch", &id, error);
	case ONCE:
		snprintf(name, sizeof(name), "madvise:%d/cold", victim);
		return change_one(agent, "kleio", CHANGE_ONCE, name, "1000-2000", &id, error);
	case COUPLED:
		return safety_apply(agent, &rq, &id, error);
	case KEEP:
		return safety_keep(agent, 3, "better", error);
	case ROLLBACK:
		return safety_rollback(agent, 3, "a test ends", "worse", error);
	case BREACH:
		return (int)safety_breach(agent, "tuner", "p99 rose");
	case ROTATE:
		return change_one(agent, "kml", CHANGE_AUTO, DIRTY_RATIO, "40", &id, error);
	case TAKEN_OVER:
		return safety_rollback(agent, 3, "a test ends", NULL, error);
	case EXIT:
		return eject(error) | eject(error) | eject(error);
	case ADMIT:
		return safety_admit(agent, "linnos", error);
	case UNQUARANTINE:
		return safety_unquarantine(agent, "linnos", error);
	case NOTE:
		return note("shadow", "enforce", error);
	case CLOSE:
	case UPGRADE:
		(void)safety_close(agent, op == CLOSE ? SAFETY_STOP : SAFETY_UPGRADE);
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
	safety_leave(agent);
	if (count_fds() != fds)
		fail_msg("%s, %ld: %d descriptors, %d before", names[op], n, count_fds(), fds);
	f.options.ignore_upgrade = true;
	if (safety_recover(&f.options, &report, &error))
		fail_msg("%s, %ld: recovery says: %s", names[op], n, error.text);
	f.options.ignore_upgrade = false;
	/* what a silent agent wrote last is on no record: a keeper that can do nothing at all leaves it */
	/* a knob that is not there is gone, and its change has ended; the file comes back, as no device would */
	if (with != ENOENT && !(from_there_on && (op == KEEPER_SILENT || op == KEEPER_LATE))) {
		if (op != AUDIT && op != HISTORY)
			assert_true(file_is(f.root, DIRTY_RATIO_FILE, "20"));
		assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
		assert_true(file_is(f.root, READ_AHEAD_FILE, "128"));
	}
	assert_int_equal(sched_getscheduler(victim), SCHED_OTHER);
	err = safety_audit(f.dir, f.root, &audit, &error);
	/* an open that failed early leaves no journal; one that found the segment moved away says that some are missing */
	if (err && op != OPEN && op != REOPEN_MOVED && op != OPEN_TORN)
		fail_msg("%s, %ld: %s", names[op], n, error.text);
	return !fired;
}

static void every_call_fails(void **state)
{
	static const int errnos[] = { EIO, EINTR, ENOENT, EAGAIN, EEXIST, 0 };
	int fds;

	(void)state;
	/* a first run, so that what is opened once and kept is open */
	prepare(CLOSE);
	safety_leave(agent);
	fds = count_fds();
	for (enum operation op = OPEN; op < N_OPERATIONS; op++) {
		long runs = 0, errors = 0;

		for (size_t k = 0; k < 2 * sizeof(errnos) / sizeof(errnos[0]); k++) {
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

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_call_fails) };
	int failed;

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
