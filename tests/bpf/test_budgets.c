// SPDX-License-Identifier: Apache-2.0
/*
 * test_budgets.c - what the verifier says of every program of every policy: instructions processed, stack used. More
 * than 10 % above tests/bpf/budgets.txt fails, as does a program that is not listed there.
 *
 * SEMANTOS_REWRITE_BUDGETS=1 writes the file anew from this kernel. Nothing is attached; what is loaded is freed.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <cmocka.h>

#define BUDGETS "tests/bpf/budgets.txt"
#define LOG_BYTES 65536
#define LOG_STATS 4 /* of log_level: only the statistics at the end */
#define MAX_PROGRAMS 128

struct cost {
	char object[64], program[64];
	unsigned long insns, stack_bytes;
};

static struct cost measured[MAX_PROGRAMS], allowed[MAX_PROGRAMS];
static size_t n_measured, n_allowed;
static char written_on
	[16]; /* series of the kernel the budgets are of: another verifier counts otherwise */

static const char *series(void)
{
	static char text[16];
	struct utsname name;

	if (!uname(&name) && sscanf(name.release, "%15[0-9].", text) == 1)
		snprintf(text, sizeof(text), "%.*s",
			(int)(strcspn(strchr(name.release, '.') + 1, ".-") + strlen(text) + 1),
			name.release);
	return text;
}

static int silent(enum libbpf_print_level level, const char *fmt, va_list args)
{
	(void)level, (void)fmt, (void)args;
	return 0;
}

/* "processed 1234 insns ...", and "stack depth 88+16": the frames of a call chain, which add up. */
static void read_log(const char *log, struct cost *cost)
{
	const char *at = strstr(log, "processed ");
	char *end;

	if (!at || sscanf(at, "processed %lu insns", &cost->insns) != 1)
		fail_msg("%s: the verifier's log holds no statistics: %.200s", cost->program, log);
	at = strstr(log, "stack depth ");
	if (!at)
		return;
	for (at += strlen("stack depth ");; at = end + 1) {
		cost->stack_bytes += strtoul(at, &end, 10);
		if (*end != '+')
			break;
	}
}

static void measure(const char *path)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	static char log[MAX_PROGRAMS][LOG_BYTES];
	struct bpf_program *program;
	struct bpf_map *map;
	size_t n = 0;

	assert_non_null(object);
	map = bpf_object__find_map_by_name(object, "rings");
	if (map)
		bpf_map__set_max_entries(map, 1);
	bpf_object__for_each_program(program, object)
	{
		if (!bpf_program__autoload(program))
			continue; /* optional: not for every kernel; the lab loads it */
		assert_true(n_measured + n < MAX_PROGRAMS);
		bpf_program__set_log_level(program, LOG_STATS);
		bpf_program__set_log_buf(program, log[n], LOG_BYTES);
		log[n++][0] = 0;
	}
	if (bpf_object__load(object))
		fail_msg("%s is not taken by this kernel: %s", path, strerror(errno));
	n = 0;
	bpf_object__for_each_program(program, object)
	{
		struct cost *cost = &measured[n_measured];

		if (!bpf_program__autoload(program))
			continue;
		n_measured++;
		snprintf(cost->object, sizeof(cost->object), "%s", strrchr(path, '/') + 1);
		snprintf(cost->program, sizeof(cost->program), "%s", bpf_program__name(program));
		read_log(log[n++], cost);
	}
	bpf_object__close(object);
}

/* An object whose source is gone is a left-over of the build folder. */
static bool has_source(const char *object)
{
	char path[256];

	snprintf(path, sizeof(path), "%s", object + strlen("build/"));
	path[strlen(path) - 1] = 'c';
	return access(path, R_OK) == 0;
}

static void measure_all(void)
{
	glob_t found;

	if (glob("build/policies/*/*.bpf.o", 0, NULL, &found) ||
		glob("build/bpf/lib/*.bpf.o", GLOB_APPEND, NULL, &found) ||
		glob("build/bpf/telemetry/*.bpf.o", GLOB_APPEND, NULL, &found) ||
		glob("build/tests/bpf/mlp_wrap.bpf.o", GLOB_APPEND, NULL, &found))
		fail_msg("no BPF objects in build/; run make first");
	for (size_t i = 0; i < found.gl_pathc; i++)
		/* Objects for volumes find their types where semantos.ko is loaded; the lab loads them. */
		if (has_source(found.gl_pathv[i]) && !strstr(found.gl_pathv[i], "_volume.bpf.o"))
			measure(found.gl_pathv[i]);
	globfree(&found);
}

static void read_budgets(void)
{
	FILE *file = fopen(BUDGETS, "r");
	char line[256];

	if (!file)
		fail_msg(BUDGETS " cannot be read: %s", strerror(errno));
	while (fgets(line, sizeof(line), file)) {
		struct cost *cost = &allowed[n_allowed];

		sscanf(line, "# Linux %15[0-9.]", written_on);
		if (line[0] == '#')
			continue;
		assert_true(n_allowed < MAX_PROGRAMS);
		if (sscanf(line, "%63s %63s %lu %lu", cost->object, cost->program, &cost->insns,
			    &cost->stack_bytes) != 4)
			fail_msg(BUDGETS ": not a line of four columns: %s", line);
		n_allowed++;
	}
	fclose(file);
}

static void write_budgets(void)
{
	FILE *file = fopen(BUDGETS, "w");

	assert_non_null(file);
	fprintf(file,
		"# SPDX-License-Identifier: Apache-2.0\n"
		"# What the verifier processed when this file was written: object, program, "
		"instructions, stack bytes.\n"
		"# make budgets (as root) writes it anew; tests/bpf/test_budgets.c allows 10 %% "
		"more.\n"
		"# Linux %s\n",
		series());
	for (size_t i = 0; i < n_measured; i++)
		fprintf(file, "%-20s %-24s %8lu %5lu\n", measured[i].object, measured[i].program,
			measured[i].insns, measured[i].stack_bytes);
	assert_int_equal(fclose(file), 0);
}

static const struct cost *allowance(const struct cost *cost)
{
	for (size_t i = 0; i < n_allowed; i++)
		if (strcmp(allowed[i].object, cost->object) == 0 &&
			strcmp(allowed[i].program, cost->program) == 0)
			return &allowed[i];
	return NULL;
}

static void programs_stay_within_their_budget(void **state)
{
	int over = 0;

	(void)state;
	measure_all();
	if (getenv("SEMANTOS_REWRITE_BUDGETS"))
		write_budgets();
	read_budgets();
	if (strcmp(written_on, series())) {
		print_message(
			"skipped: the budgets are of Linux %s, this is %s\n", written_on, series());
		skip();
	}
	for (size_t i = 0; i < n_measured; i++) {
		const struct cost *cost = &measured[i], *most = allowance(cost);
		bool fits = most && cost->insns * 10 <= most->insns * 11 &&
			    cost->stack_bytes * 10 <= most->stack_bytes * 11;

		print_message("%-20s %-24s %6lu insns (%lu) %4lu stack bytes (%lu)%s\n",
			cost->object, cost->program, cost->insns, most ? most->insns : 0,
			cost->stack_bytes, most ? most->stack_bytes : 0,
			fits   ? ""
			: most ? ": more than 10 % over"
			       : ": has no budget yet");
		over += !fits;
	}
	if (over)
		fail_msg("%d programs are over budget; if that is meant, run make budgets as root",
			over);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(programs_stay_within_their_budget),
	};

	if (geteuid() != 0 || access("/sys/kernel/btf/vmlinux", R_OK)) {
		printf("skipped: needs root and a kernel with BTF\n");
		return 77;
	}
	libbpf_set_print(silent);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
