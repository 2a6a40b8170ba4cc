/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_show.h - what a tuning run looks like: each event as a sentence, or as an object a line, and a summary at its end.
 *
 * Any thread; lines are whole. Texts come through the agent from the advisor: no byte of them moves a cursor.
 */
#ifndef SEMANTOS_CLI_TUNE_SHOW_H
#define SEMANTOS_CLI_TUNE_SHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/cli/ctl.h"
#include "agent/cli/goal.h"

struct tune_outcome {
	bool kept;
	uint64_t proposal, change;
	double before, after, low, high;
};

struct tune_show {
	const struct ctl *ctl;
	const struct goal_source *objective; /* its unit */
	struct tune_outcome *outcome; /* [n] by time */
	size_t n, room;
	unsigned int proposed, vetoed;
	bool ended;
};

/* One event of the agent's. "source" is none for people and is left out. */
void tune_show_event(struct tune_show *show, const Semantos__V1__TuneEvent *event);
/* A line of our own: kind for programs, text a sentence with its full stop. */
__attribute__((format(printf, 3, 4))) void tune_show_note(
	struct tune_show *show, const char *kind, const char *fmt, ...);
/* What came of it all. Exit code. */
int tune_show_summary(struct tune_show *show);
void tune_show_free(struct tune_show *show);

/* "-63.2 % (95 % interval -70.1 to -55.0 %)", or "" when it is not known; into out, returned. Shares, as in agent/proto. */
const char *tune_gain_text(
	double before, double after, double low, double high, char *out, size_t len);

#endif
