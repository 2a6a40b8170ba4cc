// SPDX-License-Identifier: Apache-2.0
/*
 * axis.c - text of a knob to a place between 0 and 1, and back.
 */
#include "agent/advisor/reason/axis.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDE 1000 /* a range of so many values and more goes by logarithm */
#define NUMBERS 3 /* least, usual, most: the last is moved */

/* sign(v) log(1 + |v|): also of 0 and below */
static double fold(double v)
{
	return copysign(log1p(fabs(v)), v);
}

static double unfold(double f)
{
	return copysign(expm1(fabs(f)), f);
}

/* The word at this index of "none mq-deadline bfq"; false: there are fewer. */
static bool word_at(const char *words, unsigned int index, char *out, size_t size)
{
	words += strspn(words, " ");
	for (unsigned int i = 0; *words; i++) {
		size_t n = strcspn(words, " ");

		if (i == index && n > 0 && n < size) {
			memcpy(out, words, n);
			out[n] = '\0';
			return true;
		}
		words += n + strspn(words + n, " ");
	}
	return false;
}

static bool whole_number(const char *text, const char **end, int64_t *out)
{
	char *stop;

	errno = 0;
	*out = strtoll(text, &stop, 10);
	*end = stop;
	return stop != text && errno == 0;
}

/* `count` numbers between blanks and nothing else. */
static bool numbers_of(const char *text, size_t count, int64_t out[])
{
	for (size_t i = 0; i < count; i++) {
		text += strspn(text, " \t");
		if (!whole_number(text, &text, &out[i]))
			return false;
	}
	text += strspn(text, " \t\n");
	return *text == '\0';
}

static double place_of_number(const struct axis *axis, double v)
{
	double f = axis->logarithmic ? fold(v) : v;

	return fmin(1, fmax(0, (f - axis->low) / (axis->high - axis->low)));
}

static bool power_of_two(const char *value)
{
	unsigned long long v = strtoull(value, NULL, 10);

	return v >= 16 && (v & (v - 1)) == 0;
}

/* May it be written? A default may lie where the tables allow nothing. */
static bool in_range(const struct axis *axis, const char *value)
{
	const struct knob_def *def = &axis->desc->def;
	size_t count = def->type == KNOB_INTS ? NUMBERS : 1;
	int64_t number[NUMBERS];

	if (def->type == KNOB_INT_OR_MAX && strcmp(value, "max") == 0)
		return true;
	if (!numbers_of(value, count, number))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (number[i] < def->min || number[i] > def->max ||
			(def->step > 1 && number[i] % def->step))
			return false;
	}
	return true;
}

void axis_of(struct axis *axis, const struct knob_desc *desc, size_t kernel)
{
	const struct knob_def *def;
	const char *seen;
	char word[AXIS_VALUE_MAX];

	memset(axis, 0, sizeof(*axis));
	axis->desc = desc;
	axis->standard = NAN;
	if (!desc)
		return;
	def = &desc->def;
	switch (def->type) {
	case KNOB_INT:
	case KNOB_INT_OR_MAX:
		axis->usable = def->max > def->min;
		break;
	case KNOB_INTS:
		axis->usable = def->count == NUMBERS && !def->or_max && def->max > def->min;
		break;
	case KNOB_CHOICE:
		while (axis->words < AXIS_WORDS_MAX && def->choices &&
			word_at(def->choices, axis->words, word, sizeof(word)))
			axis->words++;
		axis->usable = axis->words > 1;
		break;
	default:
		break;
	}
	if (!axis->usable)
		return;
	axis->usable = !desc->read_only;
	if (!axis->words) {
		double span = (double)def->max - (double)def->min;

		axis->logarithmic = span >= WIDE;
		axis->low = axis->logarithmic ? fold((double)def->min) : (double)def->min;
		axis->high = axis->logarithmic ? fold((double)def->max) : (double)def->max;
	}
	seen = kernel < n_knob_kernels ? desc->seen[kernel].value : NULL;
	if (!seen || strlen(seen) >= sizeof(axis->standard_text))
		return;
	if (!axis->words && !in_range(axis, seen))
		return;
	axis->standard = axis_place(axis, seen);
	axis->binary = !axis->words && power_of_two(seen);
	axis->standard_varies = desc->sized && desc->sized[0];
	if (!isnan(axis->standard))
		strcpy(axis->standard_text, seen);
}

double axis_place(const struct axis *axis, const char *value)
{
	int64_t number[NUMBERS];
	char word[AXIS_VALUE_MAX];
	const char *end;

	if (!axis->usable)
		return NAN;
	if (axis->words) {
		for (unsigned int i = 0; i < axis->words; i++) {
			if (word_at(axis->desc->def.choices, i, word, sizeof(word)) &&
				strcmp(word, value) == 0)
				return i;
		}
		return NAN;
	}
	if (axis->desc->def.type == KNOB_INTS)
		return numbers_of(value, NUMBERS, number)
			       ? place_of_number(axis, (double)number[NUMBERS - 1])
			       : NAN;
	if (axis->desc->def.type == KNOB_INT_OR_MAX && strcmp(value, "max") == 0)
		return 1;
	if (!whole_number(value, &end, &number[0]) || *(end + strspn(end, " \t\n")) != '\0')
		return NAN;
	return place_of_number(axis, (double)number[0]);
}

/* A power of two where the default is one, else two leading digits: nobody wants to read 134217731. */
static double rounded(const struct axis *axis, double v)
{
	double power = v > 0 ? exp2(round(log2(v))) : 0, size;

	if (axis->binary && fabs(v / power - 1) < 0.05)
		return power;
	size = fabs(v) < 100 ? 1 : pow(10, floor(log10(fabs(v))) - 1);

	return round(v / size) * size;
}

bool axis_value(const struct axis *axis, double place, const char *now, char *out, size_t size)
{
	const struct knob_def *def = axis->desc ? &axis->desc->def : NULL;
	double f, v;
	int64_t whole, number[NUMBERS];
	int n;

	if (!axis->usable || !def || !(place >= 0))
		return false;
	if (axis->words)
		return word_at(def->choices, (unsigned int)place, out, size);
	if (place == axis->standard) {
		n = snprintf(out, size, "%s", axis->standard_text);
		return n > 0 && (size_t)n < size;
	}
	f = axis->low + fmin(1, place) * (axis->high - axis->low);
	v = rounded(axis, axis->logarithmic ? unfold(f) : f);
	v = fmin((double)def->max, fmax((double)def->min, v));
	whole = v >= 9.2e18 ? def->max : (int64_t)v;
	if (def->step > 1) {
		whole -= whole % def->step;
		if (whole < def->min)
			whole += def->step;
	}
	if (whole < def->min || whole > def->max)
		return false;
	if (def->type == KNOB_INT_OR_MAX && place >= 0.999)
		n = snprintf(out, size, "max");
	else if (def->type != KNOB_INTS)
		n = snprintf(out, size, "%lld", (long long)whole);
	else if (numbers_of(now, NUMBERS, number) && whole >= number[0] && whole >= number[1])
		n = snprintf(out, size, "%lld %lld %lld", (long long)number[0],
			(long long)number[1], (long long)whole);
	else
		return false;
	return n > 0 && (size_t)n < size;
}

static size_t add_level(const struct axis *axis, double place, const char *now,
	struct axis_level out[AXIS_LEVELS_MAX], size_t n)
{
	struct axis_level *level = &out[n];

	if (n == AXIS_LEVELS_MAX ||
		!axis_value(axis, place, now, level->value, sizeof(level->value)))
		return n;
	if (strcmp(level->value, now) == 0)
		return n;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(out[i].value, level->value) == 0)
			return n;
	}
	level->place = axis_place(axis, level->value);
	return isnan(level->place) ? n : n + 1;
}

size_t axis_levels(const struct axis *axis, const char *now, double reach,
	struct axis_level out[AXIS_LEVELS_MAX])
{
	static const double grid[] = { 0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98 };
	static const double times[] = { 0.25, 0.5, 2, 4 };
	double here = axis_place(axis, now), least, most;
	size_t n = 0;

	if (isnan(here))
		return 0;
	if (axis->words) {
		for (unsigned int i = 0; i < axis->words; i++)
			n = add_level(axis, i, now, out, n);
		return n;
	}
	least = isnan(axis->standard) ? here : fmin(here, axis->standard);
	most = isnan(axis->standard) ? here : fmax(here, axis->standard);
	n = add_level(axis, axis->standard, now, out, n); /* NaN adds none */
	for (size_t i = 0; axis->logarithmic && i < sizeof(times) / sizeof(times[0]); i++) {
		double v = unfold(axis->low + here * (axis->high - axis->low)) * times[i];
		double place = (fold(v) - axis->low) / (axis->high - axis->low);

		if (v != 0 && place >= 0 && place <= 1)
			n = add_level(axis, place, now, out, n);
	}
	for (size_t i = 0; i < sizeof(grid) / sizeof(grid[0]); i++) {
		if (grid[i] >= least - reach && grid[i] <= most + reach)
			n = add_level(axis, grid[i], now, out, n);
	}
	return n;
}

bool axis_meets(const char *value, const char *when)
{
	if (when[0] == '=')
		return strcmp(value, when + 1) == 0;
	if (when[0] == '!' && when[1] == '=')
		return strcmp(value, when + 2) != 0;
	return true;
}
