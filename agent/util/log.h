/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - every action is one sentence: what, old -> new, because.
 *
 * Sentences go to stderr (with the priority prefix systemd understands when stderr is the journal), or to a sink the
 * program sets, e.g. the live display. Thread-safe. A sentence repeated within a second is counted, not repeated.
 */
#ifndef SEMANTOS_UTIL_LOG_H
#define SEMANTOS_UTIL_LOG_H

#include <stdarg.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

typedef void log_sink(void *ctx, enum log_level level, const char *sentence);

void log_set_level(enum log_level level); /* default LOG_LEVEL_INFO */
void log_set_sink(log_sink *sink, void *ctx); /* NULL = stderr */

__attribute__((format(printf, 2, 3))) void log_write(enum log_level level, const char *fmt, ...);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
