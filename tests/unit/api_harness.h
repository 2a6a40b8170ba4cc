/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_harness.h - a server in a process of its own, and clients as any user, for the tests of agent/api.
 *
 * The core behind the server is invented (fake_control.h). The process that compares never uses gRPC, so that forking
 * it is safe. Included by one test program each.
 */
#ifndef SEMANTOS_TESTS_UNIT_API_HARNESS_H
#define SEMANTOS_TESTS_UNIT_API_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include "agent/api/server.h"
#include "agent/proto/semantos.pb-c.h"
#include "agent/util/client.h"
#include "tests/unit/fake_control.h"

#define NOBODY 65534
#define READER_GID 64001 /* given to the groups in a private copy of /etc/group */
#define OPERATOR_GID 64002

static char folder[64] = "/tmp/semantos-api-XXXXXX";
static char socket_path[96];
static uint32_t client_timeout_ms = 5000;
static pid_t server_pid;
static int server_in = -1, server_out = -1; /* close `in` to stop it, `out` says how that went */

struct ended {
	int fds_before, fds_after;
	uint64_t stop_ms;
	uint64_t rss_kib, cpu_us; /* what an idle server costs */
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static uint64_t rss_kib(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long long size = 0, rss = 0;

	if (f && fscanf(f, "%llu %llu", &size, &rss) != 2)
		rss = 0;
	if (f)
		fclose(f);
	return rss * 4;
}

static struct telemetry *(*harness_telemetry)(void); /* made in the server's process; NULL = none */

static void serve(int in, int out)
{
	struct telemetry *telemetry;
	struct ended ended = { 0 };
	uint64_t rss = rss_kib(), begin;
	struct timespec cpu;
	char error[256] = "", byte;
	struct api_server *server = api_start(NULL, NULL, socket_path, error, sizeof(error));

	/* gRPC keeps two descriptors for the life of a process: the second start is the one that counts */
	api_stop(server);
	ended.fds_before = count_fds();
	telemetry = harness_telemetry ? harness_telemetry() : NULL;
	server = api_start(NULL, telemetry, socket_path, error, sizeof(error));
	if (!server)
		fprintf(stderr, "%s\n", error);
	ended.rss_kib = rss_kib() - rss;
	if (write(out, &byte, 1) != 1 || !server)
		_exit(1);
	while (read(in, &byte, 1) > 0)
		;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	ended.cpu_us = (uint64_t)cpu.tv_sec * 1000000 + (uint64_t)cpu.tv_nsec / 1000;
	begin = now_ms();
	api_stop(server);
	ended.stop_ms = now_ms() - begin;
	/* gRPC closes what clients dropped on a thread of its own */
	begin = now_ms();
	while ((ended.fds_after = count_fds()) > ended.fds_before && now_ms() - begin < 2000)
		usleep(10000);
	_exit(write(out, &ended, sizeof(ended)) == sizeof(ended) ? 0 : 1);
}

static int server_start(void **state)
{
	int in[2], out[2];
	char byte;

	(void)state;
	if (pipe(in) || pipe(out))
		return -1;
	fflush(NULL);
	server_pid = fork();
	if (server_pid == 0) {
		close(in[1]);
		close(out[0]);
		serve(in[0], out[1]);
	}
	close(in[0]);
	close(out[1]);
	server_in = in[1];
	server_out = out[0];
	return read(server_out, &byte, 1) == 1 ? 0 : -1;
}

static int server_stop(struct ended *ended)
{
	int status = -1;
	bool told;

	close(server_in);
	told = read(server_out, ended, sizeof(*ended)) == sizeof(*ended);
	close(server_out);
	waitpid(server_pid, &status, 0);
	return told && status == 0 ? 0 : -1;
}

static int server_end(void **state)
{
	struct ended ended;

	(void)state;
	return server_stop(&ended);
}

/* ---- a client as somebody: uid, and one supplementary group or 0 ---- */

struct answer {
	int code; /* exit code */
	char text[600];
};

static void become(uid_t uid, gid_t group)
{
	if (uid == 0)
		return;
	if (setgroups(group != 0, &group) || setgid(uid) || setuid(uid))
		_exit(9);
}

typedef void client_fn(struct client *client, struct answer *answer, const void *arg);

static struct answer as(uid_t uid, gid_t group, client_fn *fn, const void *arg)
{
	struct answer answer = { .code = -1 };
	int pipe_fd[2];
	pid_t pid;

	assert_int_equal(pipe(pipe_fd), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		struct client_error error = { 0 };
		struct client *client;

		alarm(30);
		become(uid, group);
		client = client_open(socket_path, client_timeout_ms, &error);
		if (client) {
			fn(client, &answer, arg);
		} else {
			answer.code = (int)error.code;
			memcpy(answer.text, error.text, sizeof(answer.text));
		}
		client_close(client);
		_exit(write(pipe_fd[1], &answer, sizeof(answer)) != sizeof(answer));
	}
	close(pipe_fd[1]);
	if (read(pipe_fd[0], &answer, sizeof(answer)) != sizeof(answer))
		answer.code = -1;
	close(pipe_fd[0]);
	waitpid(pid, NULL, 0);
	return answer;
}

static void do_status(struct client *client, struct answer *answer, const void *arg)
{
	Semantos__V1__StatusRequest request = SEMANTOS__V1__STATUS_REQUEST__INIT;
	Semantos__V1__AgentStatus *status;
	struct client_error error = { 0 };

	request.policy = (char *)(arg ? arg : "");
	status = (Semantos__V1__AgentStatus *)client_call(client, "GetStatus", &request.base,
		&semantos__v1__agent_status__descriptor, &error);
	answer->code = (int)error.code;
	memcpy(answer->text, error.text, sizeof(answer->text));
	if (!status)
		return;
	snprintf(answer->text, sizeof(answer->text), "%s %s %zu %s %u %.2f %s %llu %zu",
		status->version, status->policies[0]->name, status->policies[0]->n_devices,
		status->policies[0]->devices[0]->model, status->policies[0]->canary_percent,
		status->policies[0]->devices[0]->heldout_auc,
		isnan(status->policies[0]->devices[1]->heldout_auc) ? "undefined" : "defined",
		(unsigned long long)status->policies[0]->counters[SEMANTOS_C_REQUESTS]->value,
		status->policies[0]->n_counters);
	protobuf_c_message_free_unpacked(&status->base, NULL);
}

/* Our two groups, in a copy of /etc/group that only this process and its children see. */
static bool private_groups(void)
{
	char path[100], line[512];
	FILE *from = fopen("/etc/group", "r"), *to;

	snprintf(path, sizeof(path), "%s/group", folder);
	to = fopen(path, "w");
	if (!from || !to)
		return false;
	while (fgets(line, sizeof(line), from)) {
		if (strncmp(line, "semantos", 8) != 0)
			fputs(line, to);
	}
	fprintf(to, "semantos:x:%d:\nsemantos-admin:x:%d:\n", READER_GID, OPERATOR_GID);
	fclose(from);
	fclose(to);
	chmod(path, 0644);
	return unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount(path, "/etc/group", NULL, MS_BIND, NULL) == 0;
}

/* Folder, socket path and groups of the test program's own; false after saying why it is skipped. */
static bool harness_open(void)
{
	if (geteuid() != 0) {
		printf("skipped: needs root, to be other users\n");
		return false;
	}
	if (!mkdtemp(folder)) {
		printf("skipped: needs a writable /tmp\n");
		return false;
	}
	chmod(folder, 0755);
	snprintf(socket_path, sizeof(socket_path), "%s/run/agent.sock", folder);
	if (!private_groups()) {
		printf("skipped: needs a mount namespace, to have groups of its own\n");
		return false;
	}
	return true;
}

static int harness_close(int failed)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command) == 0 ? failed : 1;
}

#endif
