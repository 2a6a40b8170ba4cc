// SPDX-License-Identifier: Apache-2.0
/*
 * cmd_apply.c - semantosctl apply and keep, and rollback and unquarantine while an agent runs.
 *
 * The agent owns the journal as long as it runs, so it is asked; without one the last two work on the journal itself
 * (cmd_safety.c). One thread.
 */
#include "agent/cli/commands.h"

#include <string.h>
#include "agent/cli/cmd_safety.h"
#include "agent/cli/cmd_tune.h"
#include "agent/cli/ctl.h"
#include "agent/safety/record.h"

enum { OPT_MODE = 256, OPT_BECAUSE, OPT_EVIDENCE, OPT_EXPECT, OPT_OBSERVED, OPT_POLICY };

struct words {
	const char *mode, *because, *evidence, *expected, *observed, *policy;
};

static bool word_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	struct words *words = ctx;

	switch (id) {
	case OPT_BECAUSE:
		words->because = value;
		return true;
	case OPT_EVIDENCE:
		words->evidence = value;
		return true;
	case OPT_EXPECT:
		words->expected = value;
		return true;
	case OPT_OBSERVED:
		words->observed = value;
		return true;
	case OPT_POLICY:
		words->policy = value;
		return true;
	case OPT_MODE:
		words->mode = value;
		break;
	default:
		return false;
	}
	if (strcmp(value, "auto") == 0 || strcmp(value, "on-breach") == 0 ||
		strcmp(value, "never") == 0 || strcmp(value, "once") == 0)
		return true;
	snprintf(why, why_len, "--mode takes auto, on-breach, never or once, not %.40s", value);
	return false;
}

/* "name=value" into knob; the text is cut in two. A value may hold '=', a name cannot. */
static bool split(char *text, Semantos__V1__Knob *knob)
{
	char *equals = strchr(text, '=');

	if (!equals || equals == text || !equals[1])
		return false;
	*equals = '\0';
	semantos__v1__knob__init(knob);
	knob->name = text;
	knob->value = equals + 1;
	return true;
}

int cmd_apply(int argc, char **argv)
{
	static const struct option options[] = { { "mode", required_argument, NULL, OPT_MODE },
		{ "because", required_argument, NULL, OPT_BECAUSE },
		{ "evidence", required_argument, NULL, OPT_EVIDENCE },
		{ "expect", required_argument, NULL, OPT_EXPECT },
		{ "policy", required_argument, NULL, OPT_POLICY }, { 0 } };
	struct ctl ctl = { .command = "apply",
		.usage = "Usage: semantosctl apply KNOB=VALUE... --because TEXT [options]\n\n"
			 "Change up to 8 kernel settings, all or none: journaled first, read back "
			 "afterwards, and undone by\nnumber (semantosctl rollback). A KNOB is e.g. "
			 "sysctl:vm.swappiness,\nsysfs:block/vda/queue/read_ahead_kb, "
			 "cgroup:system.slice/memory.high or sched:PID/nice.\n\n"
			 "      --because TEXT   the reason, half a sentence; it goes into the "
			 "journal, as do these:\n"
			 "      --evidence TEXT  what it rests on\n"
			 "      --expect TEXT    what it is to bring; `keep` and `rollback` say "
			 "what "
			 "came of it\n"
			 "      --policy NAME    the change belongs to this attached policy: when "
			 "that is ejected, it is\n"
			 "                       undone in mode auto and on-breach\n"
			 "      --mode MODE      auto (undone when the agent ends, the default), "
			 "on-breach (only when\n"
			 "                       its policy is ejected), never (undone by "
			 "hand only) or once\n"
			 "                       (madvise:PID/cold, madvise:PID/pageout: cannot be "
			 "undone)\n" };
	Semantos__V1__ApplyRequest request = SEMANTOS__V1__APPLY_REQUEST__INIT;
	Semantos__V1__Knob knob[RECORD_KNOBS_MAX], *list[RECORD_KNOBS_MAX];
	struct words words = { 0 };
	int code = ctl_parse(&ctl, argc, argv, options, word_option, &words, 1, RECORD_KNOBS_MAX);

	if (code != CTL_GO_ON)
		return code;
	if (!words.because || !*words.because)
		return ctl_fail(&ctl, EXIT_CODE_USAGE,
			"A change needs its reason: add --because \"half a sentence\".");
	for (int i = optind; argv[i]; i++) {
		list[request.n_knobs] = &knob[request.n_knobs];
		if (!split(argv[i], list[request.n_knobs]))
			return ctl_fail(&ctl, EXIT_CODE_USAGE,
				"%.200s is no KNOB=VALUE, e.g. sysctl:vm.swappiness=10.", argv[i]);
		request.n_knobs++;
	}
	request.knobs = list;
	request.because = (char *)words.because;
	if (words.evidence)
		request.evidence = (char *)words.evidence;
	if (words.expected)
		request.expected = (char *)words.expected;
	if (words.policy)
		request.policy = (char *)words.policy;
	if (words.mode)
		request.mode = (char *)words.mode;
	return ctl_change(&ctl, "Apply", &request.base);
}

/* Shall this be done on the journal itself? When it is named, or when no agent is there to ask. */
static bool offline(const struct ctl *ctl, char **argv)
{
	struct client_error error = { 0 };
	struct client *client;

	for (int i = 1; argv[i]; i++) {
		if (strncmp(argv[i], "--dir", 5) == 0 || strncmp(argv[i], "--root", 6) == 0)
			return true;
	}
	if (!ctl)
		return false;
	client = client_open(ctl->socket, ctl->timeout_ms, &error);
	client_close(client);
	return !client && error.code == EXIT_CODE_NO_AGENT;
}

static int on_the_journal(int (*run)(int argc, char **argv), int argc, char **argv)
{
	optind = 0; /* glibc: begin anew */
	return run(argc, argv);
}

int cmd_rollback_any(int argc, char **argv)
{
	static const struct option options[] = { { "because", required_argument, NULL,
							 OPT_BECAUSE },
		{ "observed", required_argument, NULL, OPT_OBSERVED }, { 0 } };
	struct ctl ctl = { .command = "rollback",
		.usage = "Usage: semantosctl rollback ID [--because TEXT] [--observed TEXT]\n\n"
			 "Put back what a change found, unless somebody else changed it since. "
			 "Works without an agent too.\nID is the number of a change, or that of a "
			 "proposal, e.g. p7, whose change is meant then.\n\n"
			 "      --because TEXT   goes into the journal\n"
			 "      --observed TEXT  what came of the change; likewise\n"
			 "      --dir DIR        the journal's folder, when no agent runs\n" };
	Semantos__V1__RollbackRequest request = SEMANTOS__V1__ROLLBACK_REQUEST__INIT;
	struct words words = { 0 };
	uint64_t proposal;
	int code;

	if (offline(NULL, argv))
		return on_the_journal(cmd_rollback, argc, argv);
	code = ctl_parse(&ctl, argc, argv, options, word_option, &words, 1, 1);
	if (code != CTL_GO_ON)
		return code;
	if (proposal_word(argv[optind], &proposal))
		return proposal_rollback(&ctl, proposal, words.because, words.observed);
	if (!ctl_number(argv[optind], 1, UINT64_MAX - 1, &request.change))
		return ctl_fail(&ctl, EXIT_CODE_USAGE,
			"%.40s is no number of a change: see `semantosctl history`.", argv[optind]);
	if (offline(&ctl, argv))
		return on_the_journal(cmd_rollback, argc, argv);
	if (words.because)
		request.because = (char *)words.because;
	if (words.observed)
		request.observed = (char *)words.observed;
	return ctl_change(&ctl, "Rollback", &request.base);
}

int cmd_keep(int argc, char **argv)
{
	static const struct option options[] = {
		{ "observed", required_argument, NULL, OPT_OBSERVED }, { 0 }
	};
	struct ctl ctl = { .command = "keep",
		.usage =
			"Usage: semantosctl keep ID --observed TEXT\n\n"
			"Put on record what came of a change that is left in force. What undoes it "
			"stays as it was.\n\n"
			"      --observed TEXT  what was measured\n" };
	Semantos__V1__KeepRequest request = SEMANTOS__V1__KEEP_REQUEST__INIT;
	struct words words = { 0 };
	int code = ctl_parse(&ctl, argc, argv, options, word_option, &words, 1, 1);

	if (code != CTL_GO_ON)
		return code;
	if (!ctl_number(argv[optind], 1, UINT64_MAX - 1, &request.change))
		return ctl_fail(&ctl, EXIT_CODE_USAGE,
			"%.40s is no number of a change: see `semantosctl history`.", argv[optind]);
	if (!words.observed || !*words.observed)
		return ctl_fail(&ctl, EXIT_CODE_USAGE,
			"A change is kept for what was observed: add --observed TEXT.");
	request.observed = (char *)words.observed;
	return ctl_change(&ctl, "Keep", &request.base);
}

int cmd_unquarantine_any(int argc, char **argv)
{
	struct ctl ctl = { .command = "unquarantine",
		.usage = "Usage: semantosctl unquarantine POLICY\n\n"
			 "Let a policy that was ejected too often be attached again. Works without "
			 "an agent too.\n\n"
			 "      --dir DIR        the journal's folder, when no agent runs\n" };
	Semantos__V1__UnquarantineRequest request = SEMANTOS__V1__UNQUARANTINE_REQUEST__INIT;
	int code;

	if (offline(NULL, argv))
		return on_the_journal(cmd_unquarantine, argc, argv);
	code = ctl_parse(&ctl, argc, argv, NULL, NULL, NULL, 1, 1);
	if (code != CTL_GO_ON)
		return code;
	if (offline(&ctl, argv))
		return on_the_journal(cmd_unquarantine, argc, argv);
	request.policy = argv[optind];
	return ctl_change(&ctl, "Unquarantine", &request.base);
}
