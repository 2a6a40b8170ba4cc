/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_goal.c - goals as operators type them: what is taken, in which unit, and the sentence for each that is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "agent/cli/goal.h"

static struct goal_guard guard;
static char why[200];

static int parse(const char *text)
{
	why[0] = '\0';
	return goal_parse_guard(text, &guard, why, sizeof(why));
}

static void assert_limit(const char *text, double limit)
{
	if (parse(text))
		fail_msg("%s: %s", text, why);
	if (fabs(guard.limit - limit) > 1e-12 + 1e-9 * fabs(limit))
		fail_msg("%s: %g, not %g", text, guard.limit, limit);
}

static void assert_refused(const char *text, const char *because)
{
	assert_int_equal(parse(text), -EINVAL);
	if (!strstr(why, because))
		fail_msg("%s: \"%s\" does not say \"%s\"", text, why, because);
	assert_null(strchr(why, '\n'));
	assert_int_not_equal(why[strlen(why) - 1], '.');
}

static void a_metric_a_label_and_a_figure(void **state)
{
	(void)state;
	assert_limit("block_read_latency[nvme0n1].p99 < 2ms", 0.002);
	assert_int_equal(guard.source.kind, GOAL_TELEMETRY);
	assert_string_equal(guard.source.metric, "block_read_latency");
	assert_string_equal(guard.source.label, "nvme0n1");
	assert_string_equal(guard.source.figure, "p99");
	assert_string_equal(guard.relation, "<");
	assert_limit("  runq_latency<=40us  ", 40e-6);
	assert_string_equal(guard.source.figure, "value");
	assert_string_equal(guard.source.label, "");
	assert_string_equal(guard.relation, "<=");
	assert_limit("cgroup_memory[user.slice] >= 64MiB", 64 << 20);
	assert_string_equal(guard.source.label, "user.slice");
	assert_limit("cgroup_cpu[a<b] > 2", 2);
	assert_string_equal(guard.source.label, "a<b");
}

static void limits_are_in_the_unit_of_the_figure(void **state)
{
	(void)state;
	assert_limit("runq_latency.p95 < 0.5", 0.5);
	assert_limit("runq_latency.p95 < 5e-3s", 0.005);
	assert_limit("tcp_rtt.median < 300 ns", 300e-9);
	assert_limit("tcp_rtt.median < 2min", 120);
	assert_limit("runq_latency.per_s > 10k/s", 10000);
	assert_limit("runq_latency.anomalies < 5%", 0.05);
	assert_limit("psi_io_some < 12.5 %", 0.125);
	assert_limit("psi_io_some < .1", 0.1);
	assert_limit("disk_reads[vda] > 10M/s", 10e6);
	assert_limit("block_read[vda].per_s > 1.5GB/s", 1.5e9);
	assert_limit("block_read[vda] > 10M/s", 10e6);
	assert_limit("memory_free > 1GiB", 1 << 30);
	assert_limit("load_1m < -1", -1);
	assert_refused("runq_latency.p95 < 5%",
		"is seconds, so its limit has no unit \"%\": write e.g. 2ms");
	assert_refused("runq_latency.p95 < 5 ms/s", "has no unit \"ms/s\"");
	assert_refused("psi_io_some < 5ms", "is a share");
	assert_refused("memory_free > 1s", "write e.g. 64MiB");
	assert_refused("load_1m < 2 loads", "no unit \"loads\"");
	assert_refused("load_1m < ", "no limit");
	assert_refused("load_1m < many", "\"many\" is no limit");
	assert_refused("load_1m < 0x10", "no limit");
	assert_refused("load_1m < inf", "no limit");
	assert_refused("load_1m < nan", "no limit");
	assert_refused("load_1m < 1e999", "no limit");
	assert_refused("memory_free < 1e300TiB", "too large");
}

static void commands_and_queries_may_hold_anything(void **state)
{
	(void)state;
	assert_limit("cmd:./p99.sh < 250", 250);
	assert_int_equal(guard.source.kind, GOAL_COMMAND);
	assert_string_equal(guard.source.text, "./p99.sh");
	assert_limit("cmd: sort <in 2>&1 | tail -1 > 5k", 5000);
	assert_string_equal(guard.source.text, "sort <in 2>&1 | tail -1");
	assert_string_equal(guard.relation, ">");
	/* the last one that a number follows */
	assert_limit("cmd:awk '$1 < 3' <= 7", 7);
	assert_string_equal(guard.source.text, "awk '$1 < 3'");
	assert_limit("prom:rate(errors_total[5m]) < 5%", 0.05);
	assert_int_equal(guard.source.kind, GOAL_PROMETHEUS);
	assert_string_equal(guard.source.text, "rate(errors_total[5m])");
	assert_limit("prom:sum(x > 3) by (y) < 2ms", 0.002);
	assert_string_equal(guard.source.text, "sum(x > 3) by (y)");
	assert_refused("cmd:./p99.sh < 2ms", "as it prints it");
	assert_refused("prom:up < 3 lights", "\"lights\" is no unit");
	assert_refused("cmd: < 3", "A command is missing");
	assert_refused("prom: > 3", "A query is missing");
}

static void wrong_words_are_named(void **state)
{
	char text[2 * GOAL_TEXT_MAX];

	(void)state;
	assert_refused("", "1 to 255 bytes");
	assert_refused("runq_latency", "is no guard: it is SOURCE < LIMIT");
	assert_refused("< 3", "is no guard");
	assert_refused("runq_latncy < 3ms", "did you mean runq_latency");
	assert_refused("quite_another_thing < 3ms", "There is no metric quite_another_thing: see");
	assert_refused("block_read_latency < 3ms", "say which, e.g. block_read_latency[vda]");
	assert_refused("softirq_time < 3%", "softirq_time[NET_RX]");
	assert_refused("block_read_latency[] < 3ms", "has no name");
	assert_refused("block_read_latency[vda < 3ms", "is not closed");
	assert_refused("load_1m[vda] < 3", "leave out [vda]");
	assert_refused("load_1m.p12 < 3", "is no figure");
	assert_refused("load_1m. < 3", "A figure is missing");
	assert_refused("load_1m.per_s < 3", "has no per_s");
	assert_refused("load_1m.value now < 3", "\" now\" is not understood");
	assert_refused("[vda] < 3", "is no metric");
	assert_refused("load\n1m < 3", "There is no metric load?1m");
	memset(text, 'a', sizeof(text));
	strcpy(text + sizeof(text) - 8, " < 3ms");
	assert_refused(text, "1 to 255 bytes");
	strcpy(text + 100, " < 3ms");
	assert_refused(text, "is no metric");
	memset(text, 'a', sizeof(text));
	memcpy(text, "cmd:", 4);
	strcpy(text + 251, " < 3");
	assert_limit(text, 3);
	assert_int_equal(strlen(guard.source.text), 247);
	memset(text, 'a', 252);
	strcpy(text + 252, " < 3");
	assert_refused(text, "put a longer command into a script");
}

static void sources_alone(void **state)
{
	struct goal_source a, b;
	char text[GOAL_TEXT_MAX];

	(void)state;
	assert_int_equal(goal_parse_source("block_read_latency[vda].p99", &a, why, sizeof(why)), 0);
	goal_source_text(&a, text, sizeof(text));
	assert_string_equal(text, "block_read_latency[vda].p99");
	assert_int_equal(goal_parse_source(text, &b, why, sizeof(why)), 0);
	assert_true(goal_same(&a, &b));
	assert_int_equal(goal_better(&a), -1);
	assert_int_equal(
		goal_parse_source("block_read_latency[vda].per_s", &b, why, sizeof(why)), 0);
	assert_false(goal_same(&a, &b));
	assert_int_equal(goal_better(&b), 0);
	assert_true(goal_of_one_interval(&a) && goal_of_one_interval(&b));
	assert_int_equal(goal_parse_source("load_1m.p99", &b, why, sizeof(why)), 0);
	assert_false(goal_of_one_interval(&b));
	assert_int_equal(goal_parse_source("tcp_rtt.anomalies", &b, why, sizeof(why)), 0);
	assert_false(goal_of_one_interval(&b));
	assert_int_equal(goal_parse_source("cmd:p99", &b, why, sizeof(why)), 0);
	assert_true(goal_of_one_interval(&b));
	assert_int_equal(goal_parse_source("load_1m.anomalies", &b, why, sizeof(why)), 0);
	assert_int_equal(goal_better(&b), -1);
	assert_int_equal(goal_parse_source("cmd: ./bench.sh", &b, why, sizeof(why)), 0);
	assert_int_equal(goal_better(&b), 0);
	goal_source_text(&b, text, sizeof(text));
	assert_string_equal(text, "cmd:./bench.sh");
	assert_int_equal(goal_parse_source("prom:up", &b, why, sizeof(why)), 0);
	goal_source_text(&b, text, sizeof(text));
	assert_string_equal(text, "prom:up");
	assert_int_equal(goal_parse_source("", &b, why, sizeof(why)), -EINVAL);
	assert_string_equal(goal_kind_name(GOAL_WORKLOAD), "workload");
	b.kind = GOAL_WORKLOAD;
	goal_source_text(&b, text, sizeof(text));
	assert_string_equal(text, "up");
}

static void values_are_shown_in_their_unit(void **state)
{
	static const struct {
		const char *source;
		double value;
		const char *shown;
	} known[] = { { "tcp_rtt", 0.0004, "400.0 us" }, { "tcp_rtt", 0.25, "250.00 ms" },
		{ "tcp_rtt", 2, "2.00 s" }, { "psi_io_some", 0.125, "12.50 %" },
		{ "memory_free", 100, "100 B" }, { "memory_free", 3 << 20, "3.0 MiB" },
		{ "load_1m", 1.5, "1.5" }, { "load_1m", NAN, "-" },
		{ "cmd:x", 123456.7, "123457" } };
	struct goal_source source;
	char text[40];

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		assert_int_equal(goal_parse_source(known[i].source, &source, why, sizeof(why)), 0);
		assert_string_equal(goal_value_text(&source, known[i].value, text, sizeof(text)),
			known[i].shown);
	}
}

static void durations(void **state)
{
	uint32_t ms = 0;

	(void)state;
	assert_true(goal_duration_ms("10", 1000, 60000, &ms));
	assert_int_equal(ms, 10000);
	assert_true(goal_duration_ms("0.5s", 100, 60000, &ms));
	assert_int_equal(ms, 500);
	assert_true(goal_duration_ms("250ms", 100, 60000, &ms));
	assert_int_equal(ms, 250);
	assert_true(goal_duration_ms("1 min", 100, 60000, &ms));
	assert_int_equal(ms, 60000);
	assert_false(goal_duration_ms("99ms", 100, 60000, &ms));
	assert_false(goal_duration_ms("61s", 100, 60000, &ms));
	assert_false(goal_duration_ms("-1s", 0, 60000, &ms));
	assert_false(goal_duration_ms("1h", 0, 60000, &ms));
	assert_false(goal_duration_ms("", 0, 60000, &ms));
	assert_int_equal(ms, 60000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_metric_a_label_and_a_figure),
		cmocka_unit_test(limits_are_in_the_unit_of_the_figure),
		cmocka_unit_test(commands_and_queries_may_hold_anything),
		cmocka_unit_test(wrong_words_are_named),
		cmocka_unit_test(sources_alone),
		cmocka_unit_test(values_are_shown_in_their_unit),
		cmocka_unit_test(durations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
