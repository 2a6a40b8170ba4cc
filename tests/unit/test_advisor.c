// SPDX-License-Identifier: Apache-2.0
/*
 * test_advisor.c - questions and outcomes as the agent sends them: answered within bounds, remembered over a restart,
 * whatever they hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/advisor/internal.h"
#include "agent/util/log.h"

#define KNOBS 2000

static char dir[64], told[4096];
static struct advisor *advisor;

static void keep_sentence(void *ctx, enum log_level level, const char *sentence)
{
	(void)ctx;
	(void)level;
	snprintf(told, sizeof(told), "%s", sentence);
}

static void reopen(void)
{
	char note[KB_TEXT_MAX];
	enum exit_code code;

	advisor_free(advisor);
	advisor = advisor_open(dir, note, sizeof(note), &code);
	if (!advisor)
		fail_msg("%s", note);
}

static int set_up(void **state)
{
	(void)state;
	log_set_sink(keep_sentence, NULL);
	snprintf(dir, sizeof(dir), "/tmp/advisor-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	advisor = NULL;
	reopen();
	return 0;
}

static int tear_down(void **state)
{
	static const char *const name[] = { "knowledge.db", "knowledge.db-wal",
		"knowledge.db-shm" };
	char path[128];

	(void)state;
	advisor_free(advisor);
	advisor = NULL;
	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, name[i]);
		unlink(path);
	}
	return rmdir(dir);
}

/* ---- messages ---- */

struct asked {
	Semantos__V1__Question message;
	Semantos__V1__KnobState state[KNOBS], *states[KNOBS];
	Semantos__V1__TelemetryMetric metric, *metrics[1];
};

static void ask_of(struct asked *asked, uint64_t number)
{
	semantos__v1__question__init(&asked->message);
	semantos__v1__telemetry_metric__init(&asked->metric);
	asked->message.number = number;
	asked->message.goal = 1;
	asked->message.objective = (char *)"p99 of reads";
	asked->message.lower_is_better = true;
	asked->message.trials_left = 10;
	asked->message.knobs = asked->states;
	asked->metric.name = (char *)"cpu_idle";
	asked->metric.unit = (char *)"ratio";
	asked->metric.value = 0.5;
	asked->metrics[0] = &asked->metric;
	asked->message.telemetry = asked->metrics;
	asked->message.n_telemetry = 1;
}

static void add_knob(struct asked *asked, const char *name, const char *value)
{
	Semantos__V1__KnobState *state = &asked->state[asked->message.n_knobs];

	semantos__v1__knob_state__init(state);
	state->name = (char *)name;
	state->value = (char *)value;
	asked->states[asked->message.n_knobs++] = state;
}

static struct asked *usual(uint64_t number)
{
	static struct asked asked;

	ask_of(&asked, number);
	add_knob(&asked, "sysctl:vm.dirty_ratio", "1");
	add_knob(&asked, "sysctl:vm.dirty_background_ratio", "10");
	add_knob(&asked, "sysctl:vm.swappiness", "60");
	add_knob(&asked, "sysfs:block/vda/queue/nr_requests", "256");
	return &asked;
}

struct sent {
	int refuse; /* so many first */
	int answer; /* of those: 1 or -1 */
	size_t n, n_knobs;
	char name[FACT_MOVES_MAX][LEXICON_NAME_MAX], value[FACT_MOVES_MAX][AXIS_VALUE_MAX];
	char all[8192], rationale[REASON_TEXT_MAX];
	double u, expected;
	uint64_t question;
};

static int take(void *ctx, const Semantos__V1__Proposal *proposal)
{
	struct sent *sent = ctx;

	sent->n++;
	sent->question = proposal->question;
	sent->n_knobs = proposal->n_knobs;
	sent->u = proposal->uncertainty;
	sent->expected = proposal->expected_change;
	snprintf(sent->rationale, sizeof(sent->rationale), "%s", proposal->rationale);
	assert_true(strlen(proposal->rationale) > 10 && strlen(proposal->rationale) <= 2000);
	assert_true(strlen(proposal->evidence) <= 1000);
	for (size_t i = 0; i < proposal->n_knobs; i++) {
		snprintf(sent->name[i], sizeof(sent->name[i]), "%s", proposal->knobs[i]->name);
		snprintf(sent->value[i], sizeof(sent->value[i]), "%s", proposal->knobs[i]->value);
	}
	if (sent->n_knobs) {
		char one[2400] = ";";

		for (size_t i = 0; i < sent->n_knobs; i++) {
			size_t used = strlen(one);

			snprintf(one + used, sizeof(one) - used, "%.100s=%.40s;", sent->name[i],
				sent->value[i]);
		}
		assert_null(strstr(sent->all, one)); /* each but once */
		strncat(sent->all, one, sizeof(sent->all) - strlen(sent->all) - 1);
	}
	return sent->refuse-- > 0 ? sent->answer : 0;
}

static void come_of(const struct sent *sent, uint64_t proposal, const char *verdict, double change)
{
	Semantos__V1__Outcome outcome = SEMANTOS__V1__OUTCOME__INIT;
	Semantos__V1__Knob knob[FACT_MOVES_MAX], was[FACT_MOVES_MAX], *knobs[FACT_MOVES_MAX],
		*olds[FACT_MOVES_MAX];
	struct asked *asked = usual(1);

	for (size_t i = 0; i < sent->n_knobs; i++) {
		semantos__v1__knob__init(&knob[i]);
		semantos__v1__knob__init(&was[i]);
		knob[i].name = was[i].name = (char *)sent->name[i];
		knob[i].value = (char *)sent->value[i];
		for (size_t k = 0; k < asked->message.n_knobs; k++) {
			if (strcmp(asked->state[k].name, sent->name[i]) == 0)
				was[i].value = asked->state[k].value;
		}
		knobs[i] = &knob[i];
		olds[i] = &was[i];
	}
	outcome.proposal = proposal;
	outcome.goal = 1;
	outcome.objective = (char *)"p99 of reads";
	outcome.lower_is_better = true;
	outcome.n_knobs = outcome.n_was = sent->n_knobs;
	outcome.knobs = knobs;
	outcome.was = olds;
	outcome.verdict = (char *)verdict;
	outcome.unsafe = strcmp(verdict, "breach") == 0;
	outcome.change = change;
	outcome.low = change - 0.02;
	outcome.high = change + 0.02;
	outcome.uncertainty = sent->u;
	outcome.unix_ms = 1000 + proposal;
	outcome.text = (char *)"It was tried.";
	advisor_outcome(advisor, &outcome);
}

static struct kb_counts counts(void)
{
	struct kb_counts c;

	assert_int_equal(kb_counts(advisor->kb, &c), 0);
	return c;
}

/* ---- tests ---- */

static void test_wrong_value_is_proposed_with_reasons(void **state)
{
	struct sent sent = { 0 };

	(void)state;
	assert_true(advisor_question(advisor, &usual(5)->message, take, &sent));
	assert_int_equal(sent.question, 5);
	assert_string_equal(sent.name[0], "sysctl:vm.dirty_ratio");
	assert_true(sent.u > 0 && sent.u < 1);
	assert_true(sent.expected < 0); /* lower is better */
	assert_non_null(strstr(sent.rationale, "default"));
}

static void test_failures_are_remembered_over_a_restart(void **state)
{
	struct sent first = { 0 }, again = { 0 };

	(void)state;
	assert_true(advisor_question(advisor, &usual(1)->message, take, &first));
	come_of(&first, 1, "breach", 0.3);
	assert_int_equal(counts().traces, 1);
	assert_true(advisor->outcome[0].raw > 0.01); /* as it was held when it was proposed */
	reopen();
	assert_true(advisor->outcome[0].raw > 0.01 && advisor->outcome[0].harm);
	assert_int_equal(advisor->last_proposal, 1);
	assert_int_equal(advisor->n_outcomes, 1); /* what was held of it is known */
	assert_true(advisor_question(advisor, &usual(2)->message, take, &again));
	assert_false(again.n_knobs == first.n_knobs && strcmp(again.name[0], first.name[0]) == 0 &&
		     strcmp(again.value[0], first.value[0]) == 0);
	come_of(&first, 1, "breach", 0.3); /* sent again */
	assert_int_equal(counts().traces, 1);
	assert_int_equal(advisor->n_facts, 1);
}

static void test_gain_is_learned(void **state)
{
	struct sent sent = { 0 }, next = { 0 };

	(void)state;
	assert_true(advisor_question(advisor, &usual(1)->message, take, &sent));
	come_of(&sent, 1, "kept", -0.2);
	assert_int_equal(advisor->n_facts, 1);
	assert_true(advisor->fact[0].gain > 0.2);
	assert_int_equal(advisor->fact[0].n_metrics, 0);
	assert_true(advisor->fact[0].n_beside > 0); /* the other dirty limit */
	assert_true(advisor_question(advisor, &usual(2)->message, take, &next));
	assert_non_null(strstr(next.rationale, "trace 1"));
}

static void test_another_when_refused(void **state)
{
	struct sent sent = { .refuse = 3, .answer = 1 };

	(void)state;
	assert_true(advisor_question(advisor, &usual(1)->message, take, &sent));
	assert_int_equal(sent.n, 4); /* take() sees that each differs */
	assert_int_equal(advisor->n_refused, 3);
	memset(&sent, 0, sizeof(sent));
	sent.refuse = 100;
	sent.answer = 1;
	usual(2)->message.goal = 1;
	assert_false(advisor_question(advisor, &usual(2)->message, take, &sent));
	assert_int_equal(sent.n, ADVISOR_TRIES);
	assert_int_equal(advisor->n_refused, 3); /* it was the question */
	memset(&sent, 0, sizeof(sent));
	sent.refuse = 1;
	sent.answer = -1;
	assert_false(advisor_question(advisor, &usual(3)->message, take, &sent));
	assert_int_equal(sent.n, 1);
}

static void test_hostile_question(void **state)
{
	static char name[KNOBS][64], huge[100000];
	static struct asked asked;
	struct sent sent = { 0 };

	(void)state;
	memset(huge, 'x', sizeof(huge) - 1);
	ask_of(&asked, 1);
	add_knob(&asked, "sysctl:vm.dirty_ratio", "1");
	add_knob(&asked, "sysctl:vm.dirty_ratio", "1"); /* twice */
	add_knob(&asked, huge, "1");
	add_knob(&asked, "sysctl:vm.swappiness", huge);
	add_knob(&asked, "sysctl:vm.vfs_cache_pressure", "\n\x1b[2J;rm -rf");
	add_knob(&asked, "", "");
	add_knob(&asked, "sysctl:vm.page-cluster", "99999999999999999999999");
	add_knob(&asked, NULL, NULL);
	while (asked.message.n_knobs < KNOBS) {
		snprintf(name[asked.message.n_knobs], sizeof(name[0]), "sysctl:made.up.%zu",
			asked.message.n_knobs);
		add_knob(&asked, name[asked.message.n_knobs], "1");
	}
	asked.metric.value = NAN;
	assert_true(advisor_question(advisor, &asked.message, take, &sent));
	assert_string_equal(sent.name[0], "sysctl:vm.dirty_ratio");
	assert_true(advisor->unheard > 900);
	assert_int_equal(advisor->question.n_knobs, REASON_KNOBS_MAX);

	asked.message.objective = huge;
	assert_false(advisor_question(advisor, &asked.message, take, &sent));
	asked.message.objective = NULL;
	assert_false(advisor_question(advisor, &asked.message, take, &sent));
}

static void test_names_have_a_bound(void **state)
{
	static char name[1000][64];
	static struct asked asked;
	struct sent sent = { 0 };

	(void)state;
	for (uint64_t question = 0; question < 6; question++) {
		ask_of(&asked, question);
		for (size_t i = 0; i < 1000; i++) {
			snprintf(name[i], sizeof(name[i]), "sysctl:made.up.%llu.%zu",
				(unsigned long long)question, i);
			add_knob(&asked, name[i], "1");
		}
		memset(&sent, 0, sizeof(sent));
		assert_true(advisor_question(advisor, &asked.message, take, &sent));
		assert_int_equal(sent.n_knobs, 0);
	}
	assert_int_equal(advisor->lexicon.n_knobs, LEXICON_KNOBS_MAX);
	assert_true(advisor->lexicon.refused > 0);
}

static void test_hostile_outcome(void **state)
{
	Semantos__V1__Outcome outcome = SEMANTOS__V1__OUTCOME__INIT;
	Semantos__V1__Knob knob = SEMANTOS__V1__KNOB__INIT, *knobs[20];
	static char huge[100000];

	(void)state;
	memset(huge, 'x', sizeof(huge) - 1);
	for (size_t i = 0; i < 20; i++)
		knobs[i] = &knob;
	outcome.verdict = (char *)"kept";
	outcome.objective = (char *)"o";
	outcome.knobs = outcome.was = knobs;
	advisor_outcome(advisor, &outcome); /* moves nothing */
	outcome.n_knobs = 20;
	advisor_outcome(advisor, &outcome); /* too much */
	outcome.n_knobs = outcome.n_was = 1;
	outcome.verdict = (char *)"splendid";
	advisor_outcome(advisor, &outcome);
	outcome.verdict = (char *)"kept";
	knob.name = huge;
	advisor_outcome(advisor, &outcome);
	knob.name = (char *)"sysctl:vm.swappiness";
	knob.value = huge;
	advisor_outcome(advisor, &outcome);
	knob.value = (char *)"10";
	outcome.objective = huge;
	advisor_outcome(advisor, &outcome);
	outcome.objective = (char *)"o";
	outcome.n_was = 0;
	advisor_outcome(advisor, &outcome); /* from what? */
	assert_int_equal(counts().traces, 0);
	outcome.n_was = 1;
	outcome.text = huge;
	outcome.change = INFINITY;
	outcome.low = NAN;
	advisor_outcome(advisor, &outcome);
	assert_int_equal(counts().traces, 1); /* its sentence is cut, its numbers are none */
}

static void test_nothing_to_try(void **state)
{
	static struct asked asked;
	struct sent sent = { 0 };

	(void)state;
	ask_of(&asked, 1);
	assert_true(advisor_question(advisor, &asked.message, take, &sent));
	assert_int_equal(sent.n_knobs, 0);
	assert_non_null(strstr(sent.rationale, "No knob"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_wrong_value_is_proposed_with_reasons, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_failures_are_remembered_over_a_restart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_gain_is_learned, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_another_when_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hostile_question, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_names_have_a_bound, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hostile_outcome, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_to_try, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
