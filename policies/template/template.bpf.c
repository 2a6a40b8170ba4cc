// SPDX-License-Identifier: GPL-2.0
/*
 * template.bpf.c - the BPF half of a policy: which hooks it is made of.
 *
 * block_tp.h attaches to block_rq_issue, block_rq_complete and block_rq_requeue and sends records with the raw numbers of
 * every read; block_control.h lets the agent give it devices. To look at other events, write a front end like
 * block_tp.h that fills a struct block_event and calls the bodies in block.h. Numbers of your own go into a record
 * through the reserved fields of struct semantos_block_record, with a new SEMANTOS_WIRE_VERSION.
 */
#include "bpf/hooks/block_tp.h"
#include "bpf/hooks/block_control.h"

char LICENSE[] SEC("license") = "GPL";
