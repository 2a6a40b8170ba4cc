// SPDX-License-Identifier: Apache-2.0
/*
 * failover.c - reads from one of three files, where the verdicts say that the disk is fast, against round robin.
 *
 * LinnOS's own usage: the same data lies on several disks, and the application goes to the next one when a read is
 * foreseen to be slow. Strategies take turns in short blocks of reads, in an order that turns around, so that all meet
 * the same disks: round robin; verdict; and the control, permuted, which obeys verdicts that the same disk had at
 * another time. Must never write to the files, nor obey a verdict that is not fresh, not in force or not for this
 * read. One thread; the tables are the agent's pinned maps, mapped; all are only read but `trial`, where latencies go in mode
 * canary.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <linux/fs.h>
#include "policies/linnos/examples/verdict_reader.h"

#define FILES 3
#define BLOCK_BYTES 4096
#define BLOCK_READS 21 /* of one strategy before it is the next one's turn */
#define PAST 512 /* decisions per file that the control draws from */
#define MAX_READS (1u << 20)

enum strategy { ROUND_ROBIN, VERDICT, PERMUTED, STRATEGIES };
static const char *const strategy_name[] = { "round robin", "verdict", "permuted" };

/* Of enum answer. */
static const char *const answer_name[] = { "fast", "slow", "no live agent", "shadow",
	"control group of the canary", "disk not followed", "model without signal",
	"no fresh verdict" };

static struct verdict_reader reader;

static struct source {
	const char *path;
	int fd;
	uint32_t dev, slot; /* as the kernel counts devices; slot: last one found */
	uint64_t blocks;
	enum answer past[PAST];
	uint64_t n_past;
} source[FILES];

static struct result {
	float *latency_us;
	size_t n;
	uint64_t failed_over, all_slow, answers[ANSWERS], by_file[FILES];
} result[STRATEGIES];

static uint64_t rng = 0x9e3779b97f4a7c15ULL;

static uint64_t draw(void)
{
	rng ^= rng >> 12;
	rng ^= rng << 25;
	rng ^= rng >> 27;
	return rng * 0x2545f4914f6cdd1dULL;
}

/* Which file to read: the one whose turn it is, or the next that is not called slow. If all are, the first again. */
static unsigned int choose(enum strategy strategy, unsigned int turn, uint64_t request)
{
	struct result *r = &result[strategy];

	for (unsigned int i = 0; strategy != ROUND_ROBIN && i < FILES; i++) {
		struct source *s = &source[(turn + i) % FILES];
		enum answer now = verdict_look(&reader, s->dev, &s->slot, request), answer = now;

		if (strategy == PERMUTED && s->n_past)
			answer = s->past[draw() % (s->n_past < PAST ? s->n_past : PAST)];
		else if (strategy == VERDICT)
			s->past[s->n_past++ % PAST] = now;
		if (i == 0)
			r->answers[answer]++;
		if (answer != SLOW) {
			r->failed_over += i > 0;
			return (turn + i) % FILES;
		}
	}
	r->all_slow += strategy != ROUND_ROBIN;
	return turn;
}

static void read_one(enum strategy strategy, uint64_t request, void *buffer)
{
	unsigned int file = choose(strategy, (unsigned int)(request % FILES), request);
	uint64_t begin = verdict_boot_ns(&reader);
	struct result *r = &result[strategy];
	struct source *s = &source[file];

	if (pread(s->fd, buffer, BLOCK_BYTES, (off_t)(draw() % s->blocks * BLOCK_BYTES)) !=
		BLOCK_BYTES) {
		fprintf(stderr, "A read of %s failed: %s.\n", s->path, strerror(errno));
		exit(1);
	}
	r->by_file[file]++;
	begin = verdict_boot_ns(&reader) - begin;
	if (strategy == VERDICT)
		verdict_report(&reader, request, begin / 1000);
	if (r->n < MAX_READS)
		r->latency_us[r->n++] = (float)begin / 1000;
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static void print(void)
{
	printf("%-12s %8s %9s %9s %9s %9s  %-9s %s\n", "strategy", "reads", "mean us", "p50 us",
		"p95 us", "p99 us", "failed over", "reads by file");
	for (int i = 0; i < STRATEGIES; i++) {
		struct result *r = &result[i];
		double sum = 0;

		qsort(r->latency_us, r->n, sizeof(float), by_value);
		for (size_t k = 0; k < r->n; k++)
			sum += (double)r->latency_us[k];
		if (!r->n)
			continue;
		printf("%-12s %8zu %9.1f %9.1f %9.1f %9.1f %9.2f %%   %llu %llu %llu\n",
			strategy_name[i], r->n, sum / (double)r->n, (double)r->latency_us[r->n / 2],
			(double)r->latency_us[r->n * 95 / 100],
			(double)r->latency_us[r->n * 99 / 100],
			100.0 * (double)r->failed_over / (double)r->n,
			(unsigned long long)r->by_file[0], (unsigned long long)r->by_file[1],
			(unsigned long long)r->by_file[2]);
	}
	printf("verdicts of the first choice:");
	for (int i = 0; i < ANSWERS; i++)
		if (result[VERDICT].answers[i])
			printf(" %s %llu;", answer_name[i],
				(unsigned long long)result[VERDICT].answers[i]);
	printf(" every disk slow %llu\n", (unsigned long long)result[VERDICT].all_slow);
}

static void open_source(struct source *s, const char *path)
{
	struct stat st;
	uint64_t bytes;

	s->path = path;
	s->fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (s->fd < 0 || fstat(s->fd, &st)) {
		fprintf(stderr, "%s cannot be read past the page cache: %s.\n", path,
			strerror(errno));
		exit(errno == EACCES || errno == EPERM ? 4 : 10);
	}
	bytes = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(s->fd, BLKGETSIZE64, &bytes))
		bytes = 0;
	s->blocks = bytes / BLOCK_BYTES;
	s->dev = verdict_disk(S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev);
	if (!s->blocks) {
		fprintf(stderr, "%s holds less than %d bytes; there is nothing to read.\n", path,
			BLOCK_BYTES);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	const char *pins = "/sys/fs/bpf/semantos";
	unsigned long seconds = 10;
	uint64_t request = 0, end;
	char error[512];
	void *buffer;
	int c, err;

	static const struct option options[] = { { "pins", required_argument, NULL, 'p' },
		{ "seconds", required_argument, NULL, 's' }, { 0 } };

	while ((c = getopt_long(argc, argv, "p:s:", options, NULL)) != -1) {
		if (c == 'p')
			pins = optarg;
		else if (c == 's')
			seconds = strtoul(optarg, NULL, 10);
		else
			optind = argc + 1;
	}
	if (argc - optind != FILES || !seconds || seconds > 86400) {
		fprintf(stderr, "Usage: failover [--pins DIR] [--seconds N] FILE FILE FILE\n"
				"Read copies of one file on three disks (or three disks), avoiding "
				"the disk that is "
				"foreseen to be slow.\n");
		return 2;
	}
	for (int i = 0; i < FILES; i++)
		open_source(&source[i], argv[optind + i]);
	err = verdict_reader_open(&reader, pins, "linnos", error, sizeof(error));
	if (err) {
		fprintf(stderr, "%s\n", error);
		return err == -ENOENT ? 7 : err == -EPROTO ? 6 : 4;
	}
	for (int i = 0; i < STRATEGIES; i++)
		result[i].latency_us = malloc(MAX_READS * sizeof(float));
	if (posix_memalign(&buffer, BLOCK_BYTES, BLOCK_BYTES) || !result[STRATEGIES - 1].latency_us)
		return 1;
	if (source[0].dev == source[1].dev && source[1].dev == source[2].dev)
		printf("All three files lie on one disk (%u:%u): nothing can be gained by choosing "
		       "among them.\n",
			source[0].dev >> 20, source[0].dev & 0xfffff);
	end = verdict_boot_ns(&reader) + seconds * 1000000000ULL;
	for (unsigned int block = 0; verdict_boot_ns(&reader) < end; block++) {
		unsigned int at = block % STRATEGIES;

		/* forwards, then backwards */
		if (block / STRATEGIES % 2)
			at = STRATEGIES - 1 - at;
		for (int i = 0; i < BLOCK_READS; i++)
			read_one(at, request++, buffer);
	}
	print();
	return 0;
}
