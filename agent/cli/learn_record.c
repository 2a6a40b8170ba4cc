// SPDX-License-Identifier: Apache-2.0
/*
 * learn_record.c - loads the hooks of the policy knn, runs a command below this process, and takes its windows.
 *
 * This process adopts what the command leaves behind, so that a daemon's windows are its own too, and ends all of it when
 * the time is over. The hooks are gone when the call returns; nothing is pinned that outlives it.
 */
#include "agent/cli/learn_record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "agent/core/bpf_object.h"
#include "agent/core/ring.h"
#include "agent/core/watch.h"

#define RING_BYTES (1u << 20)
#define BUDGET_PER_S 1000000 /* all of them: this is a recording */
#define LOOK_NS 20000000L
#define GRACE_MS 3000 /* from SIGTERM to SIGKILL */

struct session {
	struct bpf_lease lease;
	struct bpf_policy policy;
	struct ring_reader *reader;
	char bpffs_dir[PATH_MAX];
	struct learn_windows *windows;
};

static void take(void *ctx, const struct semantos_block_record *any)
{
	const struct semantos_calls_record *record = (const struct semantos_calls_record *)any;
	struct learn_windows *windows = ctx;

	if (windows->n == windows->most) {
		windows->dropped++;
		return;
	}
	memcpy(windows->count[windows->n++], record->count, sizeof(record->count));
}

/* The first folder of the path with the policy in it. */
static bool find_object(const char *policies, char *object, char *lease)
{
	for (const char *at = policies; *at;) {
		size_t n = strcspn(at, ":");

		if (n && n < PATH_MAX - 64) {
			snprintf(object, PATH_MAX, "%.*s/knn/knn.bpf.o", (int)n, at);
			snprintf(lease, PATH_MAX, "%.*s/../bpf/lib", (int)n, at);
			if (access(object, R_OK) == 0)
				return true;
		}
		at += n + (at[n] == ':');
	}
	return false;
}

static int session_open(
	struct session *session, const struct learn_run *run, char *error, size_t error_len)
{
	struct semantos_control command = { .op = SEMANTOS_CTL_POLICY,
		.slot = (uint32_t)getpid(),
		.ttl_ns = 1000000,
		.budget_per_s = BUDGET_PER_S };
	char object[PATH_MAX], lease[PATH_MAX];
	int err;

	if (!find_object(run->policies, object, lease)) {
		snprintf(error, error_len,
			"knn/knn.bpf.o is in none of %.200s; --policy-path names other folders.",
			run->policies);
		return -ENOENT;
	}
	if (run->bpffs_dir)
		snprintf(session->bpffs_dir, PATH_MAX, "%s", run->bpffs_dir);
	else
		snprintf(session->bpffs_dir, PATH_MAX, "/sys/fs/bpf/semantos-learn-%d", getpid());
	err = bpf_filesystem_ready(session->bpffs_dir, error, error_len);
	if (!err)
		err = bpf_lease_open(&session->lease, lease, session->bpffs_dir, error, error_len);
	if (!err)
		err = bpf_policy_open(&session->policy, object, "knn", &session->lease,
			session->bpffs_dir, error, error_len);
	if (err)
		return err;
	session->reader = ring_reader_new(session->policy.rings_fd, session->policy.wake,
		session->policy.n_cpus, RING_BYTES, UINT32_MAX, take, session->windows);
	err = session->reader ? bpf_policy_control(&session->policy, &command) : -ENOMEM;
	if (err) {
		snprintf(error, error_len, "The recording cannot be set up: %s.", strerror(-err));
		return err;
	}
	ring_records(session->reader, watch_record_valid);
	return bpf_policy_attach(&session->policy, error, error_len);
}

static void session_close(struct session *session)
{
	struct semantos_counters sum;

	bpf_policy_detach(&session->policy);
	while (session->reader && ring_drain(session->reader))
		;
	if (session->policy.object && bpf_policy_counters(&session->policy, &sum) == 0)
		session->windows->dropped += sum.count[SEMANTOS_C_DROP_RING_FULL] +
					     sum.count[SEMANTOS_C_DROP_OVER_BUDGET];
	ring_reader_free(session->reader);
	if (session->policy.object)
		bpf_policy_close(&session->policy);
	bpf_lease_close(&session->lease);
	bpf_remove_pins(session->bpffs_dir);
}

/* The child says why the command cannot be run by this pipe, which exec closes. */
static pid_t start(char **argv, int *failed)
{
	int pipes[2], err = 0;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		execvp(argv[0], argv);
		err = errno;
		if (write(pipes[1], &err, sizeof(err)) < 0)
			_exit(126);
		_exit(127);
	}
	if (pid < 0)
		err = errno;
	close(pipes[1]);
	if (pid > 0 && read(pipes[0], &err, sizeof(err)) != sizeof(err))
		err = 0;
	close(pipes[0]);
	*failed = err;
	return pid;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Everybody below us, whose parent we are by now or will be. */
static void signal_children(int signo)
{
	char path[64], text[4096], *at = text;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	file = fopen(path, "re");
	if (!file)
		return;
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	for (;;) {
		long pid = strtol(at, &at, 10);

		if (pid <= 0)
			break;
		kill((pid_t)pid, signo);
	}
}

/* Until nobody is left, or the time is over and all of them were ended. */
static void follow(struct session *session, pid_t command, uint32_t seconds)
{
	const struct timespec pause = { 0, LOOK_NS };
	uint64_t end = now_ms() + seconds * 1000ULL, kill_at = end + GRACE_MS;
	bool told = false;
	int status;

	for (;;) {
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid == command)
			session->windows->status = status;
		if (pid < 0 && errno == ECHILD)
			return;
		if (pid > 0)
			continue;
		while (ring_drain(session->reader))
			;
		if (now_ms() >= kill_at)
			signal_children(SIGKILL);
		else if (now_ms() >= end && !told) {
			signal_children(SIGTERM);
			told = true;
		}
		nanosleep(&pause, NULL);
	}
}

int learn_run(
	const struct learn_run *run, struct learn_windows *windows, char *error, size_t error_len)
{
	struct session session = { .windows = windows };
	int err, failed = 0;
	pid_t pid;

	if (geteuid() != 0) {
		snprintf(error, error_len,
			"Recording a command loads BPF programs and must be run as root: sudo "
			"semantosctl learn ...");
		return -EPERM;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	err = session_open(&session, run, error, error_len);
	if (!err) {
		void (*old)(int) = signal(SIGINT, SIG_IGN);

		pid = start(run->argv, &failed);
		if (pid > 0)
			follow(&session, pid, run->seconds);
		signal(SIGINT, old);
		err = pid < 0 ? (int)pid : -failed;
		if (err)
			snprintf(error, error_len, "%.200s cannot be run: %s.", run->argv[0],
				strerror(-err));
	}
	session_close(&session);
	return err;
}
