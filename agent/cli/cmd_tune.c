/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_tune.c - semantosctl tune: checks the goal here, measures what is to be measured here, and shows what the agent does.
 *
 * The stream is the goal: when it ends, for whatever reason, the agent undoes what is being tried. An interrupt ends it in
 * order and waits a while until the agent says that this is so.
 */
#include "agent/cli/cmd_tune.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "agent/cli/tune_wish.h"
#include "agent/cli/tune_plan.h"
#include "agent/cli/tune_show.h"
#include "agent/cli/tune_sources.h"

#define FOREVER_MS (365ULL * 86400000)
#define UNDO_MS 10000 /* to see what was being tried undone, after an interrupt */
#define UNDO_LOOK_MS 100

static volatile int interrupted; /* how often */

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	interrupted++;
}

struct run {
	const struct ctl *ctl;
	struct tune_wish wish;
	struct tune_sources sources;
	struct tune_show show;
};

static void note_source(void *ctx, const struct goal_source *source, const char *why)
{
	struct run *run = ctx;
	char text[GOAL_TEXT_MAX + 8];

	goal_source_text(source, text, sizeof(text));
	if (why)
		tune_show_note(
			&run->show, "source-failed", "%s could not be measured: %s.", text, why);
	else
		tune_show_note(&run->show, "source-works", "%s can be measured again.", text);
}

static bool on_event(void *ctx, const ProtobufCMessage *message)
{
	const Semantos__V1__TuneEvent *event = (const Semantos__V1__TuneEvent *)message;
	struct run *run = ctx;

	if (strcmp(event->kind, "source") == 0)
		tune_sources_once(&run->sources, event->source);
	else
		tune_show_event(&run->show, event);
	return !ferror(stdout);
}

/* Is anything still being tried? -1: it cannot be said. */
static int trying(struct client *client)
{
	Semantos__V1__RecommendRequest request = SEMANTOS__V1__RECOMMEND_REQUEST__INIT;
	struct client_error error = { 0 };
	Semantos__V1__Recommendations *all;
	int n = 0;

	all = (Semantos__V1__Recommendations *)client_call(client, "Operator/Recommend",
		&request.base, &semantos__v1__recommendations__descriptor, &error);
	if (!all)
		return -1;
	for (size_t i = 0; i < all->n_list; i++)
		n += strcmp(all->list[i]->state, "trying") == 0 ||
		     strcmp(all->list[i]->state, "approved") == 0;
	semantos__v1__recommendations__free_unpacked(all, NULL);
	return n;
}

/* After an interrupt: the agent undoes what was being tried. A second interrupt ends the wait. */
static int await_undone(struct run *run)
{
	struct client_error error = { 0 };
	struct client *client = client_open(run->ctl->socket, run->ctl->timeout_ms, &error);
	int left = -1;

	for (int waited = 0; client && waited < UNDO_MS && interrupted < 2;
		waited += UNDO_LOOK_MS) {
		left = trying(client);
		if (left <= 0)
			break;
		usleep(UNDO_LOOK_MS * 1000);
	}
	client_close(client);
	if (left == 0) {
		tune_show_note(&run->show, "ended",
			"Ended by you. Nothing is being tried any more; what was kept stays.");
		return EXIT_CODE_OK;
	}
	tune_show_note(&run->show, "ended",
		"Ended by you. Whether the agent has undone what was being tried could not be seen "
		"yet: look at `semantosctl recommend` and `semantosctl history`.");
	return EXIT_CODE_TIMEOUT;
}

static int watch(struct run *run)
{
	struct client_error error = { 0 };
	struct tune_request request;
	struct client *client;
	int err, code = EXIT_CODE_OK;

	tune_wish_request(&run->wish, run->ctl->timeout_ms, &request);
	client = client_open(run->ctl->socket, run->ctl->timeout_ms, &error);
	if (!client)
		return ctl_fail(run->ctl, error.code, "%s", error.text);
	err = tune_sources_report(&run->sources, run->ctl, note_source, run);
	if (err) {
		client_close(client);
		return ctl_fail(
			run->ctl, EXIT_CODE_FAILED, "No thread can be made: %s.", strerror(-err));
	}
	err = client_stream(client, "Operator/Tune", &request.message.base,
		&semantos__v1__tune_event__descriptor, FOREVER_MS, &interrupted, on_event, run,
		&error);
	client_close(client);
	if (interrupted && !run->show.ended)
		code = await_undone(run);
	tune_sources_end(&run->sources);
	if (run->show.proposed > 0 || !err) {
		int shown = tune_show_summary(&run->show);

		code = code == EXIT_CODE_OK ? shown : code;
	}
	return err && !interrupted ? ctl_fail(run->ctl, error.code, "%s", error.text) : code;
}

/* Of the objective, of all members' that which took longest; NULL: it is telemetry. */
static const struct measured *slowest(const struct run *run)
{
	const struct measured *found = tune_sources_measured(&run->sources, 0);

	for (size_t i = 1 + run->wish.n_guards; i < tune_wish_sources(&run->wish); i++) {
		const struct measured *m = tune_sources_measured(&run->sources, i);

		if (m && (!found || m->took_ms > found->took_ms))
			found = m;
	}
	return found;
}

/* What each command and query gave once. CTL_GO_ON or the exit code. */
static int check_first(struct run *run)
{
	const struct ctl *ctl = run->ctl;
	struct tune_wish *wish = &run->wish;
	const struct measured *m;
	char text[GOAL_TEXT_MAX + 8], why[240] = "";

	for (size_t k = 0; k < run->sources.n; k++) {
		const struct measured *first = &run->sources.first[k];

		if (!first->why[0])
			continue;
		goal_source_text(run->sources.source[k], text, sizeof(text));
		return ctl_fail(ctl, EXIT_CODE_FAILED,
			"%s cannot be measured: %s. Nothing was asked of the agent.", text,
			first->why);
	}
	m = slowest(run);
	if (!m)
		return CTL_GO_ON;
	if (wish->objective.kind == GOAL_WORKLOAD && m->is_metric && wish->direction == TUNE_UNSAID)
		return ctl_fail(ctl, EXIT_CODE_USAGE,
			"The workload says metric=%g: is more or less of it better? Add --higher "
			"or "
			"--lower.",
			m->value);
	if (wish->objective.kind == GOAL_WORKLOAD && !m->is_metric &&
		wish->direction == TUNE_HIGHER)
		return ctl_fail(ctl, EXIT_CODE_USAGE,
			"--higher would make a slower run the better one: let the workload's last "
			"line "
			"be metric=NUMBER, or leave it out.");
	if (wish->direction == TUNE_UNSAID)
		wish->direction = TUNE_LOWER;
	if (tune_wish_slice(wish, m->took_ms, why, sizeof(why)))
		return ctl_fail(ctl, EXIT_CODE_USAGE, "%s.", why);
	return CTL_GO_ON;
}

int cmd_tune(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_interrupt };
	struct ctl ctl = { .command = "tune", .usage = tune_wish_help };
	static struct run run;
	char why[240] = "";
	int code, err;

	memset(&run, 0, sizeof(run));
	run.ctl = &ctl;
	tune_wish_init(&run.wish);
	code = ctl_parse(&ctl, argc, argv, tune_wish_options, tune_wish_option, &run.wish, 0, 0);
	if (code != CTL_GO_ON)
		return code;
	if (tune_wish_settle(&run.wish, why, sizeof(why)))
		return ctl_fail(&ctl, EXIT_CODE_USAGE, "%s.", why);
	run.show.ctl = &ctl;
	run.show.objective = &run.wish.objective;
	interrupted = 0;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	err = tune_sources_start(&run.sources, &run.wish, ctl.timeout_ms);
	if (err)
		return ctl_fail(
			&ctl, EXIT_CODE_FAILED, "No process can be made: %s.", strerror(-err));
	err = tune_sources_first(&run.sources, &interrupted);
	if (err)
		code = ctl_fail(&ctl, EXIT_CODE_FAILED,
			"Interrupted before anything was asked of the agent.");
	else if (run.wish.dry_run)
		code = tune_plan(&ctl, &run.wish, &run.sources);
	else
		code = check_first(&run);
	if (code == CTL_GO_ON)
		code = watch(&run);
	tune_sources_end(&run.sources);
	tune_show_free(&run.show);
	return code;
}
