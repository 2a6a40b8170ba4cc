/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status_json.c - any message of the API as a JSON object, by its own description.
 *
 * Walks the descriptor protobuf-c generates, so that a field added to the .proto appears here by itself. Enums are
 * lower-case names; counters, a list of name and value on the wire, become one object.
 */
#include "agent/cli/status_json.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

json_t *number_json(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

json_t *text_json(const char *text)
{
	json_t *value = json_string(text);
	char *copy;

	if (value)
		return value;
	copy = strdup(text);
	for (char *p = copy; p && *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	value = copy ? json_string(copy) : NULL;
	free(copy);
	return value;
}

static json_t *enum_json(const ProtobufCEnumDescriptor *type, int value)
{
	const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(type, value);
	char name[64];
	size_t i = 0;

	if (!known)
		return json_integer(value); /* of a newer agent */
	for (; known->name[i] && i + 1 < sizeof(name); i++)
		name[i] = (char)tolower((unsigned char)known->name[i]);
	name[i] = '\0';
	return json_string(name);
}

static json_t *value_json(const ProtobufCFieldDescriptor *field, const void *at)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_UINT32:
		return json_integer(*(const uint32_t *)at);
	case PROTOBUF_C_TYPE_UINT64:
		return json_integer((json_int_t) * (const uint64_t *)at);
	case PROTOBUF_C_TYPE_DOUBLE:
		return number_json(*(const double *)at);
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)at);
	case PROTOBUF_C_TYPE_STRING:
		return text_json(*(char *const *)at);
	case PROTOBUF_C_TYPE_ENUM:
		return enum_json(field->descriptor, *(const int *)at);
	case PROTOBUF_C_TYPE_MESSAGE: {
		const ProtobufCMessage *sub = *(ProtobufCMessage *const *)at;

		return sub ? message_json(sub) : json_null();
	}
	default:
		return json_null(); /* no other type occurs in a status */
	}
}

static json_t *counters_json(Semantos__V1__Counter *const *counter, size_t n)
{
	json_t *object = json_object();

	for (size_t i = 0; i < n; i++)
		json_object_set_new(
			object, counter[i]->name, json_integer((json_int_t)counter[i]->value));
	return object;
}

json_t *message_json(const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;
	json_t *object = json_object();

	for (unsigned int i = 0; object && i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		const char *at = (const char *)message + field->offset;
		json_t *value;

		if (field->label != PROTOBUF_C_LABEL_REPEATED) {
			value = value_json(field, at);
		} else {
			size_t n =
				*(const size_t *)((const char *)message + field->quantifier_offset);
			ProtobufCMessage *const *item = *(ProtobufCMessage ***)at;

			if (field->descriptor == &semantos__v1__counter__descriptor) {
				value = counters_json((Semantos__V1__Counter *const *)item, n);
			} else {
				value = json_array();
				for (size_t j = 0; j < n; j++)
					json_array_append_new(value, message_json(item[j]));
			}
		}
		if (json_object_set_new(object, field->name, value) < 0) {
			json_decref(object);
			object = NULL;
		}
	}
	return object;
}

json_t *status_json(const Semantos__V1__AgentStatus *status)
{
	return message_json(&status->base);
}
