// SPDX-License-Identifier: Apache-2.0
/*
 * test_tune_whole.c - `semantosctl tune --apply auto` with a workload, the real semantos-advisor and the real loop, journal
 * and keeper: a detuned setting of a made-up machine is found and made better, and all is as it was after `reset`.
 *
 * The knobs are files of a fake root; the workload is a command that reads them.
 *
 * timeout: 480
 */
#include "tests/unit/api_harness.h"

#include <libgen.h>
#include <limits.h>
#include <sys/prctl.h>
#include "agent/safety/keeper.h"
#include "tests/unit/tune_harness.h"

static char build[PATH_MAX];

static pid_t start(char *const argv[], const char *output)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int fd = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fd, 1);
		dup2(fd, 2);
		execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

static void show(const char *path)
{
	char line[400];
	FILE *file = fopen(path, "r");

	while (file && fgets(line, sizeof(line), file))
		fputs(line, stderr);
	if (file)
		fclose(file);
}

static int value_now(void)
{
	char *text = file_read(f.root, SWAPPINESS_FILE, NULL);
	int value = atoi(text);

	free(text);
	return value;
}

/* None outlives a test that fails either, nor works on a folder that goes. */
static int stop(pid_t pid, int signal)
{
	int status = 0;

	kill(pid, signal);
	waitpid(pid, &status, 0);
	return status;
}

static int reset(const char *log, char *forget)
{
	char ctl[PATH_MAX + 20];
	char *const argv[] = { ctl, "reset", "--socket", socket_path, forget, NULL };
	pid_t pid;
	int status;

	snprintf(ctl, sizeof(ctl), "%s/semantosctl", build);
	pid = start(argv, log);
	waitpid(pid, &status, 0);
	return status;
}

/* A goal from first to last, by an advisor that knows nothing; its exit code, -1 when it does not end. */
static int tune(unsigned int slice_ms, char log[2][100])
{
	char ctl[PATH_MAX + 20], advisor[PATH_MAX + 20], kb[100], workload[300], slice[20];
	char *const advise[] = { advisor, "--socket", socket_path, "--kb", kb, "--user", "root",
		"--verbose", NULL };
	char *const argv[] = { ctl, "tune", "--socket", socket_path, "--workload", workload,
		"--lower", "--apply", "auto", "--slice", slice, "--washout", "100ms", "--pairs",
		"8", "--trials", "3", "--seed", "5", "--knob", SWAPPINESS, "--knob", READ_AHEAD,
		"--because", "a test asks for it", "--timeout", "20", NULL };
	pid_t tuning, advising, ended = 0;
	int status = 0;

	snprintf(ctl, sizeof(ctl), "%s/semantosctl", build);
	snprintf(advisor, sizeof(advisor), "%s/semantos-advisor", build);
	snprintf(kb, sizeof(kb), "%s/kb%u", f.scratch, slice_ms);
	snprintf(slice, sizeof(slice), "%ums", slice_ms);
	/* a hundred, and what swapping costs; some noise */
	snprintf(workload, sizeof(workload),
		"read -r v < %s/" SWAPPINESS_FILE "; v=${v#0}; echo metric=$((100 + v + $$ %% 7))",
		f.root);
	advising = start(advise, log[0]);
	tuning = start(argv, log[1]);
	for (uint64_t end = now_ms() + 150 * (slice_ms + 100) + 60000; now_ms() < end && !ended;) {
		ended = waitpid(tuning, &status, WNOHANG);
		usleep(100000);
	}
	if (!ended)
		stop(tuning, SIGKILL);
	if (stop(advising, SIGTERM)) {
		show(log[0]);
		ended = 0;
	}
	return ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/*
 * How long a slice has to be hangs on how busy the machine is: one that holds no whole run is refused, and an objective that is
 * silent ends a trial. So there are three goes at it, none of which may leave anything.
 */
static void a_detuned_setting_is_made_better(void **state)
{
	char log[2][100];
	int code = 0, value = 0;

	(void)state;
	snprintf(log[0], sizeof(log[0]), "%s/advisor.log", f.scratch);
	snprintf(log[1], sizeof(log[1]), "%s/tune.log", f.scratch);
	file_put(f.root, SWAPPINESS_FILE, "200\n");
	for (unsigned int slice_ms = 100; slice_ms <= 900; slice_ms *= 3) {
		code = tune(slice_ms, log);
		value = value_now();
		printf("slices of %u ms: swappiness 200 -> %d, exit %d\n", slice_ms, value, code);
		show(log[1]);
		assert_int_equal(reset(log[1], "--forget"), 0);
		assert_true(file_is(f.root, SWAPPINESS_FILE, "200"));
		assert_true(file_is(f.root, READ_AHEAD_FILE, "128"));
		if (code == 0 && value < 200)
			break;
	}
	if (code || value >= 200) {
		show(log[0]);
		fail_msg("swappiness is %d, exit %d", value, code);
	}
}

/* Whatever the server began is gone before its folder goes: the keeper sees that nothing is left to do. */
static int end(void **state)
{
	int failed = server_end(state);

	for (int i = 0; i < 200 && waitpid(-1, NULL, WNOHANG) >= 0; i++)
		usleep(50000);
	return failed;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_detuned_setting_is_made_better),
	};
	int failed;

	(void)as;
	(void)do_status;
	/* a keeper whose agent went is this one's to wait for */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (strcmp(argv[0], KEEPER_NAME) == 0)
		return keeper_main(argc, argv);
	if (!realpath(argv[0], build))
		return 1;
	/* build/tests/unit/test_tune_whole */
	snprintf(build + strlen(dirname(build)), 20, "/../..");
	snprintf(tuner_file, sizeof(tuner_file), "%.80s/semantos-advisor", build);
	if (access(tuner_file, X_OK)) {
		printf("skipped: no programs are built beside this copy of the test\n");
		return 77;
	}
	if (!harness_open())
		return 77;
	fake_make(&f);
	snprintf(tuner_file, sizeof(tuner_file), "%s/tuner.json", f.scratch);
	harness_telemetry = make_tuner;
	failed = cmocka_run_group_tests(tests, server_start, end);
	fake_unmake(&f);
	return harness_close(failed);
}
