/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.h - what this machine can do for each policy, found by reading files; no agent, no BPF, nothing changed.
 *
 * Everything is read below probe_options.root, so that a test can show it any machine. What cannot be read counts as
 * unknown, never as present. One thread; well under a second.
 */
#ifndef SEMANTOS_CLI_PROBE_H
#define SEMANTOS_CLI_PROBE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROBE_KERNEL_MAJOR 6 /* tp_btf hooks, and the helpers they need, as in 6.1 */
#define PROBE_KERNEL_MINOR 1
#define PROBE_KMOD_MINOR 12 /* struct_ops types of a module's own need 6.12 */
#define PROBE_TEXT 128
#define PROBE_MAX_POLICIES 64
#define PROBE_MAX_DISKS 256

enum probe_capability {
	PROBE_OBSERVE, /* predicts and is scored */
	PROBE_ACTUATE, /* acts from user space */
	PROBE_SCHED_EXT,
	PROBE_KMOD,
	PROBE_CAPABILITIES,
};

struct probe_options {
	const char *root; /* NULL or "" = this machine */
	const char *policy_path; /* colon-separated, below root; NULL = the installed one */
};

enum probe_known { PROBE_NO, PROBE_YES, PROBE_UNKNOWN };

struct probe_disk {
	char name[32];
	char scheduler[32]; /* "" = unknown */
	bool blk_mq; /* has request tags a policy can follow; false = bio-only */
	char note[160]; /* why it cannot be followed */
};

struct probe_policy {
	char name[32];
	bool refused; /* its policy.conf is; missing[PROBE_OBSERVE] says why */
	bool uses[PROBE_CAPABILITIES]; /* false = this policy has no use for it */
	char missing[PROBE_CAPABILITIES][PROBE_TEXT]; /* "" = yes */
};

struct probe {
	char release[64];
	unsigned int major, minor;
	bool kernel_too_old;
	bool is_root; /* this process */
	enum probe_known
		bpf_capable; /* this process has CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN */
	enum probe_known btf, block_hooks, module_btf, sched_ext_config;
	enum probe_known migrate_hook; /* the balancer's question can be heard */
	enum probe_known bpffs;
	enum probe_known secure_boot; /* unknown = it could not be read */
	bool efi;
	char lockdown[32]; /* none, integrity, confidentiality; "" = unknown */
	enum probe_known modules; /* may be loaded, unsigned ones too */
	char modules_why[PROBE_TEXT]; /* when they may not */
	bool kmod_present, kmod_loaded;
	char kmod_holder
		[32]; /* policy attached to semantos.ko, "none"; "" = not loaded, or another build */
	char scheduler[64]; /* attached sched_ext scheduler, "" = none */
	int cgroup; /* 2, 1 (also hybrid), 0 = none mounted */
	bool agent_running;
	uint32_t agent_pid; /* 0 = unknown */

	uint32_t n_disks;
	struct probe_disk disk[PROBE_MAX_DISKS];
	uint32_t n_policies;
	struct probe_policy policy[PROBE_MAX_POLICIES]; /* always at least one row */
};

/* 0, or -ENOMEM; what is absent is a finding, no error. */
int probe_run(const struct probe_options *options, struct probe *probe);

const char *probe_capability_name(enum probe_capability capability);

/* probe_policies.c: fills probe->policy from the facts. `path` is already below the root. */
void probe_policies(struct probe *probe, const char *root, const char *path);

/* Where policies are looked for when no path is given; buf of PATH_MAX holds the answer or not. */
const char *probe_default_policies(const char *root, char *buf, size_t len);

#endif
