// SPDX-License-Identifier: Apache-2.0
/*
 * test_safety_fail.c - the Nth system call, or the Nth allocation, of every operation fails, N = 0, 1, … until it
 * succeeds: an error is one sentence, nothing leaks, no knob is left changed that is not on record.
 *
 * Afterwards recovery must find its way back to the old values. Enumerated; counts are printed.
 *
 * timeout: 300
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/fault/steps.h"
#include "tests/unit/safety_root.h"

/* glibc's own, behind the ones below */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static long allocation = -1, fail_allocation = -1; /* counted while >= 0 */

static bool refuse(void)
{
	if (allocation < 0)
		return false;
	if (allocation++ != fail_allocation)
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return refuse() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return refuse() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	return refuse() ? NULL : __libc_realloc(p, size);
}

static struct fake f;

enum operation { OPEN, APPLY, KEEP, ROLLBACK, BREACH, ROTATE, CLOSE, RECOVER, EXIT, N_OPERATIONS };
static const char *const names[] = { "open", "apply", "keep", "rollback", "breach", "new segment",
	"close", "recover", "ejection" };

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

/* 0 = it succeeded, 1 = an error with a sentence; anything else is a defect. */
static int operate(void *arg)
{
	enum operation op = *(enum operation *)arg;
	struct exit_record ejection = { .policy = "linnos", .kind = "slo", .reason = "slow" };
	struct safety_error error = { "" };
	struct safety_report report;
	struct safety *s = NULL;
	uint64_t id = 0, other;
	int begun = count_fds(), fds = begun, err;
	bool quarantined;

	f.options.max_bytes = op == ROTATE ? 1024 : 0;
	if (op != OPEN && op != RECOVER) {
		if (safety_open(&s, &f.options, &report, &error))
			return 10;
		if (op != APPLY && change_two(s, CHANGE_AUTO, &id, &error))
			return 11;
		fds = count_fds();
	}
	error.text[0] = '\0';
	allocation = fail_allocation >= 0 ? 0 : -1;
	steps_begin();
	switch (op) {
	case OPEN:
		err = safety_open(&s, &f.options, &report, &error);
		break;
	case APPLY:
		err = change_two(s, CHANGE_AUTO, &id, &error);
		break;
	case KEEP:
		err = safety_keep(s, id, "better", &error);
		break;
	case ROLLBACK:
		err = safety_rollback(s, id, "a test ends", NULL, &error);
		break;
	case BREACH:
		err = (int)safety_breach(s, "tuner", "p99 rose");
		strcpy(error.text, "counted");
		break;
	case ROTATE:
		err = change_one(s, "kml", CHANGE_AUTO, DIRTY_RATIO, "40", &other, &error);
		break;
	case EXIT:
		err = safety_exit(s, &ejection, &quarantined, &error);
		break;
	case RECOVER:
		err = safety_recover(&f.options, &report, &error);
		break;
	default:
		err = (int)safety_close(s, SAFETY_STOP);
		strcpy(error.text, "counted");
		fds = begun;
	}
	allocation = -1;
	steps_end(); /* from here on nothing is made to fail */
	if (err && !error.text[0])
		return 12;
	if (op == OPEN && !err)
		fds = count_fds();
	if (count_fds() != fds)
		return 13;
	/* a change that was refused is not in force */
	if ((op == APPLY || op == ROTATE) && err &&
		!file_is(f.root, op == APPLY ? SWAPPINESS_FILE : DIRTY_RATIO_FILE,
			op == APPLY ? "060" : "20") &&
		!strstr(error.text, "not undone"))
		return 14;
	if (op == APPLY && !err && !file_is(f.root, SWAPPINESS_FILE, "010"))
		return 15;
	return err ? 1 : 0;
}

struct failing {
	long n;
	int with;
	bool over, hit;
};

static enum step_action fail_at(void *ctx, struct step *step)
{
	struct failing *x = ctx;

	x->over |= step->call == STEPS_END_CALL;
	/* close() frees the descriptor whatever it answers, and these cannot fail */
	if (x->over || !step->before || step->n / 2 != x->n || step->call == SYS_close ||
		step->call == SYS_exit_group || step->call == SYS_munmap || step->call == SYS_brk)
		return STEP_GO_ON;
	x->hit = true;
	step->fail_with = x->with;
	return STEP_FAIL;
}

static void begin_anew(enum operation op)
{
	enum operation apply = APPLY;
	long steps;

	dir_remove(f.dir);
	fake_reset_knobs(&f);
	if (op == RECOVER || op == OPEN)
		assert_int_equal(steps_run(operate, &apply, NULL, NULL, &steps), 0);
}

static void check_after(enum operation op, long n, int status)
{
	struct safety_error error = { "" };
	struct safety_report report;
	struct safety_audit audit;

	if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
		fail_msg("%s, %ld: status %x", names[op], n, status);
	if (safety_recover(&f.options, &report, &error))
		fail_msg("%s, %ld: recovery says: %s", names[op], n, error.text);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
	assert_true(file_is(f.root, READ_AHEAD_FILE, "128"));
	assert_true(file_is(f.root, DIRTY_RATIO_FILE, "20"));
	if (safety_audit(f.dir, f.root, &audit, &error))
		fail_msg("%s, %ld: %s", names[op], n, error.text);
	assert_int_equal(audit.open, 0);
}

static void test_calls(void **state)
{
	static const int with[] = { EIO, ENOSPC, ENOMEM, EINTR };
	bool few = f.real && !getenv("SEMANTOS_SOAK"); /* an emulated machine is slow */
	size_t ways = few ? 1 : sizeof(with) / sizeof(with[0]);

	(void)state;
	for (enum operation op = OPEN; op < N_OPERATIONS; op++) {
		long failed = 0, errors = 0, n;

		for (n = 0;; n++) {
			struct failing x = { .n = n };

			for (size_t k = 0; k < ways; k++) {
				long steps;
				int status;

				x.with = with[k];
				x.over = false;
				begin_anew(op);
				status = steps_run(operate, &op, fail_at, &x, &steps);
				check_after(op, n, status);
				errors += WEXITSTATUS(status);
				failed++;
				if (2 * n > steps)
					goto done;
			}
		}
	done:
		print_message("%s: %ld system calls made to fail in %zu ways, %ld answered with an "
			      "error\n",
			names[op], failed / (long)ways, ways, errors);
		assert_true(errors > 0);
	}
}

static void test_allocations(void **state)
{
	(void)state;
	for (enum operation op = OPEN; op < N_OPERATIONS; op++) {
		long n, steps, errors = 0;

		for (n = 0; n < 1000; n++) {
			int status;

			fail_allocation = -1;
			begin_anew(op);
			fail_allocation = n;
			status = steps_run(operate, &op, NULL, NULL, &steps);
			fail_allocation = -1;
			check_after(op, n, status);
			errors += WEXITSTATUS(status);
			if (n > 20 && WEXITSTATUS(status) == 0)
				break;
		}
		print_message("%s: each allocation made to fail, %ld answered with an error\n",
			names[op], errors);
		assert_true(n < 1000);
	}
}

static int setup(void **state)
{
	(void)state;
	fake_make(&f);
	f.options.clock = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_unmake(&f);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_calls),
		cmocka_unit_test(test_allocations) };

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, setup, teardown);
}
