// SPDX-License-Identifier: Apache-2.0
/*
 * module_view.c - lines of words, "kind [number] key=value...", as a table of sentences and as JSON. Owns nothing.
 */
#include "agent/cli/module_view.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include "agent/cli/ctl.h"

#define STATE_MAX 65536
#define LINE_MAX_WORDS 32

struct line {
	char text[512];
	const char *kind; /* first word */
	const char *key[LINE_MAX_WORDS], *value[LINE_MAX_WORDS];
	size_t n;
};

char *module_state(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = fd < 0 ? NULL : malloc(STATE_MAX + 1);
	ssize_t n = text ? read(fd, text, STATE_MAX) : -1;

	if (fd >= 0)
		close(fd);
	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = 0;
	return text;
}

/* The next line of *at in words; false at the end. Bytes that are no print become '?'. */
static bool next_line(const char **at, struct line *line)
{
	size_t n = strcspn(*at, "\n");
	char *save = NULL;

	if (!**at)
		return false;
	line->n = 0;
	snprintf(line->text, sizeof(line->text), "%.*s", (int)n, *at);
	*at += n + ((*at)[n] == '\n');
	for (char *c = line->text; *c; c++)
		*c = isprint((unsigned char)*c) ? *c : '?';
	line->kind = strtok_r(line->text, " ", &save);
	if (!line->kind)
		line->kind = "";
	for (char *word; line->n < LINE_MAX_WORDS && (word = strtok_r(NULL, " ", &save));) {
		char *equals = strchr(word, '=');

		if (!equals)
			continue;
		*equals = 0;
		line->key[line->n] = word;
		line->value[line->n++] = equals + 1;
	}
	return true;
}

static const char *value_of(const struct line *line, const char *key)
{
	for (size_t i = 0; i < line->n; i++)
		if (strcmp(line->key[i], key) == 0)
			return line->value[i];
	return "";
}

static unsigned long long number_of(const struct line *line, const char *key)
{
	return strtoull(value_of(line, key), NULL, 10);
}

/* A volume names itself by the numbers of its device; people call it otherwise. */
static const char *volume_name(const struct line *line, char *name, size_t len)
{
	const char *numbers = value_of(line, "name");
	char path[PATH_MAX];
	char *text;

	snprintf(name, len, "%s", numbers);
	if (!*numbers || numbers[strspn(numbers, "0123456789:")])
		return name;
	snprintf(path, sizeof(path), "/sys/dev/block/%.32s/dm/name", numbers);
	text = module_state(path);
	if (text && *text) {
		text[strcspn(text, "\n")] = 0;
		for (char *c = text; *c; c++)
			*c = isprint((unsigned char)*c) ? *c : '?';
		snprintf(name, len, "%s", text);
	}
	free(text);
	return name;
}

static void print_policy(const struct line *line, FILE *out)
{
	const char *name = value_of(line, "name");

	if (strcmp(name, "none") == 0)
		fprintf(out, "\nReplica volumes: no policy is attached to semantos.ko, so reads go "
			     "to the "
			     "leg with the fewest in flight.\n");
	else
		fprintf(out, "\nReplica volumes: '%s' decides which leg serves a read%s.\n", name,
			strcmp(value_of(line, "lease"), "alive")
				? ", but the agent's lease is not alive: the default applies"
				: "");
}

static void print_volume(const struct line *line, FILE *out)
{
	unsigned long long all = number_of(line, "decisions");
	unsigned long long by_rule = number_of(line, "no_policy") + number_of(line, "no_lease") +
				     number_of(line, "one_leg") + number_of(line, "no_leg");
	char name[128], n[6][32];

	fprintf(out,
		"  %s: %s legs; of %s reads %s went where the policy sent them, %s where it left "
		"them; "
		"%s it was not asked about, %s it answered with nonsense; %s refused.\n",
		volume_name(line, name, sizeof(name)), value_of(line, "legs"),
		ctl_count(n[0], sizeof(n[0]), all),
		ctl_count(n[1], sizeof(n[1]), number_of(line, "obeyed")),
		ctl_count(n[2], sizeof(n[2]), number_of(line, "deferred")),
		ctl_count(n[3], sizeof(n[3]), by_rule),
		ctl_count(n[4], sizeof(n[4]), number_of(line, "bad_leg")),
		ctl_count(n[5], sizeof(n[5]), number_of(line, "refused")));
}

void module_print(const char *state, FILE *out)
{
	struct line line;

	while (state && next_line(&state, &line)) {
		if (strcmp(line.kind, "policy") == 0)
			print_policy(&line, out);
		else if (strcmp(line.kind, "volume") == 0)
			print_volume(&line, out);
	}
}

static json_t *line_json(const struct line *line)
{
	json_t *object = json_object();
	char name[128];

	for (size_t i = 0; i < line->n; i++) {
		const char *value = line->value[i];

		if (*value && !value[strspn(value, "0123456789")])
			json_object_set_new(object, line->key[i],
				json_integer((json_int_t)strtoull(value, NULL, 10)));
		else
			json_object_set_new(object, line->key[i], json_string(value));
	}
	if (strcmp(line->kind, "volume") == 0)
		json_object_set_new(
			object, "name", json_string(volume_name(line, name, sizeof(name))));
	return object;
}

json_t *module_json(const char *state)
{
	json_t *module, *volumes, *models;
	struct line line;

	if (!state)
		return json_null();
	module = json_object();
	volumes = json_array();
	models = json_array();
	while (next_line(&state, &line)) {
		if (strcmp(line.kind, "policy") == 0) {
			json_object_set_new(module, "policy", json_string(value_of(&line, "name")));
			json_object_set_new(module, "lease", json_string(value_of(&line, "lease")));
		} else if (strcmp(line.kind, "volume") == 0) {
			json_array_append_new(volumes, line_json(&line));
		} else if (strcmp(line.kind, "model") == 0) {
			json_array_append_new(models, line_json(&line));
		}
	}
	json_object_set_new(module, "volumes", volumes);
	json_object_set_new(module, "models", models);
	return module;
}
