/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpf_object.h - loads BPF objects, maps their tables, pins them, and takes them away again.
 *
 * A loaded policy object holds everything it made: links, rings, mappings, pins. bpf_policy_close() removes them all.
 * Loading takes long (seconds under emulation), so it is done off the loop's thread; libbpf's complaints are caught
 * a thread at a time and become one sentence.
 */
#ifndef SEMANTOS_CORE_BPF_OBJECT_H
#define SEMANTOS_CORE_BPF_OBJECT_H

#include <bpf/libbpf.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/core/bpf_sched.h"
#include "bpf/wire.h"

#define BPF_POLICY_MAX_LINKS 16

struct bpf_lease {
	struct bpf_object *object;
	struct bpf_object *again; /* the same program, loaded once more when the module had come */
	bool knows_module; /* semantos.ko is told as well */
	int map_fd, program_fd;
	char path[PATH_MAX];
	const volatile struct semantos_lease *row; /* mapped read-only */
	char pin[PATH_MAX];
};

/* Load <directory>/lease.bpf.o and pin its map as <bpffs_dir>/lease. 0 or -errno with one sentence. */
int bpf_lease_open(struct bpf_lease *lease, const char *directory, const char *bpffs_dir,
	char *error, size_t error_len);
/*
 * semantos.ko has come since: the program once more, so that it finds the module. Takes long, any thread; NULL with one
 * sentence. bpf_lease_use() then takes it, on the thread that renews.
 */
struct bpf_object *bpf_lease_again(const struct bpf_lease *lease, char *error, size_t error_len);
void bpf_lease_use(struct bpf_lease *lease, struct bpf_object *again);
int bpf_lease_renew(
	struct bpf_lease *lease); /* 0 or -errno; one system call, no clock read in user space */
int bpf_lease_release(struct bpf_lease *lease); /* the lease ends now; 0 or -errno */
void bpf_lease_close(struct bpf_lease *lease); /* gives the lease up first; accepts a zeroed one */

struct bpf_policy {
	struct bpf_object *object;
	struct bpf_link *link[BPF_POLICY_MAX_LINKS];
	int n_links, n_cpus;
	int control_fd, rings_fd, counters_fd;
	int inflight_fd; /* -1: this object has no requests in flight */
	struct bpf_sched sched; /* its scheduler, where it has one */
	uint32_t inflight_bytes; /* value size of a device's array of requests in flight */
	struct semantos_verdict_row *verdicts; /* [SEMANTOS_MAX_SLOTS], read-write */
	const volatile struct semantos_slot *slots; /* [SEMANTOS_MAX_SLOTS], read-only */
	const volatile struct semantos_policy *policy; /* read-only */
	const volatile struct semantos_trial *trial; /* read-only */
	bool devices; /* it has slots; else verdicts, slots, trial and inflight are not there */
	struct semantos_wake *wake;
	char pin_dir[PATH_MAX];
};

/*
 * Load `path`, which must be of our wire version, with the agent's lease map; freeze what only the kernel side
 * writes; map and pin the tables under <bpffs_dir>/<name>. Nothing is attached yet. On failure nothing is left.
 */
int bpf_policy_open(struct bpf_policy *policy, const char *path, const char *name,
	const struct bpf_lease *lease, const char *bpffs_dir, char *error, size_t error_len);
int bpf_policy_attach(struct bpf_policy *policy, char *error, size_t error_len);
void bpf_policy_detach(struct bpf_policy *policy); /* hooks off; tables stay */
void bpf_policy_close(struct bpf_policy *policy); /* accepts a zeroed one */

/* Run the object's control program. What it answers: 0 or -errno. */
int bpf_policy_control(const struct bpf_policy *policy, const struct semantos_control *command);

/* Give slot an empty array of `entries` requests in flight. */
int bpf_policy_inflight_set(const struct bpf_policy *policy, uint32_t slot, uint32_t entries);
/* Requests of the slot that were sent to user space and whose outcome has not come. */
int64_t bpf_policy_inflight_count(const struct bpf_policy *policy, uint32_t slot);

int bpf_policy_counters(const struct bpf_policy *policy, struct semantos_counters *sum);

/* Remove pins left by an agent that was killed. Only below bpffs_dir. */
void bpf_remove_pins(const char *bpffs_dir);

/* Make sure a bpf file system is mounted where bpffs_dir lies; mounts it on /sys/fs/bpf when nothing is there. */
int bpf_filesystem_ready(const char *bpffs_dir, char *error, size_t error_len);

#endif
