// SPDX-License-Identifier: Apache-2.0
/*
 * bpf_volume.c - libbpf and /dev/semantos behind the calls of bpf_volume.h.
 *
 * The order of a swap: the row says none, the module takes the model, the row names it with the generation the module
 * gave it. A decision in between finds no model, or one whose generation is not the row's, and takes the default.
 */
#include "agent/core/bpf_volume.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/core/volume_row.h"
#include "agent/util/bpf_open.h"
#include "agent/infer/kernel_net.h"
#include "kmod/infer/net.h"

#define MODULE_BTF "/sys/kernel/btf/semantos"
#define MODULE_HOLDER "/sys/module/semantos/parameters/holder"
#define MODULE_MODELS "/dev/semantos"
#define MODELS_MAX 64 /* that the module holds: SEMANTOS_MODELS */

bool bpf_volume_module(void)
{
	return access(MODULE_BTF, R_OK) == 0;
}

void bpf_volume_holder(char *name, size_t len)
{
	int fd = open(MODULE_HOLDER, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, name, len - 1);

	if (fd >= 0)
		close(fd);
	name[n > 0 ? n : 0] = 0;
	name[strcspn(name, "\n")] = 0;
}

/* Maps that both objects name are the policy's. */
static int share_maps(struct bpf_object *object, const struct bpf_policy *policy)
{
	struct bpf_map *map, *of_policy;
	int err = 0;

	bpf_object__for_each_map(map, object)
	{
		if (bpf_map__is_internal(map) || bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
			continue;
		of_policy = bpf_object__find_map_by_name(policy->object, bpf_map__name(map));
		if (!of_policy)
			continue;
		if (bpf_map__value_size(map) != bpf_map__value_size(of_policy))
			return -EPROTO;
		err = bpf_map__reuse_fd(map, bpf_map__fd(of_policy));
		if (err)
			return err;
	}
	return 0;
}

static int choose_ops(struct bpf_volume *volume, const char *decide)
{
	struct bpf_map *map;
	char name[48];

	snprintf(name, sizeof(name), "decide_%.32s", decide);
	bpf_object__for_each_map(map, volume->object)
	{
		if (bpf_map__type(map) != BPF_MAP_TYPE_STRUCT_OPS)
			continue;
		if (strcmp(bpf_map__name(map), name) == 0)
			volume->ops = map;
	}
	return volume->ops ? 0 : -ENOENT;
}

static void pin_decisions(struct bpf_volume *volume, const struct bpf_policy *policy)
{
	/* For whoever looks: that it cannot be pinned hinders no decision. */
	snprintf(
		volume->pin, sizeof(volume->pin), "%.*s/decisions", PATH_MAX - 32, policy->pin_dir);
	unlink(volume->pin);
	if (bpf_obj_pin(volume->decisions_fd, volume->pin))
		volume->pin[0] = 0;
}

int bpf_volume_open(struct bpf_volume *volume, const char *path, const char *decide,
	const struct bpf_policy *policy, char *error, size_t error_len)
{
	struct bpf_program *program;
	int err;

	memset(volume, 0, sizeof(*volume));
	volume->models_fd = -1;
	volume->n_cpus = policy->n_cpus;
	volume->object = bpf_open(path);
	err = volume->object ? 0 : -errno;
	if (!err)
		err = choose_ops(volume, decide);
	if (!err)
		err = share_maps(volume->object, policy);
	if (!err)
		err = bpf_object__load(volume->object);
	program = err ? NULL : bpf_object__find_program_by_name(volume->object, "leg_model_set");
	if (!err && !program)
		err = -EPROTO;
	if (err) {
		snprintf(error, error_len,
			"the object for volumes, %.200s, is not taken by the kernel or is not of "
			"this build: %s",
			path, strerror(-err));
		goto out_close;
	}
	volume->set_fd = bpf_program__fd(program);
	volume->decisions_fd = bpf_object__find_map_fd_by_name(volume->object, "decisions");
	volume->models_fd = open(MODULE_MODELS, O_RDWR | O_CLOEXEC);
	if (volume->models_fd < 0) {
		err = -errno;
		snprintf(error, error_len, "%s, which takes models, cannot be opened: %s",
			MODULE_MODELS, strerror(-err));
		goto out_close;
	}
	pin_decisions(volume, policy);
	return 0;

out_close:
	bpf_volume_close(volume);
	return err;
}

int bpf_volume_vacant(char *error, size_t error_len)
{
	char holder[32];

	bpf_volume_holder(holder, sizeof(holder));
	if (!holder[0] || strcmp(holder, "none") == 0)
		return 0;
	snprintf(error, error_len,
		"'%s' decides for all volumes, and one policy does; detach that one first", holder);
	return -EBUSY;
}

int bpf_volume_attach(struct bpf_volume *volume, char *error, size_t error_len)
{
	int err;

	volume->link = bpf_map__attach_struct_ops(volume->ops);
	if (volume->link)
		return 0;
	err = -errno;
	if (err != -EBUSY || !bpf_volume_vacant(error, error_len))
		snprintf(error, error_len, "semantos.ko does not take it: %s", strerror(-err));
	return err;
}

void bpf_volume_detach(struct bpf_volume *volume)
{
	bpf_link__destroy(volume->link);
	volume->link = NULL;
}

static int set_row(const struct bpf_volume *volume, const struct semantos_leg_model_command *wanted)
{
	struct semantos_leg_model_command command = *wanted;
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &command, .ctx_size_in = sizeof(command));

	if (bpf_prog_test_run_opts(volume->set_fd, &options))
		return -errno;
	return (int)options.retval;
}

/* Without layers, a head takes the model of its number away. */
static void take_back(struct bpf_volume *volume, uint32_t number)
{
	struct infer_blob_head head = { .magic = INFER_NET_MAGIC,
		.version = INFER_NET_VERSION,
		.bytes = sizeof(head),
		.model = number };

	if (volume->handed >> number & 1 &&
		write(volume->models_fd, &head, sizeof(head)) == (ssize_t)sizeof(head))
		volume->handed &= ~(1ULL << number);
}

void bpf_volume_close(struct bpf_volume *volume)
{
	if (!volume->object)
		return;
	bpf_volume_detach(volume);
	for (uint32_t number = 0; volume->models_fd >= 0 && number < MODELS_MAX; number++)
		take_back(volume, number);
	if (volume->models_fd >= 0)
		close(volume->models_fd);
	if (volume->pin[0])
		unlink(volume->pin);
	bpf_object__close(volume->object);
	memset(volume, 0, sizeof(*volume));
	volume->models_fd = -1;
}

/* One write of one net; the generation the module gave it, or -errno with what it says. */
static int64_t hand_over(
	struct bpf_volume *volume, const void *blob, size_t n_bytes, char *error, size_t error_len)
{
	ssize_t n = write(volume->models_fd, blob, n_bytes);
	int err = n == (ssize_t)n_bytes ? 0 : n < 0 ? -errno : -EIO;
	unsigned int generation;
	char said[128] = "";

	n = read(volume->models_fd, said, sizeof(said) - 1);
	said[n > 0 ? n : 0] = 0;
	said[strcspn(said, "\n")] = 0;
	if (!err && sscanf(said, "generation=%u", &generation) == 1)
		return generation;
	snprintf(error, error_len, "semantos.ko does not take it: %.96s",
		said[0] && err ? said : strerror(err ? -err : EPROTO));
	return err ? err : -EPROTO;
}

int bpf_volume_model(struct bpf_volume *volume, uint32_t slot, const struct model *model,
	char *error, size_t error_len)
{
	struct semantos_leg_model_command command = { .slot = slot };
	struct model_error refused = { "" };
	int64_t generation;
	size_t n_bytes;
	void *blob;
	int err = set_row(volume, &command);

	if (err) {
		snprintf(error, error_len, "its row cannot be written: %s", strerror(-err));
		return err;
	}
	if (!model) {
		if (slot < MODELS_MAX)
			take_back(volume, slot);
		return 0;
	}
	if (slot >= MODELS_MAX) {
		snprintf(error, error_len, "semantos.ko holds the models of %d disks", MODELS_MAX);
		return -ENOSPC;
	}
	blob = kernel_net_build(model, slot, &n_bytes, &refused);
	if (!blob) {
		snprintf(error, error_len, "%s", refused.text);
		return -EINVAL;
	}
	generation = hand_over(volume, blob, n_bytes, error, error_len);
	free(blob);
	if (generation < 0)
		return (int)generation;
	volume->handed |= 1ULL << slot;
	command.row = volume_row(model, slot, (uint32_t)generation);
	err = set_row(volume, &command);
	if (err)
		snprintf(error, error_len, "its row cannot be written: %s", strerror(-err));
	return err;
}

int bpf_volume_decisions(const struct bpf_volume *volume, struct semantos_decisions *sum)
{
	struct semantos_decisions *rows = calloc((size_t)volume->n_cpus, sizeof(*rows));
	uint32_t zero = 0;
	int err = 0;

	memset(sum, 0, sizeof(*sum));
	if (!rows)
		return -ENOMEM;
	if (bpf_map_lookup_elem(volume->decisions_fd, &zero, rows))
		err = -errno;
	for (int cpu = 0; !err && cpu < volume->n_cpus; cpu++)
		for (int i = 0; i < SEMANTOS_D_MAX; i++)
			sum->count[i] += rows[cpu].count[i];
	free(rows);
	return err;
}
