// SPDX-License-Identifier: Apache-2.0
/*
 * test_advisor_tune.c - the real advisor and the real tuning loop over a real socket, each as its own user, on a fake root
 * whose latency follows three settings: the wrong one is found, tried, kept; what failed is not tried again, by a new
 * advisor with the old knowledge base either.
 *
 * timeout: 180
 */
#include "tests/unit/api_harness.h"

#include <math.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include "agent/advisor/advisor.h"
#include "agent/advisor/kb/kb.h"
#include "agent/safety/keeper.h"

#define ADVISOR_UID 64003
#include "tests/unit/tune_harness.h"
#define TRIALS 10
#define GOAL_MS 60000

static char kb_dir[100];

static struct shared {
	volatile double latency; /* of the machine as it is set */
	volatile int kept, undone, ended, proposed;
	char last[600];
} *shared;

static pid_t child(uid_t uid, gid_t group)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(150);
		become(uid, group);
	}
	return pid;
}

static volatile int stop;

static void on_term(int number)
{
	(void)number;
	stop = 1;
}

static pid_t start_advisor(void)
{
	const struct advisor_options options = { .socket = socket_path, .kb = kb_dir };
	pid_t pid = child(ADVISOR_UID, ADVISOR_UID);

	if (pid)
		return pid;
	signal(SIGTERM, on_term);
	if (getenv("SEMANTOS_TEST_LOG"))
		log_set_sink(NULL, NULL);
	_exit((int)advisor_run(&options, &stop));
}

static pid_t start_reporter(void)
{
	struct client_error error = { 0 };
	struct client *client;
	pid_t pid = child(NOBODY, OPERATOR_GID);

	if (pid)
		return pid;
	client = client_open(socket_path, 5000, &error);
	for (uint64_t n = 0; client; n++) {
		Semantos__V1__SourceReport report = SEMANTOS__V1__SOURCE_REPORT__INIT;
		ProtobufCMessage *done;

		report.value = shared->latency * (1 + 0.01 * (double)(n * 7919 % 11));
		report.took_ms = 1;
		done = client_call(client, "Operator/Report", &report.base,
			&semantos__v1__done__descriptor, &error);
		if (done)
			protobuf_c_message_free_unpacked(done, NULL);
		usleep(3000);
	}
	_exit(0);
}

static bool on_event(void *ctx, const ProtobufCMessage *message)
{
	const Semantos__V1__TuneEvent *event = (const Semantos__V1__TuneEvent *)message;

	(void)ctx;
	if (getenv("SEMANTOS_TEST_LOG"))
		fprintf(stderr, "%s: %s\n", event->kind, event->text);
	snprintf(shared->last, sizeof(shared->last), "%s: %.500s", event->kind, event->text);
	shared->proposed += strcmp(event->kind, "proposed") == 0;
	shared->kept += strcmp(event->kind, "kept") == 0;
	shared->undone += strcmp(event->kind, "undone") == 0;
	shared->ended += strcmp(event->kind, "ended") == 0;
	return true;
}

static pid_t start_operator(void)
{
	static char *patterns[] = { SWAPPINESS, READ_AHEAD, DIRTY_RATIO };
	Semantos__V1__TuneRequest request = SEMANTOS__V1__TUNE_REQUEST__INIT;
	Semantos__V1__Source objective = SEMANTOS__V1__SOURCE__INIT;
	struct client_error error = { 0 };
	struct client *client;
	pid_t pid = child(NOBODY, OPERATOR_GID);

	if (pid)
		return pid;
	objective.kind = "command";
	objective.text = "latency";
	objective.every_ms = 400;
	request.objective = &objective;
	request.lower_is_better = 1;
	request.apply = "auto";
	request.knobs = patterns;
	request.n_knobs = 3;
	request.slice_ms = 60;
	request.washout_ms = 10;
	request.pairs = 8;
	request.trials = TRIALS;
	request.seed = 3;
	request.because = "a test asks for it";
	client = client_open(socket_path, 5000, &error);
	if (!client || client_stream(client, "Operator/Tune", &request.base,
			       &semantos__v1__tune_event__descriptor, 2 * GOAL_MS, NULL, on_event,
			       NULL, &error))
		snprintf(shared->last, sizeof(shared->last), "%s", error.text);
	_exit(0);
}

static double knob_now(const char *name)
{
	char path[200];
	double value = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", f.root, name);
	file = fopen(path, "r");
	if (file) {
		if (fscanf(file, "%lf", &value) != 1)
			value = 0;
		fclose(file);
	}
	return value;
}

/* Read-ahead below 64 KiB costs up to a half; swappiness and dirty_ratio do next to nothing. */
static double latency_now(void)
{
	double ahead = fmin(64, knob_now(READ_AHEAD_FILE));

	return 100 * (1.5 - 0.5 * ahead / 64) * (1 + knob_now(SWAPPINESS_FILE) / 100000);
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* One goal, until it ends. */
static void tune(void)
{
	pid_t advisor = start_advisor(), reporter = start_reporter(), operator;
	uint64_t until = now_ms() + GOAL_MS;
	int status;

	memset((void *)shared, 0, sizeof(*shared));
	shared->latency = latency_now();
	operator= start_operator();
	while (!shared->ended && now_ms() < until) {
		shared->latency = latency_now();
		usleep(500);
	}
	if (!shared->ended)
		fail_msg("it did not end: %s", shared->last);
	waitpid(operator, NULL, 0);
	usleep(400000); /* for the last outcome */
	kill(advisor, SIGTERM);
	waitpid(advisor, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	end(reporter);
	usleep(300000);
}

static struct fact fact[100];

/* What the knowledge base has of it, newest first. */
static size_t facts(struct lexicon *lexicon)
{
	char note[KB_TEXT_MAX];
	struct kb *kb;
	size_t n;

	if (kb_open(kb_dir, &kb, note))
		fail_msg("%s", note);
	assert_int_equal(lexicon_init(lexicon, "6.12.1"), 0);
	assert_int_equal(kb_facts(kb, "the command `latency`, lower is better", true, lexicon, fact,
				 100, &n),
		0);
	kb_close(kb);
	return n;
}

static void do_reset(struct client *client, struct answer *answer, const void *arg)
{
	Semantos__V1__ResetRequest request = SEMANTOS__V1__RESET_REQUEST__INIT;
	struct client_error error = { 0 };
	ProtobufCMessage *done = client_call(
		client, "Operator/Reset", &request.base, &semantos__v1__done__descriptor, &error);

	(void)arg;
	answer->code = (int)error.code;
	if (done)
		protobuf_c_message_free_unpacked(done, NULL);
}

static bool same(const struct fact *a, const struct fact *b)
{
	if (a->n_moves != b->n_moves)
		return false;
	for (size_t m = 0; m < a->n_moves; m++) {
		if (a->move[m].knob != b->move[m].knob ||
			strcmp(a->move[m].to, b->move[m].to) != 0 ||
			strcmp(a->move[m].from, b->move[m].from) != 0)
			return false;
	}
	return true;
}

static void the_wrong_setting_is_found_and_failures_stay_failures(void **state)
{
	struct lexicon lexicon;
	size_t n, first, unsafe = 0;

	(void)state;
	assert_int_equal(as(ADVISOR_UID, ADVISOR_UID, do_status, NULL).code, EXIT_CODE_PERMISSION);
	file_put(f.root, READ_AHEAD_FILE, "0\n");
	tune();
	printf("proposed %d, kept %d, undone %d; read_ahead_kb is %.0f; latency %.1f of 150 ms\n",
		shared->proposed, shared->kept, shared->undone, knob_now(READ_AHEAD_FILE),
		latency_now());
	assert_true(shared->kept > 0);
	assert_true(latency_now() < 115);
	first = facts(&lexicon);
	assert_int_equal(first, shared->proposed); /* vetoed ones too */
	for (size_t i = 0; i < first; i++)
		assert_true(!isnan(fact[i].raw) && fact[i].measured == fact_tried(&fact[i]));
	lexicon_free(&lexicon);
	tune();
	n = facts(&lexicon);
	printf("then proposed %d, kept %d, undone %d\n", shared->proposed, shared->kept,
		shared->undone);
	assert_true(n >= first);
	for (size_t i = 0; i < n; i++) {
		unsafe += fact[i].unsafe;
		for (size_t j = i + 1; j < n; j++) {
			if (fact[j].verdict == FACT_NO_EFFECT || fact[j].verdict == FACT_WORSE)
				assert_false(same(&fact[i], &fact[j]));
		}
	}
	printf("%zu traces, %zu of them unsafe\n", n, unsafe);
	lexicon_free(&lexicon);
	assert_int_equal(as(ADVISOR_UID, ADVISOR_UID, do_reset, NULL).code, EXIT_CODE_PERMISSION);
	assert_int_equal(as(0, 0, do_reset, NULL).code, 0);
	assert_true(knob_now(READ_AHEAD_FILE) == 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_wrong_setting_is_found_and_failures_stay_failures),
	};
	int failed;

	if (strcmp(argv[0], KEEPER_NAME) == 0)
		return keeper_main(argc, argv);
	if (!harness_open())
		return 77;
	if (!private_user()) {
		printf("skipped: needs a user of its own\n");
		return harness_close(77);
	}
	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fake_make(&f);
	snprintf(tuner_file, sizeof(tuner_file), "%s/tuner.json", f.scratch);
	snprintf(kb_dir, sizeof(kb_dir), "/tmp/advisor-kb-%d", getpid());
	if (mkdir(kb_dir, 0700) < 0 || chown(kb_dir, ADVISOR_UID, ADVISOR_UID) < 0)
		return harness_close(1);
	harness_telemetry = make_tuner;
	failed = cmocka_run_group_tests(tests, server_start, server_end);
	usleep(500000); /* the keeper writes its last word into the journal */
	fake_unmake(&f);
	dir_remove(kb_dir);
	return harness_close(failed);
}
