/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_telemetry_api.c - the service TelemetryAgent over a real socket: who may ask, what is sent, how streams end; and
 * what semantosctl makes of it. The telemetry is real, of this machine, without the kernel's half.
 */
#include "tests/unit/api_harness.h"

#include <jansson.h>
#include "agent/cli/commands.h"
#include "agent/telemetry/telemetry.h"

static struct telemetry *take_telemetry(void)
{
	static const struct telemetry_options options = { .interval_s = 1 };
	struct telemetry *telemetry = telemetry_new(&options);

	if (!telemetry || telemetry_start(telemetry))
		_exit(1);
	return telemetry;
}

struct want {
	const char *method, *metric, *label;
	uint64_t count;
	const ProtobufCMessageDescriptor *type;
};

/* "number:metrics" of each message */
static bool note(void *ctx, const ProtobufCMessage *message)
{
	const Semantos__V1__TelemetrySnapshot *snapshot =
		(const Semantos__V1__TelemetrySnapshot *)message;
	struct answer *answer = ctx;
	size_t used = strlen(answer->text);

	snprintf(answer->text + used, sizeof(answer->text) - used, "%llu:%zu ",
		(unsigned long long)snapshot->number, snapshot->n_metrics);
	return true;
}

static void do_stream(struct client *client, struct answer *answer, const void *arg)
{
	Semantos__V1__TelemetryRequest request = SEMANTOS__V1__TELEMETRY_REQUEST__INIT;
	const struct want *want = arg;
	struct client_error error = { 0 };

	request.metric = (char *)want->metric;
	request.count = want->count;
	if (client_stream(client, "TelemetryAgent/Stream", &request.base,
		    &semantos__v1__telemetry_snapshot__descriptor, 20000, NULL, note, answer,
		    &error))
		snprintf(answer->text, sizeof(answer->text), "%s", error.text);
	answer->code = (int)error.code;
}

static void do_snapshot(struct client *client, struct answer *answer, const void *arg)
{
	Semantos__V1__TelemetryRequest request = SEMANTOS__V1__TELEMETRY_REQUEST__INIT;
	const struct want *want = arg;
	struct client_error error = { 0 };
	ProtobufCMessage *message;

	request.metric = (char *)want->metric;
	message = client_call(client, "TelemetryAgent/Snapshot", &request.base,
		&semantos__v1__telemetry_snapshot__descriptor, &error);
	answer->code = (int)error.code;
	snprintf(answer->text, sizeof(answer->text), "%s", error.text);
	if (!message)
		return;
	answer->text[0] = 0;
	note(answer, message);
	protobuf_c_message_free_unpacked(message, NULL);
}

static void do_history(struct client *client, struct answer *answer, const void *arg)
{
	Semantos__V1__TelemetryHistoryRequest request =
		SEMANTOS__V1__TELEMETRY_HISTORY_REQUEST__INIT;
	const struct want *want = arg;
	struct client_error error = { 0 };
	Semantos__V1__TelemetryHistory *kept;

	request.metric = (char *)want->metric;
	request.label = (char *)want->label;
	request.rows = (uint32_t)want->count;
	kept = (Semantos__V1__TelemetryHistory *)client_call(client, "TelemetryAgent/History",
		&request.base, &semantos__v1__telemetry_history__descriptor, &error);
	answer->code = (int)error.code;
	snprintf(answer->text, sizeof(answer->text), "%s", error.text);
	if (!kept)
		return;
	snprintf(answer->text, sizeof(answer->text), "%zu rows %s", kept->n_rows,
		kept->n_rows && kept->rows[kept->n_rows - 1]->value > 0 ? "with values" : "");
	protobuf_c_message_free_unpacked(&kept->base, NULL);
}

static void readers_may_look_and_strangers_not(void **state)
{
	struct want want = { .metric = "", .label = "", .count = 1 };
	struct answer answer = as(NOBODY, 0, do_snapshot, &want);

	(void)state;
	assert_int_equal(answer.code, EXIT_CODE_PERMISSION);
	assert_int_equal(as(NOBODY, 0, do_stream, &want).code, EXIT_CODE_PERMISSION);
	assert_int_equal(as(NOBODY, 0, do_history, &want).code, EXIT_CODE_PERMISSION);
	answer = as(NOBODY, READER_GID, do_snapshot, &want);
	assert_int_equal(answer.code, EXIT_CODE_OK);
	answer = as(NOBODY, READER_GID, do_stream, &want);
	assert_int_equal(answer.code, EXIT_CODE_OK);
	assert_int_equal(as(NOBODY, READER_GID, do_status, NULL).code, EXIT_CODE_OK);
}

static void streams_bring_each_snapshot_once(void **state)
{
	struct want want = { .metric = "load_1m", .label = "", .count = 3 };
	struct answer answer = as(0, 0, do_stream, &want);
	unsigned long long number[3];
	char expected[100];

	(void)state;
	assert_int_equal(answer.code, EXIT_CODE_OK);
	assert_int_equal(
		sscanf(answer.text, "%llu:1 %llu:1 %llu:1 ", &number[0], &number[1], &number[2]),
		3);
	snprintf(expected, sizeof(expected), "%llu:1 %llu:1 %llu:1 ", number[0], number[0] + 1,
		number[0] + 2);
	assert_string_equal(answer.text, expected);
}

static void metrics_are_chosen_by_name(void **state)
{
	struct want want = { .metric = "load_*", .label = "" };
	struct answer answer = as(0, 0, do_snapshot, &want);

	(void)state;
	assert_non_null(strstr(answer.text, ":3 "));
	want.metric = "load_7m";
	answer = as(0, 0, do_snapshot, &want);
	assert_int_equal(answer.code, EXIT_CODE_NOT_FOUND);
	want.count = 1;
	answer = as(0, 0, do_stream, &want);
	assert_int_equal(answer.code, EXIT_CODE_NOT_FOUND);
	assert_non_null(strstr(answer.text, "No such metric"));
	want.metric = "memory_free";
	want.count = 2;
	answer = as(0, 0, do_history, &want);
	assert_string_equal(answer.text, "2 rows with values");
	want.label = "nowhere";
	assert_int_equal(as(0, 0, do_history, &want).code, EXIT_CODE_NOT_FOUND);
}

/* Readers fill all places but one, which is an operator's. */
static void streams_are_bounded(void **state)
{
	struct want endless = { .metric = "", .count = 1000 }, one = { .metric = "", .count = 1 };
	pid_t pid[API_MAX_STREAMS - 1];

	(void)state;
	fflush(NULL);
	for (int i = 0; i < API_MAX_STREAMS - 1; i++) {
		pid[i] = fork();
		if (pid[i] == 0) {
			struct client_error error = { 0 };
			struct answer answer = { 0 };
			struct client *client;

			alarm(30);
			become(NOBODY, READER_GID);
			client = client_open(socket_path, client_timeout_ms, &error);
			if (client)
				do_stream(client, &answer, &endless);
			_exit(0);
		}
	}
	usleep(500000);
	assert_int_equal(as(NOBODY, READER_GID, do_stream, &one).code, EXIT_CODE_FAILED);
	assert_int_equal(as(NOBODY, OPERATOR_GID, do_stream, &one).code, EXIT_CODE_OK);
	for (int i = 0; i < API_MAX_STREAMS - 1; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	for (int i = 0; as(NOBODY, READER_GID, do_stream, &one).code != EXIT_CODE_OK; i++) {
		assert_true(i < 50);
		usleep(100000);
	}
}

static char shown[65536];

static int run(char *a, char *b, char *c, char *d)
{
	char *argv[] = { (char *)"telemetry", (char *)"--socket", socket_path, a, b, c, d, NULL },
	     path[128];
	int status, argc = 3;
	FILE *file;
	pid_t pid;

	while (argv[argc])
		argc++;
	snprintf(path, sizeof(path), "%s/out", folder);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		alarm(30);
		if (!freopen(path, "w", stdout))
			_exit(99);
		dup2(1, 2);
		status = cmd_telemetry(argc, argv);
		fflush(NULL);
		_exit(status);
	}
	waitpid(pid, &status, 0);
	file = fopen(path, "r");
	assert_non_null(file);
	shown[fread(shown, 1, sizeof(shown) - 1, file)] = 0;
	fclose(file);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void the_command_shows_it(void **state)
{
	json_t *json, *metric;

	(void)state;
	assert_int_equal(run(NULL, NULL, NULL, NULL), EXIT_CODE_OK);
	assert_non_null(strstr(shown, "memory_available"));
	assert_non_null(strstr(shown, "MiB"));
	assert_non_null(strstr(shown, "ANOMALIES"));
	assert_int_equal(run((char *)"--json", (char *)"tasks_running", NULL, NULL), EXIT_CODE_OK);
	json = json_loads(shown, 0, NULL);
	assert_non_null(json);
	metric = json_array_get(json_object_get(json, "metrics"), 0);
	assert_string_equal(json_string_value(json_object_get(metric, "kind")), "level");
	assert_true(json_is_null(json_object_get(metric, "per_s")));
	assert_true(json_real_value(json_object_get(metric, "value")) >= 1);
	assert_true(
		json_is_integer(json_object_get(json_object_get(json, "losses"), "hook_missed")));
	json_decref(json);
	assert_int_equal(run((char *)"--watch", (char *)"--count", (char *)"2", (char *)"load_1m"),
		EXIT_CODE_OK);
	assert_non_null(strstr(strstr(shown, "Snapshot ") + 1, "Snapshot "));
	assert_int_equal(
		run((char *)"load_1m", (char *)"--history", (char *)"--json", NULL), EXIT_CODE_OK);
	json = json_loads(shown, 0, NULL);
	assert_true(json_array_size(json_object_get(json, "rows")) >= 2);
	json_decref(json);
	assert_int_equal(run((char *)"--history", NULL, NULL, NULL), EXIT_CODE_USAGE);
	assert_int_equal(run((char *)"--count", (char *)"0", NULL, NULL), EXIT_CODE_USAGE);
	assert_int_equal(run((char *)"no_such_metric", NULL, NULL, NULL), EXIT_CODE_NOT_FOUND);
}

/* The server goes while a stream runs, and loses no descriptor. */
static void a_server_that_stops_ends_its_streams(void **state)
{
	struct want endless = { .metric = "", .count = 1000 };
	struct ended ended;
	pid_t pid;
	int status;

	(void)state;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		struct client_error error = { 0 };
		struct answer answer = { 0 };
		struct client *client;

		alarm(30);
		close(server_in); /* its end is what stops the server */
		client = client_open(socket_path, client_timeout_ms, &error);
		if (!client)
			_exit(1);
		do_stream(client, &answer, &endless);
		_exit(answer.code);
	}
	usleep(500000);
	assert_int_equal(server_stop(&ended), 0);
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_CODE_OK);
	assert_true(ended.stop_ms < API_STOP_MS);
	assert_int_equal(ended.fds_after, ended.fds_before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_may_look_and_strangers_not),
		cmocka_unit_test(streams_bring_each_snapshot_once),
		cmocka_unit_test(metrics_are_chosen_by_name),
		cmocka_unit_test(streams_are_bounded),
		cmocka_unit_test(the_command_shows_it),
	};
	const struct CMUnitTest last[] = { cmocka_unit_test(a_server_that_stops_ends_its_streams) };
	int failed;

	if (!harness_open())
		return harness_close(77);
	harness_telemetry = take_telemetry;
	failed = cmocka_run_group_tests(tests, server_start, server_end);
	failed += cmocka_run_group_tests(last, server_start, NULL);
	return harness_close(failed);
}
