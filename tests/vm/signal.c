// SPDX-License-Identifier: Apache-2.0
/*
 * signal.c - runs the agent's core on disks whose truth is known, and says on which it found something to predict.
 *
 * All disks are learned at once by one agent. When each has been judged on enough live predictions, prints a line per
 * disk and whether its verdicts may be obeyed (the slot's `obey`: the agent's own last word on signal).
 * Exit 0: all were judged; 1: not in time, or the agent could not start.
 *
 * Usage: signal ROWS EVALUATED SECONDS DISK...    from the root of the tree
 */
#include <bpf/bpf.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "agent/core/control.h"
#include "agent/core/core.h"

#define PINS "/sys/fs/bpf/semantos"

static void *run_core(void *core)
{
	core_run(core);
	return NULL;
}

static void print(const struct policy_view *policy)
{
	int slots = bpf_obj_get(PINS "/linnos/slots");

	for (uint32_t i = 0; i < policy->n_devices; i++) {
		const struct device_view *d = &policy->device[i];
		struct semantos_slot slot = { 0 };

		bpf_map_lookup_elem(slots, &d->slot, &slot);
		printf("%s obey=%u signal=%d rows=%llu heldout_auc=%.3f low=%.3f pending=%.3f | "
		       "evaluated=%llu "
		       "auc=%.3f pending=%.3f slow=%.3f | %s\n",
			d->name, slot.obey, d->signal, (unsigned long long)d->trained_rows,
			d->heldout_auc, d->heldout_auc_low, d->heldout_auc_pending,
			(unsigned long long)d->score.evaluated, d->score.auc, d->score.auc_pending,
			d->score.slow_share, d->note);
	}
	if (slots >= 0)
		close(slots);
}

/* 1 when every disk was judged on that many predictions, 0 when not yet. Prints in the first case, or if told to. */
static int look(struct core *core, uint64_t evaluated, uint32_t disks, int show)
{
	struct agent_view view;
	int done = 0;

	if (control_view(core, "linnos", &view))
		return 0;
	if (view.n_policies == 1 && view.policy[0].n_devices == disks) {
		done = 1;
		for (uint32_t i = 0; i < disks; i++)
			if (view.policy[0].device[i].score.evaluated < evaluated)
				done = 0;
	}
	if ((done || show) && view.n_policies == 1)
		print(&view.policy[0]);
	control_view_free(&view);
	return done;
}

int main(int argc, char **argv)
{
	struct core_options options = { .policy_path = "build/policies",
		.state_dir = "/tmp/state",
		.run_dir = "/run/semantos",
		.bpffs_dir = PINS };
	struct control_reply reply = { 0 };
	enum exit_code code;
	pthread_t thread;
	struct core *core;
	char error[512];
	int done = 0;

	if (argc < 5 || argc > 4 + CORE_MAX_PATTERNS) {
		fprintf(stderr, "Usage: signal ROWS EVALUATED SECONDS DISK...\n");
		return 2;
	}
	options.min_rows = (uint32_t)strtoul(argv[1], NULL, 10);
	for (int i = 4; i < argc; i++)
		options.device[options.n_device++] = argv[i];
	core = core_new(&options, &code, error, sizeof(error));
	if (!core) {
		fprintf(stderr, "%s\n", error);
		return 1;
	}
	if (pthread_create(&thread, NULL, run_core, core)) {
		core_free(core);
		return 1;
	}
	control_attach(core, "linnos", NULL, &reply);
	if (reply.error) {
		fprintf(stderr, "%s\n", reply.text);
	} else {
		int seconds = atoi(argv[3]);

		for (int i = 0; i < seconds && !done; i++) {
			sleep(1);
			done = look(core, strtoul(argv[2], NULL, 10), options.n_device,
				i + 1 == seconds);
		}
	}
	core_stop(core);
	pthread_join(thread, NULL);
	core_free(core);
	return !done;
}
