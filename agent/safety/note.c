// SPDX-License-Identifier: Apache-2.0
/*
 * note.c - records what was done to a policy: attached, detached, another mode.
 *
 * Nothing here is undone by anybody: hooks and modes are held by the agent's descriptors and end with it. One thread at a
 * time.
 */
#include <errno.h>
#include <string.h>
#include "agent/safety/safety_internal.h"

int safety_note(struct safety *s, struct policy_event *event, struct safety_error *error)
{
	struct policy_event *to = &s->scratch.policy;
	int err = safety_ready(s, false, error);

	if (err)
		return err;
	if (!event->policy[0] || strcmp(event->from, event->to) == 0) {
		safety_say(error, "%.60s is %.60s already", event->policy, event->to);
		return -EALREADY;
	}
	event->id = journal_next_seq(s->journal);
	memset(to, 0, sizeof(*to));
	to->id = event->id;
	record_text(to->policy, sizeof(to->policy), event->policy);
	record_text(to->from, sizeof(to->from), event->from);
	record_text(to->to, sizeof(to->to), event->to);
	record_text(to->sentence, sizeof(to->sentence), event->sentence);
	record_text(to->evidence, sizeof(to->evidence), event->evidence);
	record_text(to->expected, sizeof(to->expected), event->expected);
	record_text(to->undo, sizeof(to->undo), event->undo);
	return safety_log_scratch(s, RECORD_POLICY, error);
}
