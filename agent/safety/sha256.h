/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sha256.h - SHA-256 (FIPS 180-4), for the chain of the journal.
 *
 * Our own because the keeper is to stay a few tens of KiB that depend on libc and zlib alone, and the chain hashes some
 * hundred bytes a change: speed is of no concern. Never used for secrets. Pure functions, any thread.
 */
#ifndef SEMANTOS_SAFETY_SHA256_H
#define SEMANTOS_SAFETY_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

void sha256(const void *bytes, size_t n, uint8_t digest[SHA256_BYTES]);

#endif
