/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tune_cli.c - semantosctl tune and its kin against a scripted agent: what is asked and shown, interrupts, sources that
 * fail or hang, and that nothing that was begun outlives its caller.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <jansson.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "agent/cli/cmd_safety.h"
#include "agent/cli/cmd_tune.h"
#include "agent/cli/commands.h"
#include "tests/unit/scripted_operator.h"

static char folder[] = "/tmp/semantos-tune-XXXXXX";
static char socket_path[64], log_path[64];
static pid_t server_pid;
static char out[65536], err_text[4096], log_text[65536];

static void slurp(const char *path, char *to, size_t len)
{
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	to[fread(to, 1, len - 1, file)] = '\0';
	fclose(file);
}

static pid_t begin(int (*command)(int, char **), const char *const *words)
{
	char path[128], *argv[48] = { (char *)"x", (char *)"--socket", socket_path };
	int argc = 3;
	pid_t pid;

	for (; *words; words++)
		argv[argc++] = (char *)*words;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int code;

		alarm(60);
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

static int end(pid_t pid)
{
	char path[128];
	int status;

	waitpid(pid, &status, 0);
	snprintf(path, sizeof(path), "%s/out", folder);
	slurp(path, out, sizeof(out));
	snprintf(path, sizeof(path), "%s/err", folder);
	slurp(path, err_text, sizeof(err_text));
	slurp(log_path, log_text, sizeof(log_text));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#define BEGIN(command, ...) begin(command, (const char *const[]){ __VA_ARGS__, NULL })
#define RUN(command, ...) end(BEGIN(command, __VA_ARGS__))

static void holds_text(const char *all, const char *text)
{
	if (!strstr(all, text))
		fail_msg("\"%s\" is not in:\n%s\n%s", text, all, err_text);
}

static void usage(const char *because)
{
	holds_text(err_text, because);
	/* one sentence on one line, and the agent heard of nothing */
	assert_ptr_equal(strchr(err_text, '\n'), err_text + strlen(err_text) - 1);
	assert_string_equal(log_text, "");
}

static int server_begin(void **state)
{
	(void)state;
	unlink(socket_path);
	unlink(log_path);
	fflush(NULL);
	server_pid = fork();
	if (server_pid == 0)
		script_serve(socket_path, log_path);
	for (int i = 0; i < 500 && access(socket_path, F_OK); i++)
		usleep(10000);
	return access(socket_path, F_OK);
}

static int server_end(void **state)
{
	(void)state;
	kill(server_pid, SIGKILL);
	waitpid(server_pid, NULL, 0);
	return 0;
}

/* ---- what is wrong with a call ---- */

static void members_are_checked(void **state)
{
	(void)state;
	assert_int_equal(
		RUN(cmd_tune, "--workload", "a", "--members", "vda,,vdb"), EXIT_CODE_USAGE);
	usage("--members takes 2 to 8 disks or control groups");
	assert_int_equal(RUN(cmd_tune, "--workload", "a", "--members", "vda,vda"), EXIT_CODE_USAGE);
	usage("--members takes 2 to 8 disks or control groups");
	assert_int_equal(RUN(cmd_tune, "--workload", "a", "--members", "1,2,3,4,5,6,7,8,9"),
		EXIT_CODE_USAGE);
	usage("--members takes 2 to 8 disks or control groups");
	assert_int_equal(RUN(cmd_tune, "--workload", "a", "--members", "vda"), EXIT_CODE_USAGE);
	usage("One member has nobody to be compared with");
	assert_int_equal(
		RUN(cmd_tune, "--slo", "block_read_latency[*].p99 < 2ms"), EXIT_CODE_USAGE);
	usage("[*] stands for each of --members");
	assert_int_equal(
		RUN(cmd_tune, "--slo", "block_read_latency[vda].p99 < 2ms", "--members", "vda,vdb"),
		EXIT_CODE_USAGE);
	usage("write block_read_latency[*]");
	assert_int_equal(
		RUN(cmd_tune, "--slo", "prom:up < 2", "--members", "vda,vdb"), EXIT_CODE_USAGE);
	usage("which are measured for each");
	assert_int_equal(RUN(cmd_tune, "--slo", "cmd:echo 1 < 2", "--slo", "disk_busy[*] < 1",
				 "--slo", "disk_queue[*] < 9", "--slo", "disk_reads[*] < 9",
				 "--members", "1,2,3,4,5,6,7,8"),
		EXIT_CODE_USAGE);
	usage("more than 16 guards");
}

static void a_member_is_measured_by_itself(void **state)
{
	json_t *json, *members;

	(void)state;
	/* the fake agent knows vda and no vdb */
	RUN(cmd_tune, "--json", "--dry-run", "--improve", "cmd:echo ${#MEMBER}", "--lower", "--slo",
		"block_read_latency[*].p99 < 2ms", "--members", "vda,longer");
	json = json_loads(out, 0, NULL);
	assert_non_null(json);
	members = json_object_get(json, "members");
	assert_int_equal(json_array_size(members), 2);
	assert_true(json_number_value(json_object_get(json_array_get(members, 0), "value")) == 3);
	assert_true(json_number_value(json_object_get(json_array_get(members, 1), "value")) == 6);
	assert_int_equal(json_array_size(json_object_get(json, "guards")), 2);
	assert_string_equal(json_string_value(json_object_get(
				    json_array_get(json_object_get(json, "guards"), 1), "source")),
		"block_read_latency[longer].p99");
	json_decref(json);
}

static void contradictions_are_told(void **state)
{
	(void)state;
	/* a sentence that sends somewhere sends there once */
	assert_int_equal(RUN(cmd_tune, "--slo", "blok_read_latency < 1"), EXIT_CODE_USAGE);
	usage("see `semantosctl telemetry` and `semantosctl tune --help`");
	assert_int_equal(RUN(cmd_tune, "--apply", "auto"), EXIT_CODE_USAGE);
	usage("Something to hold or to improve is missing");
	assert_int_equal(RUN(cmd_tune, "--slo", "load_1m"), EXIT_CODE_USAGE);
	usage("is no guard");
	assert_int_equal(RUN(cmd_tune, "--improve", "load_1m"), EXIT_CODE_USAGE);
	usage("Is more or less of load_1m.value better? Add --higher or --lower");
	assert_int_equal(
		RUN(cmd_tune, "--improve", "load_1m", "--higher", "--lower"), EXIT_CODE_USAGE);
	usage("contradict each other");
	assert_int_equal(
		RUN(cmd_tune, "--improve", "load_1m", "--improve", "load_5m"), EXIT_CODE_USAGE);
	usage("--improve may be given once");
	assert_int_equal(RUN(cmd_tune, "--slo", "load_1m.p95 < 3"), EXIT_CODE_USAGE);
	usage("load_1m.p95 is taken over the last minutes");
	assert_int_equal(RUN(cmd_tune, "--workload", "a", "--workload", "b"), EXIT_CODE_USAGE);
	usage("--workload may be given once");
	assert_int_equal(RUN(cmd_tune, "--slo", "load_1m < 3", "--apply", "now"), EXIT_CODE_USAGE);
	usage("--apply takes advise or auto, not now");
	assert_int_equal(
		RUN(cmd_tune, "--slo", "load_1m < 3", "--knob", "swappiness"), EXIT_CODE_USAGE);
	usage("\"swappiness\" names no knob");
	assert_int_equal(
		RUN(cmd_tune, "--slo", "load_1m < 3", "--knob", "sysctl:*.x"), EXIT_CODE_USAGE);
	usage("is the place of a member's name, so give --members");
	assert_int_equal(RUN(cmd_tune, "--slo", "load_1m < 3", "--slice", "1h"), EXIT_CODE_USAGE);
	usage("--slice takes 0.02 s to 600 s");
	assert_int_equal(RUN(cmd_tune, "--slo", "load_1m < 3", "--pairs", "7"), EXIT_CODE_USAGE);
	usage("--pairs takes 8 to 256, not \"7\"");
	assert_int_equal(RUN(cmd_tune, "--slo", "load_1m < 3", "--trials", "0"), EXIT_CODE_USAGE);
	usage("--trials takes");
	assert_int_equal(RUN(cmd_tune, "--slo", "load_1m < 3", "--because", ""), EXIT_CODE_USAGE);
	usage("--because takes 1 to 255 bytes");
	assert_int_equal(
		RUN(cmd_tune, "--slo", "load_1m < 3", "--prometheus", "http://x"), EXIT_CODE_USAGE);
	usage("nothing is asked of it");
	assert_int_equal(RUN(cmd_tune, "--slo", "prom:up > 0", "--prometheus", "file:///etc"),
		EXIT_CODE_USAGE);
	usage("is no URL");
	assert_int_equal(
		RUN(cmd_tune, "--slo", "load_1m < 3", "--pairs", "8", "--what"), EXIT_CODE_USAGE);
	usage("Unknown option --what");
	assert_int_equal(RUN(cmd_tune, "--slo", "load_1m < 3", "more"), EXIT_CODE_USAGE);
	usage("Unexpected word more");
}

static void a_source_that_fails_ends_it_before_it_begins(void **state)
{
	(void)state;
	assert_int_equal(RUN(cmd_tune, "--slo", "load_1m < 3", "--slo",
				 "cmd:echo no such host >&2; exit 2 < 5"),
		EXIT_CODE_FAILED);
	usage("cannot be measured: it ended with code 2 (no such host). Nothing was asked");
	assert_int_equal(
		RUN(cmd_tune, "--workload", "sleep 100", "--timeout", "1"), EXIT_CODE_FAILED);
	usage("did not end within 1 s and was killed");
	assert_int_equal(RUN(cmd_tune, "--improve", "cmd:echo soon", "--lower"), EXIT_CODE_FAILED);
	usage("its last line holds no number: \"soon\"");
	assert_int_equal(RUN(cmd_tune, "--improve", "prom:up", "--higher", "--prometheus",
				 "http://127.0.0.1:1"),
		EXIT_CODE_FAILED);
	usage("Prometheus cannot be asked at http://127.0.0.1:1");
	assert_int_equal(RUN(cmd_tune, "--workload", "echo metric=5"), EXIT_CODE_USAGE);
	usage("is more or less of it better? Add --higher or --lower");
	assert_int_equal(RUN(cmd_tune, "--workload", "true", "--higher"), EXIT_CODE_USAGE);
	usage("a slower run the better one");
	assert_int_equal(
		RUN(cmd_tune, "--workload", "sleep 0.6", "--slice", "1s"), EXIT_CODE_USAGE);
	usage("a slice of 1 s may hold none whole: give --slice 2s");
}

static void a_refusal_is_told(void **state)
{
	(void)state;
	assert_int_equal(
		RUN(cmd_tune, "--slo", "load_1m < 3", "--because", "busy"), EXIT_CODE_FAILED);
	holds_text(err_text, "Another goal is being tuned for: lower p99; end that one first.");
	assert_string_equal(out, "");
}

/* ---- a run ---- */

static void a_run_from_first_to_last(void **state)
{
	(void)state;
	assert_int_equal(
		RUN(cmd_tune, "--workload", "echo metric=5", "--higher", "--apply", "auto", "--slo",
			"block_read_latency[vda].p99 <= 2ms", "--slo", "cmd:echo 3 < 5", "--knob",
			"sysfs:block/vda/*", "--slice", "12s", "--washout", "500ms", "--pairs", "9",
			"--trials", "4", "--seed", "77", "--because", "whole"),
		EXIT_CODE_OK);
	holds_text(log_text,
		"Tune workload||||echo metric=5|10000 higher apply=auto slice=12000 washout=500 "
		"pairs=9 trials=4 seed=77 knobs=1 sysfs:block/vda/*\n");
	holds_text(log_text, "Guard telemetry|block_read_latency|vda|p99||0 <= 0.002\n");
	holds_text(log_text, "Guard command||||echo 3|10000 < 5\n");
	holds_text(log_text, "Report 0 5 ");
	holds_text(log_text, "Report 2 3 ");
	assert_null(strstr(log_text, "Report 1 "));
	holds_text(out, "  Tuning for the test.\n");
	holds_text(out, "because  [2Jreads wait.");
	holds_text(out, "To undo it: semantosctl rollback 12\n");
	holds_text(out, "Of 2 proposals 1 were kept, 1 undone and 1 refused");
	holds_text(out, "+100.0 % (95 % interval +95.0 to +105.0 %)");
	holds_text(out, "-10.0 %");
	holds_text(out, "`semantosctl reset` all of them");
	assert_null(strchr(out, '\033'));
	assert_null(strstr(out, "nan"));
}

static void programs_get_a_line_an_event(void **state)
{
	unsigned int lines = 0;
	json_t *last = NULL;

	(void)state;
	assert_int_equal(
		RUN(cmd_tune, "--json", "--improve", "cmd:echo 4", "--lower", "--every", "100ms"),
		EXIT_CODE_OK);
	for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n")) {
		json_decref(last);
		last = json_loads(line, 0, NULL);
		if (!last || !json_string_value(json_object_get(last, "kind")))
			fail_msg("no event: %s", line);
		assert_string_not_equal(json_string_value(json_object_get(last, "kind")), "source");
		lines++;
	}
	assert_int_equal(lines, 10);
	assert_string_equal(json_string_value(json_object_get(last, "kind")), "summary");
	assert_int_equal(json_integer_value(json_object_get(last, "kept")), 1);
	assert_int_equal(json_integer_value(json_object_get(last, "vetoed")), 1);
	assert_int_equal(json_array_size(json_object_get(last, "outcomes")), 2);
	json_decref(last);
}

static void advice_waits_for_a_word(void **state)
{
	pid_t pid = BEGIN(
		cmd_tune, "--slo", "cmd:echo 4 < 5", "--every", "100ms", "--because", "advise");
	char path[128], seen[4096] = "";

	(void)state;
	snprintf(path, sizeof(path), "%s/out", folder);
	for (int i = 0; i < 1000 && !strstr(seen, "waits for your word"); i++) {
		FILE *file = fopen(path, "r");

		if (file) {
			seen[fread(seen, 1, sizeof(seen) - 1, file)] = '\0';
			fclose(file);
		}
		usleep(10000);
	}
	holds_text(seen, "To try it: semantosctl approve 7    To refuse it: semantosctl reject 7 "
			 "--why TEXT");
	{
		/* as another terminal would */
		pid_t other = fork();
		int status;

		if (other == 0) {
			char *argv[] = { (char *)"approve", (char *)"--socket", socket_path,
				(char *)"7", NULL };

			alarm(20);
			if (!freopen("/dev/null", "w", stdout))
				_exit(99);
			_exit(cmd_approve(4, argv));
		}
		waitpid(other, &status, 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(end(pid), EXIT_CODE_OK);
	holds_text(log_text, "Approve 7\n");
	/* the guard's source is the objective too: measured once, told twice, and lower is better */
	holds_text(log_text, "Tune command||||echo 4|10000 lower apply=advise");
	holds_text(log_text, "Report 1 4 ");
	holds_text(out, "Kept: twice as much.");
}

static void an_interrupt_ends_it_in_order(void **state)
{
	pid_t pid = BEGIN(cmd_tune, "--slo", "cmd:echo 4 < 5", "--because", "hang");

	(void)state;
	for (int i = 0; i < 1000; i++) {
		slurp(log_path, log_text, sizeof(log_text));
		if (strstr(log_text, "Report 1"))
			break;
		usleep(10000);
	}
	kill(pid, SIGINT);
	assert_int_equal(end(pid), EXIT_CODE_OK);
	holds_text(log_text, "Tune cancelled 1\n");
	holds_text(out, "Ended by you. Nothing is being tried any more; what was kept stays.");
	holds_text(out, "Of 1 proposals 0 were kept");
}

/* A hanging source is told as one that failed, and the other goes on meanwhile. */
static void sources_do_not_wait_for_each_other(void **state)
{
	char command[200];

	(void)state;
	snprintf(command, sizeof(command),
		"cmd:if [ -e %s/once ]; then sleep 100; else touch %s/once; echo 1; fi < 5", folder,
		folder);
	assert_int_equal(RUN(cmd_tune, "--improve", "cmd:echo 2", "--lower", "--slo", command,
				 "--every", "100ms", "--timeout", "2", "--because", "two sources"),
		EXIT_CODE_OK);
	holds_text(log_text, "Report 1 nan 2");
	holds_text(log_text, "it did not end within 2 s and was killed");
	assert_null(strstr(log_text, "no 6 reports"));
	{
		/* at least six of the other before the first that failed */
		unsigned int before = 0;

		for (char *at = log_text; at < strstr(log_text, "Report 1 nan"); at++)
			before += strncmp(at, "Report 0 2", 10) == 0;
		assert_true(before >= 6);
	}
	holds_text(out, "could not be measured: it did not end within 2 s");
}

static bool alive(const char *path)
{
	FILE *file = fopen(path, "r");
	char stat[64], line[256] = "";
	int pid = 0;

	if (!file)
		return false;
	if (fscanf(file, "%d", &pid) != 1)
		pid = 0;
	fclose(file);
	snprintf(stat, sizeof(stat), "/proc/%d/stat", pid);
	file = pid ? fopen(stat, "r") : NULL;
	if (!file)
		return false;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	return line[0] && !strstr(line, ") Z");
}

static void nothing_outlives_a_caller_that_is_killed(void **state)
{
	char command[400], path[128], parent[128];
	pid_t pid;

	(void)state;
	snprintf(path, sizeof(path), "%s/long", folder);
	snprintf(parent, sizeof(parent), "%s/parent", folder);
	snprintf(command, sizeof(command),
		"cd %s; if [ -e first ]; then echo $PPID >parent; echo $$ >long; sleep 100; else "
		"touch first; fi",
		folder);
	pid = BEGIN(cmd_tune, "--workload", command, "--timeout", "60", "--because", "hang");
	for (int i = 0; i < 1000 && !alive(path); i++)
		usleep(10000);
	assert_true(alive(path) && alive(parent));
	kill(pid, SIGKILL);
	assert_int_equal(end(pid), 128 + SIGKILL);
	for (int i = 0; i < 300 && (alive(path) || alive(parent)); i++)
		usleep(10000);
	assert_false(alive(path));
	assert_false(alive(parent));
}

/* ---- the other words ---- */

static void proposals_are_listed_and_explained(void **state)
{
	json_t *json;

	(void)state;
	setenv("COLUMNS", "200", 1);
	assert_int_equal(RUN(cmd_recommend, "--timeout", "5"), EXIT_CODE_OK);
	holds_text(out, "Tuning for the test. Proposals are admitted up to an uncertainty of 0.25 "
			"(from 30 outcomes).");
	holds_text(out, "sysfs:block/vda/queue/read_ahead_kb  0");
	holds_text(out, "-40.0 %");
	holds_text(out, "1 waits for your word: `semantosctl recommend 9` says why, `semantosctl "
			"approve 9` tries it");
	assert_null(strstr(out, "nan"));
	assert_int_equal(RUN(cmd_recommend, "7"), EXIT_CODE_OK);
	holds_text(out, "Proposal 7 of -: kept.");
	holds_text(out, "Sequential reads wait for each block:  [31mread ahead.");
	holds_text(out, "5 before, 10 after: +100.0 % (95 % interval +95.0 to +105.0 %)");
	holds_text(out, "0.08; up to 0.25 is admitted now");
	holds_text(out,
		"12 in the journal: `semantosctl explain 12`, undone by `semantosctl rollback`");
	assert_null(strchr(out, '\033'));
	assert_int_equal(RUN(cmd_recommend, "p9"), EXIT_CODE_OK);
	holds_text(out, "waits for your word.");
	holds_text(out, "`semantosctl approve 9` tries it");
	assert_int_equal(RUN(cmd_recommend, "--json", "7"), EXIT_CODE_OK);
	json = json_loads(out, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(
				 json_array_get(json_object_get(json, "list"), 0), "id")),
		7);
	json_decref(json);
	assert_int_equal(RUN(cmd_recommend, "44"), EXIT_CODE_NOT_FOUND);
	holds_text(err_text, "There is no such proposal.");
	/* an agent that answers something else is not believed */
	assert_int_equal(RUN(cmd_recommend, "5"), EXIT_CODE_NOT_FOUND);
	holds_text(err_text, "There is no proposal 5");
	assert_int_equal(RUN(cmd_recommend, "seven"), EXIT_CODE_USAGE);
	holds_text(err_text, "seven is no number of a proposal");
	assert_int_equal(RUN(cmd_explain, "p7"), EXIT_CODE_OK);
	holds_text(out, "Evidence     trace 3");
	unsetenv("COLUMNS");
}

static void words_reach_the_agent(void **state)
{
	(void)state;
	assert_int_equal(RUN(cmd_approve, "7"), EXIT_CODE_OK);
	holds_text(out, "Proposal 7 is approved");
	assert_int_equal(RUN(cmd_reject, "7"), EXIT_CODE_USAGE);
	holds_text(err_text, "A refusal needs its reason");
	assert_int_equal(RUN(cmd_reject, "7", "--why", ""), EXIT_CODE_USAGE);
	assert_int_equal(RUN(cmd_reject, "--why", "not at noon", "p7"), EXIT_CODE_OK);
	holds_text(log_text, "Reject 7 not at noon\n");
	assert_int_equal(RUN(cmd_reset, "--json"), EXIT_CODE_OK);
	holds_text(log_text, "Reset 0\n");
	assert_int_equal(RUN(cmd_reset, "--forget"), EXIT_CODE_OK);
	holds_text(log_text, "Reset 1\n");
	assert_int_equal(RUN(cmd_rollback_any, "p7", "--because", "it hurts"), EXIT_CODE_OK);
	holds_text(log_text, "Rollback 12 it hurts\n");
	assert_int_equal(RUN(cmd_rollback_any, "p9"), EXIT_CODE_FAILED);
	holds_text(err_text, "Proposal 9 has changed nothing (waiting)");
	assert_int_equal(RUN(cmd_approve, "0"), EXIT_CODE_USAGE);
	assert_int_equal(RUN(cmd_approve, "--socket", "/nowhere/sock", "7"), EXIT_CODE_NO_AGENT);
}

static void a_dry_run_shows_and_asks_for_nothing(void **state)
{
	json_t *json, *guards;

	(void)state;
	assert_int_equal(
		RUN(cmd_tune, "--dry-run", "--slo", "block_read_latency[vda].p99 < 2ms", "--slo",
			"load_1m < 0.25", "--slo", "cmd:echo 7 > 5", "--knob", "sysctl:vm.swappi*"),
		EXIT_CODE_OK);
	holds_text(out, "block_read_latency[vda].p99 < 2.00 ms");
	holds_text(out, "1.25 ms");
	holds_text(out, "does not hold");
	holds_text(out, "1 setting may be tried");
	holds_text(out, "sysctl:vm.swappiness");
	assert_null(strstr(log_text, "Tune"));
	assert_int_equal(RUN(cmd_tune, "--json", "--dry-run", "--slo", "load_1m < 1", "--slo",
				 "block_read_latency[vdb].p99 < 2ms"),
		EXIT_CODE_NOT_FOUND);
	json = json_loads(out, 0, NULL);
	assert_non_null(json);
	guards = json_object_get(json, "guards");
	assert_true(json_is_true(json_object_get(json_array_get(guards, 0), "holds")));
	assert_string_equal(json_string_value(json_object_get(json_array_get(guards, 1), "why")),
		"there is no such label: see `semantosctl telemetry`");
	assert_true(json_is_false(json_object_get(json, "ok")));
	json_decref(json);
	assert_int_equal(
		RUN(cmd_tune, "--dry-run", "--slo", "block_read_latency[vda].median < 2ms"),
		EXIT_CODE_FAILED);
	holds_text(err_text, "it has no value now");
	assert_int_equal(
		RUN(cmd_tune, "--dry-run", "--slo", "load_1m < 3", "--knob", "sysctl:no.*"),
		EXIT_CODE_NOT_FOUND);
	holds_text(err_text, "fits --knob sysctl:no.*");
	assert_int_equal(RUN(cmd_tune, "--dry-run", "--slo", "cmd:exit 3 < 3"), EXIT_CODE_FAILED);
	holds_text(err_text, "it ended with code 3");
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, server_begin, server_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SERVER(contradictions_are_told),
		WITH_SERVER(members_are_checked),
		WITH_SERVER(a_member_is_measured_by_itself),
		WITH_SERVER(a_source_that_fails_ends_it_before_it_begins),
		WITH_SERVER(a_refusal_is_told),
		WITH_SERVER(a_run_from_first_to_last),
		WITH_SERVER(programs_get_a_line_an_event),
		WITH_SERVER(advice_waits_for_a_word),
		WITH_SERVER(an_interrupt_ends_it_in_order),
		WITH_SERVER(sources_do_not_wait_for_each_other),
		WITH_SERVER(nothing_outlives_a_caller_that_is_killed),
		WITH_SERVER(proposals_are_listed_and_explained),
		WITH_SERVER(words_reach_the_agent),
		WITH_SERVER(a_dry_run_shows_and_asks_for_nothing),
	};
	char command[64];
	int failed;

	if (!mkdtemp(folder)) {
		printf("skipped: needs a writable /tmp\n");
		return 77;
	}
	snprintf(socket_path, sizeof(socket_path), "%s/sock", folder);
	snprintf(log_path, sizeof(log_path), "%s/log", folder);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command) ? 1 : failed;
}
