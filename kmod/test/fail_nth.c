// SPDX-License-Identifier: GPL-2.0
/*
 * fail_nth.c - the counter behind fail_nth.h; part of semantos.ko in the build that it is for, and of no other.
 */
#include <linux/atomic.h>
#include <linux/export.h>
#include <linux/module.h>

static atomic_t left, live;
static bool hit, open;

/* Does this allocation fail? Any context. */
bool semantos_fail_now(void)
{
	if (atomic_read(&left) <= 0 || !atomic_dec_and_test(&left))
		return false;
	WRITE_ONCE(hit, true);
	return true;
}
EXPORT_SYMBOL_GPL(semantos_fail_now);

void semantos_fail_live(int change)
{
	atomic_add(change, &live);
}
EXPORT_SYMBOL_GPL(semantos_fail_live);

/* Whether /dev/semantos is there. */
void semantos_fail_open(bool now)
{
	WRITE_ONCE(open, now);
}

bool semantos_fail_register(void)
{
	bool fails = semantos_fail_now();

	WARN(fails && READ_ONCE(open), "registering fails, and /dev/semantos is there already");
	return fails;
}

static int nth_set(const char *text, const struct kernel_param *param)
{
	int n, err = kstrtoint(text, 0, &n);

	if (err)
		return err;
	WRITE_ONCE(hit, false);
	atomic_set(&left, n);
	return 0;
}

static int hit_get(char *to, const struct kernel_param *param)
{
	return scnprintf(to, PAGE_SIZE, "%d\n", READ_ONCE(hit));
}

static int live_get(char *to, const struct kernel_param *param)
{
	return scnprintf(to, PAGE_SIZE, "%d\n", atomic_read(&live));
}

static const struct kernel_param_ops nth_ops = { .set = nth_set };
static const struct kernel_param_ops hit_ops = { .get = hit_get };
static const struct kernel_param_ops live_ops = { .get = live_get };
module_param_cb(fail_nth, &nth_ops, NULL, 0200);
MODULE_PARM_DESC(fail_nth, "the Nth allocation from now on fails; 0 = none");
module_param_cb(fail_hit, &hit_ops, NULL, 0444);
MODULE_PARM_DESC(fail_hit, "did it?");
module_param_cb(fail_live, &live_ops, NULL, 0444);
MODULE_PARM_DESC(fail_live, "allocated, and not freed");
