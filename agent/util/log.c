/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c - formats a sentence, drops what merely repeats, hands it to the sink or to stderr.
 */
#include "agent/util/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOG_SENTENCE_MAX 1024

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static enum log_level log_threshold = LOG_LEVEL_INFO;
static log_sink *sink_fn;
static void *sink_ctx;
static char last_sentence[LOG_SENTENCE_MAX];
static time_t last_time;
static unsigned int repeats;

void log_set_level(enum log_level level)
{
	log_threshold = level;
}

void log_set_sink(log_sink *sink, void *ctx)
{
	pthread_mutex_lock(&log_lock);
	sink_fn = sink;
	sink_ctx = ctx;
	pthread_mutex_unlock(&log_lock);
}

static void emit(enum log_level level, const char *sentence)
{
	/* syslog priorities, as sd-daemon(3) reads them from a line's prefix */
	static const char *const prefix[] = { "<3>", "<4>", "<6>", "<7>" };

	if (sink_fn)
		sink_fn(sink_ctx, level, sentence);
	else
		fprintf(stderr, "%s%s\n", getenv("JOURNAL_STREAM") ? prefix[level] : "", sentence);
}

void log_write(enum log_level level, const char *fmt, ...)
{
	char sentence[LOG_SENTENCE_MAX];
	struct timespec now;
	va_list args;

	if (level > log_threshold)
		return;
	va_start(args, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, args);
	va_end(args);

	clock_gettime(CLOCK_MONOTONIC, &now);
	pthread_mutex_lock(&log_lock);
	if (now.tv_sec - last_time <= 1 && strcmp(sentence, last_sentence) == 0) {
		repeats++;
	} else {
		if (repeats > 0) {
			char again[64];

			snprintf(again, sizeof(again),
				"The last sentence was repeated %u more times.", repeats);
			emit(LOG_LEVEL_INFO, again);
			repeats = 0;
		}
		memcpy(last_sentence, sentence, sizeof(sentence));
		last_time = now.tv_sec;
		emit(level, sentence);
	}
	pthread_mutex_unlock(&log_lock);
}
