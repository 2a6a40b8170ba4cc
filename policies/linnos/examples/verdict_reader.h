/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verdict_reader.h - what an application needs to obey verdicts: map the agent's tables, look one disk up, doubt it.
 *
 * A look is a handful of loads and one clock; no system call. The tables belong to the agent, which removes its pins
 * when it ends: a mapping stays valid, but its lease has lapsed then, and a new agent has new tables. Must never
 * write to a table. The state is that of one thread.
 */
#ifndef VERDICT_READER_H
#define VERDICT_READER_H

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#include "bpf/wire.h"

/* What came of one look at a verdict. All but FAST and SLOW are the default: as if there were no policy. */
enum answer {
	FAST,
	SLOW,
	NO_AGENT,
	SHADOW,
	CONTROL_GROUP,
	NOT_FOLLOWED,
	NO_SIGNAL,
	STALE,
	ANSWERS
};

struct verdict_reader {
	const volatile struct semantos_lease *lease;
	const volatile struct semantos_policy *policy;
	const volatile struct semantos_slot *slots;
	const volatile struct semantos_verdict_row *verdicts;
	struct semantos_trial *trial; /* what this application reports in mode canary */
	int64_t clock_offset_ns; /* of this time namespace; verdicts are in the kernel's own boot time */
};

static inline uint64_t verdict_boot_ns(const struct verdict_reader *reader)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec -
	       (uint64_t)reader->clock_offset_ns;
}

/* Map one pinned table. The descriptor must be writable, the mapping need not be: the kernel maps no other one. */
static inline int verdict_map(const char *pins, const char *policy, const char *name, size_t bytes,
	int access, const volatile void **table, char *error, size_t error_len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char path[512];
	void *at;
	int fd, err = 0;

	snprintf(path, sizeof(path), "%s/%s%s%s", pins, policy, *policy ? "/" : "", name);
	fd = bpf_obj_get(path);
	if (fd < 0) {
		err = -errno;
		snprintf(error, error_len, "The table %.300s cannot be opened: %s; %s.", path,
			strerror(-err),
			err == -ENOENT ? "start semantos-agent first, or name its --pins"
				       : "run this as root");
		return err;
	}
	at = mmap(NULL, (bytes + page - 1) & ~(page - 1), access, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED) {
		err = -errno;
		snprintf(error, error_len, "The table %.300s cannot be mapped: %s.", path,
			strerror(-err));
	} else {
		*table = at;
	}
	close(fd);
	return err;
}

/*
 * Map the tables of one policy. 0, or -errno with a sentence: ENOENT no agent, EPERM or EACCES not allowed, EPROTO the
 * agent speaks another wire version. What was mapped stays so until the process ends.
 */
static inline int verdict_reader_open(struct verdict_reader *reader, const char *pins,
	const char *policy, char *error, size_t error_len)
{
	FILE *file = fopen("/proc/self/timens_offsets", "re");
	const volatile void *table;
	long long seconds, ns;
	char name[32];
	int err;

	memset(reader, 0, sizeof(*reader));
	while (file && fscanf(file, "%31s %lld %lld", name, &seconds, &ns) == 3)
		if (!strcmp(name, "boottime"))
			reader->clock_offset_ns = seconds * 1000000000 + ns;
	if (file)
		fclose(file);
	err = verdict_map(
		pins, "", "lease", sizeof(*reader->lease), PROT_READ, &table, error, error_len);
	if (!err) {
		reader->lease = table;
		err = verdict_map(pins, policy, "policy", sizeof(*reader->policy), PROT_READ,
			&table, error, error_len);
	}
	if (!err) {
		reader->policy = table;
		err = verdict_map(pins, policy, "slots",
			SEMANTOS_MAX_SLOTS * sizeof(*reader->slots), PROT_READ, &table, error,
			error_len);
	}
	if (!err) {
		reader->slots = table;
		err = verdict_map(pins, policy, "verdicts",
			SEMANTOS_MAX_SLOTS * sizeof(*reader->verdicts), PROT_READ, &table, error,
			error_len);
	}
	if (!err) {
		reader->verdicts = table;
		err = verdict_map(pins, policy, "trial", sizeof(*reader->trial),
			PROT_READ | PROT_WRITE, &table, error, error_len);
	}
	if (err)
		return err;
	reader->trial = (struct semantos_trial *)(uintptr_t)table;
	if (reader->policy->version != SEMANTOS_WIRE_VERSION) {
		snprintf(error, error_len,
			"The agent's tables are of wire version %u, this program knows %d; build "
			"both anew.",
			reader->policy->version, SEMANTOS_WIRE_VERSION);
		return -EPROTO;
	}
	return 0;
}

/* The whole disk that a device number means, as the kernel writes it; a partition is looked up in sysfs. */
static inline uint32_t verdict_disk(dev_t dev)
{
	unsigned int major_number = major(dev), minor_number = minor(dev);
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/partition", major_number, minor_number);
	if (access(path, F_OK) == 0) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", major_number,
			minor_number);
		file = fopen(path, "re");
		if (!file || fscanf(file, "%u:%u", &major_number, &minor_number) != 2)
			major_number = minor_number = 0;
		if (file)
			fclose(file);
	}
	return major_number << 20 | minor_number;
}

/*
 * In mode canary: how long a read took, of the treated share and of the control group alike, whatever the verdict was. By
 * the difference the agent promotes or demotes the policy.
 */
static inline void verdict_report(
	const struct verdict_reader *reader, uint64_t request, uint64_t latency_us)
{
	if (reader->policy->mode == SEMANTOS_CANARY)
		semantos_trial_report(reader->trial,
			semantos_in_canary(request, reader->policy->canary_percent), latency_us);
}

/*
 * What to do about the next read of disk `dev`, the `request`-th of this application (the canary's share is drawn from
 * that number). *slot remembers where the disk was found; begin with 0.
 */
static inline enum answer verdict_look(
	const struct verdict_reader *reader, uint32_t dev, uint32_t *slot, uint64_t request)
{
	const volatile struct semantos_slot *row = &reader->slots[*slot];
	uint32_t mode = reader->policy->mode, class;
	uint64_t now = verdict_boot_ns(reader), word;

	if (!semantos_lease_alive(reader->lease->expires_ns, now))
		return NO_AGENT;
	if (mode != SEMANTOS_ENFORCE && mode != SEMANTOS_CANARY)
		return SHADOW;
	if (mode == SEMANTOS_CANARY && !semantos_in_canary(request, reader->policy->canary_percent))
		return CONTROL_GROUP;
	if (!row->in_use || row->dev != dev) {
		for (*slot = SEMANTOS_MAX_SLOTS - 1; *slot; --*slot)
			if (reader->slots[*slot].in_use && reader->slots[*slot].dev == dev)
				break;
		row = &reader->slots[*slot];
		if (!row->in_use || row->dev != dev)
			return NOT_FOLLOWED;
	}
	if (row->obey != 1)
		return NO_SIGNAL;
	/* One load of the whole word; what it says is then checked against the slot as it is now. */
	word = __atomic_load_n(
		(const uint64_t *)(uintptr_t)&reader->verdicts[*slot], __ATOMIC_ACQUIRE);
	if (!semantos_verdict_fresh(word, row->generation, reader->policy->ttl_ns, now))
		return STALE;
	class = semantos_verdict_class(word);
	return class == 0 ? FAST : class == 1 ? SLOW : STALE;
}

#endif
