/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpf_object.c - libbpf behind the calls of bpf_object.h.
 */
#include "agent/core/bpf_object.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "agent/util/bpf_open.h"
#include "agent/util/log.h"

#define HISTORY_CPU_MAX_BYTES (32u << 20)
#define INFLIGHT_CHUNK 1024 /* entries fetched in one call */

static size_t mapped_bytes(uint32_t value_size, uint32_t entries)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = (((size_t)value_size + 7) & ~(size_t)7) * entries;

	return (bytes + page - 1) & ~(page - 1);
}

/* Map one table of the object, or say which one is not what bpf/wire.h says, and how. NULL with errno. */
static void *map_table(struct bpf_object *object, const char *name, uint32_t value_size,
	uint32_t entries, int protection, char *error, size_t error_len)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);
	void *table;

	if (!map || bpf_map__value_size(map) != value_size ||
		bpf_map__max_entries(map) != entries) {
		snprintf(error, error_len,
			"The object's table %s is not that of wire format %d: %u rows of %u bytes, "
			"not %u of %u; rebuild the policy and the agent from one source.",
			name, SEMANTOS_WIRE_VERSION, map ? bpf_map__max_entries(map) : 0,
			map ? bpf_map__value_size(map) : 0, entries, value_size);
		errno = EPROTO;
		return NULL;
	}
	table = mmap(NULL, mapped_bytes(value_size, entries), protection, MAP_SHARED,
		bpf_map__fd(map), 0);
	if (table == MAP_FAILED) {
		int err = errno;

		snprintf(error, error_len, "The object's table %s cannot be mapped: %s.", name,
			strerror(err));
		errno = err;
		return NULL;
	}
	return table;
}

static void unmap_table(const volatile void *table, uint32_t value_size, uint32_t entries)
{
	if (table)
		munmap((void *)(uintptr_t)table, mapped_bytes(value_size, entries));
}

int bpf_filesystem_ready(const char *bpffs_dir, char *error, size_t error_len)
{
	char root[PATH_MAX];
	struct statfs fs;
	char *slash;

	snprintf(root, sizeof(root), "%s", bpffs_dir);
	slash = strrchr(root, '/');
	if (slash && slash != root)
		*slash = 0;
	if (statfs(root, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (strcmp(root, "/sys/fs/bpf") == 0 &&
		mount("bpf", root, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755") == 0) {
		log_info("Mounted a bpf file system on %s, because none was there to pin maps in.",
			root);
		return 0;
	}
	snprintf(error, error_len, "No bpf file system at %s; mount one: mount -t bpf bpf %s", root,
		root);
	return -ENODEV;
}

static void remove_dir(const char *path, int depth)
{
	struct dirent *entry;
	char child[PATH_MAX];
	DIR *dir = opendir(path);

	if (dir) {
		while ((entry = readdir(dir))) {
			if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
				snprintf(child, sizeof(child), "%s/%s", path, entry->d_name) >=
					(int)sizeof(child))
				continue;
			if (unlink(child) && (errno == EISDIR || errno == EPERM) && depth > 0)
				remove_dir(child, depth - 1);
		}
		closedir(dir);
	}
	rmdir(path);
}

void bpf_remove_pins(const char *bpffs_dir)
{
	remove_dir(bpffs_dir, 2);
}

static int run_program(int fd, void *context, size_t bytes)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = context, .ctx_size_in = (__u32)bytes);

	if (bpf_prog_test_run_opts(fd, &options))
		return -errno;
	return (int)options.retval;
}

/* Was semantos.ko there when this program of the lease was loaded? Then it cannot leave any more. */
static bool told(int program_fd)
{
	uint32_t command[2] = { 2, 0 };

	return run_program(program_fd, command, sizeof(command)) == 0 && command[1];
}

int bpf_lease_open(struct bpf_lease *lease, const char *directory, const char *bpffs_dir,
	char *error, size_t error_len)
{
	const char *path = lease->path;
	struct bpf_program *program;
	int err;

	memset(lease, 0, sizeof(*lease));
	bpf_complaints_catch();
	snprintf(lease->path, sizeof(lease->path), "%s/lease.bpf.o", directory);
	lease->object = bpf_open(path);
	if (!lease->object || bpf_object__load(lease->object)) {
		err = -errno;
		if (err == -ENOENT && access(path, F_OK))
			snprintf(error, error_len,
				"%s is missing: build or install anew, or name the policies of a "
				"whole "
				"build by --policy-path.",
				path);
		else
			snprintf(error, error_len, "%s cannot be loaded: %s%s.", path,
				bpf_reason(&err), bpf_complaint());
		goto out_close;
	}
	lease->row = map_table(lease->object, "lease", sizeof(struct semantos_lease), 1, PROT_READ,
		error, error_len);
	if (!lease->row) {
		err = -errno;
		goto out_close;
	}
	program = bpf_object__find_program_by_name(lease->object, "lease_renew");
	if (!program) {
		err = -EPROTO;
		snprintf(error, error_len, "%s is not of this build; reinstall semantos.", path);
		goto out_close;
	}
	lease->map_fd = bpf_map__fd(bpf_object__find_map_by_name(lease->object, "lease"));
	lease->program_fd = bpf_program__fd(program);
	lease->knows_module = told(lease->program_fd);
	if (bpf_map_freeze(lease->map_fd)) {
		err = -errno;
		snprintf(error, error_len, "The lease cannot be closed to writers: %s.",
			strerror(-err));
		goto out_close;
	}
	snprintf(lease->pin, sizeof(lease->pin), "%s/lease", bpffs_dir);
	if (mkdir(bpffs_dir, 0755) && errno != EEXIST) {
		err = -errno;
		snprintf(error, error_len, "%s cannot be made: %s.", bpffs_dir, strerror(-err));
		lease->pin[0] = 0;
		goto out_close;
	}
	if (bpf_obj_pin(lease->map_fd, lease->pin)) {
		err = -errno;
		snprintf(error, error_len, "%s cannot be pinned: %s.", lease->pin, strerror(-err));
		lease->pin[0] = 0;
		goto out_close;
	}
	return 0;

out_close:
	bpf_lease_close(lease);
	return err;
}

struct bpf_object *bpf_lease_again(const struct bpf_lease *lease, char *error, size_t error_len)
{
	struct bpf_object *again;
	struct bpf_program *program;
	struct bpf_map *map;
	int err;

	bpf_complaints_catch();
	again = bpf_open(lease->path);
	map = again ? bpf_object__find_map_by_name(again, "lease") : NULL;
	err = !again ? -errno : map ? bpf_map__reuse_fd(map, lease->map_fd) : -EPROTO;
	if (!err)
		err = bpf_object__load(again);
	program = err ? NULL : bpf_object__find_program_by_name(again, "lease_renew");
	if (!err && !program)
		err = -EPROTO;
	if (!err && told(bpf_program__fd(program)))
		return again;
	if (err)
		snprintf(error, error_len, "%.200s cannot be loaded: %s%s.", lease->path,
			bpf_reason(&err), bpf_complaint());
	else
		snprintf(error, error_len, "it left while %.200s was being loaded.", lease->path);
	bpf_object__close(again);
	return NULL;
}

void bpf_lease_use(struct bpf_lease *lease, struct bpf_object *again)
{
	lease->again = again;
	lease->knows_module = true;
	lease->program_fd = bpf_program__fd(bpf_object__find_program_by_name(again, "lease_renew"));
}

int bpf_lease_renew(struct bpf_lease *lease)
{
	uint32_t command[2] = { 1, 0 };

	return run_program(lease->program_fd, command, sizeof(command));
}

int bpf_lease_release(struct bpf_lease *lease)
{
	uint32_t command[2] = { 0, 0 };

	return run_program(lease->program_fd, command, sizeof(command));
}

void bpf_lease_close(struct bpf_lease *lease)
{
	if (!lease->object)
		return;
	if (lease->program_fd > 0)
		bpf_lease_release(lease);
	if (lease->pin[0])
		unlink(lease->pin);
	unmap_table(lease->row, sizeof(struct semantos_lease), 1);
	bpf_object__close(lease->again);
	bpf_object__close(lease->object);
	memset(lease, 0, sizeof(*lease));
}

/* The constant the object was compiled with; 0 when it has none. */
static uint32_t object_wire_version(struct bpf_object *object)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, ".rodata");
	const struct btf *btf = bpf_object__btf(object);
	const struct btf_var_secinfo *info;
	const struct btf_type *section;
	size_t bytes = 0;
	const char *data = map ? bpf_map__initial_value(map, &bytes) : NULL;
	uint32_t version;
	int id;

	if (!data || !btf)
		return 0;
	id = btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC);
	if (id < 0)
		return 0;
	section = btf__type_by_id(btf, (__u32)id);
	info = btf_var_secinfos(section);
	for (int i = 0; i < btf_vlen(section); i++, info++) {
		const struct btf_type *variable = btf__type_by_id(btf, info->type);

		if (strcmp(btf__name_by_offset(btf, variable->name_off), "semantos_wire_version") ||
			info->offset + sizeof(version) > bytes)
			continue;
		memcpy(&version, data + info->offset, sizeof(version));
		return version;
	}
	return 0;
}

static int tables_freeze(const struct bpf_policy *policy, char *error, size_t error_len)
{
	struct bpf_object *object = policy->object;
	int err;

	if (bpf_map_freeze(bpf_object__find_map_fd_by_name(object, "policy")) == 0 &&
		(!policy->devices ||
			bpf_map_freeze(bpf_object__find_map_fd_by_name(object, "slots")) == 0))
		return 0;
	err = -errno;
	snprintf(error, error_len, "The kernel-side tables cannot be closed to writers: %s.",
		strerror(-err));
	return err;
}

static int policy_tables(struct bpf_policy *policy, char *error, size_t error_len)
{
	struct bpf_object *object = policy->object;

	policy->policy = map_table(
		object, "policy", sizeof(struct semantos_policy), 1, PROT_READ, error, error_len);
	if (!policy->policy)
		return -errno;
	policy->wake = map_table(object, "wake", sizeof(struct semantos_wake), 1,
		PROT_READ | PROT_WRITE, error, error_len);
	if (!policy->wake)
		return -errno;
	if (!policy->devices)
		return tables_freeze(policy, error, error_len);
	policy->verdicts = map_table(object, "verdicts", sizeof(struct semantos_verdict_row),
		SEMANTOS_MAX_SLOTS, PROT_READ | PROT_WRITE, error, error_len);
	if (!policy->verdicts)
		return -errno;
	policy->slots = map_table(object, "slots", sizeof(struct semantos_slot), SEMANTOS_MAX_SLOTS,
		PROT_READ, error, error_len);
	if (!policy->slots)
		return -errno;
	policy->trial = map_table(
		object, "trial", sizeof(struct semantos_trial), 1, PROT_READ, error, error_len);
	if (!policy->trial)
		return -errno;
	return tables_freeze(policy, error, error_len);
}

static const char *const pins[] = { "verdicts", "slots", "policy", "trial", "counters",
	/* those that an object has */ "history", "sched_counts", "sched_end" };
#define N_PINS (sizeof(pins) / sizeof(pins[0]))
#define N_PINS_OF_ALL 5

/* By name: reading a folder takes memory, and there may be none. */
static void policy_unpin(const struct bpf_policy *policy)
{
	char path[PATH_MAX];

	if (!policy->pin_dir[0])
		return;
	for (size_t i = 0; i < N_PINS; i++) {
		snprintf(path, sizeof(path), "%.*s/%s", PATH_MAX - 32, policy->pin_dir, pins[i]);
		unlink(path);
	}
	/* once more, should anything have failed */
	if (rmdir(policy->pin_dir) && errno != ENOENT)
		remove_dir(policy->pin_dir, 0);
}

static int policy_pin(struct bpf_policy *policy, char *error, size_t error_len)
{
	char path[PATH_MAX];
	int err;

	if (mkdir(policy->pin_dir, 0755) && errno != EEXIST)
		goto failed;
	for (size_t i = 0; i < N_PINS; i++) {
		int fd = bpf_object__find_map_fd_by_name(policy->object, pins[i]);

		snprintf(path, sizeof(path), "%.*s/%s", PATH_MAX - 32, policy->pin_dir, pins[i]);
		unlink(path);
		if (fd < 0 && (!policy->devices || i >= N_PINS_OF_ALL))
			continue;
		if (fd < 0 || bpf_obj_pin(fd, path))
			goto failed;
	}
	return 0;
failed:
	err = errno ? -errno : -EPROTO;
	snprintf(error, error_len, "Nothing can be pinned in %.200s: %s.", policy->pin_dir,
		strerror(-err));
	return err;
}

int bpf_policy_open(struct bpf_policy *policy, const char *path, const char *name,
	const struct bpf_lease *lease, const char *bpffs_dir, char *error, size_t error_len)
{
	struct bpf_map *map;
	struct bpf_program *program;
	uint32_t version;
	int err;

	memset(policy, 0, sizeof(*policy));
	bpf_complaints_catch();
	policy->object = bpf_open(path);
	if (!policy->object) {
		err = -errno;
		snprintf(error, error_len, "The BPF object %s cannot be opened: %s.", path,
			bpf_reason(&err));
		return err;
	}
	version = object_wire_version(policy->object);
	if (version != SEMANTOS_WIRE_VERSION) {
		snprintf(error, error_len,
			"The BPF object %s speaks wire format %u, this agent speaks %d; rebuild "
			"it.",
			path, version, SEMANTOS_WIRE_VERSION);
		err = -EPROTO;
		goto out_close;
	}
	policy->n_cpus = libbpf_num_possible_cpus();
	map = bpf_object__find_map_by_name(policy->object, "rings");
	err = map ? bpf_map__set_max_entries(map, (__u32)policy->n_cpus) : -EPROTO;
	map = bpf_object__find_map_by_name(policy->object, "lease");
	if (!err)
		err = map ? bpf_map__reuse_fd(map, lease->map_fd) : -EPROTO;
	/* What each CPU keeps of a device must not eat a large machine's memory: fewer devices there. */
	map = bpf_object__find_map_by_name(policy->object, "history_cpu");
	if (map) {
		size_t most =
			HISTORY_CPU_MAX_BYTES / (bpf_map__value_size(map) * (size_t)policy->n_cpus);

		if (most < bpf_map__max_entries(map))
			bpf_map__set_max_entries(map, most < 64 ? 64 : (__u32)most);
	}
	policy->devices = bpf_object__find_map_by_name(policy->object, "slots");
	bpf_sched_prepare(&policy->sched, policy->object, policy->n_cpus);
	/* libbpf forgets the inner definition once it has made the outer map. */
	map = bpf_object__find_map_by_name(policy->object, "inflight");
	if (map && bpf_map__inner_map(map))
		policy->inflight_bytes = bpf_map__value_size(bpf_map__inner_map(map));
	else if (policy->devices && !policy->sched.known)
		err = err ? err : -EPROTO;
	if (!err)
		err = bpf_object__load(policy->object);
	program = bpf_object__find_program_by_name(policy->object, "control");
	if (!err && !program)
		err = -EPROTO;
	if (err) {
		snprintf(error, error_len, "The kernel does not take the BPF object %s: %s%s.",
			path, bpf_reason(&err), bpf_complaint());
		goto out_close;
	}
	policy->control_fd = bpf_program__fd(program);
	policy->rings_fd = bpf_object__find_map_fd_by_name(policy->object, "rings");
	policy->counters_fd = bpf_object__find_map_fd_by_name(policy->object, "counters");
	policy->inflight_fd = bpf_object__find_map_fd_by_name(policy->object, "inflight");
	err = policy_tables(policy, error, error_len);
	if (!err)
		err = bpf_sched_tables(&policy->sched, policy->object, error, error_len);
	if (err)
		goto out_close;
	if (snprintf(policy->pin_dir, sizeof(policy->pin_dir), "%s/%s", bpffs_dir, name) >=
		PATH_MAX - 32) {
		err = -ENAMETOOLONG;
		snprintf(error, error_len, "The path of the pins is too long.");
		policy->pin_dir[0] = 0;
		goto out_close;
	}
	err = policy_pin(policy, error, error_len);
	if (err)
		goto out_close;
	return 0;

out_close:
	bpf_policy_close(policy);
	return err;
}

/* Has it a hook of its own, and was it loaded? Those of a scheduler come on with bpf_sched_on(). */
static bool is_hook(const struct bpf_program *program)
{
	return bpf_program__autoload(program) &&
	       bpf_program__type(program) != BPF_PROG_TYPE_SYSCALL &&
	       bpf_program__type(program) != BPF_PROG_TYPE_STRUCT_OPS;
}

int bpf_policy_attach(struct bpf_policy *policy, char *error, size_t error_len)
{
	struct bpf_program *program;

	bpf_complaints_catch();
	bpf_object__for_each_program(program, policy->object)
	{
		struct bpf_link *link;

		if (!is_hook(program))
			continue;
		link = policy->n_links < BPF_POLICY_MAX_LINKS ? bpf_program__attach(program) : NULL;
		if (!link) {
			int err = errno ? -errno : -E2BIG;

			/* A function may be there and not be hooked: then a scheduler is all there is. */
			if (policy->sched.scheduler && err != -E2BIG) {
				policy->sched.observes = false;
				snprintf(policy->sched.silent, sizeof(policy->sched.silent),
					"the hook %.40s cannot be attached: %.60s",
					bpf_program__name(program), strerror(-err));
				continue;
			}
			snprintf(error, error_len, "The hook %s cannot be attached: %s%s.",
				bpf_program__name(program), strerror(-err), bpf_complaint());
			bpf_policy_detach(policy);
			return err;
		}
		policy->link[policy->n_links++] = link;
	}
	return 0;
}

void bpf_policy_detach(struct bpf_policy *policy)
{
	bpf_sched_off(&policy->sched);
	while (policy->n_links > 0)
		bpf_link__destroy(policy->link[--policy->n_links]);
}

void bpf_policy_close(struct bpf_policy *policy)
{
	bpf_policy_detach(policy);
	bpf_sched_close(&policy->sched);
	policy_unpin(policy);
	unmap_table(policy->verdicts, sizeof(struct semantos_verdict_row), SEMANTOS_MAX_SLOTS);
	unmap_table(policy->slots, sizeof(struct semantos_slot), SEMANTOS_MAX_SLOTS);
	unmap_table(policy->policy, sizeof(struct semantos_policy), 1);
	unmap_table(policy->wake, sizeof(struct semantos_wake), 1);
	unmap_table(policy->trial, sizeof(struct semantos_trial), 1);
	bpf_object__close(policy->object);
	memset(policy, 0, sizeof(*policy));
}

int bpf_policy_control(const struct bpf_policy *policy, const struct semantos_control *command)
{
	struct semantos_control copy = *command;

	return run_program(policy->control_fd, &copy, sizeof(copy));
}

int bpf_policy_inflight_set(const struct bpf_policy *policy, uint32_t slot, uint32_t entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_INNER_MAP);
	int fd, err = 0;

	if (policy->inflight_fd < 0)
		return 0;
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "inflight", sizeof(uint32_t),
		policy->inflight_bytes, entries, &options);
	if (fd < 0)
		return -errno;
	if (bpf_map_update_elem(policy->inflight_fd, &slot, &fd, BPF_ANY))
		err = -errno;
	close(fd);
	return err;
}

int64_t bpf_policy_inflight_count(const struct bpf_policy *policy, uint32_t slot)
{
	uint32_t *keys = calloc(INFLIGHT_CHUNK, sizeof(*keys)), chunk, at = 0;
	uint8_t *entries = calloc(INFLIGHT_CHUNK, policy->inflight_bytes);
	int64_t n = -1;
	__u32 id;
	int fd = -1, err = 0;

	if (policy->inflight_fd < 0) {
		n = 0;
		goto out;
	}
	if (!keys || !entries || bpf_map_lookup_elem(policy->inflight_fd, &slot, &id))
		goto out;
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		goto out;
	n = 0;
	for (bool first = true; !err; first = false) {
		chunk = INFLIGHT_CHUNK;
		err = bpf_map_lookup_batch(
			fd, first ? NULL : &at, &at, keys, entries, &chunk, NULL);
		if (err && errno != ENOENT) {
			n = -1;
			break;
		}
		for (uint32_t i = 0; i < chunk; i++)
			n += *(uint32_t *)(entries + (size_t)i * policy->inflight_bytes) ==
			     2; /* BLOCK_REPORTED */
		if (!chunk)
			break;
	}
out:
	if (fd >= 0)
		close(fd);
	free(entries);
	free(keys);
	return n;
}

int bpf_policy_counters(const struct bpf_policy *policy, struct semantos_counters *sum)
{
	struct semantos_counters *rows = calloc((size_t)policy->n_cpus, sizeof(*rows));
	uint32_t zero = 0;
	int err = 0;

	memset(sum, 0, sizeof(*sum));
	if (!rows)
		return -ENOMEM;
	if (bpf_map_lookup_elem(policy->counters_fd, &zero, rows))
		err = -errno;
	for (int cpu = 0; !err && cpu < policy->n_cpus; cpu++)
		for (int i = 0; i < SEMANTOS_C_MAX; i++)
			sum->count[i] += rows[cpu].count[i];
	free(rows);
	return err;
}
