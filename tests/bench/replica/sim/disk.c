// SPDX-License-Identifier: Apache-2.0
/* disk.c - the test disks of the lab, by their own source, on the simulation's clock. */
#include "tests/bench/replica/sim/stand_in/stand_in.h"
#include "kmod/test/testdev_words.h"
#include "tests/bench/replica/sim/disk.h"

struct sim_disk {
	struct process process;
};

struct sim_disk *sim_disk_new(const char *words)
{
	struct sim_disk *disk = calloc(1, sizeof(*disk));
	char *text = strdup(words);
	struct trace *trace = NULL;
	struct spec spec;

	if (!disk || !text || parse_spec(&spec, text, 1))
		exit(1);
	if (spec.model == TRACE) {
		trace = trace_load(spec.file);
		if (IS_ERR(trace))
			exit(1);
	}
	process_start(&disk->process, &spec, 0);
	disk->process.trace = trace;
	free(text);
	return disk;
}

void sim_disk_free(struct sim_disk *disk)
{
	free((void *)disk->process.trace);
	free(disk);
}

void sim_disk_restart(struct sim_disk *disk, uint32_t seed, uint32_t from_ms, uint64_t now_ns)
{
	disk->process.spec.seed = seed;
	process_start(&disk->process, &disk->process.spec, now_ns);
	disk->process.start_ns -= (u64)from_ms * NSEC_PER_MSEC * disk->process.spec.stretch;
}

uint64_t sim_disk_serve(struct sim_disk *disk, uint64_t now_ns, uint32_t bytes, bool write)
{
	return process_request_ns(&disk->process, now_ns, bytes, write);
}

uint64_t sim_disk_peek(const struct sim_disk *disk, uint64_t now_ns, uint32_t bytes)
{
	struct process copy = disk->process;

	return process_request_ns(&copy, now_ns, bytes, false);
}
