/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unpack.c - an allocator for protobuf-c that stops at a budget.
 *
 * Memory given back is not given out again: a message is unpacked once. Any thread.
 */
#include "agent/api/unpack.h"

#include <stdlib.h>

#define BUDGET_FACTOR 2
#define BUDGET_BASE (64u << 10)

static void *budget_alloc(void *data, size_t n)
{
	struct unpacked *unpacked = data;

	if (n > unpacked->left)
		return NULL;
	unpacked->left -= n;
	return malloc(n);
}

static void budget_free(void *data, void *p)
{
	(void)data;
	free(p);
}

size_t unpack_budget(size_t n_bytes)
{
	return BUDGET_FACTOR * n_bytes + BUDGET_BASE;
}

ProtobufCMessage *unpack(struct unpacked *out, const ProtobufCMessageDescriptor *type,
	const uint8_t *bytes, size_t n_bytes)
{
	out->allocator = (ProtobufCAllocator){ budget_alloc, budget_free, out };
	out->left = unpack_budget(n_bytes);
	out->message = protobuf_c_message_unpack(type, &out->allocator, n_bytes, bytes);
	return out->message;
}

void unpack_free(struct unpacked *unpacked)
{
	if (unpacked->message)
		protobuf_c_message_free_unpacked(unpacked->message, &unpacked->allocator);
	unpacked->message = NULL;
}
