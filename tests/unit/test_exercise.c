// SPDX-License-Identifier: Apache-2.0
/*
 * test_exercise.c - the bounded load: what it refuses, what it does on a real disk, and that nothing of it is left.
 *
 * The load runs in the build folder; where that lies on a file system the exercise refuses, those cases are skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "agent/core/exercise.h"
#include "agent/util/log.h"

#define MIB (1ULL << 20)

static char dir[] = "build/exercise-XXXXXX";
static char error[256];

static void quiet(void *ctx, enum log_level level, const char *sentence)
{
	(void)ctx, (void)level, (void)sentence;
}

/* Skip the case where no disk is below the build folder. */
#define needs_disk()                                                                           \
	do {                                                                                   \
		struct statfs fs;                                                              \
		const char *kind;                                                              \
		assert_int_equal(statfs(dir, &fs), 0);                                         \
		kind = exercise_refused_kind((uint64_t)fs.f_type & 0xffffffffu);               \
		if (kind) {                                                                    \
			printf("skipped: the build folder lies on a file system that is %s\n", \
				kind);                                                         \
			skip();                                                                \
		}                                                                              \
	} while (0)

static struct exercise *start(
	uint64_t file_mib, uint64_t write_mib, uint32_t rate, uint32_t seconds)
{
	struct exercise_options options = { .dir = dir,
		.file_bytes = file_mib * MIB,
		.write_bytes = write_mib * MIB,
		.reads_per_s = rate,
		.seconds = seconds };
	struct exercise *exercise = exercise_start(&options, error, sizeof(error));

	if (!exercise)
		fail_msg("%s", error);
	return exercise;
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The view once `done` says so, or after so many seconds. */
static struct exercise_view wait_for(
	struct exercise *exercise, bool (*done)(const struct exercise_view *view), double seconds)
{
	struct exercise_view view;
	double end = now_s() + seconds;

	do {
		usleep(20000);
		exercise_view(exercise, &view);
	} while (!done(&view) && now_s() < end);
	return view;
}

static bool has_read(const struct exercise_view *view)
{
	return view->reads >= 200 || view->error;
}

static bool has_ended(const struct exercise_view *view)
{
	return !view->running;
}

/* Bytes of the files without a name that a process holds open. */
static uint64_t nameless_bytes(pid_t pid)
{
	char path[64];
	struct stat st;
	uint64_t n = 0;

	for (int fd = 0; fd < 64; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 0)
			n += (uint64_t)st.st_blocks * 512;
	}
	return n;
}

static int names_in_dir(void)
{
	struct dirent *entry;
	DIR *open = opendir(dir);
	int n = 0;

	while ((entry = readdir(open)))
		n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
	closedir(open);
	return n;
}

static int open_fds(void)
{
	DIR *open = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(open))
		n++;
	closedir(open);
	return n;
}

static void refuses(const char *where, int number, const char *words)
{
	struct exercise_options options = { .dir = where };

	error[0] = 0;
	errno = 0;
	assert_null(exercise_start(&options, error, sizeof(error)));
	assert_int_equal(errno, number);
	if (!strstr(error, words) || !strstr(error, where) || error[strlen(error) - 1] != '.')
		fail_msg("'%s' does not say '%s' of %s", error, words, where);
}

static void memory_and_foreign_file_systems_are_refused(void **state)
{
	static const uint64_t refused[] = { TMPFS_MAGIC, RAMFS_MAGIC, OVERLAYFS_SUPER_MAGIC,
		NFS_SUPER_MAGIC, V9FS_MAGIC, FUSE_SUPER_MAGIC, PROC_SUPER_MAGIC, 0x12345678 };
	static const uint64_t taken[] = { EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
		F2FS_SUPER_MAGIC };

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_non_null(exercise_refused_kind(refused[i]));
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		assert_null(exercise_refused_kind(taken[i]));
	refuses("/proc/self", EINVAL, "procfs");
	refuses("/sys", EINVAL, "name a folder on ext4, xfs, btrfs or f2fs");
}

static void tmpfs_is_refused(void **state)
{
	struct statfs fs;

	(void)state;
	if (statfs("/dev/shm", &fs) || fs.f_type != TMPFS_MAGIC) {
		printf("skipped: /dev/shm is no tmpfs here\n");
		skip();
	}
	refuses("/dev/shm", EINVAL, "tmpfs, which is memory");
}

static void what_is_no_folder_is_refused(void **state)
{
	char path[64];
	FILE *file;

	(void)state;
	refuses("/nonexistent-folder", ENOENT, "name an existing folder");
	snprintf(path, sizeof(path), "%s/file", dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	refuses(path, EINVAL, "is not a folder");
	unlink(path);
}

static void it_reads_the_disk_within_its_bounds(void **state)
{
	struct exercise *exercise;
	struct exercise_view view;
	struct stat st;
	int fds = open_fds();
	double begin;

	(void)state;
	needs_disk();
	exercise = start(16, 64, 400, 60);
	assert_int_equal(names_in_dir(), 0);
	view = wait_for(exercise, has_read, 30);
	begin = now_s();
	assert_int_equal(view.error, 0);
	assert_true(view.running);
	assert_true(view.reads >= 200);
	assert_int_equal(view.filled_bytes, 16 * MIB);
	assert_int_equal(view.file_bytes, 16 * MIB);
	assert_true(view.written_bytes >= 16 * MIB);
	assert_true(view.read_bytes >= view.reads * 4096);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(view.dev_major, major(st.st_dev));
	assert_int_equal(view.dev_minor, minor(st.st_dev));
	/* the rate holds over phases: a slow machine can only read less */
	{
		uint64_t before = view.reads;

		sleep(2);
		exercise_view(exercise, &view);
		assert_true((double)(view.reads - before) <= 400 * (now_s() - begin + 0.5) * 1.2);
	}
	exercise_stop(exercise);
	assert_int_equal(open_fds(), fds);
	assert_int_equal(names_in_dir(), 0);
}

static void it_never_writes_more_than_allowed(void **state)
{
	struct exercise *exercise;
	struct exercise_view view;

	(void)state;
	needs_disk();
	/* two MiB above the fill: bursts of up to eight every second would pass it at once */
	exercise = start(16, 18, 2000, 5);
	view = wait_for(exercise, has_ended, 30);
	assert_false(view.running);
	assert_int_equal(view.error, 0);
	assert_true(view.written_bytes > 16 * MIB);
	assert_true(view.written_bytes <= 18 * MIB);
	exercise_stop(exercise);
}

static void it_ends_by_itself(void **state)
{
	struct exercise *exercise;
	struct exercise_view view;
	double begin = now_s();

	(void)state;
	needs_disk();
	exercise = start(16, 16, 200, 1);
	view = wait_for(exercise, has_ended, 20);
	assert_false(view.running);
	assert_int_equal(view.error, 0);
	assert_true(now_s() - begin >= 0.9);
	exercise_stop(exercise);
}

static void a_stop_while_filling_is_prompt(void **state)
{
	double begin;

	(void)state;
	needs_disk();
	begin = now_s();
	exercise_stop(start(1024, 1024, 200, 60));
	assert_true(now_s() - begin < 5);
	assert_int_equal(names_in_dir(), 0);
}

static void killed_it_leaves_nothing(void **state)
{
	int ready[2], status;
	char byte;
	pid_t pid;

	(void)state;
	needs_disk();
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		struct exercise_options options = { .dir = dir, .file_bytes = 64 * MIB };
		struct exercise *exercise;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		exercise = exercise_start(&options, error, sizeof(error));
		if (exercise && wait_for(exercise, has_read, 30).reads >= 200 &&
			write(ready[1], "r", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	/* Nothing names the file, so the file system frees it with its last descriptor, whoever closes that. */
	assert_true(nameless_bytes(pid) >= 64 * MIB);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(names_in_dir(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_and_foreign_file_systems_are_refused),
		cmocka_unit_test(tmpfs_is_refused),
		cmocka_unit_test(what_is_no_folder_is_refused),
		cmocka_unit_test(it_reads_the_disk_within_its_bounds),
		cmocka_unit_test(it_never_writes_more_than_allowed),
		cmocka_unit_test(it_ends_by_itself),
		cmocka_unit_test(a_stop_while_filling_is_prompt),
		cmocka_unit_test(killed_it_leaves_nothing),
	};
	int failed;

	if (!mkdtemp(dir)) {
		printf("skipped: the build folder cannot be written\n");
		return 77;
	}
	log_set_sink(quiet, NULL);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (rmdir(dir)) {
		printf("the scratch folder %s is not empty\n", dir);
		return 1;
	}
	return failed;
}
