/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_proposals.c - semantosctl recommend, approve, reject, reset, and what rollback and explain say of proposals.
 *
 * Texts of a proposal are the advisor's: none of their bytes moves a cursor. One thread.
 */
#include "agent/cli/cmd_tune.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>
#include "agent/cli/status_json.h"
#include "agent/cli/table.h"
#include "agent/cli/tune_show.h"

#define QUICK_MS 2000 /* for what is only an addition */

enum { OPT_WHY = 256, OPT_FORGET };

/* ---- what is known of proposals ---- */

static void when_text(uint64_t unix_ms, char *out, size_t len)
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm;

	if (!unix_ms || !localtime_r(&seconds, &tm) || !strftime(out, len, "%F %T", &tm))
		snprintf(out, len, "-");
}

static const char *was_of(const Semantos__V1__Recommendation *one, const char *name)
{
	for (size_t i = 0; i < one->n_was; i++) {
		if (strcmp(one->was[i]->name, name) == 0)
			return one->was[i]->value;
	}
	return "?";
}

static void share_text(double share, char *out, size_t len)
{
	snprintf(out, len, isfinite(share) ? "%+.1f %%" : "-", 100 * share);
}

static const char *state_text(const char *state)
{
	static const char *const words[][2] = { { "waiting", "waits for your word" },
		{ "approved", "approved, to be tried" }, { "trying", "being tried" },
		{ "kept", "kept" }, { "undone", "undone" },
		{ "rejected", "refused by an operator" }, { "vetoed", "refused, too uncertain" },
		{ "stale", "out of date: what it was about has changed" } };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i][0], state) == 0)
			return words[i][1];
	}
	return state;
}

static int print_table(const Semantos__V1__Recommendations *all)
{
	static const char *const headers[] = { ">PROPOSAL", "STATE", "SETTING", "FROM", "TO",
		">EXPECTED", ">UNCERTAINTY", ">CHANGE", "WHEN", NULL };
	struct table *table = table_new(headers);
	char text[40];
	int err;

	for (size_t i = 0; i < all->n_list; i++) {
		const Semantos__V1__Recommendation *one = all->list[i];

		for (size_t k = 0; k < one->n_knobs; k++) {
			table_cell(table, k ? "" : "%" PRIu64, one->id);
			table_cell(table, "%s", k ? "" : one->state);
			table_cell(table, "%s", one->knobs[k]->name);
			table_cell(table, "%s", was_of(one, one->knobs[k]->name));
			table_cell(table, "%s", one->knobs[k]->value);
			share_text(one->expected_change, text, sizeof(text));
			table_cell(table, "%s", k ? "" : text);
			table_cell(table, k ? "" : "%.2f", one->uncertainty);
			table_cell(table, k || !one->change ? "" : "%" PRIu64, one->change);
			when_text(one->unix_ms, text, sizeof(text));
			table_cell(table, "%s", k ? "" : text);
		}
	}
	err = table_print(table, stdout, 0, ctl_width());
	table_free(table);
	return err ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

static int print_all(const Semantos__V1__Recommendations *all)
{
	unsigned int waiting = 0;
	int code = EXIT_CODE_OK;
	uint64_t one = 0;

	for (size_t i = 0; i < all->n_list; i++) {
		if (strcmp(all->list[i]->state, "waiting") == 0) {
			waiting++;
			one = all->list[i]->id;
		}
	}
	fputs(all->goal[0] ? "" : "Nothing is being tuned. ", stdout);
	for (const char *p = all->goal; *p; p++)
		putchar((unsigned char)*p < ' ' ? ' ' : *p);
	if (all->goal[0])
		putchar(' ');
	printf("%s", all->advisor ? "" : "No advisor is connected, so nothing is proposed. ");
	if (isfinite(all->tau))
		printf("Proposals are admitted up to an uncertainty of %.2f (from %u outcome%s).\n",
			all->tau, all->outcomes, all->outcomes == 1 ? "" : "s");
	else
		printf("\n");
	if (all->tau_why[0])
		puts(all->tau_why);
	if (all->n_list == 0)
		puts("There are no proposals.");
	else
		code = print_table(all);
	if (waiting)
		printf("%u %s for your word: `semantosctl recommend %" PRIu64
		       "` says why, `semantosctl approve %" PRIu64
		       "` tries it, `semantosctl reject %" PRIu64 " --why TEXT` refuses it.\n",
			waiting, waiting == 1 ? "waits" : "wait", one, one, one);
	return code;
}

static void put_text(const char *label, const char *text)
{
	if (!text[0])
		return;
	printf("  %-12s ", label);
	for (; *text; text++)
		putchar((unsigned char)*text < ' ' || *text == 0x7f ? ' ' : *text);
	putchar('\n');
}

/* tau: NaN = not known */
static void print_one(const Semantos__V1__Recommendation *one, double tau)
{
	char text[200], when[32];

	when_text(one->unix_ms, when, sizeof(when));
	printf("Proposal %" PRIu64 " of %s: %s.\n", one->id, when, state_text(one->state));
	for (size_t k = 0; k < one->n_knobs; k++) {
		snprintf(text, sizeof(text), "%.100s: %.40s -> %.40s", one->knobs[k]->name,
			was_of(one, one->knobs[k]->name), one->knobs[k]->value);
		put_text(k ? "" : "Setting", text);
	}
	put_text("On each of", one->members);
	put_text("Why", one->rationale);
	put_text("Evidence", one->evidence);
	share_text(one->expected_change, text, sizeof(text));
	put_text("Expected", text);
	snprintf(text, sizeof(text), isfinite(tau) ? "%.2f; up to %.2f is admitted now" : "%.2f",
		one->uncertainty, tau);
	put_text("Uncertainty", text);
	put_text("Outcome", one->text);
	if (isfinite(one->before) && isfinite(one->after)) {
		char gain[100];

		snprintf(text, sizeof(text), "%.6g before, %.6g after: %s", one->before, one->after,
			tune_gain_text(
				one->before, one->after, one->low, one->high, gain, sizeof(gain)));
		put_text("Measured", text);
	}
	if (one->change) {
		snprintf(text, sizeof(text),
			"%" PRIu64 " in the journal: `semantosctl explain %" PRIu64 "`%s",
			one->change, one->change,
			strcmp(one->state, "kept") == 0 ? ", undone by `semantosctl rollback`"
							: "");
		put_text("Change", text);
	}
	if (strcmp(one->state, "waiting") == 0) {
		snprintf(text, sizeof(text),
			"`semantosctl approve %" PRIu64 "` tries it, `semantosctl reject %" PRIu64
			" --why TEXT` refuses it",
			one->id, one->id);
		put_text("Now", text);
	}
}

static Semantos__V1__Recommendations *get(const struct ctl *ctl, uint64_t proposal, int *code)
{
	Semantos__V1__RecommendRequest request = SEMANTOS__V1__RECOMMEND_REQUEST__INIT;
	Semantos__V1__Recommendations *all;

	request.proposal = proposal;
	all = (Semantos__V1__Recommendations *)ctl_call(ctl, "Operator/Recommend", &request.base,
		&semantos__v1__recommendations__descriptor, code);
	if (all && proposal && (all->n_list != 1 || all->list[0]->id != proposal)) {
		semantos__v1__recommendations__free_unpacked(all, NULL);
		all = NULL;
		*code = ctl_fail(ctl, EXIT_CODE_NOT_FOUND,
			"There is no proposal %" PRIu64 ": see `semantosctl recommend`.", proposal);
	}
	return all;
}

/* 0 with the exit code set: it is no number of a proposal. "p7" will do too. */
static uint64_t number_of(const struct ctl *ctl, const char *word, int *code)
{
	uint64_t id;

	if (ctl_number(word, 1, UINT64_MAX - 1, &id) || proposal_word(word, &id))
		return id;
	*code = ctl_fail(ctl, EXIT_CODE_USAGE,
		"%.40s is no number of a proposal: see `semantosctl recommend`.", word);
	return 0;
}

/* ---- commands ---- */

int cmd_recommend(int argc, char **argv)
{
	struct ctl ctl = { .command = "recommend",
		.usage =
			"Usage: semantosctl recommend [PROPOSAL]\n\n"
			"List what was proposed while `semantosctl tune` ran, newest first, or say "
			"all that is known of one:\nwhy, on what evidence, how sure, and what came "
			"of it.\n\n" };
	int code = ctl_parse(&ctl, argc, argv, NULL, NULL, NULL, 0, 1);
	Semantos__V1__Recommendations *all;
	uint64_t proposal = 0;

	if (code != CTL_GO_ON)
		return code;
	if (argv[optind]) {
		proposal = number_of(&ctl, argv[optind], &code);
		if (!proposal)
			return code;
	}
	all = get(&ctl, proposal, &code);
	if (!all)
		return code;
	if (ctl.json)
		code = ctl_print_json(message_json(&all->base));
	else if (proposal)
		print_one(all->list[0], all->tau);
	else
		code = print_all(all);
	semantos__v1__recommendations__free_unpacked(all, NULL);
	return code;
}

int cmd_approve(int argc, char **argv)
{
	struct ctl ctl = { .command = "approve",
		.usage = "Usage: semantosctl approve PROPOSAL\n\n"
			 "Let a proposal be tried, in stages, while `semantosctl tune` runs: it is "
			 "kept if it gains and undone if\nnot. Refused when the machine is set "
			 "otherwise by now than the proposal supposed.\n\n" };
	Semantos__V1__ApproveRequest request = SEMANTOS__V1__APPROVE_REQUEST__INIT;
	int code = ctl_parse(&ctl, argc, argv, NULL, NULL, NULL, 1, 1);

	if (code != CTL_GO_ON)
		return code;
	request.proposal = number_of(&ctl, argv[optind], &code);
	return request.proposal ? ctl_change(&ctl, "Operator/Approve", &request.base) : code;
}

static bool why_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	const char **reason = ctx;

	snprintf(why, why_len, "--why takes 1 to 255 bytes");
	*reason = value;
	return id == OPT_WHY && *value && strlen(value) <= 255;
}

int cmd_reject(int argc, char **argv)
{
	static const struct option options[] = { { "why", required_argument, NULL, OPT_WHY },
		{ 0 } };
	struct ctl ctl = { .command = "reject",
		.usage = "Usage: semantosctl reject PROPOSAL --why TEXT\n\n"
			 "Refuse a proposal that waits. It is remembered, and not proposed again "
			 "for "
			 "this goal.\n\n"
			 "      --why TEXT       the reason, half a sentence; goes on record\n" };
	Semantos__V1__RejectRequest request = SEMANTOS__V1__REJECT_REQUEST__INIT;
	const char *reason = NULL;
	int code = ctl_parse(&ctl, argc, argv, options, why_option, &reason, 1, 1);

	if (code != CTL_GO_ON)
		return code;
	if (!reason)
		return ctl_fail(&ctl, EXIT_CODE_USAGE,
			"A refusal needs its reason: add --why \"half a sentence\".");
	request.proposal = number_of(&ctl, argv[optind], &code);
	request.why = (char *)reason;
	return request.proposal ? ctl_change(&ctl, "Operator/Reject", &request.base) : code;
}

static bool reset_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	bool *forget = ctx;

	(void)value, (void)why, (void)why_len;
	*forget = id == OPT_FORGET;
	return *forget;
}

int cmd_reset(int argc, char **argv)
{
	static const struct option options[] = { { "forget", no_argument, NULL, OPT_FORGET },
		{ 0 } };
	struct ctl ctl = { .command = "reset",
		.usage =
			"Usage: semantosctl reset [--forget]\n\n"
			"Undo everything that tuning changed and kept. What somebody changed since "
			"is left alone.\n\n"
			"      --forget         also what was learned of how sure proposals must "
			"be\n" };
	Semantos__V1__ResetRequest request = SEMANTOS__V1__RESET_REQUEST__INIT;
	bool forget = false;
	int code = ctl_parse(&ctl, argc, argv, options, reset_option, &forget, 0, 0);

	request.forget = forget;
	return code != CTL_GO_ON ? code : ctl_change(&ctl, "Operator/Reset", &request.base);
}

/* ---- proposals, for rollback and explain ---- */

bool proposal_word(const char *word, uint64_t *proposal)
{
	return word[0] == 'p' && ctl_number(word + 1, 1, UINT64_MAX - 1, proposal);
}

int proposal_rollback(
	const struct ctl *ctl, uint64_t proposal, const char *because, const char *observed)
{
	Semantos__V1__RollbackRequest request = SEMANTOS__V1__ROLLBACK_REQUEST__INIT;
	Semantos__V1__Recommendations *all;
	int code;

	all = get(ctl, proposal, &code);
	if (!all)
		return code;
	request.change = all->list[0]->change;
	if (because)
		request.because = (char *)because;
	if (observed)
		request.observed = (char *)observed;
	if (request.change)
		code = ctl_change(ctl, "Rollback", &request.base);
	else
		code = ctl_fail(ctl, EXIT_CODE_FAILED,
			"Proposal %" PRIu64
			" has changed nothing (%s), so there is nothing to undo.",
			proposal, all->list[0]->state);
	semantos__v1__recommendations__free_unpacked(all, NULL);
	return code;
}

int proposal_explain(const struct ctl *ctl, uint64_t proposal)
{
	Semantos__V1__Recommendations *all;
	int code;

	all = get(ctl, proposal, &code);
	if (!all)
		return code;
	if (ctl->json)
		code = ctl_print_json(message_json(&all->list[0]->base));
	else
		print_one(all->list[0], all->tau);
	semantos__v1__recommendations__free_unpacked(all, NULL);
	return code;
}

void proposal_of_change(const struct ctl *ctl, uint64_t change)
{
	Semantos__V1__RecommendRequest request = SEMANTOS__V1__RECOMMEND_REQUEST__INIT;
	struct client_error error = { 0 };
	struct client *client = client_open(ctl->socket, QUICK_MS, &error);
	Semantos__V1__Recommendations *all = NULL;

	if (client)
		all = (Semantos__V1__Recommendations *)client_call(client, "Operator/Recommend",
			&request.base, &semantos__v1__recommendations__descriptor, &error);
	client_close(client);
	for (size_t i = 0; all && i < all->n_list; i++) {
		if (all->list[i]->change == change) {
			putchar('\n');
			print_one(all->list[i], NAN);
		}
	}
	if (all)
		semantos__v1__recommendations__free_unpacked(all, NULL);
}
