// SPDX-License-Identifier: Apache-2.0
/*
 * test_watch.c - windows of processes become findings, and findings acts: a real child is stopped through a real journal,
 * explained and let go on; who must be left alone is, whatever it calls itself; storms fill neither tables nor log.
 *
 * References are made up; nothing of the kernel is hooked.
 */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "agent/core/watch.h"
#include "agent/infer/kin_store.h"
#include "agent/safety/knob_kind.h"
#include "tests/unit/safety_root.h"

#define WAIT_MS 10000
#define TICK_NS 10000000ULL

static struct fake f;
static struct safety *s;
static struct watch *watch;
static char file[PATH_MAX];
static pid_t child;
static uint64_t child_start, serial;
static unsigned int applied, undone;

static void apply(void *ctx, const struct safety_request *request, struct control_reply *reply)
{
	struct safety_error error = { "" };

	(void)ctx;
	applied++;
	reply->error = safety_apply(s, request, &reply->change, &error);
	snprintf(reply->text, sizeof(reply->text), "%.500s", error.text);
}

static void undo(void *ctx, uint64_t change, const char *because, struct control_reply *reply)
{
	struct safety_error error = { "" };

	(void)ctx;
	undone++;
	reply->error = safety_rollback(s, change, because, NULL, &error);
}

/* Benign windows use the first features, an intruder's the last. */
static void window(uint16_t *count, bool bad, unsigned int turn)
{
	memset(count, 0, SEMANTOS_CALLS * sizeof(*count));
	for (unsigned int i = 0; i < 8; i++)
		count[(bad ? 100 : 0) + i] = (uint16_t)(20 + (turn * 7 + i * 3) % 11);
}

static void references(void)
{
	static uint16_t count[12][SEMANTOS_CALLS];
	struct kin_store store;
	struct model_error error;

	assert_int_equal(kin_store_new(&store), 0);
	for (unsigned int r = 0; r < 6; r++) {
		for (unsigned int w = 0; w < 12; w++)
			window(count[w], r & 1, r * 12 + w);
		assert_true(kin_store_add(&store, r & 1 ? "intruder" : KIN_BENIGN,
				    r & 1 ? "a-bad\nrun" : "a-good-run",
				    (const uint16_t(*)[SEMANTOS_CALLS])count, 12, -1) >= 0);
	}
	assert_int_equal(kin_store_save(&store, file, &error), 0);
	kin_store_free(&store);
}

static struct semantos_calls_record record_of(uint32_t pid, uint64_t start_ns, bool bad)
{
	struct semantos_calls_record r = { .head = { .version = SEMANTOS_WIRE_VERSION,
						   .bytes = sizeof(r),
						   .kind = SEMANTOS_CALLS_RECORD,
						   .ts_ns = start_ns + 1,
						   .request_id = ++serial },
		.start_ns = start_ns,
		.pid = pid };

	strcpy(r.comm, "ls\x1b[2J");
	window(r.count, bad, (unsigned int)serial);
	for (size_t i = 0; i < SEMANTOS_CALLS; i++)
		r.calls += r.count[i];
	return r;
}

static void send(uint32_t pid, uint64_t start_ns, bool bad)
{
	struct semantos_calls_record r = record_of(pid, start_ns, bad);

	assert_true(watch_record_valid(&r, sizeof(r)));
	watch_record(watch, &r);
}

static void begin(enum watch_action action, bool one_class, const char *allow)
{
	struct watch_options options = { .policy = "knn",
		.file = file,
		.shipped = "",
		.action = action,
		.one_class = one_class,
		.false_share = 0.02,
		.windows = 2,
		.allow = allow,
		.apply = apply,
		.undo = undo };

	watch = watch_new(&options);
	assert_non_null(watch);
	for (int i = 0; i < WAIT_MS && !watch_signal(watch); i++) {
		watch_tick(watch);
		usleep(1000);
	}
	assert_true(watch_signal(watch));
	watch_mode(watch, 100);
}

/* Not our child, which would count as a part of the agent. */
static pid_t stranger(void)
{
	pid_t middle, pid = 0;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	middle = fork();
	if (middle == 0) {
		pid = fork();
		if (pid == 0)
			for (;;)
				pause();
		_exit(write(ends[1], &pid, sizeof(pid)) != sizeof(pid));
	}
	assert_int_equal(waitpid(middle, NULL, 0), middle);
	assert_int_equal(read(ends[0], &pid, sizeof(pid)), sizeof(pid));
	close(ends[0]);
	close(ends[1]);
	return pid;
}

static int setup(void **state)
{
	struct safety_error error;

	(void)state;
	fake_make(&f);
	snprintf(file, sizeof(file), "%s/references", f.root);
	references();
	applied = undone = 0;
	child = stranger();
	assert_int_equal(knob_task_start(child, &child_start), 0);
	return safety_open(&s, &f.options, NULL, &error);
}

static int teardown(void **state)
{
	(void)state;
	watch_free(watch, true);
	watch = NULL;
	safety_close(s, SAFETY_STOP);
	kill(child, SIGKILL);
	dir_remove(f.root);
	return 0;
}

static struct finding_view newest(struct watch_view *view)
{
	struct finding_view finding = { 0 };

	assert_int_equal(watch_view(watch, view), 0);
	if (view->n_findings)
		finding = view->finding[0];
	free(view->finding);
	view->finding = NULL;
	return finding;
}

static struct finding_view when_said(void)
{
	struct finding_view finding = { 0 };
	struct watch_view view;

	for (int i = 0; i < WAIT_MS; i++) {
		finding = newest(&view);
		if (finding.number && strcmp(finding.act, "waits for its turn") != 0)
			break;
		usleep(1000);
	}
	return finding;
}

static char state_of(pid_t pid)
{
	char path[40], text[256] = "";
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	in = fopen(path, "re");
	assert_non_null(in);
	assert_non_null(fgets(text, sizeof(text), in));
	fclose(in);
	return strrchr(text, ')')[2];
}

static void what_is_found_is_stopped_explained_and_goes_on(void **state)
{
	struct finding_view finding;
	struct safety_error error;
	struct watch_view view;
	char explained[4096];

	(void)state;
	begin(WATCH_STOP, false, "");
	send((uint32_t)child, child_start * TICK_NS, true);
	finding = newest(&view);
	assert_int_equal(view.findings, 0); /* one window is none */
	assert_int_equal(view.flagged, 1);
	send((uint32_t)child, child_start * TICK_NS, false);
	send((uint32_t)child, child_start * TICK_NS, true);
	finding = newest(&view);
	assert_int_equal(view.findings, 0); /* nor two that are not in a row */
	send((uint32_t)child, child_start * TICK_NS, true);
	finding = when_said();
	assert_int_equal(state_of(child), 'T');
	assert_string_equal(finding.label, "intruder");
	assert_string_equal(finding.comm, "ls?[2J");
	assert_int_equal(finding.windows, 2);
	assert_true(finding.probability > 0.5 && finding.change);
	assert_non_null(strstr(finding.neighbours, "intruder of a-bad?run at "));
	assert_non_null(strstr(finding.act, "stopped; undo: semantosctl rollback "));
	assert_int_equal(
		safety_explain(f.dir, finding.change, explained, sizeof(explained), &error), 0);
	assert_non_null(strstr(explained, "are like those of intruder"));
	assert_non_null(strstr(explained, "nearest: intruder of a-bad?run"));
	/* once found it is not found again */
	send((uint32_t)child, child_start * TICK_NS, true);
	send((uint32_t)child, child_start * TICK_NS, true);
	newest(&view);
	assert_int_equal(view.findings, 1);
	assert_int_equal(applied, 1);
	watch_free(watch, true);
	watch = NULL;
	assert_int_equal(undone, 1);
	assert_int_not_equal(state_of(child), 'T');
}

static void a_dry_run_stops_nobody(void **state)
{
	(void)state;
	begin(WATCH_STOP, false, "");
	watch_mode(watch, 0);
	send((uint32_t)child, child_start * TICK_NS, true);
	send((uint32_t)child, child_start * TICK_NS, true);
	assert_string_equal(when_said().act, "dry run: would stop it");
	assert_int_not_equal(state_of(child), 'T');
	assert_int_equal(applied, 0);
}

/* A number that is another process's by now, one that is gone, ours, the first one: none is touched. */
static void who_must_not_be_stopped_is_not(void **state)
{
	static const struct {
		const char *why;
		bool child;
		int64_t shift;
		uint32_t pid;
	} row[] = { { "it is gone", true, 1, 0 }, { "it is gone", false, 5, 4194303 },
		{ "it is the agent", false, 0, 0 }, { "it is the first process", false, 0, 1 } };

	(void)state;
	begin(WATCH_STOP, false, "");
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		uint32_t pid = row[i].child ? (uint32_t)child
			       : row[i].pid ? row[i].pid
					    : (uint32_t)getpid();
		uint64_t start = (child_start + (uint64_t)row[i].shift) * TICK_NS;
		struct finding_view finding;

		send(pid, start, true);
		send(pid, start, true);
		finding = when_said();
		assert_int_equal(finding.pid, pid);
		if (!strstr(finding.act, row[i].why))
			fail_msg("%u: %s", pid, finding.act);
	}
	assert_int_equal(applied, 0);
	assert_int_not_equal(state_of(child), 'T');
}

static void units_on_the_list_are_left_alone(void **state)
{
	(void)state;
	assert_true(watch_allowed("ssh.service, db*.service", "/system.slice/db-1.service"));
	assert_true(watch_allowed("ssh.service,db*.service", "/system.slice/ssh.service/x"));
	assert_false(watch_allowed("ssh.service", "/system.slice/ssh.service.d"));
	assert_false(watch_allowed("", "/system.slice/ssh.service"));
	assert_false(watch_allowed(" , ", "/"));
	watch = NULL;
}

static void one_class_finds_what_is_like_nothing_known(void **state)
{
	struct finding_view finding;

	(void)state;
	begin(WATCH_LOG, true, "");
	send(77, 5, false);
	send(77, 5, false);
	send(78, 5, true);
	send(78, 5, true);
	finding = when_said();
	assert_int_equal(finding.pid, 78);
	assert_string_equal(finding.label, "nothing known");
	assert_string_equal(finding.act, "logged");
}

/* More processes than there are places, and all of them bad: nothing grows, and what was let go is counted. */
static void a_storm_is_bounded_and_counted(void **state)
{
	struct watch_view view;

	(void)state;
	begin(WATCH_LOG, false, "");
	for (uint32_t pid = 1000; pid < 1000 + 4 * WATCH_PROCESSES; pid++) {
		send(pid, pid, true);
		send(pid, pid, true);
	}
	newest(&view);
	assert_int_equal(view.findings, 4 * WATCH_PROCESSES);
	assert_true(view.forgotten >= 2 * WATCH_PROCESSES);
	assert_int_equal(view.unlogged, 4 * WATCH_PROCESSES - WATCH_LOGGED);
	assert_int_equal(view.n_findings, WATCH_FINDINGS);
}

static void references_are_read_again_and_damaged_ones_say_so(void **state)
{
	struct watch_view view;
	FILE *out;

	(void)state;
	begin(WATCH_LOG, false, "");
	out = fopen(file, "w");
	assert_non_null(out);
	fputs("no references", out);
	fclose(out);
	for (int i = 0; i < WAIT_MS && watch_signal(watch); i++) {
		watch_tick(watch);
		usleep(1000);
	}
	newest(&view);
	assert_false(view.signal);
	assert_non_null(strstr(view.note, "cannot be used"));
	send(90, 5, true);
	send(90, 5, true);
	newest(&view);
	assert_int_equal(view.findings, 0);
}

static void records_that_cannot_be_are_refused(void **state)
{
	struct semantos_calls_record r = record_of(5, 5, false), bad;

	(void)state;
	assert_true(watch_record_valid(&r, sizeof(r)));
	assert_false(watch_record_valid(&r, sizeof(r) - 1));
	bad = r;
	bad.calls++;
	assert_false(watch_record_valid(&bad, sizeof(bad)));
	bad = r;
	bad.head.version++;
	assert_false(watch_record_valid(&bad, sizeof(bad)));
	bad = r;
	bad.head.kind = SEMANTOS_REQUEST;
	assert_false(watch_record_valid(&bad, sizeof(bad)));
	bad = r;
	bad.pid = 0;
	assert_false(watch_record_valid(&bad, sizeof(bad)));
	bad = r;
	bad.head.flags = 0x80;
	assert_false(watch_record_valid(&bad, sizeof(bad)));
	watch = NULL;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { T(what_is_found_is_stopped_explained_and_goes_on),
		T(a_dry_run_stops_nobody), T(who_must_not_be_stopped_is_not),
		T(units_on_the_list_are_left_alone), T(one_class_finds_what_is_like_nothing_known),
		T(a_storm_is_bounded_and_counted),
		T(references_are_read_again_and_damaged_ones_say_so),
		T(records_that_cannot_be_are_refused) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
