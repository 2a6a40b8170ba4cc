/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest.c - the table of keys, and a strict reader over libinih.
 */
#include "agent/core/manifest.h"

#include <errno.h>
#include <ini.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include "agent/core/control.h"
#include "agent/core/drain.h"
#include "agent/core/watch.h"
#include "agent/infer/encode.h"
#include "agent/infer/label.h"

enum key_type { KEY_TEXT, KEY_COUNT, KEY_NUMBER };

struct key {
	const char *section, *name;
	enum key_type type;
	size_t offset, size; /* size: of a text field */
	double least, most; /* of a number */
	const char *preset; /* NULL = required */
};

#define FIELD(f) offsetof(struct manifest, f), sizeof(((struct manifest *)0)->f)

static const struct key keys[] = {
	{ "policy", "name", KEY_TEXT, FIELD(name), 0, 0, NULL },
	{ "policy", "summary", KEY_TEXT, FIELD(summary), 0, 0, "" },
	{ "policy", "object", KEY_TEXT, FIELD(object), 0, 0, NULL },
	{ "policy", "wire", KEY_COUNT, FIELD(wire), 1, 65535, NULL },
	{ "policy", "record", KEY_TEXT, FIELD(record), 0, 0, "block" },
	{ "policy", "decide", KEY_TEXT, FIELD(decide), 0, 0, "async" },
	{ "policy", "volume", KEY_TEXT, FIELD(volume), 0, 0, "" },
	{ "policy", "mode", KEY_TEXT, FIELD(mode), 0, 0, "shadow" },
	{ "policy", "ttl_ms", KEY_COUNT, FIELD(ttl_ms), 1, 75, "50" },
	{ "policy", "budget_per_s", KEY_COUNT, FIELD(budget_per_s), 0, 10000000, "20000" },
	{ "model", "encoder", KEY_TEXT, FIELD(encoder), 0, 0, NULL },
	{ "model", "hidden", KEY_TEXT, FIELD(hidden), 0, 0, NULL },
	{ "model", "outputs", KEY_COUNT, FIELD(outputs), 1, 2, "2" },
	{ "model", "predicts", KEY_TEXT, FIELD(predicts), 0, 0, "class" },
	{ "model", "file", KEY_TEXT, FIELD(model), 0, 0, "" },
	{ "learn", "labeler", KEY_TEXT, FIELD(labeler), 0, 0, "inflection" },
	{ "learn", "min_rows", KEY_COUNT, FIELD(min_rows), 200, 1000000, "6000" },
	{ "learn", "max_rows", KEY_COUNT, FIELD(max_rows), 400, 1000000, "40000" },
	{ "learn", "min_seconds", KEY_COUNT, FIELD(min_seconds), 0, 86400, "15" },
	{ "learn", "slow_weight", KEY_NUMBER, FIELD(slow_weight), 0.01, 1000, "5" },
	{ "learn", "epochs", KEY_COUNT, FIELD(epochs), 1, 1000, "20" },
	{ "learn", "batch", KEY_COUNT, FIELD(batch), 1, 4096, "128" },
	{ "learn", "learning_rate", KEY_NUMBER, FIELD(learning_rate), 1e-6, 1, "0.001" },
	{ "learn", "margin", KEY_NUMBER, FIELD(margin), 0, 0.4, "0.05" },
	{ "evaluate", "window", KEY_COUNT, FIELD(window), 256, 65536, "4096" },
	{ "evaluate", "floor_auc", KEY_NUMBER, FIELD(floor_auc), 0.5, 1, "0.55" },
	{ "evaluate", "floor_rows", KEY_COUNT, FIELD(floor_rows), 64, 65536, "1024" },
	{ "evaluate", "drift", KEY_NUMBER, FIELD(drift), 0.01, 0.5, "0.10" },
	{ "batch", "max", KEY_COUNT, FIELD(batch_max), 1, 4096, "64" },
	{ "batch", "window_us", KEY_COUNT, FIELD(batch_window_us), 0, 100000, "0" },
	{ "batch", "spin", KEY_TEXT, FIELD(spin), 0, 0, "auto" },
	{ "watch", "action", KEY_TEXT, FIELD(action), 0, 0, "log" },
	{ "watch", "allow", KEY_TEXT, FIELD(allow), 0, 0, "" },
	{ "watch", "classes", KEY_COUNT, FIELD(classes), 1, 2, "2" },
	{ "watch", "windows", KEY_COUNT, FIELD(windows), 1, 1000, "2" },
	{ "watch", "false_positives", KEY_NUMBER, FIELD(false_positives), 0, 0.5, "0.021" },
};

#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
#define WINDOW_LEAST_US 50 /* a shorter one is a storm of timers */
#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

struct reading {
	struct manifest *manifest;
	const char *at; /* what is left of the text */
	int line; /* being read */
	int given[N_KEYS]; /* line a key was given in, 0 = not */
	char where[PATH_MAX + 16], *error;
	size_t error_len;
	int refused; /* line of the first refusal */
};

/* One sentence about the line `line`, or about the file as a whole when it is 0. */
__attribute__((format(printf, 3, 4))) static void refuse(
	const struct reading *reading, int line, const char *fmt, ...)
{
	char what[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	if (line)
		snprintf(reading->error, reading->error_len, "%s line %d: %s.", reading->where,
			line, what);
	else
		snprintf(reading->error, reading->error_len, "%s: %s.", reading->where, what);
}

/* Line in which the key of this field was given; 0 when its preset stands. */
static int line_of(const struct reading *reading, size_t offset)
{
	for (size_t i = 0; i < N_KEYS; i++)
		if (keys[i].offset == offset)
			return reading->given[i];
	return 0;
}

#define LINE_OF(field) line_of(reading, offsetof(struct manifest, field))

static bool key_set(struct manifest *manifest, const struct key *key, const char *value, char *why,
	size_t why_len)
{
	char *field = (char *)manifest + key->offset, *end;
	double number;

	if (key->type == KEY_TEXT) {
		if (strlen(value) >= key->size) {
			snprintf(why, why_len, "is longer than %zu characters", key->size - 1);
			return false;
		}
		memset(field, 0, key->size);
		memcpy(field, value, strlen(value));
		return true;
	}
	errno = 0;
	number = strtod(value, &end);
	if (end == value || *end || errno || !isfinite(number) || number < key->least ||
		number > key->most || (key->type == KEY_COUNT && number != floor(number))) {
		snprintf(why, why_len, "must be a %s from %g to %g, not '%.40s'",
			key->type == KEY_COUNT ? "whole number" : "number", key->least, key->most,
			value);
		return false;
	}
	if (key->type == KEY_COUNT)
		*(uint32_t *)field = (uint32_t)number;
	else
		*(double *)field = number;
	return true;
}

static int on_pair(void *ctx, const char *section, const char *name, const char *value)
{
	struct reading *reading = ctx;
	char why[128];

	if (reading->refused)
		return 0;
	reading->refused = reading->line;
	for (size_t i = 0; i < N_KEYS; i++) {
		if (strcmp(section, keys[i].section) || strcmp(name, keys[i].name))
			continue;
		if (reading->given[i]) {
			snprintf(
				why, sizeof(why), "is given already in line %d", reading->given[i]);
		} else if (key_set(reading->manifest, &keys[i], value, why, sizeof(why))) {
			reading->given[i] = reading->line;
			reading->refused = 0;
			return 1;
		}
		refuse(reading, reading->line, "[%s] %s %s", section, name, why);
		return 0;
	}
	refuse(reading, reading->line,
		"no such key as '%.40s' in section [%.40s]; semantos-policy.conf(5) lists them",
		name, section);
	return 0;
}

/*
 * libinih's line reader, as fgets(3). Ours because libinih would cut a long line in two and take an indented key for
 * more of the value above it, and because it tells nobody the number of a line.
 */
static char *next_line(char *out, int size, void *stream)
{
	struct reading *reading = stream;
	size_t n;

	if (reading->refused || !*reading->at)
		return NULL;
	reading->line++;
	reading->at += strspn(reading->at, " \t");
	n = strcspn(reading->at, "\n");
	if (n + 2 > (size_t)size) {
		reading->refused = reading->line;
		refuse(reading, reading->line, "the line is longer than %d characters", size - 2);
		return NULL;
	}
	memcpy(out, reading->at, n);
	memcpy(out + n, "\n", 2);
	reading->at += n + (reading->at[n] == '\n');
	return out;
}

bool manifest_watches(const struct manifest *manifest)
{
	return strcmp(manifest->record, "calls") == 0;
}

bool manifest_is_sched(const struct manifest *manifest)
{
	return strcmp(manifest->record, "sched") == 0;
}

/* The name becomes a folder of the state directory and of the BPF file system, which knows no dots. */
static bool name_fits(const char *name)
{
	return name[0] && name[strspn(name, NAME_CHARACTERS)] == 0 && name[0] != '-' &&
	       strcmp(name, "lease") != 0; /* the lease's own pin */
}

static bool file_fits(const char *name)
{
	return name[0] != '.' && !strchr(name, '/');
}

/* Is this section for the other kind of record? A model of references is all that watching has of [model]. */
static bool section_foreign(const struct manifest *manifest, const struct key *key)
{
	if (!manifest_watches(manifest))
		return strcmp(key->section, "watch") == 0;
	return strcmp(key->section, "learn") == 0 || strcmp(key->section, "evaluate") == 0 ||
	       (strcmp(key->section, "model") == 0 && strcmp(key->name, "file"));
}

/* Line of a key that says nothing here; 0 = none. */
static int foreign_key(const struct reading *reading)
{
	for (size_t i = 0; i < N_KEYS; i++)
		if (reading->given[i] && section_foreign(reading->manifest, &keys[i]))
			return reading->given[i];
	return 0;
}

/* Checks that need to know what a value means. */
static int manifest_check(const struct reading *reading)
{
	const struct manifest *manifest = reading->manifest;
	struct learn_recipe recipe;
	enum semantos_mode mode;
	char why[256];
	uint32_t canary;

	if (manifest->wire != SEMANTOS_WIRE_VERSION) {
		refuse(reading, LINE_OF(wire),
			"it is written for wire format %u, this agent speaks %u", manifest->wire,
			SEMANTOS_WIRE_VERSION);
		return -EPROTO;
	}
	if (!name_fits(manifest->name))
		refuse(reading, LINE_OF(name),
			"a policy cannot be named '%s'; use letters, digits, - and _",
			manifest->name);
	else if (!manifest->object[0] || !file_fits(manifest->object))
		refuse(reading, LINE_OF(object),
			"object must be the name of a file in the policy's own folder");
	else if (!file_fits(manifest->model))
		refuse(reading, LINE_OF(model),
			"[model] file must be the name of a file in the policy's own folder");
	else if (strcmp(manifest->record, "block") && !manifest_watches(manifest) &&
		 !manifest_is_sched(manifest))
		refuse(reading, LINE_OF(record),
			"no records of kind '%s' are known; 'block', 'calls' and 'sched' are",
			manifest->record);
	else if (watch_action_parse(manifest->action) < 0)
		refuse(reading, LINE_OF(action), "[watch] action '%s' is none of log, stop, freeze",
			manifest->action);
	else if (foreign_key(reading))
		refuse(reading, foreign_key(reading),
			"records of kind '%s' have no use for this key", manifest->record);
	else if (manifest_watches(manifest) &&
		 (manifest->volume[0] || strcmp(manifest->decide, "async")))
		refuse(reading, LINE_OF(volume) ?: LINE_OF(decide),
			"records of kind 'calls' decide for no replica volume");
	else if (manifest_is_sched(manifest) != !strcmp(manifest->encoder, "mllb"))
		refuse(reading, LINE_OF(encoder),
			"encoder '%s' is not for records of kind '%s'; mllb is for 'sched' alone",
			manifest->encoder, manifest->record);
	else if (manifest_is_sched(manifest) && manifest->volume[0])
		refuse(reading, LINE_OF(volume),
			"records of kind 'sched' decide for no replica volume");
	else if (strcmp(manifest->decide, "async") && strcmp(manifest->decide, "inline"))
		refuse(reading, LINE_OF(decide), "decide '%s' is none of async, inline",
			manifest->decide);
	else if (!file_fits(manifest->volume))
		refuse(reading, LINE_OF(volume),
			"volume must be the name of a file in the policy's own folder");
	else if (strcmp(manifest->decide, "inline") == 0 && !manifest->volume[0] &&
		 !manifest_is_sched(manifest))
		refuse(reading, LINE_OF(decide),
			"decide = inline needs an object that decides, [policy] volume");
	else if (strcmp(manifest->predicts, "class") && strcmp(manifest->predicts, "latency"))
		refuse(reading, LINE_OF(predicts), "predicts '%s' is none of class, latency",
			manifest->predicts);
	else if (strcmp(manifest->predicts, "latency") == 0 && manifest->outputs != 1)
		refuse(reading, LINE_OF(outputs) ?: LINE_OF(predicts),
			"predicts = latency has one output, not %u", manifest->outputs);
	else if (control_parse_mode(manifest->mode, &mode, &canary))
		refuse(reading, LINE_OF(mode), "mode '%s' is none of shadow, canary:N, enforce",
			manifest->mode);
	else if (manifest->max_rows < manifest->min_rows)
		refuse(reading, LINE_OF(max_rows) ?: LINE_OF(min_rows),
			"max_rows (%u) is smaller than min_rows (%u)", manifest->max_rows,
			manifest->min_rows);
	else if (manifest->window & (manifest->window - 1))
		refuse(reading, LINE_OF(window), "[evaluate] window must be a power of two");
	else if (manifest->floor_rows > manifest->window)
		refuse(reading, LINE_OF(floor_rows) ?: LINE_OF(window),
			"[evaluate] floor_rows (%u) is larger than window (%u)",
			manifest->floor_rows, manifest->window);
	else if (manifest->batch_window_us && manifest->batch_window_us < WINDOW_LEAST_US)
		refuse(reading, LINE_OF(batch_window_us),
			"[batch] window_us must be 0 (derived) or at least %d", WINDOW_LEAST_US);
	else if (drain_spin_parse(manifest->spin) < 0)
		refuse(reading, LINE_OF(spin), "[batch] spin '%s' is none of never, auto, always",
			manifest->spin);
	else if (!manifest_watches(manifest) &&
		 manifest_recipe(manifest, &recipe, why, sizeof(why)))
		refuse(reading,
			!encoder_find(manifest->encoder)   ? LINE_OF(encoder)
			: !labeler_find(manifest->labeler) ? LINE_OF(labeler)
							   : LINE_OF(hidden),
			"%.*s", (int)strlen(why) - 1, why);
	else
		return 0;
	return -EINVAL;
}

static int manifest_read(struct reading *reading)
{
	char why[128];
	int line = ini_parse_stream(next_line, reading, on_pair, reading);

	/* libinih reads on after a line it cannot read: the first fault is told. */
	if (line > 0 && (!reading->refused || line < reading->refused)) {
		refuse(reading, line, "it is not of the form 'key = value'");
		return -EINVAL;
	}
	if (reading->refused)
		return -EINVAL;
	if (line < 0) {
		refuse(reading, 0, "it could not be read: out of memory");
		return -ENOMEM;
	}
	for (size_t i = 0; i < N_KEYS; i++) {
		if (reading->given[i])
			continue;
		/* record has its place before the sections it is about */
		if (!keys[i].preset && section_foreign(reading->manifest, &keys[i]))
			continue;
		if (!keys[i].preset) {
			refuse(reading, 0, "[%s] %s is missing", keys[i].section, keys[i].name);
			return -EINVAL;
		}
		if (!key_set(reading->manifest, &keys[i], keys[i].preset, why, sizeof(why))) {
			refuse(reading, 0, "the preset of %s %s", keys[i].name, why);
			return -EINVAL;
		}
	}
	return manifest_check(reading);
}

int manifest_parse(const char *text, const char *directory, struct manifest *manifest, char *error,
	size_t error_len)
{
	struct reading reading = {
		.manifest = manifest, .at = text, .error = error, .error_len = error_len
	};

	memset(manifest, 0, sizeof(*manifest));
	if (snprintf(manifest->directory, sizeof(manifest->directory), "%s", directory) >=
		(int)sizeof(manifest->directory)) {
		snprintf(error, error_len, "The policy folder's path is too long.");
		return -ENAMETOOLONG;
	}
	snprintf(reading.where, sizeof(reading.where), "%s/policy.conf", directory);
	return manifest_read(&reading);
}

int manifest_load(const char *directory, struct manifest *manifest, char *error, size_t error_len)
{
	char path[PATH_MAX + 16], *text;
	ssize_t n;
	int fd, err;

	snprintf(path, sizeof(path), "%s/policy.conf", directory);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hold us up */
	if (fd < 0)
		return err = -errno,
		       snprintf(error, error_len, "%s cannot be opened: %s.", path, strerror(-err)),
		       err;
	text = malloc(MANIFEST_MAX_BYTES + 1);
	n = text ? read(fd, text, MANIFEST_MAX_BYTES + 1) : -1;
	err = errno;
	close(fd);
	if (n < 0 || n > MANIFEST_MAX_BYTES || (n > 0 && memchr(text, 0, (size_t)n))) {
		snprintf(error, error_len, "%s %s.", path,
			n < 0 ? strerror(err)
			      : "is no manifest: it is too large or holds NUL bytes");
		free(text);
		return n < 0 ? -err : -EINVAL;
	}
	text[n] = 0;
	err = manifest_parse(text, directory, manifest, error, error_len);
	free(text);
	return err;
}

int manifest_find(const char *path, const char *name, struct manifest *manifest, char *error,
	size_t error_len)
{
	char directory[PATH_MAX];
	int err;

	if (!name[0] || name[0] == '.' || strchr(name, '/'))
		return snprintf(error, error_len, "'%.40s' is no name of a policy.", name), -EINVAL;
	for (const char *at = path; *at;) {
		size_t n = strcspn(at, ":");

		if (n &&
			snprintf(directory, sizeof(directory), "%.*s/%s", (int)n, at, name) <
				(int)sizeof(directory) &&
			access(directory, F_OK) == 0) {
			err = manifest_load(directory, manifest, error, error_len);
			if (!err && strcmp(manifest->name, name)) {
				snprintf(error, error_len,
					"%s/policy.conf names itself '%s'; folder and name must "
					"agree.",
					directory, manifest->name);
				err = -EINVAL;
			}
			return err;
		}
		at += n + (at[n] == ':');
	}
	snprintf(error, error_len,
		"No policy '%.40s' in %.300s; --policy-path names other folders.", name, path);
	return -ENOENT;
}

int manifest_recipe(
	const struct manifest *manifest, struct learn_recipe *recipe, char *error, size_t error_len)
{
	const char *at = manifest->hidden;

	memset(recipe, 0, sizeof(*recipe));
	if (!encoder_find(manifest->encoder))
		return snprintf(error, error_len, "%s: no encoder is called '%s'.", manifest->name,
			       manifest->encoder),
		       -EINVAL;
	if (!labeler_find(manifest->labeler))
		return snprintf(error, error_len, "%s: no labeler is called '%s'.", manifest->name,
			       manifest->labeler),
		       -EINVAL;
	while (*at) {
		char *end;
		unsigned long width = strtoul(at, &end, 10);

		if (end == at || (*end && *end != ',') || width < 1 || width > MODEL_MAX_WIDTH ||
			recipe->n_hidden + 1 >= MODEL_MAX_LAYERS)
			return snprintf(error, error_len,
				       "%s: hidden = %s must list up to %d widths from 1 to %d.",
				       manifest->name, manifest->hidden, MODEL_MAX_LAYERS - 1,
				       MODEL_MAX_WIDTH),
			       -EINVAL;
		recipe->hidden[recipe->n_hidden++] = (uint32_t)width;
		at = *end ? end + 1 : end;
	}
	snprintf(recipe->encoder, sizeof(recipe->encoder), "%s", manifest->encoder);
	snprintf(recipe->labeler, sizeof(recipe->labeler), "%s", manifest->labeler);
	recipe->outputs = manifest->outputs;
	recipe->latency = strcmp(manifest->predicts, "latency") == 0;
	recipe->verdict_ns =
		strcmp(manifest->decide, "async") == 0 ? manifest->ttl_ms * 1000000ULL : 0;
	recipe->margin = manifest->margin;
	recipe->train.optimiser = TRAIN_ADAM;
	recipe->train.loss = TRAIN_CROSS_ENTROPY;
	recipe->train.learning_rate = (float)manifest->learning_rate;
	recipe->train.slow_weight = (float)manifest->slow_weight;
	recipe->train.epochs = manifest->epochs;
	recipe->train.batch = manifest->batch;
	recipe->train.seed = 1;
	/* LinnOS feeds its digits as they are; other encoders mix units and need a common scale. */
	recipe->train.standardise = strcmp(manifest->encoder, "linnos-digits") != 0;
	return 0;
}
