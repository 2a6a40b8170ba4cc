// SPDX-License-Identifier: Apache-2.0
/*
 * threshold.c - outcomes sorted by their uncertainty, and the two limits read off them.
 */
#include "agent/safety/threshold.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct outcome {
	double u;
	bool unsafe;
};

void threshold_reset(struct threshold *threshold, double alpha, double ceiling)
{
	memset(threshold, 0, sizeof(*threshold));
	threshold->alpha = alpha > 0 && alpha < 1 ? alpha : THRESHOLD_ALPHA;
	threshold->ceiling = ceiling >= 0 && ceiling <= 1 ? ceiling : 0;
}

void threshold_add(struct threshold *threshold, double u, bool unsafe)
{
	threshold->u[threshold->next] = u >= 0 && u <= 1 ? u : 0;
	threshold->unsafe[threshold->next] = unsafe;
	threshold->next = (threshold->next + 1) % THRESHOLD_WINDOW;
	if (threshold->count < THRESHOLD_WINDOW)
		threshold->count++;
}

void threshold_forget(struct threshold *threshold, uint32_t keep)
{
	if (threshold->count > keep)
		threshold->count = keep;
}

static int by_u(const void *a, const void *b)
{
	double x = ((const struct outcome *)a)->u, y = ((const struct outcome *)b)->u;

	return (x > y) - (x < y);
}

static uint32_t sorted(const struct threshold *threshold, struct outcome *outcome)
{
	uint32_t oldest = threshold->next + THRESHOLD_WINDOW - threshold->count;

	for (uint32_t i = 0; i < threshold->count; i++) {
		uint32_t at = (oldest + i) % THRESHOLD_WINDOW;

		outcome[i] = (struct outcome){ threshold->u[at], threshold->unsafe[at] };
	}
	qsort(outcome, threshold->count, sizeof(*outcome), by_u);
	return threshold->count;
}

/* The highest limit of the first promise: the u of the first outcome left out, 1 when none is, NaN when none will do. */
static double limit_accepting(const struct outcome *outcome, uint32_t n, double alpha)
{
	double limit = NAN;
	uint32_t unsafe = 0;

	for (uint32_t below = 1; below <= n; below++) {
		unsafe += outcome[below - 1].unsafe;
		/* equal values are accepted all or none */
		if (below < n && outcome[below].u == outcome[below - 1].u)
			continue;
		if ((1.0 + unsafe) / (1.0 + below) <= alpha)
			limit = below < n ? outcome[below].u : 1;
	}
	return limit;
}

static double limit_missing(const struct outcome *outcome, uint32_t unsafe, double alpha)
{
	uint32_t rank = (uint32_t)(alpha * (unsafe + 1)), seen = 0, i = 0;

	if (unsafe == 0)
		return 1;
	/* too few unsafe ones to spend even one of them: below the lowest of all */
	if (rank == 0)
		rank = 1;
	while (seen < rank)
		seen += outcome[i++].unsafe;
	return outcome[i - 1].u;
}

void threshold_view(const struct threshold *threshold, struct threshold_view *view)
{
	struct outcome outcome[THRESHOLD_WINDOW];
	uint32_t n = sorted(threshold, outcome), least;

	memset(view, 0, sizeof(*view));
	view->outcomes = n;
	for (uint32_t i = 0; i < n; i++)
		view->unsafe += outcome[i].unsafe;
	view->accepting = limit_accepting(outcome, n, threshold->alpha);
	view->missing = limit_missing(outcome, view->unsafe, threshold->alpha);
	/* (1 + 0) / (1 + n) <= alpha: only then could any limit keep the promise */
	view->calibrated = 1.0 / (1.0 + n) <= threshold->alpha;
	view->missing_counts = (uint32_t)(threshold->alpha * (view->unsafe + 1)) >= 1;
	/* the least n with (1 + unsafe) / (1 + n) <= alpha */
	least = (uint32_t)ceil((1 + view->unsafe) / threshold->alpha - 1e-9) - 1;
	view->wanted = least > n ? least - n : 0;
	view->tau = threshold->ceiling;
	if (!view->calibrated || view->missing_counts)
		view->tau = fmin(view->tau, view->missing);
	if (view->calibrated)
		view->tau = isnan(view->accepting) ? 0 : fmin(view->tau, view->accepting);
}

void threshold_why(const struct threshold_view *view, char *out, size_t size)
{
	const char *were = view->unsafe == 1 ? "was" : "were";

	out[0] = '\0';
	if (view->unsafe == 0)
		return;
	if (!view->calibrated)
		snprintf(out, size,
			"Only %u outcome%s known, of which %u %s unsafe: until %u more are, "
			"nothing is "
			"tried that is no surer than the surest of those.",
			view->outcomes, view->outcomes == 1 ? " is" : "s are", view->unsafe, were,
			view->wanted);
	else if (view->tau == 0)
		snprintf(out, size,
			"Of %u outcomes %u %s unsafe, among them the surest, so that no limit "
			"keeps "
			"unsafe changes rare, and nothing is tried: `semantosctl reset --forget` "
			"begins anew.",
			view->outcomes, view->unsafe, were);
}

bool threshold_admit(const struct threshold *threshold, double u, char *why, size_t size)
{
	struct threshold_view view;

	threshold_view(threshold, &view);
	if (u < view.tau)
		return true;
	snprintf(why, size,
		"its uncertainty %.2f is not below %.2f, %s; of %u outcome%s %u %s unsafe", u,
		view.tau,
		view.calibrated ? "the limit that keeps unsafe changes rare"
		: view.unsafe
			? "that of the surest that did harm, as long as so few outcomes are known"
			: "the limit until enough outcomes are known",
		view.outcomes, view.outcomes == 1 ? "" : "s", view.unsafe,
		view.unsafe == 1 ? "was" : "were");
	return false;
}
