/* SPDX-License-Identifier: Apache-2.0 */
/*
 * axis.h - the values of one knob as places on a line from 0 to 1, on which the response model and the search work.
 *
 * Numbers lie by their size, or by its logarithm where the range is wide, so that a step means the same everywhere; words
 * lie by their index and have no distance. Pure, nothing is allocated; what it says rests on knob_desc.h alone.
 */
#ifndef SEMANTOS_ADVISOR_AXIS_H
#define SEMANTOS_ADVISOR_AXIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/util/knob_desc.h"

#define AXIS_VALUE_MAX 128 /* bytes of a value with its end; longer ones are not proposed */
#define AXIS_WORDS_MAX 12
#define AXIS_LEVELS_MAX 24

struct axis {
	const struct knob_desc *desc; /* NULL: nothing is known of the knob */
	bool usable; /* it may be changed, and its values can be laid on a line */
	bool logarithmic;
	bool binary; /* the default is a power of two, so others are liked better too */
	unsigned int words; /* of a choice; 0 = numbers */
	double low, high; /* ends of the range, after the logarithm */
	double standard; /* place of the default; NaN = not known */
	bool standard_varies; /* it goes by the machine */
	char standard_text[AXIS_VALUE_MAX];
};

/* kernel: index into knob_kernels, whose defaults count. desc may be NULL. */
void axis_of(struct axis *axis, const struct knob_desc *desc, size_t kernel);

/* Where this value lies; of a choice the word's index. NaN: it cannot be read. */
double axis_place(const struct axis *axis, const char *value);

/* The value that lies there, within range and step; `now` is the one in force, whose other numbers stay. false: none does. */
bool axis_value(const struct axis *axis, double place, const char *now, char *out, size_t size);

/* A value that may be tried, as text and as place. */
struct axis_level {
	double place;
	char value[AXIS_VALUE_MAX];
};

/*
 * What may be tried from `now`: the default, steps of a half, two and four times, and points of the line, none further than
 * `reach` beyond the stretch from `now` to the default. At most AXIS_LEVELS_MAX, each once, never `now` itself.
 */
size_t axis_levels(const struct axis *axis, const char *now, double reach,
	struct axis_level out[AXIS_LEVELS_MAX]);

/* Does a value meet the condition of an edge ("=bfq", "!=0", "" is always met)? */
bool axis_meets(const char *value, const char *when);

#endif
