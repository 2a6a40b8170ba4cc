// SPDX-License-Identifier: Apache-2.0
/*
 * knobwrite.c - every described knob of this kernel: is it there, what does it read, and, through the journal as the agent
 * would, does it take another value, read back as written, and go back to what stood before?
 *
 * Usage: knobwrite DISK GROUP [GLOB] [--record]. Of patterns, those of DISK, of the control group GROUP and of interface lo;
 * GLOB picks patterns. Prints "SEEN name value written" with tabs between. Without --record, what was seen is compared
 * with what is recorded for this series in agent/util/knobs, but for defaults that go by the machine. Exit 1 with
 * sentences: something differs, was not restored, or was refused that is recorded as written. In the lab only.
 */
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "agent/safety/knob.h"
#include "agent/safety/safety.h"
#include "agent/util/knob_scan.h"
#include "agent/util/log.h"

#define JOURNAL "/tmp/knobwrite"

static const char *disk, *group;
static int failed;
static unsigned int present, written;

static void silent(void *ctx, enum log_level level, const char *sentence)
{
	(void)ctx, (void)level, (void)sentence;
}

/* The knob of this pattern that is looked at. */
static void name_of(const char *pattern, char *out, size_t size)
{
	const char *what = strncmp(pattern, "sysfs:class/net/", 16) == 0 ? "lo"
			   : strncmp(pattern, "cgroup:", 7) == 0	 ? group
									 : disk;
	size_t n = 0;

	for (; *pattern && n + 1 < size; pattern++) {
		if (*pattern != '*') {
			out[n++] = *pattern;
			continue;
		}
		n += (size_t)snprintf(out + n, size - n, "%s", what);
		/* the first * is of the thing, a later one of its queue */
		what = "0";
	}
	out[n < size ? n : size - 1] = '\0';
}

/* What stands there; of a choice all words, of a group or a process "". */
static int look(const char *name, struct knob_here *here)
{
	int err = knob_look("", name, here);

	return err ? err : here->err;
}

static void complain(const char *name, const char *what, const char *text)
{
	printf("%s: %s%s%s\n", name, what, text[0] ? ": " : "", text);
	failed = 1;
}

/* What to write: what the table says, and where that stands already and there is a choice, another word. */
static const char *value_to_try(
	const struct knob_desc *desc, const char *value, char *word, size_t size)
{
	const char *p = desc->def.choices;

	if (strcmp(desc->lab, value) != 0 || desc->def.type != KNOB_CHOICE)
		return desc->lab;
	do {
		p += strspn(p, " ");
		snprintf(word, size, "%.*s", (int)strcspn(p, " "), p);
		p += strlen(word);
	} while (strcmp(word, value) == 0);
	return word;
}

/* One change and its way back; how it went into out, as the tables have it. */
static void change(struct safety *s, const struct knob_desc *desc, const char *name,
	const struct knob_here *before, char *out, size_t size)
{
	char word[64];
	const char *lab = value_to_try(desc, before->value, word, sizeof(word));
	struct safety_knob knob = { name, lab };
	struct safety_request rq = { .owner = name + strlen(name) -
					      (strlen(name) > 40 ? 40 : strlen(name)),
		.mode = CHANGE_AUTO,
		.knob = &knob,
		.n_knobs = 1,
		.because = "the lab asks" };
	struct safety_error error = { "" };
	struct knob_here after;
	const char *reads;
	uint64_t id;
	int err = safety_apply(s, &rq, &id, &error);

	out[0] = '\0';
	if (err == 0) {
		snprintf(out, size, "ok");
		if (look(name, &after) || (!knob_same(after.value, lab) && desc->def.round == 0))
			complain(name, "reads another value while the change is in force",
				after.value);
		if (safety_rollback(s, id, "it was a try", NULL, &error))
			complain(name, "is not rolled back", error.text);
		else
			written++;
		if (!knob_same(after.value, lab))
			snprintf(out, size, "%.100s -> %.100s", lab, after.value);
	} else if (err == -EIO && (reads = strstr(error.text, " reads "))) {
		/* "NAME reads Y after X was written" */
		snprintf(out, size, "%.100s -> %.*s", lab,
			(int)(strstr(reads, " after ") - reads) - 7, reads + 7);
	} else {
		printf("NOTE refused: %s = %s: %s\n", name, lab, error.text);
		snprintf(out, size, "refused");
	}
	if (look(name, &after) || strcmp(after.value, before->value) != 0)
		complain(name, "does not read as before", after.value);
}

static void compare(const struct knob_desc *desc, const struct knob_seen *seen, const char *value,
	const char *how)
{
	const char *name = desc->def.pattern;
	char text[KNOB_SCAN_VALUE_MAX * 2];

	/* what a scheduler has is there while it is chosen */
	if (!value && strstr(name, "/iosched/"))
		return;
	if (!value != !seen->value) {
		complain(name, value ? "is there and recorded as absent" : "is recorded and absent",
			"");
		return;
	}
	if (!value)
		return;
	snprintf(text, sizeof(text), "%s, recorded is %s", value, seen->value);
	if (!desc->sized[0] && strcmp(value, seen->value) != 0)
		complain(name, "reads", text);
	snprintf(text, sizeof(text), "%s, recorded is %s", how, seen->written);
	if (strcmp(how, seen->written) != 0)
		complain(name, "written", text);
}

static void try_one(
	struct safety *s, const struct knob_desc *desc, bool record, const struct knob_seen *seen)
{
	struct knob_here here;
	char name[KNOB_SCAN_NAME_MAX], how[KNOB_SCAN_VALUE_MAX] = "";
	const char *value = NULL;
	int err;

	name_of(desc->def.pattern, name, sizeof(name));
	err = look(name, &here);
	/* a file of processes is none; one that is there and cannot be read is worth a word */
	if (strncmp(name, "sched:", 6) == 0 || strncmp(name, "madvise:", 8) == 0)
		return;
	if (err && err != -ENODEV && !desc->read_only)
		printf("NOTE unreadable: %s: %s\n", name, strerror(-err));
	if (!err) {
		value = here.value;
		present++;
		if (strcmp(desc->lab, "no") != 0)
			change(s, desc, name, &here, how, sizeof(how));
		printf("SEEN %s\t%s\t%s\n", desc->def.pattern, value, how);
	}
	if (!record)
		compare(desc, seen, value, how);
}

/* All that is described, to be compared with itself: a write may change what it does not name. */
static struct knob_scan everything(void)
{
	struct knob_scan scan;

	if (knob_scan(&scan, ""))
		abort();
	return scan;
}

static void compare_all(const struct knob_scan *before, const struct knob_scan *after)
{
	if (before->n != after->n) {
		complain("all", "are not as many as before", "");
		return;
	}
	for (size_t i = 0; i < before->n; i++) {
		/* huge pages switched on again raise it to what khugepaged recommends: a coupling that mm.conf tells of */
		if (strcmp(before->here[i].name, "sysctl:vm.min_free_kbytes") == 0 &&
			atol(after->here[i].value) > atol(before->here[i].value))
			continue;
		if (strcmp(before->here[i].value, after->here[i].value) != 0)
			complain(before->here[i].name,
				"was changed by the change of another knob to",
				after->here[i].value);
	}
}

int main(int argc, char **argv)
{
	struct safety_options options = { .dir = JOURNAL, .no_keeper_needed = true };
	const char *glob = argc > 3 && strcmp(argv[3], "--record") != 0 ? argv[3] : "*";
	bool record = argc > 3 && strcmp(argv[argc - 1], "--record") == 0;
	struct knob_scan before, after;
	struct safety_error error;
	struct utsname kernel;
	struct safety *s;
	size_t k;

	if (argc < 3 || access("/tests/list", F_OK)) {
		puts("real settings are changed in the lab only");
		return 77;
	}
	disk = argv[1];
	group = argv[2];
	log_set_sink(silent, NULL);
	uname(&kernel);
	k = knob_kernel_nearest(kernel.release);
	if (safety_open(&s, &options, NULL, &error)) {
		puts(error.text);
		return 1;
	}
	before = everything();
	for (size_t i = 0; i < n_knob_descs; i++) {
		static const struct knob_seen nothing;

		if (fnmatch(glob, knob_descs[i].def.pattern, 0) == 0)
			try_one(s, &knob_descs[i], record,
				n_knob_kernels ? &knob_descs[i].seen[k] : &nothing);
	}
	after = everything();
	compare_all(&before, &after);
	knob_scan_free(&before);
	knob_scan_free(&after);
	if (safety_close(s, SAFETY_STOP))
		complain("the journal", "has changes that could not be undone", "");
	printf("NOTE %u knobs are here, %u were changed and restored\n", present, written);
	return failed;
}
