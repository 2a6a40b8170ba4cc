/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knob_scan.h - which of the described knobs this machine has, and what they read. Opens files for reading only.
 *
 * A pattern stands for every disk, interface or queue that has it; of control groups, which may be many, and of processes
 * it stays one row. What is absent is not listed. One thread.
 */
#ifndef SEMANTOS_UTIL_KNOB_SCAN_H
#define SEMANTOS_UTIL_KNOB_SCAN_H

#include <stddef.h>
#include "agent/util/knob_desc.h"

#define KNOB_SCAN_NAME_MAX 256
#define KNOB_SCAN_VALUE_MAX 512

struct knob_here {
	const struct knob_desc *desc;
	char name[KNOB_SCAN_NAME_MAX]; /* the pattern, where it stays one row */
	char value
		[KNOB_SCAN_VALUE_MAX]; /* of a choice the word in force; "" when err, or for a pattern */
	char choices
		[KNOB_SCAN_VALUE_MAX]; /* of a choice whose file lists them: words between blanks, else "" */
	int err; /* it is there and cannot be read: -errno */
	unsigned int groups; /* control groups that have it, of a pattern */
};

struct knob_scan {
	struct knob_here *here; /* [n] */
	size_t n, room;
	char release[128]; /* of the kernel, "" = unknown */
};

/* root: "" or "/" = this machine. 0 or -ENOMEM; the scan may be freed after both. */
int knob_scan(struct knob_scan *scan, const char *root);
void knob_scan_free(struct knob_scan *scan);

/* One knob by its name, or a pattern that stays one row. 0; -ENOENT: not described; -ENODEV: not on this machine. */
int knob_look(const char *root, const char *name, struct knob_here *here);

/* Where linux-doc has it on this machine, without its section, into out; false: the package is not installed, or too old. */
bool knob_doc_file(const char *root, const char *doc, char *out, size_t size);

#endif
