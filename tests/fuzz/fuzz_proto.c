/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_proto.c - any bytes as any message of the API: refused or read, within the budget, and read again alike.
 *
 * The first byte chooses the message. A status that is read is also turned into JSON, as semantosctl does.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "agent/api/unpack.h"
#include "agent/cli/status_json.h"
#include "agent/proto/semantos.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const ProtobufCMessageDescriptor *const types[] = {
		&semantos__v1__status_request__descriptor,
		&semantos__v1__attach_request__descriptor,
		&semantos__v1__detach_request__descriptor,
		&semantos__v1__mode_request__descriptor,
		&semantos__v1__use_model_request__descriptor,
		&semantos__v1__shutdown_request__descriptor,
		&semantos__v1__capture_request__descriptor,
		&semantos__v1__capture_chunk__descriptor,
		&semantos__v1__agent_status__descriptor,
		&semantos__v1__done__descriptor,
		&semantos__v1__tune_request__descriptor,
		&semantos__v1__source_report__descriptor,
		&semantos__v1__recommendations__descriptor,
		&semantos__v1__proposal__descriptor,
		&semantos__v1__advisor_event__descriptor,
	};
	struct unpacked first, second;
	uint8_t *packed, *again;
	size_t n, m;

	if (size == 0)
		return 0;
	if (unpack(&first, types[data[0] % (sizeof(types) / sizeof(types[0]))], data + 1,
		    size - 1)) {
		if (first.left > unpack_budget(size - 1))
			abort();
		if (first.message->descriptor == &semantos__v1__agent_status__descriptor)
			json_decref(status_json((const Semantos__V1__AgentStatus *)first.message));
		n = protobuf_c_message_get_packed_size(first.message);
		packed = malloc(n + 1);
		if (protobuf_c_message_pack(first.message, packed) != n)
			abort();
		/* packed anew, it may need more than the original did, never another meaning */
		if (unpack(&second, first.message->descriptor, packed, n)) {
			m = protobuf_c_message_get_packed_size(second.message);
			again = malloc(m + 1);
			protobuf_c_message_pack(second.message, again);
			if (m != n || memcmp(packed, again, n) != 0)
				abort();
			free(again);
			unpack_free(&second);
		}
		free(packed);
	}
	unpack_free(&first);
	return 0;
}
