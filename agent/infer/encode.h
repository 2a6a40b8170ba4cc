/* SPDX-License-Identifier: Apache-2.0 */
/*
 * encode.h - named encoders: from the raw numbers of a record to a model's features.
 *
 * A manifest names one (`encoder = linnos-digits`). An encoder reads only what stood in the record when the read
 * was issued: outcome fields are off limits, so that a score can never leak.
 */
#ifndef SEMANTOS_INFER_ENCODE_H
#define SEMANTOS_INFER_ENCODE_H

#include <stdint.h>
#include "bpf/wire.h"

#define ENCODE_MAX_FEATURES 64

struct encoder {
	const char *name;
	const char *summary; /* one line, with its source */
	uint32_t n_features;
	float x_max; /* no feature's magnitude exceeds this */
	/* features: [n_features]. Needs record->history_len == SEMANTOS_HISTORY. */
	void (*encode)(const struct semantos_block_record *record, float *features);
	/* What its records are called, and the one number of them that a model must beat; NULL = reads, pending pages. */
	const char *rows, *baseline;
};

/* With the words for NULL; static text. */
const char *encoder_rows(const struct encoder *encoder);
const char *encoder_baseline(const struct encoder *encoder);

/*
 * linnos-digits  31 decimal digits, LinnOS (OSDI'20) and LAKE (ASPLOS'23)
 * heimdall       12 numbers, Heimdall (EuroSys'25)
 * latency-ages   our own: log-scaled depth, history, ages, EWMA
 * pending-only   the baseline: pending pages alone
 * mllb           15 numbers of a migration, MLLB (APSys'20), from records of the kind `sched`
 */
const struct encoder *encoder_find(const char *name); /* NULL when unknown */
const struct encoder *encoder_at(uint32_t index); /* NULL past the last */

#endif
