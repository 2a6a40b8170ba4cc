// SPDX-License-Identifier: Apache-2.0
/*
 * test_advisor_kb.c - what is stored comes back whole; a kill, a full disk, a damaged file and hostile texts do not matter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "agent/advisor/kb/kb.h"

static char dir[64], file[96];

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/advisor-kb-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(file, sizeof(file), "%s/knowledge.db", dir);
	return 0;
}

static int remove_dir(void **state)
{
	static const char *const name[] = { "", "-wal", "-shm", ".damaged" };
	char path[128];

	(void)state;
	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", file, name[i]);
		unlink(path);
	}
	return rmdir(dir);
}

static struct kb *open_kb(void)
{
	char note[KB_TEXT_MAX];
	struct kb *kb;

	if (kb_open(dir, &kb, note))
		fail_msg("%s", note);
	return kb;
}

/* Two knobs moved, one beside, three metrics. */
static void fill(struct kb_trace *trace, uint64_t proposal)
{
	memset(trace, 0, sizeof(*trace));
	trace->proposal = proposal;
	trace->goal = 3;
	trace->unix_ms = 1000000 + proposal;
	strcpy(trace->objective, "p99 of reads");
	trace->lower_is_better = true;
	trace->verdict = FACT_KEPT;
	trace->before = 10;
	trace->after = 8;
	trace->change = -0.2;
	trace->low = -0.25;
	trace->high = -0.15;
	trace->raw = 0.3;
	trace->told = 0.2;
	trace->pairs = 12;
	strcpy(trace->text, "p99 fell.");
	trace->n_knobs = 3;
	strcpy(trace->knob[0].name, "sysctl:vm.dirty_ratio");
	strcpy(trace->knob[0].was, "1");
	snprintf(trace->knob[0].value, sizeof(trace->knob[0].value), "%d",
		10 + (int)(proposal % 50));
	strcpy(trace->knob[1].name, "sysctl:vm.swappiness");
	strcpy(trace->knob[1].was, "60");
	strcpy(trace->knob[1].value, "10");
	strcpy(trace->knob[2].name, "sysctl:vm.dirty_background_ratio");
	strcpy(trace->knob[2].was, "10");
	strcpy(trace->knob[2].value, "10");
	trace->knob[0].moved = trace->knob[1].moved = true;
	trace->n_metrics = 3;
	for (int i = 0; i < 3; i++) {
		snprintf(trace->metric[i].name, sizeof(trace->metric[i].name), "metric_%d", 2 - i);
		strcpy(trace->metric[i].unit, "ratio");
		trace->metric[i].before = 0.1 * (i + 1);
		trace->metric[i].after = NAN;
	}
}

static void test_comes_back(void **state)
{
	static struct fact fact[4];
	struct harm_outcome outcome[4];
	struct kb *kb = open_kb();
	struct lexicon lexicon;
	struct kb_trace trace;
	struct kb_counts counts;
	uint64_t id;
	size_t n;

	(void)state;
	fill(&trace, 7);
	assert_int_equal(kb_add(kb, &trace, &id), 0);
	assert_int_equal(kb_add(kb, &trace, &id), 1); /* sent again */
	trace.verdict = FACT_REJECTED;
	trace.proposal = 8;
	trace.change = trace.low = trace.high = trace.raw = NAN;
	assert_int_equal(kb_add(kb, &trace, &id), 0);
	kb_close(kb);

	kb = open_kb();
	assert_int_equal(lexicon_init(&lexicon, "6.12.1"), 0);
	assert_int_equal(kb_facts(kb, "p99 of reads", true, &lexicon, fact, 4, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(fact[0].id, id); /* newest first */
	assert_int_equal(fact[0].verdict, FACT_REJECTED);
	assert_false(fact[0].measured);
	assert_true(fact[1].measured);
	assert_true(fabs(fact[1].gain + log(0.8)) < 1e-9); /* lower is better: a gain */
	assert_int_equal(fact[1].n_moves, 2);
	assert_string_equal(fact[1].move[0].to, "17");
	assert_true(fact[1].move[0].place_to > fact[1].move[0].place_from);
	assert_int_equal(fact[1].n_beside, 1);
	assert_string_equal(fact[1].beside[0].value, "10");
	assert_int_equal(fact[1].n_metrics, 3);
	assert_true(fact[1].metric[0].metric < fact[1].metric[1].metric);
	assert_int_equal(kb_facts(kb, "p99 of reads", false, &lexicon, fact, 4, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(kb_outcomes(kb, outcome, 4, &n), 0);
	assert_int_equal(n, 1);
	assert_true(outcome[0].raw == 0.3 && !outcome[0].harm);
	assert_int_equal(kb_counts(kb, &counts), 0);
	assert_int_equal(counts.traces, 2);
	assert_int_equal(counts.last_proposal, 8);
	lexicon_free(&lexicon);
	kb_close(kb);
}

static void test_edges_come_back(void **state)
{
	struct kb *kb = open_kb();
	struct lexicon lexicon;
	struct coupling *edge;
	uint32_t a, b;

	(void)state;
	assert_int_equal(lexicon_init(&lexicon, "6.12.1"), 0);
	a = (uint32_t)lexicon_knob(&lexicon, "sysctl:vm.dirty_ratio");
	b = (uint32_t)lexicon_knob(&lexicon, "sysctl:vm.dirty_background_ratio");
	edge = lexicon_coupling(&lexicon, a, b, KNOB_SYNERGIZES_WITH);
	assert_non_null(edge);
	coupling_learn(edge, 1, 5000);
	assert_int_equal(kb_edge_store(kb, &lexicon, edge), 0);
	edge->weight = COUPLING_AT_FIRST;
	edge->seen = 0;
	assert_int_equal(kb_edges(kb, &lexicon, 0), 0);
	assert_true(edge->weight > COUPLING_AT_FIRST);
	assert_int_equal(edge->seen, 1);
	assert_int_equal(edge->seen_s, 5000);
	lexicon_free(&lexicon);
	kb_close(kb);
}

static void test_oldest_goes(void **state)
{
	struct kb *kb = open_kb();
	struct kb_counts counts;
	struct kb_trace trace;
	uint64_t id;

	(void)state;
	for (uint64_t i = 1; i <= KB_TRACES_MAX + 5; i++) {
		fill(&trace, i);
		trace.n_metrics = 1;
		if (kb_add(kb, &trace, &id))
			fail_msg("%s", kb_error(kb));
	}
	assert_int_equal(kb_counts(kb, &counts), 0);
	assert_int_equal(counts.traces, KB_TRACES_MAX);
	assert_int_equal(counts.dropped, 5);
	fill(&trace, 1);
	assert_int_equal(kb_add(kb, &trace, &id), 0); /* the first is gone */
	kb_close(kb);
}

/* Every trace that is there is whole. */
static size_t whole_traces(void)
{
	static struct fact fact[KB_TRACES_MAX];
	struct kb *kb = open_kb();
	struct lexicon lexicon;
	size_t n;

	assert_int_equal(lexicon_init(&lexicon, "6.12.1"), 0);
	assert_int_equal(kb_facts(kb, "p99 of reads", true, &lexicon, fact, KB_TRACES_MAX, &n), 0);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(fact[i].n_moves, 2);
		assert_int_equal(fact[i].n_beside, 1);
		assert_int_equal(fact[i].n_metrics, 3);
	}
	lexicon_free(&lexicon);
	kb_close(kb);
	return n;
}

static void test_killed_at_any_time(void **state)
{
	size_t had = 0;

	(void)state;
	for (int round = 0; round < 25; round++) {
		size_t have;
		pid_t child = fork();

		if (child == 0) {
			struct kb *kb = open_kb();
			struct kb_trace trace;
			uint64_t id;

			for (uint64_t i = 1;; i++) {
				fill(&trace, (uint64_t)round * 100000 + i);
				if (kb_add(kb, &trace, &id))
					_exit(1);
			}
		}
		usleep(8000 + 1300 * (unsigned int)round);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		have = whole_traces();
		assert_true(have >= had);
		had = have;
	}
	printf("%zu traces stood whole after 25 kills\n", had);
	assert_true(had > 10);
}

static void test_full_disk(void **state)
{
	pid_t child;
	int status;

	(void)state;
	child = fork();
	if (child == 0) {
		struct rlimit limit = { 2000000, RLIM_INFINITY };
		struct kb *kb = open_kb();
		struct kb_trace trace;
		uint64_t id, i = 1;
		int ret = 0;

		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &limit);
		for (; !ret && i < 2000; i++) {
			fill(&trace, i);
			ret = kb_add(kb, &trace, &id);
		}
		if (ret >= 0 || !kb_error(kb)[0])
			_exit(2);
		limit.rlim_cur = RLIM_INFINITY;
		setrlimit(RLIMIT_FSIZE, &limit);
		fill(&trace, 5000); /* there is room again */
		_exit(kb_add(kb, &trace, &id) == 0 && id ? 0 : 3);
	}
	waitpid(child, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_true(whole_traces() > 10);
}

static void damage(long at, const char *bytes, size_t n)
{
	int fd = open(file, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, n, at), (ssize_t)n);
	close(fd);
}

static void test_damaged_is_moved_aside(void **state)
{
	char note[KB_TEXT_MAX], aside[128], junk[4096];
	struct kb *kb;
	struct kb_trace trace;
	struct stat st;
	uint64_t id;

	(void)state;
	snprintf(aside, sizeof(aside), "%s.damaged", file);
	memset(junk, 'x', sizeof(junk));
	for (int how = 0; how < 3; how++) {
		kb = open_kb();
		for (uint64_t i = 1; i < 60; i++) {
			fill(&trace, i);
			assert_int_equal(kb_add(kb, &trace, &id), 0);
		}
		kb_close(kb);
		if (how == 0)
			damage(0, junk, 100); /* no database any more */
		else if (how == 1)
			damage(4096, junk, sizeof(junk)); /* a page of it */
		else
			assert_int_equal(truncate(file, 9000), 0);
		assert_int_equal(kb_open(dir, &kb, note), 0);
		assert_non_null(strstr(note, "damaged"));
		assert_int_equal(stat(aside, &st), 0);
		fill(&trace, 1);
		assert_int_equal(kb_add(kb, &trace, &id), 0);
		assert_int_equal(id, 1); /* a new one */
		kb_close(kb);
		kb = open_kb();
		kb_close(kb);
		unlink(file);
	}
}

static void test_newer_is_refused(void **state)
{
	static const char version[4] = { 0, 0, 0, KB_VERSION + 1 };
	char note[KB_TEXT_MAX];
	struct kb *kb = open_kb();

	(void)state;
	kb_close(kb);
	damage(60, version, sizeof(version)); /* user_version lies there */
	assert_true(kb_open(dir, &kb, note) < 0);
	assert_null(kb);
	assert_non_null(strstr(note, "newer"));
	assert_int_equal(access(file, F_OK), 0); /* not moved */
}

static void test_no_folder(void **state)
{
	char note[KB_TEXT_MAX];
	struct kb *kb;

	(void)state;
	assert_true(kb_open("/tmp/there-is-no-such-folder", &kb, note) < 0);
	assert_null(kb);
	assert_true(strlen(note) > 20);
}

/* Texts are bound, never pasted. */
static void test_hostile_texts(void **state)
{
	static const char *const text[] = { "'); DROP TABLE trace; --", "%s%n", "\"; VACUUM; \"",
		"\xff\xfe\x01" };
	static struct fact fact[4];
	struct kb *kb = open_kb();
	struct lexicon lexicon;
	struct kb_trace trace;
	uint64_t id;
	size_t n;

	(void)state;
	assert_int_equal(lexicon_init(&lexicon, "6.12.1"), 0);
	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		fill(&trace, 100 + i);
		strcpy(trace.objective, text[i]);
		strcpy(trace.text, text[i]);
		strcpy(trace.knob[0].name, text[i]);
		strcpy(trace.knob[0].value, text[i]);
		strcpy(trace.metric[0].name, text[i]);
		assert_int_equal(kb_add(kb, &trace, &id), 0);
		assert_int_equal(kb_facts(kb, text[i], true, &lexicon, fact, 4, &n), 0);
		assert_int_equal(n, 1);
		assert_string_equal(fact[0].move[0].to, text[i]);
	}
	lexicon_free(&lexicon);
	kb_close(kb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_comes_back, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_edges_come_back, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_oldest_goes, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_killed_at_any_time, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_full_disk, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_damaged_is_moved_aside, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_newer_is_refused, make_dir, remove_dir),
		cmocka_unit_test(test_no_folder),
		cmocka_unit_test_setup_teardown(test_hostile_texts, make_dir, remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
