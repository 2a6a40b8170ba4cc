/* SPDX-License-Identifier: Apache-2.0 */
/*
 * steps.h - runs a function in a child and stops it before and after each of its system calls.
 *
 * At every stop a callback of the test may look, write files, kill the child, or make the call fail. Stops are counted
 * from the child's first call of steps_begin() on, so that N means the same in every run. x86-64 only, one thread.
 */
#ifndef TESTS_STEPS_H
#define TESTS_STEPS_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEPS_END_CALL 0x5e3b /* no system call has this number: the mark of steps_end() */
#define STEPS_BEGIN_SIGNAL SIGURG /* the mark of steps_begin(); ignored where nobody traces */
#define STEPS_MAX 100000

enum step_action { STEP_GO_ON, STEP_KILL, STEP_FAIL };

struct step {
	long n; /* from 0; even = before a call, odd = after it */
	long call; /* number of the system call */
	int fd; /* its first argument */
	bool before;
	pid_t pid;
	int fail_with; /* STEP_FAIL: the errno; only before a call */
};

typedef enum step_action step_fn(void *ctx, struct step *step);

/* Of a coverage build: write the counts, which _exit() does not. */
void __gcov_dump(void) __attribute__((weak));

/* In the child: count from here. Until then it is not stopped. */
static inline void steps_begin(void)
{
	syscall(SYS_tgkill, getpid(), gettid(), STEPS_BEGIN_SIGNAL);
}

/* In the child: what is to happen undisturbed comes after this. The test sees the call and leaves it be. */
static inline void steps_end(void)
{
	syscall(STEPS_END_CALL);
}

/*
 * fn runs in the child; its value is the exit status. Returned: the status of waitpid(), *steps the stops counted.
 * A killed child has WIFSIGNALED. step NULL: nothing is stopped or counted.
 */
static inline int steps_run(int (*fn)(void *arg), void *arg, step_fn *step, void *ctx, long *steps)
{
	pid_t pid = fork();
	struct user_regs_struct regs;
	struct step at = { 0 };
	bool counting = false, before = true, failing = false; /* counting: begun */
	int status;

	if (pid < 0) {
		perror("fork");
		exit(1);
	}
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(77);
		raise(SIGSTOP);
		status = fn(arg);
		if (__gcov_dump)
			__gcov_dump();
		_exit(status);
	}
	at.pid = pid;
	waitpid(pid, &status, 0);
	if (!WIFSTOPPED(status)) {
		printf("skipped: tracing a child is not permitted here\n");
		exit(77);
	}
	ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	for (int signal_ = 0;; signal_ = 0) {
		enum step_action action = STEP_GO_ON;

		ptrace(counting ? PTRACE_SYSCALL : PTRACE_CONT, pid, NULL, signal_);
		if (waitpid(pid, &status, 0) < 0 || WIFEXITED(status) || WIFSIGNALED(status))
			break;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			signal_ = WSTOPSIG(status);
			/* it comes as the call that sent it returns: the next stop is before a call */
			counting |= signal_ == STEPS_BEGIN_SIGNAL && step;
			continue;
		}
		ptrace(PTRACE_GETREGS, pid, NULL, &regs);
		if (failing) {
			/* the call was replaced by one that does not exist: give it its result */
			regs.rax = (unsigned long long)-(long long)at.fail_with;
			ptrace(PTRACE_SETREGS, pid, NULL, &regs);
			failing = false;
		}
		at.before = before;
		if (before)
			at.call = (long)regs.orig_rax, at.fd = (int)regs.rdi;
		action = step(ctx, &at);
		at.n++;
		before = !before;
		if (action == STEP_KILL)
			kill(pid, SIGKILL);
		if (action == STEP_FAIL && at.before) {
			regs.orig_rax = (unsigned long long)-1;
			ptrace(PTRACE_SETREGS, pid, NULL, &regs);
			failing = true;
		}
		if (at.n > STEPS_MAX) {
			kill(pid, SIGKILL);
			fprintf(stderr, "the child does not end\n");
		}
	}
	*steps = at.n;
	return status;
}

/* Does this call go to the file of that path below dir? Links on the way do not matter. */
static inline bool step_to(const struct step *step, const char *dir, const char *file)
{
	char path[512];
	struct stat here, there;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", step->pid, step->fd);
	if (stat(path, &here) < 0)
		return false;
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return stat(path, &there) == 0 && here.st_dev == there.st_dev &&
	       here.st_ino == there.st_ino;
}

/* Does this call go to a file whose path ends so? */
static inline bool step_on(const struct step *step, const char *file)
{
	char link[64], path[512];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/fd/%d", step->pid, step->fd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	return n >= (ssize_t)strlen(file) && strcmp(path + n - strlen(file), file) == 0;
}

#endif
