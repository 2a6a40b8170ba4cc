/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knob_desc.h - what is known of every kernel setting: type, range, risk, what it goes with, where it is documented.
 *
 * Written down in agent/util/knobs/ (tables by hand, *.conf; what each kernel of the lab showed, *.tsv) and compiled in by
 * knobs/mkknobs.c: no program reads a table when it runs, so none can be given another. Constant, no locks. Nothing here
 * writes a setting: that is agent/safety/knob.h's, which takes its rows from here. docs/knobs.md has the keys.
 */
#ifndef SEMANTOS_UTIL_KNOB_DESC_H
#define SEMANTOS_UTIL_KNOB_DESC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum knob_type {
	KNOB_INT, /* a decimal number in [min, max], a multiple of step */
	KNOB_INT_OR_MAX, /* the same, or the word max */
	KNOB_CHOICE, /* one of the words the kernel lists, the one in force in [brackets] or (these) */
	KNOB_CPUS, /* a list of CPUs as the kernel writes it: 0-3,8 */
	KNOB_ACTION, /* done once on a range of addresses, START-END in hex: no value, nothing to read, no way back */
	KNOB_INTS, /* count numbers between blanks, each in [min, max] */
	KNOB_TEXT, /* anything; never written */
};

/* What a write is checked against, and what it takes along. */
struct knob_def {
	const char *pattern; /* glob over the whole name */
	enum knob_type type;
	int64_t min, max; /* KNOB_ACTION: bytes of the range */
	int64_t step; /* 0 = any */
	int64_t round; /* the kernel may answer with a number at most so far from the one written */
	const char *choices; /* KNOB_CHOICE: words allowed, between spaces; NULL = none */
	const char *
		partner; /* last part of the name of the knob that a write here sets to 0, and back */
	bool resets; /* not to 0 but to what the kernel likes, and a write to the partner leaves this one alone */
	bool waits; /* the kernel lets the disk's requests end before it writes, and for ever if they do not */
	unsigned int count; /* KNOB_INTS */
	bool or_max; /* KNOB_INTS: each may be the word max */
};

enum knob_risk { KNOB_RISK_LOW, KNOB_RISK_MEDIUM, KNOB_RISK_HIGH };
enum knob_scope { KNOB_HOST, KNOB_NETNS, KNOB_DEVICE, KNOB_GROUP, KNOB_PROCESS };
enum knob_link { KNOB_DEPENDS_ON, KNOB_CONFLICTS_WITH, KNOB_SYNERGIZES_WITH };
enum knob_undo { KNOB_UNDO_EXACT, KNOB_UNDO_LINGERS, KNOB_UNDO_NONE };

/* From the knob that has it to another: sign -1 for a conflict, else +1. */
struct knob_edge {
	enum knob_link link;
	int sign;
	const char *to; /* name or pattern of a described knob */
	const char *when; /* only while that one is so: "=bfq", "!=0", or "" for any value */
};

#define KNOB_EDGES_MAX 6

/* What a kernel of the lab showed; that of a disk's knob was vda's. */
struct knob_seen {
	const char *value; /* as it booted; NULL = it has no such knob */
	const char *written; /* "ok"; "X -> Y": wrote X and read Y; "" = not written there */
};

#define KNOB_KERNELS_MAX 8

struct knob_desc {
	struct knob_def def;
	const char *read_only; /* why semantos never writes it; NULL = it may be changed */
	const char *subsystem, *unit, *why, *group; /* unit and group may be "" */
	const char *doc; /* FILE#SECTION below Documentation/ of linux-doc, or a manual page */
	const char *undo_note; /* what stays after the old value is back, or "" */
	const char *sized; /* the default goes by: memory, cpus, device, build; "" = it is fixed */
	const char *lab; /* what the lab writes; "no" = nothing */
	enum knob_risk risk;
	enum knob_scope scope;
	enum knob_undo undo;
	size_t n_edges;
	struct knob_edge edge[KNOB_EDGES_MAX];
	struct knob_seen seen[KNOB_KERNELS_MAX]; /* by knob_kernels */
};

/* The tables, in the order of the files; each pattern once. */
extern const struct knob_desc knob_descs[];
extern const size_t n_knob_descs;
/* Series of the kernels in `seen`, oldest first: "6.1", "6.12", ... */
extern const char *const knob_kernels[];
extern const size_t n_knob_kernels;

/* The description of this knob, or of a pattern as it stands in the table; NULL: there is none. */
const struct knob_desc *knob_desc_find(const char *name);

/* Index into knob_kernels of the series nearest to this release ("6.12.117+deb12-amd64"), older before newer. */
size_t knob_kernel_nearest(const char *release);

/* Words for the enums above, as the tables have them, each ended by NULL. */
extern const char *const knob_type_names[],
	*const knob_risk_names[], *const knob_scope_names[], *const knob_link_names[],
								     *const knob_undo_names[];

/* "0 to 200", "none|mq-deadline|kyber|bfq", "3 numbers from 4096": for people, into out. */
void knob_range_text(const struct knob_def *def, char *out, size_t size);

#endif
