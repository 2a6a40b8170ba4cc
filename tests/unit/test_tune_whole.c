// SPDX-License-Identifier: Apache-2.0
/*
 * test_tune_whole.c - `semantosctl tune --apply auto` with a workload, the real semantos-advisor and the real loop, journal
 * and keeper: a detuned setting of a made-up machine is found and made better, and all is as it was after `reset`.
 *
 * The knobs are files of a fake root; the workload is a command that reads them.
 *
 * timeout: 180
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

static void a_detuned_setting_is_made_better(void **state)
{
	char ctl[PATH_MAX + 20], advisor[PATH_MAX + 20], kb[100], workload[300], log[2][100];
	char *const advise[] = { advisor, "--socket", socket_path, "--kb", kb, "--user", "root",
		"--verbose", NULL };
	char *const tune[] = { ctl, "tune", "--socket", socket_path, "--workload", workload,
		"--lower", "--apply", "auto", "--slice", "100ms", "--washout", "100ms", "--pairs",
		"8", "--trials", "3", "--seed", "5", "--knob", SWAPPINESS, "--knob", READ_AHEAD,
		"--because", "a test asks for it", "--timeout", "5", NULL };
	char *const reset[] = { ctl, "reset", "--socket", socket_path, NULL };
	pid_t pid[2];
	int status;

	(void)state;
	snprintf(ctl, sizeof(ctl), "%s/semantosctl", build);
	snprintf(advisor, sizeof(advisor), "%s/semantos-advisor", build);
	snprintf(kb, sizeof(kb), "%s/kb", f.scratch);
	snprintf(log[0], sizeof(log[0]), "%s/advisor.log", f.scratch);
	snprintf(log[1], sizeof(log[1]), "%s/tune.log", f.scratch);
	/* a hundred, and what swapping costs; some noise */
	snprintf(workload, sizeof(workload),
		"read -r v < %s/" SWAPPINESS_FILE "; v=${v#0}; echo metric=$((100 + v + $$ %% 7))",
		f.root);
	file_put(f.root, SWAPPINESS_FILE, "200\n");
	pid[0] = start(advise, log[0]);
	pid[1] = start(tune, log[1]);
	for (uint64_t end = now_ms() + 120000; now_ms() < end;) {
		if (waitpid(pid[1], &status, WNOHANG) == pid[1])
			break;
		usleep(100000);
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) || value_now() >= 200) {
		show(log[0]);
		show(log[1]);
		fail_msg("swappiness is %d, exit %x", value_now(), status);
	}
	printf("swappiness 200 -> %d\n", value_now());
	show(log[1]);
	pid[1] = start(reset, log[1]);
	waitpid(pid[1], &status, 0);
	assert_int_equal(status, 0);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "200"));
	assert_true(file_is(f.root, READ_AHEAD_FILE, "128"));
	kill(pid[0], SIGTERM);
	waitpid(pid[0], &status, 0);
	assert_int_equal(status, 0);
	/* the keeper sees that nothing is left to do before its folder goes */
	usleep(600000);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_detuned_setting_is_made_better),
	};
	int failed;

	(void)as;
	(void)do_status;
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
	failed = cmocka_run_group_tests(tests, server_start, server_end);
	fake_unmake(&f);
	return harness_close(failed);
}
