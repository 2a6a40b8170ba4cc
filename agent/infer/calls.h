/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.h - what a process's system calls look like to nearest neighbours: 128 features by name, and rows made of counts.
 *
 * bpf/calls.h says which call is which feature. Pure functions, any thread.
 */
#ifndef SEMANTOS_INFER_CALLS_H
#define SEMANTOS_INFER_CALLS_H

#include <stddef.h>
#include <stdint.h>
#include "bpf/calls.h"

/*
 * Of counts to a row. KINDS: 1 where a call occurs at all, at length 1, which tells what was never seen from what was.
 * AMOUNTS: log(1 + count) at length 1, which rare calls weigh in, and CALLS_LINEAR times the counts at length 1, in which
 * the commonest ones do; it tells programs apart that were seen before. Both were chosen on recorded traces, on the
 * development split alone (policies/knn/README.md).
 */
#define CALLS_LINEAR 0.3f
enum calls_form { CALLS_AMOUNTS, CALLS_KINDS };

void calls_row(const uint16_t *count, enum calls_form form, float *row); /* [SEMANTOS_CALLS] each */

const char *calls_name(unsigned int feature); /* "read"; "other" for what is none */
/* Feature of a system call by its number; i386: a socketcall stays socketcall. */
unsigned int calls_of_x86_64(unsigned long number);
unsigned int calls_of_i386(unsigned long number);

#endif
