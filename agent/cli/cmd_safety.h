/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_safety.h - the semantosctl commands about changes; they work on the journal itself, with or without an agent.
 *
 * history, explain and audit only read. rollback, recover and unquarantine take the journal and are refused (exit 5)
 * while an agent holds it. Entry points as in agent/cli/commands.h.
 */
#ifndef SEMANTOS_CLI_CMD_SAFETY_H
#define SEMANTOS_CLI_CMD_SAFETY_H

#define SAFETY_DIR "/var/lib/semantos/safety"

int cmd_history(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_audit(int argc, char **argv);
int cmd_rollback(int argc, char **argv);
int cmd_recover(int argc, char **argv);
int cmd_unquarantine(int argc, char **argv);

#endif
