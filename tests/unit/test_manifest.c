// SPDX-License-Identifier: Apache-2.0
/*
 * test_manifest.c - a policy.conf is taken whole or refused with one sentence that names file and line.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/core/manifest.h"

/* The least a manifest must say; line numbers below count from here. */
#define LEAST                       \
	"[policy]\n"                \
	"name = some\n"             \
	"object = some.bpf.o\n"     \
	"wire = 1\n"                \
	"[model]\n"                 \
	"encoder = linnos-digits\n" \
	"hidden = 64,16\n"
#define LEAST_LINES 7

static struct manifest manifest;
static char error[512];

static int parse(const char *text)
{
	error[0] = 0;
	return manifest_parse(text, "/etc/some", &manifest, error, sizeof(error));
}

static void refused(const char *text, int line, const char *word)
{
	char where[64];
	int err = parse(text);

	if (line)
		snprintf(where, sizeof(where), "/etc/some/policy.conf line %d: ", line);
	else
		snprintf(where, sizeof(where), "/etc/some/policy.conf: ");
	if (!err || strncmp(error, where, strlen(where)) || !strstr(error, word) ||
		error[strlen(error) - 1] != '.')
		fail_msg("wanted '%s...%s' for:\n%sgot %d '%s'", where, word, text, err, error);
}

/* LEAST and one more section with one key, on the line after the next. */
static void refused_key(const char *section, const char *pair, const char *word)
{
	char text[1024];

	snprintf(text, sizeof(text), LEAST "[%s]\n%s\n", section, pair);
	refused(text, LEAST_LINES + 2, word);
}

static void accepted_key(const char *section, const char *pair)
{
	char text[1024];

	snprintf(text, sizeof(text), LEAST "[%s]\n%s\n", section, pair);
	if (parse(text))
		fail_msg("%s: %s", pair, error);
}

static void presets_stand(void **state)
{
	(void)state;
	assert_int_equal(parse(LEAST), 0);
	assert_string_equal(manifest.name, "some");
	assert_string_equal(manifest.directory, "/etc/some");
	assert_string_equal(manifest.summary, "");
	assert_string_equal(manifest.record, "block");
	assert_string_equal(manifest.decide, "async");
	assert_string_equal(manifest.mode, "shadow");
	assert_string_equal(manifest.model, "");
	assert_string_equal(manifest.labeler, "inflection");
	assert_int_equal(manifest.ttl_ms, 50);
	assert_int_equal(manifest.budget_per_s, 20000);
	assert_int_equal(manifest.outputs, 2);
	assert_int_equal(manifest.min_rows, 6000);
	assert_int_equal(manifest.max_rows, 40000);
	assert_int_equal(manifest.min_seconds, 15);
	assert_int_equal(manifest.epochs, 20);
	assert_int_equal(manifest.batch, 128);
	assert_true(manifest.slow_weight == 5 && manifest.learning_rate == 0.001);
	assert_true(manifest.margin == 0.05 && manifest.floor_auc == 0.55);
	assert_true(manifest.drift == 0.10);
	assert_int_equal(manifest.window, 4096);
	assert_int_equal(manifest.floor_rows, 1024);
	assert_int_equal(manifest.batch_max, 64);
	assert_int_equal(manifest.batch_window_us, 0);
	assert_string_equal(manifest.spin, "auto");
}

static void numbers_have_ranges(void **state)
{
	/* Just inside and just outside, both ends; what else the key needs to be legal comes first. */
	static const struct {
		const char *section, *before, *name, *least, *below, *most, *above;
	} range[] = {
		{ "policy", "", "ttl_ms", "1", "0", "75", "76" },
		{ "policy", "", "budget_per_s", "0", "-1", "10000000", "10000001" },
		{ "model", "", "outputs", "1", "0", "2", "3" },
		{ "learn", "", "min_rows", "200", "199", "40000", "1000001" },
		{ "learn", "min_rows = 400\n", "max_rows", "400", "399", "1000000", "1000001" },
		{ "learn", "", "min_seconds", "0", "-1", "86400", "86401" },
		{ "learn", "", "slow_weight", "0.01", "0.009", "1000", "1000.1" },
		{ "learn", "", "epochs", "1", "0", "1000", "1001" },
		{ "learn", "", "batch", "1", "0", "4096", "4097" },
		{ "learn", "", "learning_rate", "1e-6", "9e-7", "1", "1.01" },
		{ "learn", "", "margin", "0", "-0.01", "0.4", "0.41" },
		{ "evaluate", "floor_rows = 64\n", "window", "256", "255", "65536", "65537" },
		{ "evaluate", "", "floor_auc", "0.5", "0.49", "1", "1.01" },
		{ "evaluate", "window = 65536\n", "floor_rows", "64", "63", "65536", "65537" },
		{ "evaluate", "", "drift", "0.01", "0.009", "0.5", "0.51" },
		{ "batch", "", "max", "1", "0", "4096", "4097" },
		{ "batch", "", "window_us", "0", "-1", "100000", "100001" },
	};
	char text[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(range) / sizeof(range[0]); i++) {
		const char *value[] = { range[i].least, range[i].most, range[i].below,
			range[i].above, "many", "1x", "nan", "inf", "", "1e999" };

		for (size_t v = 0; v < sizeof(value) / sizeof(value[0]); v++) {
			snprintf(text, sizeof(text), LEAST "[%s]\n%s%s = %s\n", range[i].section,
				range[i].before, range[i].name, value[v]);
			if (v < 2 && parse(text))
				fail_msg("%s = %s: %s", range[i].name, value[v], error);
			if (v >= 2)
				refused(text, LEAST_LINES + 2 + (range[i].before[0] != 0),
					range[i].name);
		}
	}
	refused_key("batch", "max = 1.5", "whole number");
}

static void what_is_unknown_or_twice_is_named(void **state)
{
	(void)state;
	refused_key("policy", "colour = red", "'colour' in section [policy]");
	refused_key("secrets", "name = x", "section [secrets]");
	refused("name = x\n" LEAST, 1, "section []");
	refused_key("policy", "name = other", "given already in line 2");
	refused(LEAST "[batch]\nmax = 4\nmax = 4\n", LEAST_LINES + 3, "already in line 9");
}

static void what_is_required_is_asked_for(void **state)
{
	(void)state;
	refused("", 0, "[policy] name is missing");
	refused("[policy]\nname = some\n", 0, "object is missing");
	refused("[policy]\nname = a\nobject = b\nwire = 1\n", 0, "encoder is missing");
	refused("[policy]\nname =\nobject = b\nwire = 1\n[model]\nencoder = linnos-digits\n"
		"hidden = 1\n",
		2, "cannot be named ''");
}

static void lines_are_told_exactly(void **state)
{
	char text[1024];

	(void)state;
	refused(LEAST "gibberish\n", LEAST_LINES + 1, "key = value");
	refused("[policy\n" LEAST, 1, "key = value");
	/* The first fault, whatever its kind. */
	refused("gibberish\n" LEAST "[batch]\nmax = 0\n", 1, "key = value");
	refused("[policy]\nfoo = 1\ngibberish\n", 2, "foo");
	/* Indented keys are keys, not more of the value above. */
	assert_int_equal(parse(LEAST "[batch]\n  max = 9\n\twindow_us = 77\n"), 0);
	assert_int_equal(manifest.batch_max, 9);
	assert_int_equal(manifest.batch_window_us, 77);
	refused(LEAST "[batch]\n  max = 9\n\tmore of it\n", LEAST_LINES + 3, "key = value");
	/* A long line is refused, not cut in two. */
	snprintf(text, sizeof(text), LEAST "[policy]\nsummary = %0250d\n", 1);
	refused(text, LEAST_LINES + 2, "longer than");
	snprintf(text, sizeof(text), LEAST "[policy]\nsummary = %0128d\n", 1);
	refused(text, LEAST_LINES + 2, "longer than 127");
	snprintf(text, sizeof(text), LEAST "[policy]\nsummary = %0127d\n", 1);
	assert_int_equal(parse(text), 0);
	snprintf(text, sizeof(text), LEAST "; %0180d\n; ; x\n\n#\r\n[batch]\r\nmax = 3 ; three\r\n",
		1);
	assert_int_equal(parse(text), 0);
	assert_int_equal(manifest.batch_max, 3);
}

static void paths_stay_in_the_folder(void **state)
{
	static const char *const bad[] = { "../x", "/x", "a/b", "..", ".", ".hidden", "a b", "x.y",
		"-x", "lease", "naïve" };
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text),
			"[policy]\nname = %s\nobject = b\nwire = 1\n[model]\n"
			"encoder = linnos-digits\nhidden = 1\n",
			bad[i]);
		refused(text, 2, "cannot be named");
	}
	for (size_t i = 0; i < 6; i++) {
		snprintf(text, sizeof(text),
			"[policy]\nname = a\nobject = %s\nwire = 1\n[model]\n"
			"encoder = linnos-digits\nhidden = 1\n",
			bad[i]);
		refused(text, 3, "own folder");
		snprintf(text, sizeof(text), "file = %s", bad[i]);
		refused_key("model", text, "own folder");
	}
	refused("[policy]\nname = a\nobject =\nwire = 1\n[model]\nencoder = linnos-digits\n"
		"hidden = 1\n",
		3, "own folder");
}

static void meanings_are_checked(void **state)
{
	(void)state;
	assert_int_equal(parse("[policy]\nname = a\nobject = b\nwire = 2\n[model]\n"
			       "encoder = linnos-digits\nhidden = 1\n"),
		-EPROTO);
	assert_non_null(strstr(error, "line 4: it is written for wire format 2"));
	refused_key("policy", "decide = inline", "needs an object that decides");
	refused_key("policy", "decide = hold", "none of async, inline");
	refused_key("policy", "volume = ../x.bpf.o", "policy's own folder");
	refused_key("watch", "action = log", "no use for this key");
	refused_key("policy", "record = reclaim", "'block', 'calls' and 'sched' are");
	refused_key("policy", "mode = canary:0", "canary:N");
	refused_key("policy", "mode = canary:100", "canary:N");
	refused_key("policy", "mode = canary:5x", "canary:N");
	accepted_key("policy", "mode = canary:99");
	accepted_key("policy", "mode = enforce");
	accepted_key("policy", "volume = x_volume.bpf.o\ndecide = inline");
	refused_key("model", "predicts = both", "none of class, latency");
	refused_key("model", "predicts = latency", "has one output, not 2");
	accepted_key("model", "outputs = 1\npredicts = latency");
	refused_key("learn", "labeler = oracle", "'oracle'");
	refused_key("learn", "min_rows = 40001", "smaller than min_rows");
	refused_key("evaluate", "window = 3000", "power of two");
	refused_key("evaluate", "window = 512", "larger than window");
	refused_key("evaluate", "floor_rows = 4097", "larger than window");
	refused_key("batch", "window_us = 49", "at least 50");
	accepted_key("batch", "window_us = 50");
	refused_key("batch", "spin = often", "never, auto, always");
	accepted_key("batch", "spin = always");
}

static void widths_are_checked(void **state)
{
	static const char *const bad[] = { "0", "-1", "64,0", "64,,16", ",", "64;16", "64 16", "x",
		"99999999999999999999", "1,2,3,4,5,6,7,8,9" };
	static const char *const good[] = { "1", "256", "64,16", " 64, 16" };
	struct learn_recipe recipe;
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text),
			"[policy]\nname = a\nobject = b\nwire = 1\n[model]\n"
			"encoder = linnos-digits\nhidden = %s\n",
			bad[i]);
		refused(text, 7, "hidden = ");
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(text, sizeof(text),
			"[policy]\nname = a\nobject = b\nwire = 1\n[model]\n"
			"encoder = linnos-digits\nhidden = %s\n",
			good[i]);
		assert_int_equal(parse(text), 0);
	}
	assert_int_equal(manifest_recipe(&manifest, &recipe, error, sizeof(error)), 0);
	assert_int_equal(recipe.n_hidden, 2);
	assert_int_equal(recipe.hidden[0], 64);
	assert_int_equal(recipe.hidden[1], 16);
	assert_false(recipe.train.standardise);
	refused("[policy]\nname = a\nobject = b\nwire = 1\n[model]\nencoder = mine\nhidden = 1\n",
		6, "'mine'");
}

static void write_file(const char *path, const void *bytes, size_t n)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	fclose(file);
}

static void files_are_found_or_refused(void **state)
{
	char folder[] = "/tmp/semantos-manifest-XXXXXX", some[64], conf[96], path[256];
	char *big = calloc(1, MANIFEST_MAX_BYTES + 2);

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(some, sizeof(some), "%s/some", folder);
	snprintf(conf, sizeof(conf), "%s/policy.conf", some);
	snprintf(path, sizeof(path), "/nowhere::%s", folder);
	assert_int_equal(manifest_find(path, "some", &manifest, error, sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "--policy-path"));
	mkdir(some, 0755);
	assert_int_equal(manifest_find(path, "some", &manifest, error, sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "cannot be opened"));
	write_file(conf, LEAST, strlen(LEAST));
	assert_int_equal(manifest_find(path, "some", &manifest, error, sizeof(error)), 0);
	assert_string_equal(manifest.directory, some);
	assert_int_equal(manifest_find(path, "../some", &manifest, error, sizeof(error)), -EINVAL);
	assert_int_equal(manifest_find(path, "", &manifest, error, sizeof(error)), -EINVAL);
	assert_int_equal(manifest_find(path, "..", &manifest, error, sizeof(error)), -EINVAL);
	/* Folder and name disagree. */
	snprintf(some + strlen(folder), sizeof(some) - strlen(folder), "/other");
	snprintf(path + strlen(path), sizeof(path) - strlen(path), "/");
	assert_int_equal(symlink("some", some), 0);
	assert_int_equal(manifest_find(path, "other", &manifest, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "names itself 'some'"));
	unlink(some);
	/* NUL bytes, and a file that is too large, are no manifest. */
	write_file(conf, LEAST "\0x = 1\n", sizeof(LEAST) + 6);
	assert_int_equal(manifest_find(path, "some", &manifest, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "NUL"));
	memset(big, '\n', MANIFEST_MAX_BYTES + 1);
	memcpy(big, LEAST, strlen(LEAST));
	write_file(conf, big, MANIFEST_MAX_BYTES);
	assert_int_equal(manifest_find(path, "some", &manifest, error, sizeof(error)), 0);
	write_file(conf, big, MANIFEST_MAX_BYTES + 1);
	assert_int_equal(manifest_find(path, "some", &manifest, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "too large"));
	/* Neither a folder nor a pipe nobody writes to. */
	unlink(conf);
	mkdir(conf, 0755);
	assert_int_equal(manifest_find(path, "some", &manifest, error, sizeof(error)), -EISDIR);
	rmdir(conf);
	assert_int_equal(mkfifo(conf, 0600), 0);
	assert_int_equal(manifest_find(path, "some", &manifest, error, sizeof(error)), -EINVAL);
	unlink(conf);
	snprintf(some, sizeof(some), "%s/some", folder);
	rmdir(some);
	rmdir(folder);
	free(big);
}

#define WATCHING "[policy]\nname = some\nobject = some.bpf.o\nwire = 1\nrecord = calls\n"

static int watching(const char *more)
{
	char text[1024];

	snprintf(text, sizeof(text), WATCHING "%s", more);
	return parse(text);
}

static void policies_that_watch_processes(void **state)
{
	static const struct {
		const char *text, *why;
	} refused[] = { { "[watch]\naction = kill\n", "none of log, stop, freeze" },
		{ "[watch]\nclasses = 3\n", "from 1 to 2" },
		{ "[watch]\nfalse_positives = 0.6\n", "from 0 to 0.5" },
		{ "[watch]\nwindows = 0\n", "from 1 to 1000" },
		{ "[model]\nencoder = linnos-digits\n", "no use for this key" },
		{ "[learn]\nepochs = 3\n", "no use for this key" },
		{ "[policy]\nvolume = x.bpf.o\n", "no replica volume" } };
	(void)state;
	assert_int_equal(watching("[watch]\naction = freeze\nallow = a.service, b*\n"), 0);
	assert_true(manifest_watches(&manifest));
	assert_string_equal(manifest.action, "freeze");
	assert_string_equal(manifest.allow, "a.service, b*");
	assert_int_equal(manifest.classes, 2);
	assert_int_equal(watching("[model]\nfile = x.safetensors\n"), 0);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		assert_int_equal(watching(refused[i].text), -EINVAL);
		if (!strstr(error, refused[i].why))
			fail_msg("%s: %s", refused[i].text, error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(presets_stand),
		cmocka_unit_test(numbers_have_ranges),
		cmocka_unit_test(what_is_unknown_or_twice_is_named),
		cmocka_unit_test(what_is_required_is_asked_for),
		cmocka_unit_test(lines_are_told_exactly),
		cmocka_unit_test(paths_stay_in_the_folder),
		cmocka_unit_test(meanings_are_checked),
		cmocka_unit_test(policies_that_watch_processes),
		cmocka_unit_test(widths_are_checked),
		cmocka_unit_test(files_are_found_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
