/* SPDX-License-Identifier: Apache-2.0 */
/*
 * label.h - named labelers: from latencies to slow (1) and fast (0).
 */
#ifndef SEMANTOS_INFER_LABEL_H
#define SEMANTOS_INFER_LABEL_H

#include <stddef.h>
#include <stdint.h>

struct label_result {
	float threshold_us; /* slow when latency_us >= this */
	size_t n_slow;
};

struct labeler {
	const char *name;
	const char *summary;
	/*
	 * latency_us, labels: [n]; labels are written 0 or 1. 0, -EINVAL when n < 32 or every latency is equal (there
	 * is nothing to separate), -ENOMEM.
	 */
	int (*label)(
		const float *latency_us, size_t n, uint8_t *labels, struct label_result *result);
};

/*
 * inflection     drop above p97, normalise, argmax(ECDF(x) - x) on 10,000 points (LAKE's tooling for LinnOS)
 * percentile-85  slow is the slowest 15 %
 */
const struct labeler *labeler_find(const char *name); /* NULL when unknown */
const struct labeler *labeler_at(uint32_t index);

#endif
