/* SPDX-License-Identifier: Apache-2.0 */
/*
 * census.h - what a program and the machine hold: descriptors of this process, BPF maps, programs and links of all.
 *
 * So it wants a machine where nobody else loads BPF meanwhile. The kernel frees a while after the last reference.
 */
#ifndef TESTS_CENSUS_H
#define TESTS_CENSUS_H

#include <bpf/bpf.h>
#include <dirent.h>
#include <stdbool.h>
#include <unistd.h>

struct census {
	int fds, maps, programs, links;
};

static inline int census_ids(int (*next)(__u32, __u32 *))
{
	__u32 id = 0;
	int n = 0;

	while (next(id, &id) == 0)
		n++;
	return n;
}

static inline int census_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

static inline struct census census(void)
{
	return (struct census){ census_fds(), census_ids(bpf_map_get_next_id),
		census_ids(bpf_prog_get_next_id), census_ids(bpf_link_get_next_id) };
}

/* Wait up to 10 s until no more is held than before. */
static inline bool census_settles(const struct census *before, struct census *after)
{
	for (int wait = 0; wait < 2000; wait++) {
		*after = census();
		if (after->maps <= before->maps && after->programs <= before->programs &&
			after->links <= before->links && after->fds <= before->fds)
			return true;
		usleep(5000);
	}
	return false;
}

#endif
