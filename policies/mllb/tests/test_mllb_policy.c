// SPDX-License-Identifier: Apache-2.0
/*
 * test_mllb_policy.c - the manifest of this folder is accepted, and what does not fit together is not; how a scheduler
 * ended is told in one sentence that blames the right one; decisions that nobody accounts for are seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/core/bpf_sched.h"
#include "agent/core/manifest.h"

static struct manifest manifest;
static char error[512];

/* The folder's own manifest with one line in another's place. */
static int with(const char *line, const char *other)
{
	static char text[8192], changed[8192];
	FILE *file = fopen("policies/mllb/policy.conf", "r");
	char *at;
	size_t n;

	assert_non_null(file);
	n = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[n] = 0;
	at = strstr(text, line);
	assert_non_null(at);
	snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text), text, other,
		at + strlen(line));
	error[0] = 0;
	return manifest_parse(changed, "policies/mllb", &manifest, error, sizeof(error));
}

static void manifest_is_accepted(void **state)
{
	struct learn_recipe recipe;

	(void)state;
	if (manifest_load("policies/mllb", &manifest, error, sizeof(error)))
		fail_msg("%s", error);
	assert_string_equal(manifest.name, "mllb");
	assert_true(manifest_is_sched(&manifest));
	assert_int_equal(manifest_recipe(&manifest, &recipe, error, sizeof(error)), 0);
	assert_string_equal(recipe.labeler, "answer");
	assert_int_equal(access("build/policies/mllb/mllb.bpf.o", R_OK), 0);
}

static void records_and_encoders_must_fit(void **state)
{
	(void)state;
	assert_int_equal(with("encoder = mllb", "encoder = heimdall"), -22);
	assert_non_null(strstr(error, "mllb is for 'sched' alone"));
	assert_int_equal(with("record = sched", "record = block"), -22);
	assert_non_null(strstr(error, "not for records of kind 'block'"));
	assert_int_equal(with("record = sched", "record = sched\nvolume = x.bpf.o"), -22);
	assert_non_null(strstr(error, "decide for no replica volume"));
	assert_int_equal(with("record = sched", "record = schedule"), -22);
	assert_non_null(strstr(error, "'block', 'calls' and 'sched' are"));
}

static void the_right_one_is_blamed(void **state)
{
	struct semantos_sched_end end = { .kind = SEMANTOS_SCHED_EXIT_STALL,
		.hog_cpu = 1,
		.hog_ns = 5200000000,
		.hog_pid = 77,
		.hog = "spin",
		.reason = "runnable task stall",
		.message = "kworker/1:2[9] failed to run for 5.2s" };
	char text[400];

	(void)state;
	assert_true(bpf_sched_end_text(&end, text, sizeof(text)));
	assert_string_equal(text,
		"a task did not run for too long (kworker/1:2[9] failed to run for 5.2s); CPU 1 "
		"was held for 5.2 s by spin (process 77), which the kernel puts before any task of "
		"this scheduler, so the scheduler is not to blame");
	/* for a blink it has always been held: that explains no stall */
	end.hog_ns = 900000000;
	assert_false(bpf_sched_end_text(&end, text, sizeof(text)));
	assert_string_equal(text, "the kernel took it off: runnable task stall: kworker/1:2[9] "
				  "failed to run for 5.2s");
	end.hog_ns = 5200000000;
	end.hog_cpu = -1;
	assert_false(bpf_sched_end_text(&end, text, sizeof(text)));
	/* an error of its own is its own, whoever held a CPU */
	end.hog_cpu = 1;
	end.kind = SEMANTOS_SCHED_EXIT_FAULT;
	assert_false(bpf_sched_end_text(&end, text, sizeof(text)));
	assert_non_null(strstr(text, "the kernel took it off"));
	end.kind = 67; /* SysRq */
	end.message[0] = 0;
	snprintf(end.reason, sizeof(end.reason), "disabled by sysrq-S");
	assert_false(bpf_sched_end_text(&end, text, sizeof(text)));
	assert_string_equal(text, "it was taken off from outside: disabled by sysrq-S");
}

static void what_is_missing_is_seen(void **state)
{
	struct semantos_sched_row sum = { .count = { 0 } };

	(void)state;
	sum.count[SEMANTOS_S_CANDIDATES] = 100;
	sum.count[SEMANTOS_S_NET] = 60;
	sum.count[SEMANTOS_S_NET_YES] = 20;
	sum.count[SEMANTOS_S_NET_NO] = 40;
	sum.count[SEMANTOS_S_PLAIN_CONTROL] = 25;
	sum.count[SEMANTOS_S_WAITED] = 10;
	sum.count[SEMANTOS_S_FIXED] = 5;
	sum.count[SEMANTOS_S_YES] = 31;
	sum.count[SEMANTOS_S_MOVED] = 30;
	sum.count[SEMANTOS_S_LOST] = 1;
	assert_int_equal(bpf_sched_unaccounted(&sum), 0);
	for (int i = 0; i < SEMANTOS_S_NR; i++) {
		struct semantos_sched_row one = sum;
		bool in_law = i != SEMANTOS_S_PULLS && i < SEMANTOS_S_LEFT_IDLE;

		one.count[i]++;
		assert_int_equal(bpf_sched_unaccounted(&one) != 0, in_law);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(manifest_is_accepted),
		cmocka_unit_test(records_and_encoders_must_fit),
		cmocka_unit_test(the_right_one_is_blamed),
		cmocka_unit_test(what_is_missing_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
