// SPDX-License-Identifier: Apache-2.0
/*
 * test_tune_check.c - what an advisor that means harm may send, and what is offered to it: everything but one clean answer to
 * the open question is refused with a sentence and leaves the machine as it was.
 */
#include "tests/unit/tune_world.h"

#include "agent/util/knob_desc.h"

static void open_question(const struct tune_goal *goal)
{
	world_goal(goal);
	for (int i = 0; i < 20 && !w.n_questions; i++)
		turn();
	assert_int_equal(w.n_questions, 1);
}

static struct tune_proposal good;
static struct control_knob knob[RECORD_KNOBS_MAX + 1];

static void make_good(void)
{
	knob[0] = (struct control_knob){ SWAPPINESS, "10" };
	knob[1] = (struct control_knob){ READ_AHEAD, "512" };
	good = (struct tune_proposal){ .question = w.question.number,
		.knob = knob,
		.n_knobs = 2,
		.rationale = "because",
		.evidence = "",
		.expected = -0.1,
		.uncertainty = 0.1 };
}

static void refused(int error, const char *words)
{
	tune_propose(w.t, &good, &w.said);
	if (w.said.error != error || !strstr(w.said.text, words))
		fail_msg("%d, %s: not %d, \"%s\"", w.said.error, w.said.text, error, words);
	make_good();
}

static void hostile_proposals_are_refused(void **state)
{
	static const char *const no_text[] = { "\x80", "\xc0\xaf", "a\xc3", "\xe2\x82",
		"\xed\xa0\x80", "\xf8\x88\x80\x80\x80", "\xf4\x90\x80\x80", "\xe0\x80\xaf",
		"\xf0\x80\x80\xaf", "\xff" };
	static const char *const text[] = { "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\xa7" };
	static char longer[TUNE_RATIONALE + 1];
	const struct tune_goal goal = goal_of(true);
	struct tune_view view;

	(void)state;
	make_good();
	refused(-ESTALE, "is not open");
	open_question(&goal);
	make_good();
	good.question++;
	refused(-ESTALE, "is not open");
	good.question = 0;
	refused(-ESTALE, "is not open");
	good.n_knobs = RECORD_KNOBS_MAX + 1;
	refused(-EINVAL, "at most 8");
	knob[1] = (struct control_knob){ SWAPPINESS, "20" };
	refused(-EINVAL, "proposed twice");
	knob[1].name = "sysctl:vm/swappiness";
	refused(-ENOENT, "not among the knobs");
	knob[0].name = "sysctl:kernel.panic";
	refused(-ENOENT, "not among the knobs");
	knob[0].name = "sysfs:block/vda/queue/../queue/read_ahead_kb";
	refused(-ENOENT, "not among the knobs");
	knob[0].name = "";
	refused(-ENOENT, "not among the knobs");
	knob[0].name = "\xff\xfe";
	refused(-ENOENT, "no text");
	memset(longer, 'x', sizeof(longer) - 1);
	knob[0].name = longer;
	refused(-EINVAL, "too long");
	knob[0].value = longer;
	refused(-EINVAL, "too long");
	knob[0].value = "9999";
	refused(-ERANGE, "It cannot be");
	knob[0].value = "10\n20";
	refused(-EINVAL, "It cannot be");
	knob[0].value = "";
	refused(-EINVAL, "It cannot be");
	knob[0].value = "60";
	refused(-EINVAL, "already");
	good.rationale = "";
	refused(-EINVAL, "reasons");
	good.rationale = longer;
	refused(-EINVAL, "longer than 2000 bytes");
	good.evidence = longer;
	refused(-EINVAL, "longer than 1000 bytes");
	for (size_t i = 0; i < sizeof(no_text) / sizeof(no_text[0]); i++) {
		good.rationale = no_text[i];
		refused(-EINVAL, "no UTF-8");
		good.evidence = no_text[i];
		refused(-EINVAL, "no UTF-8");
	}
	good.expected = NAN;
	refused(-EINVAL, "expected");
	good.expected = INFINITY;
	refused(-EINVAL, "expected");
	good.expected = -1.01;
	refused(-EINVAL, "expected");
	good.expected = 1e9;
	refused(-EINVAL, "expected");
	good.uncertainty = NAN;
	refused(-EINVAL, "between 0 and 1");
	good.uncertainty = -0.01;
	refused(-EINVAL, "between 0 and 1");
	good.uncertainty = 1.01;
	refused(-EINVAL, "between 0 and 1");
	/* nothing of all that left a trace */
	assert_int_equal(tune_view(w.t, 0, &view), 0);
	assert_int_equal(view.n, 0);
	tune_view_free(&view);
	assert_true(file_is(w.f.root, SWAPPINESS_FILE, "060"));
	/* the clean one is taken, once; control characters become blanks */
	good.rationale = "one\ntwo\x1b[31m";
	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		good.evidence = text[i];
		tune_propose(w.t, &good, &w.said);
		assert_int_equal(w.said.error, i == 0 ? 0 : -EBUSY);
	}
	make_good();
	refused(-EBUSY, "answered already");
	turn();
	refused(-ESTALE, "is not open");
	assert_int_equal(tune_view(w.t, 0, &view), 0);
	assert_string_equal(view.record[0].rationale, "one two [31m");
	tune_view_free(&view);
	/* nothing is a proposal's to approve */
	assert_true(run_until("kept", 20000) || event_of("undone"));
}

static bool is_offered(const struct tune_goal *goal, const char *name)
{
	struct tune_offer offer;
	bool found = false;

	assert_int_equal(tune_offer(w.f.root, goal, &offer), 0);
	for (uint32_t i = 0; i < offer.n; i++)
		found |= strcmp(offer.knob[i].name, name) == 0;
	free(offer.knob);
	return found;
}

static void what_is_offered(void **state)
{
	struct tune_goal goal = { .n_patterns = 0 };
	const struct knob_desc *desc = knob_desc_find("sysctl:vm.overcommit_ratio");

	(void)state;
	file_put(w.f.root, "proc/sys/vm/overcommit_ratio", "50\n");
	file_put(w.f.root, "proc/sys/kernel/core_pattern", "core\n");
	file_put(w.f.root, "sys/fs/cgroup/a.slice/cpu.weight", "100\n");
	file_put(w.f.root, "sys/block/vda/size", "131072\n");
	assert_int_equal(desc->risk, KNOB_RISK_HIGH);
	/* of its own accord only what is of low risk, and there */
	assert_true(is_offered(&goal, SWAPPINESS));
	assert_true(is_offered(&goal, READ_AHEAD));
	assert_false(is_offered(&goal, DIRTY_RATIO));
	assert_false(is_offered(&goal, "sysctl:vm.overcommit_ratio"));
	assert_false(is_offered(&goal, "sysctl:vm.vfs_cache_pressure"));
	assert_false(is_offered(&goal, "sysctl:kernel.core_pattern"));
	assert_false(is_offered(&goal, "cgroup:a.slice/cpu.weight"));
	/* a pattern chooses among those */
	goal.n_patterns = 1;
	strcpy(goal.pattern[0], "sysctl:vm.*");
	assert_true(is_offered(&goal, SWAPPINESS));
	assert_false(is_offered(&goal, READ_AHEAD));
	assert_false(is_offered(&goal, "sysctl:vm.overcommit_ratio"));
	strcpy(goal.pattern[0], "sysfs:block/*/queue/read_ahead_kb");
	assert_true(is_offered(&goal, READ_AHEAD));
	/* a name said outright is the operator's word, but for what is never written */
	strcpy(goal.pattern[0], "sysctl:vm.overcommit_ratio");
	assert_true(is_offered(&goal, "sysctl:vm.overcommit_ratio"));
	assert_false(is_offered(&goal, SWAPPINESS));
	strcpy(goal.pattern[0], "cgroup:a.slice/cpu.weight");
	assert_true(is_offered(&goal, "cgroup:a.slice/cpu.weight"));
	strcpy(goal.pattern[0], "sysctl:kernel.core_pattern");
	assert_false(is_offered(&goal, "sysctl:kernel.core_pattern"));
	strcpy(goal.pattern[0], "sysctl:../../etc/passwd");
	assert_false(is_offered(&goal, "sysctl:../../etc/passwd"));
}

static void what_moves_the_metric_is_offered(void **state)
{
	struct tune_goal goal = { .objective = { .kind = SLO_TELEMETRY,
					  .metric = "block_read_latency",
					  .label = "vda",
					  .figure = "p99" } };
	char scope[120];

	(void)state;
	file_put(w.f.root, "sys/block/vda/size", "131072\n");
	file_put(w.f.root, "sys/block/vdab/size", "131072\n");
	file_put(w.f.root, "sys/block/vdab/queue/read_ahead_kb", "128\n");
	file_put(w.f.root, "proc/sys/net/core/busy_poll", "0\n");
	tune_scope(&goal, scope, sizeof(scope));
	assert_string_equal(scope, "block, io scheduler, memory");
	assert_true(is_offered(&goal, READ_AHEAD));
	assert_true(is_offered(&goal, SWAPPINESS));
	/* of another disk, of another subsystem */
	assert_false(is_offered(&goal, "sysfs:block/vdab/queue/read_ahead_kb"));
	assert_false(is_offered(&goal, "sysctl:net.core.busy_poll"));
	/* what a command measures may have its reasons anywhere; and so has all that is asked for */
	goal.n_patterns = 1;
	strcpy(goal.pattern[0], "*");
	tune_scope(&goal, scope, sizeof(scope));
	assert_string_equal(scope, "");
	assert_true(is_offered(&goal, "sysctl:net.core.busy_poll"));
	assert_true(is_offered(&goal, "sysfs:block/vdab/queue/read_ahead_kb"));
	goal.n_patterns = 0;
	goal.objective.kind = SLO_COMMAND;
	assert_true(is_offered(&goal, "sysctl:net.core.busy_poll"));
}

static void without_a_knob_it_ends(void **state)
{
	struct tune_goal goal = goal_of(true);

	(void)state;
	goal.n_patterns = 1;
	strcpy(goal.pattern[0], "sysctl:vm.absent");
	world_goal(&goal);
	assert_true(run_until("ended", 1000));
	assert_non_null(strstr(event_of("ended")->text, "no knob"));
}

static void the_trials_bound_even_vetoed_proposals(void **state)
{
	struct tune_goal goal = goal_of(true);

	(void)state;
	goal.trials = 5;
	for (int i = 0; i < 10; i++)
		script(SWAPPINESS, "10", 0.9);
	world_goal(&goal);
	assert_true(run_until("ended", 5000));
	assert_int_equal(w.next_answer, 5);
	assert_true(said("vetoed", "uncertainty 0.90"));
	assert_true(file_is(w.f.root, SWAPPINESS_FILE, "060"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_make, world_unmake)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(hostile_proposals_are_refused),
		TEST(what_is_offered),
		TEST(what_moves_the_metric_is_offered),
		TEST(without_a_knob_it_ends),
		TEST(the_trials_bound_even_vetoed_proposals),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
