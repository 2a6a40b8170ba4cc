/* SPDX-License-Identifier: Apache-2.0 */
/*
 * response.h - how one objective answers to the knobs: a Bayesian model, solved exactly.
 *
 * The logarithm of the objective is taken for a sum of one smooth unknown curve a knob, and of one product for each pair
 * that the tables call a synergy; a trial measures a difference of two such sums, with a known error. Curves are sums of
 * RESPONSE_WAVES cosines whose variances fall as those of a Matern process do (Solin and Saerkkae 2020, "Hilbert space
 * methods for reduced-rank Gaussian process regression"); words of a choice are independent. Before any trial: a move
 * towards the default helps a little; a curve varies the more, the further its knob is from its default, the more its neighbours
 * by edges and its subsystem were seen to matter, and hardly at all while the machine does nothing of the kind. A knob whose
 * dependency is not met has a tenth of its effect. Trials under another load count as less certain.
 *
 * Knobs that no trial ever moved together are solved apart, so the cost goes by the largest such block. Pure; memory is
 * its own. One thread.
 */
#ifndef SEMANTOS_ADVISOR_RESPONSE_H
#define SEMANTOS_ADVISOR_RESPONSE_H

#include "agent/advisor/reason/fact.h"
#include "agent/advisor/reason/lexicon.h"

#define RESPONSE_WAVES 6
#define RESPONSE_BLOCK_MAX \
	256 /* unknowns solved together; a trial that would make it more is left out, and counted */

/* What the tables' knowledge and the past may be left out for, to see what they are worth. */
struct response_without {
	bool edges; /* couplings say nothing */
	bool traces; /* no trial is known */
	bool tables; /* no default, no subsystem */
};

/* Every knob's value now, by number; NULL and NaN for those that are not offered. */
struct situation {
	const char **value;
	double *place;
	size_t n; /* of the lexicon's knobs */
	const struct fact_metric *metric; /* the load, by metric, ascending */
	size_t n_metrics;
	const bool
		*other; /* by fact: under another load, and so counted for nothing; NULL = none */
};

struct response;

/*
 * Fit to these trials, newest first or in any order. now_s: Unix time, by which couplings have decayed. NULL: no memory.
 * lexicon and facts must live as long as the model does.
 */
struct response *response_fit(const struct lexicon *lexicon, const struct fact *fact,
	size_t n_facts, const struct situation *now, uint64_t now_s,
	const struct response_without *without);
void response_free(struct response *response); /* accepts NULL */

/* What to expect of these moves from here: mean and variance of the gain (fact.h). */
void response_expect(struct response *response, const struct fact_move *move, size_t n_moves,
	double *mean, double *variance);

/* Of a knob's curve before any trial: its standard deviation. */
double response_scale(const struct response *response, uint32_t knob);

/* 0 .. 1: how like the load of a trial the load is now. */
double response_likeness(const struct situation *now, const struct fact *fact);

/*
 * Which of these facts, newest first, were under another load than one under which the objective's logarithm is `level`? Into
 * other[n_facts]; how many. NaN: as under the last of them.
 */
size_t load_mark_other(const struct fact *fact, size_t n_facts, double level, bool *other);

/* Is what this knob depends on as it must be, after these moves? *lacks: the first coupling that is not met. */
bool response_depends_met(const struct lexicon *lexicon, const struct situation *now, uint32_t knob,
	const struct fact_move *move, size_t n_moves, const struct coupling **lacks);

struct response_account {
	size_t used, left_out; /* trials */
	size_t blocks, largest; /* of unknowns */
};
struct response_account response_account(const struct response *response);

#endif
