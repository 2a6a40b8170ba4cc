// SPDX-License-Identifier: Apache-2.0
/*
 * test_tune_api.c - the tuning loop over a real socket: who may call what, a goal from its first event to its last with an
 * advisor and an operator in processes of their own, a client and an advisor that are killed, requests that make no sense.
 *
 * The server has the real tuner, guard, journal and keeper on a fake root; only the core around them is made up.
 *
 * timeout: 120
 */
#include "tests/unit/api_harness.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include "agent/safety/keeper.h"

#define ADVISOR_UID 64003
#include "tests/unit/tune_harness.h"
#define UNDONE_MS 1000

/* ---- one call of each kind ---- */

struct want {
	const char *method;
	const ProtobufCMessage *request;
	const ProtobufCMessageDescriptor *type;
	bool stream;
};

static bool first_only(void *ctx, const ProtobufCMessage *message)
{
	struct answer *answer = ctx;

	(void)message;
	snprintf(answer->text, sizeof(answer->text), "a message");
	return false;
}

static void do_call(struct client *client, struct answer *answer, const void *arg)
{
	const struct want *want = arg;
	struct client_error error = { 0 };
	ProtobufCMessage *message = NULL;

	if (want->stream) {
		if (client_stream(client, want->method, want->request, want->type, 500, NULL,
			    first_only, answer, &error) == 0)
			error.code = 0;
	} else {
		message = client_call(client, want->method, want->request, want->type, &error);
	}
	answer->code = (int)error.code;
	if (error.text[0])
		memcpy(answer->text, error.text, sizeof(answer->text));
	if (message)
		protobuf_c_message_free_unpacked(message, NULL);
}

static struct answer call_as(uid_t uid, gid_t group, const char *method,
	const ProtobufCMessage *request, const ProtobufCMessageDescriptor *type, bool stream)
{
	const struct want want = { method, request, type, stream };

	return as(uid, group, do_call, &want);
}

static Semantos__V1__TuneRequest tune_request;
static Semantos__V1__Source objective, errors;
static Semantos__V1__Guard guard, *guards[] = { &guard };
static char *patterns[] = { SWAPPINESS, READ_AHEAD };

static void make_request(void)
{
	semantos__v1__tune_request__init(&tune_request);
	semantos__v1__source__init(&objective);
	semantos__v1__source__init(&errors);
	semantos__v1__guard__init(&guard);
	objective.kind = "command";
	objective.text = "latency";
	objective.every_ms = 400;
	errors.kind = "command";
	errors.text = "errors";
	errors.every_ms = 400;
	guard.source = &errors;
	guard.relation = "<";
	guard.limit = 5;
	tune_request.objective = &objective;
	tune_request.lower_is_better = 1;
	tune_request.apply = "auto";
	tune_request.guards = guards;
	tune_request.n_guards = 1;
	tune_request.knobs = patterns;
	tune_request.n_knobs = 2;
	tune_request.slice_ms = 60;
	tune_request.washout_ms = 10;
	tune_request.pairs = 8;
	tune_request.seed = 3;
	tune_request.because = "a test asks for it";
}

static void everybody_may_what_is_theirs(void **state)
{
	Semantos__V1__RecommendRequest recommend = SEMANTOS__V1__RECOMMEND_REQUEST__INIT;
	Semantos__V1__ResetRequest reset = SEMANTOS__V1__RESET_REQUEST__INIT;
	Semantos__V1__ApproveRequest approve = SEMANTOS__V1__APPROVE_REQUEST__INIT;
	Semantos__V1__RejectRequest reject = SEMANTOS__V1__REJECT_REQUEST__INIT;
	Semantos__V1__SourceReport report = SEMANTOS__V1__SOURCE_REPORT__INIT;
	Semantos__V1__WatchRequest watch = SEMANTOS__V1__WATCH_REQUEST__INIT;
	Semantos__V1__Proposal proposal = SEMANTOS__V1__PROPOSAL__INIT;
	Semantos__V1__StatusRequest status = SEMANTOS__V1__STATUS_REQUEST__INIT;
	Semantos__V1__TelemetryRequest telemetry = SEMANTOS__V1__TELEMETRY_REQUEST__INIT;
	const ProtobufCMessageDescriptor *done = &semantos__v1__done__descriptor;
	/* what each of stranger, advisor, reader, operator and root gets: P = refused as not theirs, else it came to its turn */
	const struct {
		const char *method, *want;
		const ProtobufCMessage *request;
		const ProtobufCMessageDescriptor *type;
		bool stream;
	} calls[] = {
		{ "Operator/Recommend", "PP...", &recommend.base,
			&semantos__v1__recommendations__descriptor, false },
		{ "Operator/Tune", "PPP..", &tune_request.base,
			&semantos__v1__tune_event__descriptor, true },
		{ "Operator/Report", "PPP..", &report.base, done, false },
		{ "Operator/Approve", "PPP..", &approve.base, done, false },
		{ "Operator/Reject", "PPP..", &reject.base, done, false },
		{ "Operator/Reset", "PPP..", &reset.base, done, false },
		{ "SafetyRuntime/Watch", "P.P..", &watch.base,
			&semantos__v1__advisor_event__descriptor, true },
		{ "SafetyRuntime/Propose", "P.P..", &proposal.base, done, false },
		{ "TelemetryAgent/Snapshot", "P....", &telemetry.base,
			&semantos__v1__telemetry_snapshot__descriptor, false },
		{ "TelemetryAgent/Stream", "P....", &telemetry.base,
			&semantos__v1__telemetry_snapshot__descriptor, true },
		{ "GetStatus", "PP...", &status.base, &semantos__v1__agent_status__descriptor,
			false },
	};
	static const struct {
		uid_t uid;
		gid_t group;
	} who[] = { { NOBODY, 0 }, { ADVISOR_UID, 0 }, { NOBODY, READER_GID },
		{ NOBODY, OPERATOR_GID }, { 0, 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		for (size_t k = 0; k < 5; k++) {
			struct answer answer;

			/* one goal and one advisor at a time: the last one's stream may still be ending */
			for (int tries = 0; tries < 20; tries++) {
				answer = call_as(who[k].uid, who[k].group, calls[i].method,
					calls[i].request, calls[i].type, calls[i].stream);
				if (!strstr(answer.text, "try again"))
					break;
				usleep(50000);
			}
			if ((answer.code == EXIT_CODE_PERMISSION) != (calls[i].want[k] == 'P'))
				fail_msg("%s as %zu: %d, %s", calls[i].method, k, answer.code,
					answer.text);
		}
	}
	assert_int_equal(as(NOBODY, READER_GID, do_status, NULL).code, 0);
	/* an advisor in the operators' group is an advisor all the same */
	assert_int_equal(
		call_as(ADVISOR_UID, OPERATOR_GID, "Operator/Reset", &reset.base, done, false).code,
		EXIT_CODE_PERMISSION);
}

static void senseless_goals_are_refused(void **state)
{
	static char longer[RECORD_NAME_MAX + 1];
	static char *long_name[] = { longer };
	static Semantos__V1__Guard *many[SLO_GUARDS + 1];

	(void)state;
#define REFUSED(words)                                                                    \
	do {                                                                              \
		struct answer answer = call_as(0, 0, "Operator/Tune", &tune_request.base, \
			&semantos__v1__tune_event__descriptor, true);                     \
		if (!answer.code || !strstr(answer.text, words))                          \
			fail_msg("%d, %s: not \"%s\"", answer.code, answer.text, words);  \
		make_request();                                                           \
	} while (0)
	tune_request.objective = NULL;
	REFUSED("has an objective");
	objective.kind = "rumour";
	REFUSED("telemetry, command, prometheus or workload");
	objective.text = "";
	REFUSED("neither command nor query");
	objective.every_ms = 5;
	REFUSED("reports every");
	objective.kind = "telemetry";
	objective.metric = "block_read_latency";
	objective.figure = "p98";
	REFUSED("figure 'p98'");
	objective.kind = "telemetry";
	objective.metric = "load_1m";
	objective.figure = "p99";
	REFUSED("over the last minutes");
	objective.kind = "telemetry";
	objective.metric = "block_read_latency";
	objective.figure = "p99";
	REFUSED("takes no telemetry");
	guard.relation = "=";
	REFUSED("relation");
	guard.limit = NAN;
	REFUSED("is a number");
	guard.source = NULL;
	REFUSED("each guard a source");
	for (size_t i = 0; i < SLO_GUARDS + 1; i++)
		many[i] = &guard;
	tune_request.guards = many;
	tune_request.n_guards = SLO_GUARDS + 1;
	REFUSED("at most 16 guards");
	tune_request.pairs = 7;
	REFUSED("pairs");
	tune_request.slice_ms = 700000;
	REFUSED("slice");
	tune_request.apply = "boldly";
	REFUSED("advise or auto");
	memset(longer, 'x', sizeof(longer) - 1);
	tune_request.knobs = long_name;
	tune_request.n_knobs = 1;
	REFUSED("too long");
}

/* ---- an advisor, a reporter and an operator, each a process ---- */

static struct shared {
	volatile int broken, kept, ended, outcomes, questions;
	char value[16]; /* what the advisor proposes */
	volatile uint64_t change;
	char last[600], verdict[40];
} *shared;

static struct client *proposer;

static bool on_question(void *ctx, const ProtobufCMessage *message)
{
	const Semantos__V1__AdvisorEvent *event = (const Semantos__V1__AdvisorEvent *)message;
	Semantos__V1__Proposal proposal = SEMANTOS__V1__PROPOSAL__INIT;
	Semantos__V1__Knob knob = SEMANTOS__V1__KNOB__INIT, *knobs[] = { &knob };
	struct client_error error = { 0 };
	ProtobufCMessage *done;

	(void)ctx;
	if (event->outcome) {
		shared->outcomes++;
		snprintf(shared->verdict, sizeof(shared->verdict), "%s", event->outcome->verdict);
	}
	if (!event->question || !event->question->number)
		return true;
	shared->questions++;
	proposal.question = event->question->number;
	proposal.rationale = "less swapping";
	proposal.evidence = "the script";
	proposal.expected_change = -0.2;
	proposal.uncertainty = 0.1;
	knob.name = SWAPPINESS;
	knob.value = shared->value;
	for (size_t i = 0; i < event->question->n_knobs; i++) {
		if (strcmp(event->question->knobs[i]->name, SWAPPINESS) == 0 &&
			atoi(event->question->knobs[i]->value) == 60) {
			proposal.knobs = knobs;
			proposal.n_knobs = 1;
		}
	}
	done = client_call(proposer, "SafetyRuntime/Propose", &proposal.base,
		&semantos__v1__done__descriptor, &error);
	if (!done)
		fprintf(stderr, "%s\n", error.text);
	else
		protobuf_c_message_free_unpacked(done, NULL);
	return true;
}

static pid_t child(uid_t uid, gid_t group)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(60);
		become(uid, group);
	}
	return pid;
}

static pid_t start_advisor(void)
{
	Semantos__V1__WatchRequest watch = SEMANTOS__V1__WATCH_REQUEST__INIT;
	struct client_error error = { 0 };
	struct client *client;
	pid_t pid = child(ADVISOR_UID, 0);

	if (pid)
		return pid;
	client = client_open(socket_path, 5000, &error);
	proposer = client_open(socket_path, 5000, &error);
	watch.version = "test";
	if (!client || !proposer ||
		client_stream(client, "SafetyRuntime/Watch", &watch.base,
			&semantos__v1__advisor_event__descriptor, 60000, NULL, on_question, NULL,
			&error))
		fprintf(stderr, "%s\n", error.text);
	_exit(0);
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

		/* as the files are to root alone, what the knob is comes by way of shared memory */
		report.source = (uint32_t)(n % 2);
		report.value =
			n % 2 ? (shared->broken ? 9 : 1) : (double)shared->change + (double)(n % 7);
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
	if (strcmp(event->kind, "kept") == 0 || strcmp(event->kind, "undone") == 0)
		snprintf(shared->last, sizeof(shared->last), "%s", event->text);
	shared->kept += strcmp(event->kind, "kept") == 0;
	shared->ended += strcmp(event->kind, "ended") == 0;
	return true;
}

static pid_t start_operator(void)
{
	struct client_error error = { 0 };
	struct client *client;
	pid_t pid = child(NOBODY, OPERATOR_GID);

	if (pid)
		return pid;
	client = client_open(socket_path, 5000, &error);
	if (!client ||
		client_stream(client, "Operator/Tune", &tune_request.base,
			&semantos__v1__tune_event__descriptor, 60000, NULL, on_event, NULL, &error))
		fprintf(stderr, "%s\n", error.text);
	_exit(0);
}

/* The machine: what the reporter measures follows the knob. Until *what, or so long. */
static bool watch_until(const volatile int *what, int value, uint64_t most_ms)
{
	for (uint64_t end = now_ms() + most_ms; now_ms() < end;) {
		shared->change = file_reads(f.root, SWAPPINESS_FILE, "060") ? 100 : 80;
		if (what ? *what >= value : shared->change == 80)
			return true;
		usleep(500);
	}
	return false;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	/* the server looks for it ten times a second */
	usleep(300000);
}

static void reset(bool forget)
{
	static int value = 10;
	Semantos__V1__ResetRequest request = SEMANTOS__V1__RESET_REQUEST__INIT;
	struct answer answer;

	request.forget = forget;
	answer = call_as(
		0, 0, "Operator/Reset", &request.base, &semantos__v1__done__descriptor, false);
	if (answer.code)
		fail_msg("%s", answer.text);
	memset(shared, 0, sizeof(*shared));
	/* another value each time: one that was undone so often is not tried again for a while */
	snprintf(shared->value, sizeof(shared->value), "0%d", ++value);
}

static void a_goal_from_first_to_last(void **state)
{
	Semantos__V1__RecommendRequest recommend = SEMANTOS__V1__RECOMMEND_REQUEST__INIT;
	pid_t advisor = start_advisor(), reporter = start_reporter(), operator;

	(void)state;
	operator= start_operator();
	if (!watch_until(&shared->kept, 1, 30000))
		fail_msg("it was not kept: %s", shared->last);
	assert_non_null(strstr(shared->last, "the command `latency` fell by"));
	/* then it has nothing more to propose */
	assert_true(watch_until(&shared->ended, 1, 10000));
	assert_true(watch_until(&shared->outcomes, 1, 2000));
	assert_string_equal(shared->verdict, "kept");
	assert_int_equal(shared->questions, 2);
	waitpid(operator, NULL, 0);
	usleep(300000);
	/* what was kept stays */
	assert_true(file_is(f.root, SWAPPINESS_FILE, "010"));
	assert_int_equal(call_as(NOBODY, READER_GID, "Operator/Recommend", &recommend.base,
				 &semantos__v1__recommendations__descriptor, false)
				 .code,
		0);
	recommend.proposal = 4711;
	assert_int_equal(call_as(0, 0, "Operator/Recommend", &recommend.base,
				 &semantos__v1__recommendations__descriptor, false)
				 .code,
		EXIT_CODE_NOT_FOUND);
	reset(true);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
	end(advisor);
	end(reporter);
}

static void a_client_that_is_killed_has_it_undone(void **state)
{
	uint64_t longest = 0;

	(void)state;
	for (int i = 0; i < 5; i++) {
		pid_t advisor = start_advisor(), reporter = start_reporter();
		pid_t operator= start_operator();
		uint64_t since;

		assert_true(watch_until(NULL, 0, 20000));
		kill(operator, SIGKILL);
		since = now_ms();
		/* an old slice may come by itself: it must stay */
		while (now_ms() - since < UNDONE_MS) {
			if (!file_reads(f.root, SWAPPINESS_FILE, "060"))
				longest = now_ms() - since > longest ? now_ms() - since : longest;
			usleep(1000);
		}
		assert_true(longest < UNDONE_MS / 2);
		waitpid(operator, NULL, 0);
		end(advisor);
		end(reporter);
		reset(true);
	}
	printf("killed clients: what was tried was undone within %llu ms\n",
		(unsigned long long)longest);
}

static void a_breach_is_undone_at_once(void **state)
{
	uint64_t longest = 0;

	(void)state;
	for (int i = 0; i < 5; i++) {
		pid_t advisor = start_advisor(), reporter = start_reporter();
		pid_t operator= start_operator();
		uint64_t since, took;

		assert_true(watch_until(NULL, 0, 20000));
		/* the next report of the guard comes within some ms: that is the window here */
		shared->broken = 1;
		since = now_ms();
		while (!file_reads(f.root, SWAPPINESS_FILE, "060") && now_ms() - since < 5000)
			usleep(200);
		took = now_ms() - since;
		longest = took > longest ? took : longest;
		usleep(300000);
		assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
		assert_string_equal(shared->verdict, "breach");
		end(operator);
		end(advisor);
		end(reporter);
		reset(true);
	}
	printf("breaches: undone within %llu ms, a report every 3 to 10 ms included\n",
		(unsigned long long)longest);
	assert_true(longest < UNDONE_MS);
}

static void an_advisor_that_is_killed_leaves_room_for_the_next(void **state)
{
	pid_t advisor = start_advisor(), reporter = start_reporter(), operator;

	(void)state;
	usleep(300000);
	end(advisor);
	operator= start_operator();
	usleep(300000);
	assert_int_equal(shared->questions, 0);
	advisor = start_advisor();
	assert_true(watch_until(&shared->kept, 1, 30000));
	end(operator);
	end(advisor);
	end(reporter);
	reset(true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everybody_may_what_is_theirs),
		cmocka_unit_test(senseless_goals_are_refused),
		cmocka_unit_test(a_goal_from_first_to_last),
		cmocka_unit_test(a_client_that_is_killed_has_it_undone),
		cmocka_unit_test(a_breach_is_undone_at_once),
		cmocka_unit_test(an_advisor_that_is_killed_leaves_room_for_the_next),
	};
	int failed;

	if (strcmp(argv[0], KEEPER_NAME) == 0)
		return keeper_main(argc, argv);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	if (!harness_open())
		return 77;
	if (!private_user()) {
		printf("skipped: needs a user of its own\n");
		return harness_close(77);
	}
	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	strcpy(shared->value, "010");
	fake_make(&f);
	snprintf(tuner_file, sizeof(tuner_file), "%s/tuner.json", f.scratch);
	make_request();
	harness_telemetry = make_tuner;
	failed = cmocka_run_group_tests(tests, server_start, server_end);
	fake_unmake(&f);
	return harness_close(failed);
}
