/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unpack.h - protobuf from another process, within a budget of memory.
 *
 * A few bytes on the wire can ask for many in memory (unknown fields, repeated ones): what goes beyond the budget is
 * refused like any other malformed message. No state outside the struct, which must not move while the message lives.
 */
#ifndef SEMANTOS_API_UNPACK_H
#define SEMANTOS_API_UNPACK_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

struct unpacked {
	ProtobufCAllocator allocator;
	size_t left; /* bytes of the budget */
	ProtobufCMessage *message; /* NULL = refused */
};

/* What a message of n_bytes may take: far more than any of ours does. */
size_t unpack_budget(size_t n_bytes);

/* out->message, also returned, or NULL. */
ProtobufCMessage *unpack(struct unpacked *out, const ProtobufCMessageDescriptor *type,
	const uint8_t *bytes, size_t n_bytes);
void unpack_free(struct unpacked *unpacked); /* also after a refusal */

#endif
