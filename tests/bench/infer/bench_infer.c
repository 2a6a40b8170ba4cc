// SPDX-License-Identifier: Apache-2.0
/*
 * bench_infer.c - the engines of agent/infer against the libraries one would take instead: the same nets, rows and core.
 *
 * Answers are compared before anything is timed. The last line is JSON. A missed target is a word in the table, never an
 * exit code; a peer that is not there is a dash.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/infer.h"
#include "agent/infer/knn.h"
#include "agent/infer/random.h"
#include "compare.h"
#include "peers.h"

static const struct peer *const peers[N_PEERS] = { &peer_openblas, &peer_onednn, &peer_onnxruntime,
	&peer_torch, &peer_faiss };
static enum compare_mode mode;

/* What SEMANTOS_INFER has to be for each of our own; NULL: the default. */
static const char *const engines[FIRST_PEER] = { [AVX2] = "avx2", [PLAIN] = "scalar" };

static void force(const char *engine)
{
	if (engine)
		setenv("SEMANTOS_INFER", engine, 1);
	else
		unsetenv("SEMANTOS_INFER");
}

/* A peer at work on one net. */
struct peer_run {
	const struct peer *peer;
	void *it;
	const float *rows;
	float *out;
	uint32_t *index;
};

static void run_peer_mlp(void *state)
{
	struct peer_run *run = state;

	run->peer->mlp_run(run->it, run->rows, run->out);
}

static void run_peer_lstm(void *state)
{
	struct peer_run *run = state;

	run->peer->lstm_run(run->it, run->out);
}

static void run_peer_knn(void *state)
{
	struct peer_run *run = state;

	run->peer->knn_run(run->it, run->index);
}

static void differ(const char *model, const char *who)
{
	fprintf(stderr, "%s: the answers of %s are not ours; nothing was timed.\n", model, who);
	exit(1);
}

/* ---- nets --------------------------------------------------------------------------------------------- */

struct mlp {
	struct infer_plan *plan;
	struct infer_scratch *scratch;
	const float *rows;
	float *out;
	size_t n;
	bool scores;
};

static void run_ours(void *state)
{
	struct mlp *mlp = state;

	if (mlp->scores)
		infer_run(mlp->plan, mlp->scratch, mlp->rows, mlp->n, mlp->out);
	else
		infer_run_outputs(mlp->plan, mlp->scratch, mlp->rows, mlp->n, mlp->out);
}

struct net {
	const char *name;
	uint32_t widths[6], n_widths;
	bool digits;
	enum model_activation hidden;
	struct {
		size_t n;
		double target, lake_us; /* see compare() */
	} batch[3];
};

static const struct net nets[] = {
	{ "LinnOS 31-256-2", { 31, 256, 2 }, 3, true, MODEL_RELU,
		{ { 1, 2, 51 }, { 32, 3, 57 }, { 1024, 7, 307 } } },
	{ "LinnOS+1", { 31, 256, 256, 2 }, 4, true, MODEL_RELU,
		{ { 512, 0, 673 }, { 1024, 4, 0 } } },
	{ "LinnOS+2", { 31, 256, 256, 256, 2 }, 5, true, MODEL_RELU,
		{ { 512, 0, 1173 }, { 1024, 4, 0 } } },
	{ "Heimdall 12-128-16-1", { 12, 128, 16, 1 }, 4, false, MODEL_RELU,
		{ { 1, 2, 0 }, { 1024, 3, 0 } } },
	{ "MLLB 15-10-1", { 15, 10, 1 }, 3, false, MODEL_RELU, { { 1, 2, 31 }, { 1024, 3, 57 } } },
	{ "KML 5-15-5-4", { 5, 15, 5, 4 }, 4, false, MODEL_SIGMOID,
		{ { 1, 2, 43 }, { 1024, 3, 98 } } },
};

static struct model *net_of(const struct net *net, struct random_state *random)
{
	struct model *model = model_new("m", "e", net->widths, net->n_widths);

	for (uint32_t l = 0; l < model->n_layers; l++) {
		struct model_layer *layer = &model->layer[l];

		layer->activation = l + 1 < model->n_layers ? net->hidden : MODEL_LINEAR;
		for (uint32_t i = 0; i < layer->inputs * layer->outputs; i++)
			layer->weight[i] =
				(float)(4 * random_unit(random) - 2) / sqrtf((float)layer->inputs);
		for (uint32_t o = 0; o < layer->outputs; o++)
			layer->bias[o] = (float)(random_unit(random) - 0.5);
	}
	return model;
}

static void bench_net(const struct net *net, size_t n, double target, double lake_us)
{
	struct random_state random = random_seed(7);
	struct model *model = net_of(net, &random);
	uint32_t width = net->widths[0], n_out = net->widths[net->n_widths - 1];
	float *rows = malloc(n * width * sizeof(float));
	struct mlp ours[FIRST_PEER] = { { NULL } };
	struct peer_run peer[N_PEERS] = { { NULL } };
	struct contender all[CONTENDERS] = { { NULL } };
	const float *exact = NULL;
	double sum = 0;

	for (size_t i = 0; i < n * width; i++)
		rows[i] = net->digits ? (float)random_below(&random, 10)
				      : (float)(2 * random_unit(&random) - 1);
	for (size_t at = 0; at < FIRST_PEER; at++) {
		/* Floats first: they say where the middle is, which is the threshold, and where near ties are. */
		static const size_t order[] = { FLOATS, OURS, AVX2, PLAIN };
		size_t c = order[at];

		if (!compare_wants(mode, c))
			continue;
		force(engines[c]);
		ours[c] = (struct mlp){ .plan = infer_prepare(model, (uint32_t)n,
						c == FLOATS ? INFER_FLOAT : INFER_QUICK),
			.rows = rows,
			.out = malloc(4 * n * sizeof(float)),
			.n = n,
			.scores = n_out <= 2 };
		force(NULL);
		ours[c].scratch = infer_scratch_new(ours[c].plan);
		all[c] = (struct contender){ run_ours, &ours[c] };
		run_ours(&ours[c]);
		if (c == FLOATS) {
			exact = ours[c].out;
			for (size_t r = 0; n_out <= 2 && r < n; r++)
				sum += exact[r];
			model->decision_threshold = n > 1 ? (float)(sum / (double)n) : 0;
		}
		for (size_t r = 0; n_out <= 2 && r < n; r++)
			if ((ours[c].out[r] >= model->decision_threshold) !=
					(exact[r] >= model->decision_threshold) &&
				fabsf(exact[r] - model->decision_threshold) > 1e-3f)
				differ(net->name, contender_names[c]);
	}
	for (size_t p = 0; p < N_PEERS; p++) {
		const struct peer *of = peers[p];

		peer[p] = (struct peer_run){ .peer = of, .rows = rows };
		if (of->mlp_make && compare_wants(mode, FIRST_PEER + p))
			peer[p].it = of->mlp_make(model, n);
		if (!peer[p].it)
			continue;
		peer[p].out = malloc(n * n_out * sizeof(float));
		all[FIRST_PEER + p] = (struct contender){ run_peer_mlp, &peer[p] };
		run_peer_mlp(&peer[p]);
		for (size_t r = 0; r < n * n_out; r++) {
			const float *out = peer[p].out;
			float own = n_out <= 2 ? exact[r / n_out] : exact[r];
			float other = n_out == 2 ? out[r / 2 * 2 + 1] - out[r / 2 * 2] : out[r];

			if (!(fabsf(own - other) <= 1e-3f * (1 + fabsf(own))))
				differ(net->name, of->name);
		}
	}
	compare(net->name, n, all, target,
		100.0 * (double)infer_recomputed(ours[OURS].scratch) / (double)n, lake_us, mode);
	for (size_t p = 0; p < N_PEERS; p++) {
		if (peer[p].it)
			peers[p]->mlp_free(peer[p].it);
		free(peer[p].out);
	}
	for (size_t c = 0; c < FIRST_PEER; c++) {
		infer_scratch_free(ours[c].scratch);
		infer_free(ours[c].plan);
		free(ours[c].out);
	}
	model_free(model);
	free(rows);
}

/* ---- Kleio -------------------------------------------------------------------------------------------- */

struct kleio {
	struct lstm_plan *plan;
	struct lstm_scratch *scratch;
	const uint32_t *hot;
	float *probability;
	size_t n;
};

static void run_kleio(void *state)
{
	struct kleio *kleio = state;

	lstm_run_hot(kleio->plan, kleio->scratch, kleio->hot, kleio->n, kleio->probability, NULL);
}

static float *draw(struct random_state *random, size_t n, double spread)
{
	float *values = malloc(n * sizeof(*values));

	for (size_t i = 0; i < n; i++)
		values[i] = (float)((2 * random_unit(random) - 1) * spread);
	return values;
}

static void bench_kleio(size_t n, double target, double lake_us)
{
	enum { HOT = 621, UNITS = 256, STEPS = 6 };
	struct random_state random = random_seed(3);
	struct lstm_model model = { 2, STEPS, HOT,
		{ { HOT, UNITS, draw(&random, HOT * 4 * UNITS, 0.15),
			  draw(&random, UNITS * 4 * UNITS, 0.15), draw(&random, 4 * UNITS, 0.1) },
			{ UNITS, UNITS, draw(&random, UNITS * 4 * UNITS, 0.15),
				draw(&random, UNITS * 4 * UNITS, 0.15),
				draw(&random, 4 * UNITS, 0.1) } },
		draw(&random, UNITS * HOT, 0.15), draw(&random, HOT, 0.1) };
	uint32_t *hot = malloc(n * STEPS * sizeof(*hot));
	struct kleio ours[FIRST_PEER] = { { NULL } };
	struct peer_run peer[N_PEERS] = { { NULL } };
	struct contender all[CONTENDERS] = { { NULL } };

	for (size_t i = 0; i < n * STEPS; i++)
		hot[i] = (uint32_t)random_below(&random, HOT);
	for (size_t c = 0; c < FIRST_PEER; c++) {
		if (!compare_wants(mode, c))
			continue;
		force(c == FLOATS ? "avx512" : engines[c]);
		ours[c] = (struct kleio){ .plan = lstm_prepare(&model),
			.hot = hot,
			.probability = malloc(n * HOT * sizeof(float)),
			.n = n };
		force(NULL);
		ours[c].scratch = lstm_scratch_new(ours[c].plan);
		all[c] = (struct contender){ run_kleio, &ours[c] };
		run_kleio(&ours[c]);
		for (size_t i = 0; i < n * HOT; i++)
			if (!(fabsf(ours[c].probability[i] - ours[OURS].probability[i]) <= 1e-3f))
				differ("Kleio", contender_names[c]);
	}
	for (size_t p = 0; p < N_PEERS; p++) {
		const struct peer *of = peers[p];

		peer[p] = (struct peer_run){ .peer = of };
		if (of->lstm_make && compare_wants(mode, FIRST_PEER + p))
			peer[p].it = of->lstm_make(&model, hot, n);
		if (!peer[p].it)
			continue;
		peer[p].out = malloc(n * HOT * sizeof(float));
		all[FIRST_PEER + p] = (struct contender){ run_peer_lstm, &peer[p] };
		run_peer_lstm(&peer[p]);
		for (size_t i = 0; i < n * HOT; i++)
			if (!(fabsf(ours[FLOATS].probability[i] - peer[p].out[i]) <= 1e-5f &&
				    fabsf(ours[OURS].probability[i] - peer[p].out[i]) <= 1e-3f))
				differ("Kleio", of->name);
	}
	compare("Kleio LSTM 256x2", n, all, target,
		100.0 * (double)lstm_recomputed(ours[OURS].scratch) / (double)n, lake_us, mode);
	for (size_t p = 0; p < N_PEERS; p++) {
		if (peer[p].it)
			peers[p]->lstm_free(peer[p].it);
		free(peer[p].out);
	}
	for (size_t c = 0; c < FIRST_PEER; c++) {
		lstm_scratch_free(ours[c].scratch);
		lstm_free(ours[c].plan);
		free(ours[c].probability);
	}
	free(hot);
	for (uint32_t l = 0; l < 2; l++) {
		free((void *)model.layer[l].kernel);
		free((void *)model.layer[l].recurrent);
		free((void *)model.layer[l].bias);
	}
	free((void *)model.dense);
	free((void *)model.dense_bias);
}

/* ---- nearest neighbours ------------------------------------------------------------------------------- */

#define NEAREST 16

struct nearest {
	struct knn_set *set;
	struct knn_scratch *scratch;
	const float *queries;
	struct knn_neighbour *found;
	size_t n;
};

static void run_knn(void *state)
{
	struct nearest *nearest = state;

	knn_search(nearest->set, nearest->scratch, nearest->queries, nearest->n, NEAREST,
		nearest->found);
}

/* Floats may order two neighbours wrongly that are nearly as far; ours are in the order of doubles. */
static size_t out_of_order(const struct nearest *ours, const float *rows, size_t width,
	const uint32_t *index, const char *who)
{
	size_t n_other = 0;

	for (size_t i = 0; i < ours->n * NEAREST; i++) {
		const float *query = ours->queries + i / NEAREST * width,
			    *row = rows + (size_t)index[i] * width;
		double distance = 0;

		for (size_t k = 0; k < width; k++)
			distance += ((double)query[k] - row[k]) * ((double)query[k] - row[k]);
		if (fabs(distance - ours->found[i].distance) > 1e-4)
			differ("KNN", who);
		n_other += ours->found[i].index != index[i];
	}
	return n_other;
}

static void bench_knn(size_t n, double target, double lake_us)
{
	enum { ROWS = 4096, WIDTH = 128 };
	struct random_state random = random_seed(3);
	float *rows = draw(&random, ROWS * WIDTH, 1), *queries = draw(&random, n * WIDTH, 1);
	struct nearest ours[FIRST_PEER] = { { NULL } };
	struct peer_run peer[N_PEERS] = { { NULL } };
	struct contender all[CONTENDERS] = { { NULL } };

	for (size_t c = 0; c < FIRST_PEER; c++) {
		if (c == FLOATS || !compare_wants(mode, c))
			continue;
		force(engines[c]);
		ours[c] = (struct nearest){ .set = knn_new(rows, NULL, ROWS, WIDTH),
			.queries = queries,
			.found = malloc(n * NEAREST * sizeof(*ours[c].found)),
			.n = n };
		force(NULL);
		ours[c].scratch = knn_scratch_new(ours[c].set);
		all[c] = (struct contender){ run_knn, &ours[c] };
		run_knn(&ours[c]);
		for (size_t i = 0; i < n * NEAREST; i++)
			if (ours[c].found[i].index != ours[OURS].found[i].index)
				differ("KNN", contender_names[c]);
	}
	for (size_t p = 0; p < N_PEERS; p++) {
		const struct peer *of = peers[p];
		size_t other;

		peer[p] = (struct peer_run){ .peer = of };
		if (of->knn_make && compare_wants(mode, FIRST_PEER + p))
			peer[p].it = of->knn_make(rows, ROWS, WIDTH, queries, n, NEAREST);
		if (!peer[p].it)
			continue;
		peer[p].index = malloc(n * NEAREST * sizeof(uint32_t));
		all[FIRST_PEER + p] = (struct contender){ run_peer_knn, &peer[p] };
		run_peer_knn(&peer[p]);
		other = out_of_order(&ours[OURS], rows, WIDTH, peer[p].index, of->name);
		if (other && mode != COMPARE_CURVE)
			printf("(%zu of %zu neighbours of %s are out of order, by less than "
			       "1e-4)\n",
				other, n * NEAREST, of->name);
	}
	compare("KNN 4096x128, k = 16", n, all, target, -1, lake_us, mode);
	for (size_t p = 0; p < N_PEERS; p++) {
		if (peer[p].it)
			peers[p]->knn_free(peer[p].it);
		free(peer[p].index);
	}
	for (size_t c = 0; c < FIRST_PEER; c++) {
		knn_scratch_free(ours[c].scratch);
		knn_free(ours[c].set);
		free(ours[c].found);
	}
	free(rows);
	free(queries);
}

/* Every model at many batches, for plot.sh. */
static void draw_curves(void)
{
	static const size_t of_net[] = { 0, 3, 4, 5 };

	for (size_t i = 0; i < sizeof(of_net) / sizeof(of_net[0]); i++)
		for (size_t n = 1; n <= 1024; n *= 2)
			bench_net(&nets[of_net[i]], n, 0, 0);
	for (size_t n = 1; n <= 256; n *= 4)
		bench_kleio(n, 0, 0);
	for (size_t n = 1; n <= 1024; n *= 4)
		bench_knn(n, 0, 0);
}

static bool wanted(const char *only, const char *name)
{
	return !only || strncmp(name, only, strlen(only)) == 0;
}

int main(int argc, char **argv)
{
	const char *only = NULL;
	bool usage = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--curve") == 0)
			mode = COMPARE_CURVE;
		else if (strcmp(argv[i], "--engines") == 0)
			mode = COMPARE_ENGINES;
		else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
			only = argv[++i];
		else
			usage = true;
	}
	if (usage) {
		fprintf(stderr, "Usage: bench_infer [--curve | --engines] [--only NAME]\n"
				"  --curve    every model at many batches, for plot.sh\n"
				"  --engines  our engines among each other: AVX2 and plain C "
				"beside the default\n"
				"  --only     models whose names begin so\n");
		return 2;
	}
	/* OpenBLAS read its variables when it was loaded; infer.mk clears those that would hold it back. */
	compare_head(mode);
	if (mode == COMPARE_CURVE) {
		draw_curves();
		return 0;
	}
	for (size_t s = 0; s < sizeof(nets) / sizeof(nets[0]); s++)
		for (size_t b = 0; b < 3 && nets[s].batch[b].n; b++)
			if (wanted(only, nets[s].name))
				bench_net(&nets[s], nets[s].batch[b].n, nets[s].batch[b].target,
					nets[s].batch[b].lake_us);
	if (wanted(only, "Kleio")) {
		bench_kleio(1, 1.5, 0);
		bench_kleio(20, 2.5, 40458);
		bench_kleio(1160, 3, 137368);
	}
	if (wanted(only, "KNN")) {
		bench_knn(8, 4, 2383);
		bench_knn(64, 2.5, 3646);
		bench_knn(1024, 4, 3701);
	}
	compare_json();
	return 0;
}
