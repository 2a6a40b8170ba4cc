// SPDX-License-Identifier: Apache-2.0
/*
 * semantos-agent.c - the agent: options, the core's loop on the main thread, a conductor thread for all the rest.
 *
 * The conductor attaches the policies, starts the load that was asked for, draws, and ends the run by the clock. The
 * main thread never waits for it while the loop runs.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include "agent/api/metrics.h"
#include "agent/api/server.h"
#include "agent/cli/agent_options.h"
#include "agent/cli/display.h"
#include "agent/cli/result_json.h"
#include "agent/cli/status_json.h"
#include "agent/core/exercise.h"
#include "agent/telemetry/telemetry.h"
#include "agent/util/log.h"

#define LOOK_S 1 /* how often the display is drawn and the clock of a bounded run is looked at */

struct run {
	struct agent_options options;
	struct core *core;
	struct display *display;
	struct exercise *exercise;
	struct telemetry *telemetry; /* NULL = none is taken */
	struct agent_view last; /* the last view that could be had */
	bool have_last;
	double predicting_since; /* CLOCK_MONOTONIC seconds, 0 = not yet */
	double ended; /* likewise */
	enum exit_code code;
	char error[CONTROL_TEXT_LEN]; /* the sentence that goes with it */
	sem_t loop_ended; /* posted once: the conductor has nothing more to wait for */
};

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static enum exit_code attach_code(int error)
{
	switch (-error) {
	case EPERM:
	case EACCES:
		return EXIT_CODE_PERMISSION;
	case ENOENT:
		return EXIT_CODE_NOT_FOUND;
	case ENOSPC:
	case EROFS:
		return EXIT_CODE_STATE;
	case ETIMEDOUT:
		return EXIT_CODE_TIMEOUT;
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return EXIT_CODE_FAILED;
	default:
		return EXIT_CODE_REFUSED;
	}
}

/* The first failure decides how the run ends. */
__attribute__((format(printf, 3, 4))) static void give_up(
	struct run *run, enum exit_code code, const char *fmt, ...)
{
	va_list args;

	run->code = code;
	va_start(args, fmt);
	vsnprintf(run->error, sizeof(run->error), fmt, args);
	va_end(args);
	log_error("%s", run->error);
}

/* A terminal that is closed ends the agent in order, as Ctrl-C does: a signal handler may send a signal. */
static void on_hangup(int signal_number)
{
	(void)signal_number;
	kill(getpid(), SIGTERM);
}

static bool attach_all(struct run *run)
{
	for (uint32_t i = 0; i < run->options.n_policies; i++) {
		struct control_reply reply = { 0 };

		control_attach(run->core, run->options.policy[i], run->options.mode, &reply);
		if (reply.error == -ESHUTDOWN)
			return false;
		/* the others are attached all the same, and an operator may lift it */
		if (reply.error == -EKEYREJECTED) {
			log_error("%s", reply.text);
			continue;
		}
		if (reply.error) {
			give_up(run, attach_code(reply.error), "%s", reply.text);
			return false;
		}
	}
	return true;
}

static bool start_exercise(struct run *run)
{
	struct exercise_options options = { .dir = run->options.exercise };
	char error[256];

	if (!run->options.exercise)
		return true;
	run->exercise = exercise_start(&options, error, sizeof(error));
	if (run->exercise)
		return true;
	give_up(run, EXIT_CODE_STATE, "%s", error);
	return false;
}

static void exercise_words(const struct run *run, char *text, size_t text_len)
{
	struct exercise_view view;

	exercise_view(run->exercise, &view);
	if (view.error)
		snprintf(text, text_len, "the exercise ended: %s", strerror(-view.error));
	else if (!view.running)
		snprintf(text, text_len, "the exercise is over: %llu reads",
			(unsigned long long)view.reads);
	else if (view.filled_bytes < view.file_bytes)
		snprintf(text, text_len, "writing the scratch file: %llu of %llu MiB",
			(unsigned long long)(view.filled_bytes >> 20),
			(unsigned long long)(view.file_bytes >> 20));
	else
		snprintf(text, text_len, "exercising %s: %llu reads, %llu MiB written",
			run->options.exercise, (unsigned long long)view.reads,
			(unsigned long long)(view.written_bytes >> 20));
}

/* Predictions of a trained model that met their outcome, over all devices. */
static uint64_t evaluated(const struct agent_view *view)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < view->n_policies; i++)
		for (uint32_t k = 0; k < view->policy[i].n_devices; k++)
			n += view->policy[i].device[k].score.evaluated;
	return n;
}

/* True when the run is over by the clock. */
static bool over(struct run *run, double start)
{
	const struct agent_options *options = &run->options;
	double now = now_s();

	if (!run->predicting_since && run->have_last && evaluated(&run->last))
		run->predicting_since = now;
	if (run->predicting_since)
		return options->duration_s && now - run->predicting_since >= options->duration_s;
	if (options->learn_timeout_s && now - start >= options->learn_timeout_s) {
		give_up(run, EXIT_CODE_TIMEOUT,
			"No disk had a trained model within %u s; give it reads (--exercise DIR), "
			"fewer --rows or a longer --learn-timeout.",
			options->learn_timeout_s);
		return true;
	}
	return false;
}

/* The next look, or the end of the loop. True: it has ended. */
static bool ended(struct run *run)
{
	const struct agent_options *options = &run->options;
	struct timespec until;

	/* Nobody looks and no clock ends the run: an agent that serves only its socket is not woken for this. */
	if (!run->display && !options->json && !options->duration_s && !options->learn_timeout_s) {
		while (sem_wait(&run->loop_ended) && errno == EINTR)
			;
		return true;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += LOOK_S;
	return sem_clockwait(&run->loop_ended, CLOCK_MONOTONIC, &until) == 0;
}

static void *conduct(void *arg)
{
	struct run *run = arg;
	double start = now_s();
	char words[256];

	if (!attach_all(run) || !start_exercise(run)) {
		core_stop(run->core);
		return NULL;
	}
	do {
		struct agent_view view;

		if (control_view(run->core, NULL, &view) == 0) {
			if (run->have_last)
				control_view_free(&run->last);
			run->last = view;
			run->have_last = true;
			if (run->exercise)
				exercise_words(run, words, sizeof(words));
			if (run->display)
				display_draw(
					run->display, &run->last, run->exercise ? words : NULL);
		}
		if (over(run, start)) {
			core_stop(run->core);
			break;
		}
	} while (!ended(run));
	return NULL;
}

static int print_result(struct run *run)
{
	double duration = run->predicting_since ? run->ended - run->predicting_since : 0;
	bool attached = run->have_last && run->last.n_policies;
	json_t *result = attached ? result_json(&run->last, duration) : json_object();
	char *text;

	if (run->error[0]) {
		json_object_set_new(result, "error", text_json(run->error));
		json_object_set_new(result, "code", json_integer(run->code));
	}
	text = result ? json_dumps(result, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
	json_decref(result);
	if (!text)
		return -ENOMEM;
	puts(text);
	free(text);
	return 0;
}

/* An answer that did not reach its file is none, and the exit code must say so. */
static enum exit_code answered(enum exit_code code)
{
	if (fflush(stdout) != EOF && !ferror(stdout))
		return code;
	fprintf(stderr, "semantos-agent: The answer cannot be written to standard output: %s.\n",
		strerror(errno));
	return code == EXIT_CODE_OK ? EXIT_CODE_STATE : code;
}

/* The object lies beside the policies: <policies>/../bpf/telemetry. False when no folder has it. */
static bool find_telemetry(const char *policy_path, char *path, size_t len)
{
	for (const char *at = policy_path; *at;) {
		size_t n = strcspn(at, ":");

		if (n &&
			(size_t)snprintf(path, len, "%.*s/../bpf/telemetry/telemetry.bpf.o", (int)n,
				at) < len &&
			access(path, R_OK) == 0)
			return true;
		at += n + (at[n] == ':');
	}
	return false;
}

/* Without it the agent does its work all the same. */
static void start_telemetry(struct run *run, char *object, size_t len)
{
	const struct agent_options *options = &run->options;
	struct telemetry_options wanted = {
		.interval_s = options->telemetry_interval_s,
		.no_syscalls = options->no_syscalls,
		.device = options->core.device,
		.n_device = options->core.n_device,
	};
	int err;

	if (options->no_telemetry)
		return;
	if (find_telemetry(options->core.policy_path, object, len))
		wanted.object = object;
	else
		log_warn("Telemetry without latencies: bpf/telemetry/telemetry.bpf.o lies beside "
			 "none of the "
			 "policy folders.");
	run->telemetry = telemetry_new(&wanted);
	err = run->telemetry ? telemetry_start(run->telemetry) : -errno;
	if (!err)
		return;
	log_error("No telemetry is taken: %s.", strerror(-err));
	telemetry_free(run->telemetry);
	run->telemetry = NULL;
}

static enum exit_code run_agent(struct run *run)
{
	struct agent_options *options = &run->options;
	char socket_path[PATH_MAX], object[PATH_MAX];
	struct metrics_server *metrics = NULL;
	struct api_server *api = NULL;
	pthread_t conductor;
	int err;

	run->core = core_new(&options->core, &run->code, run->error, sizeof(run->error));
	if (!run->core) {
		fprintf(stderr, "%s\n", run->error);
		return run->code;
	}
	run->code = EXIT_CODE_OK;
	snprintf(socket_path, sizeof(socket_path), "%.*s/agent.sock", PATH_MAX - 16,
		options->core.run_dir ? options->core.run_dir : "/run/semantos");
	start_telemetry(run, object, sizeof(object));
	core_telemetry(run->core, run->telemetry);
	if (options->metrics) {
		metrics = metrics_start(run->core, run->telemetry, options->metrics, run->error,
			sizeof(run->error));
		if (!metrics)
			goto refused;
	}
	if (!options->no_api) {
		api = api_start(run->core, run->telemetry,
			options->socket ? options->socket : socket_path, run->error,
			sizeof(run->error));
		if (!api)
			goto refused;
	}
	run->display = options->quiet ? NULL : display_new(stderr);
	if (run->display)
		log_set_sink(display_log, run->display);
	sem_init(&run->loop_ended, 0, 0);
	err = pthread_create(&conductor, NULL, conduct, run);
	if (err) {
		give_up(run, EXIT_CODE_FAILED, "No thread can be started: %s.", strerror(err));
	} else {
		err = core_run(run->core);
		sem_post(&run->loop_ended);
		pthread_join(conductor, NULL);
		if (err)
			give_up(run, EXIT_CODE_FAILED, "The event loop ended: %s.", strerror(-err));
	}
	run->ended = now_s();
	exercise_stop(run->exercise);
	telemetry_stop(run->telemetry);
	metrics_stop(metrics);
	api_stop(api);
	telemetry_free(run->telemetry);
	display_free(run->display);
	core_free(run->core);
	return run->code;
refused:
	fprintf(stderr, "%s\n", run->error);
	metrics_stop(metrics);
	telemetry_free(run->telemetry);
	core_free(run->core);
	run->code = EXIT_CODE_STATE;
	return run->code;
}

int main(int argc, char **argv)
{
	static struct run run;
	char exe[PATH_MAX], error[256];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	exe[n > 0 ? n : 0] = 0;
	if (agent_options_parse(argc, argv, exe, &run.options, error, sizeof(error))) {
		fprintf(stderr, "semantos-agent: %s\n", error);
		run.code = EXIT_CODE_USAGE;
		snprintf(run.error, sizeof(run.error), "%s", error);
		for (int i = 1; i < argc; i++)
			run.options.json |= strcmp(argv[i], "--json") == 0;
		if (run.options.json)
			print_result(&run);
		return answered(run.code);
	}
	if (run.options.show_help) {
		agent_options_help(stdout);
		return answered(EXIT_CODE_OK);
	}
	if (run.options.show_version) {
		printf("semantos-agent %s, wire format %d\n", SEMANTOS_VERSION,
			SEMANTOS_WIRE_VERSION);
		return answered(EXIT_CODE_OK);
	}
	/* Under nohup it is ignored, and stays so. */
	if (signal(SIGHUP, on_hangup) == SIG_IGN)
		signal(SIGHUP, SIG_IGN);
	run_agent(&run);
	if (run.options.json && print_result(&run) && run.code == EXIT_CODE_OK)
		run.code = EXIT_CODE_FAILED;
	if (run.have_last)
		control_view_free(&run.last);
	return answered(run.code);
}
