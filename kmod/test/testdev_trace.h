/* SPDX-License-Identifier: GPL-2.0 */
/*
 * testdev_trace.h - latencies that were recorded elsewhere, read from a text file.
 *
 * One read a line: "LATENCY_US", answered in order and from the start again, or "AT_US LATENCY_US" with rising times:
 * then a read takes as long as the recorded one last issued before it, on a clock that starts with the disk. Lines that
 * start with '#' are skipped. At most a million reads. Immutable once loaded.
 */
#ifndef SEMANTOS_TESTDEV_TRACE_H
#define SEMANTOS_TESTDEV_TRACE_H

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/vmalloc.h>

#define TRACE_MAX_READS 1000000
#define TRACE_MAX_BYTES (32 << 20)

struct trace {
	u32 reads;
	bool timed;
	u64 end_us; /* of a timed one: when it starts again */
	struct {
		u64 at_us;
		u32 latency_us;
	} read[];
};

static int trace_parse(struct trace *t, char *text)
{
	u64 last = 0;
	char *line;

	while ((line = strsep(&text, "\n")) != NULL) {
		unsigned long long first;
		u32 second;
		int n;

		line = strim(line);
		if (!*line || *line == '#')
			continue;
		n = sscanf(line, "%llu %u", &first, &second);
		if (n < 1 || t->reads == TRACE_MAX_READS)
			return -EINVAL;
		if (t->reads == 0)
			t->timed = n == 2;
		if (t->timed != (n == 2) || (t->timed && first < last))
			return -EINVAL;
		last = first;
		t->read[t->reads].at_us = t->timed ? first : 0;
		t->read[t->reads].latency_us = t->timed ? second : min_t(u64, first, 5000000);
		t->reads++;
	}
	t->end_us = last + 1;
	return t->reads ? 0 : -EINVAL;
}

/* The file as a string, or ERR_PTR. Free with vfree(). */
static char *trace_text(const char *path)
{
	struct file *file = filp_open(path, O_RDONLY, 0);
	char *text = ERR_PTR(-ENOMEM);
	loff_t at = 0, bytes;
	ssize_t n;

	if (IS_ERR(file))
		return ERR_CAST(file);
	bytes = min_t(loff_t, i_size_read(file_inode(file)), TRACE_MAX_BYTES);
	text = vzalloc(bytes + 1) ?: ERR_PTR(-ENOMEM);
	while (!IS_ERR(text) && at < bytes) {
		n = kernel_read(file, text + at, bytes - at, &at);
		if (n <= 0) {
			vfree(text);
			text = ERR_PTR(n ?: -EIO);
		}
	}
	fput(file);
	return text;
}

/* ERR_PTR: the file cannot be read, or is not of this form. Free with vfree(). */
static struct trace *trace_load(const char *path)
{
	struct trace *t = vzalloc(struct_size(t, read, TRACE_MAX_READS));
	char *text;
	int err;

	if (!t)
		return ERR_PTR(-ENOMEM);
	text = trace_text(path);
	err = PTR_ERR_OR_ZERO(text);
	if (!err) {
		err = trace_parse(t, text);
		vfree(text);
	}
	if (!err)
		return t;
	pr_err("semantos_testdev: '%s' cannot be used as a trace (%d); see testdev_trace.h.\n",
		path, err);
	vfree(t);
	return ERR_PTR(err);
}

/* The latency of the n-th read, which is issued `at_us` after the disk's start. */
static inline u32 trace_latency_us(const struct trace *t, u64 n, u64 at_us)
{
	u32 low = 0, high = t->reads, middle;

	if (!t->timed) {
		u64 rest = n;

		return t->read[do_div(rest, t->reads)].latency_us;
	}
	at_us -= div64_u64(at_us, t->end_us) * t->end_us;
	while (high - low > 1) {
		middle = low + (high - low) / 2;
		if (t->read[middle].at_us <= at_us)
			low = middle;
		else
			high = middle;
	}
	return t->read[low].latency_us;
}

#endif
