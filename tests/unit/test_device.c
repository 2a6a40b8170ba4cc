// SPDX-License-Identifier: Apache-2.0
/*
 * test_device.c - the life of a device with the real trainer and made-up disks: waiting, learning, predicting, drifting.
 *
 * The kernel side is a slot row whose generation `bump` raises, and a note of what `obey` was told.
 */
#include "tests/unit/device_harness.h"

static void waits_learns_and_predicts(void **state)
{
	struct device *device = device_open();
	struct device_view view = view_of(device);
	uint64_t before;

	(void)state;
	assert_int_equal(view.phase, DEVICE_WAITING);
	assert_int_equal(view.rows_wanted, ROWS);
	assert_string_equal(verdict.device, "test0");
	assert_int_equal(verdict.major, 259);
	feed(device, &steady, 100);
	view = view_of(device);
	assert_int_equal(view.phase, DEVICE_LEARNING);
	assert_int_equal(view.rows, 100);
	assert_false(view.has_model);
	assert_int_equal(device_stored(device), 0);
	feed_some(device, &steady, 2 * ROWS, true);
	assert_non_null(strstr(said, "because this disk has no model yet"));
	wait_trained(device);
	view = view_of(device);
	assert_int_equal(view.phase, DEVICE_PREDICTING);
	assert_true(view.has_model && view.signal);
	assert_true(view.heldout_auc > 0.6 && view.trained_rows > 1000);
	assert_string_equal(view.model, "test-test0");
	assert_string_equal(verdict.model, "test-test0");
	assert_int_equal(bumps, 1);
	assert_int_equal(obeyed, 1);
	assert_int_equal(view.retrained, 0);
	before = device_stored(device);
	feed(device, &steady, 1000);
	view = view_of(device);
	/* In order of completion some come after one that was issued later: those store nothing. */
	assert_in_range(device_stored(device) - before, 800, 1000);
	assert_int_equal(view.score.evaluated, 1000);
	assert_true(view.score.auc > 0.6);
	device_free(device);
	assert_int_equal(verdict.major, 0); /* the row is empty again */
}

static void verdict_carries_the_records_time_and_generation(void **state)
{
	struct device *device = learned(&steady);
	struct semantos_block_record *reads = synthetic_reads(&steady, 3, clock_ns), request;
	uint64_t word, first;

	(void)state;
	for (int i = 0; i < 3; i++) {
		reads[i].head.generation = slot.generation;
		reads[i].head.request_id = 1000000 + (uint64_t)i;
	}
	request = synthetic_request(&reads[1]);
	device_on_request(device, &request);
	device_flush(device);
	word = first = *(uint64_t *)&verdict.verdict;
	assert_int_equal(semantos_verdict_generation(word), slot.generation);
	assert_int_equal(word >> 24, (reads[1].head.ts_ns + 40000000) >> SEMANTOS_EXPIRES_SHIFT);
	assert_true(semantos_verdict_class(word) <= 1);
	/* What was issued earlier and comes later, from another CPU's ring, does not take its place. */
	request = synthetic_request(&reads[0]);
	device_on_request(device, &request);
	device_flush(device);
	assert_int_equal(*(uint64_t *)&verdict.verdict, first);
	/* In one batch the newest is the one that counts. */
	request = synthetic_request(&reads[2]);
	device_on_request(device, &request);
	request = synthetic_request(&reads[0]);
	device_on_request(device, &request);
	device_flush(device);
	word = *(uint64_t *)&verdict.verdict;
	assert_int_equal(word >> 24, (reads[2].head.ts_ns + 40000000) >> SEMANTOS_EXPIRES_SHIFT);
	/* A read of before the last change of the slot gets no verdict, and is counted. */
	slot.generation = (slot.generation + 1) & SEMANTOS_GENERATION_MASK;
	request = synthetic_request(&reads[2]);
	request.head.ts_ns += 1000;
	device_on_request(device, &request);
	device_flush(device);
	assert_int_equal(*(uint64_t *)&verdict.verdict, word);
	assert_int_equal(device_stale(device), 1);
	free(reads);
	device_free(device);
}

static void outcome_before_its_request_is_judged_one_drain_later(void **state)
{
	struct device *device = learned(&steady);
	struct semantos_block_record *reads = synthetic_reads(&steady, 2, clock_ns), request;
	uint64_t before = view_of(device).score.evaluated;

	(void)state;
	for (int i = 0; i < 2; i++) {
		reads[i].head.generation = slot.generation;
		reads[i].head.request_id = 2000000 + (uint64_t)i;
	}
	/* The rings of two CPUs: the outcome is drained first, its request in the next round. */
	device_on_outcome(device, &reads[0]);
	device_flush(device);
	assert_int_equal(view_of(device).score.evaluated, before);
	request = synthetic_request(&reads[0]);
	device_on_request(device, &request);
	device_flush(device);
	assert_int_equal(view_of(device).score.evaluated, before + 1);
	/* Two rounds later it is too late: nothing is kept for ever. */
	device_on_outcome(device, &reads[1]);
	device_flush(device);
	device_flush(device);
	request = synthetic_request(&reads[1]);
	device_on_request(device, &request);
	device_flush(device);
	assert_int_equal(view_of(device).score.evaluated, before + 1);
	assert_int_equal(device->n_late, 0);
	free(reads);
	device_free(device);
}

/* The disk loses what the model had learned: shadow at once, learning anew from reads of the time since. */
static void drift_goes_to_shadow_and_retrains(void **state)
{
	struct synthetic turned = { .seed = 5, .memory = false };
	struct device *device = learned(&steady);

	(void)state;
	assert_int_equal(obeyed, 1);
	said[0] = 0;
	feed(device, &turned, 4500);
	assert_int_equal(obeyed, 0);
	assert_int_equal(chooses, 0);
	assert_non_null(strstr(said, "its verdicts go to shadow, because"));
	assert_null(device->job);
	assert_true(device->drifting);
	assert_true(device->n_rows < 3500 && device->stride == 1); /* older ones were put away */
	device->next_learn_s = 0;
	feed_and_train(device, &steady);
	assert_int_equal(view_of(device).retrained, 1);
	device_free(device);
}

static void return_above_the_floor_takes_several_looks(void **state)
{
	struct synthetic turned = { .seed = 5, .memory = false },
			 back = { .seed = 9, .memory = true };
	struct device *device = learned(&steady);
	uint64_t looks = 0, first_good = 0;

	(void)state;
	device->next_learn_s = ~0ULL; /* this test is not about learning */
	feed(device, &turned, 4500);
	assert_int_equal(obeyed, 0);
	assert_true(device->below_floor);
	for (; obeyed == 0 && looks < 40; looks++) {
		back.seed++;
		feed(device, &back, 2000);
		if (device->good_looks && !first_good)
			first_good = looks;
	}
	assert_int_equal(obeyed, 1);
	assert_false(device->below_floor);
	assert_true(device->good_looks >= DEVICE_GOOD_LOOKS);
	assert_true(looks - first_good >= DEVICE_GOOD_LOOKS - 1);
	assert_non_null(strstr(said, "its verdicts count again"));
	device_free(device);
}

static void without_signal_it_tries_again_at_growing_intervals(void **state)
{
	struct device *device = device_open();
	uint64_t waits[4];

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct synthetic again = { .seed = 11 + (uint64_t)i, .memory = false };

		device->ticks += 5000; /* the wait is over */
		feed_and_train(device, &again);
		assert_false(device->signal);
		assert_true(obeyed == 0);
		waits[i] = device->next_learn_s - device->ticks;
	}
	assert_int_equal(waits[0], 60);
	assert_int_equal(waits[1], 120);
	assert_int_equal(waits[3], 480);
	assert_int_equal(view_of(device).retrained, 3);
	assert_non_null(strstr(view_of(device).note, "shadow"));
	assert_true(view_of(device).phase == DEVICE_PREDICTING);
	/* Signal at last: the next wait, for a drift, is the short one again. */
	device->ticks += 5000;
	feed_and_train(device, &steady);
	assert_true(device->signal);
	assert_int_equal(obeyed, 1);
	assert_int_equal(device->next_learn_s - device->ticks, 60);
	device_free(device);
}

static void saved_model_is_found_again(void **state)
{
	struct device *device = learned(&steady);
	struct device_view before = view_of(device), after;

	(void)state;
	device_free(device);
	said[0] = 0;
	assert_int_equal(chooses, 1);
	obeyed = chooses = -1;
	device = device_open();
	after = view_of(device);
	assert_non_null(strstr(said, "using the model saved in"));
	assert_int_equal(after.phase, DEVICE_PREDICTING);
	assert_true(after.signal);
	assert_int_equal(obeyed, 1);
	assert_int_equal(chooses, 1);
	device_free(device);
	/* What verdicts chose says nothing of what each read's own score would. */
	assert_int_equal(recipe.verdict_ns, 40000000);
	recipe.verdict_ns = 0;
	device = device_open();
	recipe.verdict_ns = 40000000;
	assert_int_equal(obeyed, 1);
	assert_int_equal(chooses, 0);
	device_free(device);
	device = device_open();
	after = view_of(device);
	assert_true(fabs(after.heldout_auc - before.heldout_auc) < 1e-4);
	assert_string_equal(after.trained_at, before.trained_at);
	assert_int_equal(after.trained_rows, before.trained_rows);
	feed(device, &steady, 100);
	assert_int_equal(view_of(device).score.evaluated, 100);
	device_free(device);
}

static void saved(const char *suffix, char *path)
{
	sprintf(path, "%s/serial_1%s", state_dir, suffix);
}

/* Reads are ranked well, and slow ones are hardly slower: obeyed, and no read of a volume is moved by it. */
static void ranking_well_is_not_choosing_well(void **state)
{
	struct synthetic slight = { .seed = 3, .memory = true, .slow_us = 170 };
	struct device *device;
	char path[128];

	(void)state;
	device = learned(&slight);
	assert_int_equal(obeyed, 1);
	assert_int_equal(chooses, 0);
	/* Nobody asks it about volumes: it is as good as another. */
	assert_string_equal(view_of(device).note, "");
	assert_int_equal(device->learn_wait_s, 0);
	device_free(device);
	saved(".safetensors", path);
	assert_int_equal(unlink(path), 0);
	decides_volumes = true;
	device = learned(&slight);
	assert_int_equal(obeyed, 1);
	assert_int_equal(chooses, 0);
	assert_non_null(strstr(view_of(device).note, "it moves no read of a volume, because"));
	device_free(device);
	obeyed = chooses = -1;
	device = device_open();
	assert_int_equal(obeyed, 1);
	assert_int_equal(chooses, 0);
	/* So it learns again, as one without signal does. */
	said[0] = 0;
	device->ticks += 5000;
	feed_and_train(device, &slight);
	assert_non_null(strstr(said, "is not sure to choose a volume's legs well"));
	assert_int_equal(obeyed, 1);
	assert_int_equal(chooses, 0);
	assert_int_equal(device->learn_wait_s, 60);
	device_free(device);
}

static void refused_model_means_learning_anew(void **state)
{
	char path[128], bytes[64] = "no model at all";
	struct device *device;
	FILE *file;

	(void)state;
	saved(".safetensors", path);
	file = fopen(path, "w");
	assert_non_null(file);
	fwrite(bytes, 1, sizeof(bytes), file);
	fclose(file);
	device = device_open();
	assert_non_null(strstr(said, "the saved model is refused, learning anew: "));
	assert_int_equal(view_of(device).phase, DEVICE_WAITING);
	feed_and_train(device, &steady);
	assert_true(device->signal);
	device_free(device);
	/* Another encoder in the manifest: the model was made for another time. */
	said[0] = 0;
	strcpy(recipe.encoder, "heimdall");
	device = device_open();
	assert_non_null(strstr(said, "the policy now wants heimdall"));
	assert_false(view_of(device).has_model);
	device_free(device);
}

static void rows_outlive_a_restart_and_a_reboot(void **state)
{
	struct device *device = device_open();
	uint64_t last;
	char path[128];

	(void)state;
	/* Reads of a machine that had been up for years: in the future of this one. */
	clock_ns = 1ULL << 60;
	feed(device, &steady, 1000);
	last = device->rows[999].head.ts_ns;
	device_free(device);
	saved(".rows", path);
	assert_int_equal(access(path, F_OK), 0);
	device = device_open();
	assert_non_null(strstr(said, "going on from 1000 reads"));
	assert_int_equal(view_of(device).rows, 1000);
	assert_int_equal(view_of(device).phase, DEVICE_LEARNING);
	/* The machine was started again: its clock began at zero. */
	clock_ns = 2000000000;
	{
		struct timespec now;

		clock_gettime(CLOCK_BOOTTIME, &now);
		clock_ns = (uint64_t)now.tv_sec * 1000000000ULL;
	}
	feed_some(device, &steady, ROWS, true);
	assert_true(device->job || device->n_rows >= 1100);
	if (!device->job)
		assert_true(device->rows[1100].head.ts_ns > last);
	feed_and_train(device, &steady);
	assert_true(device->signal);
	assert_int_not_equal(access(path, F_OK), 0); /* learned: no longer needed */
	device_free(device);
	assert_int_not_equal(access(path, F_OK), 0);
}

static void damaged_rows_are_put_away(void **state)
{
	struct device *device = device_open();
	char path[128];

	(void)state;
	feed(device, &steady, 500);
	device_free(device);
	saved(".rows", path);
	assert_int_equal(truncate(path, 1000), 0);
	device = device_open();
	assert_non_null(strstr(said, "rows saved earlier are refused"));
	assert_int_equal(view_of(device).rows, 0);
	assert_int_not_equal(access(path, F_OK), 0);
	device_free(device);
}

/* A state directory without room: the model is used all the same, and nothing half written stays. */
static void model_is_used_though_it_cannot_be_saved(void **state)
{
	struct rlimit before, none = { 512, 0 };
	struct device *device = device_open();
	struct dirent *entry;
	DIR *dir;

	(void)state;
	getrlimit(RLIMIT_FSIZE, &before);
	none.rlim_max = before.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &none);
	feed_and_train(device, &steady);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_non_null(strstr(said, "the model is used but could not be saved"));
	assert_int_equal(view_of(device).phase, DEVICE_PREDICTING);
	assert_int_equal(obeyed, 1);
	dir = opendir(state_dir);
	while ((entry = readdir(dir)))
		assert_true(entry->d_name[0] == '.');
	closedir(dir);
	/* The same for rows at shutdown. */
	device_free(device);
	said[0] = 0;
	device = device_open();
	feed(device, &steady, 500);
	setrlimit(RLIMIT_FSIZE, &none);
	device_free(device);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_non_null(strstr(said, "could not be saved in"));
	dir = opendir(state_dir);
	while ((entry = readdir(dir)))
		assert_true(entry->d_name[0] == '.');
	closedir(dir);
}

static void thinned_rows_span_the_whole_time(void **state)
{
	struct semantos_block_record read = { .head = { .kind = SEMANTOS_OUTCOME } };
	struct device *device = device_open();
	const uint64_t n = 1000000;

	(void)state;
	for (uint64_t i = 0; i < n; i++) {
		read.head.ts_ns = 1000 + i;
		device_learn_row(device, &read);
	}
	assert_in_range(device->n_rows, ROWS, 8000);
	assert_int_equal(device->rows[0].head.ts_ns, 1000);
	assert_true(device->rows[device->n_rows - 1].head.ts_ns > n - n / 1000);
	for (size_t i = 1; i < device->n_rows; i++)
		assert_int_equal(device->rows[i].head.ts_ns - device->rows[i - 1].head.ts_ns,
			device->stride);
	device->n_rows = 0; /* nothing to save */
	device_free(device);
}

/* More rows asked for than the manifest keeps: they are kept all the same, or learning would never begin. */
static void rows_wanted_are_rows_kept(void **state)
{
	struct semantos_block_record read = { .head = { .kind = SEMANTOS_OUTCOME } };
	struct device *device;

	(void)state;
	manifest.max_rows = manifest.min_rows;
	device = device_open();
	for (uint64_t i = 0; i < 50000; i++) {
		device_learn_row(device, &read);
		if (i >= ROWS)
			assert_true(device->n_rows >= ROWS);
	}
	device->n_rows = 0;
	device_free(device);
}

/* Finite weights whose sums are not: no verdict is made of that, and nothing is judged. */
static void score_that_is_no_number_becomes_no_verdict(void **state)
{
	struct device *device = learned(&steady);
	struct model *model = model_clone(device->model);
	uint64_t stored;

	(void)state;
	for (uint32_t l = 0; l < model->n_layers; l++)
		for (uint32_t i = 0; i < model->layer[l].inputs * model->layer[l].outputs; i++)
			model->layer[l].weight[i] = i & 1 ? 3e38f : -3e38f;
	stored = device_stored(device);
	assert_int_equal(device_model_set(device, model), 0);
	feed(device, &steady, 200);
	if (device->bad_scores)
		assert_non_null(strstr(said, "answers some reads with no number"));
	assert_true(device->bad_scores);
	assert_true(device_stored(device) - stored < 200);
	device_free(device);
}

static void model_handed_in_is_judged_in_shadow(void **state)
{
	struct device *device = learned(&steady);
	struct control_reply reply = { 0 };
	uint32_t generation = slot.generation;
	char path[128], bytes[65536];
	size_t n;
	FILE *file;

	(void)state;
	device_use_model(device, "junk", 4, &reply);
	assert_int_equal(reply.error, -EINVAL);
	assert_non_null(strstr(reply.text, "The model is refused: "));
	assert_int_equal(obeyed, 1);
	assert_int_equal(slot.generation, generation);
	saved(".safetensors", path);
	file = fopen(path, "r");
	assert_non_null(file);
	n = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	reply.error = 0;
	device_use_model(device, bytes, n, &reply);
	assert_int_equal(reply.error, 0);
	assert_non_null(strstr(reply.text, "because the operator handed it in"));
	assert_int_equal(obeyed, 0);
	assert_int_not_equal(slot.generation, generation);
	assert_true(isnan(view_of(device).heldout_auc));
	device_free(device);
}

static void idle_device_is_left_alone(void **state)
{
	struct device *device = device_open();

	(void)state;
	for (int i = 0; i < 100; i++)
		device_tick(device, true);
	assert_int_equal(view_of(device).phase, DEVICE_WAITING);
	assert_string_equal(said, "");
	device_free(device);
	device_free(NULL);
}

/* Of very many devices only some are looked at in a second; the others show what was seen last. */
static void scores_are_looked_at_in_turn(void **state)
{
	struct device *device = learned(&steady);
	struct device_view view;

	(void)state;
	feed(device, &steady, 300);
	device->scores_seen.tick = 0;
	device->ticks += 10;
	device->latency_at_tick = 0;
	assert_false(device_tick(device, false));
	device->latency_at_tick = 0;
	device->scores_seen.score.auc = 0.125;
	device_view(device, true, false, &view);
	assert_true(view.score.auc == 0.125);
	assert_true(device_tick(device, true));
	device->latency_at_tick = 0;
	assert_false(device_tick(device, true)); /* not twice in two seconds */
	device_view(device, true, false, &view);
	assert_true(view.score.auc > 0.5 && view.score.window_rows > 100);
	assert_true(view.latency_us_p99 > view.latency_us_p50);
	device_free(device);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(waits_learns_and_predicts),
		TEST(verdict_carries_the_records_time_and_generation),
		TEST(outcome_before_its_request_is_judged_one_drain_later),
		TEST(drift_goes_to_shadow_and_retrains),
		TEST(return_above_the_floor_takes_several_looks),
		TEST(without_signal_it_tries_again_at_growing_intervals),
		TEST(saved_model_is_found_again),
		TEST(ranking_well_is_not_choosing_well),
		TEST(refused_model_means_learning_anew),
		TEST(rows_outlive_a_restart_and_a_reboot),
		TEST(damaged_rows_are_put_away),
		TEST(model_is_used_though_it_cannot_be_saved),
		TEST(thinned_rows_span_the_whole_time),
		TEST(rows_wanted_are_rows_kept),
		TEST(score_that_is_no_number_becomes_no_verdict),
		TEST(model_handed_in_is_judged_in_shadow),
		TEST(idle_device_is_left_alone),
		TEST(scores_are_looked_at_in_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
