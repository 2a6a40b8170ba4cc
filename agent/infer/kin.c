// SPDX-License-Identifier: Apache-2.0
/*
 * kin.c - nearest benign and other references, a score of both, and what the references say of the score.
 *
 * The nearest of each class are asked for apart: in a set with many more of one class the nearest of the other would
 * hardly be among the nearest of all. Owns its sets; a scratch is one thread's.
 */
#include "agent/infer/kin.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/score.h"

#define FIRST_LOOK \
	64 /* neighbours asked for before all are measured: those of one recording are left out */
#define RESAMPLES 200
#define BLOCK 8 /* references that were recorded together are alike */
#define FIT_ROUNDS 50

enum { BENIGN, OTHER, CLASSES };

struct kin {
	enum calls_form form;
	bool one_class, fitted;
	double reach; /* no reference that is not benign lies further from those of other recordings */
	double slope, offset; /* probability = 1 / (1 + exp(-(slope * score + offset))) */
	struct kin_report report;
	/* by class: rows, and which reference each is */
	struct knn_set *set[CLASSES];
	size_t n[CLASSES];
	float *row[CLASSES];
	uint32_t *index[CLASSES];
	uint32_t *label, *recording; /* by reference */
};

struct kin_scratch {
	struct knn_scratch *knn[CLASSES];
	struct knn_neighbour found[FIRST_LOOK];
};

/* The nearest of one class, nearest first. */
struct nearest {
	size_t n;
	uint32_t index[KIN_K_ONE];
	double distance[KIN_K_ONE];
};

static size_t wanted(const struct kin *kin)
{
	return kin->one_class ? KIN_K_ONE : KIN_K;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Distances to all rows of the class that are not of this recording; the slow way, for what FIRST_LOOK left out. */
static void measure_all(
	const struct kin *kin, int class, const float *row, uint32_t recording, struct nearest *out)
{
	size_t k = wanted(kin);

	out->n = 0;
	for (size_t r = 0; r < kin->n[class]; r++) {
		uint32_t index = kin->index[class][r];
		double sum = 0;
		size_t at;

		if (kin->recording[index] == recording)
			continue;
		for (size_t i = 0; i < SEMANTOS_CALLS; i++) {
			double d = (double)row[i] - (double)kin->row[class][r * SEMANTOS_CALLS + i];

			sum += d * d;
		}
		sum = sqrt(sum);
		if (out->n == k && sum >= out->distance[k - 1])
			continue;
		out->n += out->n < k;
		for (at = out->n - 1; at && out->distance[at - 1] > sum; at--) {
			out->distance[at] = out->distance[at - 1];
			out->index[at] = out->index[at - 1];
		}
		out->distance[at] = sum;
		out->index[at] = index;
	}
}

/* without: a recording that does not count, or NULL. */
static int nearest(const struct kin *kin, struct kin_scratch *scratch, int class, const float *row,
	const uint32_t *without, struct nearest *out)
{
	size_t k = wanted(kin), look = without ? FIRST_LOOK : k;
	int err;

	out->n = 0;
	if (!kin->set[class])
		return 0;
	if (look > kin->n[class])
		look = kin->n[class];
	err = knn_search(kin->set[class], scratch->knn[class], row, 1, look, scratch->found);
	if (err)
		return err;
	for (size_t i = 0; i < look && out->n < k; i++) {
		uint32_t index = kin->index[class][scratch->found[i].index];

		if (without && kin->recording[index] == *without)
			continue;
		out->index[out->n] = index;
		out->distance[out->n++] = sqrt(scratch->found[i].distance);
	}
	if (without && out->n < k && look < kin->n[class])
		measure_all(kin, class, row, *without, out);
	return 0;
}

static double closeness(const struct nearest *near, size_t k)
{
	double sum = 0;

	for (size_t i = 0; i < k; i++)
		sum += 1 / (near->distance[i] * near->distance[i] + KIN_NEAR);
	return sum;
}

/* NaN when there is nothing to compare with. */
static double score_of(const struct kin *kin, const struct nearest near[CLASSES])
{
	size_t k = near[BENIGN].n;

	if (kin->one_class)
		return k ? near[BENIGN].distance[k - 1] : NAN;
	if (near[OTHER].n < k)
		k = near[OTHER].n;
	return k ? log(closeness(&near[OTHER], k) / closeness(&near[BENIGN], k)) : NAN;
}

static int look(const struct kin *kin, struct kin_scratch *scratch, const float *row,
	const uint32_t *without, struct nearest near[CLASSES])
{
	int err = nearest(kin, scratch, BENIGN, row, without, &near[BENIGN]);

	near[OTHER].n = 0;
	return err || kin->one_class ? err
				     : nearest(kin, scratch, OTHER, row, without, &near[OTHER]);
}

/*
 * Logistic regression of the label on the score by Newton's method, with Platt's targets (a class of n counts as
 * (n + 1) / (n + 2) sure), so that classes that lie apart do not send the slope to infinity.
 */
static bool fit(struct kin *kin, const float *score, const uint8_t *label, size_t n)
{
	double positive = 0, a = 0, b, high, low;

	for (size_t i = 0; i < n; i++)
		positive += label[i];
	if (positive == 0 || positive == (double)n)
		return false;
	high = (positive + 1) / (positive + 2);
	low = 1 / ((double)n - positive + 2);
	b = log(positive / ((double)n - positive));
	for (int round = 0; round < FIT_ROUNDS; round++) {
		double ga = 0, gb = 0, haa = 1e-6, hab = 0, hbb = 1e-6, det, da, db;

		for (size_t i = 0; i < n; i++) {
			double p = 1 / (1 + exp(-(a * (double)score[i] + b)));
			double off = p - (label[i] ? high : low), w = p * (1 - p);

			ga += off * (double)score[i];
			gb += off;
			haa += w * (double)score[i] * (double)score[i];
			hab += w * (double)score[i];
			hbb += w;
		}
		det = haa * hbb - hab * hab;
		if (!(det > 1e-12))
			break;
		da = (hbb * ga - hab * gb) / det;
		db = (haa * gb - hab * ga) / det;
		/* a step bounded: far from the end Newton's may be too long */
		da = fmax(-2, fmin(2, da));
		db = fmax(-2, fmin(2, db));
		a -= da;
		b -= db;
		if (fabs(da) + fabs(db) < 1e-9)
			break;
	}
	kin->slope = a;
	kin->offset = b;
	return a > 0 && isfinite(a) && isfinite(b);
}

static void no_signal(struct kin *kin, const char *why)
{
	kin->report.signal = false;
	snprintf(kin->report.why, sizeof(kin->report.why), "%s", why);
}

/* The score above which at most false_share of the benign ones lie. */
static double threshold(
	const float *score, const uint8_t *label, size_t n, double false_share, double *sorted)
{
	size_t benign = 0;

	for (size_t i = 0; i < n; i++)
		if (!label[i])
			sorted[benign++] = (double)score[i];
	qsort(sorted, benign, sizeof(*sorted), compare);
	return benign ? sorted[benign - 1 - (size_t)(false_share * (double)benign)] : INFINITY;
}

struct scored {
	float *score, *flat;
	uint8_t *label;
	double *sorted;
	size_t n;
};

static void judge_scores(struct kin *kin, const struct scored *s, double false_share)
{
	struct kin_report *report = &kin->report;
	struct score_confusion c;
	struct score_signal signal;
	double benign = 0;

	report->threshold = threshold(s->score, s->label, s->n, false_share, s->sorted);
	/* however far apart the classes lie: what is nearer to the benign ones is none of the others */
	if (!kin->one_class && report->threshold < 0)
		report->threshold = 0;
	for (size_t i = 0; i < s->n; i++)
		benign += !s->label[i];
	if (kin->one_class && benign == (double)s->n) {
		/* nothing to be told from: what is flagged is what lies as no benign recording lies from the others */
		report->false_positives = false_share;
		report->signal = true;
		return;
	}
	c = score_confuse(s->score, s->label, s->n, nextafterf((float)report->threshold, INFINITY));
	report->recall = score_recall(c);
	report->false_positives = c.fp + c.tn ? (double)c.fp / (double)(c.fp + c.tn) : NAN;
	if (score_signal_test(
		    s->score, s->flat, s->label, s->n, BLOCK, RESAMPLES, KIN_MARGIN, 1, &signal)) {
		no_signal(kin, "too few references to judge it by");
		return;
	}
	report->auc = signal.auc;
	report->auc_low = signal.auc_low;
	report->auc_high = signal.auc_high;
	report->signal = signal.auc_low > 0.5 + KIN_MARGIN;
	if (!report->signal)
		snprintf(report->why, sizeof(report->why),
			"its references do not tell each other apart: AUC %.2f, and only 95 %% "
			"sure of "
			"%.2f",
			signal.auc, signal.auc_low);
	kin->fitted = !kin->one_class && fit(kin, s->score, s->label, s->n);
}

/* Every reference scored without what was recorded with it. */
static int judge_itself(
	struct kin *kin, const struct kin_reference *reference, size_t n, double false_share)
{
	struct kin_scratch *scratch = kin_scratch_new(kin);
	struct scored s = { .score = calloc(n, sizeof(float)),
		.flat = calloc(n, sizeof(float)),
		.label = calloc(n, 1),
		.sorted = calloc(n, sizeof(double)) };
	int err = scratch && s.score && s.flat && s.label && s.sorted ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < n; i++) {
		struct nearest near[CLASSES];
		float row[SEMANTOS_CALLS];
		double score;

		calls_row(reference[i].count, kin->form, row);
		err = look(kin, scratch, row, &reference[i].recording, near);
		score = err ? NAN : score_of(kin, near);
		if (isnan(score))
			continue;
		if (reference[i].label && near[OTHER].n)
			kin->reach = fmax(kin->reach, near[OTHER].distance[0]);
		s.score[s.n] = (float)score;
		s.label[s.n++] = reference[i].label > 0;
	}
	if (!err)
		judge_scores(kin, &s, false_share);
	free(s.score);
	free(s.flat);
	free(s.label);
	free(s.sorted);
	kin_scratch_free(scratch);
	return err;
}

static int add_class(struct kin *kin, const struct kin_reference *reference, size_t n, int class)
{
	size_t at = 0;

	kin->row[class] = calloc(n, SEMANTOS_CALLS * sizeof(float));
	kin->index[class] = calloc(n, sizeof(uint32_t));
	if (!kin->row[class] || !kin->index[class])
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if ((reference[i].label > 0) != (class == OTHER))
			continue;
		calls_row(reference[i].count, kin->form, kin->row[class] + at * SEMANTOS_CALLS);
		kin->index[class][at++] = (uint32_t)i;
	}
	kin->n[class] = at;
	if (!at)
		return 0;
	kin->set[class] = knn_new(kin->row[class], NULL, at, SEMANTOS_CALLS);
	return kin->set[class] ? 0 : -errno;
}

static size_t recordings(const struct kin *kin, int class)
{
	size_t n = 0;

	for (size_t i = 0; i < kin->n[class]; i++) {
		size_t j = 0;

		while (kin->recording[kin->index[class][j]] != kin->recording[kin->index[class][i]])
			j++;
		n += j == i;
	}
	return n;
}

static bool enough(struct kin *kin)
{
	struct kin_report *report = &kin->report;

	report->benign = kin->n[BENIGN];
	report->other = kin->n[OTHER];
	report->benign_recordings = recordings(kin, BENIGN);
	report->other_recordings = recordings(kin, OTHER);
	if (report->benign >= KIN_LEAST && report->benign_recordings >= KIN_LEAST_RECORDINGS &&
		(kin->one_class || (report->other >= KIN_LEAST &&
					   report->other_recordings >= KIN_LEAST_RECORDINGS)))
		return true;
	snprintf(report->why, sizeof(report->why),
		"it needs %d windows of %d recordings of each class, and has %zu of %zu benign and "
		"%zu of %zu others",
		KIN_LEAST, KIN_LEAST_RECORDINGS, report->benign, report->benign_recordings,
		report->other, report->other_recordings);
	return false;
}

struct kin *kin_new(
	const struct kin_reference *references, size_t n, bool one_class, double false_share)
{
	struct kin *kin;
	int err;

	if (!n || n > KIN_MAX_REFERENCES || !(false_share >= 0 && false_share <= 0.5)) {
		errno = EINVAL;
		return NULL;
	}
	kin = calloc(1, sizeof(*kin));
	if (!kin)
		return NULL;
	kin->one_class = one_class;
	kin->form = one_class ? CALLS_KINDS : CALLS_AMOUNTS;
	kin->report.auc = kin->report.auc_low = kin->report.auc_high = NAN;
	kin->report.recall = kin->report.false_positives = NAN;
	kin->report.threshold = INFINITY;
	kin->reach = KIN_REACH;
	kin->label = calloc(n, sizeof(uint32_t));
	kin->recording = calloc(n, sizeof(uint32_t));
	err = kin->label && kin->recording ? 0 : -ENOMEM;
	for (size_t i = 0; !err && i < n; i++) {
		kin->label[i] = references[i].label;
		kin->recording[i] = references[i].recording;
	}
	for (int class = 0; !err && class < CLASSES; class ++)
		err = add_class(kin, references, n, class);
	if (!err && enough(kin))
		err = judge_itself(kin, references, n, false_share);
	if (!err)
		return kin;
	kin_free(kin);
	errno = -err;
	return NULL;
}

void kin_free(struct kin *kin)
{
	if (!kin)
		return;
	for (int class = 0; class < CLASSES; class ++) {
		knn_free(kin->set[class]);
		free(kin->row[class]);
		free(kin->index[class]);
	}
	free(kin->label);
	free(kin->recording);
	free(kin);
}

const struct kin_report *kin_report(const struct kin *kin)
{
	return &kin->report;
}

struct kin_scratch *kin_scratch_new(const struct kin *kin)
{
	struct kin_scratch *scratch = calloc(1, sizeof(*scratch));

	for (int class = 0; scratch && class < CLASSES; class ++) {
		if (!kin->set[class])
			continue;
		scratch->knn[class] = knn_scratch_new(kin->set[class]);
		if (!scratch->knn[class]) {
			kin_scratch_free(scratch);
			errno = ENOMEM;
			return NULL;
		}
	}
	return scratch;
}

void kin_scratch_free(struct kin_scratch *scratch)
{
	if (!scratch)
		return;
	for (int class = 0; class < CLASSES; class ++)
		knn_scratch_free(scratch->knn[class]);
	free(scratch);
}

/* The nearest of both classes, and the label of those that are not benign. */
static void evidence(
	const struct kin *kin, const struct nearest near[CLASSES], struct kin_answer *answer)
{
	size_t at[CLASSES] = { 0 }, most = 0;

	while (answer->n_near < KIN_K) {
		bool benign = at[BENIGN] < near[BENIGN].n, other = at[OTHER] < near[OTHER].n;
		int class = !other || (benign && near[BENIGN].distance[at[BENIGN]] <
							 near[OTHER].distance[at[OTHER]])
				    ? BENIGN
				    : OTHER;
		uint32_t index;

		if (!benign && !other)
			break;
		index = near[class].index[at[class]];
		answer->near[answer->n_near++] = (struct kin_near){ index, kin->label[index],
			near[class].distance[at[class]++] };
	}
	for (size_t i = 0; answer->flagged && i < near[OTHER].n; i++) {
		size_t votes = 0;

		for (size_t j = 0; j < near[OTHER].n; j++)
			votes += kin->label[near[OTHER].index[j]] ==
				 kin->label[near[OTHER].index[i]];
		if (votes > most) {
			most = votes;
			answer->label = kin->label[near[OTHER].index[i]];
		}
	}
}

int kin_judge(const struct kin *kin, struct kin_scratch *scratch, const uint16_t *count,
	struct kin_answer *answer)
{
	struct nearest near[CLASSES];
	float row[SEMANTOS_CALLS];
	int err;

	memset(answer, 0, sizeof(*answer));
	calls_row(count, kin->form, row);
	err = look(kin, scratch, row, NULL, near);
	if (err)
		return err;
	answer->score = score_of(kin, near);
	answer->probability =
		kin->fitted ? 1 / (1 + exp(-(kin->slope * answer->score + kin->offset))) : NAN;
	answer->flagged = kin->report.signal && answer->score > kin->report.threshold &&
			  (kin->one_class || near[OTHER].distance[0] <= kin->reach);
	evidence(kin, near, answer);
	return 0;
}
