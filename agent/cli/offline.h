/* SPDX-License-Identifier: Apache-2.0 */
/*
 * offline.h - what train, replay and model share: files in, scores out. None of them needs the agent or root.
 */
#ifndef SEMANTOS_CLI_OFFLINE_H
#define SEMANTOS_CLI_OFFLINE_H

#include "agent/cli/ctl.h"
#include "agent/core/capture.h"
#include "agent/core/learn.h"
#include "agent/infer/model.h"

#define OFFLINE_CAPTURE_HELP                                                                       \
	"CAPTURE is a file of `semantosctl capture`, or a recorded trace as text, plain or "       \
	"gzipped,\n"                                                                               \
	"with seven columns: completion, latency in us, 1 for a read, bytes, offset, "             \
	"submission,\n"                                                                            \
	"device number. Times are whole microseconds, or milliseconds with a decimal point (then " \
	"the\n"                                                                                    \
	"last column is no device).\n\n"

/* "Cannot be opened" first: the readers then speak of what is in the file. CTL_GO_ON or the exit code. */
int offline_readable(const struct ctl *ctl, const char *path);

/* A capture or a trace (of which device `device` is taken). CTL_GO_ON, or the exit code after the sentence. */
int offline_capture(
	const struct ctl *ctl, const char *path, uint32_t device, struct capture *capture);
int offline_model(const struct ctl *ctl, const char *path, struct model **model);

/* Save; CTL_GO_ON or the exit code after the sentence. */
int offline_save(const struct ctl *ctl, const struct model *model, const char *path);

json_t *offline_number(double value); /* null when it is not finite */
json_t *offline_scores(const struct learn_result *result); /* the object "heldout" */
void offline_print_scores(const struct learn_result *result);

/* The exit code of a file that could not be opened or was refused. */
enum exit_code offline_code(int error);

/* A decimal number in [min, max]; nothing may follow it. */
bool offline_real(const char *text, double min, double max, double *out);

#endif
