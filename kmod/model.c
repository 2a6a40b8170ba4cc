// SPDX-License-Identifier: GPL-2.0
/*
 * model.c - the models an agent has handed over, and running them: /dev/semantos, swap by generation, the FPU.
 *
 * A model is one write of one blob (kmod/infer/net.h) by root. It is copied, checked, proved free of overflow and
 * packed before it becomes visible; the one before under its number goes after a grace period. What runs sees one
 * of the two whole. Must never run vector code outside kernel_fpu_begin() and _end(), and never AMX, which faults in
 * the kernel.
 *
 * Locking: models_lock orders writers; readers use RCU. Scratch memory is per CPU and per nesting level (task, softirq,
 * hardirq, NMI), taken with preemption off.
 */
#include "kmod/internal.h"
#include <linux/atomic.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/nospec.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#ifdef CONFIG_X86_64
#include <asm/cpufeature.h>
#include <asm/fpu/api.h>
#include <asm/fpu/xstate.h>
#endif
#include "kmod/infer/features.h"

#define NESTING 4

struct model {
	struct rcu_head rcu;
	u32 generation; /* of this number; never 0 */
	struct infer_net net; /* aligned to 64 bytes */
};

struct model_scratch {
	u32 level; /* in use: 0..NESTING */
	struct infer_scratch level_scratch[NESTING];
};

static struct model __rcu *models[SEMANTOS_MODELS];
static u32 generations[SEMANTOS_MODELS];
static DEFINE_MUTEX(models_lock);
static struct model_scratch __percpu *scratch;
static infer_path_fn *vector_path; /* NULL: this CPU has none */
static const char *vector_name = "scalar";
static bool vector = true;
module_param(vector, bool, 0444);
MODULE_PARM_DESC(
	vector, "run models with the CPU's vector registers, where it has any that are known");
static atomic64_t ran_plain; /* inferences that found no FPU to use */

/* ---- running ---- */

#ifdef CONFIG_X86_64
static void choose_path(void)
{
	if (boot_cpu_has(X86_FEATURE_AVX512F) && boot_cpu_has(X86_FEATURE_AVX512BW) &&
		cpu_has_xfeatures(
			XFEATURE_MASK_SSE | XFEATURE_MASK_YMM | XFEATURE_MASK_AVX512, NULL)) {
		vector_path = infer_run_avx512;
		vector_name = "avx512";
	} else if (boot_cpu_has(X86_FEATURE_AVX2) &&
		   cpu_has_xfeatures(XFEATURE_MASK_SSE | XFEATURE_MASK_YMM, NULL)) {
		vector_path = infer_run_avx2;
		vector_name = "avx2";
	}
}

/* Vector registers for the caller, until fpu_end(); false where they are not to be had. Preemption is off. */
static bool fpu_begin(void)
{
	if (!vector_path || !irq_fpu_usable())
		return false;
	kernel_fpu_begin();
	return true;
}

static void fpu_end(void)
{
	kernel_fpu_end();
}
#else
static void choose_path(void)
{
}

static bool fpu_begin(void)
{
	return false;
}

static void fpu_end(void)
{
}
#endif

/*
 * Scores of n records, each by a model of its own, under one taking of the FPU. result[i].error is 0, or -ENOENT for a
 * model that is not there. Bounded: n is at most SEMANTOS_BLK_MAX_LEGS, a net INFER_MAX_MACS.
 */
int model_run(const u32 *number, const struct semantos_block_record *record, u32 n,
	struct semantos_infer_result *result)
{
	infer_path_fn *path = infer_run_scalar;
	struct model_scratch *mine;
	struct infer_scratch *work;
	bool fpu;
	int err = 0;

	rcu_read_lock();
	preempt_disable();
	mine = this_cpu_ptr(scratch);
	if (mine->level >= NESTING) {
		err = -EBUSY;
		goto out;
	}
	work = &mine->level_scratch[mine->level++];
	barrier(); /* what interrupts from here on takes the next level */
	fpu = fpu_begin();
	if (fpu)
		path = vector_path;
	else
		atomic64_add(n, &ran_plain);
	for (u32 i = 0; i < n; i++) {
		/* Once: it may lie in a map that others write. */
		u32 which = READ_ONCE(number[i]);
		const struct model *model =
			which < SEMANTOS_MODELS
				? rcu_dereference(
					  models[array_index_nospec(which, SEMANTOS_MODELS)])
				: NULL;
		s64 outputs[INFER_MAX_OUTPUTS];

		result[i].error = -ENOENT;
		result[i].generation = 0;
		result[i].score = 0;
		result[i].threshold = 0;
		if (!model)
			continue;
		infer_encode(model->net.encoder, &record[i], work->feature);
		infer_load(&model->net, work, work->feature);
		path(&model->net, work, outputs);
		result[i].score = infer_score(&model->net, outputs);
		result[i].threshold = model->net.threshold;
		result[i].generation = model->generation;
		result[i].error = 0;
	}
	if (fpu)
		fpu_end();
	barrier();
	mine->level--;
out:
	preempt_enable();
	rcu_read_unlock();
	return err;
}

/* ---- handing over ---- */

/* Under models_lock. NULL removes. */
static void put_model(u32 number, struct model *model)
{
	struct model *old =
		rcu_dereference_protected(models[number], lockdep_is_held(&models_lock));

	generations[number] = ((generations[number] + 1) & SEMANTOS_GENERATION_MASK) ?: 1;
	if (model)
		model->generation = generations[number];
	rcu_assign_pointer(models[number], model);
	if (old)
		kvfree_rcu(old, rcu);
}

/* What the last write on a descriptor came to, for whoever reads it back. */
struct said {
	struct mutex lock;
	const char *why; /* of a refusal */
	u32 generation; /* of what was taken; 0 = nothing to say */
};

static int take(const void *blob, size_t n_bytes, struct said *said)
{
	struct infer_blob_head head;
	struct model *model;
	size_t packed;
	int err;

	said->generation = 0;
	said->why = "it is shorter than its head";
	if (n_bytes < sizeof(head))
		return -EINVAL;
	memcpy(&head, blob, sizeof(head));
	said->why = "its number is beyond the models this module holds";
	if (head.model >= SEMANTOS_MODELS)
		return -E2BIG;
	/* A head alone, without layers, removes the model of its number. */
	if (n_bytes == sizeof(head) && head.magic == INFER_NET_MAGIC && !head.n_layers) {
		mutex_lock(&models_lock);
		put_model(head.model, NULL);
		mutex_unlock(&models_lock);
		said->why = NULL;
		return 0;
	}
	err = infer_net_check(blob, n_bytes, &packed, &said->why);
	if (err)
		return err;
	said->why = "there is no memory for it";
	model = kvzalloc(offsetof(struct model, net) + packed, GFP_KERNEL);
	if (!model)
		return -ENOMEM;
	err = infer_net_pack(&model->net, blob, &said->why);
	if (err) {
		kvfree(model);
		return err;
	}
	mutex_lock(&models_lock);
	put_model(head.model, model);
	said->generation = generations[head.model];
	mutex_unlock(&models_lock);
	said->why = NULL;
	return 0;
}

static int device_open(struct inode *inode, struct file *file)
{
	struct said *said;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	said = kzalloc(sizeof(*said), GFP_KERNEL);
	if (!said)
		return -ENOMEM;
	mutex_init(&said->lock);
	file->private_data = said;
	return nonseekable_open(inode, file);
}

static int device_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static ssize_t device_write(struct file *file, const char __user *from, size_t n, loff_t *at)
{
	struct said *said = file->private_data;
	void *blob = NULL;
	int err = -E2BIG;

	if (n <= INFER_MAX_BYTES) {
		/* Copied first: what is checked is what is packed, whatever the writer does to its memory. */
		blob = vmemdup_user(from, n);
		if (IS_ERR(blob))
			return PTR_ERR(blob);
	}
	mutex_lock(&said->lock);
	said->generation = 0;
	said->why = "it is larger than a net may be";
	if (blob)
		err = take(blob, n, said);
	mutex_unlock(&said->lock);
	kvfree(blob);
	return err ?: n;
}

/* Of the last write: why it was refused, in one line, or the generation its model has. Once. */
static ssize_t device_read(struct file *file, char __user *to, size_t n, loff_t *at)
{
	struct said *said = file->private_data;
	char line[128];
	int length = 0;

	mutex_lock(&said->lock);
	if (said->why)
		length = scnprintf(line, sizeof(line), "%s\n", said->why);
	else if (said->generation)
		length = scnprintf(line, sizeof(line), "generation=%u\n", said->generation);
	if (length <= n) {
		said->why = NULL;
		said->generation = 0;
	}
	mutex_unlock(&said->lock);
	if (length > n)
		return -EMSGSIZE;
	return copy_to_user(to, line, length) ? -EFAULT : length;
}

static const struct file_operations device_fops = {
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.read = device_read,
	.write = device_write,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "semantos",
	.fops = &device_fops,
	.mode = 0600,
};

void model_show(struct seq_buf *to)
{
	seq_buf_printf(to, "inference path=%s no_fpu=%lld\n", vector_name,
		(long long)atomic64_read(&ran_plain));
	rcu_read_lock();
	for (u32 i = 0; i < SEMANTOS_MODELS; i++) {
		const struct model *model = rcu_dereference(models[i]);

		if (model)
			seq_buf_printf(to, "model %u name=%s generation=%u layers=%u\n", i,
				model->net.name, model->generation, model->net.n_layers);
	}
	rcu_read_unlock();
}

int model_init(void)
{
	int err;

	scratch = __alloc_percpu(sizeof(*scratch), 64);
	if (!scratch)
		return -ENOMEM;
	if (vector)
		choose_path();
	err = misc_register(&device);
	if (err)
		free_percpu(scratch);
	return err;
}

/* Nobody can call any more: BPF holds the module while a program of its kfuncs exists. */
void model_exit(void)
{
	misc_deregister(&device);
	for (u32 i = 0; i < SEMANTOS_MODELS; i++)
		kvfree(rcu_dereference_protected(models[i], 1));
	rcu_barrier(); /* models replaced lately */
	free_percpu(scratch);
}
