/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * features.h - the encoders of agent/infer/encode.h once more, in integers: a record to a net's features.
 *
 * LinnOS's digits and Heimdall's numbers are the same as in user space but that Heimdall's throughput is rounded down;
 * logarithms are in units of 1/1024, rounded to within 2 of them. A unit test compares the two.
 */
#ifndef SEMANTOS_KMOD_INFER_FEATURES_H
#define SEMANTOS_KMOD_INFER_FEATURES_H

#include "bpf/wire.h"
#include "kmod/infer/net.h"

/* Features of the net's encoder; feature has room for INFER_MAX_WIDTH. */
void infer_encode(
	enum infer_encoder encoder, const struct semantos_block_record *record, uint32_t *feature);

/* log2(1 + value) * 1024 */
uint32_t infer_log2(uint32_t value);

#endif
