/* SPDX-License-Identifier: GPL-2.0 */
/*
 * testdev_words.h - what may be written about a disk: MODEL[:key=value,...], as the top of the module's source says.
 *
 * Must never keep a pointer into the text, which the caller frees.
 */
#ifndef SEMANTOS_TESTDEV_WORDS_H
#define SEMANTOS_TESTDEV_WORDS_H

#include <linux/string.h>
#include "testdev_process.h"

static int parse_pairs(struct spec *s, char *pairs)
{
	const struct {
		const char *key;
		u32 *value;
		u32 least, most;
	} keys[] = { { "fast_us", &s->fast_us, 1, 5000000 }, { "slow_us", &s->slow_us, 1, 5000000 },
		{ "fast_ms", &s->fast_ms, 2, 3600000 }, { "slow_ms", &s->slow_ms, 2, 3600000 },
		{ "slow_ppm", &s->slow_ppm, 0, 1000000 }, { "jitter_pct", &s->jitter_pct, 0, 100 },
		{ "write_us", &s->write_us, 1, 5000000 }, { "mb", &s->mb, 1, 4096 },
		{ "backed", &s->backed, 0, 2 }, { "depth", &s->depth, 1, 1024 },
		{ "queues", &s->queues, 1, 64 }, { "seed", &s->seed, 0, U32_MAX },
		{ "cache", &s->cache, 0, 1 }, { "store", &s->store, 0, 63 },
		{ "hang", &s->hang, 0, 3 }, { "stretch", &s->stretch, 1, 1000 },
		{ "channels", &s->channels, 0, MAX_CHANNELS }, { "kib_ns", &s->kib_ns, 0, 1000000 },
		{ "read_errors", &s->read_errors, 0, U32_MAX },
		{ "write_errors", &s->write_errors, 0, U32_MAX },
		{ "flush_errors", &s->flush_errors, 0, U32_MAX } };
	char *pair, *value;
	u32 number, i;

	while ((pair = strsep(&pairs, ",")) != NULL) {
		if (!*pair)
			continue;
		value = pair;
		pair = strsep(&value, "=");
		if (value && !strcmp(pair, "file")) {
			if (strscpy(s->file, value, sizeof(s->file)) < 0)
				return -ENAMETOOLONG;
			continue;
		}
		for (i = 0; i < ARRAY_SIZE(keys) && strcmp(pair, keys[i].key); i++)
			;
		if (i == ARRAY_SIZE(keys) || !value || kstrtou32(value, 10, &number) ||
			number < keys[i].least || number > keys[i].most) {
			pr_err("semantos_testdev: '%s' is not a key, or its value is out of range; "
			       "see the source.\n",
				pair);
			return -EINVAL;
		}
		*keys[i].value = number;
	}
	return 0;
}

/* MODEL[:key=value,...] of a disk whose own seed would be `default_seed`; eats the text. */
static int parse_spec(struct spec *s, char *text, u32 default_seed)
{
	char *model = strsep(&text, ":");
	int which = match_string(model_names, ARRAY_SIZE(model_names), model), err;

	if (which < 0) {
		pr_err("semantos_testdev: '%s' is no model; use memory, iid, fixed or trace.\n",
			model);
		return which;
	}
	*s = (struct spec){ .model = which,
		.fast_us = 100,
		.slow_us = 2000,
		.fast_ms = 400,
		.slow_ms = 100,
		.slow_ppm = U32_MAX,
		.jitter_pct = 10,
		.mb = 64,
		.depth = 128,
		.queues = 1,
		.stretch = 1,
		.seed = default_seed };
	err = parse_pairs(s, text);
	if (!s->write_us)
		s->write_us = s->fast_us;
	if (s->slow_ppm == U32_MAX)
		s->slow_ppm = div_u64(s->slow_ms * 1000000ULL, s->fast_ms + s->slow_ms);
	if (s->cache || s->store)
		s->backed = 1;
	if (!err && (s->model == TRACE) != !!s->file[0]) {
		pr_err("semantos_testdev: the model trace, and no other, takes file=PATH.\n");
		err = -EINVAL;
	}
	return err;
}

#endif
