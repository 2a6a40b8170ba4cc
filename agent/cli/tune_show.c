/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_show.c - lines with the time of day for people, JSON for programs, and the table at the end.
 */
#include "agent/cli/tune_show.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agent/cli/status_json.h"
#include "agent/cli/table.h"

#define LINE_MAX_BYTES 3000
#define OUTCOMES_MAX 10000 /* remembered for the summary */

const char *tune_gain_text(
	double before, double after, double low, double high, char *out, size_t len)
{
	out[0] = '\0';
	if (!isfinite(before) || !isfinite(after) || before == 0)
		return out;
	if (isfinite(low) && isfinite(high))
		snprintf(out, len, "%+.1f %% (95 %% interval %+.1f to %+.1f %%)",
			100 * (after / before - 1), 100 * low, 100 * high);
	else
		snprintf(out, len, "%+.1f %%", 100 * (after / before - 1));
	return out;
}

/* The hour, for people, by their own clock; unix_ms 0 = now. */
static void clock_text(uint64_t unix_ms, char *out, size_t len)
{
	time_t seconds = unix_ms ? (time_t)(unix_ms / 1000) : time(NULL);
	struct tm tm;

	if (!localtime_r(&seconds, &tm) || !strftime(out, len, "%T", &tm))
		snprintf(out, len, "--:--:--");
}

static void plain(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = ' ';
	}
}

static void put_line(uint64_t unix_ms, const char *text)
{
	char line[LINE_MAX_BYTES], hour[16];

	clock_text(unix_ms, hour, sizeof(hour));
	snprintf(line, sizeof(line), "%s  %s", hour, text);
	plain(line);
	puts(line);
	fflush(stdout);
}

static void remember(struct tune_show *show, const Semantos__V1__TuneEvent *event, bool kept)
{
	if (show->n == show->room && show->n < OUTCOMES_MAX) {
		size_t room = show->room ? 2 * show->room : 32;
		struct tune_outcome *more = realloc(show->outcome, room * sizeof(*more));

		if (!more)
			return; /* it was shown; only the summary lacks it */
		show->outcome = more;
		show->room = room;
	}
	if (show->n >= show->room)
		return;
	show->outcome[show->n++] = (struct tune_outcome){ .kept = kept,
		.proposal = event->proposal,
		.change = event->change,
		.before = event->before,
		.after = event->after,
		.low = event->low,
		.high = event->high };
}

void tune_show_event(struct tune_show *show, const Semantos__V1__TuneEvent *event)
{
	const char *kind = event->kind;
	char more[120] = "";

	if (strcmp(kind, "source") == 0)
		return;
	show->proposed += strcmp(kind, "proposed") == 0;
	show->vetoed += strcmp(kind, "vetoed") == 0;
	show->ended |= strcmp(kind, "ended") == 0;
	if (strcmp(kind, "kept") == 0 || strcmp(kind, "undone") == 0)
		remember(show, event, *kind == 'k');
	if (show->ctl->json) {
		ctl_print_json(message_json(&event->base));
		return;
	}
	if (strcmp(kind, "waiting") == 0)
		snprintf(more, sizeof(more),
			"  To try it: semantosctl approve %" PRIu64
			"    To refuse it: semantosctl reject %" PRIu64 " --why TEXT",
			event->proposal, event->proposal);
	else if (strcmp(kind, "kept") == 0 && event->change)
		snprintf(more, sizeof(more), "  To undo it: semantosctl rollback %" PRIu64,
			event->change);
	put_line(event->unix_ms, event->text);
	if (more[0])
		put_line(event->unix_ms, more);
}

void tune_show_note(struct tune_show *show, const char *kind, const char *fmt, ...)
{
	char text[LINE_MAX_BYTES - 32];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (show->ctl->json)
		ctl_print_json(json_pack("{s:s, s:o}", "kind", kind, "text", text_json(text)));
	else
		put_line(0, text);
}

static int summary_json(const struct tune_show *show, unsigned int kept)
{
	json_t *list = json_array();

	for (size_t i = 0; i < show->n; i++) {
		const struct tune_outcome *o = &show->outcome[i];

		json_array_append_new(list,
			json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o}", "outcome",
				o->kept ? "kept" : "undone", "proposal", (json_int_t)o->proposal,
				"change", (json_int_t)o->change, "before", number_json(o->before),
				"after", number_json(o->after), "low", number_json(o->low), "high",
				number_json(o->high)));
	}
	return ctl_print_json(json_pack("{s:s, s:i, s:i, s:i, s:i, s:o}", "kind", "summary",
		"proposed", (int)show->proposed, "kept", (int)kept, "undone", (int)(show->n - kept),
		"vetoed", (int)show->vetoed, "outcomes", list));
}

static int print_outcomes(const struct tune_show *show)
{
	static const char *const headers[] = { "OUTCOME", ">PROPOSAL", ">CHANGE", ">BEFORE",
		">AFTER", "DIFFERENCE", NULL };
	struct table *table = table_new(headers);
	char text[100];
	int err;

	for (size_t i = 0; i < show->n; i++) {
		const struct tune_outcome *o = &show->outcome[i];

		table_cell(table, "%s", o->kept ? "kept" : "undone");
		table_cell(table, "%" PRIu64, o->proposal);
		table_cell(table, o->change ? "%" PRIu64 : "-", o->change);
		table_cell(table, "%s",
			goal_value_text(show->objective, o->before, text, sizeof(text)));
		table_cell(table, "%s",
			goal_value_text(show->objective, o->after, text, sizeof(text)));
		table_cell(table, "%s",
			tune_gain_text(o->before, o->after, o->low, o->high, text, sizeof(text)));
	}
	err = table_print(table, stdout, 2, ctl_width());
	table_free(table);
	return err ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

int tune_show_summary(struct tune_show *show)
{
	unsigned int kept = 0;
	int code = EXIT_CODE_OK;

	for (size_t i = 0; i < show->n; i++)
		kept += show->outcome[i].kept;
	if (show->ctl->json)
		return summary_json(show, kept);
	printf("\nOf %u proposals %u were kept, %zu undone and %u refused as too uncertain.\n",
		show->proposed, kept, show->n - kept, show->vetoed);
	if (show->n > 0)
		code = print_outcomes(show);
	if (kept > 0)
		puts("What was kept stays: `semantosctl rollback CHANGE` undoes one, `semantosctl "
		     "reset` all of them.");
	fflush(stdout);
	return code;
}

void tune_show_free(struct tune_show *show)
{
	free(show->outcome);
	show->outcome = NULL;
	show->n = show->room = 0;
}
