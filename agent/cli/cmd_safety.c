// SPDX-License-Identifier: Apache-2.0
/*
 * cmd_safety.c - semantosctl history, explain, audit, rollback, recover, unquarantine: what was changed, and back.
 *
 * Prints what the journal says and adds nothing of its own. One thread.
 */
#include "agent/cli/cmd_safety.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agent/cli/cmd_tune.h"
#include "agent/cli/ctl.h"
#include "agent/cli/status_json.h"
#include "agent/cli/table.h"
#include "agent/safety/book.h"
#include "agent/safety/safety.h"

#define DIR_HELP                                                         \
	"      --dir DIR        the journal's folder (" SAFETY_DIR ")\n" \
	"      --root DIR       a folder with proc/sys, sys and dev, instead of this machine's\n"

enum { OPT_DIR = 256, OPT_ROOT, OPT_BECAUSE, OPT_OBSERVED, OPT_FORCE };

struct place {
	const char *dir, *root, *because, *observed;
	bool force;
};

static const struct option place_options[] = {
	{ "dir", required_argument, NULL, OPT_DIR },
	{ "root", required_argument, NULL, OPT_ROOT },
	{ "because", required_argument, NULL, OPT_BECAUSE },
	{ "observed", required_argument, NULL, OPT_OBSERVED },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ 0 },
};

static bool place_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	struct place *place = ctx;

	(void)why;
	(void)why_len;
	switch (id) {
	case OPT_DIR:
		place->dir = value;
		return true;
	case OPT_ROOT:
		place->root = value;
		return true;
	case OPT_BECAUSE:
		place->because = value;
		return true;
	case OPT_OBSERVED:
		place->observed = value;
		return true;
	case OPT_FORCE:
		place->force = true;
		return true;
	default:
		return false;
	}
}

static int start(struct ctl *ctl, struct place *place, int argc, char **argv, int args)
{
	place->dir = SAFETY_DIR;
	place->because = "an operator asked for it";
	return ctl_parse(ctl, argc, argv, place_options, place_option, place, args, args);
}

static int failed(const struct ctl *ctl, int err, const struct safety_error *error)
{
	enum exit_code code = EXIT_CODE_STATE;

	switch (err) {
	case -EBUSY:
		code = EXIT_CODE_BUSY;
		break;
	case -EACCES:
	case -EPERM:
		code = EXIT_CODE_PERMISSION;
		break;
	case -ENOENT:
		code = EXIT_CODE_NOT_FOUND;
		break;
	case -EBADMSG:
	case -EPROTO:
	case -EALREADY:
		code = EXIT_CODE_REFUSED;
		break;
	case -EIO:
	case -ENOMEM:
		code = EXIT_CODE_FAILED;
		break;
	default:
		break;
	}
	return ctl_fail(ctl, code, "%s.", error->text);
}

static int done(const struct ctl *ctl, const char *text)
{
	if (ctl->json)
		return ctl_print_json(json_pack("{s:b, s:s}", "ok", 1, "text", text));
	puts(text);
	return EXIT_CODE_OK;
}

/* For people by their own clock, for programs in UTC. */
static void when(const struct record_stamp *stamp, bool utc, char *out, size_t size)
{
	time_t seconds = (time_t)(stamp->real_ns / 1000000000ULL);
	struct tm tm;

	out[0] = '\0';
	if (utc ? gmtime_r(&seconds, &tm) : localtime_r(&seconds, &tm))
		strftime(out, size, utc ? "%FT%TZ" : "%F %T", &tm);
}

/* One row of history: what, whose, how it stands, in words. */
struct row {
	struct record_stamp stamp;
	unsigned long long id; /* of a change, 0 = no change */
	char state[RECORD_OWNER_MAX];
	char owner[RECORD_OWNER_MAX];
	char text[2 * RECORD_TEXT_MAX + 96];
};

struct history {
	struct row *row;
	size_t n, room;
	bool no_memory;
};

static struct row *find_row(struct history *h, unsigned long long id)
{
	for (size_t i = h->n; id && i-- > 0;) {
		if (h->row[i].id == id)
			return &h->row[i];
	}
	return NULL;
}

static struct row *new_row(struct history *h, const struct record *record)
{
	struct row *row;

	if (h->n == h->room) {
		size_t room = h->room ? 2 * h->room : 64;
		struct row *more = realloc(h->row, room * sizeof(*more));

		if (!more) {
			h->no_memory = true;
			return NULL;
		}
		h->row = more;
		h->room = room;
	}
	row = &h->row[h->n++];
	memset(row, 0, sizeof(*row));
	row->stamp = record->stamp;
	return row;
}

/* A new segment repeats what still counts. */
static bool known(const struct history *h, const struct record *record)
{
	for (size_t i = 0; record->kind != RECORD_CHANGE && i < h->n; i++) {
		if (h->row[i].stamp.real_ns == record->stamp.real_ns &&
			h->row[i].stamp.boot_ns == record->stamp.boot_ns)
			return true;
	}
	return false;
}

static int take(void *ctx, const struct record *record)
{
	struct history *h = ctx;
	struct row *row = NULL;

	if (known(h, record))
		return 0;

	switch (record->kind) {
	case RECORD_CHANGE:
		row = find_row(h, record->change.id);
		if (!row)
			row = new_row(h, record);
		if (!row)
			return -ENOMEM;
		row->id = record->change.id;
		strcpy(row->state, change_state_name(record->change.state));
		strcpy(row->owner, record->change.owner);
		snprintf(row->text, sizeof(row->text), "%s%s%s", record->change.sentence,
			record->change.why[0] ? "; " : "", record->change.why);
		return 0;
	case RECORD_EXIT:
		row = new_row(h, record);
		if (!row)
			return -ENOMEM;
		strcpy(row->state, "ejected");
		strcpy(row->owner, record->exit.policy);
		snprintf(row->text, sizeof(row->text), "%.63s%s: %s%s%s", record->exit.kind,
			record->exit.environment ? " (not its fault)" : "", record->exit.reason,
			record->exit.evidence[0] ? "; " : "", record->exit.evidence);
		return 0;
	case RECORD_QUARANTINE:
		row = new_row(h, record);
		if (!row)
			return -ENOMEM;
		strcpy(row->state, record->quarantine.on ? "quarantined" : "admitted");
		strcpy(row->owner, record->quarantine.policy);
		strcpy(row->text, record->quarantine.sentence);
		return 0;
	case RECORD_POLICY:
		/* a keeper that took over writes what it found once more */
		row = find_row(h, record->policy.id);
		if (!row)
			row = new_row(h, record);
		if (!row)
			return -ENOMEM;
		row->id = record->policy.id;
		strcpy(row->state, record->policy.to);
		strcpy(row->owner, record->policy.policy);
		strcpy(row->text, record->policy.sentence);
		return 0;
	default:
		return 0;
	}
}

static int print_history(const struct ctl *ctl, const struct history *h)
{
	static const char *const headers[] = { "when", ">change", "state", "owner", "what", NULL };
	struct table *table = ctl->json ? NULL : table_new(headers);
	json_t *rows = ctl->json ? json_array() : NULL;
	char time_text[32], id[24];
	int err;

	for (size_t i = 0; i < h->n; i++) {
		const struct row *row = &h->row[i];

		when(&row->stamp, ctl->json, time_text, sizeof(time_text));
		snprintf(id, sizeof(id), "%llu", row->id);
		if (ctl->json) {
			json_array_append_new(
				rows, json_pack("{s:s, s:I, s:s, s:s, s:s}", "when", time_text,
					      "id", (json_int_t)row->id, "state", row->state,
					      "owner", row->owner, "text", row->text));
			continue;
		}
		table_cell(table, "%s", time_text);
		table_cell(table, "%s", row->id ? id : "");
		table_cell(table, "%s", row->state);
		table_cell(table, "%s", row->owner);
		table_cell(table, "%s", row->text);
	}
	if (ctl->json)
		return ctl_print_json(json_pack("{s:b, s:o}", "ok", 1, "history", rows));
	if (h->n == 0)
		puts("Nothing was changed yet.");
	err = h->n > 0 ? table_print(table, stdout, 0, ctl_width()) : 0;
	table_free(table);
	return err ? ctl_fail(ctl, EXIT_CODE_FAILED, "There is no memory left to print this.")
		   : EXIT_CODE_OK;
}

int cmd_history(int argc, char **argv)
{
	struct ctl ctl = { .command = "history",
		.offline = true,
		.usage = "Usage: semantosctl history\n\n"
			 "List every change of settings and policies, ejection and quarantine "
			 "the journal still holds, "
			 "oldest "
			 "first.\n\n" DIR_HELP };
	struct history h = { 0 };
	struct safety_error error;
	struct place place = { 0 };
	int code = start(&ctl, &place, argc, argv, 0), err, shown;

	if (code != CTL_GO_ON)
		return code;
	err = safety_history(place.dir, take, &h, &error);
	if (h.no_memory)
		safety_say(&error, "There is no memory left to read the journal");
	shown = err && ctl.json ? EXIT_CODE_OK : print_history(&ctl, &h);
	free(h.row);
	/* what stands before the damage was shown; now the damage */
	return err ? failed(&ctl, err, &error) : shown;
}

static bool change_id(const struct ctl *ctl, const char *text, uint64_t *id, int *code)
{
	if (ctl_number(text, 1, UINT64_MAX - 1, id))
		return true;
	*code = ctl_fail(ctl, EXIT_CODE_USAGE,
		"%.40s is no number of a change: see `semantosctl history`.", text);
	return false;
}

/* What the journal says of one number: the last record of a change, the only one of a policy's event. */
struct found {
	uint64_t id;
	struct change change;
	struct policy_event event;
};

static int find(void *ctx, const struct record *record)
{
	struct found *found = ctx;

	if (record->kind == RECORD_CHANGE && record->change.id == found->id)
		found->change = record->change;
	else if (record->kind == RECORD_POLICY && record->policy.id == found->id)
		found->event = record->policy;
	return 0;
}

static json_t *knobs_json(const struct change *change)
{
	json_t *list = json_array();

	for (uint64_t k = 0; k < change->n_knobs; k++)
		json_array_append_new(list,
			json_pack("{s:o, s:o, s:o, s:o}", "name", text_json(change->knob[k].name),
				"original", text_json(change->knob[k].original), "intended",
				text_json(change->knob[k].intended), "readback",
				text_json(change->knob[k].readback)));
	return list;
}

static int explain_json(const char *dir, uint64_t id, const char *text)
{
	struct found *found = calloc(1, sizeof(*found));
	json_t *all = json_pack(
		"{s:b, s:I, s:o}", "ok", 1, "id", (json_int_t)id, "text", text_json(text));
	char undo[64] = "";

	if (!found || !all) {
		free(found);
		json_decref(all);
		return ctl_print_json(NULL);
	}
	found->id = id;
	/* it was read a moment ago and is not judged again */
	(void)safety_history(dir, find, found, NULL);
	if (found->change.id) {
		const struct change *c = &found->change;

		if (change_open(c))
			snprintf(undo, sizeof(undo), "semantosctl rollback %llu",
				(unsigned long long)id);
		json_object_update_new(all,
			json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:s, s:o}", "owner",
				text_json(c->owner), "mode", change_mode_name(c->mode), "state",
				change_state_name(c->state), "sentence", text_json(c->sentence),
				"evidence", text_json(c->evidence), "expected",
				text_json(c->expected), "observed", text_json(c->observed), "why",
				text_json(c->why), "undo", undo, "knobs", knobs_json(c)));
	} else {
		const struct policy_event *e = &found->event;

		json_object_update_new(
			all, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "owner",
				     text_json(e->policy), "from", text_json(e->from), "state",
				     text_json(e->to), "sentence", text_json(e->sentence),
				     "evidence", text_json(e->evidence), "expected",
				     text_json(e->expected), "undo", text_json(e->undo)));
	}
	free(found);
	return ctl_print_json(all);
}

int cmd_explain(int argc, char **argv)
{
	struct ctl ctl = { .command = "explain",
		.offline = true,
		.usage = "Usage: semantosctl explain ID\n\n"
			 "Say what a change did, on what evidence, what came of it, and how to "
			 "undo it. ID is the number of a\nchange, or that of a proposal, e.g. p7 "
			 "(see `semantosctl recommend`).\n\n" DIR_HELP };
	struct safety_error error;
	struct place place = { 0 };
	int code = start(&ctl, &place, argc, argv, 1), err;
	static char text[16384];
	uint64_t id;

	if (code == CTL_GO_ON && proposal_word(argv[optind], &id))
		return proposal_explain(&ctl, id);
	if (code != CTL_GO_ON || !change_id(&ctl, argv[optind], &id, &code))
		return code;
	err = safety_explain(place.dir, id, text, sizeof(text), &error);
	if (err)
		return failed(&ctl, err, &error);
	if (ctl.json)
		return explain_json(place.dir, id, text);
	code = done(&ctl, text);
	/* another folder is that of no agent */
	if (strcmp(place.dir, SAFETY_DIR) == 0)
		proposal_of_change(&ctl, id);
	return code;
}

int cmd_audit(int argc, char **argv)
{
	struct ctl ctl = { .command = "audit",
		.offline = true,
		.usage = "Usage: semantosctl audit\n\n"
			 "Check the whole journal and its chain, and compare what is in force with "
			 "the "
			 "knobs.\n\n" DIR_HELP };
	struct safety_error error;
	struct safety_audit audit;
	struct place place = { 0 };
	int code = start(&ctl, &place, argc, argv, 0), err;
	char text[256];

	if (code != CTL_GO_ON)
		return code;
	err = safety_audit(place.dir, place.root, &audit, &error);
	if (err)
		return failed(&ctl, err, &error);
	if (ctl.json)
		return ctl_print_json(json_pack("{s:b, s:i, s:I, s:i, s:i, s:b}", "ok", 1,
			"segments", (int)audit.segments, "records", (json_int_t)audit.records,
			"open", (int)audit.open, "differs", (int)audit.differs, "torn",
			(int)audit.torn));
	snprintf(text, sizeof(text),
		"The journal is whole: %llu records in %u segments. %u changes are in force, %u of "
		"them "
		"were changed by somebody else since.",
		(unsigned long long)audit.records, audit.segments, audit.open, audit.differs);
	return done(&ctl, text);
}

static void options_of(const struct place *place, struct safety_options *options)
{
	*options = (struct safety_options){ .dir = place->dir,
		.root = place->root,
		.no_keeper_needed = true,
		.ignore_upgrade = place->force };
}

/*
 * systemd runs this after the unit (ExecStopPost=) and says how it ended. A successor that did not come up takes nothing over,
 * and what it was left would be in force with nobody to undo it.
 */
static bool successor_failed(void)
{
	const char *result = getenv("SERVICE_RESULT");

	return result && strcmp(result, "success") != 0;
}

int cmd_recover(int argc, char **argv)
{
	struct ctl ctl = { .command = "recover",
		.offline = true,
		.usage = "Usage: semantosctl recover [--force]\n\n"
			 "Undo what an agent that is gone left in force. Does nothing while one "
			 "runs.\n\n"
			 "      --force          also what an agent left for the next one to take "
			 "over\n" DIR_HELP };
	struct safety_options options;
	struct safety_report report;
	struct safety_error error;
	struct place place = { 0 };
	int code = start(&ctl, &place, argc, argv, 0), err;
	char text[256];

	if (code != CTL_GO_ON)
		return code;
	options_of(&place, &options);
	options.ignore_upgrade |= successor_failed();
	err = safety_recover(&options, &report, &error);
	if (err)
		return failed(&ctl, err, &error);
	snprintf(text, sizeof(text),
		"%u changes were rolled back, %u left alone because somebody else changed them "
		"since, %u stay "
		"in force.",
		report.rolled_back, report.left_alone, report.in_force);
	return done(&ctl, text);
}

int cmd_rollback(int argc, char **argv)
{
	struct ctl ctl = { .command = "rollback",
		.usage = "Usage: semantosctl rollback ID [--because TEXT] [--observed TEXT]\n\n"
			 "Put back what a change found, unless somebody else changed it since.\n\n"
			 "      --because TEXT   goes into the journal\n"
			 "      --observed TEXT  what came of the change; likewise\n" DIR_HELP };
	struct safety_options options;
	struct safety_error error;
	struct place place = { 0 };
	int code = start(&ctl, &place, argc, argv, 1), err;
	char text[600];
	struct safety *s;
	uint64_t id;

	if (code != CTL_GO_ON || !change_id(&ctl, argv[optind], &id, &code))
		return code;
	options_of(&place, &options);
	err = safety_attend(&s, &options, &error);
	if (err)
		return failed(&ctl, err, &error);
	err = safety_rollback(s, id, place.because, place.observed, &error);
	safety_leave(s);
	snprintf(text, sizeof(text), "%s.", error.text);
	return err ? failed(&ctl, err, &error) : done(&ctl, text);
}

int cmd_unquarantine(int argc, char **argv)
{
	struct ctl ctl = { .command = "unquarantine",
		.usage =
			"Usage: semantosctl unquarantine POLICY\n\n"
			"Let a policy that was ejected too often be attached again.\n\n" DIR_HELP };
	struct safety_options options;
	struct safety_error error;
	struct place place = { 0 };
	int code = start(&ctl, &place, argc, argv, 1), err;
	char text[128];
	struct safety *s;

	if (code != CTL_GO_ON)
		return code;
	options_of(&place, &options);
	err = safety_attend(&s, &options, &error);
	if (err)
		return failed(&ctl, err, &error);
	err = safety_unquarantine(s, argv[optind], &error);
	safety_leave(s);
	snprintf(text, sizeof(text), "%.60s may be attached again.", argv[optind]);
	return err ? failed(&ctl, err, &error) : done(&ctl, text);
}
