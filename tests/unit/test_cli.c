/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cli.c - semantosctl's commands against a real server with an invented core: text, JSON, exit codes.
 *
 * Server and commands run in processes of their own, stdout and stderr in files; the comparing process uses no gRPC.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <glob.h>
#include <jansson.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "agent/api/server.h"
#include "agent/cli/commands.h"
#include "agent/cli/ctl.h"
#include "agent/cli/table.h"
#include "agent/core/capture.h"
#include "tests/unit/fake_control.h"

static char folder[64] = "/tmp/semantos-cli-XXXXXX";
static char socket_path[96];
static pid_t server_pid;

struct shown {
	int code;
	char out[65536], err[4096];
};
static struct shown shown;

static void slurp(const char *path, char *to, size_t len)
{
	FILE *file = fopen(path, "r");
	size_t n;

	assert_non_null(file);
	n = fread(to, 1, len - 1, file);
	to[n] = '\0';
	fclose(file);
}

static pid_t begin(int (*command)(int, char **), char **argv)
{
	char path[128];
	int argc = 0;
	pid_t pid;

	while (argv[argc])
		argc++;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int code;

		alarm(30);
		snprintf(path, sizeof(path), "%s/out", folder);
		if (!freopen(path, "w", stdout))
			_exit(99);
		snprintf(path, sizeof(path), "%s/err", folder);
		if (!freopen(path, "w", stderr))
			_exit(99);
		code = command(argc, argv);
		fflush(NULL);
		_exit(code);
	}
	return pid;
}

static void end(pid_t pid)
{
	char path[128];
	int status;

	waitpid(pid, &status, 0);
	shown.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	snprintf(path, sizeof(path), "%s/out", folder);
	slurp(path, shown.out, sizeof(shown.out));
	snprintf(path, sizeof(path), "%s/err", folder);
	slurp(path, shown.err, sizeof(shown.err));
}

/* The words after the command's name, ended by NULL; --socket is added. */
#define RUN(command, ...)                                                            \
	do {                                                                         \
		char *argv_[] = { (char *)#command, (char *)"--socket", socket_path, \
			##__VA_ARGS__, NULL };                                       \
		end(begin(cmd_##command, argv_));                                    \
	} while (0)

static void assert_shows(const char *text)
{
	if (!strstr(shown.out, text))
		fail_msg("\"%s\" is not in:\n%s%s", text, shown.out, shown.err);
}

static void assert_says(const char *text)
{
	if (!strstr(shown.err, text))
		fail_msg("\"%s\" is not in:\n%s", text, shown.err);
	/* one sentence, one line */
	assert_ptr_equal(strchr(shown.err, '\n'), shown.err + strlen(shown.err) - 1);
}

static json_t *shown_json(void)
{
	json_error_t error;
	json_t *value = json_loads(shown.out, 0, &error);

	if (!value)
		fail_msg("no JSON: %s in %s", error.text, shown.out);
	return value;
}

static void status_shows_scores_beside_their_baselines(void **state)
{
	(void)state;
	RUN(status);
	assert_int_equal(shown.code, EXIT_CODE_OK);
	assert_shows("semantos-agent 0.1.0");
	assert_shows("up 1 h 1 min");
	assert_shows("canary:20, attached 2 min ago");
	assert_shows("Held in shadow");
	assert_shows("learning 3,412/14,000");
	assert_shows("fast (200/255)");
	assert_shows("0.710");
	assert_shows("0.600");
	assert_shows("1,234,567");
	assert_shows("pmem0: Note on device 2.");
	assert_null(strstr(shown.out, "nan"));
}

static void status_fits_a_narrow_terminal(void **state)
{
	size_t longest = 0;

	(void)state;
	setenv("COLUMNS", "60", 1);
	RUN(status);
	unsetenv("COLUMNS");
	assert_shows("HELD-OUT PENDING  0.600");
	for (char *line = strstr(shown.out, "  DEVICE"); line && *line;
		line += strcspn(line, "\n") + 1) {
		size_t n = strcspn(line, "\n");

		longest = n > longest ? n : longest;
		if (!strchr(line, '\n'))
			break;
	}
	assert_in_range(longest, 20, 60);
}

static void json_has_null_for_what_is_not_defined(void **state)
{
	json_t *all, *device;

	(void)state;
	RUN(status, (char *)"--json", (char *)"linnos");
	assert_int_equal(shown.code, EXIT_CODE_OK);
	all = shown_json();
	assert_int_equal(json_integer_value(json_object_get(all, "uptime_s")), 3661);
	device = json_array_get(
		json_object_get(json_array_get(json_object_get(all, "policies"), 0), "devices"), 1);
	assert_string_equal(json_string_value(json_object_get(device, "phase")), "learning");
	assert_true(json_is_null(json_object_get(device, "heldout_auc")));
	assert_true(json_is_null(json_object_get(json_object_get(device, "score"), "auc")));
	json_decref(all);
}

static void list_is_one_line_a_policy(void **state)
{
	json_t *all;

	(void)state;
	RUN(list);
	assert_int_equal(shown.code, EXIT_CODE_OK);
	assert_shows("POLICY  MODE");
	assert_shows("linnos  canary:20");
	RUN(list, (char *)"-j");
	all = shown_json();
	assert_int_equal(json_array_size(json_object_get(all, "policies")), 1);
	json_decref(all);
}

static void stats_show_drops_by_cause_and_own_cost(void **state)
{
	(void)state;
	RUN(stats, (char *)"linnos");
	assert_int_equal(shown.code, EXIT_CODE_OK);
	assert_shows("0.05 % of one CPU, 20.0 MiB");
	assert_shows("drop_ring_full");
	assert_shows("requests that found the ring full");
	assert_shows("1,234,500");
	assert_shows("on_issue");
	assert_shows("155"); /* ns per run */
	assert_shows("half within 12.5 us.");
	RUN(stats, (char *)"--watch", (char *)"--count", (char *)"2", (char *)"--json");
	assert_int_equal(shown.code, EXIT_CODE_OK);
	assert_non_null(strstr(strchr(shown.out, '\n') + 1, "{\"version\""));
}

/* Until a file of this pattern has more than n bytes: the process that writes it is well under way. */
static void wait_for_bytes(const char *pattern, off_t n)
{
	bool enough = false;

	for (int i = 0; i < 1000 && !enough; i++) {
		struct stat st;
		glob_t found = { 0 };

		usleep(10000);
		if (glob(pattern, 0, NULL, &found) == 0)
			enough = stat(found.gl_pathv[0], &st) == 0 && st.st_size > n;
		globfree(&found);
	}
	assert_true(enough);
}

static void watch_ends_in_order_on_interrupt(void **state)
{
	char *argv[] = { (char *)"stats", (char *)"--socket", socket_path, (char *)"--watch",
		NULL };
	char out[128];
	pid_t pid;

	(void)state;
	snprintf(out, sizeof(out), "%s/out", folder);
	unlink(out);
	pid = begin(cmd_stats, argv);
	wait_for_bytes(out, 0);
	kill(pid, SIGINT);
	end(pid);
	assert_int_equal(shown.code, EXIT_CODE_OK);
}

static void changes_print_the_sentence_of_the_agent(void **state)
{
	(void)state;
	RUN(attach, (char *)"kml", (char *)"--mode", (char *)"canary:7");
	assert_int_equal(shown.code, EXIT_CODE_OK);
	assert_string_equal(shown.out, "kml: detached -> canary:7, because it was asked for.\n");
	RUN(attach, (char *)"linnos");
	assert_int_equal(shown.code, EXIT_CODE_FAILED);
	assert_says("linnos is attached already.");
	RUN(attach, (char *)"broken", (char *)"--json");
	assert_int_equal(shown.code, EXIT_CODE_REFUSED);
	assert_shows("\"code\":6");
	assert_shows("unknown key colour");
	RUN(mode, (char *)"linnos", (char *)"shadow");
	assert_string_equal(shown.out, "linnos: canary:20 -> shadow.\n");
	RUN(detach, (char *)"linnos");
	assert_int_equal(shown.code, EXIT_CODE_OK);
	RUN(detach, (char *)"nonesuch");
	assert_int_equal(shown.code, EXIT_CODE_NOT_FOUND);
	RUN(shutdown, (char *)"--json");
	assert_int_equal(shown.code, geteuid() == 0 ? EXIT_CODE_OK : EXIT_CODE_PERMISSION);
}

/* Whatever is said about a change reaches the agent. */
static void a_change_is_asked_for_in_full(void **state)
{
	char knob[] = "sysctl:vm.swappiness=10"; /* is cut in two */

	(void)state;
	RUN(apply, knob, (char *)"--because", (char *)"it swaps", (char *)"--mode=on-breach",
		(char *)"--policy", (char *)"linnos", (char *)"--evidence=21 ms",
		(char *)"--expect=14 ms");
	assert_int_equal(shown.code, EXIT_CODE_OK);
	assert_string_equal(shown.out,
		"Change 42 of linnos: 1 settings, first sysctl:vm.swappiness=10, on-breach, "
		"because it swaps, on 21 ms, for 14 ms.\n");
	RUN(apply, knob, (char *)"--because=it swaps", (char *)"--json");
	assert_int_equal(shown.code, EXIT_CODE_OK);
	assert_shows("of operator");
	assert_shows("\"change\":42");
	RUN(keep, (char *)"42", (char *)"--observed=15 ms");
	assert_int_equal(shown.code, EXIT_CODE_OK);
	assert_string_equal(shown.out, "Change 42 kept: 15 ms.\n");
	RUN(rollback_any, (char *)"42", (char *)"--observed=22 ms");
	assert_string_equal(shown.out, "Change 42 observed 22 ms.\n");
	RUN(rollback_any, (char *)"43");
	assert_int_equal(shown.code, EXIT_CODE_NOT_FOUND);
}

static void wrong_words_are_usage_errors(void **state)
{
	(void)state;
	RUN(keep, (char *)"42");
	assert_int_equal(shown.code, EXIT_CODE_USAGE);
	assert_says("--observed");
	RUN(keep, (char *)"x", (char *)"--observed=15 ms");
	assert_int_equal(shown.code, EXIT_CODE_USAGE);
	RUN(apply, (char *)"sysctl:vm.swappiness=10");
	assert_int_equal(shown.code, EXIT_CODE_USAGE);
	assert_says("--because");
	RUN(attach);
	assert_int_equal(shown.code, EXIT_CODE_USAGE);
	assert_says("Something is missing");
	RUN(attach, (char *)"kml", (char *)"--mode", (char *)"canary:100");
	assert_int_equal(shown.code, EXIT_CODE_USAGE);
	assert_says("canary:N");
	RUN(mode, (char *)"linnos", (char *)"loud");
	assert_int_equal(shown.code, EXIT_CODE_USAGE);
	RUN(status, (char *)"--colour");
	assert_int_equal(shown.code, EXIT_CODE_USAGE);
	assert_says("Unknown option --colour");
	RUN(status, (char *)"a", (char *)"b");
	assert_int_equal(shown.code, EXIT_CODE_USAGE);
	RUN(status, (char *)"--timeout", (char *)"0");
	assert_int_equal(shown.code, EXIT_CODE_USAGE);
	RUN(stats, (char *)"--watch", (char *)"--count", (char *)"-1");
	assert_int_equal(shown.code, EXIT_CODE_USAGE);
	RUN(capture, (char *)"linnos");
	assert_int_equal(shown.code, EXIT_CODE_USAGE);
	RUN(status, (char *)"--help");
	assert_int_equal(shown.code, EXIT_CODE_OK);
	assert_shows("--socket PATH");
}

static void no_agent_is_told_and_so_is_one_that_hangs(void **state)
{
	char *argv[] = { (char *)"status", (char *)"--socket", (char *)"/nonexistent/x.sock",
		NULL };
	struct timespec a, b;

	(void)state;
	end(begin(cmd_status, argv));
	assert_int_equal(shown.code, EXIT_CODE_NO_AGENT);
	assert_says("start semantos-agent");
	kill(server_pid, SIGSTOP);
	assert_int_equal(
		waitpid(server_pid, NULL, WUNTRACED), server_pid); /* only now it has stopped */
	clock_gettime(CLOCK_MONOTONIC, &a);
	RUN(status, (char *)"--timeout", (char *)"1");
	clock_gettime(CLOCK_MONOTONIC, &b);
	kill(server_pid, SIGCONT);
	assert_int_equal(shown.code, EXIT_CODE_TIMEOUT);
	assert_in_range(b.tv_sec - a.tv_sec, 0, 3);
}

static void captures_are_files_that_can_be_read(void **state)
{
	struct capture capture = { 0 };
	char path[128], error[256] = "";

	(void)state;
	snprintf(path, sizeof(path), "%s/reads.cap", folder);
	RUN(capture, (char *)"linnos", (char *)"--device", (char *)"/dev/nvme0n1", (char *)"--rows",
		(char *)"700", (char *)"-o", path);
	assert_int_equal(shown.code, EXIT_CODE_OK);
	assert_shows("700 of 700 reads of nvme0n1");
	assert_int_equal(capture_read(path, &capture, error, sizeof(error)), 0);
	assert_int_equal(capture.n, 700);
	assert_int_equal(capture.header.major, 259);
	assert_string_equal(capture.header.device, "nvme0n1");
	assert_int_equal(capture.record[699].head.request_id, 700);
	capture_free(&capture);
}

static void failed_captures_leave_no_file(void **state)
{
	char path[128], command[200];

	(void)state;
	snprintf(path, sizeof(path), "%s/none.cap", folder);
	RUN(capture, (char *)"linnos", (char *)"--device", (char *)"sdz", (char *)"-o", path);
	assert_int_equal(shown.code, EXIT_CODE_NOT_FOUND);
	assert_says("sdz");
	snprintf(command, sizeof(command), "ls %s* 2>/dev/null | grep -q .", path);
	assert_int_not_equal(system(command), 0);
	RUN(capture, (char *)"linnos", (char *)"--device", (char *)"nvme0n1", (char *)"-o",
		(char *)"/nonexistent/x.cap");
	assert_int_equal(shown.code, EXIT_CODE_STATE);
	/* a folder stands where the file should go: found out only at the end */
	RUN(capture, (char *)"linnos", (char *)"--device", (char *)"nvme0n1", (char *)"--rows",
		(char *)"10", (char *)"-o", folder);
	assert_int_equal(shown.code, EXIT_CODE_STATE);
}

static void interrupted_captures_keep_what_came(void **state)
{
	char path[128], pattern[160], error[256] = "";
	char *argv[] = { (char *)"capture", (char *)"--socket", socket_path, (char *)"linnos",
		(char *)"--device", (char *)"nvme0n1", (char *)"--rows", (char *)"1000000",
		(char *)"-o", path, NULL };
	struct capture capture = { 0 };
	pid_t pid;

	(void)state;
	snprintf(path, sizeof(path), "%s/cut.cap", folder);
	pid = begin(cmd_capture, argv);
	snprintf(pattern, sizeof(pattern), "%s.*", path);
	wait_for_bytes(pattern, 128 * 1000);
	kill(pid, SIGINT);
	end(pid);
	assert_int_equal(shown.code, EXIT_CODE_OK);
	assert_shows("Interrupted");
	assert_int_equal(capture_read(path, &capture, error, sizeof(error)), 0);
	assert_in_range(capture.n, 1000, 999999);
	capture_free(&capture);
}

static void models_are_sent_whole(void **state)
{
	char path[128];
	FILE *file;

	(void)state;
	snprintf(path, sizeof(path), "%s/m.safetensors", folder);
	file = fopen(path, "w");
	for (int i = 0; i < 1000000; i++)
		fputc(2, file);
	fclose(file);
	RUN(model_use, (char *)"linnos", (char *)"/dev/vda", path);
	assert_int_equal(shown.code, EXIT_CODE_OK);
	assert_string_equal(shown.out, "linnos vda: 1000000 bytes, sum 2000000.\n");
	assert_int_equal(truncate(path, 0), 0);
	RUN(model_use, (char *)"linnos", (char *)"vda", path);
	assert_int_equal(shown.code, EXIT_CODE_REFUSED);
	RUN(model_use, (char *)"linnos", (char *)"vda", (char *)"/nonexistent");
	assert_int_equal(shown.code, EXIT_CODE_NOT_FOUND);
	RUN(model_use, (char *)"linnos", (char *)"vda", folder);
	assert_int_equal(shown.code, EXIT_CODE_REFUSED);
}

static void telemetry_that_is_not_taken_is_told(void **state)
{
	(void)state;
	RUN(telemetry);
	assert_int_not_equal(shown.code, EXIT_CODE_OK);
	assert_says("takes no telemetry");
}

static void numbers_are_written_for_people(void **state)
{
	char buf[32];

	(void)state;
	assert_string_equal(ctl_count(buf, sizeof(buf), 0), "0");
	assert_string_equal(ctl_count(buf, sizeof(buf), 999), "999");
	assert_string_equal(ctl_count(buf, sizeof(buf), 1000), "1,000");
	assert_string_equal(ctl_count(buf, sizeof(buf), UINT64_MAX), "18,446,744,073,709,551,615");
	assert_string_equal(ctl_score(buf, sizeof(buf), NAN), "-");
	assert_string_equal(ctl_age(buf, sizeof(buf), 59), "59 s");
	assert_string_equal(ctl_age(buf, sizeof(buf), 3600), "1 h 0 min");
	assert_string_equal(ctl_age(buf, sizeof(buf), 864000), "10 days");
}

static void tables_align_and_cannot_move_the_cursor(void **state)
{
	static const char *const headers[] = { "NAME", ">N", "TEXT", NULL };
	struct table *table = table_new(headers);
	char text[256] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	(void)state;
	table_cell(table, "käse");
	table_cell(table, "%d", 7);
	table_cell(table, "a\033[2Jb");
	table_cell(table, "x");
	table_cell(table, "%d", 1234);
	table_cell(table, "c");
	assert_int_equal(table_print(table, out, 1, 0), 0);
	fclose(out);
	assert_string_equal(text, " NAME     N  TEXT\n käse     7  a?[2Jb\n x     1234  c\n");
	table_free(table);
}

static int server_start(void **state)
{
	int ready[2];
	char byte;

	(void)state;
	if (!mkdtemp(folder) || pipe(ready))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/agent.sock", folder);
	server_pid = fork();
	if (server_pid == 0) {
		char error[256] = "";

		if (!api_start(NULL, NULL, socket_path, error, sizeof(error)) ||
			write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	return read(ready[0], &byte, 1) == 1 ? 0 : -1;
}

static int server_end(void **state)
{
	char command[128];

	(void)state;
	kill(server_pid, SIGKILL);
	waitpid(server_pid, NULL, 0);
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_shows_scores_beside_their_baselines),
		cmocka_unit_test(status_fits_a_narrow_terminal),
		cmocka_unit_test(json_has_null_for_what_is_not_defined),
		cmocka_unit_test(list_is_one_line_a_policy),
		cmocka_unit_test(stats_show_drops_by_cause_and_own_cost),
		cmocka_unit_test(watch_ends_in_order_on_interrupt),
		cmocka_unit_test(changes_print_the_sentence_of_the_agent),
		cmocka_unit_test(a_change_is_asked_for_in_full),
		cmocka_unit_test(wrong_words_are_usage_errors),
		cmocka_unit_test(no_agent_is_told_and_so_is_one_that_hangs),
		cmocka_unit_test(captures_are_files_that_can_be_read),
		cmocka_unit_test(failed_captures_leave_no_file),
		cmocka_unit_test(interrupted_captures_keep_what_came),
		cmocka_unit_test(models_are_sent_whole),
		cmocka_unit_test(telemetry_that_is_not_taken_is_told),
		cmocka_unit_test(numbers_are_written_for_people),
		cmocka_unit_test(tables_align_and_cannot_move_the_cursor),
	};

	unsetenv("COLUMNS");
	if (geteuid() != 0) {
		printf("skipped: needs root, to be allowed changes\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, server_start, server_end);
}
