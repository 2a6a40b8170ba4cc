/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe_policies.c - policy x capability: from the facts of probe.c to "yes" or the one thing that is missing.
 *
 * Of several missing things the first to mend is named: kernel, then mounts, then what else runs here. Which
 * capabilities a policy has a use for follows from the kind of record in its manifest.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/cli/probe.h"
#include "agent/core/manifest.h"

static void say(char *out, const char *text)
{
	snprintf(out, PROBE_TEXT, "%s", text);
}

/* What stands in the way of any policy's programs. */
static bool common(const struct probe *probe, char *out)
{
	if (probe->kernel_too_old)
		snprintf(out, PROBE_TEXT, "kernel %d.%d or newer, this is %.40s",
			PROBE_KERNEL_MAJOR, PROBE_KERNEL_MINOR, probe->release);
	else if (probe->btf == PROBE_NO)
		say(out, "BTF: a kernel with CONFIG_DEBUG_INFO_BTF");
	else if (probe->bpffs == PROBE_NO)
		say(out, "bpffs: mount -t bpf bpf /sys/fs/bpf");
	else if (probe->is_root && probe->bpf_capable == PROBE_NO)
		say(out, "CAP_BPF and CAP_PERFMON: not in this container");
	else
		return false;
	return true;
}

static bool any_blk_mq(const struct probe *probe)
{
	for (uint32_t i = 0; i < probe->n_disks; i++) {
		if (probe->disk[i].blk_mq)
			return true;
	}
	return false;
}

static void observe(const struct probe *probe, bool block, bool sched, char *out)
{
	if (common(probe, out))
		return;
	if (block && probe->block_hooks == PROBE_NO)
		say(out, "the kernel's block tracepoints");
	else if (block && !any_blk_mq(probe))
		say(out, "a physical disk with request queues (blk-mq)");
	else if (sched && probe->migrate_hook == PROBE_NO)
		say(out, "a kernel whose can_migrate_task can be hooked");
}

static void sched_ext(const struct probe *probe, char *out)
{
	if (common(probe, out))
		return;
	if (probe->sched_ext_config == PROBE_NO)
		say(out, "CONFIG_SCHED_CLASS_EXT (Debian: 6.18 or newer)");
	else if (probe->scheduler[0] && strncmp(probe->scheduler, "semantos", 8) != 0)
		snprintf(out, PROBE_TEXT, "scheduler %.60s is attached: stop it", probe->scheduler);
}

static void kmod(const struct probe *probe, char *out)
{
	if (common(probe, out))
		return;
	if (probe->kmod_loaded)
		return;
	if (probe->major == PROBE_KERNEL_MAJOR && probe->minor < PROBE_KMOD_MINOR)
		snprintf(out, PROBE_TEXT, "kernel 6.%d or newer, this is %.40s", PROBE_KMOD_MINOR,
			probe->release);
	else if (probe->modules == PROBE_NO)
		say(out, probe->modules_why);
	else if (probe->module_btf == PROBE_NO)
		say(out, "BTF of modules: CONFIG_DEBUG_INFO_BTF_MODULES");
	else if (!probe->kmod_present)
		say(out, "semantos.ko for this kernel");
}

static struct probe_policy *row(struct probe *probe, const char *name)
{
	struct probe_policy *policy;

	if (probe->n_policies == PROBE_MAX_POLICIES)
		return NULL;
	for (uint32_t i = 0; i < probe->n_policies; i++) {
		if (strcmp(probe->policy[i].name, name) == 0)
			return NULL; /* an earlier folder of the path has it */
	}
	policy = &probe->policy[probe->n_policies++];
	snprintf(policy->name, sizeof(policy->name), "%.31s", name);
	return policy;
}

static void judge(const struct probe *probe, struct probe_policy *policy, const char *record)
{
	bool block = strcmp(record, "block") == 0, sched = strcmp(record, "sched") == 0;

	for (unsigned int i = 0; i < PROBE_CAPABILITIES; i++)
		policy->uses[i] = true;
	if (*record) {
		policy->uses[PROBE_SCHED_EXT] = sched;
		policy->uses[PROBE_KMOD] = block;
		/* no actuator of the agent acts on these: applications read the verdicts */
		policy->uses[PROBE_ACTUATE] = !block && !sched;
	}
	observe(probe, block, sched, policy->missing[PROBE_OBSERVE]);
	/* acting from user space needs root and the verdicts, no more */
	common(probe, policy->missing[PROBE_ACTUATE]);
	sched_ext(probe, policy->missing[PROBE_SCHED_EXT]);
	kmod(probe, policy->missing[PROBE_KMOD]);
}

static void one_folder(struct probe *probe, const char *folder, const char *name)
{
	struct manifest *manifest = calloc(1, sizeof(*manifest));
	char path[PATH_MAX], conf[PATH_MAX + 16], error[256] = "";
	struct probe_policy *policy;
	FILE *file;

	snprintf(path, sizeof(path), "%.3000s/%.255s", folder, name);
	snprintf(conf, sizeof(conf), "%s/policy.conf", path);
	file = fopen(conf, "re");
	if (!file || !manifest)
		goto out; /* no policy folder, or not ours to read */
	policy = row(probe, name);
	if (!policy)
		goto out;
	if (manifest_load(path, manifest, error, sizeof(error)) == 0) {
		judge(probe, policy, manifest->record);
	} else {
		policy->refused = true;
		for (unsigned int i = 0; i < PROBE_CAPABILITIES; i++) {
			policy->uses[i] = true;
			say(policy->missing[i], i == PROBE_OBSERVE ? error : "a valid policy.conf");
		}
	}
out:
	if (file)
		fclose(file);
	free(manifest);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(
		((const struct probe_policy *)a)->name, ((const struct probe_policy *)b)->name);
}

void probe_policies(struct probe *probe, const char *root, const char *path)
{
	char copy[PATH_MAX], full[PATH_MAX], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", path);
	for (char *part = strtok_r(copy, ":", &save); part; part = strtok_r(NULL, ":", &save)) {
		struct dirent *entry;
		DIR *dir;

		snprintf(full, sizeof(full), "%.1500s%s%.1500s", root,
			root[0] && part[0] != '/' ? "/" : "", part);
		dir = opendir(full);
		while (dir && (entry = readdir(dir))) {
			if (entry->d_name[0] != '.' && strcmp(entry->d_name, "template") != 0)
				one_folder(probe, full, entry->d_name);
		}
		if (dir)
			closedir(dir);
	}
	qsort(probe->policy, probe->n_policies, sizeof(probe->policy[0]), by_name);
	if (probe->n_policies == 0)
		judge(probe, row(probe, "(any)"), "");
}
