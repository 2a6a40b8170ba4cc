/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.c - the facts about kernel, boot, mounts, disks and a running agent.
 *
 * Reads files below one root and nothing else; must never load, mount, lock or connect. What a kernel was built with
 * is told by names in its BTF: config files may be absent, BTF is what the agent needs anyway.
 */
#include "agent/cli/probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "agent/core/disk.h"

#define SECURE_BOOT "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
#define BTF_MAX_BYTES (64u << 20)
#define BTF_MAGIC 0xeb9f
#define CAP_PERFMON_BIT 38
#define CAP_BPF_BIT 39
#define CAP_SYS_ADMIN_BIT 21

/* At most size - 1 bytes of <root>/<path>, ended by NUL. The length, or -errno. */
static ssize_t slurp(const char *root, const char *path, char *buf, size_t size)
{
	char full[PATH_MAX];
	size_t have = 0;
	ssize_t n = 0;
	int fd;

	snprintf(full, sizeof(full), "%.1000s/%.3000s", root, path);
	fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	while (have < size - 1) {
		n = read(fd, buf + have, size - 1 - have);
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	if (n < 0)
		n = -errno;
	buf[have] = '\0';
	close(fd);
	return n < 0 ? n : (ssize_t)have;
}

static bool slurp_line(const char *root, const char *path, char *buf, size_t size)
{
	ssize_t n = slurp(root, path, buf, size);

	if (n < 0) {
		buf[0] = '\0';
		return false;
	}
	buf[strcspn(buf, "\n")] = '\0';
	return true;
}

static bool exists(const char *root, const char *path)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%.1000s/%.3000s", root, path);
	return access(full, F_OK) == 0;
}

static void look_at_kernel(struct probe *probe, const char *root)
{
	slurp_line(root, "proc/sys/kernel/osrelease", probe->release, sizeof(probe->release));
	if (sscanf(probe->release, "%u.%u", &probe->major, &probe->minor) != 2)
		return; /* unknown: not called too old */
	probe->kernel_too_old =
		probe->major < PROBE_KERNEL_MAJOR ||
		(probe->major == PROBE_KERNEL_MAJOR && probe->minor < PROBE_KERNEL_MINOR);
}

/* Is there a name in the string section? Names there are whole and end in NUL. */
static enum probe_known named(const char *btf, size_t n, const char *name)
{
	char whole[64];
	size_t len = strlen(name);

	whole[0] = '\0';
	memcpy(whole + 1, name, len + 1);
	return memmem(btf, n, whole, len + 2) ? PROBE_YES : PROBE_NO;
}

static int look_at_btf(struct probe *probe, const char *root)
{
	char *btf = malloc(BTF_MAX_BYTES); /* touched only as far as the file goes */
	uint16_t magic = 0;
	ssize_t n;

	if (!btf)
		return -ENOMEM;
	n = slurp(root, "sys/kernel/btf/vmlinux", btf, BTF_MAX_BYTES);
	if (n >= 2)
		memcpy(&magic, btf, sizeof(magic));
	if (magic == BTF_MAGIC) {
		probe->btf = PROBE_YES;
		probe->block_hooks = named(btf, (size_t)n, "btf_trace_block_rq_issue");
		probe->sched_ext_config = named(btf, (size_t)n, "sched_ext_ops");
		probe->migrate_hook = named(btf, (size_t)n, "can_migrate_task");
		/* this struct exists only where modules bring BTF of their own */
		probe->module_btf = named(btf, (size_t)n, "btf_module");
	} else if (n == -EACCES) {
		probe->btf = PROBE_UNKNOWN;
	}
	free(btf);
	return 0;
}

static void look_at_mounts(struct probe *probe, const char *root)
{
	char *mounts = malloc(1 << 20), *line, *save = NULL;

	probe->bpffs = PROBE_UNKNOWN;
	if (!mounts || slurp(root, "proc/mounts", mounts, 1 << 20) < 0)
		goto out;
	probe->bpffs = PROBE_NO;
	for (line = strtok_r(mounts, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char where[256], type[64];

		if (sscanf(line, "%*s %255s %63s", where, type) != 2)
			continue;
		if (strcmp(type, "bpf") == 0 && strcmp(where, "/sys/fs/bpf") == 0)
			probe->bpffs = PROBE_YES;
		if (strcmp(type, "cgroup") == 0)
			probe->cgroup = 1;
		if (strcmp(type, "cgroup2") == 0 && strcmp(where, "/sys/fs/cgroup") == 0 &&
			probe->cgroup == 0)
			probe->cgroup = 2;
	}
out:
	free(mounts);
}

static void look_at_boot(struct probe *probe, const char *root)
{
	char text[128] = "", *open_at, *close_at;
	ssize_t n;

	probe->efi = exists(root, "sys/firmware/efi");
	n = slurp(root, SECURE_BOOT, text, sizeof(text));
	if (n == 5) /* four bytes of attributes, then the value */
		probe->secure_boot = text[4] == 1 ? PROBE_YES : PROBE_NO;
	else if (probe->efi)
		probe->secure_boot =
			PROBE_UNKNOWN; /* efivarfs is not mounted, or not ours to read */

	if (!slurp_line(root, "sys/kernel/security/lockdown", text, sizeof(text)))
		return;
	open_at = strchr(text, '[');
	close_at = open_at ? strchr(open_at, ']') : NULL;
	if (close_at) {
		*close_at = '\0';
		snprintf(probe->lockdown, sizeof(probe->lockdown), "%.31s", open_at + 1);
	}
}

static bool find_module(const char *root, const char *folder, unsigned int depth)
{
	static const char *const suffixes[] = { "", ".xz", ".zst", ".gz" };
	char path[PATH_MAX];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		snprintf(path, sizeof(path), "%.2000s/semantos.ko%s", folder, suffixes[i]);
		if (exists(root, path))
			return true;
	}
	snprintf(path, sizeof(path), "%.1000s/%.3000s", root, folder);
	dir = depth > 0 ? opendir(path) : NULL;
	while (dir && !found && (entry = readdir(dir))) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%.2000s/%.255s", folder, entry->d_name);
		found = find_module(root, path, depth - 1);
	}
	if (dir)
		closedir(dir);
	return found;
}

static void look_at_modules(struct probe *probe, const char *root)
{
	static const char *const places[] = { "updates", "extra", "semantos" };
	char text[64], folder[PATH_MAX];

	probe->kmod_loaded = exists(root, "sys/module/semantos");
	slurp_line(root, "sys/module/semantos/parameters/holder", probe->kmod_holder,
		sizeof(probe->kmod_holder));
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(folder, sizeof(folder), "lib/modules/%s/%s", probe->release, places[i]);
		probe->kmod_present |= find_module(root, folder, 2);
	}
	probe->modules = PROBE_NO;
	if (!exists(root, "proc/modules"))
		snprintf(probe->modules_why, PROBE_TEXT, "the kernel was built without modules");
	else if (slurp_line(root, "proc/sys/kernel/modules_disabled", text, sizeof(text)) &&
		 text[0] == '1')
		snprintf(probe->modules_why, PROBE_TEXT,
			"kernel.modules_disabled is 1 until the next boot");
	else if (probe->lockdown[0] && strcmp(probe->lockdown, "none") != 0)
		snprintf(probe->modules_why, PROBE_TEXT, "lockdown (%s) wants a signed module%s",
			probe->lockdown,
			probe->secure_boot == PROBE_YES ? "; Secure Boot is on" : "");
	else if (slurp_line(root, "sys/module/module/parameters/sig_enforce", text, sizeof(text)) &&
		 text[0] == 'Y')
		snprintf(probe->modules_why, PROBE_TEXT, "the kernel wants a signed module");
	else
		probe->modules = PROBE_YES;
}

static void look_at_sched_ext(struct probe *probe, const char *root)
{
	char state[32];

	if (!slurp_line(root, "sys/kernel/sched_ext/state", state, sizeof(state)) ||
		strcmp(state, "disabled") == 0)
		return;
	if (!slurp_line(root, "sys/kernel/sched_ext/root/ops", probe->scheduler,
		    sizeof(probe->scheduler)) ||
		!probe->scheduler[0])
		snprintf(probe->scheduler, sizeof(probe->scheduler), "one without a name");
}

static void look_at_self(struct probe *probe, const char *root)
{
	static const uint64_t admin = 1ULL << CAP_SYS_ADMIN_BIT;
	static const uint64_t tracing = 1ULL << CAP_BPF_BIT | 1ULL << CAP_PERFMON_BIT;
	char status[8192], *at;
	unsigned long long effective;

	probe->is_root = geteuid() == 0;
	probe->bpf_capable = PROBE_UNKNOWN;
	if (slurp(root, "proc/self/status", status, sizeof(status)) < 0)
		return;
	at = strstr(status, "CapEff:");
	if (at && sscanf(at + 7, "%llx", &effective) == 1)
		probe->bpf_capable = (effective & admin) || (effective & tracing) == tracing
					     ? PROBE_YES
					     : PROBE_NO;
}

/*
 * The agent holds flock() on its lock file: seen in /proc/locks. Taking the lock to try would be shorter, and could
 * refuse an agent that starts at that moment.
 */
static void look_for_agent(struct probe *probe, const char *root)
{
	char path[PATH_MAX], text[32], want[64], *locks = malloc(1 << 20), *line, *save = NULL;
	struct stat st;

	snprintf(path, sizeof(path), "%s/run/semantos/agent.lock", root);
	if (!locks || stat(path, &st) < 0 || slurp(root, "proc/locks", locks, 1 << 20) < 0)
		goto out;
	snprintf(want, sizeof(want), " %02x:%02x:%llu ", major(st.st_dev), minor(st.st_dev),
		(unsigned long long)st.st_ino);
	for (line = strtok_r(locks, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (strstr(line, "FLOCK") && !strstr(line, "->") && strstr(line, want))
			probe->agent_running = true;
	}
	if (probe->agent_running && slurp_line(root, "run/semantos/agent.lock", text, sizeof(text)))
		probe->agent_pid = (uint32_t)strtoul(text, NULL, 10);
out:
	free(locks);
}

static void scheduler_of(const char *root, struct probe_disk *disk)
{
	char path[128], text[256], *open_at, *close_at;

	snprintf(path, sizeof(path), "sys/block/%s/queue/scheduler", disk->name);
	if (!slurp_line(root, path, text, sizeof(text)))
		return;
	open_at = strchr(text, '[');
	close_at = open_at ? strchr(open_at, ']') : NULL;
	if (close_at)
		*close_at = '\0';
	snprintf(disk->scheduler, sizeof(disk->scheduler), "%.31s", close_at ? open_at + 1 : text);
}

static int look_at_disks(struct probe *probe, const char *root)
{
	struct disk *disks = calloc(DISK_MAX, sizeof(*disks));
	char sysfs[PATH_MAX];
	int n;

	if (!disks)
		return -ENOMEM;
	snprintf(sysfs, sizeof(sysfs), "%s/sys", root);
	n = disk_scan(sysfs, disks, DISK_MAX);
	for (int i = 0; i < n && probe->n_disks < PROBE_MAX_DISKS; i++) {
		struct probe_disk *disk = &probe->disk[probe->n_disks];

		if (!disks[i].physical)
			continue;
		snprintf(disk->name, sizeof(disk->name), "%s", disks[i].name);
		disk->blk_mq = disks[i].supported;
		snprintf(disk->note, sizeof(disk->note), "%s", disks[i].note);
		scheduler_of(root, disk);
		probe->n_disks++;
	}
	free(disks);
	return 0;
}

const char *probe_default_policies(const char *root, char *buf, size_t len)
{
	static const char installed[] = "/usr/lib/semantos/policies";
	char full[PATH_MAX], *slash;
	ssize_t n;

	snprintf(full, sizeof(full), "%s%s", root, installed);
	if (access(full, F_OK) == 0 || root[0])
		return installed;
	/* run from the tree it was built in: the policies lie beside the program */
	n = readlink("/proc/self/exe", buf, len - 16);
	if (n <= 0)
		return installed;
	buf[n] = '\0';
	slash = strrchr(buf, '/');
	strcpy(slash ? slash : buf, "/policies");
	return access(buf, F_OK) == 0 ? buf : installed;
}

const char *probe_capability_name(enum probe_capability capability)
{
	static const char *const names[PROBE_CAPABILITIES] = { "observe", "actuate", "sched_ext",
		"kmod" };

	return capability < PROBE_CAPABILITIES ? names[capability] : "";
}

int probe_run(const struct probe_options *options, struct probe *probe)
{
	const char *root = options->root ? options->root : "";
	char policies[PATH_MAX];
	int err;

	memset(probe, 0, sizeof(*probe));
	look_at_kernel(probe, root);
	err = look_at_btf(probe, root);
	if (err)
		return err;
	look_at_mounts(probe, root);
	look_at_boot(probe, root);
	look_at_modules(probe, root);
	look_at_sched_ext(probe, root);
	look_at_self(probe, root);
	look_for_agent(probe, root);
	err = look_at_disks(probe, root);
	if (!err)
		probe_policies(probe, root,
			options->policy_path
				? options->policy_path
				: probe_default_policies(root, policies, sizeof(policies)));
	return err;
}
