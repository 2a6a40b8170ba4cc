// SPDX-License-Identifier: Apache-2.0
/*
 * bench_infer.c - the engines of agent/infer against OpenBLAS and oneDNN: the same nets, rows and core.
 *
 * Every round runs all contenders one after another, so that what disturbs the machine disturbs all of them; a ratio is
 * taken within a round, and the median of the rounds is what counts. Answers are compared before anything is timed. One
 * thread. The last line is JSON. A missed target is a word in the table, never an exit code.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agent/infer/infer.h"
#include "agent/infer/random.h"
#include "peers.h"

#define MOST_ROUNDS 31
#define ROUND_NS 4e6 /* a contender's share of a round */

enum { OURS, FLOATS, OPENBLAS, ONEDNN, CONTENDERS };
static const char *const names[] = { "semantos", "semantos float32", "OpenBLAS", "oneDNN" };

struct contender {
	void (*run)(void *state);
	void *state;
	double us[MOST_ROUNDS];
};

static bool first_row = true;
static char json[65536];
static size_t json_used;

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *values, size_t n)
{
	double sorted[MOST_ROUNDS];

	memcpy(sorted, values, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_value);
	return sorted[n / 2];
}

/* A contender without run takes no part. target: how many times faster than the fastest peer. */
static void compare(
	const char *model, size_t batch, struct contender *all, double target, double again_percent)
{
	double ratio[MOST_ROUNDS], ours, best = INFINITY;
	size_t rounds = MOST_ROUNDS, iterations[CONTENDERS] = { 0 }, fastest = 0;
	int wrote;

	for (size_t c = 0; c < CONTENDERS; c++) {
		double start, once;

		if (!all[c].run)
			continue;
		all[c].run(all[c].state);
		start = now_ns();
		all[c].run(all[c].state);
		once = now_ns() - start;
		iterations[c] = once < ROUND_NS ? (size_t)(ROUND_NS / (once + 1)) + 1 : 1;
		if (once > 20 * ROUND_NS)
			rounds = 9;
	}
	for (size_t round = 0; round < rounds; round++)
		for (size_t c = 0; c < CONTENDERS; c++) {
			double start = now_ns();

			if (!all[c].run)
				continue;
			for (size_t i = 0; i < iterations[c]; i++)
				all[c].run(all[c].state);
			all[c].us[round] = (now_ns() - start) / (double)iterations[c] / 1e3;
		}
	ours = median(all[OURS].us, rounds);
	printf("%-26s %5zu %10.3f", model, batch, ours);
	wrote = snprintf(json + json_used, sizeof(json) - json_used,
		"%s{\"model\":\"%s\",\"batch\":%zu,\"us\":{\"%s\":%.4g", first_row ? "" : ",",
		model, batch, names[OURS], ours);
	json_used += (size_t)wrote;
	first_row = false;
	for (size_t c = FLOATS; c < CONTENDERS; c++) {
		double us = all[c].run ? median(all[c].us, rounds) : NAN;

		if (!all[c].run) {
			printf(" %10s", "-");
			continue;
		}
		printf(" %10.3f", us);
		wrote = snprintf(
			json + json_used, sizeof(json) - json_used, ",\"%s\":%.4g", names[c], us);
		json_used += (size_t)wrote;
		if (c >= OPENBLAS && us < best) {
			best = us;
			fastest = c;
		}
	}
	for (size_t round = 0; round < rounds; round++)
		ratio[round] = all[fastest].us[round] / all[OURS].us[round];
	best = median(ratio, rounds);
	printf("  %5.2fx %-8s target %.3gx: %s", best, names[fastest], target,
		best >= target ? "hit" : "MISSED");
	if (again_percent >= 0)
		printf(", %.2g %% again in float32", again_percent);
	printf("\n");
	fflush(stdout);
	wrote = snprintf(json + json_used, sizeof(json) - json_used,
		"},\"fastest_peer\":\"%s\",\"times_faster\":%.4g,\"target\":%.3g,\"hit\":%s",
		names[fastest], best, target, best >= target ? "true" : "false");
	json_used += (size_t)wrote;
	wrote = again_percent >= 0 ? snprintf(json + json_used, sizeof(json) - json_used,
					     ",\"again_percent\":%.3g}", again_percent)
				   : snprintf(json + json_used, sizeof(json) - json_used, "}");
	json_used += (size_t)wrote;
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
	struct blas_mlp *blas;
	struct dnnl_mlp *dnnl;
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

static void run_blas(void *state)
{
	struct mlp *mlp = state;

	blas_mlp_run(mlp->blas, mlp->rows, mlp->out);
}

static void run_dnnl(void *state)
{
	struct mlp *mlp = state;

	dnnl_mlp_run(mlp->dnnl, mlp->rows, mlp->out);
}

struct net {
	const char *name;
	uint32_t widths[6], n_widths;
	bool digits;
	enum model_activation hidden;
	struct {
		size_t n;
		double target;
	} batch[3];
};

static const struct net nets[] = {
	{ "LinnOS 31-256-2", { 31, 256, 2 }, 3, true, MODEL_RELU,
		{ { 1, 2 }, { 32, 3 }, { 1024, 7 } } },
	{ "LinnOS+1", { 31, 256, 256, 2 }, 4, true, MODEL_RELU, { { 1024, 4 } } },
	{ "LinnOS+2", { 31, 256, 256, 256, 2 }, 5, true, MODEL_RELU, { { 1024, 4 } } },
	{ "Heimdall 12-128-16-1", { 12, 128, 16, 1 }, 4, false, MODEL_RELU,
		{ { 1, 2 }, { 1024, 3 } } },
	{ "MLLB 15-10-1", { 15, 10, 1 }, 3, false, MODEL_RELU, { { 1, 2 }, { 1024, 3 } } },
	{ "KML 5-15-5-4", { 5, 15, 5, 4 }, 4, false, MODEL_SIGMOID, { { 1, 2 }, { 1024, 3 } } },
};

static void score_all(const float *outputs, size_t n, uint32_t n_out, float *scores)
{
	for (size_t r = 0; r < n; r++)
		scores[r] = n_out == 2 ? outputs[2 * r + 1] - outputs[2 * r] : outputs[r * n_out];
}

static void bench_net(const struct net *net, size_t n, double target)
{
	struct model *model = model_new("m", "e", net->widths, net->n_widths);
	struct random_state random = random_seed(7);
	uint32_t width = net->widths[0], n_out = net->widths[net->n_widths - 1];
	float *rows = malloc(n * width * sizeof(float)), *scores = malloc(4 * n * sizeof(float)),
	      *other = malloc(n * sizeof(float));
	struct mlp quick = { .n = n, .rows = rows, .scores = n_out <= 2 }, plain = quick,
		   blas = quick, dnnl = quick;
	struct contender all[CONTENDERS] = { { .run = run_ours, .state = &quick },
		{ .run = run_ours, .state = &plain }, { .run = run_blas, .state = &blas },
		{ .run = run_dnnl, .state = &dnnl } };
	double sum = 0;

	for (uint32_t l = 0; l < model->n_layers; l++) {
		struct model_layer *layer = &model->layer[l];

		layer->activation = l + 1 < model->n_layers ? net->hidden : MODEL_LINEAR;
		for (uint32_t i = 0; i < layer->inputs * layer->outputs; i++)
			layer->weight[i] =
				(float)(4 * random_unit(&random) - 2) / sqrtf((float)layer->inputs);
		for (uint32_t o = 0; o < layer->outputs; o++)
			layer->bias[o] = (float)(random_unit(&random) - 0.5);
	}
	for (size_t i = 0; i < n * width; i++)
		rows[i] = net->digits ? (float)random_below(&random, 10)
				      : (float)(2 * random_unit(&random) - 1);
	quick.out = malloc(4 * n * sizeof(float));
	plain.out = malloc(4 * n * sizeof(float));
	blas.out = malloc(4 * n * sizeof(float));
	dnnl.out = malloc(4 * n * sizeof(float));
	blas.blas = blas_mlp_new(model, n);
	dnnl.dnnl = dnnl_mlp_new(model, n);
	/* The threshold in the middle, where near ties are. */
	run_blas(&blas);
	score_all(blas.out, n, n_out, scores);
	for (size_t r = 0; r < n; r++)
		sum += scores[r];
	model->decision_threshold = n > 1 ? (float)(sum / (double)n) : 0;
	plain.plan = infer_prepare(model, (uint32_t)n, INFER_FLOAT);
	quick.plan = infer_prepare(model, (uint32_t)n, INFER_QUICK);
	plain.scratch = infer_scratch_new(plain.plan);
	quick.scratch = infer_scratch_new(quick.plan);
	run_ours(&plain);
	run_ours(&quick);
	run_dnnl(&dnnl);
	score_all(dnnl.out, n, n_out, other);
	for (size_t r = 0; r < n; r++) {
		float ours = n_out <= 2 ? plain.out[r] : plain.out[r * n_out];

		if (fabsf(ours - scores[r]) > 1e-3f * (1 + fabsf(ours)))
			differ(net->name, names[OPENBLAS]);
		if (fabsf(ours - other[r]) > 1e-3f * (1 + fabsf(ours)))
			differ(net->name, names[ONEDNN]);
		if (n_out <= 2 &&
			(quick.out[r] >= model->decision_threshold) !=
				(ours >= model->decision_threshold) &&
			fabsf(ours - model->decision_threshold) > 1e-3f)
			differ(net->name, "the 8-bit twin");
	}
	compare(net->name, n, all, target,
		100.0 * (double)infer_recomputed(quick.scratch) / (double)n);
	infer_scratch_free(plain.scratch);
	infer_scratch_free(quick.scratch);
	infer_free(plain.plan);
	infer_free(quick.plan);
	blas_mlp_free(blas.blas);
	dnnl_mlp_free(dnnl.dnnl);
	model_free(model);
	free(quick.out);
	free(plain.out);
	free(blas.out);
	free(dnnl.out);
	free(rows);
	free(scores);
	free(other);
}

/* ---- Kleio -------------------------------------------------------------------------------------------- */

struct kleio {
	struct lstm_plan *plan;
	struct lstm_scratch *scratch;
	struct blas_lstm *blas;
	const uint32_t *hot;
	float *probability;
	size_t n;
};

static void run_kleio(void *state)
{
	struct kleio *kleio = state;

	lstm_run_hot(kleio->plan, kleio->scratch, kleio->hot, kleio->n, kleio->probability, NULL);
}

static void run_kleio_blas(void *state)
{
	struct kleio *kleio = state;

	blas_lstm_run(kleio->blas, kleio->hot, kleio->probability);
}

static float *draw(struct random_state *random, size_t n, double spread)
{
	float *values = malloc(n * sizeof(*values));

	for (size_t i = 0; i < n; i++)
		values[i] = (float)((2 * random_unit(random) - 1) * spread);
	return values;
}

static void bench_kleio(size_t n, double target)
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
	struct kleio quick = { .hot = hot, .n = n }, plain = quick, blas = quick;
	struct contender all[CONTENDERS] = { { .run = run_kleio, .state = &quick },
		{ .run = run_kleio, .state = &plain }, { .run = run_kleio_blas, .state = &blas } };

	for (size_t i = 0; i < n * STEPS; i++)
		hot[i] = (uint32_t)random_below(&random, HOT);
	quick.probability = malloc(n * HOT * sizeof(float));
	plain.probability = malloc(n * HOT * sizeof(float));
	blas.probability = malloc(n * HOT * sizeof(float));
	quick.plan = lstm_prepare(&model);
	setenv("SEMANTOS_INFER", "avx512", 1);
	plain.plan = lstm_prepare(&model);
	unsetenv("SEMANTOS_INFER");
	quick.scratch = lstm_scratch_new(quick.plan);
	plain.scratch = lstm_scratch_new(plain.plan);
	blas.blas = blas_lstm_new(&model, n);
	run_kleio(&quick);
	run_kleio(&plain);
	run_kleio_blas(&blas);
	for (size_t i = 0; i < n * HOT; i++)
		if (fabsf(plain.probability[i] - blas.probability[i]) > 1e-5f ||
			fabsf(quick.probability[i] - blas.probability[i]) > 1e-3f)
			differ("Kleio", names[OPENBLAS]);
	compare("Kleio LSTM 256x2", n, all, target,
		100.0 * (double)lstm_recomputed(quick.scratch) / (double)n);
	lstm_scratch_free(quick.scratch);
	lstm_scratch_free(plain.scratch);
	lstm_free(quick.plan);
	lstm_free(plain.plan);
	blas_lstm_free(blas.blas);
	free(quick.probability);
	free(plain.probability);
	free(blas.probability);
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
	struct blas_knn *blas;
	const float *queries;
	struct knn_neighbour *found;
	uint32_t *index;
	size_t n;
};

static void run_knn(void *state)
{
	struct nearest *nearest = state;

	knn_search(nearest->set, nearest->scratch, nearest->queries, nearest->n, NEAREST,
		nearest->found);
}

static void run_knn_blas(void *state)
{
	struct nearest *nearest = state;

	blas_knn_run(nearest->blas, nearest->queries, NEAREST, nearest->index);
}

static void bench_knn(size_t n, double target)
{
	enum { ROWS = 4096, WIDTH = 128 };
	struct random_state random = random_seed(3);
	float *rows = draw(&random, ROWS * WIDTH, 1), *queries = draw(&random, n * WIDTH, 1);
	struct nearest ours = { .queries = queries,
		.n = n,
		.set = knn_new(rows, NULL, ROWS, WIDTH),
		.blas = blas_knn_new(rows, ROWS, WIDTH, n),
		.found = malloc(n * NEAREST * sizeof(*ours.found)),
		.index = malloc(n * NEAREST * sizeof(*ours.index)) };
	struct contender all[CONTENDERS] = {
		{ .run = run_knn, .state = &ours }, [OPENBLAS] = { .run = run_knn_blas,
							    .state = &ours }
	};

	size_t n_other = 0;

	ours.scratch = knn_scratch_new(ours.set);
	run_knn(&ours);
	run_knn_blas(&ours);
	/* Floats may order two neighbours wrongly that are nearly as far; ours are in the order of doubles. */
	for (size_t i = 0; i < n * NEAREST; i++) {
		const float *query = queries + i / NEAREST * WIDTH,
			    *row = rows + (size_t)ours.index[i] * WIDTH;
		double distance = 0;

		for (size_t k = 0; k < WIDTH; k++)
			distance += ((double)query[k] - row[k]) * ((double)query[k] - row[k]);
		if (fabs(distance - ours.found[i].distance) > 1e-4)
			differ("KNN", names[OPENBLAS]);
		n_other += ours.found[i].index != ours.index[i];
	}
	if (n_other)
		printf("(%zu of %zu neighbours of OpenBLAS are out of order, by less than 1e-4)\n",
			n_other, n * NEAREST);
	compare("KNN 4096x128, k = 16", n, all, target, -1);
	knn_scratch_free(ours.scratch);
	knn_free(ours.set);
	blas_knn_free(ours.blas);
	free(ours.found);
	free(ours.index);
	free(rows);
	free(queries);
}

int main(int argc, char **argv)
{
	bool curve = argc == 2 && strcmp(argv[1], "--curve") == 0;

	if (argc > 1 && !curve) {
		fprintf(stderr, "Usage: bench_infer [--curve]   (LinnOS at every power of two)\n");
		return 2;
	}
	/* OpenBLAS read its variables when it was loaded; infer.mk clears those that would hold it back. */
	printf("%-26s %5s %10s %10s %10s %10s  (us a batch, median)\n", "model", "batch",
		names[OURS], "float32", names[OPENBLAS], names[ONEDNN]);
	for (size_t n = 1; curve && n <= 1024; n *= 2)
		bench_net(&nets[0], n, 0);
	if (curve)
		return 0;
	for (size_t s = 0; s < sizeof(nets) / sizeof(nets[0]); s++)
		for (size_t b = 0; b < 3 && nets[s].batch[b].n; b++)
			bench_net(&nets[s], nets[s].batch[b].n, nets[s].batch[b].target);
	bench_kleio(1, 1.5);
	bench_kleio(20, 2.5);
	bench_kleio(1160, 3);
	bench_knn(8, 4);
	bench_knn(64, 2.5);
	bench_knn(1024, 4);
	printf("{\"bench\":\"infer\",\"rows\":[%s]}\n", json);
	return 0;
}
