// SPDX-License-Identifier: Apache-2.0
/*
 * verifyio.c - direct I/O whose every block says where it belongs and how new it is, and a checker that knows what may
 * be read.
 *
 * Writers own a slice of blocks each; a block carries its address, a sequence number and words derived from both. For each
 * block is known, in a file that outlives the process: the last number issued, the last acknowledged, and the last
 * that is durable (acknowledged with O_DSYNC, or before a flush that succeeded). Readers check, live: not older than
 * what was acknowledged before the read, not newer than what was issued after it, and whole. --check reads all blocks
 * once: not older than --floor acked (default) or durable.
 * Lines on stdin: "image PATH VALUE BOUNDS": write VALUE to PATH (which takes an image of the disks at one instant), and
 * leave in BOUNDS what was durable before and issued after: what --check may find in that image. "around BOUNDS COMMAND":
 * the same around a command of the shell. Both answered by "done". --check takes what was issued from another such file
 * with --issued; with --adopt, what proved right counts from then on as acknowledged no further than --floor.
 * Ends after --seconds, at the line "quit", or with SIGTERM. Prints counts. Must never be linked to anything of the product.
 * Exit: 0 all was right, 1 a wrong block or (without --errors-ok) a failed call.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096
#define MAGIC 0x7665726966796931ULL
#define MAX_RUN 8 /* blocks of one write */

struct known {
	_Atomic uint32_t issued, acked, durable;
};

static struct {
	const char *path, *state, *issued;
	unsigned int blocks, writers, readers, seconds, seed, dsync_pct, flush_every, think_us;
	int errors_ok, check, floor_durable, adopt;
	struct known *known;
	_Atomic int stop;
	_Atomic uint64_t writes, reads, flushes, errors, wrong;
} v = { .blocks = 1024,
	.writers = 2,
	.readers = 1,
	.seconds = 5,
	.seed = 1,
	.dsync_pct = 30,
	.flush_every = 50 };

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static uint64_t draw(uint64_t *rng)
{
	return mix(*rng += 0x9e3779b97f4a7c15ULL);
}

static void fill(uint64_t *words, uint64_t address, uint32_t seq)
{
	words[0] = MAGIC;
	words[1] = address;
	words[2] = seq;
	for (unsigned int i = 3; i < BLOCK / 8; i++)
		words[i] = mix(address << 40 ^ (uint64_t)seq << 10 ^ i);
}

/* The number in a block, 0 for zeros; -1: it is torn, mixed or not ours. */
static int64_t sequence(const uint64_t *words, uint64_t address)
{
	uint64_t expected[BLOCK / 8];

	if (words[0] == 0) {
		for (unsigned int i = 0; i < BLOCK / 8; i++)
			if (words[i])
				return -1;
		return 0;
	}
	fill(expected, address, (uint32_t)words[2]);
	return memcmp(expected, words, BLOCK) ? -1 : (int64_t)words[2];
}

static void wrong(const char *when, unsigned int block, int64_t seq, uint32_t low, uint32_t high)
{
	if (v.wrong++ < 10)
		printf("WRONG %s: block %u holds %lld, expected %u to %u\n", when, block,
			(long long)seq, low, high);
	v.stop = 1;
}

static void failed_call(const char *what)
{
	if (v.errors++ < 3 && !v.errors_ok)
		printf("FAILED %s: %s\n", what, strerror(errno));
	if (!v.errors_ok)
		v.stop = 1;
	usleep(1000);
}

static void flush(int fd, unsigned int first, unsigned int end, uint32_t *acked)
{
	for (unsigned int b = first; b < end; b++)
		acked[b - first] = v.known[b].acked;
	v.flushes++;
	if (fdatasync(fd)) {
		failed_call("a flush");
		return;
	}
	for (unsigned int b = first; b < end; b++)
		if (v.known[b].durable < acked[b - first])
			v.known[b].durable = acked[b - first];
}

static void *writer(void *arg)
{
	unsigned int me = (unsigned int)(uintptr_t)arg, since = 0;
	unsigned int first = v.blocks * me / v.writers, end = v.blocks * (me + 1) / v.writers;
	uint64_t rng = (uint64_t)v.seed << 32 | me;
	uint32_t *acked = calloc(end - first, sizeof(*acked));
	int fd = open(v.path, O_RDWR | O_DIRECT), dsync = open(v.path, O_RDWR | O_DIRECT | O_DSYNC);
	void *buffer;

	if (fd < 0 || dsync < 0 || !acked || posix_memalign(&buffer, BLOCK, BLOCK * MAX_RUN)) {
		failed_call("opening for writing");
		return NULL;
	}
	while (!v.stop) {
		unsigned int b = first + (unsigned int)(draw(&rng) % (end - first));
		unsigned int n = 1 + (unsigned int)(draw(&rng) % MAX_RUN), i;
		int sure = draw(&rng) % 100 < v.dsync_pct;

		if (n > end - b)
			n = end - b;
		for (i = 0; i < n; i++)
			fill((uint64_t *)((char *)buffer + i * BLOCK), b + i,
				++v.known[b + i].issued);
		if (pwrite(sure ? dsync : fd, buffer, n * BLOCK, (off_t)b * BLOCK) !=
			(ssize_t)(n * BLOCK)) {
			failed_call("a write");
		} else {
			for (i = 0; i < n; i++) {
				uint32_t seq = v.known[b + i].issued;

				v.known[b + i].acked = seq;
				if (sure)
					v.known[b + i].durable = seq;
			}
			v.writes++;
		}
		if (v.flush_every && ++since >= v.flush_every) {
			since = 0;
			flush(fd, first, end, acked);
		}
		if (v.think_us)
			usleep(v.think_us);
	}
	close(fd);
	close(dsync);
	free(buffer);
	free(acked);
	return NULL;
}

static void *reader(void *arg)
{
	uint64_t rng = (uint64_t)v.seed << 32 | (0x10000 + (unsigned int)(uintptr_t)arg);
	int fd = open(v.path, O_RDONLY | O_DIRECT);
	void *buffer;

	if (fd < 0 || posix_memalign(&buffer, BLOCK, BLOCK)) {
		failed_call("opening for reading");
		return NULL;
	}
	while (!v.stop) {
		unsigned int b = (unsigned int)(draw(&rng) % v.blocks);
		uint32_t acked = v.known[b].acked, before = v.known[b].issued, after;
		int64_t seq;

		if (pread(fd, buffer, BLOCK, (off_t)b * BLOCK) != BLOCK) {
			failed_call("a read");
			continue;
		}
		v.reads++;
		after = v.known[b].issued;
		seq = sequence(buffer, b);
		/* Under a write, a block may be half old and half new. */
		if (seq < 0 && (acked != before || before != after))
			continue;
		if (seq < (int64_t)acked || seq > (int64_t)after)
			wrong("live", b, seq, acked, after);
		if (v.think_us)
			usleep(v.think_us);
	}
	close(fd);
	free(buffer);
	return NULL;
}

static int check(void)
{
	int fd = open(v.path, O_RDONLY | O_DIRECT);
	void *buffer;

	if (fd < 0 || posix_memalign(&buffer, BLOCK, BLOCK)) {
		printf("FAILED opening %s: %s\n", v.path, strerror(errno));
		return 1;
	}
	for (unsigned int b = 0; b < v.blocks; b++) {
		struct known *k = &v.known[b];
		uint32_t low = v.floor_durable ? k->durable : k->acked;
		int64_t seq;

		if (pread(fd, buffer, BLOCK, (off_t)b * BLOCK) != BLOCK) {
			printf("FAILED reading block %u: %s\n", b, strerror(errno));
			return 1;
		}
		seq = sequence(buffer, b);
		if (seq < (int64_t)low || seq > (int64_t)k->issued)
			wrong("check", b, seq, low, k->issued);
	}
	for (unsigned int b = 0; b < v.blocks && v.adopt && !v.wrong; b++)
		if (v.floor_durable)
			v.known[b].acked = v.known[b].durable;
	printf("checked=%u wrong=%llu\n", v.blocks, (unsigned long long)v.wrong);
	return v.wrong != 0;
}

/* Write `value` to `path`, or, without a path, have the shell run `value`. */
static int carry_out(const char *path, const char *value)
{
	int fd, ok;

	if (!path)
		return system(value) == 0;
	fd = open(path, O_WRONLY);
	ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	close(fd);
	return ok;
}

/* Do something, and leave in `bounds` what was durable before it and issued after it. */
static int between(const char *path, const char *value, const char *bounds)
{
	struct known *k = malloc(v.blocks * sizeof(*k));
	FILE *out;
	int ok;

	if (!k)
		return -ENOMEM;
	for (unsigned int b = 0; b < v.blocks; b++)
		k[b].durable = v.known[b].durable;
	ok = carry_out(path, value);
	for (unsigned int b = 0; b < v.blocks; b++) {
		k[b].issued = v.known[b].issued;
		k[b].acked = 0;
	}
	out = fopen(bounds, "w");
	ok = ok && out && fwrite(k, sizeof(*k), v.blocks, out) == v.blocks;
	if (out && fclose(out))
		ok = 0;
	free(k);
	puts(ok ? "done" : "it failed");
	fflush(stdout);
	return ok ? 0 : -EIO;
}

static int command(char *words)
{
	char path[256], value[512], bounds[256];

	if (sscanf(words, "image %255s %255s %255s", path, value, bounds) == 3)
		return between(path, value, bounds);
	if (sscanf(words, "around %255s %511[^\n]", bounds, value) == 2)
		return between(NULL, value, bounds);
	return -EINVAL;
}

/* What was issued, by another file. */
static int take_issued(void)
{
	FILE *in = fopen(v.issued, "r");
	struct known k;
	unsigned int b;

	if (!in)
		return -errno;
	for (b = 0; b < v.blocks && fread(&k, sizeof(k), 1, in) == 1; b++)
		v.known[b].issued = k.issued;
	fclose(in);
	return b == v.blocks ? 0 : -EINVAL;
}

static int map_state(void)
{
	size_t bytes = v.blocks * sizeof(struct known);
	int fd = open(v.state, O_RDWR | O_CREAT, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || (st.st_size < (off_t)bytes && ftruncate(fd, (off_t)bytes)))
		return -errno;
	v.known = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (v.known == MAP_FAILED)
		return -errno;
	/* After a run that was killed, what was issued may be there, what was not acknowledged need not. */
	return 0;
}

/* Until the time is over, or the line "quit". A stdin that ends is only not listened to any more. */
static void serve_stdin(void)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };
	time_t end = time(NULL) + v.seconds;
	char line[800];

	while (!v.stop && time(NULL) < end) {
		int n = poll(&in, 1, 200);

		if (n <= 0)
			continue;
		if (!fgets(line, sizeof(line), stdin))
			in.fd = -1;
		else if (!strncmp(line, "quit", 4))
			break;
		else if (command(line))
			v.stop = 1;
	}
}

static int run(void)
{
	pthread_t thread[64];
	unsigned int n = 0;

	for (unsigned int i = 0; i < v.writers; i++)
		if (!pthread_create(&thread[n], NULL, writer, (void *)(uintptr_t)i))
			n++;
	for (unsigned int i = 0; i < v.readers; i++)
		if (!pthread_create(&thread[n], NULL, reader, (void *)(uintptr_t)i))
			n++;
	serve_stdin();
	v.stop = 1;
	for (unsigned int i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	printf("writes=%llu reads=%llu flushes=%llu errors=%llu wrong=%llu\n",
		(unsigned long long)v.writes, (unsigned long long)v.reads,
		(unsigned long long)v.flushes, (unsigned long long)v.errors,
		(unsigned long long)v.wrong);
	return v.wrong || (v.errors && !v.errors_ok) || n != v.writers + v.readers;
}

static int parse(int argc, char **argv)
{
	static const struct option options[] = { { "blocks", 1, NULL, 'b' },
		{ "writers", 1, NULL, 'w' }, { "readers", 1, NULL, 'r' },
		{ "seconds", 1, NULL, 's' }, { "seed", 1, NULL, 'x' },
		{ "dsync-pct", 1, NULL, 'd' }, { "flush-every", 1, NULL, 'f' },
		{ "think-us", 1, NULL, 't' }, { "state", 1, NULL, 'S' }, { "floor", 1, NULL, 'F' },
		{ "errors-ok", 0, NULL, 'e' }, { "check", 0, NULL, 'c' },
		{ "issued", 1, NULL, 'i' }, { "adopt", 0, NULL, 'a' }, { 0 } };
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		unsigned int *number = o == 'b'	  ? &v.blocks
				       : o == 'w' ? &v.writers
				       : o == 'r' ? &v.readers
				       : o == 's' ? &v.seconds
				       : o == 'x' ? &v.seed
				       : o == 'd' ? &v.dsync_pct
				       : o == 'f' ? &v.flush_every
				       : o == 't' ? &v.think_us
						  : NULL;

		if (number)
			*number = (unsigned int)strtoul(optarg, NULL, 10);
		else if (o == 'S')
			v.state = optarg;
		else if (o == 'F')
			v.floor_durable = !strcmp(optarg, "durable");
		else if (o == 'e')
			v.errors_ok = 1;
		else if (o == 'c')
			v.check = 1;
		else if (o == 'i')
			v.issued = optarg;
		else if (o == 'a')
			v.adopt = 1;
		else
			return -EINVAL;
	}
	if (optind + 1 != argc || !v.state || v.writers + v.readers > 64 || v.blocks < v.writers)
		return -EINVAL;
	v.path = argv[optind];
	return 0;
}

static void stop(int signal_number)
{
	(void)signal_number;
	v.stop = 1;
}

int main(int argc, char **argv)
{
	setvbuf(stdin, NULL, _IONBF, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGTERM, stop);
	if (parse(argc, argv)) {
		fprintf(stderr, "Usage: verifyio --state FILE [--check] [--floor acked|durable] "
				"[--blocks N] "
				"[--writers N] [--readers N]\n"
				"                [--seconds N] [--seed N] [--dsync-pct N] "
				"[--flush-every N] "
				"[--think-us N] [--errors-ok] [--issued FILE] [--adopt] DISK\n");
		return 2;
	}
	if (map_state() || (v.issued && take_issued())) {
		fprintf(stderr, "verifyio: %s: %s\n", v.state, strerror(errno));
		return 1;
	}
	return v.check ? check() : run();
}
