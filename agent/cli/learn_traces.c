// SPDX-License-Identifier: Apache-2.0
/*
 * learn_traces.c - a folder of recorded traces becomes references: the first window of each, labelled by its folder.
 *
 * Files are of strangers: nothing but numbers is read, files of other kinds are counted and left out, and links are not
 * followed. What is in two files is one reference; what is nearly the same is one recording, so that no trace is judged
 * by its own near-copy.
 */
#include "agent/cli/learn_record.h"

#include <ctype.h>
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include "bpf/calls_wire.h"

#define FILE_BYTES (4 << 20)
#define OPEN_FOLDERS 16
#define NEAR 0.002 /* squared distance of root frequencies */
#define FILES_MOST 100000

struct found {
	uint16_t count[SEMANTOS_CALLS];
	float root[SEMANTOS_CALLS];
	char label[KIN_LABEL_LEN], name[KIN_NAME_LEN];
	size_t parent; /* of near-copies */
	int64_t recording;
};

/* nftw(3) hands nothing through. */
static struct {
	const char *label;
	struct learn_import *import;
	struct found *found; /* [KIN_MAX_REFERENCES] */
	size_t n;
} walk;

/* "Hydra_SSH_3" is of Hydra_SSH. */
static bool label_of_folder(const char *path, size_t base, char label[KIN_LABEL_LEN])
{
	static const char *const benign[] = { "training", "validation", "benign", "normal" };
	size_t end = base ? base - 1 : 0, begin = end, n;

	while (begin && path[begin - 1] != '/')
		begin--;
	n = end - begin;
	while (n && isdigit((unsigned char)path[begin + n - 1]))
		n--;
	if (n == 0 || n == end - begin || path[begin + n - 1] != '_')
		n = end - begin;
	else
		n--;
	for (size_t i = 0; i < sizeof(benign) / sizeof(benign[0]); i++) {
		if (strncasecmp(path + begin, benign[i], strlen(benign[i])) == 0) {
			strcpy(label, KIN_BENIGN);
			return true;
		}
	}
	snprintf(label, KIN_LABEL_LEN, "%.*s", (int)n, path + begin);
	return kin_label_valid(label);
}

/* The first window of numbers between blanks; false when there is anything else, or too little. */
static bool read_trace(FILE *file, uint16_t *count)
{
	unsigned long call = 0;
	size_t n = 0;
	bool in_number = false;
	int c;

	for (;;) {
		c = getc(file);
		if (c != EOF && isdigit(c)) {
			call = in_number ? call * 10 + (unsigned long)(c - '0')
					 : (unsigned long)(c - '0');
			in_number = true;
			if (call > 100000)
				return false;
			continue;
		}
		if (in_number) {
			count[calls_of_i386(call)]++;
			if (++n == SEMANTOS_CALLS_WINDOW)
				return true;
		}
		in_number = false;
		if (c == EOF)
			return n >= SEMANTOS_CALLS_LEAST;
		if (!isspace(c))
			return false;
	}
}

static void put_root(struct found *found)
{
	float sum = 0;

	for (size_t i = 0; i < SEMANTOS_CALLS; i++)
		sum += (float)found->count[i];
	for (size_t i = 0; i < SEMANTOS_CALLS; i++)
		found->root[i] = sqrtf((float)found->count[i] / sum);
}

static float apart(const float *a, const float *b)
{
	float sum = 0;

	for (size_t i = 0; i < SEMANTOS_CALLS; i++)
		sum += (a[i] - b[i]) * (a[i] - b[i]);
	return sum;
}

static size_t root_of(size_t i)
{
	while (walk.found[i].parent != i)
		i = walk.found[i].parent;
	return i;
}

static int on_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
	struct found *to = walk.found + walk.n;
	FILE *file;
	bool good;

	if (type != FTW_F || !S_ISREG(st->st_mode))
		return 0;
	if (++walk.import->files > FILES_MOST)
		return -E2BIG;
	if (walk.n == KIN_MAX_REFERENCES) {
		walk.import->full++;
		return 0;
	}
	memset(to, 0, sizeof(*to));
	if (walk.label)
		snprintf(to->label, sizeof(to->label), "%s", walk.label);
	file = st->st_size <= FILE_BYTES ? fopen(path, "re") : NULL;
	good = file && read_trace(file, to->count) &&
	       (walk.label || label_of_folder(path, (size_t)at->base, to->label));
	if (file)
		fclose(file);
	if (!good) {
		walk.import->bad++;
		return 0;
	}
	snprintf(to->name, sizeof(to->name), "%s", path + at->base);
	put_root(to);
	to->parent = walk.n;
	to->recording = -1;
	for (size_t i = 0; i < walk.n; i++) {
		if (memcmp(walk.found[i].count, to->count, sizeof(to->count)) == 0 &&
			strcmp(walk.found[i].label, to->label) == 0) {
			walk.import->copies++;
			return 0;
		}
	}
	/* it stays: only now may others be joined with it */
	for (size_t i = 0; i < walk.n; i++)
		if (apart(walk.found[i].root, to->root) <= (float)NEAR)
			walk.found[root_of(i)].parent = root_of(walk.n);
	walk.n++;
	return 0;
}

int learn_traces(const char *folder, const char *label, struct kin_store *store,
	struct learn_import *import, char *error, size_t error_len)
{
	int err;

	memset(import, 0, sizeof(*import));
	walk.label = label;
	walk.import = import;
	walk.n = 0;
	walk.found = calloc(KIN_MAX_REFERENCES + 1, sizeof(*walk.found));
	if (!walk.found) {
		snprintf(error, error_len, "Out of memory.");
		return -ENOMEM;
	}
	err = nftw(folder, on_file, OPEN_FOLDERS, FTW_PHYS);
	if (err)
		err = err == -1 ? -errno : err;
	if (err)
		snprintf(error, error_len, "%.200s cannot be read: %s.", folder, strerror(-err));
	for (size_t i = 0; !err && i < walk.n; i++) {
		struct found *found = &walk.found[i], *root = &walk.found[root_of(i)];
		int64_t recording = kin_store_add(store, found->label, found->name,
			(const uint16_t(*)[SEMANTOS_CALLS])found->count, 1, root->recording);

		if (recording < 0) {
			import->full++;
			continue;
		}
		import->recordings += root->recording < 0;
		root->recording = recording;
		import->added++;
	}
	free(walk.found);
	walk.found = NULL;
	return err;
}
