// SPDX-License-Identifier: Apache-2.0
/*
 * test_result_json.c - the last line of `semantos-agent --json`: names, nulls for what is not defined, hostile names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <string.h>
#include "agent/cli/result_json.h"
#include "tests/unit/fake_control.h"

/* result_json() of a view, through text and back: what a reader of the line gets. */
static json_t *result(struct agent_view *view)
{
	json_t *made = result_json(view, 12.5), *read;
	char *text = json_dumps(made, JSON_COMPACT);

	assert_non_null(text);
	read = json_loads(text, 0, NULL);
	assert_non_null(read);
	free(text);
	json_decref(made);
	return read;
}

static const char *string(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (!text)
		fail_msg("there is no string %s", key);
	return text;
}

static long long whole(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value))
		fail_msg("there is no whole number %s", key);
	return json_integer_value(value);
}

static void a_run_is_told_by_its_best_judged_device(void **state)
{
	struct agent_view view;
	json_t *json, *devices;

	(void)state;
	assert_int_equal(control_view(NULL, NULL, &view), 0);
	json = result(&view);
	assert_string_equal(string(json, "policy"), "linnos");
	assert_string_equal(string(json, "mode"), "canary:20");
	assert_string_equal(string(json, "device"), "nvme0n1");
	assert_string_equal(string(json, "model"), "linnos-nvme0n1");
	assert_int_equal(whole(json, "evaluated"), 1234567);
	assert_float_equal(
		json_real_value(json_object_get(json_object_get(json, "heldout"), "auc")), 0.71,
		1e-9);
	assert_float_equal(json_number_value(json_object_get(json, "duration_s")), 12.5, 1e-9);
	assert_string_equal(string(json, "kernel"), "6.12.0-test");
	devices = json_object_get(json, "devices");
	assert_int_equal(json_array_size(devices), FAKE_DEVICES);
	assert_string_equal(string(json_array_get(devices, 1), "phase"), "learning");
	assert_string_equal(string(json_array_get(devices, 2), "phase"), "unsupported");
	json_decref(json);
	control_view_free(&view);
}

static void what_is_not_defined_is_null(void **state)
{
	struct agent_view view;
	json_t *json, *second;

	(void)state;
	assert_int_equal(control_view(NULL, NULL, &view), 0);
	json = result(&view);
	assert_true(
		json_is_null(json_object_get(json_object_get(json, "window"), "pending_only_auc")));
	second = json_array_get(json_object_get(json, "devices"), 1);
	assert_true(json_is_null(json_object_get(second, "model")));
	assert_true(json_is_null(json_object_get(second, "signal")));
	assert_true(json_is_null(json_object_get(second, "slow_threshold_us")));
	assert_true(json_is_null(json_object_get(json_object_get(second, "latency_us"), "p50")));
	json_decref(json);
	control_view_free(&view);
}

static void a_disk_that_is_not_followed_has_no_scores(void **state)
{
	struct agent_view view;
	struct device_view *last;
	json_t *json, *third;

	(void)state;
	assert_int_equal(control_view(NULL, NULL, &view), 0);
	last = &view.policy[0].device[2];
	last->heldout_auc = last->score.auc = last->score.recall = last->latency_us_p99 = 0;
	json = result(&view);
	third = json_array_get(json_object_get(json, "devices"), 2);
	assert_true(json_is_null(json_object_get(json_object_get(third, "heldout"), "auc")));
	assert_true(json_is_null(json_object_get(json_object_get(third, "window"), "auc")));
	assert_true(json_is_null(json_object_get(json_object_get(third, "window"), "recall")));
	assert_true(json_is_null(json_object_get(json_object_get(third, "latency_us"), "p99")));
	json_decref(json);
	control_view_free(&view);
}

static void every_counter_is_there_once(void **state)
{
	struct agent_view view;
	json_t *json, *drops, *counters;

	(void)state;
	assert_int_equal(control_view(NULL, NULL, &view), 0);
	json = result(&view);
	drops = json_object_get(json, "drops");
	counters = json_object_get(json, "counters");
	assert_int_equal(json_object_size(drops) + json_object_size(counters), SEMANTOS_C_NR);
	assert_int_equal(whole(drops, "drop_ring_full"), 1000 + SEMANTOS_C_DROP_RING_FULL);
	assert_int_equal(whole(counters, "requests"), 1000 + SEMANTOS_C_REQUESTS);
	assert_null(json_object_get(counters, "drop_ring_full"));
	json_decref(json);
	control_view_free(&view);
}

static void names_of_a_hostile_device_stay_json(void **state)
{
	struct agent_view view;
	json_t *json;

	(void)state;
	assert_int_equal(control_view(NULL, NULL, &view), 0);
	strcpy(view.policy[0].device[0].name, "a\"b\\\n\xff\x1b[2J");
	strcpy(view.policy[0].device[0].note, "\xc3");
	json = result(&view);
	assert_memory_equal(string(json, "device"), "a\"b\\", 4);
	json_decref(json);
	control_view_free(&view);
}

static void a_run_without_policy_or_device_has_a_result(void **state)
{
	struct agent_view view, none = { 0 };
	json_t *json;

	(void)state;
	json = result(&none);
	assert_null(json_object_get(json, "policy"));
	assert_int_equal(whole(json_object_get(json, "overhead"), "rss_bytes"), 0);
	json_decref(json);

	assert_int_equal(control_view(NULL, NULL, &view), 0);
	view.policy[0].n_devices = 0;
	json = result(&view);
	assert_int_equal(json_array_size(json_object_get(json, "devices")), 0);
	assert_null(json_object_get(json, "evaluated"));
	json_decref(json);
	control_view_free(&view);
}

static void several_policies_are_listed(void **state)
{
	struct agent_view view;
	struct policy_view two[2];
	struct policy_view *mine;
	json_t *json;

	(void)state;
	assert_int_equal(control_view(NULL, NULL, &view), 0);
	mine = view.policy;
	two[0] = two[1] = *mine;
	strcpy(two[1].name, "other");
	two[1].n_devices = 0;
	view.policy = two;
	view.n_policies = 2;
	json = result(&view);
	assert_int_equal(json_array_size(json_object_get(json, "policies")), 2);
	assert_string_equal(string(json, "policy"), "linnos");
	assert_string_equal(
		string(json_array_get(json_object_get(json, "policies"), 1), "policy"), "other");
	json_decref(json);
	view.policy = mine;
	view.n_policies = 1;
	control_view_free(&view);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_run_is_told_by_its_best_judged_device),
		cmocka_unit_test(what_is_not_defined_is_null),
		cmocka_unit_test(a_disk_that_is_not_followed_has_no_scores),
		cmocka_unit_test(every_counter_is_there_once),
		cmocka_unit_test(names_of_a_hostile_device_stay_json),
		cmocka_unit_test(a_run_without_policy_or_device_has_a_result),
		cmocka_unit_test(several_policies_are_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
