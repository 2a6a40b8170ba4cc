// SPDX-License-Identifier: Apache-2.0
/*
 * test_tune_members.c - one value for several disks that are alike: tried on a share of them, the sides change, it is one
 * change from first to last, kept for all or undone for all, and what a third party writes to one of them stays.
 */
#include "tests/unit/tune_world.h"

#define FAMILY "sysfs:block/*/queue/read_ahead_kb"
#define DISKS 4

static const char *const disk[DISKS] = { "vda", "vdb", "vdc", "vdd" };
static uint32_t most_at_once, seen, both_sides;

static const char *file_of(uint32_t member)
{
	static char file[64];

	snprintf(file, sizeof(file), "sys/block/%s/queue/read_ahead_kb", disk[member]);
	return file;
}

/* Those that read this, as bits. */
static uint32_t that_read(int value)
{
	uint32_t set = 0;

	for (uint32_t m = 0; m < DISKS; m++)
		set |= (uint32_t)(knob_now(file_of(m)) == value) << m;
	return set;
}

/* The last disk is four times as slow as the first, and the load of all goes up and down by a third; 512 halves, 16 doubles. */
static double latency(uint32_t member)
{
	int value = knob_now(file_of(member));
	double load = 1 + 0.33 * sin((double)w.now_ms / 70);

	return (1 + member) * 100 * load *
	       (value == 512	     ? 0.5
		       : value == 16 ? 2
				     : 1) *
	       (1 + noise(0.02));
}

static void look(void)
{
	uint32_t set = that_read(512) | that_read(16);

	if (event_of("stage") && strstr(event_of("stage")->text, "stands for all members"))
		return;
	seen |= set;
	if ((uint32_t)__builtin_popcount(set) > most_at_once)
		most_at_once = (uint32_t)__builtin_popcount(set);
	both_sides |= set && set != 0xf;
}

static int make(void **state)
{
	int err = world_make(state);
	char file[64];

	for (uint32_t m = 0; m < DISKS && !err; m++) {
		file_put(w.f.root, file_of(m), "128\n");
		snprintf(file, sizeof(file), "sys/block/%s/size", disk[m]);
		file_put(w.f.root, file, "131072\n");
	}
	w.members = DISKS;
	w.of_member = latency;
	w.each = look;
	most_at_once = seen = both_sides = 0;
	return err;
}

static struct tune_goal goal_of_members(void)
{
	struct tune_goal goal = goal_of(true);

	goal.n_patterns = 1;
	strcpy(goal.pattern[0], FAMILY);
	goal.n_members = DISKS;
	for (uint32_t m = 0; m < DISKS; m++)
		strcpy(goal.member[m], disk[m]);
	return goal;
}

/* Until half of them have the new value, in the last stage. */
static void until_half(void)
{
	for (int i = 0; !said("stage", "full") || __builtin_popcount(that_read(512)) != 2; i++) {
		if (i == 2000 || event_of("undone") || event_of("ended"))
			fail_msg("it is not tried: %s %s", w.said.text,
				w.n_events ? w.event[w.n_events - 1].text : "");
		turn();
	}
}

static uint32_t changes(void)
{
	return (uint32_t)safety_book(w.s, NULL)->n_changes;
}

static void a_gain_is_found_and_kept_for_all(void **state)
{
	struct tune_goal goal = goal_of_members();
	struct control_reply reply;
	struct tune_view view;

	(void)state;
	script(FAMILY, "512", 0.1);
	script(NULL, NULL, 0);
	world_goal(&goal);
	assert_true(run_until("kept", 20000));
	assert_true(said("proposed", FAMILY " 128 -> 512 on each of vda, vdb, vdc, vdd"));
	assert_true(said("stage", "canary: 1 of 4 members at a time"));
	assert_true(said("stage", "ramp: 1 of 4 members at a time"));
	assert_true(said("stage", "full: 2 of 4 members at a time"));
	assert_true(said("stage", "stands for all members"));
	/* a share at a time, everybody had a turn, and it is one change */
	assert_int_equal(most_at_once, 2);
	assert_int_equal(seen, 0xf);
	assert_true(both_sides);
	assert_int_equal(that_read(512), 0xf);
	assert_int_equal(changes(), 1);
	assert_int_equal(tune_view(w.t, 0, &view), 0);
	assert_string_equal(view.record[0].members, "vda, vdb, vdc, vdd");
	/* the load swings by a third from slice to slice, and each disk is compared with itself and its like */
	if (fabs(view.record[0].change_share + 0.5) > 0.02)
		fail_msg("%s", view.record[0].text);
	world_rollback(NULL, view.record[0].change, "x", NULL, &reply);
	assert_int_equal(reply.error, 0);
	assert_int_equal(that_read(128), 0xf);
	tune_view_free(&view);
}

static void nothing_is_made_of_disks_that_differ(void **state)
{
	struct tune_goal goal = goal_of_members();

	(void)state;
	for (int seed = 1; seed <= 5; seed++) {
		char value[8];

		goal.seed = (uint64_t)seed;
		snprintf(value, sizeof(value), "%d", 512 + 4 * seed);
		w.n_answers = w.next_answer = 0;
		script(FAMILY, value, 0.1);
		script(NULL, NULL, 0);
		w.n_events = 0;
		world_goal(&goal);
		if (!run_until("ended", 20000))
			fail_msg("%s", w.event[w.n_events - 1].text);
		if (!said("undone", "no effect on"))
			fail_msg("%s", event_of("undone")->text);
		assert_null(event_of("kept"));
		assert_int_equal(that_read(128), 0xf);
		tune_leave(w.t, w.goal);
		turn();
	}
}

static void harm_ends_it_on_one(void **state)
{
	struct tune_goal goal = goal_of_members();

	(void)state;
	script(FAMILY, "16", 0.1);
	script(NULL, NULL, 0);
	world_goal(&goal);
	assert_true(run_until("undone", 20000));
	if (!said("undone", " % on 1 of 4 members"))
		fail_msg("%s", event_of("undone")->text);
	assert_int_equal(most_at_once, 1);
	assert_int_equal(that_read(128), 0xf);
	assert_true(w.outcome[0].unsafe);
}

/* Whatever the stage; here while half of them have it. */
static void a_breach_undoes_all_at_once(void **state)
{
	struct tune_goal goal = goal_of_members();

	(void)state;
	script(FAMILY, "512", 0.1);
	world_goal(&goal);
	until_half();
	w.guard = 9;
	turn();
	turn();
	assert_non_null(event_of("breach"));
	assert_int_equal(that_read(128), 0xf);
	assert_int_equal(changes(), 1);
}

static void what_somebody_wrote_to_one_stays(void **state)
{
	struct tune_goal goal = goal_of_members();
	uint32_t its = 0;

	(void)state;
	script(FAMILY, "512", 0.1);
	world_goal(&goal);
	until_half();
	while (!(that_read(512) >> its & 1))
		its++;
	file_put(w.f.root, file_of(its), "77\n");
	assert_true(run_until("undone", 2000));
	assert_true(said("undone", "somebody else set sysfs:block/"));
	assert_int_equal(that_read(77), 1U << its);
	assert_int_equal(that_read(128), 0xf & ~(1U << its));
	/* it differs from its like now: there is nothing to propose for all of them */
	assert_true(run_until("ended", 5000));
	assert_true(said("ended", "all members have with the same value"));
	assert_true(said("ended", "is 77 of vd") || said("ended", "and 77 of vd"));
}

static void a_silent_member_ends_it(void **state)
{
	struct tune_goal goal = goal_of_members();

	(void)state;
	w.members = DISKS - 1;
	script(FAMILY, "512", 0.1);
	world_goal(&goal);
	assert_true(run_until("idle", 2000));
	assert_true(said("idle", "of vdd is silent"));
	w.members = DISKS;
	assert_true(run_until("stage", 2000));
	w.silent_objective = true;
	assert_true(run_until("undone", 20000));
	assert_int_equal(that_read(128), 0xf);
	assert_int_equal(w.outcome[0].verdict, TUNE_V_BREACH);
}

static void what_is_offered_and_taken(void **state)
{
	struct tune_goal goal = goal_of_members();
	struct control_reply reply;
	struct tune_offer offer;

	(void)state;
	file_put(w.f.root, "sys/block/vdd/queue/read_ahead_kb", "64\n");
	for (uint32_t m = 0; m < DISKS; m++) {
		char file[64];

		snprintf(file, sizeof(file), "sys/block/%s/queue/rq_affinity", disk[m]);
		file_put(w.f.root, file, "1\n");
		snprintf(file, sizeof(file), "sys/block/%s/queue/scheduler", disk[m]);
		file_put(w.f.root, file, "[none] bfq\n");
		/* one of them has none */
		snprintf(file, sizeof(file), "sys/block/%s/queue/nomerges", disk[m]);
		if (m)
			file_put(w.f.root, file, "0\n");
	}
	strcpy(goal.pattern[0], "sysfs:block/*");
	assert_int_equal(tune_offer(w.f.root, &goal, &offer), 0);
	assert_int_equal(offer.n, 1);
	assert_string_equal(offer.knob[0].name, "sysfs:block/*/queue/rq_affinity");
	assert_int_equal(offer.differ, 1);
	assert_string_equal(offer.first, FAMILY " is 128 of vda and 64 of vdd");
	free(offer.knob);
	/* by its name, of any risk; five disks with what each sets anew are more than a change holds */
	strcpy(goal.pattern[0], "sysfs:block/*/queue/scheduler");
	assert_int_equal(tune_offer(w.f.root, &goal, &offer), 0);
	assert_int_equal(offer.n, 1);
	free(offer.knob);
	file_put(w.f.root, "sys/block/vde/queue/scheduler", "[none] bfq\n");
	strcpy(goal.member[goal.n_members++], "vde");
	assert_int_equal(tune_offer(w.f.root, &goal, &offer), 0);
	assert_int_equal(offer.n, 0);
	free(offer.knob);
	goal.n_members--;
	/* three settings of four disks: neither */
	strcpy(goal.pattern[0], FAMILY);
	file_put(w.f.root, "sys/block/vdd/queue/read_ahead_kb", "128\n");
	strcpy(goal.pattern[goal.n_patterns++], "sysfs:block/*/queue/rq_affinity");
	strcpy(goal.pattern[goal.n_patterns++], "sysfs:block/*/queue/scheduler");
	world_goal(&goal);
	while (!w.n_questions)
		turn();
	{
		const struct control_knob knob[] = { { FAMILY, "512" },
			{ "sysfs:block/*/queue/scheduler", "bfq" } };
		const struct tune_proposal proposal = { .question = w.question.number,
			.knob = knob,
			.n_knobs = 2,
			.rationale = "the script says so",
			.evidence = "",
			.uncertainty = 0.1 };

		/* the advisor is asked for one value for all, and told how much a change holds */
		assert_int_equal(w.question.n_knobs, 3);
		assert_int_equal(w.question.knobs_at_most, 1);
		assert_non_null(
			strstr(w.question.objective, " of each of vda, vdb, vdc, vdd, lower"));
		tune_propose(w.t, &proposal, &reply);
		assert_int_equal(reply.error, -EINVAL);
		assert_non_null(strstr(reply.text, "For all members this is 12 settings"));
	}
	report(0, 1, NULL);
	tune_report(w.t, 0, 1, 1, NULL, &reply);
	assert_int_equal(reply.error, -EINVAL);
	assert_non_null(strstr(reply.text, "sources 2 to 5"));
	tune_report(w.t, 6, 1, 1, NULL, &reply);
	assert_int_equal(reply.error, -EINVAL);
}

static void groups_are_members_too(void **state)
{
	struct tune_goal goal = goal_of_members();
	struct tune_offer offer;

	(void)state;
	for (uint32_t m = 0; m < DISKS; m++) {
		char file[64];

		snprintf(goal.member[m], sizeof(goal.member[m]), "web.slice/%s.service", disk[m]);
		snprintf(file, sizeof(file), "sys/fs/cgroup/%s/cpu.weight", goal.member[m]);
		file_put(w.f.root, file, "100\n");
	}
	goal.n_patterns = 0;
	assert_int_equal(tune_offer(w.f.root, &goal, &offer), 0);
	assert_int_equal(offer.n, 1);
	assert_string_equal(offer.knob[0].name, "cgroup:*/cpu.weight");
	assert_string_equal(offer.knob[0].value, "100");
	free(offer.knob);
}

static void refused_goal(const struct tune_goal *goal, const char *why)
{
	struct control_reply reply;

	assert_int_equal(tune_begin(w.t, goal, &reply), 0);
	assert_int_equal(reply.error, -EINVAL);
	if (!strstr(reply.text, why))
		fail_msg("%s is not in %s", why, reply.text);
}

static void senseless_members_are_refused(void **state)
{
	struct tune_goal goal = goal_of_members();

	(void)state;
	goal.n_members = 1;
	refused_goal(&goal, "2 to 8 members");
	goal.n_members = TUNE_MEMBERS + 1;
	refused_goal(&goal, "2 to 8 members");
	goal = goal_of_members();
	strcpy(goal.member[1], "vda");
	refused_goal(&goal, "twice");
	strcpy(goal.member[1], "../vda");
	refused_goal(&goal, "names no device");
	strcpy(goal.member[1], "v*");
	refused_goal(&goal, "names no device");
	goal = goal_of_members();
	for (uint32_t m = 0; m < DISKS; m++) {
		memset(goal.member[m], 'a', sizeof(goal.member[m]) - 1);
		goal.member[m][0] = (char)('a' + m);
	}
	refused_goal(&goal, "too long together");
	goal = goal_of_members();
	goal.objective = (struct slo_source){ .kind = SLO_TELEMETRY,
		.metric = "block_read_latency",
		.label = "vda",
		.figure = "value" };
	refused_goal(&goal, "block_read_latency[*]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_gain_is_found_and_kept_for_all, make, world_unmake),
		cmocka_unit_test_setup_teardown(
			nothing_is_made_of_disks_that_differ, make, world_unmake),
		cmocka_unit_test_setup_teardown(harm_ends_it_on_one, make, world_unmake),
		cmocka_unit_test_setup_teardown(a_breach_undoes_all_at_once, make, world_unmake),
		cmocka_unit_test_setup_teardown(
			what_somebody_wrote_to_one_stays, make, world_unmake),
		cmocka_unit_test_setup_teardown(a_silent_member_ends_it, make, world_unmake),
		cmocka_unit_test_setup_teardown(what_is_offered_and_taken, make, world_unmake),
		cmocka_unit_test_setup_teardown(groups_are_members_too, make, world_unmake),
		cmocka_unit_test_setup_teardown(senseless_members_are_refused, make, world_unmake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
