/* SPDX-License-Identifier: Apache-2.0 */
/*
 * module_view.h - what semantos.ko tells of itself: who decides for replica volumes, and how often whose word was taken.
 *
 * Read from /sys/module/semantos/parameters/state, which everyone may; needs no agent.
 */
#ifndef SEMANTOS_CLI_MODULE_VIEW_H
#define SEMANTOS_CLI_MODULE_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#define MODULE_STATE "/sys/module/semantos/parameters/state"

/* The text of `state`, malloc'ed; NULL when the module is not loaded. */
char *module_state(const char *path);

/* A line about the policy and one a volume; nothing for NULL. */
void module_print(const char *state, FILE *out);

/* {"policy", "lease", "volumes": [{"name", "decisions", ...}], "models": [...]}, or null for NULL. */
json_t *module_json(const char *state);

#endif
