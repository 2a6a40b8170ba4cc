// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_goal.c - any text given as a goal: what is taken is whole and can be typed again, what is not has a sentence.
 */
#include "agent/cli/goal.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_why(const char *why, size_t size)
{
	size_t len = strnlen(why, size);

	if (len == 0 || len == size)
		abort();
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)why[i] < ' ')
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), again[GOAL_TEXT_MAX + 8], shown[64], why[160];
	struct goal_guard guard;
	struct goal_source copy;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	if (goal_parse_guard(text, &guard, why, sizeof(why))) {
		check_why(why, sizeof(why));
	} else {
		if (!isfinite(guard.limit) ||
			(guard.relation[0] != '<' && guard.relation[0] != '>'))
			abort();
		goal_source_text(&guard.source, again, sizeof(again));
		goal_value_text(&guard.source, guard.limit, shown, sizeof(shown));
		if (strlen(again) < GOAL_TEXT_MAX &&
			(goal_parse_source(again, &copy, why, sizeof(why)) ||
				!goal_same(&guard.source, &copy)))
			abort();
	}
	if (goal_parse_source(text, &copy, why, sizeof(why)))
		check_why(why, sizeof(why));
	free(text);
	return 0;
}
