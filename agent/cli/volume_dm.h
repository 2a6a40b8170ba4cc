/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_dm.h - replica volumes as device-mapper sees them, through dmsetup(8).
 */
#ifndef SEMANTOS_CLI_VOLUME_DM_H
#define SEMANTOS_CLI_VOLUME_DM_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Run a program found in PATH and collect what it prints (both outputs, cut to `len`, ended). Returns its exit status,
 * or -errno when it could not be run; `out` then says so. -ETIMEDOUT: it did not end in time, because a device it waits
 * for hangs; it cannot be killed then, and is left alone.
 */
int volume_run(const char *const argv[], char *out, size_t len);

/* The same with a time of its own. */
#define VOLUME_WAIT_MS 60000
int volume_run_for(const char *const argv[], char *out, size_t len, unsigned int wait_ms);

/* Can the kernel make replica volumes? Loads the module when it is not loaded. False: `why` is a sentence. */
bool volume_target_ready(char *why, size_t len);

/* 1 to 60 letters, digits, '_', '-', '.', '+'; not a dot first. */
bool volume_name_ok(const char *name);

/* Is there such a volume of ours? */
bool volume_exists(const char *name);

#endif
