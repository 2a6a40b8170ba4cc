/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kin_store.h - labelled windows of system calls that were kept, with names for people; one file (docs/model-format.md).
 *
 * The file is one of knn_file.h whose rows are counts, with the recording of each row and the names beside them. Names come
 * from outside: what is not printable ASCII becomes '?'. One thread at a time per store.
 */
#ifndef SEMANTOS_INFER_KIN_STORE_H
#define SEMANTOS_INFER_KIN_STORE_H

#include "agent/infer/kin.h"
#include "agent/infer/model.h"

#define KIN_LABELS 64 /* the first is KIN_BENIGN */
#define KIN_LABEL_LEN 32
#define KIN_NAME_LEN 48
#define KIN_BENIGN "benign"

struct kin_store {
	struct kin_reference *reference; /* [n] */
	char (*name)[KIN_NAME_LEN]; /* [n]: of the recording */
	size_t n;
	char label[KIN_LABELS][KIN_LABEL_LEN];
	size_t n_labels;
	uint32_t next_recording;
};

/* An empty one. 0 or -ENOMEM. */
int kin_store_new(struct kin_store *store);
void kin_store_free(struct kin_store *store); /* accepts a zeroed one */

/* -ENOENT: there is no such file, and *store is empty all the same; else 0 or -errno with *error, *store zeroed. */
int kin_store_load(struct kin_store *store, const char *path, struct model_error *error);
/* Atomically. 0 or -errno with *error; -EINVAL: it has no rows. */
int kin_store_save(const struct kin_store *store, const char *path, struct model_error *error);

/* 1 to KIN_LABEL_LEN - 1 letters, digits, - _ and dots. */
bool kin_label_valid(const char *label);

/*
 * Add windows that were recorded together; same: a recording that they are nearly the same as, or -1. Their recording,
 * or -EINVAL (the label), -ENOSPC (KIN_MAX_REFERENCES or KIN_LABELS reached; nothing was added).
 */
int64_t kin_store_add(struct kin_store *store, const char *label, const char *name,
	const uint16_t (*count)[SEMANTOS_CALLS], size_t n, int64_t same);

/* Remove what has this label, or all with NULL. Number of references removed. */
size_t kin_store_forget(struct kin_store *store, const char *label);

#endif
