// SPDX-License-Identifier: Apache-2.0
/*
 * test_kin_store.c - references on the disk: what was kept comes back, damaged and strange files are refused with a
 * sentence, limits hold; and a folder of recorded traces becomes references with the labels of its folders.
 */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/cli/learn_record.h"
#include "agent/infer/kin_store.h"
#include "agent/infer/knn_file.h"

static char dir[] = "/tmp/semantos-kin.XXXXXX", path[PATH_MAX];

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/semantos-kin.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/references", dir);
	return 0;
}

static int remove_dir(void **state)
{
	char command[PATH_MAX];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void fill(struct kin_store *store, const char *label, const char *name, size_t n)
{
	static uint16_t count[KIN_MAX_REFERENCES][SEMANTOS_CALLS];

	for (size_t i = 0; i < n; i++)
		count[i][i % SEMANTOS_CALLS] = (uint16_t)(1 + i % 1000);
	assert_true(kin_store_add(store, label, name, (const uint16_t(*)[SEMANTOS_CALLS])count, n,
			    -1) >= 0);
}

static void what_was_kept_comes_back(void **state)
{
	struct kin_store store, again;
	struct model_error error;
	struct knn_set *set;

	(void)state;
	assert_int_equal(kin_store_load(&store, path, &error), -ENOENT);
	fill(&store, KIN_BENIGN, "make\n\x1b[2J and a very long name that does not fit its place",
		5);
	fill(&store, "miner", "sample", 3);
	fill(&store, KIN_BENIGN, "gcc", 2);
	assert_int_equal(kin_store_save(&store, path, &error), 0);
	assert_int_equal(kin_store_load(&again, path, &error), 0);
	assert_int_equal(again.n, 10);
	assert_memory_equal(again.reference, store.reference, 10 * sizeof(*store.reference));
	assert_memory_equal(again.name, store.name, 10 * KIN_NAME_LEN);
	assert_int_equal(again.n_labels, 2);
	assert_string_equal(again.label[1], "miner");
	assert_int_equal(again.reference[9].recording, 2);
	assert_null(strpbrk(again.name[0], "\n\x1b"));
	/* what comes next is a recording of its own */
	fill(&again, "miner", "later", 1);
	assert_int_equal(again.reference[10].recording, 3);
	/* readers of plain references read it too */
	set = knn_load(path, &error);
	assert_non_null(set);
	knn_free(set);
	assert_int_equal(kin_store_forget(&again, "miner"), 4);
	assert_int_equal(again.n, 7);
	assert_string_equal(again.name[5], "gcc");
	assert_int_equal(kin_store_forget(&again, NULL), 7);
	assert_int_equal(kin_store_save(&again, path, &error), -EINVAL);
	kin_store_free(&store);
	kin_store_free(&again);
}

static void limits_hold(void **state)
{
	static uint16_t count[1][SEMANTOS_CALLS];
	char label[32];
	struct kin_store store;

	(void)state;
	assert_int_equal(kin_store_new(&store), 0);
	assert_int_equal(kin_store_add(&store, "no/label", "x",
				 (const uint16_t(*)[SEMANTOS_CALLS])count, 1, -1),
		-EINVAL);
	assert_false(kin_label_valid(""));
	assert_false(kin_label_valid("0123456789012345678901234567890123456789"));
	for (int i = 1; i < KIN_LABELS; i++) {
		snprintf(label, sizeof(label), "l%d", i);
		fill(&store, label, "x", 1);
	}
	assert_int_equal(kin_store_add(&store, "one-more", "x",
				 (const uint16_t(*)[SEMANTOS_CALLS])count, 1, -1),
		-ENOSPC);
	fill(&store, KIN_BENIGN, "x", KIN_MAX_REFERENCES - store.n);
	assert_int_equal(kin_store_add(&store, KIN_BENIGN, "x",
				 (const uint16_t(*)[SEMANTOS_CALLS])count, 1, -1),
		-ENOSPC);
	assert_int_equal(store.n, KIN_MAX_REFERENCES);
	kin_store_free(&store);
}

/* Every byte but those of the counts changed in turn: refused with a sentence, or what it says can be told. */
static void damaged_files_are_refused(void **state)
{
	struct kin_store store, again;
	struct model_error error;
	size_t n, refused = 0;
	FILE *file;
	char *bytes;

	(void)state;
	assert_int_equal(kin_store_new(&store), 0);
	fill(&store, KIN_BENIGN, "make", 2);
	fill(&store, "miner", "sample", 2);
	assert_int_equal(kin_store_save(&store, path, &error), 0);
	kin_store_free(&store);
	bytes = calloc(1, 65536);
	file = fopen(path, "re");
	assert_non_null(file);
	n = fread(bytes, 1, 65536, file);
	fclose(file);
	for (size_t i = 0; i < n; i += i < 800 ? 1 : 97) {
		int err;

		bytes[i] ^= 0x41;
		file = fopen(path, "we");
		assert_non_null(file);
		assert_int_equal(fwrite(bytes, 1, n, file), n);
		fclose(file);
		bytes[i] ^= 0x41;
		error.text[0] = '\0';
		err = kin_store_load(&again, path, &error);
		refused += err != 0;
		assert_true(err ? error.text[0] != '\0' : again.n == 4);
		kin_store_free(&again);
	}
	print_message("  %zu changes refused\n", refused);
	assert_true(refused > 300);
	free(bytes);
}

static void put(const char *folder, const char *name, const char *text)
{
	char full[PATH_MAX];
	FILE *file;

	snprintf(full, sizeof(full), "%s/%s", dir, folder);
	mkdir(full, 0700);
	snprintf(full, sizeof(full), "%s/%s/%s", dir, folder, name);
	file = fopen(full, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void repeat(char *to, const char *calls, int times)
{
	to[0] = '\0';
	while (times--)
		strcat(to, calls);
}

static void a_folder_of_traces(void **state)
{
	char text[8192], error[512];
	struct learn_import import;
	struct kin_store store;
	size_t attacks = 0;

	(void)state;
	assert_int_equal(kin_store_new(&store), 0);
	repeat(text, "3 4 5 6 ", 50);
	put("Training_Data_Master", "UTD-1.txt", text);
	put("Training_Data_Master", "copy.txt", text);
	repeat(text, "3 4 5 6 ", 51);
	put("Validation_Data_Master", "near.txt", text);
	repeat(text, "102 168 102 265\n", 40);
	put("Hydra_SSH_3", "UAD-1.txt", text);
	repeat(text, "11 120 7 ", 40);
	put("Hydra_SSH_4", "UAD-2.txt", text);
	put("Hydra_SSH_4", "short.txt", "3 4 5");
	put("Hydra_SSH_4", "words.txt", "3 4 5 and so on");
	put("Hydra_SSH_4", "huge.txt", "99999999999999999999999999");
	assert_int_equal(learn_traces(dir, NULL, &store, &import, error, sizeof(error)), 0);
	assert_int_equal(import.files, 8);
	assert_int_equal(import.bad, 3);
	assert_int_equal(import.copies, 1);
	assert_int_equal(import.added, 4);
	assert_int_equal(import.recordings, 3);
	for (size_t i = 0; i < store.n; i++) {
		const char *label = store.label[store.reference[i].label];

		assert_true(strcmp(label, KIN_BENIGN) == 0 || strcmp(label, "Hydra_SSH") == 0);
		attacks += strcmp(label, "Hydra_SSH") == 0;
		if (strcmp(store.name[i], "UAD-1.txt") == 0) {
			assert_int_equal(store.reference[i].count[SEMANTOS_CALL_socketcall], 80);
			assert_int_equal(store.reference[i].count[SEMANTOS_CALL_poll], 40);
		}
	}
	assert_int_equal(attacks, 2);
	/* one label for all of them */
	assert_int_equal(learn_traces(dir, "all", &store, &import, error, sizeof(error)), 0);
	assert_int_equal(import.added, 4);
	assert_int_equal(
		learn_traces("/nonexistent", NULL, &store, &import, error, sizeof(error)), -ENOENT);
	kin_store_free(&store);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
	const struct CMUnitTest tests[] = { T(what_was_kept_comes_back), T(limits_hold),
		T(damaged_files_are_refused), T(a_folder_of_traces) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
