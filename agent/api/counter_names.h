/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counter_names.h - the names by which the counters of bpf/wire.h are known outside the agent.
 *
 * A name is part of the API: it is never changed or reused. Constant data, any thread.
 */
#ifndef SEMANTOS_API_COUNTER_NAMES_H
#define SEMANTOS_API_COUNTER_NAMES_H

#include <stdbool.h>

/* enum semantos_counter -> e.g. "drop_ring_full"; "" outside it */
const char *counter_name(unsigned int counter);

/* What a counter says, for a person; NULL = unknown here (a newer agent). */
const char *counter_meaning(const char *name);

/* Does it count records or outcomes that were lost? */
bool counter_is_drop(const char *name);

#endif
