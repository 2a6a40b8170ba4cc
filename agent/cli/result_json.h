/* SPDX-License-Identifier: Apache-2.0 */
/*
 * result_json.h - what a run of the agent came to, as one JSON object.
 */
#ifndef SEMANTOS_CLI_RESULT_JSON_H
#define SEMANTOS_CLI_RESULT_JSON_H

#include <jansson.h>
#include "agent/core/control.h"

/*
 * The device that was judged most often speaks for its policy at the top level; all of them stand in "devices". A
 * number that is not defined is null. New reference, NULL when out of memory.
 */
json_t *result_json(const struct agent_view *view, double duration_s);

#endif
