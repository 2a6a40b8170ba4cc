// SPDX-License-Identifier: Apache-2.0
/*
 * test_agent_gone.c - an agent that predicts real reads is killed or stopped: 100 ms later no verdict is live.
 *
 * The agent is a child; this process looks at the pinned tables as any consumer does. 10 kills and 50 stops; 1,000 of
 * each with SEMANTOS_SOAK=1; the counts are printed. A look that comes late can only see less, so a busy machine makes
 * nothing fail. Also: in a time namespace an hour ahead, no verdict and no lease reaches further than it may.
 * timeout: 900
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>
#include "agent/core/control.h"
#include "agent/core/core.h"
#include "agent/infer/encode.h"
#include "agent/infer/model.h"
#include "agent/util/log.h"
#include "tests/fault/load.h"
#include "tests/fault/spread.h"

#define GONE_NS 100000000ULL
#define TTL_NS 50000000ULL

static char run_dir[64], state_dir[64], bpffs_dir[64];

static void quiet(void *ctx, enum log_level level, const char *sentence)
{
	(void)ctx;
	if (level <= LOG_LEVEL_WARN)
		fprintf(stderr, "%s\n", sentence);
}

/* Any model will do: what counts is that verdicts are stored. */
static void write_model(const char *path)
{
	uint32_t widths[] = { encoder_find("latency-ages")->n_features, 4, 2 };
	struct model *model = model_new("any", "latency-ages", widths, 3);
	struct model_error error;

	model->slow_threshold_us = 100;
	if (model_save(model, path, &error))
		fail_msg("%s", error.text);
	model_free(model);
}

static void *use_model(void *arg)
{
	struct core *core = arg;
	struct control_reply reply = { 0 };
	struct agent_view view;
	static char bytes[65536];
	char path[128];
	size_t n;
	FILE *file;

	control_attach(core, "linnos", NULL, &reply);
	snprintf(path, sizeof(path), "%s.model", state_dir);
	file = fopen(path, "r");
	n = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	if (reply.error)
		fprintf(stderr, "%s\n", reply.text);
	if (!reply.error && control_view(core, NULL, &view) == 0)
		for (uint32_t i = 0; i < view.policy[0].n_devices; i++)
			control_model_use(
				core, "linnos", view.policy[0].device[i].name, bytes, n, &reply);
	return NULL;
}

/* The agent, in a process of its own. */
static pid_t start_agent(void)
{
	struct core_options options = { .policy_path = "build/policies",
		.state_dir = state_dir,
		.run_dir = run_dir,
		.bpffs_dir = bpffs_dir };
	enum exit_code code;
	pthread_t thread;
	struct core *core;
	char error[512];
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_set_sink(quiet, NULL);
	core = core_new(&options, &code, error, sizeof(error));
	if (!core) {
		fprintf(stderr, "%s\n", error);
		_exit(code);
	}
	pthread_create(&thread, NULL, use_model, core);
	core_run(core);
	pthread_join(thread, NULL);
	core_free(core);
	_exit(0);
}

struct tables {
	const struct semantos_lease *lease;
	const struct semantos_verdict_row *verdicts;
	const struct semantos_slot *slots;
};

static const void *map_pin(const char *name, size_t bytes)
{
	char path[160];
	void *table;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", bpffs_dir, name);
	/* A read-only fd cannot be mapped: the kernel takes shared mappings of maps only. */
	fd = bpf_obj_get(path);
	if (fd < 0)
		return NULL;
	table = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	return table == MAP_FAILED ? NULL : table;
}

static void unmap(struct tables *tables)
{
	munmap((void *)(uintptr_t)tables->lease, 4096);
	munmap((void *)(uintptr_t)tables->verdicts,
		sizeof(struct semantos_verdict_row) * SEMANTOS_MAX_SLOTS);
	munmap((void *)(uintptr_t)tables->slots, sizeof(struct semantos_slot) * SEMANTOS_MAX_SLOTS);
}

static bool map_tables(struct tables *tables)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/linnos/history",
		bpffs_dir); /* the last one that is pinned */
	if (access(path, F_OK))
		return false;
	tables->lease = map_pin("lease", 4096);
	tables->verdicts = map_pin(
		"linnos/verdicts", sizeof(struct semantos_verdict_row) * SEMANTOS_MAX_SLOTS);
	tables->slots = map_pin("linnos/slots", sizeof(struct semantos_slot) * SEMANTOS_MAX_SLOTS);
	return tables->lease && tables->verdicts && tables->slots;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static int live_verdicts(const struct tables *tables)
{
	uint64_t now = now_ns();
	int n = 0;

	if (!semantos_lease_alive(*(const volatile uint64_t *)&tables->lease->expires_ns, now))
		return 0;
	for (int slot = 0; slot < SEMANTOS_MAX_SLOTS; slot++)
		n += semantos_verdict_fresh(
			*(const volatile uint64_t *)&tables->verdicts[slot].verdict,
			tables->slots[slot].generation, TTL_NS, now);
	return n;
}

/* Until a verdict of this agent (0 = whichever) is live; false after 20 s. */
static bool wait_live(struct tables *tables, bool map, pid_t agent)
{
	for (int i = 0; i < 20000; i++) {
		if (map && map_tables(tables)) {
			map = false;
			/* What a dead agent left pinned is not what the new one writes. */
			if (agent && *(const volatile uint32_t *)&tables->lease->agent_pid !=
					     (uint32_t)agent) {
				unmap(tables);
				map = true;
			}
		}
		if (!map && live_verdicts(tables) > 0)
			return true;
		usleep(1000);
	}
	return false;
}

/* 100 ms after `then` none is live; when the last live one was seen goes into the spread, in microseconds. */
static void gone_100ms_after(uint64_t then, const struct tables *tables, struct spread *spread)
{
	uint64_t last = then, now;

	while ((now = now_ns()) < then + GONE_NS) {
		if (live_verdicts(tables) > 0)
			last = now;
		usleep(500);
	}
	assert_int_equal(live_verdicts(tables), 0);
	spread_add(spread, (last - then) / 1000);
}

static void told(const char *what, const struct spread *s)
{
	printf("no live verdict 100 ms after %zu of %zu %ss; the last live one was seen after p50 "
	       "%.1f, p99 %.1f, at most %.1f ms\n",
		s->n, s->n, what, (double)spread_at(s, 50) / 1e3, (double)spread_at(s, 99) / 1e3,
		(double)spread_at(s, 100) / 1e3);
}

static int rounds(int few)
{
	return getenv("SEMANTOS_SOAK") ? 1000 : few;
}

static void end(pid_t pid, struct tables *tables)
{
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	assert_int_equal(live_verdicts(tables), 0);
	unmap(tables);
	assert_int_not_equal(access(bpffs_dir, F_OK), 0);
}

static void no_verdict_outlives_a_stopped_agent(void **state)
{
	static struct spread stopped;
	struct tables tables;
	pid_t pid = start_agent();

	(void)state;
	assert_true(wait_live(&tables, true, pid));
	for (int i = 0; i < rounds(50); i++) {
		uint64_t then;
		int status;

		assert_true(wait_live(&tables, false, pid));
		kill(pid, SIGSTOP);
		/*
		 * Stopped is what the kernel reports, not what was asked for: on a busy machine a thread may sit in the
		 * middle of the call that renews the lease, and ends it before it stops.
		 */
		assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
		assert_true(WIFSTOPPED(status));
		then = now_ns();
		gone_100ms_after(then, &tables, &stopped);
		kill(pid, SIGCONT);
	}
	told("SIGSTOP", &stopped);
	end(pid, &tables);
}

static void no_verdict_outlives_a_killed_agent(void **state)
{
	static struct spread killed;
	struct tables tables;
	pid_t pid = start_agent();

	(void)state;
	assert_true(wait_live(&tables, true, pid));
	for (int i = 0; i < rounds(10); i++) {
		uint64_t then;

		assert_true(wait_live(&tables, false, pid));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		then = now_ns();
		gone_100ms_after(then, &tables, &killed);
		unmap(&tables);
		/* The next agent removes what the dead one left pinned. */
		pid = start_agent();
		assert_true(wait_live(&tables, true, pid));
	}
	told("SIGKILL", &killed);
	end(pid, &tables);
}

static void time_namespace_makes_nothing_last_longer(void **state)
{
	struct tables tables;
	uint64_t furthest = 0;
	FILE *offsets;
	int live = 0, looks = 0;
	pid_t agent, outer;

	(void)state;
	outer = fork();
	if (outer == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWTIME))
			_exit(77);
		offsets = fopen("/proc/self/timens_offsets", "w");
		if (!offsets || fprintf(offsets, "boottime 3600 0\nmonotonic 3600 0\n") < 0 ||
			fclose(offsets))
			_exit(77);
		agent = start_agent(); /* children live in the new namespace */
		signal(SIGTERM, SIG_IGN);
		waitpid(agent, NULL, 0);
		_exit(0);
	}
	if (!wait_live(&tables, true, 0)) {
		int status = 0;

		if (waitpid(outer, &status, WNOHANG) == outer && WEXITSTATUS(status) == 77) {
			printf("skipped: no time namespaces here\n");
			skip();
		}
		fail_msg("no live verdict appeared");
	}
	for (; looks < 500; looks++) {
		/* Clock first: a table read later can only be newer, so allow for what passes in between below. */
		uint64_t before = now_ns(),
			 lease = *(const volatile uint64_t *)&tables.lease->expires_ns,
			 after = now_ns();

		assert_true(lease <= after + SEMANTOS_LEASE_NS);
		for (int slot = 0; slot < 8; slot++) {
			uint64_t word = *(const volatile uint64_t *)&tables.verdicts[slot].verdict;
			uint64_t ahead = ((word >> 24) - (before >> SEMANTOS_EXPIRES_SHIFT)) &
					 SEMANTOS_EXPIRES_MASK;

			after = now_ns();
			if (!word || ahead > SEMANTOS_EXPIRES_MASK / 2)
				continue;
			live++;
			if (ahead > furthest)
				furthest = ahead;
			assert_true(
				ahead <= ((TTL_NS + after - before) >> SEMANTOS_EXPIRES_SHIFT) + 1);
		}
		usleep(2000);
	}
	printf("%d verdicts of an agent an hour ahead: none reached further than %llu ms\n", live,
		(unsigned long long)((furthest << SEMANTOS_EXPIRES_SHIFT) / 1000000));
	assert_true(live > 0);
	kill(tables.lease->agent_pid, SIGTERM);
	waitpid(outer, NULL, 0);
	unmap(&tables);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_verdict_outlives_a_stopped_agent),
		cmocka_unit_test(no_verdict_outlives_a_killed_agent),
		cmocka_unit_test(time_namespace_makes_nothing_last_longer),
	};
	struct load load;
	char path[128];
	int failed;

	if (geteuid() != 0 || access("/sys/kernel/btf/vmlinux", R_OK)) {
		printf("skipped: needs root and a kernel with BTF\n");
		return 77;
	}
	snprintf(run_dir, sizeof(run_dir), "build/test-run-%d", getpid());
	snprintf(state_dir, sizeof(state_dir), "build/test-state-%d", getpid());
	snprintf(bpffs_dir, sizeof(bpffs_dir), "/sys/fs/bpf/semantos-test-%d", getpid());
	snprintf(path, sizeof(path), "%s.model", state_dir);
	if (!load_start(&load)) {
		printf("skipped: the build folder's file system has no O_DIRECT\n");
		return 77;
	}
	write_model(path);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	load_stop(&load);
	unlink(path);
	return failed;
}
