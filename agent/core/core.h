/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core.h - the running agent: one epoll loop, the policies attached to it, the lease.
 *
 * core_new() takes the single-instance lock, checks kernel and permissions and loads the lease; core_run() is the
 * loop, on the thread that calls it, until core_stop(), SIGTERM or SIGINT. Everything else asks through control.h.
 */
#ifndef SEMANTOS_CORE_CORE_H
#define SEMANTOS_CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/core/placebo.h"
#include "agent/util/exitcode.h"

#define CORE_MAX_PATTERNS 64

struct core_options {
	const char *
		policy_path; /* colon-separated folders holding <name>/policy.conf; NULL = built-in default */
	const char *state_dir; /* models and captures; NULL = /var/lib/semantos */
	const char *run_dir; /* lock and socket; NULL = /run/semantos */
	const char *bpffs_dir; /* pins; NULL = /sys/fs/bpf/semantos */
	const char *device
		[CORE_MAX_PATTERNS]; /* --device: names, /dev paths or globs; none = physical disks */
	uint32_t n_device;
	const char *exclude[CORE_MAX_PATTERNS];
	uint32_t n_exclude;
	bool fresh; /* --fresh: ignore saved models, learn anew */
	enum placebo_kind control; /* --control: judge this instead of the model */
	const char *safety_root; /* of tests: where settings are changed; NULL = this machine */
	const char *keeper; /* the program that undoes changes; NULL = none */
	uint32_t min_rows; /* --rows: training rows wanted per device; 0 = the manifest's */
};

struct core;
struct telemetry;

/* NULL on failure with *code set to the exit code and one sentence in error[error_len]. */
struct core *core_new(
	const struct core_options *options, enum exit_code *code, char *error, size_t error_len);
/* Between core_new() and core_run(): what the tuning loop may measure by. It must live until core_run() has returned. */
void core_telemetry(struct core *core, struct telemetry *telemetry);
int core_run(struct core *core); /* 0 or -errno; everything is detached and unpinned on return */
void core_stop(struct core *core); /* from any thread or a signalfd handler */
/* The same, but changes of settings stay for the next agent, which has SAFETY_UPGRADE_NS to come. SIGUSR2 does this. */
void core_stop_for_upgrade(struct core *core);
void core_free(struct core *core); /* accepts NULL; after core_run() returned */

#endif
