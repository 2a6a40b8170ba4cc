// SPDX-License-Identifier: GPL-2.0
/*
 * linnos.bpf.c - LinnOS's question, asked at every read a disk is given: will this one be slow?
 *
 * The block hooks of bpf/hooks do all of it; this file says which of them the policy is made of. The record they
 * send carries raw numbers, and the encoder that policy.conf names makes a model's features of them: LinnOS's 31
 * digits are one choice.
 */
#include "bpf/hooks/block_tp.h"
#include "bpf/hooks/block_control.h"

char LICENSE[] SEC("license") = "GPL";
