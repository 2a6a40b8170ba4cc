// SPDX-License-Identifier: Apache-2.0
/*
 * test_control_mode.c - the words an operator may use for a mode, and no others.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "agent/core/control.h"

static void words_are_understood(void **state)
{
	enum semantos_mode mode = SEMANTOS_ENFORCE;
	uint32_t percent = 7;
	char text[32];

	(void)state;
	assert_int_equal(control_parse_mode("shadow", &mode, &percent), 0);
	assert_int_equal(mode, SEMANTOS_SHADOW);
	assert_int_equal(percent, 0);
	assert_int_equal(control_parse_mode("enforce", &mode, &percent), 0);
	assert_int_equal(mode, SEMANTOS_ENFORCE);
	assert_int_equal(percent, 0);
	for (uint32_t n = 1; n <= 99; n++) {
		snprintf(text, sizeof(text), "canary:%u", n);
		assert_int_equal(control_parse_mode(text, &mode, &percent), 0);
		assert_int_equal(mode, SEMANTOS_CANARY);
		assert_int_equal(percent, n);
	}
}

static void anything_else_is_refused(void **state)
{
	static const char *const bad[] = { "", "Shadow", "shadow ", " shadow", "canary",
		"canary:", "canary:0", "canary:00", "canary:100", "canary:-1", "canary:+5",
		"canary: 5", "canary:5%", "canary:5.0", "canary:5 ", "canary:0x5",
		"canary:4294967297", "enforced", "enforce\n", "off" };
	enum semantos_mode mode;
	uint32_t percent;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (control_parse_mode(bad[i], &mode, &percent) != -EINVAL)
			fail_msg("'%s' was taken for a mode", bad[i]);
}

static void modes_have_names(void **state)
{
	(void)state;
	assert_string_equal(control_mode_name(SEMANTOS_SHADOW), "shadow");
	assert_string_equal(control_mode_name(SEMANTOS_CANARY), "canary");
	assert_string_equal(control_mode_name(SEMANTOS_ENFORCE), "enforce");
	assert_string_equal(control_mode_name((enum semantos_mode)3), "unknown");
	assert_string_equal(control_mode_name((enum semantos_mode) - 1), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_are_understood),
		cmocka_unit_test(anything_else_is_refused),
		cmocka_unit_test(modes_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
