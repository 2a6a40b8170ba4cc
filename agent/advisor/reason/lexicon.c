// SPDX-License-Identifier: Apache-2.0
/*
 * lexicon.c - names to numbers, and the edges of the tables bound to the knobs that are there.
 */
#include "agent/advisor/reason/lexicon.h"

#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 16384 /* four times the most knobs */
#define STARS_MAX 4
#define LEARN_RATE 0.25
#define DAY_S 86400.0

/* What each * of a pattern stood for. */
struct stars {
	const char *at[STARS_MAX];
	size_t length[STARS_MAX], n;
};

/* Like fnmatch() with * alone, remembering; a * crosses no '/' unless `deep`. */
static bool match(const char *pattern, const char *name, bool deep, struct stars *stars)
{
	size_t mine = stars->n, most;

	for (; *pattern && *pattern != '*'; pattern++, name++) {
		if (*pattern != *name)
			return false;
	}
	if (!*pattern)
		return !*name;
	if (mine == STARS_MAX)
		return false;
	most = deep ? strlen(name) : strcspn(name, "/");
	for (size_t n = 0; n <= most; n++) {
		stars->n = mine + 1;
		stars->at[mine] = name;
		stars->length[mine] = n;
		if (match(pattern + 1, name + n, deep, stars))
			return true;
	}
	stars->n = mine;
	return false;
}

static bool is_deep(const char *name)
{
	return strncmp(name, "cgroup:", 7) == 0;
}

/* The pattern of an edge with what the stars of its own knob stood for; a star too many stays one. */
static bool bind(const char *pattern, const struct stars *stars, char *out, size_t size)
{
	size_t used = 0, star = 0;

	for (; *pattern; pattern++) {
		const char *text = pattern;
		size_t n = 1;

		if (*pattern == '*' && star < stars->n) {
			text = stars->at[star];
			n = stars->length[star++];
		}
		if (used + n >= size)
			return false;
		memcpy(out + used, text, n);
		used += n;
	}
	out[used] = '\0';
	return true;
}

static int add_coupling(
	struct lexicon *lexicon, uint32_t from, uint32_t to, const struct knob_edge *edge)
{
	struct coupling *coupling;

	if (from == to || lexicon->n_couplings == LEXICON_EDGES_MAX)
		return 0;
	if (lexicon->n_couplings == lexicon->couplings_room) {
		size_t room = lexicon->couplings_room ? 2 * lexicon->couplings_room : 256;

		coupling = realloc(lexicon->coupling, room * sizeof(*coupling));
		if (!coupling)
			return -ENOMEM;
		lexicon->coupling = coupling;
		lexicon->couplings_room = room;
	}
	lexicon->coupling[lexicon->n_couplings++] = (struct coupling){ .from = from,
		.to = to,
		.link = edge->link,
		.when = edge->when ? edge->when : "",
		.weight = COUPLING_AT_FIRST,
		.next = lexicon->knob[from]->first };
	lexicon->knob[from]->first = (uint32_t)lexicon->n_couplings;
	return 0;
}

/* A bound pattern, of which mostly no star is left. */
static bool means(const char *bound, const char *name)
{
	if (!strchr(bound, '*'))
		return strcmp(bound, name) == 0;
	return fnmatch(bound, name, is_deep(bound) ? FNM_NOESCAPE : FNM_NOESCAPE | FNM_PATHNAME) ==
	       0;
}

/* Edges of `from` to `to`, if their patterns mean it. */
static int couple(struct lexicon *lexicon, uint32_t from, uint32_t to)
{
	const struct lexicon_knob *a = lexicon->knob[from], *b = lexicon->knob[to];
	struct stars stars = { .n = 0 };
	char bound[LEXICON_NAME_MAX];
	int ret = 0;

	if (!a->axis.desc || !b->axis.desc || !a->axis.desc->n_edges ||
		!match(a->axis.desc->def.pattern, a->name, is_deep(a->name), &stars))
		return 0;
	for (size_t e = 0; !ret && e < a->axis.desc->n_edges; e++) {
		const struct knob_edge *edge = &a->axis.desc->edge[e];

		/* bound to this very disk; a star that is left means any */
		if (bind(edge->to, &stars, bound, sizeof(bound)) && means(bound, b->name))
			ret = add_coupling(lexicon, from, to, edge);
	}
	return ret;
}

static uint32_t hash_of(const char *name)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	while (*name)
		hash = (hash ^ (unsigned char)*name++) * 16777619u;
	return hash;
}

int lexicon_init(struct lexicon *lexicon, const char *release)
{
	memset(lexicon, 0, sizeof(*lexicon));
	lexicon->kernel = knob_kernel_nearest(release);
	lexicon->bucket = calloc(BUCKETS, sizeof(*lexicon->bucket));
	lexicon->metric = calloc(LEXICON_METRICS_MAX, sizeof(*lexicon->metric));
	return lexicon->bucket && lexicon->metric ? 0 : -ENOMEM;
}

void lexicon_free(struct lexicon *lexicon)
{
	for (size_t i = 0; i < lexicon->n_knobs; i++)
		free(lexicon->knob[i]);
	free(lexicon->knob);
	free(lexicon->coupling);
	free(lexicon->metric);
	free(lexicon->bucket);
	memset(lexicon, 0, sizeof(*lexicon));
}

static struct lexicon_knob *new_knob(struct lexicon *lexicon, const char *name)
{
	struct lexicon_knob *knob;

	if (lexicon->n_knobs == lexicon->room) {
		size_t room = lexicon->room ? 2 * lexicon->room : 128;
		struct lexicon_knob **more =
			realloc(lexicon->knob, room * sizeof(struct lexicon_knob *));

		if (!more)
			return NULL;
		lexicon->knob = more;
		lexicon->room = room;
	}
	knob = calloc(1, sizeof(*knob));
	if (!knob)
		return NULL;
	strcpy(knob->name, name); /* the caller checked the length */
	axis_of(&knob->axis, knob_desc_find(name), lexicon->kernel);
	lexicon->knob[lexicon->n_knobs++] = knob;
	return knob;
}

int lexicon_knob(struct lexicon *lexicon, const char *name)
{
	uint32_t slot = hash_of(name) % BUCKETS, index;
	int ret = 0;

	for (; lexicon->bucket[slot]; slot = (slot + 1) % BUCKETS) {
		index = lexicon->bucket[slot] - 1;
		if (strcmp(lexicon->knob[index]->name, name) == 0)
			return (int)index;
	}
	if (lexicon->n_knobs == LEXICON_KNOBS_MAX || strlen(name) >= LEXICON_NAME_MAX) {
		lexicon->refused++;
		return -ENOSPC;
	}
	if (!new_knob(lexicon, name))
		return -ENOMEM;
	index = (uint32_t)lexicon->n_knobs - 1;
	lexicon->bucket[slot] = index + 1;
	for (uint32_t other = 0; !ret && other < index; other++) {
		ret = couple(lexicon, index, other);
		if (!ret)
			ret = couple(lexicon, other, index);
	}
	return ret ? ret : (int)index;
}

int lexicon_metric(struct lexicon *lexicon, const char *name)
{
	for (size_t i = 0; i < lexicon->n_metrics; i++) {
		if (strcmp(lexicon->metric[i], name) == 0)
			return (int)i;
	}
	if (lexicon->n_metrics == LEXICON_METRICS_MAX || strlen(name) >= LEXICON_NAME_MAX) {
		lexicon->refused++;
		return -ENOSPC;
	}
	strcpy(lexicon->metric[lexicon->n_metrics], name);
	return (int)lexicon->n_metrics++;
}

struct coupling *lexicon_coupling(
	const struct lexicon *lexicon, uint32_t from, uint32_t to, enum knob_link link)
{
	for (uint32_t i = lexicon->knob[from]->first; i; i = lexicon->coupling[i - 1].next) {
		struct coupling *c = &lexicon->coupling[i - 1];

		if (c->to == to && c->link == link)
			return c;
	}
	return NULL;
}

/* Knobs of one group are one setting by several names, or judged as one, if they are the same disk's. */
static bool same_group(const struct lexicon_knob *a, const struct lexicon_knob *b)
{
	struct stars mine = { .n = 0 }, other = { .n = 0 };

	if (!a->axis.desc || !b->axis.desc || !a->axis.desc->group || !a->axis.desc->group[0] ||
		!b->axis.desc->group || strcmp(a->axis.desc->group, b->axis.desc->group) != 0)
		return false;
	if (!match(a->axis.desc->def.pattern, a->name, is_deep(a->name), &mine) ||
		!match(b->axis.desc->def.pattern, b->name, is_deep(b->name), &other) || !mine.n ||
		!other.n)
		return true;
	return mine.length[0] == other.length[0] &&
	       strncmp(mine.at[0], other.at[0], mine.length[0]) == 0;
}

bool lexicon_conflict(const struct lexicon *lexicon, uint32_t a, uint32_t b)
{
	if (lexicon_coupling(lexicon, a, b, KNOB_CONFLICTS_WITH) ||
		lexicon_coupling(lexicon, b, a, KNOB_CONFLICTS_WITH))
		return true;
	return same_group(lexicon->knob[a], lexicon->knob[b]);
}

double coupling_weight(const struct coupling *coupling, uint64_t now_s)
{
	double days = now_s > coupling->seen_s && coupling->seen_s
			      ? (double)(now_s - coupling->seen_s) / DAY_S
			      : 0;

	return COUPLING_AT_FIRST +
	       (coupling->weight - COUPLING_AT_FIRST) * exp2(-days / COUPLING_HALF_DAYS);
}

void coupling_learn(struct coupling *coupling, double target, uint64_t now_s)
{
	double weight = coupling_weight(coupling, now_s);

	coupling->weight = weight + LEARN_RATE * (target - weight);
	coupling->seen++;
	coupling->seen_s = now_s;
}
