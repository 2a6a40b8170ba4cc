/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prometheus.h - one instant query of a Prometheus server, for one number.
 *
 * http and https only, no redirect is followed, answer and time are bounded. One thread of a process uses it.
 */
#ifndef SEMANTOS_CLI_PROMETHEUS_H
#define SEMANTOS_CLI_PROMETHEUS_H

#include <stddef.h>
#include <stdint.h>

#define PROMETHEUS_URL "http://127.0.0.1:9090" /* unless another is named */
#define PROMETHEUS_ANSWER_MAX (256 << 10) /* bytes; longer ones are refused */

/*
 * What the query is now, into *value: a scalar, or a vector with one row. url: of the server, without a path of its own or
 * with that of a proxy. 0; -EINVAL: the answer is none of these, or the server refused the query; -EIO: it cannot be
 * asked; -ETIMEDOUT. why: then, one sentence without its full stop.
 */
int prometheus_query(const char *url, const char *query, uint32_t timeout_ms, double *value,
	char *why, size_t why_len);

/* The same of an answer that came with this HTTP status: for tests and fuzzing too. 0 or -EINVAL. */
int prometheus_answer(
	long status, const char *body, size_t len, double *value, char *why, size_t why_len);

/* Is this a URL of a server, as prometheus_query() takes it? 0, or -EINVAL with why. */
int prometheus_url(const char *url, char *why, size_t why_len);

#endif
