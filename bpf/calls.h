/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * calls.h - the 128 features that a process's system calls are counted in, and which call is which, by name.
 *
 * One feature is one call of x86-64, or several that do the same (open, openat, openat2), so that what was recorded on
 * another kernel, C library or architecture counts alike. i386 has numbers of its own: those of the same name, or of the
 * same work, are the same feature. Its socketcall has many calls behind one number: the hook looks at which; a recorded
 * trace that says no more counts as `socketcall`. What is in neither table is `other`. The order is part of the format
 * of references (docs/model-format.md): features are never moved.
 */
#ifndef SEMANTOS_CALLS_H
#define SEMANTOS_CALLS_H

#define SEMANTOS_CALLS 128 /* features */
#define SEMANTOS_CALL_NUMBERS 512 /* numbers looked up; beyond it: other */

/* In order; the last one is what the tables leave out. */
enum semantos_call {
	SEMANTOS_CALL_read,
	SEMANTOS_CALL_write,
	SEMANTOS_CALL_open,
	SEMANTOS_CALL_close,
	SEMANTOS_CALL_stat,
	SEMANTOS_CALL_fstat,
	SEMANTOS_CALL_poll,
	SEMANTOS_CALL_select,
	SEMANTOS_CALL_lseek,
	SEMANTOS_CALL_mmap,
	SEMANTOS_CALL_mprotect,
	SEMANTOS_CALL_munmap,
	SEMANTOS_CALL_mremap,
	SEMANTOS_CALL_brk,
	SEMANTOS_CALL_madvise,
	SEMANTOS_CALL_msync,
	SEMANTOS_CALL_mlock,
	SEMANTOS_CALL_rt_sigaction,
	SEMANTOS_CALL_rt_sigprocmask,
	SEMANTOS_CALL_rt_sigreturn,
	SEMANTOS_CALL_rt_sigsuspend,
	SEMANTOS_CALL_sigaltstack,
	SEMANTOS_CALL_ioctl,
	SEMANTOS_CALL_pread64,
	SEMANTOS_CALL_pwrite64,
	SEMANTOS_CALL_readv,
	SEMANTOS_CALL_writev,
	SEMANTOS_CALL_access,
	SEMANTOS_CALL_pipe,
	SEMANTOS_CALL_sched_yield,
	SEMANTOS_CALL_ipc,
	SEMANTOS_CALL_dup,
	SEMANTOS_CALL_dup2,
	SEMANTOS_CALL_nanosleep,
	SEMANTOS_CALL_setitimer,
	SEMANTOS_CALL_alarm,
	SEMANTOS_CALL_getpid,
	SEMANTOS_CALL_gettid,
	SEMANTOS_CALL_getppid,
	SEMANTOS_CALL_sendfile,
	SEMANTOS_CALL_socketcall,
	SEMANTOS_CALL_socket,
	SEMANTOS_CALL_socketpair,
	SEMANTOS_CALL_connect,
	SEMANTOS_CALL_accept,
	SEMANTOS_CALL_bind,
	SEMANTOS_CALL_listen,
	SEMANTOS_CALL_sendto,
	SEMANTOS_CALL_recvfrom,
	SEMANTOS_CALL_sendmsg,
	SEMANTOS_CALL_recvmsg,
	SEMANTOS_CALL_shutdown,
	SEMANTOS_CALL_getsockname,
	SEMANTOS_CALL_setsockopt,
	SEMANTOS_CALL_getsockopt,
	SEMANTOS_CALL_clone,
	SEMANTOS_CALL_fork,
	SEMANTOS_CALL_execve,
	SEMANTOS_CALL_exit,
	SEMANTOS_CALL_exit_group,
	SEMANTOS_CALL_wait4,
	SEMANTOS_CALL_kill,
	SEMANTOS_CALL_tgkill,
	SEMANTOS_CALL_uname,
	SEMANTOS_CALL_fcntl,
	SEMANTOS_CALL_flock,
	SEMANTOS_CALL_fsync,
	SEMANTOS_CALL_ftruncate,
	SEMANTOS_CALL_fadvise64,
	SEMANTOS_CALL_getdents,
	SEMANTOS_CALL_getcwd,
	SEMANTOS_CALL_chdir,
	SEMANTOS_CALL_rename,
	SEMANTOS_CALL_mkdir,
	SEMANTOS_CALL_rmdir,
	SEMANTOS_CALL_link,
	SEMANTOS_CALL_unlink,
	SEMANTOS_CALL_readlink,
	SEMANTOS_CALL_chmod,
	SEMANTOS_CALL_chown,
	SEMANTOS_CALL_umask,
	SEMANTOS_CALL_utime,
	SEMANTOS_CALL_mknod,
	SEMANTOS_CALL_statfs,
	SEMANTOS_CALL_getxattr,
	SEMANTOS_CALL_setxattr,
	SEMANTOS_CALL_gettimeofday,
	SEMANTOS_CALL_time,
	SEMANTOS_CALL_times,
	SEMANTOS_CALL_clock_gettime,
	SEMANTOS_CALL_clock_settime,
	SEMANTOS_CALL_timer,
	SEMANTOS_CALL_getrlimit,
	SEMANTOS_CALL_getrusage,
	SEMANTOS_CALL_sysinfo,
	SEMANTOS_CALL_ptrace,
	SEMANTOS_CALL_process_vm,
	SEMANTOS_CALL_getuid,
	SEMANTOS_CALL_getgid,
	SEMANTOS_CALL_setuid,
	SEMANTOS_CALL_setgid,
	SEMANTOS_CALL_setpgid,
	SEMANTOS_CALL_setsid,
	SEMANTOS_CALL_capset,
	SEMANTOS_CALL_personality,
	SEMANTOS_CALL_setpriority,
	SEMANTOS_CALL_sched_setscheduler,
	SEMANTOS_CALL_sched_getscheduler,
	SEMANTOS_CALL_prctl,
	SEMANTOS_CALL_arch_prctl,
	SEMANTOS_CALL_mount,
	SEMANTOS_CALL_module,
	SEMANTOS_CALL_futex,
	SEMANTOS_CALL_epoll_create,
	SEMANTOS_CALL_epoll_ctl,
	SEMANTOS_CALL_epoll_wait,
	SEMANTOS_CALL_set_tid_address,
	SEMANTOS_CALL_set_robust_list,
	SEMANTOS_CALL_eventfd,
	SEMANTOS_CALL_inotify,
	SEMANTOS_CALL_unshare,
	SEMANTOS_CALL_getrandom,
	SEMANTOS_CALL_memfd_create,
	SEMANTOS_CALL_seccomp,
	SEMANTOS_CALL_bpf,
	SEMANTOS_CALL_io_uring,
	SEMANTOS_CALL_keyctl,
	SEMANTOS_CALL_other,
};
_Static_assert(SEMANTOS_CALL_other == SEMANTOS_CALLS - 1, "the order is the format");

#define C(name) SEMANTOS_CALL_##name

/* x86-64, by number. */
static const unsigned char semantos_calls_64[SEMANTOS_CALL_NUMBERS] = {
	/* 0 */
	C(read), C(write), C(open), C(close), C(stat), C(fstat), C(stat), C(poll), C(lseek),
	C(mmap), C(mprotect), C(munmap), C(brk), C(rt_sigaction), C(rt_sigprocmask),
	C(rt_sigreturn), C(ioctl), C(pread64), C(pwrite64), C(readv), C(writev), C(access), C(pipe),
	C(select), C(sched_yield), C(mremap), C(msync), C(madvise), C(madvise), C(ipc), C(ipc),
	C(ipc), C(dup), C(dup2), C(rt_sigsuspend), C(nanosleep), C(setitimer), C(alarm),
	C(setitimer), C(getpid), C(sendfile), C(socket), C(connect), C(accept), C(sendto),
	C(recvfrom), C(sendmsg), C(recvmsg), C(shutdown), C(bind),
	/* 50 */
	C(listen), C(getsockname), C(getsockname), C(socketpair), C(setsockopt), C(getsockopt),
	C(clone), C(fork), C(fork), C(execve), C(exit), C(wait4), C(kill), C(uname), C(ipc), C(ipc),
	C(ipc), C(ipc), C(ipc), C(ipc), C(ipc), C(ipc), C(fcntl), C(flock), C(fsync), C(fsync),
	C(ftruncate), C(ftruncate), C(getdents), C(getcwd), C(chdir), C(chdir), C(rename), C(mkdir),
	C(rmdir), C(open), C(link), C(unlink), C(link), C(readlink), C(chmod), C(chmod), C(chown),
	C(chown), C(chown), C(umask), C(gettimeofday), C(getrlimit), C(getrusage), C(sysinfo),
	/* 100 */
	C(times), C(ptrace), C(getuid), C(sysinfo), C(getgid), C(setuid), C(setgid), C(getuid),
	C(getgid), C(setpgid), C(getppid), C(setpgid), C(setsid), C(setuid), C(setgid), C(getgid),
	C(setgid), C(setuid), C(getuid), C(setgid), C(getgid), C(setpgid), C(setuid), C(setgid),
	C(setpgid), C(capset), C(capset), C(rt_sigsuspend), C(rt_sigsuspend), C(kill),
	C(rt_sigsuspend), C(sigaltstack), C(utime), C(mknod), C(other), C(personality), C(statfs),
	C(statfs), C(statfs), C(other), C(setpriority), C(setpriority), C(sched_setscheduler),
	C(sched_getscheduler), C(sched_setscheduler), C(sched_getscheduler), C(sched_getscheduler),
	C(sched_getscheduler), C(sched_getscheduler), C(mlock),
	/* 150 */
	C(mlock), C(mlock), C(mlock), C(other), C(arch_prctl), C(mount), C(other), C(prctl),
	C(arch_prctl), C(clock_settime), C(getrlimit), C(mount), C(fsync), C(other),
	C(clock_settime), C(mount), C(mount), C(module), C(module), C(module), C(other), C(other),
	C(other), C(other), C(other), C(module), C(module), C(other), C(other), C(other), C(other),
	C(other), C(other), C(other), C(other), C(other), C(gettid), C(fadvise64), C(setxattr),
	C(setxattr), C(setxattr), C(getxattr), C(getxattr), C(getxattr), C(getxattr), C(getxattr),
	C(getxattr), C(setxattr), C(setxattr), C(setxattr),
	/* 200 */
	C(tgkill), C(time), C(futex), C(sched_setscheduler), C(sched_getscheduler), C(arch_prctl),
	C(io_uring), C(io_uring), C(io_uring), C(io_uring), C(io_uring), C(arch_prctl), C(other),
	C(epoll_create), C(other), C(other), C(mmap), C(getdents), C(set_tid_address), C(other),
	C(ipc), C(fadvise64), C(timer), C(timer), C(timer), C(timer), C(timer), C(clock_settime),
	C(clock_gettime), C(clock_gettime), C(nanosleep), C(exit_group), C(epoll_wait),
	C(epoll_ctl), C(tgkill), C(utime), C(other), C(other), C(other), C(other), C(ipc), C(ipc),
	C(ipc), C(ipc), C(ipc), C(ipc), C(module), C(wait4), C(keyctl), C(keyctl),
	/* 250 */
	C(keyctl), C(setpriority), C(setpriority), C(inotify), C(inotify), C(inotify), C(other),
	C(open), C(mkdir), C(mknod), C(chown), C(utime), C(stat), C(unlink), C(rename), C(link),
	C(link), C(readlink), C(chmod), C(access), C(select), C(poll), C(unshare),
	C(set_robust_list), C(set_robust_list), C(sendfile), C(sendfile), C(fsync), C(sendfile),
	C(other), C(utime), C(epoll_wait), C(eventfd), C(timer), C(eventfd), C(fadvise64), C(timer),
	C(timer), C(accept), C(eventfd), C(eventfd), C(epoll_create), C(dup2), C(pipe), C(inotify),
	C(pread64), C(pwrite64), C(tgkill), C(bpf), C(recvmsg),
	/* 300 */
	C(inotify), C(inotify), C(getrlimit), C(open), C(open), C(clock_settime), C(fsync),
	C(sendmsg), C(unshare), C(other), C(process_vm), C(process_vm), C(process_vm), C(module),
	C(sched_setscheduler), C(sched_getscheduler), C(rename), C(seccomp), C(getrandom),
	C(memfd_create), C(module), C(bpf), C(execve), C(bpf), C(other), C(mlock), C(sendfile),
	C(pread64), C(pwrite64), C(mprotect), C(other), C(other), C(stat), C(io_uring),
	C(set_robust_list), C(other), C(other), C(other), C(other), C(other), C(other), C(other),
	C(other), C(other), C(other), C(other), C(other), C(other), C(other), C(other),
	/* 350 */
	C(other), C(other), C(other), C(other), C(other), C(other), C(other), C(other), C(other),
	C(other), C(other), C(other), C(other), C(other), C(other), C(other), C(other), C(other),
	C(other), C(other), C(other), C(other), C(other), C(other), C(other), C(other), C(other),
	C(other), C(other), C(other), C(other), C(other), C(other), C(other), C(other), C(other),
	C(other), C(other), C(other), C(other), C(other), C(other), C(other), C(other), C(other),
	C(other), C(other), C(other), C(other), C(other),
	/* 400 */
	C(other), C(other), C(other), C(other), C(other), C(other), C(other), C(other), C(other),
	C(other), C(other), C(other), C(other), C(other), C(other), C(other), C(other), C(other),
	C(other), C(other), C(other), C(other), C(other), C(other), C(kill), C(io_uring),
	C(io_uring), C(io_uring), C(mount), C(mount), C(mount), C(mount), C(mount), C(mount),
	C(other), C(clone), C(close), C(open), C(process_vm), C(access), C(madvise), C(epoll_wait),
	C(mount), C(other), C(seccomp), C(seccomp), C(seccomp), C(memfd_create), C(other), C(futex),
	/* 450 */
	C(other), C(other), C(chmod), C(other), C(futex), C(futex), C(futex)
};

/* i386, by number. */
static const unsigned char semantos_calls_32[SEMANTOS_CALL_NUMBERS] = {
	/* 0 */
	C(other), C(exit), C(fork), C(read), C(write), C(open), C(close), C(wait4), C(open),
	C(link), C(unlink), C(execve), C(chdir), C(time), C(mknod), C(chmod), C(chown), C(other),
	C(stat), C(lseek), C(getpid), C(mount), C(mount), C(setuid), C(getuid), C(clock_settime),
	C(ptrace), C(alarm), C(fstat), C(rt_sigsuspend), C(utime), C(ioctl), C(ioctl), C(access),
	C(setpriority), C(other), C(fsync), C(kill), C(rename), C(mkdir), C(rmdir), C(dup), C(pipe),
	C(times), C(other), C(brk), C(setgid), C(getgid), C(rt_sigaction), C(getuid),
	/* 50 */
	C(getgid), C(other), C(mount), C(other), C(ioctl), C(fcntl), C(other), C(setpgid), C(other),
	C(uname), C(umask), C(mount), C(statfs), C(dup2), C(getppid), C(setpgid), C(setsid),
	C(rt_sigaction), C(rt_sigprocmask), C(rt_sigprocmask), C(setuid), C(setgid),
	C(rt_sigsuspend), C(rt_sigsuspend), C(other), C(getrlimit), C(getrlimit), C(getrusage),
	C(gettimeofday), C(clock_settime), C(getgid), C(setgid), C(select), C(link), C(stat),
	C(readlink), C(other), C(module), C(module), C(getdents), C(mmap), C(munmap), C(ftruncate),
	C(ftruncate), C(chmod), C(chown), C(setpriority), C(setpriority), C(other), C(statfs),
	/* 100 */
	C(statfs), C(other), C(socketcall), C(sysinfo), C(setitimer), C(setitimer), C(stat),
	C(stat), C(fstat), C(uname), C(other), C(other), C(other), C(other), C(wait4), C(module),
	C(sysinfo), C(ipc), C(fsync), C(rt_sigreturn), C(clone), C(other), C(uname), C(arch_prctl),
	C(clock_settime), C(mprotect), C(rt_sigprocmask), C(other), C(module), C(module), C(other),
	C(other), C(setpgid), C(chdir), C(other), C(other), C(personality), C(other), C(setuid),
	C(setgid), C(lseek), C(getdents), C(select), C(flock), C(msync), C(readv), C(writev),
	C(setpgid), C(fsync), C(other),
	/* 150 */
	C(mlock), C(mlock), C(mlock), C(mlock), C(sched_setscheduler), C(sched_getscheduler),
	C(sched_setscheduler), C(sched_getscheduler), C(sched_yield), C(sched_getscheduler),
	C(sched_getscheduler), C(sched_getscheduler), C(nanosleep), C(mremap), C(setuid), C(getuid),
	C(other), C(other), C(poll), C(other), C(setgid), C(getgid), C(prctl), C(rt_sigreturn),
	C(rt_sigaction), C(rt_sigprocmask), C(rt_sigsuspend), C(rt_sigsuspend), C(kill),
	C(rt_sigsuspend), C(pread64), C(pwrite64), C(chown), C(getcwd), C(capset), C(capset),
	C(sigaltstack), C(sendfile), C(other), C(other), C(fork), C(getrlimit), C(mmap),
	C(ftruncate), C(ftruncate), C(stat), C(stat), C(fstat), C(chown), C(getuid),
	/* 200 */
	C(getgid), C(getuid), C(getgid), C(setuid), C(setgid), C(getgid), C(setgid), C(chown),
	C(setuid), C(getuid), C(setgid), C(getgid), C(chown), C(setuid), C(setgid), C(setuid),
	C(setgid), C(mount), C(madvise), C(madvise), C(getdents), C(fcntl), C(other), C(other),
	C(gettid), C(fadvise64), C(setxattr), C(setxattr), C(setxattr), C(getxattr), C(getxattr),
	C(getxattr), C(getxattr), C(getxattr), C(getxattr), C(setxattr), C(setxattr), C(setxattr),
	C(tgkill), C(sendfile), C(futex), C(sched_setscheduler), C(sched_getscheduler),
	C(arch_prctl), C(arch_prctl), C(io_uring), C(io_uring), C(io_uring), C(io_uring),
	C(io_uring),
	/* 250 */
	C(fadvise64), C(other), C(exit_group), C(other), C(epoll_create), C(epoll_ctl),
	C(epoll_wait), C(mmap), C(set_tid_address), C(timer), C(timer), C(timer), C(timer),
	C(timer), C(clock_settime), C(clock_gettime), C(clock_gettime), C(nanosleep), C(statfs),
	C(statfs), C(tgkill), C(utime), C(fadvise64), C(other), C(other), C(other), C(other),
	C(ipc), C(ipc), C(ipc), C(ipc), C(ipc), C(ipc), C(module), C(wait4), C(other), C(keyctl),
	C(keyctl), C(keyctl), C(setpriority), C(setpriority), C(inotify), C(inotify), C(inotify),
	C(other), C(open), C(mkdir), C(mknod), C(chown), C(utime),
	/* 300 */
	C(stat), C(unlink), C(rename), C(link), C(link), C(readlink), C(chmod), C(access),
	C(select), C(poll), C(unshare), C(set_robust_list), C(set_robust_list), C(sendfile),
	C(fsync), C(sendfile), C(sendfile), C(other), C(other), C(epoll_wait), C(utime), C(eventfd),
	C(timer), C(eventfd), C(fadvise64), C(timer), C(timer), C(eventfd), C(eventfd),
	C(epoll_create), C(dup2), C(pipe), C(inotify), C(pread64), C(pwrite64), C(tgkill), C(bpf),
	C(recvmsg), C(inotify), C(inotify), C(getrlimit), C(open), C(open), C(clock_settime),
	C(fsync), C(sendmsg), C(unshare), C(process_vm), C(process_vm), C(process_vm),
	/* 350 */
	C(module), C(sched_setscheduler), C(sched_getscheduler), C(rename), C(seccomp),
	C(getrandom), C(memfd_create), C(bpf), C(execve), C(socket), C(socketpair), C(bind),
	C(connect), C(listen), C(accept), C(getsockopt), C(setsockopt), C(getsockname),
	C(getsockname), C(sendto), C(sendmsg), C(recvfrom), C(recvmsg), C(shutdown), C(bpf),
	C(other), C(mlock), C(sendfile), C(pread64), C(pwrite64), C(mprotect), C(other), C(other),
	C(stat), C(arch_prctl), C(io_uring), C(set_robust_list), C(other), C(other), C(other),
	C(other), C(other), C(other), C(ipc), C(ipc), C(ipc), C(ipc), C(ipc), C(ipc), C(ipc),
	/* 400 */
	C(ipc), C(ipc), C(ipc), C(clock_gettime), C(clock_settime), C(clock_settime),
	C(clock_gettime), C(nanosleep), C(timer), C(timer), C(timer), C(timer), C(utime), C(select),
	C(poll), C(other), C(io_uring), C(recvmsg), C(ipc), C(ipc), C(ipc), C(rt_sigsuspend),
	C(futex), C(sched_getscheduler), C(kill), C(io_uring), C(io_uring), C(io_uring), C(mount),
	C(mount), C(mount), C(mount), C(mount), C(mount), C(other), C(clone), C(close), C(open),
	C(process_vm), C(access), C(madvise), C(epoll_wait), C(mount), C(other), C(seccomp),
	C(seccomp), C(seccomp), C(memfd_create), C(other), C(futex),
	/* 450 */
	C(other), C(other), C(chmod), C(other), C(futex), C(futex), C(futex)
};

/* What i386's socketcall was called for, its first argument. */
static const unsigned char semantos_calls_socket[] = { C(other), C(socket), C(bind), C(connect),
	C(listen), C(accept), C(getsockname), C(getsockname), C(socketpair), C(sendto), C(recvfrom),
	C(sendto), C(recvfrom), C(shutdown), C(setsockopt), C(getsockopt), C(sendmsg), C(recvmsg),
	C(accept), C(recvmsg), C(sendmsg) };

#undef C

#define SEMANTOS_CALLS_64_END 457 /* numbers from here on are no calls we know */
#define SEMANTOS_CALLS_32_END 457
#define SEMANTOS_CALLS_SOCKET_END (sizeof(semantos_calls_socket))

#endif
