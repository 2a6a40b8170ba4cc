// SPDX-License-Identifier: Apache-2.0
/*
 * policy.c - linnos_volume.bpf.c compiled for this machine, its maps as plain arrays, and behind its kfuncs what
 * semantos.ko has behind them: the legs' records, the encoders and the nets in integers. Slot i is leg i.
 */
#include "tests/bench/replica/sim/stand_in/stand_in.h"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include "policies/linnos/linnos_volume.bpf.c"
#include "agent/core/volume_row.h"
#include "agent/infer/kernel_net.h"
#include "agent/infer/model.h"
#include "kmod/infer/features.h"
#include "kmod/infer/net.h"
#include "tests/bench/replica/sim/sim.h"

#define MAPS 16
#define LIVE_NS 50000000ULL /* left of the lease at every decision */

static struct {
	const void *map;
	void *rows;
} maps[MAPS];

static struct sim_volume *asking;
static struct infer_net *nets[SEMANTOS_BLK_MAX_LEGS];
static uint32_t generations[SEMANTOS_BLK_MAX_LEGS];

void *sim_map_row(const void *map, size_t bytes, size_t rows, u32 key)
{
	int i = 0;

	while (maps[i].map && maps[i].map != map)
		i++;
	if (!maps[i].map) {
		if (i == MAPS - 1 || !(maps[i].rows = calloc(rows, bytes)))
			exit(1);
		maps[i].map = map;
	}
	return key < rows ? (char *)maps[i].rows + key * bytes : NULL;
}

/* ---- kfuncs ---- */

int semantos_blk_leg_record(
	struct semantos_blk_read *read, __u32 leg, struct semantos_block_record *record)
{
	if (leg >= asking->nr_legs)
		return -ERANGE;
	memset(record, 0, sizeof(*record));
	leg_record(&asking->leg[leg], record, read->sectors, read->now_ns);
	return 0;
}

__u32 semantos_blk_leg_inflight(struct semantos_blk_read *read, __u32 leg)
{
	(void)read;
	return leg < asking->nr_legs ? asking->leg[leg].inflight : U32_MAX;
}

__u32 semantos_blk_leg_dev(struct semantos_blk_read *read, __u32 leg)
{
	(void)read;
	return leg < asking->nr_legs ? leg + 1 : 0;
}

int semantos_blk_set_hedge(struct semantos_blk_read *read, __u32 leg, __u32 after_us)
{
	if (leg >= read->nr_legs)
		return -ERANGE;
	read->hedge_leg = leg;
	read->hedge_after_us = after_us;
	return 0;
}

__u64 semantos_verdict_in_force(__u64 word, __u32 generation, __u64 ttl_ns)
{
	return semantos_verdict_fresh(word, generation, ttl_ns, asking->now_ns) ? word : 0;
}

int semantos_infer_record(__u32 model, const struct semantos_block_record *record,
	struct semantos_infer_result *result)
{
	static struct infer_scratch scratch;
	int64_t outputs[INFER_MAX_OUTPUTS];

	*result = (struct semantos_infer_result){ .error = -ENOENT };
	if (model >= SEMANTOS_BLK_MAX_LEGS || !nets[model])
		return 0;
	infer_encode(nets[model]->encoder, record, scratch.feature);
	infer_load(nets[model], &scratch, scratch.feature);
	infer_run_scalar(nets[model], &scratch, outputs);
	result->score = infer_score(nets[model], outputs);
	result->threshold = nets[model]->threshold;
	result->generation = generations[model];
	result->error = 0;
	return 0;
}

int semantos_infer_legs(struct semantos_blk_read *read, struct semantos_infer_legs *legs)
{
	for (__u32 i = 0; i < asking->nr_legs; i++) {
		struct semantos_block_record record;
		struct semantos_infer_result result;

		semantos_blk_leg_record(read, i, &record);
		semantos_infer_record(legs->model[i], &record, &result);
		legs->score[i] = result.score;
		legs->threshold[i] = result.threshold;
		legs->error[i] = result.error;
		legs->generation[i] = result.generation;
	}
	return 0;
}

/* ---- what the agent does ---- */

static struct infer_net *pack(const struct model *model, uint32_t number)
{
	struct model_error error = { "" };
	size_t n_bytes, packed;
	struct infer_net *net = NULL;
	const char *why = error.text;
	void *blob = kernel_net_build(model, number, &n_bytes, &error);

	if (blob && !infer_net_check(blob, n_bytes, &packed, &why)) {
		packed = (packed + 63) / 64 * 64;
		net = aligned_alloc(64, packed);
		if (net && infer_net_pack(memset(net, 0, packed), blob, &why)) {
			free(net);
			net = NULL;
		}
	}
	free(blob);
	if (!net)
		fprintf(stderr, "sim: the kernel takes no such net: %s\n", why);
	return net;
}

void sim_policy_model(uint32_t leg, const struct model *model, bool obey, bool choose)
{
	struct semantos_leg_model_command command = { .slot = leg };
	__u32 dev = leg + 1;
	struct semantos_slot *slot = bpf_map_lookup_elem(&slots, &leg);

	free(nets[leg]);
	nets[leg] = NULL;
	if (model) {
		nets[leg] = pack(model, leg);
		if (!nets[leg])
			exit(1);
		command.row = volume_row(model, leg, ++generations[leg]);
	}
	leg_model_set(&command);
	*slot = (struct semantos_slot){
		.dev = dev, .generation = 1, .in_use = 1, .obey = obey, .choose = choose
	};
	*bpf_map_lookup_elem(&devices, &dev) = leg;
}

void sim_policy_start(struct sim_volume *volume)
{
	struct semantos_policy *row = policy_row();
	__u32 zero = 0;

	asking = volume;
	*row = (struct semantos_policy){ .mode = SEMANTOS_ENFORCE, .ttl_ns = 50000000 };
	memset(bpf_map_lookup_elem(&decisions, &zero), 0, sizeof(struct semantos_decisions));
	for (__u32 i = 0; i < SEMANTOS_BLK_MAX_LEGS; i++)
		memset(bpf_map_lookup_elem(&verdicts, &i), 0, sizeof(struct semantos_verdict_row));
}

static int ask(struct sim_volume *volume, struct semantos_blk_read *read, bool by_model)
{
	struct semantos_lease *row;
	__u32 zero = 0;

	asking = volume;
	row = bpf_map_lookup_elem(&lease, &zero);
	row->expires_ns = read->now_ns + LIVE_NS;
	return by_model ? select_inline(read) : select_async(read);
}

int sim_policy_inline(struct sim_volume *volume, struct semantos_blk_read *read)
{
	return ask(volume, read, true);
}

int sim_policy_async(struct sim_volume *volume, struct semantos_blk_read *read)
{
	return ask(volume, read, false);
}

void sim_policy_done(struct semantos_blk_done *done)
{
	read_done(done);
}

void sim_policy_verdict(uint32_t leg, bool slow, uint64_t now_ns, uint64_t ttl_ns)
{
	struct semantos_verdict_row *row = bpf_map_lookup_elem(&verdicts, &leg);
	__u64 word = semantos_verdict_pack(now_ns + ttl_ns, 1, 255, slow);

	memcpy(&row->verdict, &word, sizeof(word));
}

const struct semantos_decisions *sim_policy_decisions(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&decisions, &zero);
}
