// SPDX-License-Identifier: Apache-2.0
/*
 * kb.c - the file: made, checked, moved aside when it is damaged; and its statements.
 */
#include "agent/advisor/kb/kb.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/advisor/kb/internal.h"

#define APPLICATION_ID 0x73656d61 /* "sema" */
#define BUSY_MS 1000
#define PAGE_BYTES 4096

static const char schema[] =
	"CREATE TABLE trace(id INTEGER PRIMARY KEY AUTOINCREMENT, proposal INTEGER NOT NULL, goal "
	"INTEGER NOT NULL,"
	" unix_ms INTEGER NOT NULL, objective TEXT NOT NULL, lower INTEGER NOT NULL, verdict "
	"INTEGER NOT NULL,"
	" unsafe INTEGER NOT NULL, before REAL, after REAL, change REAL, low REAL, high REAL, "
	"pairs INTEGER NOT NULL,"
	" raw REAL, told REAL, text TEXT NOT NULL, UNIQUE(proposal, goal, unix_ms));"
	"CREATE INDEX trace_objective ON trace(objective, lower, id);"
	"CREATE TABLE trace_knob(trace INTEGER NOT NULL REFERENCES trace(id) ON DELETE CASCADE, "
	"place INTEGER NOT NULL,"
	" knob TEXT NOT NULL, was TEXT NOT NULL, value TEXT NOT NULL, moved INTEGER NOT NULL,"
	" PRIMARY KEY(trace, place)) WITHOUT ROWID;"
	"CREATE TABLE trace_metric(trace INTEGER NOT NULL REFERENCES trace(id) ON DELETE CASCADE, "
	"metric TEXT NOT NULL,"
	" unit TEXT NOT NULL, before REAL, after REAL, PRIMARY KEY(trace, metric)) WITHOUT ROWID;"
	"CREATE TABLE edge(source TEXT NOT NULL, target TEXT NOT NULL, link TEXT NOT NULL, weight "
	"REAL NOT NULL,"
	" seen INTEGER NOT NULL, seen_s INTEGER NOT NULL, PRIMARY KEY(source, target, link)) "
	"WITHOUT ROWID;"
	"CREATE TABLE counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
	"INSERT INTO counter VALUES('dropped', 0);";

static const char *const sql[KB_STATEMENTS] = {
	[KB_BEGIN] = "BEGIN IMMEDIATE",
	[KB_COMMIT] = "COMMIT",
	[KB_ROLLBACK] = "ROLLBACK",
	[KB_ADD_TRACE] = "INSERT INTO trace(proposal, goal, unix_ms, objective, lower, verdict, "
			 "unsafe, before, after,"
			 " change, low, high, pairs, raw, told, text) "
			 "VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
			 " ON CONFLICT DO NOTHING",
	[KB_ADD_KNOB] = "INSERT INTO trace_knob VALUES(?,?,?,?,?,?)",
	[KB_ADD_METRIC] = "INSERT OR IGNORE INTO trace_metric VALUES(?,?,?,?,?)",
	[KB_COUNT] = "SELECT count(*) FROM trace",
	[KB_DROP_OLDEST] =
		"DELETE FROM trace WHERE id IN (SELECT id FROM trace ORDER BY id LIMIT ?)",
	[KB_COUNT_DROPPED] = "UPDATE counter SET value = value + ? WHERE name = 'dropped'",
	[KB_TRACES] = "SELECT id, proposal, goal, unix_ms, verdict, unsafe, change, low, high, "
		      "raw, told, before, after FROM trace"
		      " WHERE objective = ? AND lower = ? ORDER BY id DESC LIMIT ?",
	[KB_KNOBS] =
		"SELECT knob, was, value, moved FROM trace_knob WHERE trace = ? ORDER BY place",
	[KB_METRICS] = "SELECT metric, unit, before FROM trace_metric WHERE trace = ?",
	[KB_OUTCOMES] = "SELECT raw, unsafe, verdict FROM trace WHERE raw IS NOT NULL ORDER BY id "
			"DESC LIMIT ?",
	[KB_EDGE] = "SELECT weight, seen, seen_s FROM edge WHERE source = ? AND target = ? AND "
		    "link = ?",
	[KB_STORE_EDGE] = "INSERT INTO edge VALUES(?,?,?,?,?,?) ON CONFLICT DO UPDATE SET weight = "
			  "excluded.weight,"
			  " seen = excluded.seen, seen_s = excluded.seen_s",
	[KB_COUNTS] = "SELECT (SELECT count(*) FROM trace), (SELECT value FROM counter WHERE name "
		      "= 'dropped'),"
		      " (SELECT coalesce(max(proposal), 0) FROM trace)",
};

const char *kb_error(const struct kb *kb)
{
	return kb->error;
}

int kb_failed(struct kb *kb, const char *doing)
{
	int code = sqlite3_errcode(kb->db);

	snprintf(kb->error, sizeof(kb->error), "%s: %.48s could not be done: %.120s.", kb->path,
		doing, sqlite3_errmsg(kb->db));
	return code == SQLITE_FULL ? -ENOSPC : code == SQLITE_NOMEM ? -ENOMEM : -EIO;
}

sqlite3_stmt *kb_take(struct kb *kb, enum kb_statement statement)
{
	sqlite3_reset(kb->statement[statement]);
	sqlite3_clear_bindings(kb->statement[statement]);
	return kb->statement[statement];
}

int kb_run(struct kb *kb, enum kb_statement statement)
{
	int code = sqlite3_step(kb->statement[statement]), ret = 0;

	if (code != SQLITE_DONE && code != SQLITE_ROW)
		ret = kb_failed(kb, sql[statement]);
	sqlite3_reset(kb->statement[statement]);
	return ret;
}

void kb_bind_number(sqlite3_stmt *statement, int column, double value)
{
	if (isnan(value))
		sqlite3_bind_null(statement, column);
	else
		sqlite3_bind_double(statement, column, value);
}

double kb_number(sqlite3_stmt *statement, int column)
{
	return sqlite3_column_type(statement, column) == SQLITE_NULL
		       ? NAN
		       : sqlite3_column_double(statement, column);
}

void kb_text(sqlite3_stmt *statement, int column, char *out, size_t size)
{
	const unsigned char *text = sqlite3_column_text(statement, column);

	snprintf(out, size, "%s", text ? (const char *)text : "");
}

static bool pragma_is(struct kb *kb, const char *pragma, const char *wanted)
{
	sqlite3_stmt *statement = NULL;
	bool is = false;

	if (sqlite3_prepare_v2(kb->db, pragma, -1, &statement, NULL) == SQLITE_OK &&
		sqlite3_step(statement) == SQLITE_ROW) {
		const unsigned char *text = sqlite3_column_text(statement, 0);

		is = text && strcmp((const char *)text, wanted) == 0;
	}
	sqlite3_finalize(statement);
	return is;
}

static int64_t pragma_number(struct kb *kb, const char *pragma)
{
	sqlite3_stmt *statement = NULL;
	int64_t value = -1;

	if (sqlite3_prepare_v2(kb->db, pragma, -1, &statement, NULL) == SQLITE_OK &&
		sqlite3_step(statement) == SQLITE_ROW)
		value = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return value;
}

static int run_text(struct kb *kb, const char *text)
{
	return sqlite3_exec(kb->db, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : kb_failed(kb, text);
}

static int make_schema(struct kb *kb)
{
	char version[96];
	int ret = run_text(kb, "BEGIN IMMEDIATE");

	if (ret)
		return ret;
	snprintf(version, sizeof(version), "PRAGMA application_id = %d; PRAGMA user_version = %d",
		APPLICATION_ID, KB_VERSION);
	ret = run_text(kb, schema);
	if (!ret)
		ret = run_text(kb, version);
	if (ret) {
		sqlite3_exec(kb->db, "ROLLBACK", NULL, NULL, NULL);
		return ret;
	}
	return run_text(kb, "COMMIT");
}

static int prepare(struct kb *kb)
{
	for (size_t i = 0; i < KB_STATEMENTS; i++) {
		if (sqlite3_prepare_v3(kb->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
			    &kb->statement[i], NULL) != SQLITE_OK)
			return kb_failed(kb, sql[i]);
	}
	return 0;
}

static void shut(struct kb *kb)
{
	for (size_t i = 0; i < KB_STATEMENTS; i++) {
		sqlite3_finalize(kb->statement[i]);
		kb->statement[i] = NULL;
	}
	sqlite3_close(kb->db);
	kb->db = NULL;
}

/* *damaged: another try with a new file makes sense. */
static int open_file(struct kb *kb, bool *damaged)
{
	char limits[256];
	int64_t version;
	int ret;

	*damaged = false;
	if (sqlite3_open_v2(kb->path, &kb->db,
		    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
		    NULL) != SQLITE_OK)
		return kb->db ? kb_failed(kb, "opening it") : -ENOMEM;
	sqlite3_busy_timeout(kb->db, BUSY_MS);
	snprintf(limits, sizeof(limits),
		"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;"
		" PRAGMA trusted_schema = OFF; PRAGMA max_page_count = %d; PRAGMA "
		"journal_size_limit = 4194304",
		KB_BYTES_MAX / PAGE_BYTES);
	ret = run_text(kb, limits);
	*damaged = sqlite3_errcode(kb->db) == SQLITE_NOTADB ||
		   sqlite3_errcode(kb->db) == SQLITE_CORRUPT;
	if (ret)
		return ret;
	version = pragma_number(kb, "PRAGMA user_version");
	if (version == 0 && pragma_number(kb, "SELECT count(*) FROM sqlite_schema") == 0)
		return make_schema(kb);
	if (version > KB_VERSION && pragma_number(kb, "PRAGMA application_id") == APPLICATION_ID) {
		snprintf(kb->error, sizeof(kb->error),
			"%s is of version %lld and this program reads version %d: use the newer "
			"semantos-advisor, or move the file away.",
			kb->path, (long long)version, KB_VERSION);
		return -EPROTO;
	}
	*damaged = version != KB_VERSION || !pragma_is(kb, "PRAGMA quick_check(1)", "ok");
	if (*damaged)
		snprintf(kb->error, sizeof(kb->error), "%s is damaged.", kb->path);
	return *damaged ? -EIO : 0;
}

static int move_aside(struct kb *kb, char note[KB_TEXT_MAX])
{
	static const char *const part[] = { "", "-wal", "-shm" };
	char from[sizeof(kb->path) + 8], to[sizeof(kb->path) + 16];

	snprintf(to, sizeof(to), "%s.damaged", kb->path);
	if (rename(kb->path, to) < 0) {
		snprintf(note, KB_TEXT_MAX, "%s is damaged and cannot be moved aside: %.100s.",
			kb->path, strerror(errno));
		return -errno;
	}
	for (size_t i = 1; i < sizeof(part) / sizeof(part[0]); i++) {
		snprintf(from, sizeof(from), "%s%s", kb->path, part[i]);
		unlink(from);
	}
	snprintf(note, KB_TEXT_MAX,
		"%s was damaged and is now knowledge.db.damaged; a new one was begun, what was "
		"learned is lost.",
		kb->path);
	return 0;
}

int kb_open(const char *dir, struct kb **out, char note[KB_TEXT_MAX])
{
	struct kb *kb = calloc(1, sizeof(*kb));
	bool damaged;
	int ret;

	note[0] = '\0';
	*out = NULL;
	if (!kb) {
		snprintf(note, KB_TEXT_MAX, "No memory is left.");
		return -ENOMEM;
	}
	ret = snprintf(kb->path, sizeof(kb->path), "%s/knowledge.db", dir);
	if (ret < 0 || (size_t)ret >= sizeof(kb->path)) {
		snprintf(note, KB_TEXT_MAX,
			"The folder's path is too long: name another with --kb.");
		free(kb);
		return -ENAMETOOLONG;
	}
	ret = open_file(kb, &damaged);
	if (ret && damaged) {
		shut(kb);
		ret = move_aside(kb, note);
		if (ret) {
			free(kb);
			return ret;
		}
		ret = open_file(kb, &damaged);
	}
	if (!ret)
		ret = prepare(kb);
	if (ret) {
		snprintf(note, KB_TEXT_MAX, "%s", kb->error);
		kb_close(kb);
		return ret;
	}
	*out = kb;
	return 0;
}

void kb_close(struct kb *kb)
{
	if (!kb)
		return;
	shut(kb);
	free(kb);
}

int kb_counts(struct kb *kb, struct kb_counts *counts)
{
	sqlite3_stmt *s = kb_take(kb, KB_COUNTS);
	int ret = 0;

	if (sqlite3_step(s) == SQLITE_ROW) {
		counts->traces = (uint64_t)sqlite3_column_int64(s, 0);
		counts->dropped = (uint64_t)sqlite3_column_int64(s, 1);
		counts->last_proposal = (uint64_t)sqlite3_column_int64(s, 2);
	} else {
		ret = kb_failed(kb, "counting traces");
	}
	sqlite3_reset(s);
	return ret;
}
