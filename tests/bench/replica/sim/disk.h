/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* disk.h - a test disk of the lab as a process: what it is asked, and when it answers. Times may not run backwards. */
#ifndef SEMANTOS_SIM_DISK_H
#define SEMANTOS_SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

struct sim_disk;
struct sim_disk *sim_disk_new(
	const char *words); /* as semantos_testdev takes them; ends on nonsense */
void sim_disk_free(struct sim_disk *disk);
void sim_disk_restart(struct sim_disk *disk, uint32_t seed, uint32_t from_ms, uint64_t now_ns);
uint64_t sim_disk_serve(struct sim_disk *disk, uint64_t now_ns, uint32_t bytes, bool write);
uint64_t sim_disk_peek(const struct sim_disk *disk, uint64_t now_ns, uint32_t bytes);

#endif
