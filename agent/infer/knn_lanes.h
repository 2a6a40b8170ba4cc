/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knn_lanes.h - the body of knn_engine.h's filters, written once for any LANES: references in lanes, queries broadcast.
 *
 * Never allocates. Six queries by SIDE vectors of references fill the registers; a panel of references (8 KiB at 128
 * numbers) stays in the first-level cache meanwhile. Sums are kept in 16 bits: half the way to the second-level cache, and
 * half the comparing. Whole numbers throughout: nothing here rounds but the starts, and the sums downwards. Doubles are
 * summed eight at a time whatever the width, so that distances are the same to the bit.
 */

static size_t place(size_t r)
{
	size_t piece = r % (2 * LANES) / 8, within = r % 8;

	return r / (2 * LANES) * (2 * LANES) + within / 4 * LANES + 4 * piece + within % 4;
}

static void sums(const uint32_t *reference, size_t n_panels, size_t groups, const int32_t *start,
	const int32_t *query, int shift, int16_t *sum)
{
	const __m128i by = _mm_cvtsi32_si128(shift);

	for (size_t at = 0; at < n_panels * KNN_PANEL; at += SIDE * LANES) {
		const uint32_t *words =
			reference + at / KNN_PANEL * KNN_PANEL * groups + at % KNN_PANEL;
		vi s[KNN_QUERIES][SIDE];

#pragma GCC unroll 6
		for (size_t q = 0; q < KNN_QUERIES; q++)
#pragma GCC unroll 4
			for (size_t v = 0; v < SIDE; v++)
				s[q][v] = ((const vi *)(start + at))[v];
		for (size_t g = 0; g < groups; g++, words += KNN_PANEL) {
			vi x[SIDE];

#pragma GCC unroll 4
			for (size_t v = 0; v < SIDE; v++)
				x[v] = ((const vi *)words)[v];
#pragma GCC unroll 6
			for (size_t q = 0; q < KNN_QUERIES; q++)
#pragma GCC unroll 4
				for (size_t v = 0; v < SIDE; v++)
					dot_add(&s[q][v], x[v], query + q * groups + g);
		}
#pragma GCC unroll 6
		for (size_t q = 0; q < KNN_QUERIES; q++)
#pragma GCC unroll 2
			for (size_t v = 0; v < SIDE; v += 2)
				*(vs *)(sum + q * n_panels * KNN_PANEL + at + v * LANES) =
					narrowed(s[q][v], s[q][v + 1], by);
	}
}

static void narrow(const int32_t *whole, size_t n, int shift, int16_t *sum)
{
	for (size_t r = 0; r < n; r += 2 * LANES)
		*(vs *)(sum + r) = narrowed(*(const vi *)(whole + r),
			*(const vi *)(whole + r + LANES), _mm_cvtsi32_si128(shift));
}

static void starts(const float *half_length, float unit, int32_t *start, size_t n)
{
	for (size_t r = 0; r < n; r += LANES)
		*(vi *)(start + r) = vi_nearest(*(const vf *)(half_length + r) * -unit);
}

/*
 * The largest of each of KNN_PANEL strides: the k-th largest of those is at most the k-th largest of all. It is found bit
 * by bit: the largest number that at least k of them reach.
 */
static int32_t least(const int16_t *sum, size_t n, size_t k)
{
	vs most[KNN_PANEL / (2 * LANES)];
	int32_t found = INT16_MIN;

#pragma GCC unroll 4
	for (size_t v = 0; v < KNN_PANEL / (2 * LANES); v++)
		most[v] = ((const vs *)sum)[v];
	for (size_t r = KNN_PANEL; r < n; r += KNN_PANEL)
#pragma GCC unroll 4
		for (size_t v = 0; v < KNN_PANEL / (2 * LANES); v++)
			most[v] = vs_larger(most[v], ((const vs *)(sum + r))[v]);
	for (int32_t bit = 1 << 15; bit; bit >>= 1)
		found += (size_t)__builtin_popcountll(reach(most, (int16_t)(found + bit))) >= k
				 ? bit
				 : 0;
	return found;
}

/* No branch depends on where they are: a wrong guess costs more than all that is done for one of them. */
static size_t pick(const int16_t *sum, size_t n, int32_t lowest, uint32_t *index, uint64_t *mask,
	uint32_t *base)
{
	const int16_t limit = (int16_t)(lowest < INT16_MIN ? INT16_MIN : lowest);
	size_t picked = 0, words = 0, word = 0;

	for (size_t r = 0; r < n; r += KNN_PANEL) {
		mask[words] = reach((const vs *)(sum + r), limit);
		base[words] = (uint32_t)r;
		picked += (size_t)__builtin_popcountll(mask[words]);
		words += mask[words] != 0;
	}
	for (size_t i = 0; i < picked; i++) {
		uint64_t left = mask[word];

		index[i] = base[word] + (uint32_t)__builtin_ctzll(left);
		left &= left - 1;
		mask[word] = left;
		word += left == 0;
	}
	return picked;
}

static void widen(const float *query, size_t width, double *to)
{
	for (size_t i = 0; i < width; i++)
		to[i] = query[i];
}

static double largest(const double *row, const double *centre, size_t stride)
{
	vd most = { 0 };
	double value = 0;

	for (size_t at = 0; at < stride; at += DOUBLES) {
		vd gap = *(const vd *)(row + at) - *(const vd *)(centre + at);

		most = vd_larger(most, vd_larger(gap, -gap));
	}
	for (size_t l = 0; l < DOUBLES; l++)
		value = most[l] > value ? most[l] : value;
	return value;
}

static void round_off(const double *row, const double *centre, size_t stride, double step,
	int8_t *to, double *off, double *length)
{
	const double to_integer = 0x1.8p52; /* adding it rounds to a whole number */
	vd o[EIGHT] = { { 0 } }, l[EIGHT] = { { 0 } };

	for (size_t at = 0; at < stride; at += 8)
#pragma GCC unroll 2
		for (size_t v = 0; v < EIGHT; v++) {
			vd value = ((const vd *)(row + at))[v] - ((const vd *)(centre + at))[v];
			vd whole = (value / step + to_integer) - to_integer;
			vd kept = whole * step, error = value - kept;

			o[v] += error * error;
			l[v] += kept * kept;
			put_bytes(to + at + v * DOUBLES, whole);
		}
	*off = total_of(o);
	*length = total_of(l);
}

INLINE void distances_of(const double *query, const float *rows, size_t stride,
	const uint32_t *index, size_t n, double *distance)
{
	const float *row[4];
	vd sum[4][EIGHT];

#pragma GCC unroll 4
	for (size_t k = 0; k < n; k++) {
		row[k] = rows + index[k] * stride;
#pragma GCC unroll 2
		for (size_t v = 0; v < EIGHT; v++)
			sum[k][v] = (vd){ 0 };
	}
	for (size_t i = 0; i < stride; i += 8)
#pragma GCC unroll 4
		for (size_t k = 0; k < n; k++)
#pragma GCC unroll 2
			for (size_t v = 0; v < EIGHT; v++) {
				vd d = ((const vd *)(query + i))[v] -
				       widened(row[k] + i + v * DOUBLES);

				sum[k][v] += d * d;
			}
#pragma GCC unroll 4
	for (size_t k = 0; k < n; k++)
		distance[k] = total_of(sum[k]);
}

static void distances(const double *query, const float *rows, size_t stride, const uint32_t *index,
	size_t n, double *distance)
{
	size_t i = 0;

	for (; i + 4 <= n; i += 4)
		distances_of(query, rows, stride, index + i, 4, distance + i);
	for (; i < n; i++)
		distances_of(query, rows, stride, index + i, 1, distance + i);
}

/* Distances are no less than zero, so their bits are in the same order, and one more is the next larger number. */
static void rank(const double *distance, size_t n, uint32_t *to)
{
	static const int64_t lanes[] = { 0, 1, 2, 3, 4, 5, 6, 7 };
	const int64_t *key = (const int64_t *)distance;
	vl lane;

	memcpy(&lane, lanes, sizeof(lane));
	for (size_t at = 0; at < n; at += DOUBLES, lane += DOUBLES) {
		vl own = *(const vl *)(key + at), before = { 0 };

		for (size_t j = 0; j < n; j++) {
			/* to the lanes after j an equal distance comes before theirs */
			vl bound = plus_less(own, (vl){ 0 } + (int64_t)j, lane);

			before = plus_less(before, (vl){ 0 } + key[j], bound);
		}
		*(vw *)(to + at) = __builtin_convertvector(before, vw);
	}
}

const struct knn_engine ENGINE = {
	.name = ENGINE_NAME,
	.steps = STEPS,
	.place = place,
	.sums = sums,
	.narrow = narrow,
	.starts = starts,
	.least = least,
	.pick = pick,
	.widen = widen,
	.largest = largest,
	.round = round_off,
	.distances = distances,
	.rank = rank,
};
