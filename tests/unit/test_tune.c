// SPDX-License-Identifier: Apache-2.0
/*
 * test_tune.c - the tuning loop on a made-up machine: kept on a gain, undone without one, ended by a breach, by silence, by
 * a client that goes; waits for the operator where it is to; remembers, also across restarts.
 */
#include "tests/unit/tune_world.h"

static bool swappiness_is(const char *value)
{
	return file_is(w.f.root, SWAPPINESS_FILE, value);
}

static void begin(bool automatic)
{
	const struct tune_goal goal = goal_of(automatic);

	world_goal(&goal);
}

static void a_gain_is_kept(void **state)
{
	const struct tune_event *kept;
	struct tune_view view;

	(void)state;
	script(SWAPPINESS, "10", 0.1);
	begin(true);
	assert_true(run_until("kept", 20000));
	kept = event_of("kept");
	assert_true(kept->before > 90 && kept->after < 90 && kept->high < 0);
	assert_non_null(strstr(kept->text, "the command `latency` fell by"));
	assert_true(kept->change > 0);
	assert_true(swappiness_is("10"));
	assert_true(said("stage", "canary: 20 %"));
	assert_true(said("stage", "ramp: 33 %"));
	assert_true(said("stage", "full: 50 %"));
	assert_true(said("stage", "whole time"));
	assert_int_equal(tune_view(w.t, 0, &view), 0);
	assert_int_equal(view.n, 1);
	assert_int_equal(view.record[0].state, TUNE_KEPT);
	assert_string_equal(view.record[0].was[0].value, "060");
	assert_int_equal(view.outcomes, 1);
	assert_true(view.advisor);
	assert_non_null(strstr(view.goal, "a test asks for it"));
	tune_view_free(&view);
	/* the advisor was told, and may go on from what is kept */
	assert_true(run_until("idle", 200) || w.n_questions == 2);
	assert_int_equal(w.n_outcomes, 1);
	assert_int_equal(w.outcome[0].verdict, TUNE_V_KEPT);
	assert_false(w.outcome[0].unsafe);
	assert_int_equal(w.question.n_knobs, 3);
	assert_int_equal(w.question.trials_left, 3);
	assert_true(fabs(w.question.objective_now - 80) < 30);
}

/* The lower the better, without an end. */
static double by_swappiness_downhill(void)
{
	return (50 + knob_now(SWAPPINESS_FILE)) * (1 + noise(0.03));
}

static void it_goes_on_from_what_it_kept(void **state)
{
	struct control_reply reply;
	struct safety_error error;
	struct tune_view view;

	(void)state;
	w.metric = by_swappiness_downhill;
	script(SWAPPINESS, "40", 0.1);
	script(SWAPPINESS, "20", 0.1);
	script(SWAPPINESS, "30", 0.1);
	begin(true);
	assert_true(run_until("kept", 20000));
	assert_true(run_until("kept", 20000));
	assert_true(swappiness_is("20"));
	assert_true(run_until("undone", 20000));
	assert_true(swappiness_is("20"));
	assert_int_equal(tune_view(w.t, 0, &view), 0);
	assert_string_equal(view.record[1].was[0].value, "40");
	/* from the top down */
	assert_int_equal(safety_rollback(w.s, view.record[2].change, "x", NULL, &error), -EBUSY);
	assert_non_null(strstr(error.text, "roll that back first"));
	tune_view_free(&view);
	tune_reset(w.t, false, &reply);
	assert_int_equal(reply.error, 0);
	assert_true(swappiness_is("060"));
}

static double another_load(void)
{
	return 3 * by_swappiness();
}

/* That nothing came of it while the objective was a third of what it is says nothing of now. */
static void what_brought_nothing_under_another_load_is_tried_again(void **state)
{
	(void)state;
	script(READ_AHEAD, "512", 0.1);
	begin(true);
	assert_true(run_until("undone", 20000));
	run_until("proposed", 300);
	assert_int_equal(w.outcome[0].verdict, TUNE_V_NO_EFFECT);
	propose(w.question.number, READ_AHEAD, "512", 0.1);
	assert_int_equal(w.said.error, -EPERM);
	w.metric = another_load;
	run_until("never", 100);
	propose(w.question.number, READ_AHEAD, "512", 0.1);
	assert_int_equal(w.said.error, 0);
}

/* Under another load what u was worth is not known: the limit is the ceiling again, as at first; not for a report that is off. */
static void tau_begins_anew_under_another_load(void **state)
{
	struct tune_goal goal = goal_of(true);

	(void)state;
	script(READ_AHEAD, "512", 0.1);
	goal.trials = 8;
	world_goal(&goal);
	assert_true(run_until("undone", 20000));
	run_until("proposed", 300);
	for (int i = 0; i < 20; i++)
		threshold_add(&w.t->threshold, 0.05, true);
	propose(w.question.number, READ_AHEAD, "256", 0.1);
	assert_true(run_until("vetoed", 1000));
	run_until("never", 500);
	w.metric = another_load;
	run_until("never", STEP_MS);
	w.metric = by_swappiness;
	propose(w.question.number, READ_AHEAD, "1024", 0.1);
	assert_true(run_until("vetoed", 1000));
	run_until("never", 500);
	assert_int_equal(w.t->threshold.count, 21);
	w.metric = another_load;
	run_until("never", 500);
	propose(w.question.number, READ_AHEAD, "2048", 0.1);
	assert_true(run_until("vetoed", 1000));
	run_until("never", 500);
	assert_int_equal(w.t->threshold.count, 0);
	propose(w.question.number, READ_AHEAD, "4096", 0.1);
	assert_true(run_until("admitted", 1000));
}

static void no_effect_is_undone_and_not_tried_again(void **state)
{
	(void)state;
	script(READ_AHEAD, "512", 0.1);
	script(READ_AHEAD, "512", 0.1);
	begin(true);
	assert_true(run_until("undone", 20000));
	assert_non_null(strstr(event_of("undone")->text, "no effect"));
	assert_true(file_is(w.f.root, READ_AHEAD_FILE, "128"));
	run_until("proposed", 300);
	assert_int_equal(w.outcome[0].verdict, TUNE_V_NO_EFFECT);
	assert_int_equal(w.said.error, -EPERM);
	assert_non_null(strstr(w.said.text, "tried before"));
	assert_int_equal(w.n_questions, 2);
	/* the same number in other words is the same */
	propose(w.question.number, READ_AHEAD, "0x200", 0.1);
	assert_int_equal(w.said.error, -EPERM);
	/* another value may be tried */
	propose(w.question.number, READ_AHEAD, "256", 0.1);
	assert_int_equal(w.said.error, 0);
}

static void harm_is_undone_and_remembered_as_unsafe(void **state)
{
	uint64_t since;

	(void)state;
	script(SWAPPINESS, "90", 0.1);
	script(SWAPPINESS, "90", 0.1);
	begin(true);
	since = w.now_ms;
	assert_true(run_until("undone", 20000));
	/* in the canary already */
	assert_false(said("stage", "ramp"));
	assert_true(w.now_ms - since < 2000);
	assert_true(swappiness_is("060"));
	run_until("proposed", 300);
	assert_int_equal(w.outcome[0].verdict, TUNE_V_WORSE);
	assert_true(w.outcome[0].unsafe);
	assert_int_equal(w.said.error, -EPERM);
}

static uint64_t broken_ms, undone_ms;

/* The new value breaks something else, a little after it is set. */
static void break_guard(void)
{
	if (knob_now(SWAPPINESS_FILE) == 10 && !broken_ms) {
		w.guard = 9;
		broken_ms = w.now_ms;
	} else if (broken_ms && !undone_ms && knob_now(SWAPPINESS_FILE) == 60) {
		undone_ms = w.now_ms;
		w.guard = 1;
	}
}

static void a_breach_in_canary_is_undone_at_once_and_remembered(void **state)
{
	(void)state;
	broken_ms = undone_ms = 0;
	script(SWAPPINESS, "10", 0.1);
	script(SWAPPINESS, "10", 0.1);
	w.each = break_guard;
	begin(true);
	assert_true(run_until("undone", 20000));
	turn();
	assert_true(undone_ms - broken_ms <= 2 * STEP_MS);
	assert_non_null(strstr(
		event_of("breach")->text, "the command `errors` is 9, and < 5 was declared"));
	assert_false(said("stage", "ramp"));
	assert_true(swappiness_is("060"));
	run_until("proposed", 300);
	assert_int_equal(w.outcome[0].verdict, TUNE_V_BREACH);
	assert_true(w.outcome[0].unsafe);
	assert_int_equal(w.said.error, -EPERM);
	assert_non_null(strstr(w.said.text, "\"breach\""));
}

static void silence_when_it_stands(void)
{
	w.silent_guard |= knob_now(SWAPPINESS_FILE) == 10;
}

static void a_silent_guard_is_a_breach(void **state)
{
	(void)state;
	script(SWAPPINESS, "10", 0.1);
	w.each = silence_when_it_stands;
	begin(true);
	assert_true(run_until("undone", 20000));
	assert_non_null(strstr(event_of("breach")->text, "has been silent for 0.1"));
	assert_true(swappiness_is("060"));
	/* and nothing is tried as long as it is */
	script(READ_AHEAD, "512", 0.1);
	assert_false(run_until("proposed", 2000));
	assert_true(said("idle", "silent"));
	w.each = NULL;
	w.silent_guard = false;
	assert_true(run_until("proposed", 2000));
}

static void silence_at_the_end(void)
{
	w.silent_guard |= said("stage", "stands for the whole time");
}

/* The last look is shorter than it takes for silence to be noticed: it is waited for. */
static void what_a_guard_could_not_break_is_not_kept(void **state)
{
	(void)state;
	script(SWAPPINESS, "10", 0.1);
	w.each = silence_at_the_end;
	begin(true);
	assert_true(run_until("undone", 20000));
	assert_true(said("stage", "stands for the whole time"));
	assert_non_null(strstr(event_of("breach")->text, "has been silent for 0.1"));
	assert_true(swappiness_is("060"));
}

static void silence_of_objective(void)
{
	w.silent_objective |= knob_now(SWAPPINESS_FILE) == 10;
}

static void a_silent_objective_is_a_breach(void **state)
{
	(void)state;
	script(SWAPPINESS, "10", 0.1);
	w.each = silence_of_objective;
	begin(true);
	assert_true(run_until("undone", 20000));
	assert_non_null(strstr(event_of("undone")->text, "the command `latency` fell silent"));
	assert_true(swappiness_is("060"));
	turn();
	assert_int_equal(w.outcome[0].verdict, TUNE_V_BREACH);
	assert_true(w.outcome[0].unsafe);
}

static void a_client_that_goes_has_it_undone(void **state)
{
	struct control_reply reply;
	const struct tune_goal again = goal_of(true);

	(void)state;
	script(SWAPPINESS, "10", 0.1);
	begin(true);
	run_until_swappiness(10, 20000);
	tune_leave(w.t, w.goal);
	/* the next one waits until this one's is undone */
	assert_int_equal(tune_begin(w.t, &again, &reply), 0);
	assert_int_equal(reply.error, -EBUSY);
	turn();
	assert_true(swappiness_is("060"));
	assert_int_equal(w.outcome[0].verdict, TUNE_V_STOPPED);
	assert_false(w.outcome[0].unsafe);
	/* it was not its fault, so it may be tried again */
	world_goal(&again);
	w.next_answer = 0;
	assert_true(run_until("kept", 20000));
}

/* A disk with fewer requests than most have: the table's default is not for it, but half of that may be. */
static void of_a_value_that_is_not_taken_another_is_tried(void **state)
{
	(void)state;
	w.not_taken = "90";
	script(SWAPPINESS, "90", 0.1);
	script(SWAPPINESS, "90", 0.1);
	begin(true);
	assert_true(run_until("undone", 1000));
	assert_non_null(strstr(event_of("undone")->text, "the kernel refused 90"));
	assert_int_equal(w.outcome[0].verdict, TUNE_V_STOPPED);
	assert_false(run_until("proposed", 500));
	assert_int_equal(w.said.error, -EINVAL);
	assert_non_null(strstr(w.said.text, "refused 90 for " SWAPPINESS " before"));
	assert_int_equal(w.question.n_knobs, 3);
	propose(w.question.number, SWAPPINESS, "10", 0.1);
	assert_true(run_until("kept", 60000));
	assert_int_equal(knob_now(SWAPPINESS_FILE), 10);
}

/* A disk that takes 127 KiB at once: its limit stands beside the setting, and no trial is spent on more. */
static void what_the_device_does_not_take_costs_no_trial(void **state)
{
	struct tune_goal goal = goal_of(true);

	(void)state;
	file_put(w.f.root, "sys/block/vda/queue/max_sectors_kb", "4\n");
	file_put(w.f.root, "sys/block/vda/queue/max_hw_sectors_kb", "127\n");
	strcpy(goal.pattern[goal.n_patterns++], "sysfs:block/vda/queue/max_sectors_kb");
	script("sysfs:block/vda/queue/max_sectors_kb", "1280", 0.1);
	world_goal(&goal);
	assert_false(run_until("proposed", 500));
	assert_int_equal(w.said.error, -ERANGE);
	assert_non_null(strstr(w.said.text, "takes at most 127 here"));
	propose(w.question.number, "sysfs:block/vda/queue/max_sectors_kb", "124", 0.1);
	assert_int_equal(w.said.error, 0);
	assert_true(run_until("admitted", 500));
}

static void advise_waits_for_the_word(void **state)
{
	struct control_reply reply;
	uint64_t id;

	(void)state;
	script(SWAPPINESS, "10", 0.1);
	begin(false);
	assert_true(run_until("waiting", 20000));
	id = event_of("waiting")->proposal;
	assert_false(run_until("stage", 5000));
	assert_true(swappiness_is("060"));
	tune_approve(w.t, id + 1, &reply);
	assert_int_equal(reply.error, -ENOENT);
	tune_approve(w.t, id, &reply);
	assert_int_equal(reply.error, 0);
	tune_approve(w.t, id, &reply);
	assert_int_equal(reply.error, -EALREADY);
	assert_true(run_until("kept", 20000));
	assert_true(swappiness_is("10"));
	tune_reject(w.t, id, "too late", &reply);
	assert_int_equal(reply.error, -EALREADY);
}

static void a_rejected_one_is_not_made_again(void **state)
{
	struct control_reply reply;
	uint64_t id;

	(void)state;
	script(SWAPPINESS, "10", 0.1);
	script(SWAPPINESS, "10", 0.1);
	begin(false);
	assert_true(run_until("waiting", 20000));
	id = event_of("waiting")->proposal;
	tune_reject(w.t, id, "", &reply);
	assert_int_equal(reply.error, -EINVAL);
	tune_reject(w.t, id, "not on this machine", &reply);
	assert_int_equal(reply.error, 0);
	assert_true(run_until("undone", 1000));
	assert_non_null(strstr(event_of("undone")->text, "not on this machine"));
	run_until("proposed", 500);
	assert_int_equal(w.said.error, -EPERM);
	assert_int_equal(w.outcome[0].verdict, TUNE_V_REJECTED);
	assert_true(swappiness_is("060"));
}

static void a_proposal_that_fits_no_more_is_stale(void **state)
{
	struct control_reply reply;

	(void)state;
	script(SWAPPINESS, "10", 0.1);
	begin(false);
	assert_true(run_until("waiting", 20000));
	file_put(w.f.root, SWAPPINESS_FILE, "77\n");
	tune_approve(w.t, event_of("waiting")->proposal, &reply);
	assert_true(run_until("undone", 3000));
	assert_non_null(strstr(event_of("undone")->text, "stale"));
	assert_true(swappiness_is("77"));
	/* without a word too */
	script(SWAPPINESS, "10", 0.1);
	assert_true(run_until("waiting", 3000));
	file_put(w.f.root, SWAPPINESS_FILE, "66\n");
	assert_true(run_until("undone", 3000));
	/* and after an hour */
	script(SWAPPINESS, "10", 0.1);
	assert_true(run_until("waiting", 3000));
	w.f.boot_ns += TUNE_WAIT_MS * MS;
	assert_true(run_until("undone", 3000));
	assert_non_null(strstr(event_of("undone")->text, "within an hour"));
	assert_true(swappiness_is("66"));
}

static void one_too_uncertain_is_vetoed(void **state)
{
	(void)state;
	script(SWAPPINESS, "10", TUNE_CEILING);
	script(SWAPPINESS, "10", TUNE_CEILING - 0.01);
	begin(true);
	assert_true(run_until("vetoed", 2000));
	assert_true(swappiness_is("060"));
	/* a veto is no experience: the same may come again, better founded */
	assert_true(run_until("kept", 20000));
	assert_int_equal(w.outcome[0].verdict, TUNE_V_VETOED);
}

static void unsafe_outcomes_lower_the_limit(void **state)
{
	struct tune_view view;

	(void)state;
	script(SWAPPINESS, "90", 0.2);
	script(READ_AHEAD, "512", 0.2);
	begin(true);
	assert_true(run_until("vetoed", 20000));
	assert_int_equal(tune_view(w.t, 0, &view), 0);
	assert_true(view.tau <= 0.2);
	tune_view_free(&view);
	assert_true(file_is(w.f.root, READ_AHEAD_FILE, "128"));
}

static void a_rollback_by_the_operator_is_remembered(void **state)
{
	struct safety_error error;
	uint64_t change;

	(void)state;
	script(SWAPPINESS, "10", 0.1);
	begin(true);
	assert_true(run_until("kept", 20000));
	change = event_of("kept")->change;
	assert_int_equal(safety_rollback(w.s, change, "the operator asked", NULL, &error), 0);
	tune_rolled_back(w.t, change);
	script(SWAPPINESS, "10", 0.1);
	for (int i = 0; i < 100; i++)
		turn();
	/* the outcome comes again, as it is now */
	assert_int_equal(w.n_outcomes, 2);
	assert_int_equal(w.outcome[1].verdict, TUNE_V_REJECTED);
	assert_true(w.outcome[1].unsafe);
	propose(w.question.number, SWAPPINESS, "10", 0.05);
	assert_int_equal(w.said.error, -EPERM);
}

static void a_rollback_while_it_is_tried_ends_it(void **state)
{
	struct safety_error error;
	struct tune_view view;

	(void)state;
	script(SWAPPINESS, "10", 0.1);
	begin(true);
	run_until_swappiness(10, 20000);
	assert_int_equal(tune_view(w.t, 0, &view), 0);
	assert_int_equal(
		safety_rollback(w.s, view.record[0].change, "the operator asked", NULL, &error), 0);
	tune_rolled_back(w.t, view.record[0].change);
	tune_view_free(&view);
	assert_true(run_until("undone", 1000));
	assert_true(swappiness_is("060"));
	turn();
	assert_int_equal(w.outcome[0].verdict, TUNE_V_REJECTED);
	assert_true(w.outcome[0].unsafe);
}

static void reset_undoes_what_was_kept(void **state)
{
	struct control_reply reply;
	struct tune_view view;

	(void)state;
	script(SWAPPINESS, "10", 0.1);
	script(READ_AHEAD, "512", 0.1);
	begin(true);
	assert_true(run_until("kept", 20000));
	assert_true(run_until("stage", 2000));
	tune_reset(w.t, true, &reply);
	assert_int_equal(reply.error, 0);
	assert_non_null(strstr(reply.text, "1 changes"));
	assert_true(run_until("ended", 1000));
	assert_non_null(strstr(event_of("ended")->text, "reset"));
	assert_true(swappiness_is("060"));
	assert_true(file_is(w.f.root, READ_AHEAD_FILE, "128"));
	assert_int_equal(tune_view(w.t, 0, &view), 0);
	assert_int_equal(view.record[1].state, TUNE_UNDONE);
	tune_view_free(&view);
}

static void the_memory_outlives_the_agent(void **state)
{
	struct safety_error error;
	struct tune_view view;

	(void)state;
	script(SWAPPINESS, "10", 0.1);
	script(READ_AHEAD, "512", 0.1);
	begin(true);
	assert_true(run_until("undone", 40000));
	/* what was kept ends with the agent, in order */
	tuner_free(w.t);
	assert_int_equal(safety_close(w.s, SAFETY_STOP), 0);
	assert_int_equal(safety_open(&w.s, &w.f.options, NULL, &error), 0);
	assert_true(swappiness_is("060"));
	w.n_events = w.n_outcomes = w.n_questions = 0;
	world_tuner();
	assert_int_equal(tune_view(w.t, 0, &view), 0);
	assert_int_equal(view.n, 2);
	assert_int_equal(view.outcomes, 2);
	assert_int_equal(view.record[0].verdict, TUNE_V_NO_EFFECT);
	assert_int_equal(view.record[1].verdict, TUNE_V_KEPT);
	assert_int_equal(view.record[1].state, TUNE_UNDONE);
	assert_string_equal(view.record[1].knob[0].value, "10");
	assert_true(view.record[1].before > 90);
	tune_view_free(&view);
	script(READ_AHEAD, "512", 0.1);
	script(SWAPPINESS, "10", 0.1);
	begin(true);
	run_until("proposed", 500);
	/* an advisor that knows nothing is told all again */
	assert_int_equal(w.n_outcomes, 2);
	assert_int_equal(w.said.error, -EPERM);
	/* what was a gain then may be tried again, under a number of its own */
	propose(w.question.number, SWAPPINESS, "10", 0.1);
	assert_int_equal(w.said.error, 0);
	assert_true(run_until("kept", 20000));
	assert_int_equal(event_of("kept")->proposal, 3);
}

static void a_damaged_memory_is_put_aside(void **state)
{
	static const char *const texts[] = { "", "{", "[]", "{\"version\":1}",
		"{\"version\":1,\"last_record\":3,\"last_goal\":1,\"records\":[{\"id\":9}],"
		"\"memory\":[]}",
		"{\"version\":1,\"last_record\":3,\"last_goal\":1,\"records\":[],\"memory\":[[1,2]]"
		"}",
		"{\"version\":2,\"last_record\":3,\"last_goal\":1,\"records\":[],\"memory\":[]}" };
	struct tune_view view;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		tuner_free(w.t);
		file_put(w.f.scratch, "tuner.json", texts[i]);
		world_tuner();
		assert_int_equal(tune_view(w.t, 0, &view), 0);
		assert_int_equal(view.n, 0);
		tune_view_free(&view);
		assert_int_equal(access(w.file, F_OK), -1);
	}
	script(SWAPPINESS, "10", 0.1);
	begin(true);
	assert_true(run_until("kept", 20000));
	assert_int_equal(access(w.file, F_OK), 0);
}

static void trials_are_used_up(void **state)
{
	struct tune_goal goal = goal_of(true);

	(void)state;
	goal.trials = 1;
	script(READ_AHEAD, "512", 0.1);
	world_goal(&goal);
	assert_true(run_until("ended", 20000));
	assert_non_null(strstr(event_of("ended")->text, "trials are used up"));
	assert_int_equal(tune_next(w.t, w.goal, &w.event[0], 0), -ESHUTDOWN);
	tune_leave(w.t, w.goal);
	turn();
	world_goal(&goal);
}

static void nothing_to_propose_ends_it(void **state)
{
	(void)state;
	script(NULL, NULL, 0);
	begin(true);
	assert_true(run_until("ended", 20000));
	assert_true(said("idle", "the script says so"));
}

static void without_an_advisor_it_says_so(void **state)
{
	struct control_reply reply;

	(void)state;
	assert_int_equal(tune_watch(w.t, 0, &reply), 0);
	assert_int_equal(reply.error, -EBUSY);
	tune_unwatch(w.t, w.watch);
	w.watch = 0;
	begin(true);
	assert_true(run_until("idle", 2000));
	assert_non_null(strstr(event_of("idle")->text, "no advisor"));
	script(SWAPPINESS, "10", 0.1);
	w.watch = tune_watch(w.t, 0, &reply);
	assert_true(run_until("proposed", 2000));
}

static void the_agents_end_undoes_it(void **state)
{
	struct control_reply reply;

	(void)state;
	script(SWAPPINESS, "10", 0.1);
	begin(true);
	run_until_swappiness(10, 20000);
	tuner_end(w.t);
	assert_true(swappiness_is("060"));
	assert_int_equal(tune_watch(w.t, 0, &reply), 0);
	assert_int_equal(tune_next(w.t, w.goal, &w.event[0], 0), -ESHUTDOWN);
}

static void a_slow_clients_events_are_counted(void **state)
{
	struct tune_event event;

	(void)state;
	script(READ_AHEAD, "512", 0.1);
	begin(true);
	for (int i = 0; i < 3 * TUNE_EVENTS; i++) {
		pthread_mutex_lock(&w.t->lock);
		tune_say(w.t, "source", NULL, "Event %d.", i);
		pthread_mutex_unlock(&w.t->lock);
	}
	for (int i = 0; i < TUNE_EVENTS; i++)
		assert_int_equal(tune_next(w.t, w.goal, &event, 0), 0);
	assert_int_equal(tune_next(w.t, w.goal, &event, 0), -ETIMEDOUT);
	pthread_mutex_lock(&w.t->lock);
	tune_say(w.t, "idle", NULL, "Here.");
	pthread_mutex_unlock(&w.t->lock);
	assert_int_equal(tune_next(w.t, w.goal, &event, 0), 0);
	assert_string_equal(event.text, "(257 events before this one were dropped, because the "
					"client was too slow.) Here.");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_make, world_unmake)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_gain_is_kept),
		TEST(it_goes_on_from_what_it_kept),
		TEST(what_brought_nothing_under_another_load_is_tried_again),
		TEST(tau_begins_anew_under_another_load),
		TEST(no_effect_is_undone_and_not_tried_again),
		TEST(harm_is_undone_and_remembered_as_unsafe),
		TEST(a_breach_in_canary_is_undone_at_once_and_remembered),
		TEST(a_silent_guard_is_a_breach),
		TEST(what_a_guard_could_not_break_is_not_kept),
		TEST(a_silent_objective_is_a_breach),
		TEST(a_client_that_goes_has_it_undone),
		TEST(of_a_value_that_is_not_taken_another_is_tried),
		TEST(what_the_device_does_not_take_costs_no_trial),
		TEST(advise_waits_for_the_word),
		TEST(a_rejected_one_is_not_made_again),
		TEST(a_proposal_that_fits_no_more_is_stale),
		TEST(one_too_uncertain_is_vetoed),
		TEST(unsafe_outcomes_lower_the_limit),
		TEST(a_rollback_by_the_operator_is_remembered),
		TEST(a_rollback_while_it_is_tried_ends_it),
		TEST(reset_undoes_what_was_kept),
		TEST(the_memory_outlives_the_agent),
		TEST(a_damaged_memory_is_put_aside),
		TEST(trials_are_used_up),
		TEST(nothing_to_propose_ends_it),
		TEST(without_an_advisor_it_says_so),
		TEST(the_agents_end_undoes_it),
		TEST(a_slow_clients_events_are_counted),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
