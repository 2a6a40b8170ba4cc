// SPDX-License-Identifier: Apache-2.0
/*
 * knob_sched.c - nice value, scheduling policy and CPUs of one task; knob_state.c has whether it runs at all.
 *
 * The kernel takes a number here and no pidfd. So the process is asked for right before and right after: while it is
 * there its number is nobody else's. What is left is a process that ends between the question and the call, is reaped, and
 * whose number the kernel has given to another by then, which takes a whole round of all numbers; a write that may have
 * met this is reported as -ESRCH and never as done. Any thread.
 */
#include "agent/safety/knob_kind.h"

#include <errno.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CPUS_MAX 8192 /* NR_CPUS of the kernels in use */
#define WORD_BITS (8 * sizeof(unsigned long))

enum { NICE, POLICY, AFFINITY, STATE };
static const char *const words[] = { "nice", "policy", "affinity", "state", NULL };

static const struct {
	const char *word, *option; /* of chrt(1) */
	uint32_t policy;
} policies[] = { { "other", "--other", SCHED_OTHER }, { "batch", "--batch", SCHED_BATCH },
	{ "idle", "--idle", SCHED_IDLE } };
#define N_POLICIES (sizeof(policies) / sizeof(policies[0]))

/* As many CPUs as the kernel may know; it answers with as many as it does. */
struct cpus {
	unsigned long word[CPUS_MAX / WORD_BITS];
};

static bool has(const struct cpus *cpus, unsigned int cpu)
{
	return cpu < CPUS_MAX && cpus->word[cpu / WORD_BITS] >> cpu % WORD_BITS & 1;
}

/* Appends "," and a range; false when it does not fit. */
static bool put(char *text, size_t *len, unsigned int first, unsigned int last)
{
	char range[32];
	int n = first == last ? snprintf(range, sizeof(range), ",%u", first)
			      : snprintf(range, sizeof(range), ",%u-%u", first, last);

	if (*len + (size_t)n > RECORD_VALUE_MAX)
		return false;
	memcpy(text + *len, range, (size_t)n);
	*len += (size_t)n;
	return true;
}

static int print_cpus(const struct cpus *cpus, char value[RECORD_VALUE_MAX])
{
	char text[RECORD_VALUE_MAX + 1];
	size_t len = 0;

	for (unsigned int cpu = 0; cpu < CPUS_MAX; cpu++) {
		unsigned int first = cpu;

		if (!has(cpus, cpu))
			continue;
		while (has(cpus, cpu + 1))
			cpu++;
		if (!put(text, &len, first, cpu))
			return -E2BIG;
	}
	text[len] = '\0';
	/* without the first comma; a task without a CPU there is not, and it would read "" */
	strcpy(value, text + (len > 0));
	return 0;
}

static bool parse_cpus(const char *text, struct cpus *cpus)
{
	memset(cpus, 0, sizeof(*cpus));
	for (const char *p = text;;) {
		unsigned long first, last;
		char *end;

		first = last = strtoul(p, &end, 10);
		if (end != p && *end == '-') {
			p = end + 1;
			last = strtoul(p, &end, 10);
		}
		if (end == p || first > last || last >= CPUS_MAX)
			return false;
		for (unsigned long cpu = first; cpu <= last; cpu++)
			cpus->word[cpu / WORD_BITS] |= 1UL << cpu % WORD_BITS;
		if (*end != ',')
			return !*end;
		p = end + 1;
	}
}

/* What prints as it was written, so that a value can be compared with what is read back. */
bool knob_cpus_canonical(const char *text)
{
	char again[RECORD_VALUE_MAX];
	struct cpus cpus;

	return parse_cpus(text, &cpus) && print_cpus(&cpus, again) == 0 && strcmp(text, again) == 0;
}

bool knob_cpus_within(const char *part, const char *whole)
{
	struct cpus some, all;
	unsigned long beyond = 0;

	if (!parse_cpus(part, &some) || !parse_cpus(whole, &all))
		return false;
	for (size_t i = 0; i < CPUS_MAX / WORD_BITS; i++)
		beyond |= some.word[i] & ~all.word[i];
	return !beyond;
}

int knob_sched_open(struct knob *knob, const char *root, const char *path, bool write,
	struct safety_error *error)
{
	(void)root, (void)write;
	return knob_task_open(knob, path, words, error);
}

static int get_attr(const struct knob *knob, struct sched_attr *attr)
{
	memset(attr, 0, sizeof(*attr));
	return syscall(SYS_sched_getattr, knob->pid, attr, sizeof(*attr), 0) < 0 ? -errno : 0;
}

static int read_policy(const struct knob *knob, char value[RECORD_VALUE_MAX])
{
	struct sched_attr attr;
	int err = get_attr(knob, &attr);

	if (err)
		return err;
	for (size_t i = 0; i < N_POLICIES; i++) {
		if (attr.sched_policy == policies[i].policy) {
			strcpy(value, policies[i].word);
			return 0;
		}
	}
	/* a real-time task, or one of sched_ext: whoever made it so has plans of their own */
	return -EOPNOTSUPP;
}

static int read_affinity(const struct knob *knob, char value[RECORD_VALUE_MAX])
{
	struct cpus cpus = { 0 };

	/* not glibc's, which wants the size the kernel was built for */
	if (syscall(SYS_sched_getaffinity, knob->pid, sizeof(cpus), &cpus) < 0)
		return -errno;
	return print_cpus(&cpus, value);
}

int knob_sched_read(const struct knob *knob, char value[RECORD_VALUE_MAX])
{
	int err = 0;

	if (knob->which == POLICY) {
		err = read_policy(knob, value);
	} else if (knob->which == AFFINITY) {
		err = read_affinity(knob, value);
	} else if (knob->which == STATE) {
		err = knob_state_read(knob, value);
	} else {
		/* the system call answers 20 - nice, so that an error can be told from a value */
		long n = syscall(SYS_getpriority, PRIO_PROCESS, knob->pid);

		err = n < 0 ? -errno : 0;
		snprintf(value, RECORD_VALUE_MAX, "%ld", 20 - n);
	}
	return err ? err : knob_task_alive(knob);
}

static int write_policy(const struct knob *knob, const char *value)
{
	struct sched_attr attr;
	int err = get_attr(knob, &attr);
	size_t i = 0;

	while (i < N_POLICIES && strcmp(policies[i].word, value) != 0)
		i++;
	if (err || i == N_POLICIES)
		return err ? err : -EINVAL;
	attr.size = sizeof(attr);
	attr.sched_policy = policies[i].policy;
	/*
	 * The nice value goes back as it was read a call before, and so does whether children start under SCHED_OTHER.
	 * Not SCHED_FLAG_KEEP_PARAMS: with it the kernel (6.18) leaves the policy as it is too.
	 */
	attr.sched_flags &= SCHED_FLAG_RESET_ON_FORK;
	return syscall(SYS_sched_setattr, knob->pid, &attr, 0) < 0 ? -errno : 0;
}

int knob_sched_write(const struct knob *knob, const char *value)
{
	int err = knob_task_alive(knob);
	struct cpus cpus;
	int64_t nice;

	if (err)
		return err;
	if (knob->which == STATE)
		err = knob_state_write(knob, value);
	else if (knob->which == POLICY)
		err = write_policy(knob, value);
	else if (knob->which == AFFINITY)
		err = !parse_cpus(value, &cpus)						   ? -EINVAL
		      : syscall(SYS_sched_setaffinity, knob->pid, sizeof(cpus), &cpus) < 0 ? -errno
											   : 0;
	else
		err = !knob_number(value, &nice)				  ? -EINVAL
		      : setpriority(PRIO_PROCESS, (id_t)knob->pid, (int)nice) < 0 ? -errno
										  : 0;
	return err ? err : knob_task_alive(knob);
}

void knob_sched_command(
	const char *base, const char *path, const char *value, char *out, size_t size)
{
	struct knob_task task = { .which = "" };
	size_t i = 0;

	(void)base;
	knob_task_split(path, &task);
	if (strcmp(task.which, words[NICE]) == 0)
		snprintf(out, size, "renice -n %s -p %d", value, task.pid);
	else if (strcmp(task.which, words[AFFINITY]) == 0)
		snprintf(out, size, "taskset -cp %s %d", value, task.pid);
	else if (strcmp(task.which, words[STATE]) == 0)
		snprintf(out, size, "kill -%s %d", strcmp(value, "stopped") ? "CONT" : "STOP",
			task.pid);
	else {
		while (i < N_POLICIES - 1 && strcmp(policies[i].word, value) != 0)
			i++;
		snprintf(out, size, "chrt %s -p 0 %d", policies[i].option, task.pid);
	}
}
