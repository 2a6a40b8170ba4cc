/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_sources.c - starts, reads and ends the measuring processes of a goal, and reports what they measured.
 *
 * The thread has a connection of its own. Must never stop listening to one source because another, or the agent, is slow:
 * each call has a bound, and a measurement that waits is only told later.
 */
#include "agent/cli/tune_sources.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS 100 /* how often *stop is looked at */
#define GRACE_MS 3000 /* beyond its timeout, until a measuring process counts as stuck */
#define WORKLOAD_EVERY_MS \
	100 /* at once, but for one so short that its reports would flood the agent */
#define REPORT_MS 5000 /* for the agent to take a report */

static int begin(struct tune_sources *s, const struct goal_source *source)
{
	const struct measure_options *options =
		source->kind == GOAL_WORKLOAD ? &s->workload_options : &s->options;
	int err;

	s->source[s->n] = source;
	err = measurer_start(&s->measurer[s->n], source, options);
	s->n += !err;
	return err;
}

int tune_sources_start(struct tune_sources *s, const struct tune_wish *wish, uint32_t timeout_ms)
{
	int err = 0;

	memset(s, 0, sizeof(*s));
	s->wish = wish;
	s->stop_fd = -1;
	s->options = (struct measure_options){
		.prometheus = wish->prometheus, .timeout_ms = timeout_ms, .every_ms = wish->every_ms
	};
	s->workload_options = s->options;
	s->workload_options.every_ms = WORKLOAD_EVERY_MS;
	for (size_t i = 0; i < tune_wish_sources(wish) && !err; i++) {
		const struct goal_source *source = tune_wish_source(wish, i);

		s->of[i] = -1;
		if (source->kind == GOAL_TELEMETRY || !tune_wish_measured(wish, i))
			continue;
		for (size_t k = 0; k < s->n && s->of[i] < 0; k++) {
			if (goal_same(source, s->source[k]))
				s->of[i] = (int)k;
		}
		if (s->of[i] >= 0)
			continue;
		s->of[i] = (int)s->n;
		err = begin(s, source);
	}
	if (!err && wish->workload_is_load)
		err = begin(s, &wish->workload);
	if (err)
		tune_sources_end(s);
	return err;
}

int tune_sources_first(struct tune_sources *s, const volatile int *stop)
{
	uint32_t left_ms = s->options.timeout_ms + GRACE_MS;

	for (size_t i = 0; i < s->n; i++)
		measurer_once(&s->measurer[i]);
	for (size_t i = 0; i < s->n; i++) {
		int err = -ETIMEDOUT;

		while (err == -ETIMEDOUT && left_ms > 0) {
			err = measurer_read(&s->measurer[i], &s->first[i], LOOK_MS);
			if (*stop)
				return -EINTR;
			if (err == -ETIMEDOUT)
				left_ms -= left_ms < LOOK_MS ? left_ms : LOOK_MS;
		}
		if (err == -ETIMEDOUT) {
			s->first[i].value = NAN;
			strcpy(s->first[i].why, "the process that measures it does not answer");
		}
	}
	return 0;
}

const struct measured *tune_sources_measured(const struct tune_sources *s, size_t index)
{
	return s->of[index] < 0 ? NULL : &s->first[s->of[index]];
}

/* ---- the thread ---- */

/* A failure is shown once, not every five seconds. */
static void note(struct tune_sources *s, size_t k, const struct measured *measured)
{
	if (strcmp(s->said[k], measured->why) == 0)
		return;
	memcpy(s->said[k], measured->why, sizeof(s->said[k]));
	s->note(s->note_ctx, s->source[k], measured->why[0] ? measured->why : NULL);
}

/* One report. A connection that was idle for long may have been closed by the agent: it is made anew, once. */
static void send_report(
	struct tune_sources *s, struct client **client, const Semantos__V1__SourceReport *report)
{
	struct client_error error = { 0 };
	ProtobufCMessage *done = NULL;
	bool fresh = false;

	while (!done && !fresh) {
		fresh = !*client;
		if (!*client)
			*client = client_open(s->ctl->socket, REPORT_MS, &error);
		if (*client)
			done = client_call(*client, "Operator/Report", &report->base,
				&semantos__v1__done__descriptor, &error);
		if (!done) {
			client_close(*client);
			*client = NULL;
		}
	}
	/* the goal may have ended meanwhile, which its own stream tells; else silence will */
	if (done)
		protobuf_c_message_free_unpacked(done, NULL);
}

static void tell(
	struct tune_sources *s, struct client **client, size_t k, const struct measured *measured)
{
	Semantos__V1__SourceReport report = SEMANTOS__V1__SOURCE_REPORT__INIT;

	report.value = measured->value;
	report.took_ms = measured->took_ms;
	report.error = (char *)measured->why;
	for (size_t i = 0; i < tune_wish_sources(s->wish); i++) {
		if (s->of[i] != (int)k)
			continue;
		report.source = (uint32_t)i;
		send_report(s, client, &report);
	}
}

static void *report_main(void *arg)
{
	struct tune_sources *s = arg;
	bool gone[TUNE_SOURCES + 1] = { false };
	struct client *client = NULL;
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	for (;;) {
		struct pollfd fds[TUNE_SOURCES + 2];

		for (size_t k = 0; k < s->n; k++)
			fds[k] = (struct pollfd){ .fd = gone[k] ? -1 : s->measurer[k].fd,
				.events = POLLIN };
		fds[s->n] = (struct pollfd){ .fd = s->stop_fd, .events = POLLIN };
		poll(fds, s->n + 1, -1);
		if (fds[s->n].revents)
			break;
		for (size_t k = 0; k < s->n; k++) {
			struct measured measured;
			int err;

			if (!fds[k].revents)
				continue;
			err = measurer_read(&s->measurer[k], &measured, 0);
			if (err == -ETIMEDOUT)
				continue;
			note(s, k, &measured);
			tell(s, &client, k, &measured);
			/* said once, and silence does the rest */
			gone[k] = err == -EPIPE;
		}
	}
	client_close(client);
	return NULL;
}

int tune_sources_report(
	struct tune_sources *s, const struct ctl *ctl, tune_sources_note *fn, void *note_ctx)
{
	int err;

	s->ctl = ctl;
	s->note = fn;
	s->note_ctx = note_ctx;
	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->stop_fd < 0)
		return -errno;
	err = pthread_create(&s->thread, NULL, report_main, s);
	if (err)
		return -err;
	s->running = true;
	for (size_t k = 0; k < s->n; k++)
		measurer_go(&s->measurer[k]);
	return 0;
}

void tune_sources_once(struct tune_sources *s, size_t index)
{
	if (index == 0) {
		for (size_t m = 0; m < s->wish->n_members; m++)
			tune_sources_once(s, 1 + s->wish->n_guards + m);
	}
	if (index < tune_wish_sources(s->wish) && s->of[index] >= 0)
		measurer_once(&s->measurer[s->of[index]]);
}

void tune_sources_end(struct tune_sources *s)
{
	if (s->running) {
		if (eventfd_write(s->stop_fd, 1) == 0)
			pthread_join(s->thread, NULL);
		s->running = false;
	}
	for (size_t k = 0; k < s->n; k++)
		measurer_end(&s->measurer[k]);
	s->n = 0;
	if (s->stop_fd > 0)
		close(s->stop_fd);
	s->stop_fd = -1;
}
