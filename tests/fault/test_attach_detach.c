// SPDX-License-Identifier: Apache-2.0
/*
 * test_attach_detach.c - a policy comes and goes under load many times: nothing leaks, every record is accounted for.
 *
 * 1,000 cycles, 10,000 with SEMANTOS_SOAK=1; the count is printed. Counted before and after: file descriptors of this
 * process, and all BPF maps, programs and links of the machine.
 * timeout: 900
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include "agent/core/control.h"
#include "agent/core/core.h"
#include "agent/util/log.h"
#include "tests/fault/census.h"
#include "tests/fault/load.h"

static char run_dir[64], state_dir[64], bpffs_dir[64];

static void quiet(void *ctx, enum log_level level, const char *sentence)
{
	(void)ctx;
	if (level <= LOG_LEVEL_WARN)
		fprintf(stderr, "%s\n", sentence);
}

static void *run_core(void *core)
{
	core_run(core);
	return NULL;
}

static struct core *start(pthread_t *thread)
{
	struct core_options options = { .policy_path = "build/policies",
		.state_dir = state_dir,
		.run_dir = run_dir,
		.bpffs_dir = bpffs_dir };
	enum exit_code code;
	char error[512];
	struct core *core;

	if (geteuid() != 0 || access("/sys/kernel/btf/vmlinux", R_OK)) {
		printf("skipped: needs root and a kernel with BTF\n");
		exit(77);
	}
	core = core_new(&options, &code, error, sizeof(error));
	if (!core)
		fail_msg("%s", error);
	assert_int_equal(pthread_create(thread, NULL, run_core, core), 0);
	return core;
}

static void cycles_leak_nothing(void **state)
{
	int cycles = getenv("SEMANTOS_SOAK") ? 10000 : 1000;
	struct control_reply reply = { 0 };
	struct agent_view view;
	struct census before, after;
	uint64_t events = 0;
	struct load load;
	pthread_t thread;
	struct core *core;
	bool loaded = load_start(&load);

	(void)state;
	log_set_sink(quiet, NULL);
	core = start(&thread);
	/* The first cycle makes what stays for good (libbpf's feature probes). */
	control_attach(core, "linnos", NULL, &reply);
	assert_int_equal(reply.error, 0);
	control_detach(core, "linnos", &reply);
	assert_int_equal(reply.error, 0);
	usleep(300000);
	before = census();
	for (int i = 0; i < cycles; i++) {
		control_attach(core, "linnos", NULL, &reply);
		if (reply.error)
			fail_msg("cycle %d: %s", i, reply.text);
		if (i % 10 == 0) {
			usleep(5000);
			assert_int_equal(control_view(core, "linnos", &view), 0);
			events += view.policy[0].counters.count[SEMANTOS_C_EVENTS];
			control_view_free(&view);
		}
		control_detach(core, "linnos", &reply);
		if (reply.error)
			fail_msg("cycle %d: %s", i, reply.text);
	}
	assert_int_equal(control_view(core, NULL, &view), 0);
	assert_int_equal(view.unaccounted, 0);
	assert_int_equal(view.n_policies, 0);
	control_view_free(&view);
	/* the agent also holds the descriptor of the run-time statistics for one second in ten */
	census_settles(&before, &after);
	printf("%d cycles under load (%llu reads, %llu events seen in one cycle of ten): fds %d -> "
	       "%d, maps %d -> %d, "
	       "programs %d -> %d, links %d -> %d\n",
		cycles, loaded ? (unsigned long long)load.reads : 0ULL, (unsigned long long)events,
		before.fds, after.fds, before.maps, after.maps, before.programs, after.programs,
		before.links, after.links);
	assert_true(after.fds <= before.fds);
	assert_true(after.maps <= before.maps);
	assert_true(after.programs <= before.programs);
	assert_true(after.links <= before.links);
	if (loaded)
		assert_true(events > 0);
	core_stop(core);
	pthread_join(thread, NULL);
	core_free(core);
	load_stop(&load);
	assert_int_not_equal(access(bpffs_dir, F_OK), 0);
}

static void failed_attach_changes_nothing(void **state)
{
	struct control_reply reply = { 0 };
	struct census before, after;
	struct agent_view view;
	pthread_t thread;
	struct core *core = start(&thread);

	(void)state;
	control_attach(core, "linnos", NULL, &reply);
	assert_int_equal(reply.error, 0);
	usleep(200000);
	before = census();
	control_attach(core, "no-such-policy", NULL, &reply);
	assert_int_equal(reply.error, -ENOENT);
	control_attach(core, "../linnos", NULL, &reply);
	assert_int_equal(reply.error, -EINVAL);
	control_attach(core, "linnos", NULL, &reply);
	assert_int_equal(reply.error, -EEXIST);
	control_mode(core, "linnos", "canary:0", &reply);
	assert_int_equal(reply.error, -EINVAL);
	control_mode(core, "no-such-policy", "shadow", &reply);
	assert_int_equal(reply.error, -ENOENT);
	control_model_use(core, "linnos", "no-such-disk", "x", 1, &reply);
	assert_int_equal(reply.error, -ENODEV);
	control_detach(core, "no-such-policy", &reply);
	assert_int_equal(reply.error, -ENOENT);
	after = census();
	assert_true(after.fds <= before.fds);
	assert_int_equal(control_view(core, NULL, &view), 0);
	assert_int_equal(view.n_policies, 1);
	assert_true(view.lease_renewals > 0); /* idle, it may rest */
	control_view_free(&view);
	core_stop(core);
	pthread_join(thread, NULL);
	core_free(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failed_attach_changes_nothing),
		cmocka_unit_test(cycles_leak_nothing),
	};

	snprintf(run_dir, sizeof(run_dir), "build/test-run-%d", getpid());
	snprintf(state_dir, sizeof(state_dir), "build/test-state-%d", getpid());
	snprintf(bpffs_dir, sizeof(bpffs_dir), "/sys/fs/bpf/semantos-test-%d", getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
