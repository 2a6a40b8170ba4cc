/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare.h - times contenders in turns and says who is how much faster.
 *
 * Every round runs all contenders one after another, so that what disturbs the machine disturbs all of them; a ratio is
 * taken within a round, and the median of the rounds is what counts. Time is the thread's own. One thread.
 */
#ifndef SEMANTOS_BENCH_COMPARE_H
#define SEMANTOS_BENCH_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

/* Our own first: the default, its floats, and what narrower CPUs take; then the peers. */
enum { OURS, FLOATS, AVX2, PLAIN, FIRST_PEER, N_PEERS = 5, CONTENDERS = FIRST_PEER + N_PEERS };

/* Against the peers; at many batches, for plot.sh; our engines among each other. */
enum compare_mode { COMPARE_PEERS, COMPARE_CURVE, COMPARE_ENGINES };

struct contender {
	void (*run)(void *state); /* NULL: takes no part */
	void *state;
};

extern const char *const contender_names[CONTENDERS];

bool compare_wants(enum compare_mode mode, size_t contender);
void compare_head(enum compare_mode mode);

/*
 * target: how many times faster than the fastest peer; again_percent: rows computed again, below 0: does not apply; lake_us:
 * what LAKE's authors published for an A100, transfers included, 0: nothing. COMPARE_CURVE: few rounds, and one line of
 * bare numbers.
 */
void compare(const char *model, size_t batch, const struct contender *all, double target,
	double again_percent, double lake_us, enum compare_mode mode);

void compare_json(void); /* all rows so far, one line */

#endif
