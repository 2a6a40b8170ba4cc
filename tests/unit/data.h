/* SPDX-License-Identifier: Apache-2.0 */
/*
 * data.h - where recorded data lies, for the tests that want some: $SEMANTOS_DATA, else ../shared/data.
 */
#ifndef SEMANTOS_TESTS_DATA_H
#define SEMANTOS_TESTS_DATA_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Path of a recorded file into path; false, with a line that names it, when it is not there. */
static inline bool data_path(const char *name, char *path, size_t path_len)
{
	const char *root = getenv("SEMANTOS_DATA");

	snprintf(path, path_len, "%s/%s", root ? root : "../shared/data", name);
	if (access(path, R_OK) == 0)
		return true;
	printf("skipped: no recorded data at %s; SEMANTOS_DATA says where it lies\n", path);
	return false;
}

#endif
