// SPDX-License-Identifier: Apache-2.0
/*
 * test_template.c - the manifest of this folder is accepted, and its object is the one it names.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/core/manifest.h"

static void manifest_is_accepted(void **state)
{
	static struct manifest manifest;
	struct learn_recipe recipe;
	char error[512] = "", path[512];

	(void)state;
	if (manifest_load("policies/template", &manifest, error, sizeof(error)))
		fail_msg("%s", error);
	assert_string_equal(manifest.name, "template");
	assert_int_equal(manifest_recipe(&manifest, &recipe, error, sizeof(error)), 0);
	snprintf(path, sizeof(path), "build/policies/template/%s", manifest.object);
	assert_int_equal(access(path, R_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(manifest_is_accepted) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
