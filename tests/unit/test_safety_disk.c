// SPDX-License-Identifier: Apache-2.0
/*
 * test_safety_disk.c - the journal's disk is read-only when recovery comes to it: what a dead agent left in force is undone all
 * the same, no change begins, and all of it is recorded once the disk can be written again.
 *
 * The disk is a real one, a tmpfs that is mounted anew in a child. That it turns read-only under an open file is
 * test_safety_kernel's and the lab's (68-journal-disk).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "agent/safety/safety_internal.h"
#include "tests/unit/own_mounts.h"
#include "tests/unit/safety_root.h"

static struct fake f;

/* In a child: what does not hold ends it, and its line is said. */
#define MUST(what)                                                                         \
	do {                                                                               \
		if (!(what)) {                                                             \
			fprintf(stderr, "line %d: %s: %s\n", __LINE__, #what, error.text); \
			return 1;                                                          \
		}                                                                          \
	} while (0)

static int remount(unsigned long flags)
{
	return mount(NULL, f.dir, NULL, MS_REMOUNT | flags, NULL);
}

static bool originals(void)
{
	return file_is(f.root, SWAPPINESS_FILE, "060") && file_is(f.root, READ_AHEAD_FILE, "128");
}

/* An agent that ended without a word, on a disk that is then read-only. torn: its last record is cut short. */
static int left_behind(bool torn)
{
	struct safety_error error = { "" };
	struct safety *s;
	char path[160];
	struct stat st;
	uint64_t id;

	if (mkdir(f.dir, 0700) || mount("none", f.dir, "tmpfs", 0, NULL))
		return 77;
	MUST(safety_open(&s, &f.options, NULL, &error) == 0);
	MUST(change_two(s, CHANGE_AUTO, &id, &error) == 0);
	safety_leave(s);
	snprintf(path, sizeof(path), "%s/journal", f.dir);
	MUST(stat(path, &st) == 0 && (!torn || truncate(path, st.st_size - 5) == 0));
	MUST(file_is(f.root, SWAPPINESS_FILE, "010"));
	return remount(MS_RDONLY) ? 77 : 0;
}

static int undone_and_recorded_later(bool torn)
{
	struct safety_report report;
	struct safety_error error = { "" };
	struct safety_audit audit;
	struct safety *s = NULL;
	int begun = left_behind(torn);
	uint64_t id;

	if (begun)
		return begun;
	/* an agent may not begin where nothing can be recorded, but it undoes before it says so */
	MUST(safety_open(&s, &f.options, &report, &error) == -EROFS && !s);
	MUST(report.rolled_back == 1 && report.failed == 0 && originals());
	MUST(strstr(error.text, "takes no more records"));
	/* nobody could write that down */
	MUST(safety_audit(f.dir, f.root, &audit, &error) == 0);
	MUST(audit.open == 1 && audit.torn == torn);
	MUST(safety_recover(&f.options, &report, &error) == 0 && report.rolled_back == 1);
	MUST(report.cut_bytes == 0);
	/* while somebody reads who must not be disturbed */
	MUST(safety_attend(&s, &f.options, &error) == 0);
	MUST(change_one(s, "a", CHANGE_AUTO, DIRTY_RATIO, "40", &id, &error) == -EROFS && id == 0);
	MUST(file_is(f.root, DIRTY_RATIO_FILE, "20"));
	MUST(safety_recover(&f.options, &report, &error) == -EBUSY);
	safety_leave(s);
	MUST(remount(0) == 0);
	MUST(safety_recover(&f.options, &report, &error) == 0 && report.rolled_back == 1);
	MUST((report.cut_bytes > 0) == torn);
	MUST(safety_audit(f.dir, f.root, &audit, &error) == 0);
	MUST(audit.open == 0 && !audit.torn && originals());
	MUST(safety_open(&s, &f.options, &report, &error) == 0 && report.rolled_back == 0);
	MUST(change_two(s, CHANGE_AUTO, &id, &error) == 0);
	MUST(safety_close(s, SAFETY_STOP) == 0 && originals());
	return 0;
}

static int whole(void)
{
	return undone_and_recorded_later(false);
}

static int torn(void)
{
	return undone_and_recorded_later(true);
}

/* A folder that is not even there, and cannot be made. */
static int no_folder(void)
{
	struct safety_report report;
	struct safety_error error = { "" };
	struct safety *s;

	if (mount("none", f.scratch, "tmpfs", MS_RDONLY, NULL))
		return 77;
	MUST(safety_open(&s, &f.options, &report, &error) == -EROFS && !s);
	MUST(strstr(error.text, f.dir));
	MUST(safety_recover(&f.options, &report, &error) == 0);
	return 0;
}

static void in_own_mounts(int (*story)(void))
{
	int status = own_mounts(story);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("skipped: no mount namespace is permitted here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

static void recovery_on_a_read_only_disk(void **state)
{
	(void)state;
	in_own_mounts(whole);
}

static void a_torn_end_on_a_read_only_disk(void **state)
{
	(void)state;
	in_own_mounts(torn);
}

static void no_folder_on_a_read_only_disk(void **state)
{
	(void)state;
	in_own_mounts(no_folder);
}

static int setup(void **state)
{
	(void)state;
	fake_make(&f);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dir_remove(f.root);
	return 0;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(recovery_on_a_read_only_disk),
		T(a_torn_end_on_a_read_only_disk),
		T(no_folder_on_a_read_only_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
