// SPDX-License-Identifier: Apache-2.0
/*
 * knob_desc.c - finding a description. The rows themselves are generated (knobs/mkknobs.c).
 */
#include "agent/util/knob_desc.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

const struct knob_desc *knob_desc_find(const char *name)
{
	/* groups lie within groups; of all else a * is one part of the name, or one setting could have many */
	int flags = strncmp(name, "cgroup:", 7) == 0 ? FNM_NOESCAPE : FNM_NOESCAPE | FNM_PATHNAME;

	for (size_t i = 0; i < n_knob_descs; i++) {
		const char *pattern = knob_descs[i].def.pattern;

		/* most are names without a *, and no pattern begins with one */
		if (pattern[0] == name[0] &&
			(strcmp(pattern, name) == 0 || fnmatch(pattern, name, flags) == 0))
			return &knob_descs[i];
	}
	return NULL;
}

static unsigned long version(const char *release)
{
	char *end;
	unsigned long major = strtoul(release, &end, 10);

	return major * 10000 + (*end == '.' ? strtoul(end + 1, NULL, 10) % 10000 : 0);
}

size_t knob_kernel_nearest(const char *release)
{
	size_t nearest = 0;

	for (size_t i = 0; i < n_knob_kernels; i++) {
		if (version(knob_kernels[i]) <= version(release))
			nearest = i;
	}
	return nearest;
}
