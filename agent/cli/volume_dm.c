/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_dm.c - runs dmsetup and modprobe; see volume_dm.h. Nothing passes through a shell.
 */
#include "agent/cli/volume_dm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Where the programs are that only root has in its path. */
static char *const environment[] = { "PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin",
	"LC_ALL=C", NULL };

static int spawn(const char *const argv[], int out, pid_t *pid)
{
	static const char *const folders[] = { "/usr/sbin", "/sbin", "/usr/bin", "/bin" };
	posix_spawn_file_actions_t actions;
	char path[128];
	int err = posix_spawn_file_actions_init(&actions);

	if (err)
		return err;
	err = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	err = err ? err : posix_spawn_file_actions_adddup2(&actions, out, 1);
	err = err ? err : posix_spawn_file_actions_adddup2(&actions, out, 2);
	if (!err)
		err = ENOENT;
	for (size_t i = 0; err == ENOENT && i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folders[i], argv[0]);
		err = posix_spawn(pid, path, &actions, NULL, (char *const *)argv, environment);
	}
	posix_spawn_file_actions_destroy(&actions);
	return err;
}

static long left_ms(const struct timespec *until)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (until->tv_sec - now.tv_sec) * 1000 + (until->tv_nsec - now.tv_nsec) / 1000000;
}

/* Read until the other end is closed. False: the time is over. */
static bool collect(int fd, const struct timespec *until, char *out, size_t len)
{
	size_t n = 0;
	bool over = false;

	while (!over) {
		struct pollfd ready = { .fd = fd, .events = POLLIN };
		char rest[256];
		long left = left_ms(until);
		ssize_t got;

		if (left <= 0 || poll(&ready, 1, (int)left) == 0)
			break;
		got = n + 1 < len ? read(fd, out + n, len - 1 - n) : read(fd, rest, sizeof(rest));
		over = got == 0 || (got < 0 && errno != EINTR);
		if (got > 0 && n + 1 < len)
			n += (size_t)got;
	}
	while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == ' '))
		n--;
	out[n] = '\0';
	return over;
}

int volume_run_for(const char *const argv[], char *out, size_t len, unsigned int wait_ms)
{
	struct timespec until;
	int fds[2], err, status = 0;
	bool over;
	pid_t pid, gone = 0;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	err = spawn(argv, fds[1], &pid);
	close(fds[1]);
	if (err) {
		close(fds[0]);
		snprintf(out, len, "%s cannot be run: %s", argv[0], strerror(err));
		return -err;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += wait_ms % 1000 * 1000000L;
	over = collect(fds[0], &until, out, len);
	close(fds[0]);
	/* What printed its last may take a moment to end. */
	while (over && (gone = waitpid(pid, &status, WNOHANG)) == 0 && left_ms(&until) > 0)
		usleep(1000);
	if (gone < 0)
		return -errno;
	if (gone == 0) {
		snprintf(out, len,
			"%s has not answered in %u s, so a device of it may hang; it is left to go "
			"on "
			"as process %d",
			argv[0], wait_ms / 1000, (int)pid);
		return -ETIMEDOUT;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

int volume_run(const char *const argv[], char *out, size_t len)
{
	return volume_run_for(argv, out, len, VOLUME_WAIT_MS);
}

static bool has_target(void)
{
	char text[4096];

	return volume_run((const char *const[]){ "dmsetup", "targets", NULL }, text,
		       sizeof(text)) == 0 &&
	       strstr(text, "semantos ") != NULL;
}

bool volume_target_ready(char *why, size_t len)
{
	char text[300];

	if (has_target())
		return true;
	if (volume_run((const char *const[]){ "modprobe", "dm-semantos-replica", NULL }, text,
		    sizeof(text)) == 0 &&
		has_target())
		return true;
	snprintf(why, len,
		"The kernel cannot make replica volumes: dm-semantos-replica.ko is not loaded and "
		"could not be (%.200s)",
		text[0] ? text : "dmsetup does not list its target");
	return false;
}

bool volume_name_ok(const char *name)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.+";
	size_t n = strlen(name);

	return n >= 1 && n <= 60 && name[0] != '.' && name[0] != '-' && strspn(name, allowed) == n;
}

bool volume_exists(const char *name)
{
	char text[2048];

	return volume_run((const char *const[]){ "dmsetup", "status", "--target", "semantos", name,
				  NULL },
		       text, sizeof(text)) == 0 &&
	       strstr(text, " semantos ") != NULL;
}
