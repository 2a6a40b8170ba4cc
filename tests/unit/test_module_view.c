// SPDX-License-Identifier: Apache-2.0
/*
 * test_module_view.c - what semantosctl status says of semantos.ko: the holder, the lease, each volume's decisions; and
 * nothing of a module that is not there, or of a text that is not what was expected.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/cli/module_view.h"

static const char state_text[] =
	"policy name=linnos lease=alive wire=1\n"
	"volume 1 name=sm legs=2 in_use=0x3 decisions=184220 obeyed=1111 one_leg=1 no_leg=0 "
	"no_policy=2 no_lease=3 deferred=183103 bad_leg=0 bad_hedge=0 admitted=0 refused=7 "
	"bad_admit=0 "
	"completed=9\n"
	"inference path=avx2 no_fpu=0\n"
	"model 0 name=linnos-sda generation=3 layers=2\n";

static char *printed(const char *state)
{
	static char text[4096];
	FILE *out = fmemopen(text, sizeof(text), "w");

	memset(text, 0, sizeof(text));
	module_print(state, out);
	fclose(out);
	return text;
}

static void holder_and_decisions_are_named(void **unused)
{
	const char *text = printed(state_text);

	(void)unused;
	assert_non_null(strstr(text, "'linnos' decides which leg serves a read.\n"));
	assert_non_null(strstr(text, "sm: 2 legs; of 184,220 reads 1,111 went where the policy"));
	assert_non_null(strstr(text, "6 it was not asked about"));
	assert_non_null(strstr(text, "7 refused"));
	text = printed("policy name=none lease=none wire=1\n");
	assert_non_null(strstr(text, "no policy is attached to semantos.ko"));
	text = printed("policy name=linnos lease=none wire=1\n");
	assert_non_null(strstr(text, "the default applies"));
}

static void json_has_every_word(void **unused)
{
	json_t *module = module_json(state_text), *volume, *model;

	(void)unused;
	assert_string_equal(json_string_value(json_object_get(module, "policy")), "linnos");
	volume = json_array_get(json_object_get(module, "volumes"), 0);
	assert_int_equal(json_integer_value(json_object_get(volume, "obeyed")), 1111);
	assert_string_equal(json_string_value(json_object_get(volume, "name")), "sm");
	model = json_array_get(json_object_get(module, "models"), 0);
	assert_int_equal(json_integer_value(json_object_get(model, "generation")), 3);
	json_decref(module);
}

static void what_is_not_there_says_nothing(void **unused)
{
	json_t *module = module_json(NULL);

	(void)unused;
	assert_true(json_is_null(module));
	json_decref(module);
	assert_string_equal(printed(NULL), "");
	assert_string_equal(printed(""), "");
	assert_string_equal(printed("\n\n = == x=\n"), "");
	assert_null(module_state("/nonexistent/state"));
	assert_null(strchr(printed("volume 1 name=\033[2J legs=2\n"), '\033'));
	json_decref(module_json("volume\nvolume = a=b=c \xff=\xff\nmodel"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holder_and_decisions_are_named),
		cmocka_unit_test(json_has_every_word),
		cmocka_unit_test(what_is_not_there_says_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
