/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status_json.h - the agent's status as JSON, the same names as in agent/proto/semantos.proto.
 *
 * A number that is not defined is null. Each function returns a new reference, NULL when out of memory. Any thread.
 */
#ifndef SEMANTOS_CLI_STATUS_JSON_H
#define SEMANTOS_CLI_STATUS_JSON_H

#include <jansson.h>
#include "agent/proto/semantos.pb-c.h"

/* Any message of the API but those with bytes. */
json_t *message_json(const ProtobufCMessage *message);
json_t *status_json(const Semantos__V1__AgentStatus *status);

/* Text that may hold bytes that are no UTF-8: those become '?'. */
json_t *text_json(const char *text);
json_t *number_json(double value);

#endif
