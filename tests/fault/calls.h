/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.h - this program's own versions of the C library's calls that agent/safety makes: the Nth fails, or all from the Nth
 * on, or the kernel's part is played where there is no kernel behind a file.
 *
 * `nth` below 0 lets everything through. Included by one test program; one thread.
 */
#ifndef TESTS_CALLS_H
#define TESTS_CALLS_H

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <linux/fs.h>
#include <sys/wait.h>
#include <time.h>
#include "agent/safety/knob.h"
#include "agent/safety/safety_internal.h"
#include "agent/safety/watch.h"
#include "agent/util/exitcode.h"
#include "tests/unit/safety_root.h"

/* ---- which call fails, and how ---- */

static long nth = -1, counted; /* nth < 0: none is counted */
static bool from_there_on, fired;
static int with; /* an errno; 0 = come back short, where a call can; -1 = come back with nothing */

static bool hit(void)
{
	if (nth < 0)
		return false;
	counted++;
	if (from_there_on ? counted - 1 < nth : counted - 1 != nth)
		return false;
	fired = true;
	errno = with > 0 ? with : EIO;
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
	if (with)
		return with < 0 ? 0 : -1;
	return really(fd, at, n > RECORD_VALUE_MAX ? n / 2 : n, off);
}

static long foreign_in =
	-1; /* so many reads from now somebody else writes swappiness, just before */
static void foreign_write(void);

ssize_t pread(int fd, void *at, size_t n, off_t off)
{
	if (foreign_in >= 0 && foreign_in-- == 0)
		foreign_write();
	return some(REAL(pread), fd, at, n, off);
}

#define NR_REQUESTS_FILE "sys/block/vda/queue/nr_requests"
#define SCHEDULER_FILE "sys/block/vda/queue/scheduler"

static void path_of(int fd, char path[256])
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, 255);
	path[n > 0 ? n : 0] = '\0';
}

/*
 * The kernel's part: of a ratio and its bytes the one written is in force and the other reads 0; another scheduler begins with
 * as many requests as it likes.
 */
static void couple(int fd, const char *root)
{
	char path[256];
	long resume = nth;

	nth = -1;
	path_of(fd, path);
	if (strstr(path, DIRTY_BYTES_FILE))
		file_put(root, DIRTY_RATIO_FILE, "0\n");
	else if (strstr(path, DIRTY_RATIO_FILE))
		file_put(root, DIRTY_BYTES_FILE, "0\n");
	else if (strstr(path, SCHEDULER_FILE))
		file_put(root, NR_REQUESTS_FILE, "256\n");
	nth = resume;
}

/* No bytes at all are no bound, a queue has an end, and this scheduler is not there. */
static bool kernel_refuses(int fd, const char *text)
{
	char path[256];

	path_of(fd, path);
	return (strstr(path, DIRTY_BYTES_FILE) && strcmp(text, "0\n") == 0) ||
	       (strstr(path, NR_REQUESTS_FILE) && atoi(text) > 1023) ||
	       (strstr(path, SCHEDULER_FILE) && strcmp(text, "bfq\n") == 0);
}

static struct fake f;

static ssize_t put_couple(int fd, const void *at, size_t n, off_t off)
{
	ssize_t put = some((ssize_t(*)(int, void *, size_t, off_t))(void *)REAL(pwrite), fd,
		(void *)at, n, off);

	if (put > 0 && n <= RECORD_VALUE_MAX)
		couple(fd, f.root);
	return put;
}

static bool swallow; /* knobs take any value and do nothing */
static bool taken_in_write; /* the next write of a knob is followed by a take-over */
static void take_over(void);

ssize_t pwrite(int fd, const void *at, size_t n, off_t off)
{
	if (swallow && n <= RECORD_VALUE_MAX)
		return (ssize_t)n;
	if (n <= RECORD_VALUE_MAX) {
		char text[RECORD_VALUE_MAX + 1] = "";

		memcpy(text, at, n);
		if (kernel_refuses(fd, text)) {
			errno = EINVAL;
			return -1;
		}
	}
	if (taken_in_write && n <= RECORD_VALUE_MAX) {
		ssize_t put = put_couple(fd, at, n, off);
		long resume = nth;

		taken_in_write = false;
		nth = -1;
		take_over();
		nth = resume;
		return put;
	}
	return put_couple(fd, at, n, off);
}

FAILS(int, ftruncate, -1, (int fd, off_t n), fd, n)
FAILS(int, fsync, -1, (int fd), fd)

static bool
	read_only; /* the journal's disk has turned so under an open file, whose fsync() succeeds all the same */

int fstatvfs(int fd, struct statvfs *st)
{
	int result = hit() ? -1 : REAL(fstatvfs)(fd, st);

	if (read_only && !result)
		st->f_flag |= ST_RDONLY;
	return result;
}

/* The file of a fake root that stands for a disk: the kernel's part is played by these two. */
static bool disk_played;
static long read_ahead = 256;

int fstat(int fd, struct stat *st)
{
	int result = hit() ? -1 : REAL(fstat)(fd, st);

	if (disk_played && !result && S_ISREG(st->st_mode))
		st->st_mode = (st->st_mode & ~(mode_t)S_IFMT) | S_IFBLK;
	return result;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *at;

	va_start(args, request);
	at = va_arg(args, void *);
	va_end(args);
	if (hit())
		return -1;
	if (request == BLKRAGET)
		*(long *)at = read_ahead;
	else if (request == BLKRASET)
		read_ahead = (long)(uintptr_t)at;
	else
		return REAL(ioctl)(fd, request, at);
	return 0;
}

FAILS(int, fstatat, -1, (int dir, const char *path, struct stat *st, int flags), dir, path, st,
	flags)

static const char *script; /* NULL = the real one; see next_event() */
static bool agent_is_late; /* it makes a change while the keeper takes the journal over */
static void late_change(void);

int renameat(int a, const char *from, int b, const char *to)
{
	if (agent_is_late && script) {
		long resume = nth;

		agent_is_late = false;
		nth = -1;
		late_change();
		nth = resume;
	}
	return hit() ? -1 : REAL(renameat)(a, from, b, to);
}

FAILS(int, linkat, -1, (int a, const char *from, int b, const char *to, int flags), a, from, b, to,
	flags)
FAILS(int, mkdir, -1, (const char *path, mode_t mode), path, mode)
FAILS(int, access, -1, (const char *path, int mode), path, mode)
FAILS(int, socketpair, -1, (int domain, int type, int protocol, int fd[2]), domain, type, protocol,
	fd)
FAILS(ssize_t, write, -1, (int fd, const void *at, size_t n), fd, at, n)

static bool taken_twice; /* the next shared lock is followed by another take-over */

int flock(int fd, int op)
{
	int result = hit() ? -1 : REAL(flock)(fd, op);

	if (taken_twice && op == (LOCK_SH | LOCK_NB)) {
		long resume = nth;

		taken_twice = false;
		nth = -1;
		take_over();
		nth = resume;
	}
	return result;
}
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

static bool every_second_cpu;

long syscall(long number, ...)
{
	va_list args;
	long a[6];

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	/* of a long list of CPUs, and of advice that was taken in part */
	if (number == SYS_sched_getaffinity && every_second_cpu) {
		memset((void *)(uintptr_t)a[2], 0x55, 128);
		return 128;
	}
	if (hit())
		return number == SYS_process_madvise && !with ? 1 : -1;
	return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void foreign_write(void)
{
	file_put(f.root, SWAPPINESS_FILE, "099\n");
}

/* ---- the keeper's world ---- */

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

/* What the keeper asks for itself; in the test's world it is only written down. */
static struct {
	int policy, priority, nice, locked; /* 0 = not granted */
} asked;
static int played_refusal; /* the errno of all of it; 0 = it is granted */

static bool refused(void)
{
	if (hit())
		return true;
	errno = played_refusal;
	return played_refusal;
}

int sched_setscheduler(pid_t pid, int policy, const struct sched_param *param)
{
	if (refused())
		return -1;
	if (!script)
		return REAL(sched_setscheduler)(pid, policy, param);
	asked.policy = policy;
	asked.priority = param->sched_priority;
	return 0;
}

int setpriority(__priority_which_t which, id_t who, int value)
{
	if (refused())
		return -1;
	if (!script)
		return REAL(setpriority)(which, who, value);
	asked.nice = value;
	return 0;
}

int mlockall(int flags)
{
	if (refused())
		return -1;
	asked.locked = flags;
	return 0;
}

static void late_change(void)
{
	struct safety_error error;
	uint64_t id;

	if (agent)
		change_one(agent, "late", CHANGE_AUTO, DIRTY_RATIO, "50", &id, &error);
}

/* l: the agent will make a change while it is taken over; S: silence until the timeout; w: the agent writes once more; c: it makes a change; anything else is for read(). */
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
			static unsigned int turn;
			char owner[16];

			/* as many owners: none of them too often */
			snprintf(owner, sizeof(owner), "o%u", turn++);
			change_one(agent, owner, CHANGE_AUTO, DIRTY_RATIO, "40", &id, &error);
		} else if (*script == 'l') {
			agent_is_late = true;
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
		/* half of a text, or nothing */
		return !hit()	  ? REAL(read)(fd, at, n)
		       : with > 0 ? -1
				  : REAL(read)(fd, at, with ? 0 : n / 64);
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

#endif
