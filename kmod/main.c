// SPDX-License-Identifier: GPL-2.0
/*
 * main.c - semantos.ko: learned policies, as BPF programs, for decisions that Linux has no hook for.
 *
 * Loads and unloads, and shows in /sys/module/semantos/parameters, readable by all:
 *   holder   the name of the attached policy, or "none"
 *   state    lines of words: the policy and the lease, one line a volume with what was counted, then the models
 */
#include "kmod/internal.h"
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/module.h>

static int holder_get(char *to, const struct kernel_param *param)
{
	size_t length = blk_ops_holder(to, PAGE_SIZE - 1);

	to[length] = '\n';
	return length + 1;
}

static int state_get(char *to, const struct kernel_param *param)
{
	char name[SEMANTOS_BLK_NAME];
	struct seq_buf text;

	seq_buf_init(
		&text, to, PAGE_SIZE - 1); /* sysfs takes less than a page; the rest is cut off */
	blk_ops_holder(name, sizeof(name));
	seq_buf_printf(&text, "policy name=%s lease=%s wire=%u\n", name,
		semantos_lease_alive(READ_ONCE(blk_lease_ns), blk_now_ns()) ? "alive" : "none",
		SEMANTOS_WIRE_VERSION);
	blk_volumes_show(&text);
	model_show(&text);
	return seq_buf_used(&text);
}

static const struct kernel_param_ops holder_ops = { .get = holder_get };
static const struct kernel_param_ops state_ops = { .get = state_get };
module_param_cb(holder, &holder_ops, NULL, 0444);
MODULE_PARM_DESC(holder, "name of the attached policy, or none");
module_param_cb(state, &state_ops, NULL, 0444);
MODULE_PARM_DESC(state, "the policy, the agent's lease, and what was counted for each volume");

/* BTF of the module is what BPF finds its types by. Without, registering says yes and nothing can ever be attached. */
static int have_btf(void)
{
#ifdef CONFIG_DEBUG_INFO_BTF_MODULES
	if (THIS_MODULE->btf_data_size)
		return 0;
#endif
	pr_err("this build carries no BTF, so no policy could find it: install pahole (package "
	       "dwarves) and build it again\n");
	return -ENODATA;
}

static int __init semantos_init(void)
{
	int err = have_btf();

	if (err)
		return err;
	/* Neither has an undo: BPF forgets both with the module's BTF, and finds neither before the module is there. */
	err = kfunc_init() ?: blk_ops_init();
	if (err) {
		pr_err("BPF did not take the kfuncs or the struct_ops type: error %d\n", err);
		return err;
	}
	/* Last, because nothing may fail once somebody can have /dev/semantos open. */
	return model_init();
}

static void __exit semantos_exit(void)
{
	model_exit();
}

module_init(semantos_init);
module_exit(semantos_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("semantos: learned policies for block I/O, as BPF struct_ops");
MODULE_VERSION("0.1.0");
