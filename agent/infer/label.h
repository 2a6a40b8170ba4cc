/* SPDX-License-Identifier: Apache-2.0 */
/*
 * label.h - named labelers: from the reads of one device, in order of issue, to slow (1), fast (0) and left out (2).
 */
#ifndef SEMANTOS_INFER_LABEL_H
#define SEMANTOS_INFER_LABEL_H

#include <stddef.h>
#include <stdint.h>

#define LABEL_LEFT_OUT 2 /* neither: nothing is to be learned from this read */

struct label_result {
	float threshold_us; /* a read that takes so long is slow, where one read alone is judged */
	size_t n_slow;
	size_t n_left_out; /* the rest is fast */
	size_t n_periods; /* slow ones that were kept; 0 = the labeler knows none */
};

struct labeler {
	const char *name;
	const char *summary;
	/*
	 * latency_us, sectors, labels: [n] in order of issue. sectors: size of each read, NULL = all alike. 0, -EINVAL when
	 * n < 32 or every latency is equal (there is nothing to separate), -ENODATA when what it looks for is not there,
	 * -ENOMEM.
	 */
	int (*label)(const float *latency_us, const float *sectors, size_t n, uint8_t *labels,
		struct label_result *result);
};

/*
 * inflection     drop above p97, normalise, argmax(ECDF(x) - x) on 10,000 points (LAKE's tooling for LinnOS)
 * percentile-85  slow is the slowest 15 %
 * answer         what the kernel itself answered, 0 or 1: records of the kind `sched`
 * periods        slow are the reads of slow periods, outliers left out (Heimdall, EuroSys'25): label_periods.c
 */
const struct labeler *labeler_find(const char *name); /* NULL when unknown */
const struct labeler *labeler_at(uint32_t index);

#endif
