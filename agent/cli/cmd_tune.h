/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_tune.h - the semantosctl commands of the tuning loop. Entry points as in agent/cli/commands.h.
 */
#ifndef SEMANTOS_CLI_CMD_TUNE_H
#define SEMANTOS_CLI_CMD_TUNE_H

#include <stdbool.h>
#include <stdint.h>
#include "agent/cli/ctl.h"

int cmd_tune(int argc, char **argv);
int cmd_recommend(int argc, char **argv);
int cmd_approve(int argc, char **argv);
int cmd_reject(int argc, char **argv);
int cmd_reset(int argc, char **argv);

/* "p7", as `rollback` and `explain` take the number of a proposal beside those of changes. False: it is none. */
bool proposal_word(const char *word, uint64_t *proposal);

/* `rollback p7`, `explain p7`: exit code. */
int proposal_rollback(
	const struct ctl *ctl, uint64_t proposal, const char *because, const char *observed);
int proposal_explain(const struct ctl *ctl, uint64_t proposal);

/*
 * What a running agent knows of the proposal that this change came from, as lines after what the journal says. Nothing when
 * there is none, or no agent to ask.
 */
void proposal_of_change(const struct ctl *ctl, uint64_t change);

#endif
