/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpf_open.h - an object file opened for libbpf, and what libbpf says when it does not take it.
 */
#ifndef SEMANTOS_UTIL_BPF_OPEN_H
#define SEMANTOS_UTIL_BPF_OPEN_H

#include <bpf/libbpf.h>

/* Opened, not loaded; the caller's to close. NULL with errno, which may be one of libbpf's own. */
struct bpf_object *bpf_open(const char *path);

/* From here on libbpf's first complaint on this thread is kept. For the whole process libbpf has one such function: this. */
void bpf_complaints_catch(void);
/* ": " and that complaint, which names the program, map or relocation at fault; "" = it had none. This thread's, till the next catch. */
const char *bpf_complaint(void);

/*
 * What -errno means, where libbpf has numbers of its own above errno's; *err becomes one errno to tell them by: -ENOEXEC,
 * also for the verifier's -EACCES. The text is this thread's until the next call.
 */
const char *bpf_reason(int *err);

#endif
