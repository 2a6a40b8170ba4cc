// SPDX-License-Identifier: Apache-2.0
/*
 * knn_load.c - small programs to be told apart by their system calls: six that do their work and one that misbehaves.
 *
 *     knn_load KIND SEED CALLS PAUSE_US
 *
 * serve, pipes, timers, walk, memory and log are what they are called. misbehave does what an intruder does when it looks
 * around and takes things along, to itself alone: it counts who runs, tries ports of this machine's loopback that nobody
 * listens on, asks for rights it may not get, reads its own memory as another's, and rewrites files of its own folder.
 * About CALLS calls, with a pause after every 20; the mix varies with SEED.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static uint64_t word;
static char folder[64];

static unsigned int dice(unsigned int sides)
{
	word = word * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned int)(word >> 33) % sides;
}

static const char *file_name(unsigned int n)
{
	static char name[96];

	snprintf(name, sizeof(name), "%s/%u", folder, n);
	return name;
}

static unsigned int serve(void)
{
	int pair[2], file = open(file_name(dice(4)), O_RDWR | O_CREAT, 0600);
	unsigned int calls = 6, n = 1 + dice(4);
	char text[512] = "";
	struct stat st;
	struct pollfd poll_fd;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || fstat(file, &st))
		exit(1);
	poll_fd = (struct pollfd){ pair[0], POLLIN, 0 };
	for (unsigned int i = 0; i < n; i++, calls += 5) {
		if (pwrite(file, text, sizeof(text), 0) < 0 || pread(file, text, 64, 0) < 0 ||
			send(pair[1], text, 64, 0) < 0 || poll(&poll_fd, 1, 0) < 0 ||
			recv(pair[0], text, 64, 0) < 0)
			exit(1);
	}
	close(pair[0]);
	close(pair[1]);
	close(file);
	return calls;
}

static unsigned int pipes(void)
{
	static int ends[2] = { -1 };
	unsigned int n = 8 + dice(8);
	char byte = 0;

	if (ends[0] < 0 && pipe(ends))
		exit(1);
	for (unsigned int i = 0; i < n; i++)
		if (write(ends[1], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1)
			exit(1);
	return 2 * n;
}

static unsigned int timers(void)
{
	static int fd = -1;
	struct itimerspec soon = { .it_value = { 0, 1000 } };
	struct timespec now;
	uint64_t ticks;

	if (fd < 0)
		fd = timerfd_create(CLOCK_MONOTONIC, 0);
	for (unsigned int i = 0; i < 4; i++) {
		timerfd_settime(fd, 0, &soon, NULL);
		if (read(fd, &ticks, sizeof(ticks)) < 0)
			exit(1);
		syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
	}
	return 12 + dice(2);
}

static unsigned int walk(void)
{
	DIR *dir = opendir("/usr/include");
	struct dirent *entry;
	unsigned int calls = 5;
	struct stat st;

	while (dir && calls < 20 + dice(6) && (entry = readdir(dir)))
		calls += (unsigned int)(fstatat(dirfd(dir), entry->d_name, &st, 0) == 0);
	if (dir)
		closedir(dir);
	return calls;
}

static unsigned int memory(void)
{
	size_t bytes = (1 + dice(4)) << 16;
	char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		exit(1);
	at[0] = 1;
	madvise(at, bytes, MADV_DONTNEED);
	mprotect(at, 4096, PROT_READ);
	munmap(at, bytes);
	if (sbrk(4096) == (void *)-1 || sbrk(-4096) == (void *)-1)
		exit(1);
	return 6;
}

static unsigned int log_lines(void)
{
	int file = open(file_name(9), O_WRONLY | O_CREAT | O_APPEND, 0600);
	unsigned int n = 5 + dice(10);
	struct timespec now;

	for (unsigned int i = 0; i < n; i++) {
		syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
		if (write(file, "a line\n", 7) != 7)
			exit(1);
	}
	if (ftruncate(file, 0) || lseek(file, 0, SEEK_SET) < 0)
		exit(1);
	close(file);
	return 2 * n + 4;
}

static unsigned int misbehave(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	unsigned int calls = 0, n = 2 + dice(4);
	char text[64], other[64];
	struct iovec mine = { text, sizeof(text) }, its = { other, sizeof(other) };
	int fd;

	memset(other, 0, sizeof(other));
	for (unsigned int i = 0; i < n; i++, calls += 3) {
		/* ports that nobody listens on; and nothing is said should somebody */
		to.sin_port = htons((uint16_t)(1 + dice(8)));
		fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
			shutdown(fd, SHUT_RDWR);
		close(fd);
	}
	for (unsigned int i = 0; i < n; i++, calls += 2) {
		kill(getpid(), 0);
		snprintf(text, sizeof(text), "/proc/%u/mem", 1 + dice(300));
		access(text, R_OK);
	}
	if (process_vm_readv(getpid(), &mine, 1, &its, 1, 0) < 0)
		errno = 0;
	ptrace(PTRACE_PEEKDATA, getpid(), NULL, NULL);
	for (unsigned int i = 0; i < n; i++, calls += 6) {
		fd = open(file_name(i), O_RDWR | O_CREAT, 0600);
		if (fd < 0 || read(fd, text, sizeof(text)) < 0 || write(fd, other, 32) < 0)
			exit(1);
		close(fd);
		snprintf(text, sizeof(text), "%.50s.gone", file_name(i));
		if (rename(file_name(i), text) || unlink(text))
			exit(1);
	}
	return calls + 4;
}

static const struct {
	const char *name;
	unsigned int (*work)(void);
} kinds[] = { { "serve", serve }, { "pipes", pipes }, { "timers", timers }, { "walk", walk },
	{ "memory", memory }, { "log", log_lines }, { "misbehave", misbehave } };

static void clean(void)
{
	for (unsigned int i = 0; i < 10; i++)
		unlink(file_name(i));
	rmdir(folder);
}

static void on_term(int signo)
{
	(void)signo;
	clean();
	_exit(0);
}

int main(int argc, char **argv)
{
	unsigned int kind = 0, since_pause = 0;
	long calls, pause_us;

	if (argc != 5) {
		fprintf(stderr, "usage: knn_load KIND SEED CALLS PAUSE_US\n");
		return 2;
	}
	while (kind < sizeof(kinds) / sizeof(kinds[0]) && strcmp(kinds[kind].name, argv[1]) != 0)
		kind++;
	if (kind == sizeof(kinds) / sizeof(kinds[0])) {
		fprintf(stderr, "knn_load: no kind is called %s\n", argv[1]);
		return 2;
	}
	word = strtoull(argv[2], NULL, 10) * 2654435761u + 12345;
	calls = strtol(argv[3], NULL, 10);
	pause_us = strtol(argv[4], NULL, 10);
	strcpy(folder, "/tmp/knn_load.XXXXXX");
	if (!mkdtemp(folder))
		return 1;
	signal(SIGTERM, on_term);
	while (calls > 0) {
		unsigned int made = kinds[kind].work();

		calls -= made;
		since_pause += made;
		if (since_pause >= 20 && pause_us) {
			usleep((useconds_t)pause_us);
			since_pause = 0;
			calls--;
		}
	}
	clean();
	return 0;
}
