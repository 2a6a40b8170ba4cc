/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core.c - starts what the agent needs, runs the loop, takes everything down again.
 *
 * The lease is renewed from the very loop that makes the decisions: a loop that hangs stops being obeyed.
 */
#include "agent/core/core_internal.h"

#include <errno.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "agent/util/log.h"

#define RESCAN_DELAY_NS 200000000ULL /* a disk that appears sends several events */

static void refuse(enum exit_code *code, enum exit_code value, char *error, size_t error_len,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void refuse(enum exit_code *code, enum exit_code value, char *error, size_t error_len,
	const char *fmt, ...)
{
	va_list args;

	*code = value;
	va_start(args, fmt);
	vsnprintf(error, error_len, fmt, args);
	va_end(args);
}

static bool kernel_fits(enum exit_code *code, char *error, size_t error_len)
{
	struct utsname name;
	unsigned int major = 0, minor = 0;

	uname(&name);
	sscanf(name.release, "%u.%u", &major, &minor);
	if (major < 6 || (major == 6 && minor < 1)) {
		refuse(code, EXIT_CODE_KERNEL, error, error_len,
			"Kernel %s is too old: semantos needs Linux 6.1 or newer.", name.release);
		return false;
	}
	if (geteuid() != 0) {
		refuse(code, EXIT_CODE_PERMISSION, error, error_len,
			"The agent loads BPF programs and must be run as root: sudo semantos-agent "
			"...");
		return false;
	}
	if (access("/sys/kernel/btf/vmlinux", R_OK)) {
		refuse(code, EXIT_CODE_KERNEL, error, error_len,
			"Kernel %s carries no BTF (/sys/kernel/btf/vmlinux is missing); use one "
			"built with CONFIG_DEBUG_INFO_BTF=y, as Debian's are.",
			name.release);
		return false;
	}
	return true;
}

static int make_folder(const char *path, mode_t mode)
{
	char part[PATH_MAX];

	snprintf(part, sizeof(part), "%s", path);
	for (char *at = part + 1; *at; at++) {
		if (*at != '/')
			continue;
		*at = 0;
		if (mkdir(part, 0755) && errno != EEXIST)
			return -errno;
		*at = '/';
	}
	return mkdir(part, mode) && errno != EEXIST ? -errno : 0;
}

static bool take_lock(struct core *core, enum exit_code *code, char *error, size_t error_len)
{
	char path[PATH_MAX], text[32] = "";
	int err = make_folder(core->options.run_dir, 0755);

	if (!err)
		err = make_folder(core->options.state_dir, 0750);
	if (!err && access(core->options.state_dir, W_OK))
		err = -errno;
	if (err) {
		refuse(code, EXIT_CODE_STATE, error, error_len,
			"%s and %s must be writable folders: %s.", core->options.run_dir,
			core->options.state_dir, strerror(-err));
		return false;
	}
	snprintf(path, sizeof(path), "%.*s/agent.lock", PATH_MAX - 16, core->options.run_dir);
	core->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (core->lock_fd < 0) {
		refuse(code, EXIT_CODE_STATE, error, error_len, "%s cannot be opened: %s.", path,
			strerror(errno));
		return false;
	}
	if (flock(core->lock_fd, LOCK_EX | LOCK_NB)) {
		ssize_t n = read(core->lock_fd, text, sizeof(text) - 1);

		text[n > 0 ? n : 0] = 0;
		text[strcspn(text, "\n")] = 0;
		refuse(code, EXIT_CODE_BUSY, error, error_len,
			"Another agent runs already (process %s); semantosctl speaks with it, or "
			"stop it first.",
			text[0] ? text : "unknown");
		return false;
	}
	snprintf(text, sizeof(text), "%d\n", getpid());
	if (ftruncate(core->lock_fd, 0) || pwrite(core->lock_fd, text, strlen(text), 0) < 0)
		log_warn("The process number could not be written to %s: %s.", path,
			strerror(errno));
	return true;
}

/* The lease object lies beside the policies: <policies>/../bpf/lib/lease.bpf.o */
static bool find_lease(const struct core *core, char *directory)
{
	for (const char *at = core->options.policy_path; *at;) {
		size_t n = strcspn(at, ":");
		char file[PATH_MAX + 16];

		if (n && snprintf(directory, PATH_MAX, "%.*s/../bpf/lib", (int)n, at) < PATH_MAX) {
			snprintf(file, sizeof(file), "%s/lease.bpf.o", directory);
			if (access(file, R_OK) == 0)
				return true;
		}
		at += n + (at[n] == ':');
	}
	snprintf(directory, PATH_MAX, "/usr/lib/semantos/bpf/lib");
	return false;
}

static void renew_lease(struct core *core)
{
	int err = bpf_lease_renew(&core->lease);

	if (err && !core->lease_complained)
		log_error("The lease cannot be renewed (%s), so every decision falls to the "
			  "kernel's default.",
			strerror(-err));
	core->lease_complained = err != 0;
}

/* While no record comes no verdict can be fresh: the lease rests, and an idle agent wakes once a second. */
static void on_lease(void *ctx)
{
	struct core *core = ctx;
	bool needed = false;

	for (uint32_t i = 0; i < core->n_policies; i++)
		needed |= policy_needs_lease(core->policy[i]);
	if (!needed && core->quiet_renewals++ >= CORE_LEASE_REST) {
		core->lease_running = false;
		loop_timer_set(core->lease_timer, 0);
		return;
	}
	renew_lease(core);
}

void core_active(void *ctx)
{
	struct core *core = ctx;

	core->quiet_renewals = 0;
	if (core->lease_running)
		return;
	core->lease_running = true;
	renew_lease(core);
	loop_timer_set(core->lease_timer, CORE_LEASE_RENEW_NS);
}

static void on_tick(void *ctx)
{
	struct core *core = ctx;

	/* Run-time statistics cost every BPF program of the machine some ns: sampled, and scoped by the fd. */
	if (core->ticks % CORE_STATS_EVERY_S == CORE_STATS_FIRST_S) {
		core->stats_fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
	} else if (core->stats_fd >= 0) {
		close(core->stats_fd);
		core->stats_fd = -1;
	}
	core->ticks++;
	for (uint32_t i = 0; i < core->n_policies; i++)
		policy_tick(core->policy[i]);
	guard_tick(core->guard);
	core_module_tick(core);
	core_sched_tick(core);
}

static void on_rescan(void *ctx)
{
	struct core *core = ctx;
	int n = disk_scan("/sys", core->disks, DISK_MAX);

	loop_timer_set(core->rescan_timer, 0);
	if (n < 0) {
		log_warn("The disks cannot be listed: %s.", strerror(-n));
		return;
	}
	core->n_disks = (size_t)n;
	for (uint32_t i = 0; i < core->n_policies; i++)
		policy_sync_disks(core->policy[i], core->disks, core->n_disks);
}

static void on_uevent(void *ctx)
{
	struct core *core = ctx;
	bool block = false;
	char text[8192];
	ssize_t n;

	while ((n = recv(core->uevent_fd, text, sizeof(text) - 1, MSG_DONTWAIT)) > 0 ||
		(n < 0 && errno == ENOBUFS)) {
		/* Events were lost, or one of ours came: look for ourselves either way. */
		if (n < 0) {
			block = true;
			continue;
		}
		text[n] = 0;
		for (char *at = text; at < text + n; at += strlen(at) + 1)
			block |= strcmp(at, "SUBSYSTEM=block") == 0;
	}
	if (block)
		loop_timer_set(core->rescan_timer, RESCAN_DELAY_NS);
}

static void on_signal(void *ctx)
{
	struct core *core = ctx;
	struct signalfd_siginfo info;

	if (read(core->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	log_info("Ending, because of signal %s%s.", strsignal((int)info.ssi_signo),
		info.ssi_signo == SIGUSR2 ? "; changes in force are left to the next agent" : "");
	core->upgrade |= info.ssi_signo == SIGUSR2;
	loop_stop(core->loop);
}

static int open_uevents(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		return -1;
	}
	return fd;
}

static int loop_sources(struct core *core)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR2);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	core->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	core->uevent_fd = open_uevents();
	if (core->signal_fd < 0)
		return -errno;
	core->signal_source = loop_add_fd(core->loop, core->signal_fd, on_signal, core);
	core->lease_timer = loop_add_timer(core->loop, CORE_LEASE_RENEW_NS, on_lease, core);
	core->tick_timer = loop_add_timer(core->loop, 1000000000ULL, on_tick, core);
	core->rescan_timer = loop_add_timer(core->loop, 0, on_rescan, core);
	if (core->uevent_fd >= 0)
		core->uevent_source = loop_add_fd(core->loop, core->uevent_fd, on_uevent, core);
	else
		log_warn("Kernel events of disks cannot be heard; disks added later are not "
			 "followed.");
	return core->signal_source && core->lease_timer && core->tick_timer && core->rescan_timer
		       ? 0
		       : -ENOMEM;
}

static bool start_guard(struct core *core)
{
	char dir[PATH_MAX];
	const struct guard_options options = { .dir = dir,
		.root = core->options.safety_root,
		.keeper = core->options.keeper,
		.loop = core->loop,
		.eject = core_take_down,
		.unrecorded = core_unrecorded,
		.ctx = core };

	snprintf(dir, sizeof(dir), "%.*s/safety", PATH_MAX - 16, core->options.state_dir);
	core->guard = guard_new(&options);
	return core->guard != NULL;
}

static bool start_tuner(struct core *core)
{
	char file[PATH_MAX];
	const struct tuner_options options = {
		.ops = tune_ops(core->guard), .root = core->options.safety_root, .file = file
	};

	snprintf(file, sizeof(file), "%.*s/tuner.json", PATH_MAX - 16, core->options.state_dir);
	core->tuner = tuner_new(&options);
	return core->tuner != NULL;
}

void core_telemetry(struct core *core, struct telemetry *telemetry)
{
	tuner_telemetry(core->tuner, telemetry);
}

struct core *core_new(
	const struct core_options *options, enum exit_code *code, char *error, size_t error_len)
{
	struct core *core;
	char directory[PATH_MAX];
	int err;

	*code = EXIT_CODE_FAILED;
	if (!kernel_fits(code, error, error_len))
		return NULL;
	core = calloc(1, sizeof(*core));
	if (core)
		core->disks = calloc(DISK_MAX, sizeof(*core->disks));
	if (!core || !core->disks) {
		free(core);
		refuse(code, EXIT_CODE_FAILED, error, error_len, "Out of memory.");
		return NULL;
	}
	core->options = *options;
	if (!core->options.policy_path)
		core->options.policy_path = "/usr/lib/semantos/policies";
	if (!core->options.state_dir)
		core->options.state_dir = "/var/lib/semantos";
	if (!core->options.run_dir)
		core->options.run_dir = "/run/semantos";
	if (!core->options.bpffs_dir)
		core->options.bpffs_dir = "/sys/fs/bpf/semantos";
	core->lock_fd = core->signal_fd = core->uevent_fd = core->stats_fd = -1;
	pthread_mutex_init(&core->change, NULL);
	clock_gettime(CLOCK_MONOTONIC, &core->since);
	if (!take_lock(core, code, error, error_len))
		goto out_free;
	err = bpf_filesystem_ready(core->options.bpffs_dir, error, error_len);
	if (err) {
		*code = EXIT_CODE_KERNEL;
		goto out_free;
	}
	bpf_remove_pins(core->options.bpffs_dir);
	find_lease(core, directory);
	err = bpf_lease_open(&core->lease, directory, core->options.bpffs_dir, error, error_len);
	if (err) {
		*code = err == -EPERM	 ? EXIT_CODE_PERMISSION
			: err == -ENOENT ? EXIT_CODE_REFUSED
					 : EXIT_CODE_KERNEL;
		goto out_free;
	}
	core->loop = loop_new();
	core->trainer = core->loop ? trainer_new(core->loop) : NULL;
	if (!core->trainer || loop_sources(core)) {
		refuse(code, EXIT_CODE_FAILED, error, error_len,
			"The event loop cannot be set up: %s.", strerror(errno));
		goto out_free;
	}
	core->lease_running = true;
	err = bpf_lease_renew(&core->lease);
	if (err) {
		refuse(code, EXIT_CODE_KERNEL, error, error_len,
			"The kernel does not run the lease program: %s.", strerror(-err));
		goto out_free;
	}
	if (!start_guard(core) || !start_tuner(core)) {
		refuse(code, EXIT_CODE_FAILED, error, error_len, "Out of memory or threads.");
		goto out_free;
	}
	on_rescan(core);
	return core;

out_free:
	core_free(core);
	return NULL;
}

int core_run(struct core *core)
{
	int err = loop_run(core->loop);

	/* what is being tried is undone even before an upgrade, which leaves the rest in force */
	tuner_end(core->tuner);
	/* At once: the heartbeat has ended with the loop, and a silent agent's changes are undone. */
	guard_end(core->guard, core->upgrade ? SAFETY_UPGRADE : SAFETY_STOP);
	core_module_end(core);
	core_sched_end(core);
	/* The loop has ended: this thread alone touches the policies now, once a change under way is through. */
	pthread_mutex_lock(&core->change);
	while (core->n_policies) {
		struct policy *policy = core->policy[--core->n_policies];

		policy_detach(policy);
		policy_leave(policy);
		core->unaccounted += policy_audit(policy);
		log_info("%s: detached, because the agent ends; the kernel's default decides.",
			policy_name(policy));
		policy_close(policy);
	}
	pthread_mutex_unlock(&core->change);
	bpf_lease_close(&core->lease);
	bpf_remove_pins(core->options.bpffs_dir);
	return err;
}

void core_stop(struct core *core)
{
	loop_stop(core->loop);
}

void core_stop_for_upgrade(struct core *core)
{
	core->upgrade = true;
	loop_stop(core->loop);
}

void core_free(struct core *core)
{
	if (!core)
		return;
	tuner_free(core->tuner);
	guard_free(core->guard);
	trainer_free(core->trainer);
	loop_free(core->loop);
	if (core->lease.object) {
		bpf_lease_close(&core->lease);
		bpf_remove_pins(core->options.bpffs_dir);
	}
	if (core->signal_fd >= 0)
		close(core->signal_fd);
	if (core->uevent_fd >= 0)
		close(core->uevent_fd);
	if (core->stats_fd >= 0)
		close(core->stats_fd);
	if (core->lock_fd >= 0)
		close(core->lock_fd);
	pthread_mutex_destroy(&core->change);
	free(core->disks);
	free(core);
}

struct policy *core_policy(struct core *core, const char *name)
{
	for (uint32_t i = 0; i < core->n_policies; i++)
		if (strcmp(policy_name(core->policy[i]), name) == 0)
			return core->policy[i];
	return NULL;
}
