// SPDX-License-Identifier: Apache-2.0
/*
 * knob_read.c - a strict reader over libinih, and one for lines of tabs.
 */
#include "agent/util/knob_read.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum key {
	KEY_NAME,
	KEY_TYPE,
	KEY_RANGE,
	KEY_STEP,
	KEY_ROUND,
	KEY_COUNT,
	KEY_OR_MAX,
	KEY_WORDS,
	KEY_PAIR,
	KEY_RESETS,
	KEY_WAITS,
	KEY_READ_ONLY,
	KEY_SUBSYSTEM,
	KEY_UNIT,
	KEY_WHY,
	KEY_DOC,
	KEY_GROUP,
	KEY_UNDO,
	KEY_SIZED,
	KEY_LAB,
	KEY_RISK,
	KEY_SCOPE,
	KEY_DEPENDS_ON,
	KEY_CONFLICTS_WITH,
	KEY_SYNERGIZES_WITH,
	N_KEYS
};

static const char *const keys[N_KEYS + 1] = { "name", "type", "range", "step", "round", "count",
	"or_max", "words", "pair", "resets", "waits", "read_only", "subsystem", "unit", "why",
	"doc", "group", "undo", "sized", "lab", "risk", "scope", "depends_on", "conflicts_with",
	"synergizes_with" };

/* What is being read; a key that was not given has no text. */
struct entry {
	char name[KNOB_NAME_MAX]; /* of a knob; "" = the defaults, or nothing yet */
	char text[N_KEYS][KNOB_KEY_TEXT_MAX + 1];
	bool given[N_KEYS];
};

struct reading {
	struct knob_list *list;
	const char *at, *file; /* at: what is left of the text */
	struct entry now, defaults;
	bool in_defaults;
	int line, begun; /* begun: line of the knob's name */
	int err;
	char *error;
	size_t error_len;
};

__attribute__((format(printf, 3, 4))) static bool refuse(
	struct reading *r, int line, const char *fmt, ...)
{
	char what[400];
	va_list args;

	if (r->err)
		return false;
	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	snprintf(r->error, r->error_len, "%s line %d: %s.", r->file, line, what);
	r->err = -EINVAL;
	return false;
}

/* A copy that lives as long as the list. */
static const char *keep(struct knob_list *list, const char *text)
{
	char *copy;

	if (list->n_texts == list->text_room) {
		size_t room = list->text_room ? 2 * list->text_room : 256;
		void **more = realloc(list->text, room * sizeof(*more));

		if (!more)
			return NULL;
		list->text = more;
		list->text_room = room;
	}
	copy = strdup(text);
	if (copy)
		list->text[list->n_texts++] = copy;
	return copy;
}

static bool keep_in(struct reading *r, const char **field, const char *text)
{
	*field = keep(r->list, text);
	if (!*field && !r->err)
		r->err = -ENOMEM;
	return *field;
}

/* words are ended by NULL */
static int index_of(const char *const *words, const char *word)
{
	for (int i = 0; words[i]; i++) {
		if (strcmp(words[i], word) == 0)
			return i;
	}
	return -1;
}

/* One of these words, or the first when the key was not given. */
static bool choose(struct reading *r, enum key key, const char *const *words, int *chosen)
{
	const char *text = r->now.text[key];

	*chosen = r->now.given[key] ? index_of(words, text) : 0;
	if (*chosen >= 0)
		return true;
	return refuse(r, r->begun, "[%s] %s cannot be '%.40s'", r->now.name, keys[key], text);
}

static bool number(const char *text, const char **end, int64_t *value)
{
	char *e;

	errno = 0;
	*value = strtoll(text, &e, 10);
	*end = e;
	return e != text && !errno && (*text == '-' || (*text >= '0' && *text <= '9'));
}

/* A number of the key, 0 when it was not given. */
static bool get_number(struct reading *r, enum key key, int64_t least, int64_t most, int64_t *value)
{
	const char *end;

	*value = 0;
	if (!r->now.given[key])
		return true;
	if (number(r->now.text[key], &end, value) && !*end && *value >= least && *value <= most)
		return true;
	return refuse(r, r->begun, "[%s] %s is no number from %lld to %lld", r->now.name, keys[key],
		(long long)least, (long long)most);
}

static bool get_flag(struct reading *r, enum key key, bool *value)
{
	static const char *const words[] = { "no", "yes", NULL };
	int chosen;

	if (!choose(r, key, words, &chosen))
		return false;
	*value = chosen;
	return true;
}

static bool get_range(struct reading *r, struct knob_def *def)
{
	const char *text = r->now.text[KEY_RANGE], *end;

	if (!r->now.given[KEY_RANGE])
		return true;
	if (number(text, &end, &def->min) && *end == ' ' && number(end + 1, &end, &def->max) &&
		!*end && def->min <= def->max)
		return true;
	return refuse(r, r->begun, "[%s] range is not 'LEAST MOST'", r->now.name);
}

/* Words between single blanks, with one before and one behind: how choices are looked up. */
static bool get_words(struct reading *r, struct knob_def *def)
{
	const char *text = r->now.text[KEY_WORDS];
	char padded[KNOB_KEY_TEXT_MAX + 3];

	if (!r->now.given[KEY_WORDS])
		return true;
	if (!text[0] || strpbrk(text, "\t[]()") || strstr(text, "  "))
		return refuse(
			r, r->begun, "[%s] words are not words between single blanks", r->now.name);
	snprintf(padded, sizeof(padded), " %s ", text);
	return keep_in(r, &def->choices, padded);
}

static bool get_type(struct reading *r, struct knob_def *def)
{
	int type;

	if (!choose(r, KEY_TYPE, knob_type_names, &type))
		return false;
	def->type = (enum knob_type)type;
	return true;
}

/* What the type asks for, of a knob that may be changed. */
static bool fits_type(struct reading *r, const struct knob_def *def)
{
	bool ranged = def->type != KNOB_CHOICE && def->type != KNOB_CPUS;

	if (def->type == KNOB_TEXT)
		return refuse(r, r->begun, "[%s] a text is read only: say why", r->now.name);
	if (ranged != r->now.given[KEY_RANGE])
		return refuse(r, r->begun, "[%s] %s", r->now.name,
			ranged ? "has no range" : "has a range its type does not take");
	if ((def->type == KNOB_CHOICE) != (def->choices != NULL))
		return refuse(r, r->begun, "[%s] words go with type = words, and only there",
			r->now.name);
	if ((def->type == KNOB_INTS) != (def->count > 0))
		return refuse(r, r->begun, "[%s] count goes with type = ints, and only there",
			r->now.name);
	if (def->or_max && def->type != KNOB_INTS)
		return refuse(r, r->begun, "[%s] or_max goes with type = ints", r->now.name);
	return true;
}

static bool get_def(struct reading *r, struct knob_def *def)
{
	int64_t count;

	if (!keep_in(r, &def->pattern, r->now.name) || !get_type(r, def) || !get_range(r, def) ||
		!get_number(r, KEY_STEP, 1, INT32_MAX, &def->step) ||
		!get_number(r, KEY_ROUND, 1, INT32_MAX, &def->round) ||
		!get_number(r, KEY_COUNT, 2, 8, &count) || !get_words(r, def) ||
		!get_flag(r, KEY_RESETS, &def->resets) || !get_flag(r, KEY_WAITS, &def->waits) ||
		!get_flag(r, KEY_OR_MAX, &def->or_max))
		return false;
	def->count = (unsigned int)count;
	if (r->now.given[KEY_PAIR] && !keep_in(r, &def->partner, r->now.text[KEY_PAIR]))
		return false;
	if (def->resets && !def->partner)
		return refuse(r, r->begun, "[%s] resets nothing without a pair", r->now.name);
	return r->now.given[KEY_READ_ONLY] || fits_type(r, def);
}

/* "NAME", "NAME=VALUE" or "NAME!=VALUE", each between blanks. */
static bool get_edges(struct reading *r, struct knob_desc *desc, enum key key, enum knob_link link)
{
	char text[KNOB_KEY_TEXT_MAX + 1], *rest = text, *word;

	strcpy(text, r->now.text[key]);
	while ((word = strtok_r(rest, " ", &rest))) {
		struct knob_edge *edge = &desc->edge[desc->n_edges];
		char *equals = strchr(word, '=');
		const char *when = "";
		char condition[KNOB_KEY_TEXT_MAX + 1];

		if (desc->n_edges == KNOB_EDGES_MAX)
			return refuse(r, r->begun, "[%s] has more than %d edges", r->now.name,
				KNOB_EDGES_MAX);
		if (equals) {
			equals -= equals > word && equals[-1] == '!';
			strcpy(condition, equals);
			when = condition;
			*equals = '\0';
		}
		edge->link = link;
		edge->sign = link == KNOB_CONFLICTS_WITH ? -1 : 1;
		if (!keep_in(r, &edge->to, word) || !keep_in(r, &edge->when, when))
			return false;
		desc->n_edges++;
	}
	return true;
}

/* FILE alone stands for the section that has the name of the knob's last part. */
static bool get_doc(struct reading *r, struct knob_desc *desc)
{
	const char *text = r->now.text[KEY_DOC], *last = r->now.name;
	char doc[KNOB_KEY_TEXT_MAX + KNOB_NAME_MAX + 2];

	for (const char *p = r->now.name; *p; p++)
		last = strchr(":/", *p) || (*p == '.' && strncmp(r->now.name, "sysctl:", 7) == 0)
			       ? p + 1
			       : last;
	/* a manual page, or a file that names the whole path of a setting, is given as it is */
	if (strchr(text, '#') || strchr(text, '(') || strncmp(text, "ABI/", 4) == 0 ||
		strcmp(text, "undocumented") == 0)
		return keep_in(r, &desc->doc, text);
	snprintf(doc, sizeof(doc), "%s#%s", text, last);
	return keep_in(r, &desc->doc, doc);
}

static bool get_desc(struct reading *r, struct knob_desc *desc)
{
	static const char *const sizes[] = { "", "memory", "cpus", "device", "build", NULL };
	const struct entry *s = &r->now;
	int risk, scope, sized;

	if (!get_def(r, &desc->def))
		return false;
	if (!s->text[KEY_WHY][0] || !s->text[KEY_SUBSYSTEM][0] || !s->text[KEY_DOC][0])
		return refuse(r, r->begun, "[%s] must have why, subsystem and doc", s->name);
	if (s->given[KEY_READ_ONLY] && (!s->text[KEY_READ_ONLY][0] || s->given[KEY_LAB]))
		return refuse(r, r->begun, "[%s] is read only: say why, and have the lab not write",
			s->name);
	if (!s->given[KEY_READ_ONLY] && !s->text[KEY_LAB][0])
		return refuse(r, r->begun, "[%s] does not say what the lab writes", s->name);
	if (!choose(r, KEY_RISK, knob_risk_names, &risk) ||
		!choose(r, KEY_SCOPE, knob_scope_names, &scope) ||
		!choose(r, KEY_SIZED, sizes, &sized))
		return false;
	desc->risk = (enum knob_risk)risk;
	desc->scope = (enum knob_scope)scope;
	desc->sized = sizes[sized];
	desc->undo = strcmp(s->text[KEY_UNDO], "none") == 0 ? KNOB_UNDO_NONE
		     : s->text[KEY_UNDO][0]		    ? KNOB_UNDO_LINGERS
							    : KNOB_UNDO_EXACT;
	if ((desc->undo == KNOB_UNDO_NONE) != (desc->def.type == KNOB_ACTION))
		return refuse(r, r->begun,
			"[%s] undo = none goes with type = action, and only there", s->name);
	return keep_in(r, &desc->subsystem, s->text[KEY_SUBSYSTEM]) &&
	       keep_in(r, &desc->unit, s->text[KEY_UNIT]) &&
	       keep_in(r, &desc->why, s->text[KEY_WHY]) &&
	       keep_in(r, &desc->group, s->text[KEY_GROUP]) &&
	       keep_in(r, &desc->lab, s->given[KEY_READ_ONLY] ? "no" : s->text[KEY_LAB]) &&
	       keep_in(r, &desc->undo_note,
		       desc->undo == KNOB_UNDO_LINGERS ? s->text[KEY_UNDO] : "") &&
	       (!s->given[KEY_READ_ONLY] || keep_in(r, &desc->read_only, s->text[KEY_READ_ONLY])) &&
	       get_doc(r, desc) && get_edges(r, desc, KEY_DEPENDS_ON, KNOB_DEPENDS_ON) &&
	       get_edges(r, desc, KEY_CONFLICTS_WITH, KNOB_CONFLICTS_WITH) &&
	       get_edges(r, desc, KEY_SYNERGIZES_WITH, KNOB_SYNERGIZES_WITH);
}

static bool name_ok(const char *name)
{
	static const char *const kinds[] = {
		"sysctl:", "sysfs:", "cgroup:", "debugfs:", "blkra:", "sched:", "madvise:"
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t n = strlen(kinds[i]);

		if (strncmp(name, kinds[i], n) == 0)
			return name[n] && name[n] != '/' && !strpbrk(name, " \t=\"\\?[]") &&
			       !strstr(name, "//") && !strstr(name, "..") && !strstr(name, "**");
	}
	return false;
}

static struct knob_desc *find(const struct knob_list *list, const char *name)
{
	for (size_t i = 0; i < list->n; i++) {
		if (strcmp(list->desc[i].def.pattern, name) == 0)
			return &list->desc[i];
	}
	return NULL;
}

/* What was read becomes a row, or what holds for the rows that follow. */
static bool finish(struct reading *r)
{
	struct knob_list *list = r->list;
	struct knob_desc desc = { 0 };

	if (r->in_defaults)
		r->defaults = r->now;
	if (!r->now.name[0]) {
		memset(&r->now, 0, sizeof(r->now));
		return true;
	}
	if (find(list, r->now.name))
		return refuse(r, r->begun, "[%s] is described already", r->now.name);
	if (list->n == KNOB_ROWS_MAX)
		return refuse(r, r->begun, "there are more than %d knobs", KNOB_ROWS_MAX);
	for (size_t k = 0; k < N_KEYS; k++) {
		if (r->now.given[k] || !r->defaults.given[k])
			continue;
		strcpy(r->now.text[k], r->defaults.text[k]);
		r->now.given[k] = true;
	}
	if (!get_desc(r, &desc))
		return false;
	if (list->n == list->room) {
		size_t room = list->room ? 2 * list->room : 64;
		struct knob_desc *more = realloc(list->desc, room * sizeof(*more));

		if (!more) {
			r->err = -ENOMEM;
			return false;
		}
		list->desc = more;
		list->room = room;
	}
	list->desc[list->n++] = desc;
	memset(&r->now, 0, sizeof(r->now));
	return true;
}

static int on_pair(void *ctx, const char *section, const char *name, const char *value)
{
	struct reading *r = ctx;
	int key = index_of(keys, name);

	if (r->err)
		return 0;
	if (strcmp(section, "defaults") != 0 && strcmp(section, "knobs") != 0)
		return refuse(
			r, r->line, "a section is [defaults] or [knobs], not [%.40s]", section);
	if ((section[0] == 'd' && !r->in_defaults) || key == KEY_NAME) {
		if (!finish(r))
			return 0;
		r->in_defaults = section[0] == 'd';
		r->begun = r->line;
	}
	if (key == KEY_NAME && (r->in_defaults || strlen(value) >= sizeof(r->now.name)))
		return refuse(r, r->line, "a name is of a knob, and shorter than %d characters",
			KNOB_NAME_MAX);
	if (key == KEY_NAME) {
		strcpy(r->now.name, value);
		if (!name_ok(value))
			return refuse(r, r->line, "'%s' is no name of a knob", value);
		return 1;
	}
	if (!r->in_defaults && !r->now.name[0])
		return refuse(r, r->line, "a knob begins with its name");
	if (!r->in_defaults)
		section = r->now.name;
	if (key < 0)
		return refuse(r, r->line, "there is no key '%.40s'", name);
	if (r->now.given[key])
		return refuse(r, r->line, "[%s] %s is given twice", section, name);
	if (strlen(value) > KNOB_KEY_TEXT_MAX)
		return refuse(r, r->line, "[%s] %s is too long", section, name);
	for (const char *p = value; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return refuse(r, r->line, "[%s] %s has a control character", section, name);
	}
	strcpy(r->now.text[key], value);
	r->now.given[key] = true;
	return 1;
}

/* libinih's line reader, as fgets(3); ours, so that no line is cut in two, indented keys are keys, and lines are counted. */
static char *next_line(char *out, int size, void *stream)
{
	struct reading *r = stream;
	size_t n;

	if (r->err || !*r->at)
		return NULL;
	r->line++;
	r->at += strspn(r->at, " \t");
	n = strcspn(r->at, "\n");
	if (n + 2 > (size_t)size) {
		refuse(r, r->line, "the line is longer than %d characters", size - 2);
		return NULL;
	}
	memcpy(out, r->at, n);
	memcpy(out + n, "\n", 2);
	r->at += n + (r->at[n] == '\n');
	return out;
}

int knob_list_add(
	struct knob_list *list, const char *text, const char *file, char *error, size_t error_len)
{
	struct reading *r = calloc(1, sizeof(*r));
	int line, err;

	if (error_len)
		error[0] = '\0';
	if (!r)
		return -ENOMEM;
	r->list = list;
	r->at = text;
	r->file = file;
	r->error = error;
	r->error_len = error_len;
	line = ini_parse_stream(next_line, r, on_pair, r);
	if (line > 0)
		refuse(r, line, "it is not of the form 'key = value'");
	if (!r->err)
		finish(r);
	err = r->err ? r->err : line < 0 ? -ENOMEM : 0;
	free(r);
	return err;
}

int knob_list_check(const struct knob_list *list, char *error, size_t error_len)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct knob_desc *desc = &list->desc[i];
		const char *name = desc->def.pattern, *last;
		char partner[2 * KNOB_NAME_MAX];

		for (size_t e = 0; e < desc->n_edges; e++) {
			if (find(list, desc->edge[e].to) && strcmp(desc->edge[e].to, name) != 0)
				continue;
			snprintf(error, error_len, "[%s] %s %s, which is not described.", name,
				knob_link_names[desc->edge[e].link], desc->edge[e].to);
			return -EINVAL;
		}
		if (!desc->def.partner)
			continue;
		for (last = name + strlen(name); !strchr("./:", last[-1]);)
			last--;
		snprintf(partner, sizeof(partner), "%.*s%s", (int)(last - name), name,
			desc->def.partner);
		if (find(list, partner) && !find(list, partner)->read_only)
			continue;
		snprintf(error, error_len, "[%s] is a pair with %s, which cannot be changed.", name,
			partner);
		return -EINVAL;
	}
	return 0;
}

int knob_list_seen(struct knob_list *list, const char *text, const char *file, const char *series,
	char *error, size_t error_len)
{
	struct reading r = { .list = list, .file = file, .error = error, .error_len = error_len };
	size_t kernel = list->n_kernels;

	if (kernel == KNOB_KERNELS_MAX || strlen(series) >= sizeof(list->kernel[0])) {
		refuse(&r, 0, "there are more than %d kernels, or one's name is too long",
			KNOB_KERNELS_MAX);
		return r.err;
	}
	strcpy(list->kernel[list->n_kernels++], series);
	while (*text && !r.err) {
		size_t n = strcspn(text, "\n"), width[3];
		const char *at = text;
		char cell[3][512];
		struct knob_desc *desc;

		text += n + (text[n] == '\n');
		r.line++;
		if (n == 0 || at[0] == '#')
			continue;
		for (size_t c = 0; c < 3; c++) {
			width[c] = strcspn(at, c < 2 ? "\t\n" : "\n");
			if (width[c] >= sizeof(cell[c]) || (c < 2 && at[width[c]] != '\t')) {
				refuse(&r, r.line, "it is not of the form NAME, VALUE, WRITTEN");
				return r.err;
			}
			memcpy(cell[c], at, width[c]);
			cell[c][width[c]] = '\0';
			at += width[c] + (c < 2);
		}
		desc = find(list, cell[0]);
		if (!desc)
			refuse(&r, r.line, "%.100s is not described", cell[0]);
		else if (desc->seen[kernel].value)
			refuse(&r, r.line, "%.100s is told of twice", cell[0]);
		else if (keep_in(&r, &desc->seen[kernel].value, cell[1]))
			keep_in(&r, &desc->seen[kernel].written, cell[2]);
	}
	return r.err;
}

void knob_list_free(struct knob_list *list)
{
	for (size_t i = 0; i < list->n_texts; i++)
		free(list->text[i]);
	free(list->text);
	free(list->desc);
	memset(list, 0, sizeof(*list));
}
