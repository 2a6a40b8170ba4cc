// SPDX-License-Identifier: GPL-2.0
/*
 * blk_ops.c - the struct_ops type semantos_blk_ops: checks a policy, attaches, replaces and detaches it.
 *
 * Owns the pointer to the policy in force. Readers hold rcu_read_lock() around the call of a callback; whoever takes
 * a policy away waits for a grace period, so that nothing of it runs once detach or replacement returned. A replacement
 * is one store of the pointer: each decision is taken by the old policy or by the new one.
 *
 * BPF itself holds a reference to this module while a policy is attached, so it cannot be unloaded meanwhile.
 */
#include "kmod/internal.h"
#include <linux/bpf.h>
#include <linux/bpf_verifier.h>
#include <linux/btf.h>
#include <linux/ctype.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/string.h>

struct semantos_blk_ops __rcu *blk_policy;
u64 blk_lease_ns;
static DEFINE_MUTEX(policy_lock); /* orders attach, replace, detach and reading the name */

/* Signatures for the verifier; BPF replaces each with the policy's program. Never called. */
static int select_leg(struct semantos_blk_read *read)
{
	return SEMANTOS_BLK_DEFAULT;
}

static int admit(struct semantos_blk_read *read, wire_u32 leg)
{
	return SEMANTOS_BLK_ADMIT;
}

static void on_complete(struct semantos_blk_done *done)
{
}

static struct semantos_blk_ops stubs = {
	.select_leg = select_leg,
	.admit = admit,
	.on_complete = on_complete,
};

static const struct bpf_func_proto *func_proto(enum bpf_func_id id, const struct bpf_prog *prog)
{
	return bpf_base_func_proto(id, prog);
}

static bool valid_access(int off, int size, enum bpf_access_type type, const struct bpf_prog *prog,
	struct bpf_insn_access_aux *info)
{
	return bpf_tracing_btf_ctx_access(off, size, type, prog, info);
}

/*
 * No btf_struct_access: a policy cannot write to what it is shown. (Were it needed, the ids of its types could not come
 * from a BTF_ID_LIST: those are not relocated for a module whose BTF is distilled, as on 7.x.)
 */
static const struct bpf_verifier_ops verifier = {
	.get_func_proto = func_proto,
	.is_valid_access = valid_access,
};

static int init(struct btf *btf)
{
	return 0;
}

static int check_member(
	const struct btf_type *type, const struct btf_member *member, const struct bpf_prog *prog)
{
	/* All callbacks run under rcu_read_lock(), on_complete() in interrupts as well. */
	return prog->sleepable ? -EINVAL : 0;
}

/* 0 or -EINVAL. bpf_obj_name_cpy() is not exported on 6.12. */
static int copy_name(char *to, const char *from)
{
	size_t length = strnlen(from, SEMANTOS_BLK_NAME);

	if (!length || length == SEMANTOS_BLK_NAME)
		return -EINVAL;
	for (size_t i = 0; i < length; i++)
		if (!isalnum(from[i]) && !strchr("_-.", from[i]))
			return -EINVAL;
	memcpy(to, from, length + 1);
	return 0;
}

static int init_member(const struct btf_type *type, const struct btf_member *member, void *kdata,
	const void *udata)
{
	const struct semantos_blk_ops *from = udata;
	struct semantos_blk_ops *to = kdata;

	switch (__btf_member_bit_offset(type, member) / 8) {
	case offsetof(struct semantos_blk_ops, name):
		return copy_name(to->name, from->name) ?: 1;
	case offsetof(struct semantos_blk_ops, flags):
		if (from->flags & ~SEMANTOS_BLK_F_ALL)
			return -EINVAL;
		to->flags = from->flags;
		return 1;
	case offsetof(struct semantos_blk_ops, version):
		if (from->version && from->version != SEMANTOS_BLK_VERSION)
			return -EPROTONOSUPPORT;
		to->version = from->version;
		return 1;
	}
	return 0;
}

static int validate(void *kdata)
{
	return 0; /* every callback may be left out, and the members were checked one by one */
}

static int reg(void *kdata, struct bpf_link *link)
{
	struct semantos_blk_ops *ops = kdata, *holder;
	int err = 0;

	mutex_lock(&policy_lock);
	holder = rcu_dereference_protected(blk_policy, lockdep_is_held(&policy_lock));
	if (holder) {
		pr_notice_ratelimited("'%s' is not attached: '%s' is, and one policy decides for "
				      "all volumes; detach or replace it\n",
			ops->name, holder->name);
		err = -EBUSY;
	} else {
		rcu_assign_pointer(blk_policy, ops);
		pr_info("'%s' is attached\n", ops->name);
	}
	mutex_unlock(&policy_lock);
	return err;
}

static void unreg(void *kdata, struct bpf_link *link)
{
	struct semantos_blk_ops *ops = kdata;

	mutex_lock(&policy_lock);
	if (rcu_access_pointer(blk_policy) == ops)
		RCU_INIT_POINTER(blk_policy, NULL);
	pr_info("'%s' is detached\n", ops->name);
	mutex_unlock(&policy_lock);
	synchronize_rcu();
}

/* BPF calls it with the two policies of one link, so the old one is the one in force. */
static int update(void *kdata, void *old_kdata, struct bpf_link *link)
{
	int err = 0;

	mutex_lock(&policy_lock);
	if (rcu_access_pointer(blk_policy) == old_kdata)
		rcu_assign_pointer(blk_policy, kdata);
	else
		err = -ESTALE;
	mutex_unlock(&policy_lock);
	if (!err)
		synchronize_rcu();
	return err;
}

static struct bpf_struct_ops blk_struct_ops = {
	.verifier_ops = &verifier,
	.init = init,
	.check_member = check_member,
	.init_member = init_member,
	.validate = validate,
	.reg = reg,
	.unreg = unreg,
	.update = update,
	.cfi_stubs = &stubs,
	.owner = THIS_MODULE,
	.name = "semantos_blk_ops",
};

size_t blk_ops_holder(char *to, size_t size)
{
	struct semantos_blk_ops *holder;
	size_t length;

	mutex_lock(&policy_lock);
	holder = rcu_dereference_protected(blk_policy, lockdep_is_held(&policy_lock));
	length = scnprintf(to, size, "%s", holder ? holder->name : "none");
	mutex_unlock(&policy_lock);
	return length;
}

int blk_ops_init(void)
{
	return register_bpf_struct_ops(&blk_struct_ops, semantos_blk_ops);
}
