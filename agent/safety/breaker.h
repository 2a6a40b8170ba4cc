/* SPDX-License-Identifier: Apache-2.0 */
/*
 * breaker.h - how often, and how long ago, a policy was ejected. The operations are in safety.h. Pure functions.
 */
#ifndef SEMANTOS_SAFETY_BREAKER_H
#define SEMANTOS_SAFETY_BREAKER_H

#include "agent/safety/book.h"

#define BREAKER_EJECTIONS 3
#define BREAKER_WINDOW_NS 600000000000ULL

/* How long ago at least, whichever boot and clock. */
uint64_t breaker_age_ns(const struct record_stamp *then, const struct record_stamp *now);

/* Ejections within the window that were the policy's own fault and not before an unquarantine. */
unsigned int breaker_count(
	const struct book *book, const char *policy, const struct record_stamp *now);

#endif
