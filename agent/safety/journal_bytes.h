/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal_bytes.h - the layout of one record in the journal's file. Of journal.c and journal_scan.c only.
 */
#ifndef SEMANTOS_SAFETY_JOURNAL_BYTES_H
#define SEMANTOS_SAFETY_JOURNAL_BYTES_H

#include <stddef.h>
#include "agent/safety/journal.h"

#define JOURNAL_MAGIC 0x4a4d4553u /* "SEMJ" */
#define JOURNAL_END \
	0x0a444e45u /* "END\n": no byte is zero, so a file that ends in zeros ends in a torn record */

/* Little endian, as is every machine the project builds for. */
struct journal_head {
	uint32_t magic;
	uint16_t version;
	uint16_t kind;
	uint64_t seq;
	uint32_t bytes; /* head, payload and tail */
	uint32_t head_crc; /* CRC-32 of the head with this field zero: the length can be trusted */
	uint8_t before
		[SHA256_BYTES]; /* SHA-256 of the whole record before; zeros for the first of all */
};
_Static_assert(sizeof(struct journal_head) == 56, "journal head size");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "journal byte order");

struct journal_tail {
	uint32_t crc; /* CRC-32 of head and payload */
	uint32_t end;
};

#define JOURNAL_RECORD_MAX \
	(sizeof(struct journal_head) + RECORD_PAYLOAD_MAX + sizeof(struct journal_tail))

uint32_t journal_crc(const void *bytes, size_t n);
uint32_t journal_head_crc(struct journal_head head);

#endif
