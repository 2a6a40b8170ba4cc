/* SPDX-License-Identifier: Apache-2.0 */
/*
 * advisor.h - the program semantos-advisor: asked by the agent what to try next, it answers from its knowledge base.
 *
 * Knows nothing of the machine but what the agent tells it, and has no call but Watch and Propose. Its state is the
 * knowledge base; what is in memory is a copy of it. One thread of its own, beside gRPC's.
 */
#ifndef SEMANTOS_ADVISOR_H
#define SEMANTOS_ADVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include "agent/proto/semantos.pb-c.h"
#include "agent/util/exitcode.h"

#define ADVISOR_SOCKET "/run/semantos/agent.sock"
#define ADVISOR_KB "/var/lib/semantos-advisor"
#define ADVISOR_FACTS_MAX 1000 /* trials of one objective that a decision rests on, the newest */

struct advisor_options {
	const char *socket, *kb;
	bool once; /* end after one question was answered, or none could be heard */
};

/* Serve until *stop, which a signal handler sets. Trouble with the agent is waited out; with the knowledge base it ends. */
enum exit_code advisor_run(const struct advisor_options *options, const volatile int *stop);

/* ---- one side of it, for tests: no connection ---- */

struct advisor;
/* NULL, with a sentence in note, when the knowledge base cannot be had. */
struct advisor *advisor_open(const char *kb, char *note, size_t size, enum exit_code *code);
void advisor_free(struct advisor *advisor); /* accepts NULL */

void advisor_outcome(struct advisor *advisor, const Semantos__V1__Outcome *outcome);

/*
 * Answer a question: `send` is given each proposal and says whether the agent took it (0), would not have this one and may
 * have another (1), or can be asked no more (-1). false: nothing was sent that was taken.
 */
typedef int advisor_send(void *ctx, const Semantos__V1__Proposal *proposal);
bool advisor_question(struct advisor *advisor, const Semantos__V1__Question *question,
	advisor_send *send, void *ctx);

#endif
