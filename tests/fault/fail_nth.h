/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fail_nth.h - makes the Nth allocation, or the Nth system call, of a running program with many threads fail.
 *
 * Allocations are counted over all threads by standing in for glibc's malloc, calloc and realloc. System calls are
 * counted over all threads that came after fail_watch_calls(): a seccomp filter shows each to a thread of this program,
 * which answers it with an error or lets it go on. Left alone are calls that cannot fail, or whose failure says
 * nothing of the caller (nth_skip). Include it in one file of a program.
 */
#ifndef TESTS_FAIL_NTH_H
#define TESTS_FAIL_NTH_H

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum nth_kind { NTH_NONE, NTH_ALLOCATION, NTH_CALL };

static struct {
	atomic_int kind;
	atomic_long count; /* since fail_arm() */
	long at; /* this one fails, from 0 */
	int with; /* errno of a call */
	atomic_long failed_call; /* its number, -1 = none failed */
	int listener;
} nth = { .failed_call = -1, .listener = -1 };

/* ---- allocations ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static bool nth_refuse(void)
{
	if (atomic_load(&nth.kind) != NTH_ALLOCATION || atomic_fetch_add(&nth.count, 1) != nth.at)
		return false;
	atomic_store(&nth.failed_call, 0);
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return nth_refuse() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return nth_refuse() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	return nth_refuse() ? NULL : __libc_realloc(p, size);
}

/* ---- system calls ---- */

static const int nth_skip[] = { SYS_close, SYS_munmap, SYS_brk, SYS_exit, SYS_exit_group,
	SYS_rt_sigreturn, SYS_restart_syscall, SYS_futex, SYS_clock_nanosleep, SYS_nanosleep,
	SYS_gettid, SYS_getpid, SYS_geteuid, SYS_sched_yield, SYS_epoll_wait, SYS_rt_sigprocmask,
	SYS_madvise, SYS_rseq, SYS_set_robust_list, SYS_wait4 };
#define NTH_SKIP (sizeof(nth_skip) / sizeof(nth_skip[0]))

static void *nth_answer(void *unused)
{
	struct seccomp_notif ask;
	struct seccomp_notif_resp say;

	(void)unused;
	for (;;) {
		memset(&ask, 0, sizeof(ask));
		if (ioctl(nth.listener, SECCOMP_IOCTL_NOTIF_RECV, &ask) < 0) {
			if (errno == EINTR || errno == ENOENT)
				continue;
			return NULL;
		}
		say = (struct seccomp_notif_resp){ .id = ask.id,
			.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
		if (atomic_load(&nth.kind) == NTH_CALL &&
			atomic_fetch_add(&nth.count, 1) == nth.at) {
			atomic_store(&nth.failed_call, ask.data.nr);
			say.error = -nth.with;
			say.flags = 0;
		}
		ioctl(nth.listener, SECCOMP_IOCTL_NOTIF_SEND, &say);
	}
}

static void *nth_start(void *started)
{
	while (nth.listener < 0)
		usleep(100);
	atomic_store((atomic_int *)started, 1);
	return nth_answer(NULL);
}

/* This thread's calls, and those of all it starts from here on. False: not possible here. */
static bool fail_watch_calls(void)
{
	struct sock_filter code[NTH_SKIP + 3] = { BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)) };
	struct sock_fprog filter = { .len = NTH_SKIP + 3, .filter = code };
	static atomic_int started;
	pthread_t thread;

	for (size_t i = 0; i < NTH_SKIP; i++)
		code[i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
			(unsigned int)nth_skip[i], (unsigned char)(NTH_SKIP - i), 0);
	code[NTH_SKIP + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
	code[NTH_SKIP + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	/* the thread that answers must not be one that asks */
	if (pthread_create(&thread, NULL, nth_start, &started))
		return false;
	nth.listener = (int)syscall(
		SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
	if (nth.listener < 0)
		return false;
	while (!atomic_load(&started))
		sched_yield();
	return true;
}

/* ---- both ---- */

static void fail_arm(enum nth_kind kind, long at, int with)
{
	nth.at = at;
	nth.with = with;
	atomic_store(&nth.count, 0);
	atomic_store(&nth.failed_call, -1);
	atomic_store(&nth.kind, kind);
}

/* True when something was made to fail since fail_arm(). */
static bool fail_disarm(void)
{
	atomic_store(&nth.kind, NTH_NONE);
	return atomic_load(&nth.failed_call) >= 0;
}

#endif
