/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * stand_in.h - as much of the kernel's headers, and of libbpf's for programs, as the sources need that the simulation
 * compiles as they are: the test disks' process (kmod/test/testdev_*.h) and linnos_volume.bpf.c. All headers of this
 * folder are this one.
 */
#ifndef SEMANTOS_SIM_STAND_IN_H
#define SEMANTOS_SIM_STAND_IN_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8, __u8;
typedef uint16_t u16, __u16;
typedef uint32_t u32, __u32;
typedef uint64_t u64, __u64;

#define U32_MAX UINT32_MAX
#define NSEC_PER_USEC 1000L
#define NSEC_PER_MSEC 1000000L
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define min_t(type, a, b) ((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#define struct_size(p, member, n) (sizeof(*(p)) + sizeof((p)->member[0]) * (n))
#define div_u64(a, b) ((u64)(a) / (u64)(b))
#define div64_u64 div_u64
#define do_div(n, by)                          \
	({                                     \
		u32 rest_ = (u32)((n) % (by)); \
		(n) /= (by);                   \
		rest_;                         \
	})
#define ilog2(x) (31 - __builtin_clz(x))
#define pr_err(...) fprintf(stderr, __VA_ARGS__)

#define ERR_PTR(err) ((void *)(intptr_t)(err))
#define PTR_ERR(p) ((int)(intptr_t)(p))
#define IS_ERR(p) ((uintptr_t)(p) >= (uintptr_t)-4095)
#define PTR_ERR_OR_ZERO(p) (IS_ERR(p) ? PTR_ERR(p) : 0)
#define ERR_CAST(p) ((void *)(p))

#define vzalloc(n) calloc(1, n)
#define vfree(p) free(p)

/* ---- text ---- */

#define strscpy(to, from, size) (snprintf(to, size, "%s", from) < (int)(size) ? 0 : -E2BIG)

static inline char *strim(char *s)
{
	size_t n = strlen(s);

	while (n && strchr(" \t\r\n", s[n - 1]))
		s[--n] = 0;
	return s + strspn(s, " \t\r\n");
}

static inline int kstrtou32(const char *s, unsigned int base, u32 *value)
{
	char *end;
	unsigned long long v = strtoull(s, &end, (int)base);

	if (end == s || *end || v > U32_MAX)
		return -EINVAL;
	*value = (u32)v;
	return 0;
}

static inline int match_string(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(names[i], name))
			return (int)i;
	return -EINVAL;
}

/* ---- files ---- */

struct file;
#define filp_open(path, flags, mode) ((struct file *)(fopen(path, "r") ?: ERR_PTR(-ENOENT)))
#define fput(file) fclose((FILE *)(file))
#define file_inode(file) (file)

static inline long long i_size_read(struct file *file)
{
	long long bytes;

	fseek((FILE *)file, 0, SEEK_END);
	bytes = ftell((FILE *)file);
	rewind((FILE *)file);
	return bytes;
}

static inline long kernel_read(struct file *file, void *to, size_t n, long *at)
{
	size_t got = fread(to, 1, n, (FILE *)file);

	*at += (long)got;
	return (long)got;
}

#define loff_t long

/* ---- BPF: programs are functions, maps are arrays that sim/policy.c keeps ---- */

#define BPF_MAP_TYPE_ARRAY 1
#define BPF_MAP_TYPE_PERCPU_ARRAY 1
#define BPF_MAP_TYPE_HASH 1
#define BPF_F_MMAPABLE 1
#define __uint(name, value) int(*name)[value]
#define __type(name, value) __typeof__(value) *name
#define SEC(name) __attribute__((unused))
#define __ksym
#define __weak
#define barrier() asm volatile("" ::: "memory")
#define BPF_PROG(name, args...) name(args)
#define bpf_for(i, from, to) for ((i) = (from); (i) < (to); (i)++)
#define bpf_map_lookup_elem(map, key)           \
	((__typeof__((map)->value))sim_map_row( \
		map, sizeof(*(map)->value), sizeof(*(map)->max_entries) / sizeof(int), *(key)))

void *sim_map_row(const void *map, size_t bytes, size_t rows, u32 key);

#endif
