// SPDX-License-Identifier: Apache-2.0
/*
 * test_cli_offline.c - train, replay, model show and model import from the command line: what they print, the exit
 * code, and that nothing is written when they refuse.
 *
 * Each command runs in a child of its own with its output caught; files live in a folder removed at the end.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>
#include "agent/cli/commands.h"
#include "agent/core/capture.h"
#include "agent/core/trace.h"
#include "agent/util/exitcode.h"
#include "tests/unit/data.h"

#define READS 4000
#define MAX_WORDS 24

static char out[16384], err[16384]; /* of the last command */
static char root[64];

static void slurp(int fd, char *text, size_t len)
{
	ssize_t n = pread(fd, text, len - 1, 0);

	text[n > 0 ? n : 0] = 0;
	close(fd);
}

/* Words by blanks, in the test's folder; the first chooses the command. The exit code. */
static int run(const char *line)
{
	int out_fd = memfd_create("out", 0), err_fd = memfd_create("err", 0), argc = 0, status;
	char *argv[MAX_WORDS + 1] = { NULL }, *copy = strdup(line), *save = NULL;
	pid_t child;

	for (char *word = strtok_r(copy, " ", &save); word && argc < MAX_WORDS;
		word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	fflush(NULL);
	child = fork();
	if (!child) {
		int code = 99;

		if (chdir(root) || dup2(out_fd, 1) < 0 || dup2(err_fd, 2) < 0)
			_exit(98);
		if (!strcmp(argv[0], "train"))
			code = cmd_train(argc, argv);
		else if (!strcmp(argv[0], "replay"))
			code = cmd_replay(argc, argv);
		else if (!strcmp(argv[0], "model"))
			code = cmd_model(argc, argv);
		fflush(NULL);
		_exit(code);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	slurp(out_fd, out, sizeof(out));
	slurp(err_fd, err, sizeof(err));
	free(copy);
	return WEXITSTATUS(status);
}

static FILE *create(const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	return fopen(path, "w");
}

static bool exists(const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	return access(path, F_OK) == 0;
}

/* A disk with slow periods of fifty reads, as requests. */
static void requests(struct trace_request *request)
{
	uint64_t now_ns = 1000000000, x = 42;

	for (size_t i = 0; i < READS; i++) {
		bool slow = i / 50 % 5 == 0;

		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		now_ns += 500000 + (x >> 44);
		request[i] = (struct trace_request){
			.issue_ns = now_ns / 1000 * 1000,
			.latency_us = (uint32_t)((slow ? 900 : 90) + (x >> 33) % 60),
			.sectors = 8u << (x >> 50) % 4,
			.op = SEMANTOS_OP_READ,
		};
	}
}

static int set_up(void **state)
{
	struct trace_request *request = calloc(READS, sizeof(*request));
	struct semantos_block_record *records;
	size_t n;
	FILE *file;

	(void)state;
	snprintf(root, sizeof(root), "/tmp/semantos-offline-XXXXXX");
	assert_non_null(mkdtemp(root));
	requests(request);
	file = create("trace.txt");
	for (size_t i = 0; i < READS; i++)
		fprintf(file, "%llu,%u,1,%u,0,%llu,3\n",
			(unsigned long long)(request[i].issue_ns / 1000 + request[i].latency_us),
			request[i].latency_us, request[i].sectors * 512,
			(unsigned long long)(request[i].issue_ns / 1000));
	fclose(file);
	assert_int_equal(trace_records(request, READS, &records, &n), 0);
	file = create("disk.capture");
	assert_int_equal(capture_write_header(file, "nvme9n9", 259, 9), 0);
	assert_int_equal(capture_write(file, records, n), 0);
	fclose(file);
	file = create("cut.capture");
	assert_int_equal(capture_write_header(file, "nvme9n9", 259, 9), 0);
	assert_int_equal(fwrite(records, sizeof(*records) * 3 / 2, 1, file), 1);
	fclose(file);
	file = create("few.capture");
	assert_int_equal(capture_write_header(file, "nvme9n9", 259, 9), 0);
	assert_int_equal(capture_write(file, records, 20), 0);
	fclose(file);
	file = create("junk");
	fprintf(file, "This is a letter to a friend, long enough to be mistaken for something "
		      "else by a careless reader.\n");
	fclose(file);
	file = create("bad.txt");
	fprintf(file, "1000,10,1,4096,0,990,3\n1000,nan,1,4096,0,990,3\n");
	fclose(file);
	free(records);
	free(request);
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -r '%s'", root);
	return system(command);
}

#define QUICK " --hidden 16 --epochs 8 --encoder latency-ages "

static json_t *parsed(void)
{
	json_error_t error;
	json_t *object = json_loads(out, 0, &error);

	assert_non_null(object);
	assert_int_equal(strchr(out, '\n') - out, strlen(out) - 1); /* one line */
	return object;
}

static bool same_bytes(const char *a, const char *b)
{
	char path[160], bytes[2][65536];
	size_t n[2];

	for (int i = 0; i < 2; i++) {
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s", root, i ? b : a);
		file = fopen(path, "r");
		assert_non_null(file);
		n[i] = fread(bytes[i], 1, sizeof(bytes[i]), file);
		fclose(file);
	}
	return n[0] == n[1] && memcmp(bytes[0], bytes[1], n[0]) == 0;
}

static void train_then_replay(void **state)
{
	json_t *object, *heldout;

	(void)state;
	assert_int_equal(run("train disk.capture" QUICK "-o disk.safetensors"), EXIT_CODE_OK);
	assert_non_null(strstr(out, "held-out AUC"));
	assert_non_null(strstr(out, "disk.safetensors was written"));
	assert_true(exists("disk.safetensors"));

	assert_int_equal(
		run("train disk.capture" QUICK "--output again.safetensors --json"), EXIT_CODE_OK);
	object = parsed();
	heldout = json_object_get(object, "heldout");
	assert_true(json_is_true(json_object_get(object, "signal")));
	assert_true(json_real_value(json_object_get(heldout, "auc")) > 0.8);
	assert_true(json_real_value(json_object_get(heldout, "pending_auc")) < 0.8);
	assert_string_equal(json_string_value(json_object_get(object, "encoder")), "latency-ages");
	json_decref(object);

	/* the other optimiser makes another model of the same reads, and a good one too */
	assert_int_equal(
		run("train disk.capture" QUICK "--optimiser sgd -o sgd.safetensors --json"),
		EXIT_CODE_OK);
	assert_false(same_bytes("sgd.safetensors", "disk.safetensors"));
	object = parsed();
	assert_true(json_is_true(json_object_get(object, "signal")));
	json_decref(object);

	assert_int_equal(run("replay disk.capture --model disk.safetensors --json"), EXIT_CODE_OK);
	object = parsed();
	assert_true(json_integer_value(json_object_get(object, "rows")) > READS - 20);
	assert_true(json_is_true(json_object_get(object, "signal")));
	json_decref(object);
	assert_int_equal(run("replay disk.capture --model disk.safetensors"), EXIT_CODE_OK);
	assert_non_null(strstr(out, "replayed 3,99"));
}

/* The trace holds the same requests as the capture, so the same model comes out of it. */
static void traces_are_captures_too(void **state)
{
	json_t *from_trace, *from_capture;

	(void)state;
	assert_int_equal(
		run("train trace.txt --device 3" QUICK "-o t.safetensors --json"), EXIT_CODE_OK);
	from_trace = parsed();
	assert_int_equal(run("train disk.capture" QUICK "-o t.safetensors --json"), EXIT_CODE_OK);
	from_capture = parsed();
	assert_true(json_equal(
		json_object_get(from_trace, "heldout"), json_object_get(from_capture, "heldout")));
	json_decref(from_trace);
	json_decref(from_capture);
	assert_int_equal(run("train trace.txt --device 2 -o x"), EXIT_CODE_REFUSED);
	assert_non_null(strstr(err, "no request of device 2"));
}

static void model_show(void **state)
{
	json_t *object;

	(void)state;
	assert_int_equal(
		run("train disk.capture" QUICK "--name mine -o show.safetensors"), EXIT_CODE_OK);
	assert_int_equal(run("model show show.safetensors"), EXIT_CODE_OK);
	assert_non_null(strstr(out, "-> 16 relu -> 2 linear"));
	assert_non_null(strstr(out, "heldout_auc"));
	assert_int_equal(run("model show --json show.safetensors"), EXIT_CODE_OK);
	object = parsed();
	assert_string_equal(json_string_value(json_object_get(object, "name")), "mine");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(object, "notes"), "device")),
		"nvme9n9");
	json_decref(object);
}

static void model_import(void **state)
{
	FILE *file = create("tiny.json");

	(void)state;
	fprintf(file, "{\"d/kernel:0\": [[1.5]], \"d/bias:0\": [0.25]}");
	fclose(file);
	assert_int_equal(run("model import --from keras tiny.json --encoder pending-only "
			     "--activations linear -o tiny.safetensors"),
		EXIT_CODE_OK);
	assert_true(exists("tiny.safetensors"));
	assert_int_equal(run("replay disk.capture --model tiny.safetensors"), EXIT_CODE_OK);
	assert_non_null(strstr(out, "no signal")); /* pending pages cannot beat themselves */
	assert_int_equal(run("model import --from linnos-csv tiny.json -o x"), EXIT_CODE_USAGE);
	file = create("junk.json");
	fprintf(file, "{\"d/kernel:0\": [[1.5");
	fclose(file);
	assert_int_equal(run("model import junk.json -o x"), EXIT_CODE_REFUSED);
	assert_int_equal(run("model import tiny.json -o x"), EXIT_CODE_REFUSED); /* no encoder */
	assert_false(exists("x"));
}

static void recorded_import(void **state)
{
	static const char *const part[] = { "weight_0", "bias_0", "weight_1", "bias_1" };
	char path[4096], line[8192] = "model import --from linnos-csv -o linnos.st";

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		char name[128], *absolute;

		snprintf(
			name, sizeof(name), "linnos-lake/weights/float_c47a304_%s.csv.gz", part[i]);
		if (!data_path(name, path, sizeof(path)))
			skip();
		absolute = realpath(path, NULL); /* commands run in another folder */
		assert_non_null(absolute);
		strcat(strcat(line, " "), absolute);
		free(absolute);
	}
	assert_int_equal(run(line), EXIT_CODE_OK);
	assert_non_null(strstr(out, "31 -> 256 relu -> 2 linear"));
	assert_int_equal(run("replay disk.capture --model linnos.st"), EXIT_CODE_OK);
}

static void refusals(void **state)
{
	static const struct {
		const char *line;
		int code;
		const char *word;
	} row[] = {
		{ "train", EXIT_CODE_USAGE, "missing" },
		{ "train disk.capture", EXIT_CODE_USAGE, "-o MODEL" },
		{ "train disk.capture more -o x", EXIT_CODE_USAGE, "more" },
		{ "train disk.capture -o x --nonsense", EXIT_CODE_USAGE, "--nonsense" },
		{ "train disk.capture -o x --hidden 0", EXIT_CODE_USAGE, "--hidden" },
		{ "train disk.capture -o x --hidden 8,,8", EXIT_CODE_USAGE, "--hidden" },
		{ "train disk.capture -o x --hidden 1,1,1,1,1,1,1,1", EXIT_CODE_USAGE, "--hidden" },
		{ "train disk.capture -o x --slow-weight nan", EXIT_CODE_USAGE, "--slow-weight" },
		{ "train disk.capture -o x --learning-rate inf", EXIT_CODE_USAGE,
			"--learning-rate" },
		{ "train disk.capture -o x --epochs 0", EXIT_CODE_USAGE, "--epochs" },
		{ "train disk.capture -o x --optimiser nonsense", EXIT_CODE_USAGE, "adam or sgd" },
		{ "train disk.capture -o x --encoder nonsense", EXIT_CODE_USAGE, "nonsense" },
		{ "train disk.capture -o x --labeler nonsense", EXIT_CODE_USAGE, "nonsense" },
		{ "train absent -o x", EXIT_CODE_NOT_FOUND, "absent" },
		{ "train junk -o x", EXIT_CODE_REFUSED, "no capture" },
		{ "train cut.capture -o x", EXIT_CODE_REFUSED, "truncated" },
		{ "train bad.txt --device 3 -o x", EXIT_CODE_REFUSED, "Line 2" },
		{ "train few.capture -o x", EXIT_CODE_FAILED, "too few" },
		{ "train disk.capture" QUICK "-o /nonexistent/x", EXIT_CODE_STATE, "/nonexistent" },
		{ "replay disk.capture", EXIT_CODE_USAGE, "--model" },
		{ "replay disk.capture --model absent", EXIT_CODE_NOT_FOUND, "absent" },
		{ "replay disk.capture --model junk", EXIT_CODE_REFUSED, "junk" },
		{ "replay disk.capture --model disk.capture", EXIT_CODE_REFUSED, "disk.capture" },
		{ "model", EXIT_CODE_USAGE, "show" },
		{ "model nonsense", EXIT_CODE_USAGE, "show" },
		{ "model show", EXIT_CODE_USAGE, "missing" },
		{ "model show junk", EXIT_CODE_REFUSED, "junk" },
		{ "model import tiny.json", EXIT_CODE_USAGE, "-o MODEL" },
		{ "model import --from nonsense tiny.json -o x", EXIT_CODE_USAGE, "nonsense" },
		{ "model import absent.json -o x", EXIT_CODE_NOT_FOUND, "absent" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		char line[256];
		json_t *object;
		int code = run(row[i].line);

		if (code != row[i].code || !strstr(err, row[i].word) || out[0])
			print_error("`%s` exits %d and says: %s%s", row[i].line, code, err, out);
		assert_int_equal(code, row[i].code);
		assert_non_null(strstr(err, row[i].word));
		assert_string_equal(out, "");
		assert_int_equal(strchr(err, '\n') - err, strlen(err) - 1); /* one sentence */
		assert_false(exists("x"));
		/* The same, told as JSON. */
		snprintf(line, sizeof(line), "%s --json", row[i].line);
		assert_int_equal(run(line), row[i].code);
		object = parsed();
		assert_true(json_is_false(json_object_get(object, "ok")));
		assert_int_equal(json_integer_value(json_object_get(object, "code")), row[i].code);
		json_decref(object);
	}
}

static void help(void **state)
{
	static const char *const line[] = { "train --help", "replay --help", "model --help",
		"model show --help", "model import --help" };

	(void)state;
	for (size_t i = 0; i < sizeof(line) / sizeof(line[0]); i++) {
		assert_int_equal(run(line[i]), EXIT_CODE_OK);
		assert_non_null(strstr(out, "Usage: semantosctl"));
		assert_null(strstr(out, "--socket")); /* nobody is asked */
		assert_string_equal(err, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(train_then_replay),
		cmocka_unit_test(traces_are_captures_too),
		cmocka_unit_test(model_show),
		cmocka_unit_test(model_import),
		cmocka_unit_test(recorded_import),
		cmocka_unit_test(refusals),
		cmocka_unit_test(help),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
