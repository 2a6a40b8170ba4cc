/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path.h - one policy of the agent with one device and a loop on a CPU of its own, for bench_path.c.
 *
 * The object is loaded once; path_start() joins it to a fresh loop, gives the device its model and starts the thread,
 * path_stop() ends both, so that an agent that spins is not there while another one is measured.
 */
#ifndef SEMANTOS_TESTS_PATH_H
#define SEMANTOS_TESTS_PATH_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "agent/core/device_internal.h"
#include "agent/core/policy_internal.h"
#include "tests/bpf/wrap.h"

#define PATH_FILE_BYTES (64u << 20)

struct path {
	struct bpf_lease lease;
	struct core_options options;
	struct policy *policy;
	struct disk disk;
	struct model *model;
	struct loop *loop;
	struct loop_source *renew;
	pthread_t thread;
	char bpffs_dir[64];
	bool own_cpu; /* path_start(): the loop runs with real-time priority */
	int fd; /* of the wrapped hooks, -1 = the object has none */
	/* path_watch() */
	double *took;
	size_t n_took, most_took;
	uint64_t newest_ns;
};

struct path_counts {
	uint64_t emitted, dropped, delivered, inferred, batches, stored, cpu_ns;
};

/* At every drain that found records, after their verdicts were stored. */
static inline void path_drained(void *ctx)
{
	struct path *path = ctx;
	const struct device *device = path->policy->device[0];

	if (!path->took || device->newest_ns == path->newest_ns)
		return;
	path->newest_ns = device->newest_ns;
	if (path->n_took < path->most_took)
		path->took[path->n_took++] = (double)(boot_ns() - device->newest_ns) / 1000;
}

/* took[most]: µs from a record's kernel time to after its verdict's store, of the newest record of each drain. */
static inline void path_watch(struct path *path, double *took, size_t most)
{
	path->took = took;
	path->most_took = most;
}

static inline size_t path_watched(const struct path *path)
{
	return path->n_took;
}

static inline void path_renew(void *ctx)
{
	bpf_lease_renew(&((struct path *)ctx)->lease);
}

/* spin as in a manifest. NULL with a sentence on stderr. */
static inline struct path *path_new(
	const char *folder, const char *object, const struct disk *disk, const char *spin)
{
	static int n_paths;
	struct path *path = calloc(1, sizeof(*path));
	struct policy_env env = { .lease = &path->lease,
		.options = &path->options,
		.active = path_drained,
		.active_ctx = path };
	struct bpf_program *wrapped;
	struct manifest manifest;
	char error[512] = "";
	int err;

	path->disk = *disk;
	path->options.state_dir = "build/bench";
	snprintf(path->bpffs_dir, sizeof(path->bpffs_dir), "/sys/fs/bpf/semantos-path-%d-%d",
		getpid(), n_paths++);
	path->options.bpffs_dir = path->bpffs_dir;
	path->options.fresh = true;
	path->options.device[0] = disk->name;
	path->options.n_device = 1;
	err = manifest_load("build/policies/linnos", &manifest, error, sizeof(error));
	snprintf(manifest.directory, sizeof(manifest.directory), "%s", folder);
	snprintf(manifest.object, sizeof(manifest.object), "%s", object);
	snprintf(manifest.spin, sizeof(manifest.spin), "%s", spin);
	manifest.budget_per_s = 100000000;
	if (!err)
		err = bpf_filesystem_ready(path->bpffs_dir, error, sizeof(error));
	if (!err)
		err = bpf_lease_open(
			&path->lease, "build/bpf/lib", path->bpffs_dir, error, sizeof(error));
	if (!err)
		path->policy = policy_open(
			&env, &manifest, SEMANTOS_SHADOW, 0, &err, error, sizeof(error));
	if (err) {
		fprintf(stderr, "%s\n", error);
		free(path);
		return NULL;
	}
	path->policy->state_dir[0] = 0;
	wrapped = bpf_object__find_program_by_name(path->policy->bpf.object, "wrap");
	path->fd = wrapped ? bpf_program__fd(wrapped) : -1;
	return path;
}

static inline void path_model(struct path *path, struct model *model)
{
	path->model = model;
}

static inline int path_run(struct path *path, struct wrap_command *command)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = command, .ctx_size_in = sizeof(*command));

	if (bpf_prog_test_run_opts(path->fd, &options))
		return -errno;
	return (int)options.retval;
}

/* With real-time priority a thread has its CPU to itself, as far as that is to be had: neighbours wait. */
static inline void path_own_cpu(bool own)
{
	struct sched_param param = { .sched_priority = own ? 1 : 0 };

	if (sched_setscheduler(0, own ? SCHED_FIFO : SCHED_OTHER, &param))
		fprintf(stderr, "real-time priority: %s\n", strerror(errno));
}

static inline void *path_thread(void *arg)
{
	struct path *path = arg;

	path_own_cpu(path->own_cpu);
	pin_to((int)sysconf(_SC_NPROCESSORS_ONLN) - 1);
	loop_run(path->loop);
	return NULL;
}

static inline void path_start(struct path *path)
{
	struct wrap_command first = {
		.event = { .diskseq = path->disk.diskseq,
			.dev = disk_kernel_dev(&path->disk),
			.sectors = 8 },
		.what = WRAP_PAIRS,
		.repeat = 16,
		.tags = 16,
	};
	char error[256];

	path->loop = loop_new();
	path->policy->env.loop = path->loop;
	if (!path->loop || policy_join(path->policy, error, sizeof(error)))
		exit(1);
	policy_sync_disks(path->policy, &path->disk, 1);
	if (!path->policy->device[0] ||
		device_model_set(path->policy->device[0], model_clone(path->model)))
		exit(1);
	path->renew = loop_add_timer(path->loop, 25000000, path_renew, path);
	bpf_lease_renew(&path->lease);
	pthread_create(&path->thread, NULL, path_thread, path);
	/* A read asks only once four have completed. */
	if (path->fd >= 0 && path_run(path, &first))
		exit(1);
	usleep(20000);
}

static inline void path_stop(struct path *path)
{
	loop_stop(path->loop);
	pthread_join(path->thread, NULL);
	policy_leave(path->policy);
	loop_remove(path->renew);
	ring_reader_free(path->policy->reader);
	path->policy->reader = NULL;
	loop_free(path->loop);
	path->loop = NULL;
}

static inline int path_attach(struct path *path)
{
	char error[512];

	return policy_attach(path->policy, error, sizeof(error));
}

static inline void path_detach(struct path *path)
{
	policy_detach(path->policy);
}

static inline void path_free(struct path *path)
{
	if (!path)
		return;
	policy_close(path->policy);
	bpf_lease_close(&path->lease);
	bpf_remove_pins(path->bpffs_dir);
	model_free(path->model);
	free(path);
}

/* Wait until the rings are empty. */
static inline void path_settle(struct path *path)
{
	for (int wait = 0; wait < 1000 && ring_waiting_bytes(path->policy->reader); wait++)
		usleep(100);
	usleep(2000);
}

struct path_look {
	struct path *path;
	struct path_counts *counts;
};

static inline void path_look(void *ctx)
{
	struct path_look *look = ctx;
	struct path *path = look->path;
	struct path_counts *counts = look->counts;
	struct semantos_counters sum;
	struct timespec cpu;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	bpf_policy_counters(&path->policy->bpf, &sum);
	counts->emitted =
		sum.count[SEMANTOS_C_REQUESTS_SUBMITTED] + sum.count[SEMANTOS_C_OUTCOMES_SUBMITTED];
	counts->inferred = sum.count[SEMANTOS_C_REQUESTS_SUBMITTED];
	counts->dropped = sum.count[SEMANTOS_C_DROP_RING_FULL] +
			  sum.count[SEMANTOS_C_DROP_OUTCOME_RING_FULL] +
			  sum.count[SEMANTOS_C_DROP_OVER_BUDGET];
	counts->delivered = ring_delivered(path->policy->reader);
	counts->batches = device_batches(path->policy->device[0]);
	counts->stored = device_stored(path->policy->device[0]);
	counts->cpu_ns = (uint64_t)cpu.tv_sec * 1000000000ULL + (uint64_t)cpu.tv_nsec;
}

static inline void path_counts(struct path *path, struct path_counts *counts)
{
	struct path_look look = { path, counts };

	loop_call(path->loop, path_look, &look, 5000);
}

#endif
