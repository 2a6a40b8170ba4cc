/* SPDX-License-Identifier: Apache-2.0 */
/*
 * semantosctl.c - finds the command by its name and runs it.
 *
 * Options before the command (`semantosctl --json status`) are handed to it as its first ones. Nothing else lives here.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/cli/cmd_safety.h"
#include "agent/cli/cmd_tune.h"
#include "agent/cli/commands.h"
#include "agent/cli/ctl.h"
#include "agent/util/exitcode.h"

static const struct command {
	const char *name, *summary;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "probe", "what this machine can do for each policy; needs no agent", cmd_probe },
	{ "knobs", "kernel settings of this machine: value, range, risk, why", cmd_knobs },
	{ "status", "the agent, its policies and devices, beside the baselines", cmd_status },
	{ "list", "the attached policies, one a line", cmd_list },
	{ "attach", "load a policy into the running agent", cmd_attach },
	{ "detach", "unload one", cmd_detach },
	{ "mode", "how far a policy is obeyed: shadow, canary:N, enforce", cmd_mode },
	{ "stats", "counters, drops by cause, own cost", cmd_stats },
	{ "telemetry", "what the machine does: latencies, pressure, rates", cmd_telemetry },
	{ "capture", "write a device's reads into a file", cmd_capture },
	{ "train", "learn a model from a capture", cmd_train },
	{ "learn", "record what a command asks of the kernel, as references", cmd_learn },
	{ "replay", "judge a model on a capture, in time order", cmd_replay },
	{ "model", "use, show or import a model", cmd_model },
	{ "volume", "make, start, show, mend and remove replica volumes", cmd_volume },
	{ "tune", "find better kernel settings for a goal, and keep or undo each", cmd_tune },
	{ "recommend", "what was proposed: why, how sure, what came of it", cmd_recommend },
	{ "approve", "let a proposal be tried", cmd_approve },
	{ "reject", "refuse one", cmd_reject },
	{ "reset", "undo everything that tuning kept", cmd_reset },
	{ "apply", "change kernel settings, journaled and undone", cmd_apply },
	{ "keep", "put on record what came of a change that stays", cmd_keep },
	{ "rollback", "undo one change by its number", cmd_rollback_any },
	{ "history", "what was changed, ejected and quarantined", cmd_history },
	{ "explain", "one change: why, and what came of it", cmd_explain },
	{ "audit", "check the journal and what is in force", cmd_audit },
	{ "recover", "undo what an agent that is gone left", cmd_recover },
	{ "unquarantine", "let an ejected policy be attached again", cmd_unquarantine_any },
	{ "shutdown", "end the agent in order", cmd_shutdown },
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void help(FILE *out)
{
	fprintf(out, "Usage: semantosctl COMMAND [options]\n\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
	fprintf(out, "\nEach takes --help and --json. See semantosctl(1) for exit codes.\n");
}

static int usage_error(int argc, char **argv, const char *text)
{
	struct ctl ctl = { 0 };

	for (int i = 1; i < argc; i++)
		ctl.json |= strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "-j") == 0;
	return ctl_fail(&ctl, EXIT_CODE_USAGE, "%s", text);
}

static int run(int argc, char **argv)
{
	char **args = calloc((size_t)argc + 1, sizeof(*args)), text[120];
	int at = 1, n = 0, code;

	if (!args)
		return EXIT_CODE_FAILED;
	while (at < argc && argv[at][0] == '-') {
		if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
			help(stdout);
			free(args);
			return EXIT_CODE_OK;
		}
		if (strcmp(argv[at], "--version") == 0) {
			puts("semantosctl " SEMANTOS_VERSION);
			free(args);
			return EXIT_CODE_OK;
		}
		at += 1 + (strcmp(argv[at], "--socket") == 0 || strcmp(argv[at], "--timeout") == 0);
	}
	if (at >= argc) {
		free(args);
		if (argc == 1) {
			help(stderr);
			return EXIT_CODE_USAGE;
		}
		return usage_error(argc, argv, "A command is missing: see `semantosctl --help`.");
	}
	/* the command's name first, then what stood before it, then the rest */
	args[n++] = argv[at];
	for (int i = 1; i < argc; i++) {
		if (i != at)
			args[n++] = argv[i];
	}
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (strcmp(commands[i].name, args[0]) != 0)
			continue;
		/* `model use` asks the agent; the other two work on files */
		if (commands[i].run == cmd_model && at + 1 < argc &&
			strcmp(argv[at + 1], "use") == 0) {
			/* the word "use" stands where the command stood: drop it */
			for (int j = at; j < n - 1; j++)
				args[j] = args[j + 1];
			args[--n] = NULL;
			code = cmd_model_use(n, args);
		} else {
			code = commands[i].run(n, args);
		}
		free(args);
		return code;
	}
	snprintf(text, sizeof(text), "There is no command %.40s: see `semantosctl --help`.",
		args[0]);
	free(args);
	return usage_error(argc, argv, text);
}

int main(int argc, char **argv)
{
	int code = run(argc, argv);

	/* An answer that did not reach its file is none, and the exit code must say so. */
	if (fflush(stdout) == EOF || ferror(stdout)) {
		fprintf(stderr,
			"semantosctl: The answer cannot be written to standard output: %s.\n",
			strerror(errno));
		return code == EXIT_CODE_OK ? EXIT_CODE_STATE : code;
	}
	return code;
}
