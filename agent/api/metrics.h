/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.h - everything the agent knows in Prometheus' text format, and the small HTTP server that gives it out.
 *
 * The server answers GET /metrics on a loopback address and nothing else; it has one thread of its own and is bounded
 * in connections, time and memory. Any local user may read it: it holds figures and names of disks, control groups and
 * policies.
 */
#ifndef SEMANTOS_API_METRICS_H
#define SEMANTOS_API_METRICS_H

#include <stddef.h>
#include "agent/core/control.h"
#include "agent/telemetry/telemetry.h"

struct core;
struct metrics_server;

/* malloc'ed text of *len bytes, NULL when out of memory. Either may be NULL: then its part is left out. */
char *metrics_text(
	const struct agent_view *agent, const struct telemetry_view *telemetry, size_t *len);

/*
 * Serve on `address`: 127.0.0.1:PORT, or another loopback address, [::1]:PORT, localhost:PORT. NULL with one sentence in
 * error[error_len]. core and telemetry (may be NULL) must live until metrics_stop() has returned.
 */
struct metrics_server *metrics_start(struct core *core, struct telemetry *telemetry,
	const char *address, char *error, size_t error_len);
void metrics_stop(struct metrics_server *server); /* accepts NULL */

#endif
