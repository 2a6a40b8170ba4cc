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

enum { OURS, FLOATS, FIRST_PEER, N_PEERS = 5, CONTENDERS = FIRST_PEER + N_PEERS };

struct contender {
	void (*run)(void *state); /* NULL: takes no part */
	void *state;
};

extern const char *const contender_names[CONTENDERS];

void compare_head(bool curve);

/*
 * target: how many times faster than the fastest peer; again_percent: rows computed again, below 0: does not apply.
 * curve: few rounds, and one line of bare numbers for plot.sh.
 */
void compare(const char *model, size_t batch, const struct contender *all, double target,
	double again_percent, bool curve);

void compare_json(void); /* all rows so far, one line */

#endif
