// SPDX-License-Identifier: Apache-2.0
/*
 * calls.c - names of the features, and rows of counts.
 */
#include "agent/infer/calls.h"

#include <math.h>

static const char *const names[] = { "read", "write", "open", "close", "stat", "fstat", "poll",
	"select", "lseek", "mmap", "mprotect", "munmap", "mremap", "brk", "madvise", "msync",
	"mlock", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "sigaltstack",
	"ioctl", "pread64", "pwrite64", "readv", "writev", "access", "pipe", "sched_yield", "ipc",
	"dup", "dup2", "nanosleep", "setitimer", "alarm", "getpid", "gettid", "getppid", "sendfile",
	"socketcall", "socket", "socketpair", "connect", "accept", "bind", "listen", "sendto",
	"recvfrom", "sendmsg", "recvmsg", "shutdown", "getsockname", "setsockopt", "getsockopt",
	"clone", "fork", "execve", "exit", "exit_group", "wait4", "kill", "tgkill", "uname",
	"fcntl", "flock", "fsync", "ftruncate", "fadvise64", "getdents", "getcwd", "chdir",
	"rename", "mkdir", "rmdir", "link", "unlink", "readlink", "chmod", "chown", "umask",
	"utime", "mknod", "statfs", "getxattr", "setxattr", "gettimeofday", "time", "times",
	"clock_gettime", "clock_settime", "timer", "getrlimit", "getrusage", "sysinfo", "ptrace",
	"process_vm", "getuid", "getgid", "setuid", "setgid", "setpgid", "setsid", "capset",
	"personality", "setpriority", "sched_setscheduler", "sched_getscheduler", "prctl",
	"arch_prctl", "mount", "module", "futex", "epoll_create", "epoll_ctl", "epoll_wait",
	"set_tid_address", "set_robust_list", "eventfd", "inotify", "unshare", "getrandom",
	"memfd_create", "seccomp", "bpf", "io_uring", "keyctl", "other" };
_Static_assert(sizeof(names) / sizeof(names[0]) == SEMANTOS_CALLS, "a name for each feature");

const char *calls_name(unsigned int feature)
{
	return names[feature < SEMANTOS_CALLS ? feature : SEMANTOS_CALL_other];
}

unsigned int calls_of_x86_64(unsigned long number)
{
	return number < SEMANTOS_CALLS_64_END ? semantos_calls_64[number] : SEMANTOS_CALL_other;
}

unsigned int calls_of_i386(unsigned long number)
{
	return number < SEMANTOS_CALLS_32_END ? semantos_calls_32[number] : SEMANTOS_CALL_other;
}

static float inverse(double squares)
{
	return squares > 0 ? (float)(1 / sqrt(squares)) : 0;
}

void calls_row(const uint16_t *count, enum calls_form form, float *row)
{
	double length = 0, linear = 0;
	float scale, share;

	for (size_t i = 0; i < SEMANTOS_CALLS; i++) {
		row[i] = form == CALLS_KINDS ? (float)(count[i] > 0) : log1pf((float)count[i]);
		length += (double)row[i] * (double)row[i];
		linear += (double)count[i] * (double)count[i];
	}
	scale = inverse(length);
	share = form == CALLS_KINDS ? 0 : CALLS_LINEAR * inverse(linear);
	for (size_t i = 0; i < SEMANTOS_CALLS; i++)
		row[i] = row[i] * scale + (float)count[i] * share;
}
