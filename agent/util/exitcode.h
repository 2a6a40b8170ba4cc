/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exitcode.h - the documented exit codes of every program of ours (docs/exit-codes.md, man pages).
 */
#ifndef SEMANTOS_UTIL_EXITCODE_H
#define SEMANTOS_UTIL_EXITCODE_H

enum exit_code {
	EXIT_CODE_OK = 0,
	EXIT_CODE_FAILED = 1, /* it was tried and failed; the sentence says why */
	EXIT_CODE_USAGE = 2, /* unknown option, missing or malformed argument */
	EXIT_CODE_KERNEL =
		3, /* the kernel is too old or lacks something named in the sentence (BTF, bpffs) */
	EXIT_CODE_PERMISSION = 4, /* not root, or not in the group the command needs */
	EXIT_CODE_BUSY = 5, /* another agent runs here */
	EXIT_CODE_REFUSED =
		6, /* a manifest, BPF object, model or capture was refused; nothing was changed */
	EXIT_CODE_NO_AGENT = 7, /* semantosctl: no agent answers on the socket */
	EXIT_CODE_TIMEOUT = 8, /* a bounded wait ran out (--learn-timeout, no answer in time) */
	EXIT_CODE_STATE =
		9, /* the state or run directory cannot be used: full, read-only, missing */
	EXIT_CODE_NOT_FOUND = 10, /* no such policy, device or record */
};

#endif
