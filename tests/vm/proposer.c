// SPDX-License-Identifier: Apache-2.0
/*
 * proposer.c - an advisor that proposes what it is told to, one setting a question, in order: for tests of everything else.
 *
 * Usage: proposer KNOB=VALUE...
 * Prints a line for each question, proposal and outcome. Ends when it is killed, or with the agent.
 */
#include <stdio.h>
#include <string.h>
#include "agent/api/server.h"
#include "agent/proto/semantos.pb-c.h"
#include "agent/util/client.h"

#define YEAR_MS (365ULL * 86400000)

struct script {
	struct client *client; /* to propose; the stream has its own */
	char **knob; /* ended by NULL */
};

static bool offered(const Semantos__V1__Question *question, const Semantos__V1__Knob *knob)
{
	for (size_t i = 0; i < question->n_knobs; i++) {
		if (strcmp(question->knobs[i]->name, knob->name) == 0)
			return strcmp(question->knobs[i]->value, knob->value) != 0;
	}
	return false;
}

static bool propose(struct script *script, const Semantos__V1__Proposal *proposal)
{
	struct client_error error = { 0 };
	ProtobufCMessage *done = client_call(script->client, "SafetyRuntime/Propose",
		&proposal->base, &semantos__v1__done__descriptor, &error);

	printf("%s=%s: %s\n", proposal->n_knobs ? proposal->knobs[0]->name : "nothing",
		proposal->n_knobs ? proposal->knobs[0]->value : "",
		done ? ((Semantos__V1__Done *)done)->text : error.text);
	if (done)
		protobuf_c_message_free_unpacked(done, NULL);
	return done != NULL;
}

static void answer(struct script *script, const Semantos__V1__Question *question)
{
	Semantos__V1__Proposal proposal = SEMANTOS__V1__PROPOSAL__INIT;
	Semantos__V1__Knob knob = SEMANTOS__V1__KNOB__INIT, *knobs = &knob;

	proposal.question = question->number;
	proposal.rationale = (char *)"the script says so";
	proposal.evidence = (char *)"its command line";
	proposal.expected_change = -0.5;
	proposal.uncertainty = 0.01;
	proposal.knobs = &knobs;
	for (; *script->knob; script->knob++) {
		char *equals = strchr(*script->knob, '=');

		*equals = '\0';
		knob.name = *script->knob;
		knob.value = equals + 1;
		proposal.n_knobs = 1;
		if (!offered(question, &knob)) {
			printf("%s is not offered, or is %s already\n", knob.name, knob.value);
			continue;
		}
		if (propose(script, &proposal)) {
			script->knob++;
			return;
		}
	}
	proposal.n_knobs = 0;
	proposal.rationale = (char *)"the script is at its end";
	propose(script, &proposal);
}

static bool on_event(void *ctx, const ProtobufCMessage *message)
{
	const Semantos__V1__AdvisorEvent *event = (const Semantos__V1__AdvisorEvent *)message;

	if (event->question && event->question->number) {
		printf("question %llu: %zu knobs, %s is %g\n",
			(unsigned long long)event->question->number, event->question->n_knobs,
			event->question->objective, event->question->objective_now);
		answer(ctx, event->question);
	}
	if (event->outcome)
		printf("outcome of %llu: %s\n", (unsigned long long)event->outcome->proposal,
			event->outcome->verdict);
	fflush(stdout);
	return true;
}

int main(int argc, char **argv)
{
	Semantos__V1__WatchRequest request = SEMANTOS__V1__WATCH_REQUEST__INIT;
	struct script script = { .knob = argv + 1 };
	struct client_error error = { 0 };
	struct client *watch;
	int err = -1;

	for (int i = 1; i < argc; i++) {
		if (!strchr(argv[i], '=')) {
			fprintf(stderr, "%s is no KNOB=VALUE\n", argv[i]);
			return 2;
		}
	}
	request.version = (char *)"script";
	watch = client_open(API_SOCKET_PATH, CLIENT_TIMEOUT_MS, &error);
	script.client = client_open(API_SOCKET_PATH, CLIENT_TIMEOUT_MS, &error);
	if (watch && script.client)
		err = client_stream(watch, "SafetyRuntime/Watch", &request.base,
			&semantos__v1__advisor_event__descriptor, YEAR_MS, NULL, on_event, &script,
			&error);
	if (err)
		fprintf(stderr, "%s\n", error.text);
	client_close(script.client);
	client_close(watch);
	return err != 0;
}
