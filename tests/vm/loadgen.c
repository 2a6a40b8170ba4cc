// SPDX-License-Identifier: Apache-2.0
/*
 * loadgen.c - a small direct-I/O load for the test machine, where shipping a large one costs more than the test.
 *
 * N threads read (or write) aligned blocks at random places of one file or disk for a while; each waits for its
 * answer, and pauses if it is told to. Prints one line of key=value: counts, and percentiles of the latency of reads.
 * With --log every read is written as "seconds_since_start latency_us". Results depend on --seed and on the disk only.
 * Must never be linked to anything of the product. Threads share nothing but the start and the stop time.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_READS (1u << 20) /* a thread's; later ones are counted but not kept */

struct sample {
	uint64_t at_ns;
	uint32_t latency_us;
};

struct worker {
	pthread_t thread;
	uint64_t rng;
	struct sample *samples;
	uint64_t reads, writes, errors;
};

static struct {
	const char *path, *log;
	int fd;
	uint64_t blocks, begin_ns, end_ns;
	unsigned int depth, seconds, seed, block_bytes, write_pct, think_us;
} load = { .depth = 4, .seconds = 5, .seed = 1, .block_bytes = 4096 };

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* splitmix64: any seed will do. */
static uint64_t draw(uint64_t *rng)
{
	uint64_t z = (*rng += 0x9e3779b97f4a7c15ULL);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	void *block;
	uint64_t begin, end;

	if (posix_memalign(&block, 4096, load.block_bytes))
		return NULL;
	memset(block, 0x5a, load.block_bytes);
	while ((begin = now_ns()) < load.end_ns) {
		int writes = draw(&w->rng) % 100 < load.write_pct;
		off_t at = (off_t)(draw(&w->rng) % load.blocks * load.block_bytes);
		ssize_t n = writes ? pwrite(load.fd, block, load.block_bytes, at)
				   : pread(load.fd, block, load.block_bytes, at);

		end = now_ns();
		if (n != (ssize_t)load.block_bytes) {
			w->errors++;
			usleep(1000); /* a disk that is gone answers at once */
		} else if (writes) {
			w->writes++;
		} else {
			if (w->reads < MAX_READS)
				w->samples[w->reads] = (struct sample){ begin - load.begin_ns,
					(uint32_t)((end - begin) / 1000) };
			w->reads++;
		}
		if (load.think_us)
			usleep(load.think_us);
	}
	free(block);
	return NULL;
}

static int by_latency(const void *a, const void *b)
{
	uint32_t x = ((const struct sample *)a)->latency_us,
		 y = ((const struct sample *)b)->latency_us;

	return (x > y) - (x < y);
}

static int by_time(const void *a, const void *b)
{
	uint64_t x = ((const struct sample *)a)->at_ns, y = ((const struct sample *)b)->at_ns;

	return (x > y) - (x < y);
}

static int report(struct worker *workers)
{
	struct sample *all = NULL;
	uint64_t kept = 0, reads = 0, writes = 0, errors = 0, sum = 0;
	unsigned int i;
	FILE *log;

	for (i = 0; i < load.depth; i++) {
		uint64_t n = workers[i].reads < MAX_READS ? workers[i].reads : MAX_READS;

		all = realloc(all, (kept + n + 1) * sizeof(*all));
		if (!all)
			return 1;
		memcpy(all + kept, workers[i].samples, n * sizeof(*all));
		kept += n;
		reads += workers[i].reads;
		writes += workers[i].writes;
		errors += workers[i].errors;
	}
	if (load.log) {
		log = fopen(load.log, "w");
		if (!log) {
			fprintf(stderr, "loadgen: cannot write %s: %s\n", load.log,
				strerror(errno));
			return 1;
		}
		qsort(all, kept, sizeof(*all), by_time);
		for (uint64_t k = 0; k < kept; k++)
			fprintf(log, "%.6f %u\n", (double)all[k].at_ns / 1e9, all[k].latency_us);
		if (fclose(log))
			return 1;
	}
	for (uint64_t k = 0; k < kept; k++)
		sum += all[k].latency_us;
	qsort(all, kept, sizeof(*all), by_latency);
	all[kept].latency_us = 0;
	printf("reads=%llu writes=%llu errors=%llu mean_us=%llu p10_us=%u p50_us=%u p90_us=%u "
	       "p99_us=%u max_us=%u\n",
		(unsigned long long)reads, (unsigned long long)writes, (unsigned long long)errors,
		(unsigned long long)(kept ? sum / kept : 0), all[kept / 10].latency_us,
		all[kept / 2].latency_us, all[kept * 9 / 10].latency_us,
		all[kept * 99 / 100].latency_us, all[kept ? kept - 1 : 0].latency_us);
	free(all);
	return reads + writes == 0;
}

static int usage(void)
{
	fprintf(stderr, "Usage: loadgen [--depth N] [--seconds N] [--seed N] [--block-bytes N] "
			"[--write-pct N]\n"
			"               [--think-us N] [--log FILE] FILE|DISK\n");
	return 2;
}

static int parse(int argc, char **argv)
{
	static const struct option options[] = { { "depth", 1, NULL, 'd' },
		{ "seconds", 1, NULL, 's' }, { "seed", 1, NULL, 'r' },
		{ "block-bytes", 1, NULL, 'b' }, { "write-pct", 1, NULL, 'w' },
		{ "think-us", 1, NULL, 't' }, { "log", 1, NULL, 'l' }, { 0 } };
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		unsigned int *number = o == 'd'	  ? &load.depth
				       : o == 's' ? &load.seconds
				       : o == 'r' ? &load.seed
				       : o == 'b' ? &load.block_bytes
				       : o == 'w' ? &load.write_pct
				       : o == 't' ? &load.think_us
						  : NULL;

		if (o == 'l')
			load.log = optarg;
		else if (number)
			*number = (unsigned int)strtoul(optarg, NULL, 10);
		else
			return -EINVAL;
	}
	if (optind + 1 != argc || !load.depth || load.depth > 256 || !load.seconds ||
		!load.block_bytes)
		return -EINVAL;
	load.path = argv[optind];
	return 0;
}

int main(int argc, char **argv)
{
	struct worker *workers;
	struct stat st;
	uint64_t bytes;
	unsigned int i;

	if (parse(argc, argv))
		return usage();
	load.fd = open(load.path, (load.write_pct ? O_RDWR : O_RDONLY) | O_DIRECT);
	if (load.fd < 0 || fstat(load.fd, &st)) {
		fprintf(stderr, "loadgen: cannot open %s: %s\n", load.path, strerror(errno));
		return 1;
	}
	bytes = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(load.fd, BLKGETSIZE64, &bytes))
		bytes = 0;
	load.blocks = bytes / load.block_bytes;
	workers = calloc(load.depth, sizeof(*workers));
	if (!load.blocks || !workers) {
		fprintf(stderr, "loadgen: %s is smaller than one block\n", load.path);
		return 1;
	}
	load.begin_ns = now_ns();
	load.end_ns = load.begin_ns + load.seconds * 1000000000ULL;
	for (i = 0; i < load.depth; i++) {
		workers[i].rng = (uint64_t)load.seed << 32 | i;
		workers[i].samples = calloc(MAX_READS, sizeof(struct sample));
		if (!workers[i].samples ||
			pthread_create(&workers[i].thread, NULL, work, &workers[i])) {
			fprintf(stderr, "loadgen: thread %u could not start\n", i);
			return 1;
		}
	}
	for (i = 0; i < load.depth; i++)
		pthread_join(workers[i].thread, NULL);
	return report(workers);
}
