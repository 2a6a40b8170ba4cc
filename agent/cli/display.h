/* SPDX-License-Identifier: Apache-2.0 */
/*
 * display.h - what a person sees while the agent runs: redrawn in place on a terminal, lines elsewhere.
 *
 * One thread draws; sentences of the log may come from any (display_log is a log_sink).
 */
#ifndef SEMANTOS_CLI_DISPLAY_H
#define SEMANTOS_CLI_DISPLAY_H

#include <stdbool.h>
#include <stdio.h>
#include "agent/core/control.h"
#include "agent/util/log.h"

struct display;

/* out: where to draw; a terminal is redrawn in place, anything else gets lines. NULL with errno ENOMEM. */
struct display *display_new(FILE *out);
void display_free(struct display *display); /* leaves the last picture standing; accepts NULL */

void display_log(void *display, enum log_level level, const char *sentence);

/* About once a second. extra (may be NULL): one more line, e.g. on the exercise. */
void display_draw(struct display *display, const struct agent_view *view, const char *extra);

/* One device in words, as the display shows it; for tests. */
void display_device_words(const struct policy_view *policy, const struct device_view *device,
	char *text, size_t text_len);

#endif
