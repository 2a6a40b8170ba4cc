// SPDX-License-Identifier: Apache-2.0
/*
 * tune_memory.c - what came of proposals: kept whole for a while, in short for longer, in one file across restarts.
 *
 * The short memory is what tau is taken from, and what keeps a proposal from being tried twice. The file is written anew
 * and renamed; one that is damaged is put aside, and the tuner begins with an empty memory. On the tuner's `lock`.
 */
#include "agent/core/tune_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/util/log.h"

#define FILE_MAX (4 << 20)
#define VERSION 1
#define ANOTHER_LOAD 0.7 /* of the logarithm; the advisor's too: load.c */

/* ---- the same proposal again? ---- */

static void hash_text(uint64_t *hash, const char *text)
{
	/* FNV-1a; the final NUL divides one text from the next */
	do
		*hash = (*hash ^ (unsigned char)*text) * 0x100000001b3ULL;
	while (*text++);
}

/* Numbers that the kernel takes for the same are the same. */
static void hash_value(uint64_t *hash, const char *value)
{
	char text[32], *end;
	int base = strncmp(value, "0x", 2) == 0 ? 16 : 10;
	long long number;

	errno = 0;
	number = strtoll(value, &end, base);
	if (end == value || *end || errno) {
		hash_text(hash, value);
		return;
	}
	snprintf(text, sizeof(text), "%lld", number);
	hash_text(hash, text);
}

uint64_t tune_key(const struct tune_record *record)
{
	uint64_t key = 0xcbf29ce484222325ULL, sum = 0;

	hash_text(&key, record->objective);
	/* the order of the knobs says nothing */
	for (uint32_t i = 0; i < record->n_knobs; i++) {
		uint64_t one = key;

		hash_text(&one, record->knob[i].name);
		hash_value(&one, record->was[i].value);
		hash_value(&one, record->knob[i].value);
		sum += one;
	}
	return sum;
}

/* That it brought nothing where the objective was twice as good or half as good says nothing of now: the load is another. */
static bool is_stale(const struct tune_memory *memory, double now)
{
	return memory->verdict == TUNE_V_NO_EFFECT && !memory->unsafe && memory->before > 0 &&
	       now > 0 && fabs(log(now / memory->before)) > ANOTHER_LOAD;
}

static bool is_near(double a, double b)
{
	return a > 0 && b > 0 && fabs(log(a / b)) <= ANOTHER_LOAD;
}

/* Was the objective ever about so good as in any of these reports, while something was tried for it? *known: it was looked at. */
static bool seen_before(const struct tuner *t, const struct tune_session *s, bool *known)
{
	const struct slo_series *series = &s->series[tune_objective(&s->goal, 0)];

	for (uint32_t i = 0; i < t->n_records; i++) {
		const struct tune_record *record = t->record[i];

		if (strcmp(record->objective, s->objective) != 0 || !(record->before > 0) ||
			record->verdict == TUNE_V_VETOED || record->verdict == TUNE_V_STOPPED)
			continue;
		*known = true;
		for (uint32_t r = 1; r <= LOAD_REPORTS; r++) {
			double now = series->report[(series->next + SLO_REPORTS - r) % SLO_REPORTS]
					     .value;

			if (!(now > 0) || is_near(now, record->before) ||
				is_near(now, record->after))
				return true;
		}
	}
	return false;
}

void tune_look_at_load(struct tuner *t, const struct tune_session *s)
{
	bool known = false;

	if (s->goal.n_members || s->series[tune_objective(&s->goal, 0)].count < LOAD_REPORTS ||
		t->threshold.count == 0 || seen_before(t, s, &known) || !known)
		return;
	threshold_forget(&t->threshold, 0);
	drift_reset(&t->drift, DRIFT_DELTA);
	log_info("Tuning: the objective is twice or half as good as in any trial known of it, so "
		 "the load is another; "
		 "the limit on uncertainty begins anew.");
}

bool tune_remembered(const struct tuner *t, const struct tune_record *record, double now,
	enum tune_verdict *verdict)
{
	uint64_t key = tune_key(record);

	for (uint32_t i = 0; i < t->n_memory; i++) {
		*verdict = t->memory[i].verdict;
		if (t->memory[i].key == key && !is_stale(&t->memory[i], now) &&
			(*verdict == TUNE_V_NO_EFFECT || *verdict == TUNE_V_WORSE ||
				*verdict == TUNE_V_BREACH || *verdict == TUNE_V_REJECTED))
			return true;
	}
	return false;
}

/* ---- outcomes ---- */

/* What was never tried says nothing of how safe it would have been. */
static bool was_tried(const struct tune_memory *memory)
{
	return memory->verdict == TUNE_V_KEPT || memory->verdict == TUNE_V_NO_EFFECT ||
	       memory->unsafe;
}

static void take(struct tuner *t, const struct tune_memory *memory)
{
	t->memory[t->next_memory] = *memory;
	t->next_memory = (t->next_memory + 1) % TUNE_MEMORY;
	if (t->n_memory < TUNE_MEMORY)
		t->n_memory++;
	if (!was_tried(memory))
		return;
	threshold_add(&t->threshold, memory->u, memory->unsafe);
	/* how far off the proposer's own word was */
	if (drift_add(&t->drift, fabs((double)memory->unsafe - memory->u))) {
		uint64_t width = drift_width(&t->drift);

		threshold_forget(&t->threshold,
			width < THRESHOLD_WINDOW ? (uint32_t)width : THRESHOLD_WINDOW);
		log_info("Tuning: the advisor's uncertainty means something else than before; "
			 "the limit rests on the last %llu outcomes.",
			(unsigned long long)width);
	}
}

void tune_remember(struct tuner *t, const struct tune_record *record)
{
	const struct tune_memory memory = { .key = tune_key(record),
		.u = record->uncertainty,
		.before = record->before > 0 && isfinite(record->before) ? record->before : 0,
		.verdict = record->verdict,
		.unsafe = record->unsafe };

	tune_record_find(t, record->id)->seq = ++t->last_seq;
	/* a flood of them must not drive out what was learned */
	if (record->verdict != TUNE_V_VETOED && record->verdict != TUNE_V_STOPPED)
		take(t, &memory);
	pthread_cond_broadcast(&t->news);
}

void tune_forget(struct tuner *t)
{
	t->n_memory = t->next_memory = 0;
	threshold_reset(&t->threshold, THRESHOLD_ALPHA, TUNE_CEILING);
	drift_reset(&t->drift, DRIFT_DELTA);
}

/* ---- records ---- */

void tune_record_free(struct tune_record *record)
{
	if (!record)
		return;
	free(record->telemetry_before);
	free(record->telemetry_after);
	free(record);
}

struct tune_record *tune_record_find(struct tuner *t, uint64_t id)
{
	for (uint32_t i = 0; i < t->n_records; i++) {
		if (t->record[i]->id == id)
			return t->record[i];
	}
	return NULL;
}

/* The oldest that nothing depends on: what is in force is needed to undo it. */
static void make_room(struct tuner *t)
{
	uint32_t i = 0;

	if (t->n_records < TUNE_RECORDS)
		return;
	while (i + 1 < t->n_records && t->record[i]->state == TUNE_KEPT)
		i++;
	tune_record_free(t->record[i]);
	memmove(t->record + i, t->record + i + 1,
		(t->n_records - i - 1) * sizeof(struct tune_record *));
	t->n_records--;
}

struct tune_record *tune_record_new(struct tuner *t)
{
	struct tune_record *record = calloc(1, sizeof(*record));

	if (!record)
		return NULL;
	make_room(t);
	record->id = ++t->last_record;
	t->record[t->n_records++] = record;
	return record;
}

/* ---- the file ---- */

/* JSON has no NaN: such a number is left out. */
static void put_number(json_t *object, const char *key, double value)
{
	if (isfinite(value))
		json_object_set_new(object, key, json_real(value));
}

/* A text that is no UTF-8 any more, because it was cut, is left out. */
static void put_text(json_t *object, const char *key, const char *text)
{
	json_t *value = json_string(text);

	if (value)
		json_object_set_new(object, key, value);
}

static json_t *record_json(const struct tune_record *record)
{
	json_t *object = json_object(), *knobs = json_array();

	json_object_set_new(object, "id", json_integer((json_int_t)record->id));
	json_object_set_new(object, "goal", json_integer((json_int_t)record->goal));
	json_object_set_new(object, "change", json_integer((json_int_t)record->change));
	json_object_set_new(object, "unix_ms", json_integer((json_int_t)record->unix_ms));
	json_object_set_new(object, "state", json_integer(record->state));
	json_object_set_new(object, "verdict", json_integer(record->verdict));
	json_object_set_new(object, "lower", json_boolean(record->lower_is_better));
	json_object_set_new(object, "unsafe", json_boolean(record->unsafe));
	json_object_set_new(object, "pairs", json_integer(record->pairs));
	put_number(object, "expected", record->expected);
	put_number(object, "uncertainty", record->uncertainty);
	put_number(object, "before", record->before);
	put_number(object, "after", record->after);
	put_number(object, "share", record->change_share);
	put_number(object, "low", record->low);
	put_number(object, "high", record->high);
	put_text(object, "objective", record->objective);
	put_text(object, "members", record->members);
	put_text(object, "rationale", record->rationale);
	put_text(object, "evidence", record->evidence);
	put_text(object, "text", record->text);
	for (uint32_t i = 0; i < record->n_knobs; i++)
		json_array_append_new(knobs, json_pack("[s, s, s]", record->knob[i].name,
						     record->was[i].value, record->knob[i].value));
	json_object_set_new(object, "knobs", knobs);
	return object;
}

static char *encode(const struct tuner *t)
{
	json_t *root = json_object(), *records = json_array(), *memory = json_array();
	char *text;

	json_object_set_new(root, "version", json_integer(VERSION));
	json_object_set_new(root, "last_record", json_integer((json_int_t)t->last_record));
	json_object_set_new(root, "last_goal", json_integer((json_int_t)t->last_goal));
	for (uint32_t i = 0; i < t->n_records; i++) {
		if (t->record[i]->verdict)
			json_array_append_new(records, record_json(t->record[i]));
	}
	for (uint32_t i = 0; i < t->n_memory; i++) {
		uint32_t at = (t->next_memory + TUNE_MEMORY - t->n_memory + i) % TUNE_MEMORY;
		const struct tune_memory *m = &t->memory[at];

		json_array_append_new(memory, json_pack("[I, f, i, b, f]", (json_int_t)m->key, m->u,
						      (int)m->verdict, (int)m->unsafe, m->before));
	}
	json_object_set_new(root, "records", records);
	json_object_set_new(root, "memory", memory);
	text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(12));
	json_decref(root);
	return text;
}

static int write_file(const char *path, const char *text)
{
	char temporary[560];
	size_t n = strlen(text);
	int fd, err = 0;

	snprintf(temporary, sizeof(temporary), "%s.new", path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	while (n > 0 && !err) {
		ssize_t put = write(fd, text, n);

		if (put > 0) {
			text += put;
			n -= (size_t)put;
		} else if (errno != EINTR) {
			err = -errno;
		}
	}
	if (!err && fsync(fd))
		err = -errno;
	close(fd);
	if (!err && rename(temporary, path))
		err = -errno;
	return err;
}

void tune_save(struct tuner *t)
{
	char *text;
	int err;

	if (!t->file[0])
		return;
	pthread_mutex_unlock(&t->lock);
	pthread_mutex_lock(&t->file_lock);
	/* what is written last is what was so last */
	pthread_mutex_lock(&t->lock);
	text = encode(t);
	pthread_mutex_unlock(&t->lock);
	err = text ? write_file(t->file, text) : -ENOMEM;
	pthread_mutex_unlock(&t->file_lock);
	free(text);
	if (err)
		log_warn("What came of proposals could not be stored in %s: %s.", t->file,
			strerror(-err));
	pthread_mutex_lock(&t->lock);
}

static bool get_number(const json_t *object, const char *key, double *value)
{
	const json_t *number = json_object_get(object, key);

	*value = number ? json_number_value(number) : NAN;
	return !number || json_is_number(number);
}

static bool get_whole(const json_t *object, const char *key, uint64_t max, uint64_t *value)
{
	const json_t *number = json_object_get(object, key);
	json_int_t whole = json_integer_value(number);

	*value = (uint64_t)whole;
	return json_is_integer(number) && whole >= 0 && (uint64_t)whole <= max;
}

static bool get_text(const json_t *object, const char *key, char *out, size_t size)
{
	const json_t *text = json_object_get(object, key);

	record_text(out, size, json_is_string(text) ? json_string_value(text) : "");
	return !text || json_is_string(text);
}

static bool get_knobs(const json_t *object, struct tune_record *record)
{
	const json_t *knobs = json_object_get(object, "knobs");

	if (!json_is_array(knobs) || json_array_size(knobs) > RECORD_KNOBS_MAX)
		return false;
	for (size_t i = 0; i < json_array_size(knobs); i++) {
		const char *name, *was, *value;

		if (json_unpack(json_array_get(knobs, i), "[s, s, s]", &name, &was, &value) ||
			strlen(name) >= RECORD_NAME_MAX || strlen(was) >= RECORD_VALUE_MAX ||
			strlen(value) >= RECORD_VALUE_MAX)
			return false;
		snprintf(record->knob[i].name, RECORD_NAME_MAX, "%s", name);
		snprintf(record->was[i].name, RECORD_NAME_MAX, "%s", name);
		snprintf(record->was[i].value, RECORD_VALUE_MAX, "%s", was);
		snprintf(record->knob[i].value, RECORD_VALUE_MAX, "%s", value);
		record->n_knobs++;
	}
	return true;
}

static bool get_record(struct tuner *t, const json_t *object)
{
	struct tune_record *record = calloc(1, sizeof(*record));
	uint64_t state, verdict, pairs;
	bool ok;

	if (!record)
		return false;
	ok = get_whole(object, "id", t->last_record, &record->id) && record->id > 0 &&
	     !tune_record_find(t, record->id) &&
	     get_whole(object, "goal", INT64_MAX, &record->goal) &&
	     get_whole(object, "change", INT64_MAX, &record->change) &&
	     get_whole(object, "unix_ms", INT64_MAX, &record->unix_ms) &&
	     get_whole(object, "state", TUNE_STALE, &state) && state >= TUNE_KEPT &&
	     get_whole(object, "verdict", TUNE_V_REJECTED, &verdict) && verdict > TUNE_NONE &&
	     get_whole(object, "pairs", ROLLOUT_PAIRS, &pairs) &&
	     get_number(object, "expected", &record->expected) &&
	     get_number(object, "uncertainty", &record->uncertainty) &&
	     get_number(object, "before", &record->before) &&
	     get_number(object, "after", &record->after) &&
	     get_number(object, "share", &record->change_share) &&
	     get_number(object, "low", &record->low) && get_number(object, "high", &record->high) &&
	     get_text(object, "objective", record->objective, sizeof(record->objective)) &&
	     get_text(object, "members", record->members, sizeof(record->members)) &&
	     get_text(object, "rationale", record->rationale, sizeof(record->rationale)) &&
	     get_text(object, "evidence", record->evidence, sizeof(record->evidence)) &&
	     get_text(object, "text", record->text, sizeof(record->text)) &&
	     get_knobs(object, record);
	if (!ok) {
		free(record);
		return false;
	}
	record->state = (enum tune_state)state;
	record->verdict = (enum tune_verdict)verdict;
	record->pairs = (uint32_t)pairs;
	record->lower_is_better = json_is_true(json_object_get(object, "lower"));
	record->unsafe = json_is_true(json_object_get(object, "unsafe"));
	record->seq = ++t->last_seq;
	/* an agent that ended in order took it along */
	if (record->state == TUNE_KEPT &&
		!(t->options.ops.in_force &&
			t->options.ops.in_force(t->options.ops.ctx, record->change)))
		record->state = TUNE_UNDONE;
	t->record[t->n_records++] = record;
	return true;
}

static bool get_memory(struct tuner *t, const json_t *array)
{
	struct tune_memory memory = { 0 };
	json_int_t key;
	int verdict, unsafe;

	if (json_unpack((json_t *)array, "[I, F, i, b]", &key, &memory.u, &verdict, &unsafe) ||
		verdict <= TUNE_NONE || verdict > TUNE_V_REJECTED)
		return false;
	memory.before = json_number_value(json_array_get(array, 4)); /* none of an older agent */
	memory.key = (uint64_t)key;
	memory.verdict = (enum tune_verdict)verdict;
	memory.unsafe = unsafe != 0;
	take(t, &memory);
	return true;
}

static bool decode(struct tuner *t, const json_t *root)
{
	const json_t *records = json_object_get(root, "records");
	const json_t *memory = json_object_get(root, "memory");
	uint64_t version;
	bool ok = get_whole(root, "version", VERSION, &version) &&
		  get_whole(root, "last_record", INT64_MAX, &t->last_record) &&
		  get_whole(root, "last_goal", INT64_MAX, &t->last_goal) &&
		  json_is_array(records) && json_array_size(records) <= TUNE_RECORDS &&
		  json_is_array(memory) && json_array_size(memory) <= TUNE_MEMORY;

	for (size_t i = 0; ok && i < json_array_size(records); i++)
		ok = get_record(t, json_array_get(records, i));
	for (size_t i = 0; ok && i < json_array_size(memory); i++)
		ok = get_memory(t, json_array_get(memory, i));
	return ok;
}

void tune_load(struct tuner *t)
{
	struct stat st;
	char aside[560];
	json_t *root;

	if (!t->file[0] || stat(t->file, &st))
		return;
	root = S_ISREG(st.st_mode) && st.st_size <= FILE_MAX ? json_load_file(t->file, 0, NULL)
							     : NULL;
	if (root && decode(t, root)) {
		json_decref(root);
		return;
	}
	json_decref(root);
	snprintf(aside, sizeof(aside), "%s.damaged", t->file);
	log_warn("What came of proposals cannot be read from %s; it is put aside as %s, and the "
		 "tuner begins anew.",
		t->file, rename(t->file, aside) ? "nothing" : aside);
	for (uint32_t i = 0; i < t->n_records; i++)
		tune_record_free(t->record[i]);
	t->n_records = 0;
	t->last_record = t->last_goal = 0;
	tune_forget(t);
}
