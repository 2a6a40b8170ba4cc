// SPDX-License-Identifier: Apache-2.0
/*
 * serve.c - the connection: one for the stream of questions, one for proposals; both made anew when the agent was gone.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "agent/advisor/internal.h"
#include "agent/util/client.h"
#include "agent/util/log.h"

#define WAIT_FIRST_MS 1000
#define WAIT_MOST_MS 60000
#define WATCH_MS (24u * 3600 * 1000) /* then a stream is begun anew */
#define STOP_MS 100 /* how often *stop is looked at while waiting */

struct serving {
	struct advisor *advisor;
	struct client *client; /* for proposals */
	bool heard; /* anything, since the connection */
	bool answered, once;
};

static int propose(void *ctx, const Semantos__V1__Proposal *proposal)
{
	struct serving *serving = ctx;
	struct client_error error;
	ProtobufCMessage *done = client_call(serving->client, "SafetyRuntime/Propose",
		&proposal->base, &semantos__v1__done__descriptor, &error);

	if (done) {
		protobuf_c_message_free_unpacked(done, NULL);
		return 0;
	}
	log_info("The agent did not take an answer to question %" PRIu64 ": %s", proposal->question,
		error.text);
	return error.code == EXIT_CODE_NO_AGENT || error.code == EXIT_CODE_TIMEOUT ? -1 : 1;
}

static bool hear(void *ctx, const ProtobufCMessage *message)
{
	const Semantos__V1__AdvisorEvent *event = (const Semantos__V1__AdvisorEvent *)message;
	struct serving *serving = ctx;

	serving->heard = true;
	if (event->outcome)
		advisor_outcome(serving->advisor, event->outcome);
	else if (event->question && event->question->number)
		serving->answered |=
			advisor_question(serving->advisor, event->question, propose, serving);
	return !(serving->once && serving->answered);
}

/* One connection's life. */
static enum exit_code watch(struct serving *serving, const char *socket, const volatile int *stop,
	struct client_error *error)
{
	Semantos__V1__WatchRequest request = SEMANTOS__V1__WATCH_REQUEST__INIT;
	struct client *stream = client_open(socket, CLIENT_TIMEOUT_MS, error);
	int ret = -1;

	serving->client = stream ? client_open(socket, CLIENT_TIMEOUT_MS, error) : NULL;
	if (serving->client) {
		request.version = (char *)SEMANTOS_VERSION;
		request.outcomes_after = serving->advisor->last_proposal;
		ret = client_stream(stream, "SafetyRuntime/Watch", &request.base,
			&semantos__v1__advisor_event__descriptor, WATCH_MS, stop, hear, serving,
			error);
	}
	client_close(serving->client);
	client_close(stream);
	serving->client = NULL;
	return ret ? error->code : EXIT_CODE_OK;
}

static void wait_ms(unsigned int ms, const volatile int *stop)
{
	for (unsigned int passed = 0; passed < ms && !*stop; passed += STOP_MS)
		nanosleep(&(struct timespec){ .tv_nsec = STOP_MS * 1000000L }, NULL);
}

enum exit_code advisor_run(const struct advisor_options *options, const volatile int *stop)
{
	struct serving serving = { .once = options->once };
	struct client_error error = { .code = EXIT_CODE_OK };
	unsigned int wait = WAIT_FIRST_MS;
	char note[KB_TEXT_MAX];
	enum exit_code code;

	serving.advisor = advisor_open(options->kb, note, sizeof(note), &code);
	if (!serving.advisor) {
		log_error("%s", note);
		return code;
	}
	for (;;) {
		serving.heard = false;
		code = watch(&serving, options->socket, stop, &error);
		if (*stop || (options->once && serving.answered)) {
			code = EXIT_CODE_OK;
			break;
		}
		if (options->once) {
			log_error("%s",
				code ? error.text : "The agent ended the stream before it asked.");
			code = code ? code : EXIT_CODE_FAILED;
			break;
		}
		if (serving.heard)
			wait = WAIT_FIRST_MS;
		if (code)
			log_warn("%s It is tried again in %u s.", error.text, wait / 1000);
		wait_ms(wait, stop);
		wait = wait * 2 < WAIT_MOST_MS ? wait * 2 : WAIT_MOST_MS;
	}
	advisor_free(serving.advisor);
	return code;
}
