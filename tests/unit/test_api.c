/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_api.c - who may call what of the gRPC interface, and what wrong requests get.
 *
 * Over a real socket, see api_harness.h. Needs root, to be other users.
 */
#include "tests/unit/api_harness.h"

struct ask {
	const char *method;
	const ProtobufCMessage *request;
};

static void do_change(struct client *client, struct answer *answer, const void *arg)
{
	const struct ask *ask = arg;
	struct client_error error = { 0 };
	Semantos__V1__Done *done = (Semantos__V1__Done *)client_call(
		client, ask->method, ask->request, &semantos__v1__done__descriptor, &error);

	answer->code = (int)error.code;
	snprintf(answer->text, sizeof(answer->text), "%s", done ? done->text : error.text);
	if (done)
		protobuf_c_message_free_unpacked(&done->base, NULL);
}

static struct answer attach_as(uid_t uid, gid_t group, const char *policy, const char *mode)
{
	Semantos__V1__AttachRequest request = SEMANTOS__V1__ATTACH_REQUEST__INIT;
	struct ask ask = { "Attach", &request.base };

	request.policy = (char *)policy;
	request.mode = (char *)mode;
	return as(uid, group, do_change, &ask);
}

static struct answer shutdown_as(uid_t uid, gid_t group)
{
	Semantos__V1__ShutdownRequest request = SEMANTOS__V1__SHUTDOWN_REQUEST__INIT;
	struct ask ask = { "Shutdown", &request.base };

	return as(uid, group, do_change, &ask);
}

static void root_sees_everything(void **state)
{
	struct answer answer = as(0, 0, do_status, NULL);
	char expected[200];

	(void)state;
	snprintf(expected, sizeof(expected),
		"0.1.0 linnos 3 linnos-nvme0n1 20 0.71 undefined %u %u", 1000 + SEMANTOS_C_REQUESTS,
		SEMANTOS_C_NR);
	assert_string_equal(answer.text, expected);
	assert_int_equal(answer.code, EXIT_CODE_OK);
}

static void errors_of_the_core_become_codes_and_keep_their_sentence(void **state)
{
	struct answer answer = as(0, 0, do_status, "nonesuch");

	(void)state;
	assert_int_equal(answer.code, EXIT_CODE_NOT_FOUND);
	assert_non_null(strstr(answer.text, "nonesuch"));
	answer = attach_as(0, 0, "kml", "canary:5");
	assert_int_equal(answer.code, EXIT_CODE_OK);
	assert_string_equal(answer.text, "kml: detached -> canary:5, because it was asked for.");
	answer = attach_as(0, 0, "linnos", "");
	assert_int_equal(answer.code, EXIT_CODE_FAILED);
	assert_string_equal(answer.text, "linnos is attached already.");
	answer = attach_as(0, 0, "broken", "");
	assert_int_equal(answer.code, EXIT_CODE_REFUSED);
	assert_non_null(strstr(answer.text, "unknown key colour"));
}

static void strangers_get_a_sentence(void **state)
{
	struct answer answer = as(NOBODY, 0, do_status, NULL);

	(void)state;
	assert_int_equal(answer.code, EXIT_CODE_PERMISSION);
	assert_non_null(strstr(answer.text, "You may not talk to the agent"));
	assert_non_null(strstr(answer.text, "semantos-admin"));
	answer = attach_as(NOBODY, 0, "kml", "");
	assert_int_equal(answer.code, EXIT_CODE_PERMISSION);
	answer = shutdown_as(NOBODY, 0);
	assert_int_equal(answer.code, EXIT_CODE_PERMISSION);
}

static void readers_look_and_change_nothing(void **state)
{
	struct answer answer = as(NOBODY, READER_GID, do_status, NULL);

	(void)state;
	assert_int_equal(answer.code, EXIT_CODE_OK);
	answer = attach_as(NOBODY, READER_GID, "kml", "");
	assert_int_equal(answer.code, EXIT_CODE_PERMISSION);
	assert_non_null(strstr(answer.text, "Attach is a change"));
	answer = shutdown_as(NOBODY, READER_GID);
	assert_int_equal(answer.code, EXIT_CODE_PERMISSION);
}

static void operators_change_and_root_ends(void **state)
{
	struct answer answer = attach_as(NOBODY, OPERATOR_GID, "kml", "");

	(void)state;
	assert_int_equal(answer.code, EXIT_CODE_OK);
	answer = shutdown_as(NOBODY, OPERATOR_GID);
	assert_int_equal(answer.code, EXIT_CODE_PERMISSION);
	assert_non_null(strstr(answer.text, "root only"));
	answer = shutdown_as(0, 0);
	assert_int_equal(answer.code, EXIT_CODE_OK);
}

static void unknown_methods_and_wrong_bytes_are_answered(void **state)
{
	Semantos__V1__Score score = SEMANTOS__V1__SCORE__INIT;
	struct ask unknown = { "Fly", &score.base }, wrong = { "GetStatus", &score.base };
	struct answer answer;

	(void)state;
	score.evaluated = 5; /* a number where the request has a string */
	answer = as(0, 0, do_change, &unknown);
	assert_int_equal(answer.code, EXIT_CODE_FAILED);
	assert_non_null(strstr(answer.text, "knows no method"));
	answer = as(0, 0, do_change, &wrong);
	assert_int_equal(answer.code, EXIT_CODE_REFUSED);
	assert_non_null(strstr(answer.text, "StatusRequest"));
}

static void models_fit_for_operators_and_readers_may_not_send_much(void **state)
{
	enum { BIG = 9 << 20 };
	Semantos__V1__UseModelRequest request = SEMANTOS__V1__USE_MODEL_REQUEST__INIT;
	struct ask ask = { "UseModel", &request.base };
	uint8_t *bytes = malloc(BIG);
	struct answer answer;
	char expected[100];

	(void)state;
	memset(bytes, 3, BIG);
	request.policy = (char *)"linnos";
	request.device = (char *)"vda";
	request.model.data = bytes;
	request.model.len = BIG;
	answer = as(0, 0, do_change, &ask);
	snprintf(expected, sizeof(expected), "linnos vda: %d bytes, sum %d.", BIG, 3 * BIG);
	assert_string_equal(answer.text, expected);
	answer = as(NOBODY, READER_GID, do_change, &ask);
	assert_int_not_equal(answer.code, EXIT_CODE_OK);
	free(bytes);
	answer = as(0, 0, do_status, NULL);
	assert_int_equal(answer.code, EXIT_CODE_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(root_sees_everything),
		cmocka_unit_test(errors_of_the_core_become_codes_and_keep_their_sentence),
		cmocka_unit_test(strangers_get_a_sentence),
		cmocka_unit_test(readers_look_and_change_nothing),
		cmocka_unit_test(operators_change_and_root_ends),
		cmocka_unit_test(unknown_methods_and_wrong_bytes_are_answered),
		cmocka_unit_test(models_fit_for_operators_and_readers_may_not_send_much),
	};
	int failed;

	if (!harness_open())
		return harness_close(77);
	failed = cmocka_run_group_tests(tests, server_start, server_end);
	return harness_close(failed);
}
