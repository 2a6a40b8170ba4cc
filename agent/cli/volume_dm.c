/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_dm.c - runs dmsetup and modprobe; see volume_dm.h. Nothing passes through a shell.
 */
#include "agent/cli/volume_dm.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
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

int volume_run(const char *const argv[], char *out, size_t len)
{
	size_t n = 0;
	int fds[2], err, status;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	err = spawn(argv, fds[1], &pid);
	close(fds[1]);
	if (err) {
		close(fds[0]);
		snprintf(out, len, "%s cannot be run: %s", argv[0], strerror(err));
		return -err;
	}
	for (;;) {
		char rest[256];
		ssize_t got = n + 1 < len ? read(fds[0], out + n, len - 1 - n)
					  : read(fds[0], rest, sizeof(rest));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		if (n + 1 < len)
			n += (size_t)got;
	}
	close(fds[0]);
	while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == ' '))
		n--;
	out[n] = '\0';
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
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
