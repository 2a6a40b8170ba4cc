/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpf_open.h - an object file opened for libbpf.
 */
#ifndef SEMANTOS_UTIL_BPF_OPEN_H
#define SEMANTOS_UTIL_BPF_OPEN_H

#include <bpf/libbpf.h>

/* Opened, not loaded; the caller's to close. NULL with errno, which may be one of libbpf's own. */
struct bpf_object *bpf_open(const char *path);

#endif
