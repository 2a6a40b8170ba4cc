// SPDX-License-Identifier: Apache-2.0
/*
 * label_periods.c - labels by slow periods of a device, after Heimdall (EuroSys'25): what is slow is the time, not the read.
 *
 * A period begins with a read that is slow by both inflection points, that of latencies and that of throughputs (size over
 * latency), and has at most 1/1.7 of the throughput of the read before it. It lasts until three reads in a row have at
 * least the median throughput; the first of these is fast again. Then three kinds of read are left out, in this order:
 *   within a period, one no slower than the median and with no less than the median throughput (luck, a cache)
 *   outside, one beyond the latency's inflection point with less than the median throughput (an error retried, a hiccup)
 *   periods of which three reads or fewer remain (a spike)
 * The numbers and the order are Heimdall's. Two differences: here are reads only, where Heimdall looks at writes as well;
 * and the inflection points are LinnOS's rule, for throughputs as for latencies.
 *
 * The threshold it reports, by which reads are judged one by one once a model is used, is the latency's inflection point.
 */
#include "agent/infer/label_internal.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#define DROP_RATE 1.7 /* of throughput, from the read before */
#define IN_A_ROW 3 /* reads that end a period, and the longest spike */

/* A read on both scales, and what both are compared with. */
struct scale {
	const float *latency_us;
	const float *throughput; /* sectors/us */
	double slow_us, median_us;
	double slow_throughput, median_throughput;
};

static float *throughputs(const float *latency_us, const float *sectors, size_t n)
{
	float *throughput = calloc(n ? n : 1, sizeof(*throughput));

	/* A read that took no microsecond took half of one. */
	for (size_t i = 0; throughput && i < n; i++)
		throughput[i] = (sectors ? sectors[i] : 1.0f) /
				(latency_us[i] > 0.5f ? latency_us[i] : 0.5f);
	return throughput;
}

static bool begins(const struct scale *s, size_t i)
{
	return i && (double)s->latency_us[i] >= s->slow_us &&
	       (double)s->throughput[i] <= s->slow_throughput &&
	       (double)s->throughput[i - 1] >= DROP_RATE * (double)s->throughput[i];
}

/* Is the period over at i? What would come after the last read is not known, so it does not end one. */
static bool ends(const struct scale *s, size_t n, size_t i)
{
	if (i + IN_A_ROW > n)
		return false;
	for (size_t k = 0; k < IN_A_ROW; k++)
		if ((double)s->throughput[i + k] < s->median_throughput)
			return false;
	return true;
}

static void mark_periods(const struct scale *s, size_t n, uint8_t *labels)
{
	bool slow = false;

	for (size_t i = 0; i < n; i++) {
		/* The read that begins a period belongs to it, whatever follows. */
		slow = slow ? !ends(s, n, i) : begins(s, i);
		labels[i] = slow;
	}
}

static void leave_out_single(const struct scale *s, size_t n, uint8_t *labels)
{
	for (size_t i = 0; i < n; i++) {
		bool lean = (double)s->throughput[i] < s->median_throughput;
		bool lucky = (double)s->latency_us[i] <= s->median_us && !lean;
		bool hiccup = (double)s->latency_us[i] > s->slow_us && lean;

		if (labels[i] ? lucky : hiccup)
			labels[i] = LABEL_LEFT_OUT;
	}
}

/* Spikes, by the reads that are still there; counts what remains. */
static void leave_out_spikes(size_t n, uint8_t *labels, struct label_result *result)
{
	size_t first = 0, length = 0;

	result->n_slow = result->n_left_out = result->n_periods = 0;
	for (size_t i = 0; i <= n; i++) {
		if (i < n && labels[i] == LABEL_LEFT_OUT)
			continue;
		if (i < n && labels[i]) {
			if (!length++)
				first = i;
			continue;
		}
		for (size_t k = first; length && length <= IN_A_ROW && k < i; k++)
			labels[k] = LABEL_LEFT_OUT;
		result->n_periods += length > IN_A_ROW;
		length = 0;
	}
	for (size_t i = 0; i < n; i++) {
		result->n_slow += labels[i] == 1;
		result->n_left_out += labels[i] == LABEL_LEFT_OUT;
	}
}

int label_periods(const float *latency_us, const float *sectors, size_t n, uint8_t *labels,
	struct label_result *result)
{
	struct scale s = { .latency_us = latency_us };
	float *sorted, *throughput = NULL;
	int err;

	sorted = label_sorted(latency_us, n, &err);
	if (!sorted)
		return err;
	s.slow_us = label_inflection_us(sorted, n);
	if (s.slow_us <= (double)sorted[0])
		s.slow_us = (double)nextafterf(sorted[0], INFINITY);
	s.median_us = label_percentile(sorted, n, 0.5);
	free(sorted);
	throughput = throughputs(latency_us, sectors, n);
	if (!throughput)
		return -ENOMEM;
	sorted = label_sorted(throughput, n, &err);
	if (!sorted) {
		/* Latencies that differ by size alone: the device never was slow. */
		err = err == -EINVAL ? -ENODATA : err;
		goto out;
	}
	s.throughput = throughput;
	s.slow_throughput = label_inflection_us(sorted, n);
	s.median_throughput = label_percentile(sorted, n, 0.5);
	free(sorted);
	mark_periods(&s, n, labels);
	leave_out_single(&s, n, labels);
	leave_out_spikes(n, labels, result);
	result->threshold_us = (float)s.slow_us;
	if (!result->n_slow || result->n_slow + result->n_left_out == n)
		err = -ENODATA;
out:
	free(throughput);
	return err;
}
