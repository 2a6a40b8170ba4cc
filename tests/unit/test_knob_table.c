// SPDX-License-Identifier: Apache-2.0
/*
 * test_knob_table.c - the tables of knobs: what they offer is what agent/safety accepts, the ends of every range included;
 * what they do not offer is refused with its reason; and a table that is wrong is refused by name and line.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/safety/knob.h"
#include "agent/util/knob_read.h"

/* A name this pattern stands for. */
static void instance(const char *pattern, char *out)
{
	bool process = strncmp(pattern, "sched:", 6) == 0 || strncmp(pattern, "madvise:", 8) == 0;

	for (; *pattern; pattern++) {
		if (*pattern == '*')
			out += sprintf(out, "%s", process ? "1" : "x");
		else
			*out++ = *pattern;
	}
	*out = '\0';
}

/* What knob_check() answers; a sentence comes with a refusal and only then. */
static int checked(const char *name, const char *value)
{
	struct safety_error error = { "" };
	int err = knob_check(name, value, &error);

	assert_int_equal(error.text[0] != '\0', err != 0);
	return err;
}

static int checked_number(const char *name, const struct knob_def *def, int64_t number)
{
	char one[32], all[RECORD_VALUE_MAX] = "";

	snprintf(one, sizeof(one), "%" PRId64, number);
	if (def->type != KNOB_INTS)
		return checked(name, one);
	for (unsigned int i = 0; i < def->count; i++) {
		strcat(all, i ? " " : "");
		strcat(all, one);
	}
	return checked(name, all);
}

static void everything_offered_is_accepted(void **state)
{
	unsigned int offered = 0, tried = 0;

	(void)state;
	for (size_t i = 0; i < n_knob_descs; i++) {
		const struct knob_desc *desc = &knob_descs[i];
		const struct knob_def *def = &desc->def;
		int64_t step = def->step ? def->step : 1;
		char name[RECORD_NAME_MAX];

		instance(def->pattern, name);
		/* no pattern stands before another and hides it */
		if (knob_desc_find(name) != desc || knob_desc_find(def->pattern) != desc)
			fail_msg("%s is found as %s", name, knob_desc_find(name)->def.pattern);
		if (desc->read_only) {
			struct safety_error error = { "" };

			assert_int_equal(knob_check(name, "1", &error), -ENOENT);
			if (!strstr(error.text, desc->read_only))
				fail_msg("%s is refused without its reason: %s", name, error.text);
			assert_null(knob_find(name));
			continue;
		}
		offered++;
		if (strcmp(desc->lab, "no") != 0) {
			tried++;
			if (checked(name, desc->lab))
				fail_msg("%s does not take what the lab writes: %s", name,
					desc->lab);
		}
		if (def->type == KNOB_CHOICE) {
			char words[RECORD_TEXT_MAX], *rest = words, *word;

			snprintf(words, sizeof(words), "%s", def->choices);
			while ((word = strtok_r(rest, " ", &rest)))
				assert_int_equal(checked(name, word), 0);
			assert_int_equal(checked(name, "nothing"), -EINVAL);
		} else if (def->type != KNOB_CPUS && def->type != KNOB_ACTION) {
			if (checked_number(name, def, def->min) ||
				checked_number(name, def, def->max))
				fail_msg("%s does not take the ends of its range", name);
			/* of a range to the end of numbers nothing lies beyond */
			if (def->max < INT64_MAX)
				assert_int_equal(
					checked_number(name, def, def->max + step), -ERANGE);
			if (def->min > 0)
				assert_int_equal(
					checked_number(name, def, def->min - step), -ERANGE);
			else
				assert_int_not_equal(checked_number(name, def, def->min - step), 0);
			assert_int_equal(checked(name, "x"), -EINVAL);
		}
	}
	print_message("%zu described, %u may be changed, %u are tried in the lab\n", n_knob_descs,
		offered, tried);
	assert_true(n_knob_descs >= 200);
	assert_true(offered >= 200);
	assert_true(tried >= 60);
}

static void lists_are_written_one_way(void **state)
{
	static const struct {
		const char *name, *value;
		int err;
	} row[] = {
		{ "sysctl:net.ipv4.tcp_rmem", "4096 131072 6291456", 0 },
		{ "sysctl:net.ipv4.tcp_rmem", "4096 131072", -EINVAL },
		{ "sysctl:net.ipv4.tcp_rmem", "4096 131072 6291456 1", -EINVAL },
		{ "sysctl:net.ipv4.tcp_rmem", "4096  131072 6291456", -EINVAL },
		{ "sysctl:net.ipv4.tcp_rmem", "4096 131072 6291456 ", -EINVAL },
		{ "sysctl:net.ipv4.tcp_rmem", " 4096 131072 6291456", -EINVAL },
		{ "sysctl:net.ipv4.tcp_rmem", "4096\t131072\t6291456", -EINVAL },
		{ "sysctl:net.ipv4.tcp_rmem", "4096 0131072 6291456", -EINVAL },
		{ "sysctl:net.ipv4.tcp_rmem", "4096 0x131072 6291456", -EINVAL },
		{ "sysctl:net.ipv4.tcp_rmem", "4096 max 6291456", -EINVAL },
		{ "sysctl:net.ipv4.tcp_rmem", "4096 1 6291456", -ERANGE },
		{ "sysctl:kernel.printk", "0 4 1 7", 0 },
		{ "cgroup:a/cpu.max", "max 100000", 0 },
		{ "cgroup:a/cpu.max", "50000 100000", 0 },
		{ "cgroup:a/cpu.max", "max", -EINVAL },
		{ "cgroup:a/cpu.max", "maximum 100000", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		if (checked(row[i].name, row[i].value) != row[i].err)
			fail_msg("%s = '%s' is not answered by %d", row[i].name, row[i].value,
				row[i].err);
	}
}

static void pairs_are_named_both_ways(void **state)
{
	unsigned int edges = 0;

	(void)state;
	for (size_t i = 0; i < n_knob_descs; i++) {
		const struct knob_desc *desc = &knob_descs[i];
		char partner[RECORD_NAME_MAX], back[RECORD_NAME_MAX];

		for (size_t e = 0; e < desc->n_edges; e++) {
			const struct knob_edge *edge = &desc->edge[e];

			edges++;
			assert_int_equal(edge->sign, edge->link == KNOB_CONFLICTS_WITH ? -1 : 1);
			assert_non_null(knob_desc_find(edge->to));
		}
		if (desc->read_only || !desc->def.partner)
			continue;
		assert_true(knob_partner(desc->def.pattern, partner));
		if (desc->def.resets)
			continue;
		/* of two that set each other to 0 each names the other, and both are of one group */
		assert_true(knob_partner(partner, back));
		assert_string_equal(back, desc->def.pattern);
		assert_string_equal(knob_desc_find(partner)->group, desc->group);
	}
	print_message("%u edges\n", edges);
	assert_true(edges >= 50);
}

static void words_for_people(void **state)
{
	char text[200];

	(void)state;
	knob_range_text(knob_find("sysctl:vm.swappiness"), text, sizeof(text));
	assert_string_equal(text, "0 to 200");
	knob_range_text(knob_find("cgroup:a/memory.high"), text, sizeof(text));
	assert_string_equal(text, "1048576 to 1099511627776, max");
	knob_range_text(knob_find("sysfs:block/x/queue/scheduler"), text, sizeof(text));
	assert_string_equal(text, "none|mq-deadline|kyber|bfq");
	knob_range_text(knob_find("sysctl:net.ipv4.tcp_rmem"), text, sizeof(text));
	assert_string_equal(text, "3 of 4096 to 2147483647");
	knob_range_text(knob_find("cgroup:a/cpu.max"), text, sizeof(text));
	assert_string_equal(text, "2 of 1000 to 1000000000, max");
	knob_range_text(knob_find("madvise:1/cold"), text, sizeof(text));
	assert_string_equal(text, "START-END, at most 1073741824 bytes");
	knob_range_text(knob_find("sched:1/affinity"), text, sizeof(text));
	assert_string_equal(text, "CPUs such as 0-3,8");
	knob_range_text(&knob_desc_find("sysctl:vm.lowmem_reserve_ratio")->def, text, sizeof(text));
	assert_string_equal(text, "numbers");
	knob_range_text(&knob_desc_find("cgroup:a/io.max")->def, text, sizeof(text));
	assert_string_equal(text, "text");
}

#define KNOB "[knobs]\nname = sysctl:a.b\nsubsystem = s\ndoc = d\nwhy = w\nlab = no\n"

/* The sentence a table gets, or "" when it is taken. */
static const char *answer(const char *text)
{
	static char error[512];
	struct knob_list list = { 0 };
	int err = knob_list_add(&list, text, "t.conf", error, sizeof(error));

	if (!err)
		err = knob_list_check(&list, error, sizeof(error));
	assert_true(err == 0 || err == -EINVAL);
	assert_int_equal(error[0] != '\0', err != 0);
	knob_list_free(&list);
	return error;
}

static void wrong_tables_are_refused(void **state)
{
	static const struct {
		const char *text, *words;
	} row[] = {
		{ "", "" },
		{ "# nothing\n", "" },
		{ KNOB "range = 0 1\n", "" },
		{ KNOB "range = 0 1\n" KNOB "range = 0 1\n",
			"line 9: [sysctl:a.b] is described already" },
		{ KNOB, "line 2: [sysctl:a.b] has no range" },
		{ KNOB "range = 1 0\n", "range is not 'LEAST MOST'" },
		{ KNOB "range = 0  1\n", "range is not" },
		{ KNOB "range = 0 1 2\n", "range is not" },
		{ KNOB "range = 0 99999999999999999999\n", "range is not" },
		{ KNOB "range = 0 1\nrange = 0 1\n", "line 8: [sysctl:a.b] range is given twice" },
		{ KNOB "range = 0 1\ncolour = red\n", "line 8: there is no key 'colour'" },
		{ KNOB "range = 0 1\nrisk = some\n", "risk cannot be 'some'" },
		{ KNOB "range = 0 1\nscope = moon\n", "scope cannot be 'moon'" },
		{ KNOB "range = 0 1\nsized = hope\n", "sized cannot be 'hope'" },
		{ KNOB "range = 0 1\nwaits = 1\n", "waits cannot be '1'" },
		{ KNOB "range = 0 1\nstep = 0\n", "step is no number" },
		{ KNOB "range = 0 1\nstep = 2x\n", "step is no number" },
		{ KNOB "type = real\nrange = 0 1\n", "type cannot be 'real'" },
		{ KNOB "type = text\n", "a text is read only" },
		{ KNOB "type = words\n", "words go with type = words" },
		{ KNOB "type = words\nwords = a  b\n", "not words between single blanks" },
		{ KNOB "type = words\nwords = [a] b\n", "not words between single blanks" },
		{ KNOB "type = words\nwords = a b\nrange = 0 1\n", "has a range" },
		{ KNOB "range = 0 1\nwords = a b\n", "words go with type = words" },
		{ KNOB "type = ints\nrange = 0 1\n", "count goes with" },
		{ KNOB "type = ints\nrange = 0 1\ncount = 9\n", "count is no number from 2 to 8" },
		{ KNOB "range = 0 1\ncount = 2\n", "count goes with" },
		{ KNOB "range = 0 1\nor_max = yes\n", "or_max goes with" },
		{ KNOB "range = 0 1\nresets = yes\n", "resets nothing without a pair" },
		{ KNOB "range = 0 1\nundo = none\n", "undo = none goes with type = action" },
		{ KNOB "type = action\nrange = 0 1\n", "undo = none goes with type = action" },
		{ KNOB "range = 0 1\nread_only = why\n", "is read only" },
		{ KNOB "range = 0 1\ndepends_on = sysctl:c.d\n",
			"sysctl:c.d, which is not described" },
		{ KNOB "range = 0 1\nconflicts_with = sysctl:a.b=1\n", "which is not described" },
		{ KNOB "range = 0 1\npair = c\n", "sysctl:a.c, which cannot be changed" },
		{ KNOB "range = 0 1\ndepends_on = a b c d e f g\n", "more than 6 edges" },
		{ KNOB "range = 0 1\nname = sysctl:c.d\nrange = 0 1\n",
			"line 8: [sysctl:c.d] must have why" },
		{ "[knobs]\nname = sysctl:c.d\nwhy = w\nsubsystem = s\ndoc = d\nrange = 0 1\n",
			"does not say what the lab writes" },
		{ "[knobs]\nrange = 0 1\n", "line 2: a knob begins with its name" },
		{ "[knobs]\nname = vm.swappiness\n", "'vm.swappiness' is no name" },
		{ "[knobs]\nname = sysctl:\n", "is no name" },
		{ "[knobs]\nname = sysctl:/etc\n", "is no name" },
		{ "[knobs]\nname = sysfs:a/../b\n", "is no name" },
		{ "[knobs]\nname = sysfs:a//b\n", "is no name" },
		{ "[knobs]\nname = sysfs:a?\n", "is no name" },
		{ "[knobs]\nname = sysfs:**\n", "is no name" },
		{ "[defaults]\nname = sysctl:a.b\n", "a name is of a knob" },
		{ "[others]\nrange = 0 1\n", "line 2: a section is [defaults] or [knobs]" },
		{ "name = sysctl:a.b\n", "a section is" },
		{ "[knobs\n", "is not of the form" },
		{ "[knobs]\nwords\n", "line 2: it is not of the form" },
		{ KNOB "range = 0 1\nunit = \x01\n", "has a control character" },
		{ "[defaults]\nsubsystem = s\ndoc = d\nlab = no\nrange = 0 1\n[knobs]\nname = "
		  "sysctl:a.b\n"
		  "why = w\nname = sysctl:c.d\nwhy = w\n",
			"" },
		/* later defaults are instead of earlier ones, not beside them */
		{ "[defaults]\nsubsystem = s\ndoc = d\nlab = no\nrange = 0 1\n[knobs]\nname = "
		  "sysctl:a.b\n"
		  "why = w\n[defaults]\nsubsystem = s\n[knobs]\nname = sysctl:c.d\nwhy = w\n",
			"[sysctl:c.d] has no range" },
	};
	char longer[1200];

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		const char *got = answer(row[i].text);

		if (row[i].words[0] ? !strstr(got, row[i].words) : got[0] != '\0')
			fail_msg("'%s' is answered '%s', not '%s'", row[i].text, got, row[i].words);
	}
	snprintf(longer, sizeof(longer), "%srange = 0 1\nunit = %0185d\n", KNOB, 1);
	assert_non_null(strstr(answer(longer), "is too long"));
	snprintf(longer, sizeof(longer), "%srange = 0 1\nunit = %0400d\n", KNOB, 1);
	assert_non_null(strstr(answer(longer), "line 8: the line is longer"));
	snprintf(longer, sizeof(longer), "[knobs]\nname = sysctl:%0160d\n", 1);
	assert_non_null(strstr(answer(longer), "shorter than 160 characters"));
}

/* Many knobs: to the bound and not beyond, and no memory is left behind (the sanitizers look). */
static void a_table_has_a_bound(void **state)
{
	char *text = malloc(KNOB_ROWS_MAX * 100 + 200), error[512], *p = text;
	struct knob_list list = { 0 };

	(void)state;
	p += sprintf(
		p, "[defaults]\nsubsystem = s\ndoc = d\nwhy = w\nlab = no\nrange = 0 1\n[knobs]\n");
	for (int i = 0; i < KNOB_ROWS_MAX; i++)
		p += sprintf(p, "name = sysctl:a.%d\nunit = %d\n", i, i);
	assert_int_equal(knob_list_add(&list, text, "t", error, sizeof(error)), 0);
	assert_int_equal(list.n, KNOB_ROWS_MAX);
	assert_string_equal(list.desc[77].def.pattern, "sysctl:a.77");
	assert_string_equal(list.desc[77].unit, "77");
	assert_string_equal(list.desc[77].doc, "d#77");
	knob_list_free(&list);
	sprintf(p, "name = sysctl:b\nunit = 1\n");
	assert_int_equal(knob_list_add(&list, text, "t", error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "more than 1024 knobs"));
	knob_list_free(&list);
	free(text);
}

static void what_kernels_showed(void **state)
{
	struct knob_list list = { 0 };
	char error[512];

	(void)state;
	assert_int_equal(knob_list_add(&list, KNOB "range = 0 1\n", "t", error, sizeof(error)), 0);
	assert_int_equal(knob_list_seen(&list, "# x\n\nsysctl:a.b\t1 2\tok\n", "s", "6.1", error,
				 sizeof(error)),
		0);
	assert_string_equal(list.desc[0].seen[0].value, "1 2");
	assert_string_equal(list.desc[0].seen[0].written, "ok");
	assert_int_equal(
		knob_list_seen(&list, "sysctl:a.b\t\t", "s", "6.12", error, sizeof(error)), 0);
	assert_string_equal(list.desc[0].seen[1].value, "");
	assert_int_equal(
		knob_list_seen(&list, "sysctl:a.b\t1\n", "s", "7", error, sizeof(error)), -EINVAL);
	assert_string_equal(error, "s line 1: it is not of the form NAME, VALUE, WRITTEN.");
	assert_int_equal(
		knob_list_seen(&list, "sysctl:c\t1\t\n", "s", "7", error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "sysctl:c is not described"));
	assert_int_equal(knob_list_seen(&list, "sysctl:a.b\t1\t\nsysctl:a.b\t1\t\n", "s", "8",
				 error, sizeof(error)),
		-EINVAL);
	assert_non_null(strstr(error, "line 2: sysctl:a.b is told of twice"));
	assert_int_equal(
		knob_list_seen(&list, "", "s", "much too long a name", error, sizeof(error)),
		-EINVAL);
	knob_list_free(&list);
}

static void the_nearest_kernel(void **state)
{
	(void)state;
	if (n_knob_kernels == 0)
		skip();
	for (size_t k = 0; k < n_knob_kernels; k++)
		assert_int_equal(knob_kernel_nearest(knob_kernels[k]), k);
	assert_int_equal(knob_kernel_nearest("5.10.0-1-amd64"), 0);
	assert_int_equal(knob_kernel_nearest("99.1"), n_knob_kernels - 1);
	assert_int_equal(knob_kernel_nearest("6.12.117+deb12-amd64"), knob_kernel_nearest("6.12"));
	assert_int_equal(knob_kernel_nearest("6.11"), knob_kernel_nearest("6.1"));
	assert_int_equal(knob_kernel_nearest(""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_offered_is_accepted),
		cmocka_unit_test(lists_are_written_one_way),
		cmocka_unit_test(pairs_are_named_both_ways),
		cmocka_unit_test(words_for_people),
		cmocka_unit_test(wrong_tables_are_refused),
		cmocka_unit_test(a_table_has_a_bound),
		cmocka_unit_test(what_kernels_showed),
		cmocka_unit_test(the_nearest_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
