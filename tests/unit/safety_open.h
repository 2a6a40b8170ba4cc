/* SPDX-License-Identifier: Apache-2.0 */
/*
 * safety_open.h - for each test a fake root and struct safety opened on it. Included by one test program; one thread.
 */
#ifndef TESTS_SAFETY_OPEN_H
#define TESTS_SAFETY_OPEN_H

#include "agent/safety/safety_internal.h"
#include "tests/unit/safety_root.h"

static struct fake f;
static struct safety *s;
static struct safety_error error;

static int setup(void **state)
{
	(void)state;
	fake_make(&f);
	return safety_open(&s, &f.options, NULL, &error);
}

static int teardown(void **state)
{
	(void)state;
	safety_close(s, SAFETY_STOP);
	s = NULL;
	dir_remove(f.root);
	return 0;
}

#endif
