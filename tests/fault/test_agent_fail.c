// SPDX-License-Identifier: Apache-2.0
/*
 * test_agent_fail.c - the Nth allocation, or the Nth system call, of the running agent fails while it attaches and
 * detaches a policy, changes its mode, applies and rolls back a setting, N = 0, 1, … until nothing is left to fail.
 *
 * Each time: success, or one sentence; never half a policy; after the opposite operation, descriptors, BPF maps,
 * programs, links, pins and settings are what they were. libbpf is real and fails with us. All N with SEMANTOS_SOAK=1,
 * else evenly spread ones; the counts are printed. Settings are those of a fake root.
 *
 * timeout: 300
 */
#include "tests/fault/fail_nth.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "agent/core/control.h"
#include "agent/core/core.h"
#include "agent/core/guard.h"
#include "tests/fault/census.h"
#include "tests/unit/safety_root.h"

#define POLICY "linnos"
#define SPREAD 12 /* how many N of each sweep without SEMANTOS_SOAK */

static char run_dir[80], bpffs_dir[64];
static struct fake f;
static struct core *core;
static struct loop *loop;
static struct guard *guard; /* one of its own: the agent's allows one owner 12 changes a minute */
static char said[CONTROL_TEXT_LEN]; /* the last error in the log */

static void quiet(void *ctx, enum log_level level, const char *sentence)
{
	(void)ctx;
	if (level <= LOG_LEVEL_WARN)
		snprintf(said, sizeof(said), "%s", sentence);
}

static void *run_core(void *unused)
{
	(void)unused;
	core_run(core);
	return NULL;
}

static void *run_loop(void *unused)
{
	(void)unused;
	loop_run(loop);
	return NULL;
}

/* ---- the operations ---- */

enum operation { ATTACH, DETACH, MODE, APPLY, ROLLBACK };
static const char *const names[] = { "attach", "detach", "mode", "apply", "rollback" };

static uint64_t change;

static void apply(struct control_reply *reply)
{
	static unsigned int n;
	static const struct safety_knob knob[] = { { SWAPPINESS, "010" }, { READ_AHEAD, "512" } };
	char owner[32];
	const struct safety_request rq = { .owner = owner,
		.mode = CHANGE_ON_BREACH,
		.knob = knob,
		.n_knobs = 2,
		.because = "a test asks for it" };

	snprintf(owner, sizeof(owner), "owner-%u", n++);
	guard_apply(guard, &rq, reply);
	if (!reply->error)
		change = reply->change;
}

static void operate(enum operation op, struct control_reply *reply)
{
	memset(reply, 0, sizeof(*reply));
	switch (op) {
	case ATTACH:
		control_attach(core, POLICY, NULL, reply);
		break;
	case DETACH:
		control_detach(core, POLICY, reply);
		break;
	case MODE:
		control_mode(core, POLICY, "shadow", reply);
		break;
	case APPLY:
		apply(reply);
		break;
	default:
		guard_rollback(guard, change, "a test ends", NULL, reply);
	}
}

static void must(enum operation op)
{
	struct control_reply reply;

	operate(op, &reply);
	if (reply.error)
		fail_msg("%s: %s", names[op], reply.text);
}

static bool attached(void)
{
	struct agent_view view;
	bool any;

	assert_int_equal(control_view(core, NULL, &view), 0);
	any = view.n_policies > 0;
	control_view_free(&view);
	return any;
}

static bool pinned(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/" POLICY, bpffs_dir);
	return access(path, F_OK) == 0;
}

static pthread_t loop_thread;

static void start_guard(void)
{
	const struct guard_options options = { .dir = f.dir, .root = f.root, .loop = loop_new() };

	loop = options.loop;
	assert_non_null(loop);
	guard = guard_new(&options);
	assert_non_null(guard);
	assert_int_equal(pthread_create(&loop_thread, NULL, run_loop, NULL), 0);
}

/* As a new agent would: the journal is opened again, and what it lists as half done is undone. */
static void restart_guard(void)
{
	loop_stop(loop);
	pthread_join(loop_thread, NULL);
	guard_end(guard, SAFETY_STOP);
	guard_free(guard);
	loop_free(loop);
	start_guard();
}

/* Number of changes in force, by the journal; the knobs must agree. */
static unsigned int in_force(void)
{
	struct safety_error error = { "" };
	struct safety_audit audit;

	if (safety_audit(f.dir, f.root, &audit, &error))
		fail_msg("%s", error.text);
	assert_int_equal(audit.differs, 0);
	return audit.open;
}

static bool changed(void)
{
	bool yes = file_reads(f.root, SWAPPINESS_FILE, "010");

	assert_int_equal(yes, file_reads(f.root, READ_AHEAD_FILE, "512"));
	return yes;
}

/* What must be so however the operation ended; then back to how it was before `op`. */
static void settle(enum operation op, long n, const struct control_reply *reply)
{
	size_t len = strlen(reply->text);

	if (reply->error && (len == 0 || reply->text[len - 1] != '.' || strchr(reply->text, '\n')))
		fail_msg("%s, %ld: error %d without a sentence: '%s'", names[op], n, reply->error,
			reply->text);
	switch (op) {
	case ATTACH:
		if (attached() != (reply->error == 0))
			fail_msg("%s, %ld: '%s', and yet %sattached", names[op], n, reply->text,
				reply->error ? "" : "not ");
		assert_int_equal(pinned(), reply->error == 0);
		if (!reply->error)
			must(DETACH);
		break;
	case DETACH:
		if (attached())
			must(DETACH);
		assert_false(pinned());
		break;
	case MODE:
		assert_true(attached());
		break;
	case APPLY:
		assert_int_equal(changed(), reply->error == 0);
		if (!reply->error)
			must(ROLLBACK);
		break;
	default:
		/* a wait that ran out leaves the work to be finished, as its sentence says */
		if (reply->error) {
			struct control_reply again;

			operate(op, &again);
			if (again.error && again.error != -EALREADY)
				fail_msg("%s, %ld, again: %s", names[op], n, again.text);
		}
	}
	if (op >= APPLY) {
		assert_false(changed());
		/* a disk that failed under the journal: the next one records what this could not */
		restart_guard();
		assert_false(changed());
		assert_int_equal(in_force(), 0);
	}
}

static void prepare(enum operation op)
{
	if (op == DETACH || (op == MODE && !attached()))
		must(ATTACH);
	if (op == ROLLBACK)
		must(APPLY);
}

/* How many there are to fail: what the operation does undisturbed. */
static long count(enum operation op, enum nth_kind kind)
{
	struct control_reply reply;

	prepare(op);
	fail_arm(kind, -1, 0);
	operate(op, &reply);
	fail_disarm();
	settle(op, -1, &reply);
	return atomic_load(&nth.count);
}

static void sweep(enum operation op, enum nth_kind kind, int with)
{
	const char *what = kind == NTH_CALL ? "system calls" : "allocations";
	struct census before, after;
	long n = 0, done = 0, errors = 0, beyond = 0, all, every;

	count(op, kind); /* what stays for good is made by the first */
	all = count(op, kind);
	every = getenv("SEMANTOS_SOAK") || all < SPREAD ? 1 : all / SPREAD;
	if (op == MODE)
		prepare(op);
	assert_true(
		census_settles(&(struct census){ 1 << 20, 1 << 20, 1 << 20, 1 << 20 }, &before));
	/* an idle agent calls too: it is over when a few beyond the last one found nothing to fail */
	for (; beyond < 3; n += every) {
		struct control_reply reply;
		bool hit;

		prepare(op);
		fail_arm(kind, n, with);
		operate(op, &reply);
		hit = fail_disarm();
		settle(op, n, &reply);
		beyond = hit ? 0 : beyond + 1;
		done += hit;
		errors += hit && reply.error;
		if (!hit && reply.error)
			fail_msg("%s, %ld, with nothing failing: %s", names[op], n, reply.text);
		if (!census_settles(&before, &after))
			fail_msg("%s, %s, %ld of %ld (call %ld, '%s'): fds %d -> %d, maps %d -> "
				 "%d, programs %d -> %d, links %d -> %d",
				names[op], what, n, all, atomic_load(&nth.failed_call), reply.text,
				before.fds, after.fds, before.maps, after.maps, before.programs,
				after.programs, before.links, after.links);
	}
	if (op == MODE)
		must(DETACH);
	print_message("%s: %ld of about %ld %s made to fail (%s), %ld answered with an error\n",
		names[op], done, all, what, strerror(with), errors);
	assert_true(done > 0 || all == 0);
}

/* The agent itself, on first use. */
static void need_core(void)
{
	static char state_dir[80];
	const struct core_options options = { .policy_path = "build/policies",
		.run_dir = run_dir,
		.state_dir = state_dir,
		.bpffs_dir = bpffs_dir,
		.safety_root = f.root };
	enum exit_code code;
	char error[512];
	pthread_t thread;

	if (core)
		return;
	if (geteuid() != 0 || access("/sys/kernel/btf/vmlinux", R_OK)) {
		print_message("skipped: needs root and a kernel with BTF\n");
		skip();
	}
	snprintf(state_dir, sizeof(state_dir), "%s/state", f.scratch);
	snprintf(run_dir, sizeof(run_dir), "%s/run", f.scratch);
	snprintf(bpffs_dir, sizeof(bpffs_dir), "/sys/fs/bpf/semantos-test-%d", getpid());
	core = core_new(&options, &code, error, sizeof(error));
	if (!core)
		fail_msg("%s", error);
	assert_int_equal(pthread_create(&thread, NULL, run_core, NULL), 0);
}

/* Every way a call may fail with SEMANTOS_SOAK, else one. */
static void calls(enum operation first, enum operation last)
{
	static const int with[] = { ENOMEM, EIO, EPERM };
	size_t ways = getenv("SEMANTOS_SOAK") ? sizeof(with) / sizeof(with[0]) : 1;

	for (size_t i = 0; i < ways; i++) {
		for (enum operation op = first; op <= last; op++)
			sweep(op, NTH_CALL, with[i]);
	}
}

static void test_policy_allocations(void **state)
{
	(void)state;
	need_core();
	for (enum operation op = ATTACH; op <= MODE; op++)
		sweep(op, NTH_ALLOCATION, ENOMEM);
}

static void test_policy_calls(void **state)
{
	(void)state;
	need_core();
	calls(ATTACH, MODE);
}

static void test_setting_allocations(void **state)
{
	(void)state;
	for (enum operation op = APPLY; op <= ROLLBACK; op++)
		sweep(op, NTH_ALLOCATION, ENOMEM);
}

static void test_setting_calls(void **state)
{
	(void)state;
	calls(APPLY, ROLLBACK);
}

static int setup(void **state)
{
	(void)state;
	fake_make(&f);
	log_set_sink(quiet, NULL);
	if (!fail_watch_calls()) {
		printf("skipped: system calls cannot be watched here\n");
		exit(77);
	}
	loop = loop_new();
	start_guard();
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_setting_allocations),
		cmocka_unit_test(test_setting_calls), cmocka_unit_test(test_policy_allocations),
		cmocka_unit_test(test_policy_calls) };
	int failed;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	failed = cmocka_run_group_tests(tests, setup, NULL);
	if (core) {
		core_stop(core);
		usleep(500000);
	}
	fake_unmake(&f);
	return failed;
}
