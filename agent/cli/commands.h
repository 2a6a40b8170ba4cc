/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commands.h - the entry point of every semantosctl command.
 *
 * argv[0] is the command's own name. Each parses its options with getopt_long, prints to stdout, says what went wrong
 * on stderr (or as JSON with --json) and returns a documented exit code (agent/util/exitcode.h).
 */
#ifndef SEMANTOS_CLI_COMMANDS_H
#define SEMANTOS_CLI_COMMANDS_H

/* of a running agent */
int cmd_status(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_attach(int argc, char **argv);
int cmd_detach(int argc, char **argv);
int cmd_mode(int argc, char **argv);
int cmd_stats(int argc, char **argv);
int cmd_telemetry(int argc, char **argv);
int cmd_capture(int argc, char **argv);
int cmd_model_use(int argc, char **argv); /* `model use`: argv[0] is "use" */
int cmd_shutdown(int argc, char **argv);
int cmd_apply(int argc, char **argv);
int cmd_keep(int argc, char **argv);
int cmd_rollback_any(int argc, char **argv); /* of the agent, or on the journal without one */
int cmd_unquarantine_any(int argc, char **argv);

/* without one */
int cmd_probe(int argc, char **argv);
int cmd_knobs(int argc, char **argv);
int cmd_train(int argc, char **argv);
int cmd_learn(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_volume(
	int argc, char **argv); /* create, start, status, resync, remove: argv[1] says which */
int cmd_model(int argc, char **argv); /* `model show` and `model import`: argv[1] says which */

#endif
