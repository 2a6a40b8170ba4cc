// SPDX-License-Identifier: Apache-2.0
/*
 * test_calls.c - each system call counts in the feature of its name on both architectures, and rows are what calls.h says.
 * The numbers are the kernel headers' own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/calls.h"

#define HEADERS "/usr/include/x86_64-linux-gnu/asm/"

static struct call {
	char name[48];
	unsigned long number;
} of_64[600], of_32[600];

static size_t read_header(const char *path, struct call *call)
{
	FILE *in = fopen(path, "re");
	char line[256];
	size_t n = 0;

	if (!in)
		return 0;
	while (n < 600 && fgets(line, sizeof(line), in))
		n += sscanf(line, "#define __NR_%47s %lu", call[n].name, &call[n].number) == 2;
	fclose(in);
	return n;
}

static unsigned int feature(const char *name)
{
	unsigned int i = 0;

	while (i < SEMANTOS_CALLS - 1 && strcmp(calls_name(i), name) != 0)
		i++;
	return i;
}

static void same_name_same_feature(void **state)
{
	size_t n_64 = read_header(HEADERS "unistd_64.h", of_64), both = 0, named = 0;
	size_t n_32 = read_header(HEADERS "unistd_32.h", of_32);

	(void)state;
	if (!n_64 || !n_32)
		skip();
	for (size_t i = 0; i < n_64; i++) {
		unsigned int own = feature(of_64[i].name);

		/* a feature that bears a call's name is that call's */
		if (own != SEMANTOS_CALL_other) {
			assert_int_equal(calls_of_x86_64(of_64[i].number), own);
			named++;
		}
		for (size_t j = 0; j < n_32; j++) {
			if (strcmp(of_64[i].name, of_32[j].name) != 0)
				continue;
			if (calls_of_x86_64(of_64[i].number) != calls_of_i386(of_32[j].number))
				fail_msg("%s is %s and %s", of_64[i].name,
					calls_name(calls_of_x86_64(of_64[i].number)),
					calls_name(calls_of_i386(of_32[j].number)));
			both++;
		}
	}
	print_message("  %zu calls of both architectures, %zu named as a feature\n", both, named);
	assert_true(both > 300 && named > 110);
}

static void known_numbers(void **state)
{
	(void)state;
	assert_string_equal(calls_name(calls_of_i386(3)), "read");
	assert_string_equal(calls_name(calls_of_i386(5)), "open");
	assert_string_equal(calls_name(calls_of_i386(102)), "socketcall");
	assert_string_equal(calls_name(calls_of_i386(192)), "mmap");
	assert_string_equal(calls_name(calls_of_i386(195)), "stat");
	assert_string_equal(calls_name(calls_of_x86_64(0)), "read");
	assert_string_equal(calls_name(calls_of_x86_64(257)), "open");
	assert_string_equal(calls_name(calls_of_x86_64(435)), "clone");
	assert_string_equal(calls_name(calls_of_x86_64(~0UL)), "other");
	assert_string_equal(calls_name(calls_of_i386(511)), "other");
	assert_string_equal(calls_name(12345), "other");
	for (unsigned int i = 0; i < SEMANTOS_CALLS; i++)
		for (unsigned int j = 0; j < i; j++)
			assert_string_not_equal(calls_name(i), calls_name(j));
}

static double length(const float *row)
{
	double sum = 0;

	for (size_t i = 0; i < SEMANTOS_CALLS; i++)
		sum += (double)row[i] * (double)row[i];
	return sqrt(sum);
}

static void rows_of_counts(void **state)
{
	uint16_t count[SEMANTOS_CALLS] = { 0 };
	float row[SEMANTOS_CALLS];

	(void)state;
	calls_row(count, CALLS_AMOUNTS, row);
	assert_true(length(row) == 0);
	count[0] = 3;
	count[7] = 4;
	calls_row(count, CALLS_KINDS, row);
	assert_true(fabs(length(row) - 1) < 1e-6 && row[0] == row[7] && row[1] == 0);
	calls_row(count, CALLS_AMOUNTS, row);
	/* ln 4 and ln 5 at length 1, and 0.3 times 0.6 and 0.8 */
	assert_true(fabs((double)row[0] - (log(4) / hypot(log(4), log(5)) + 0.3 * 0.6)) < 1e-6);
	assert_true(fabs((double)row[7] - (log(5) / hypot(log(4), log(5)) + 0.3 * 0.8)) < 1e-6);
	for (size_t i = 0; i < SEMANTOS_CALLS; i++)
		count[i] = UINT16_MAX;
	calls_row(count, CALLS_AMOUNTS, row);
	assert_true(isfinite(length(row)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_name_same_feature),
		cmocka_unit_test(known_numbers),
		cmocka_unit_test(rows_of_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
