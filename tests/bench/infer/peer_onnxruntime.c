// SPDX-License-Identifier: Apache-2.0
/*
 * peer_onnxruntime.c - the nets on onnxruntime: a model written here as ONNX bytes, run by the library's C interface.
 *
 * The library is the one inside npm's onnxruntime-node, which comes without a header; what is used of its table of functions
 * is declared here by position, which the library promises not to change. One thread, all graph optimisations. One-hot inputs are
 * given as dense ones, made beforehand and not timed: its LSTM takes no others.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "onnx_bytes.h"
#include "peers.h"

#define API_VERSION 13
enum api {
	GET_ERROR_MESSAGE = 2,
	CREATE_ENV = 3,
	CREATE_SESSION_FROM_ARRAY = 8,
	RUN = 9,
	CREATE_SESSION_OPTIONS = 10,
	SET_GRAPH_OPTIMIZATION_LEVEL = 23,
	SET_INTRA_OP_NUM_THREADS = 24,
	SET_INTER_OP_NUM_THREADS = 25,
	CREATE_TENSOR_WITH_DATA = 49,
	CREATE_CPU_MEMORY_INFO = 69,
	RELEASE_SESSION = 95,
	RELEASE_VALUE = 96,
};
enum { WARNING = 2, OPTIMISE_ALL = 99, ARENA = 1, MEMORY_DEFAULT = 0, FLOATS = 1 };

struct api_base {
	const void *const *(*get_api)(uint32_t version);
	const char *(*get_version)(void);
};

static const void *const *api;
static void *env, *memory;

#define CALL(which, types, ...) must(((void *(*)types)api[which])(__VA_ARGS__), #which)

static void must(void *status, const char *what)
{
	if (!status)
		return;
	fprintf(stderr, "onnxruntime refused %s: %s\n", what,
		((const char *(*)(void *))api[GET_ERROR_MESSAGE])(status));
	exit(1);
}

static bool ready(void)
{
	const char *path = getenv("SEMANTOS_ONNXRUNTIME");
	const struct api_base *(*get_base)(void);
	void *library;

	if (api)
		return true;
	library = path && *path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	get_base =
		library ? (const struct api_base *(*)(void))dlsym(library, "OrtGetApiBase") : NULL;
	if (!get_base)
		return false;
	api = get_base()->get_api(API_VERSION);
	if (!api)
		return false;
	CALL(CREATE_ENV, (int, const char *, void **), WARNING, "bench", &env);
	CALL(CREATE_CPU_MEMORY_INFO, (int, int, void **), ARENA, MEMORY_DEFAULT, &memory);
	return true;
}

struct session {
	void *session, *in, *out;
	float *x, *y; /* what the tensors lie on */
	float *dense; /* one-hot inputs written out */
	int64_t in_dims[3], out_dims[2];
	size_t n_in_dims;
};

static void *tensor(float *values, const int64_t *dims, size_t n_dims)
{
	size_t n_bytes = sizeof(float);
	void *value;

	for (size_t i = 0; i < n_dims; i++)
		n_bytes *= (size_t)dims[i];
	CALL(CREATE_TENSOR_WITH_DATA,
		(void *, void *, size_t, const int64_t *, size_t, int, void **), memory, values,
		n_bytes, dims, n_dims, FLOATS, &value);
	return value;
}

static void release(enum api how, void *what)
{
	((void (*)(void *))api[how])(what);
}

static struct session *session_of(struct bytes *model)
{
	struct session *session = calloc(1, sizeof(*session));
	void *options;

	CALL(CREATE_SESSION_OPTIONS, (void **), &options);
	CALL(SET_GRAPH_OPTIMIZATION_LEVEL, (void *, int), options, OPTIMISE_ALL);
	CALL(SET_INTRA_OP_NUM_THREADS, (void *, int), options, 1);
	CALL(SET_INTER_OP_NUM_THREADS, (void *, int), options, 1);
	CALL(CREATE_SESSION_FROM_ARRAY, (void *, const void *, size_t, void *, void **), env,
		model->byte, model->n, options, &session->session);
	free(model->byte);
	return session;
}

static void session_run(struct session *session, float *x, float *y)
{
	static const char *const in[] = { "x" }, *const out[] = { "y" };

	if (session->x != x || session->y != y) {
		release(RELEASE_VALUE, session->in);
		release(RELEASE_VALUE, session->out);
		session->in = tensor(x, session->in_dims, session->n_in_dims);
		session->out = tensor(y, session->out_dims, 2);
		session->x = x;
		session->y = y;
	}
	CALL(RUN,
		(void *, void *, const char *const *, void *const *, size_t, const char *const *,
			size_t, void **),
		session->session, NULL, in, &session->in, 1, out, 1, &session->out);
}

static void session_free(void *of)
{
	struct session *session = of;

	release(RELEASE_VALUE, session->in);
	release(RELEASE_VALUE, session->out);
	release(RELEASE_SESSION, session->session);
	free(session->dense);
	free(session);
}

static void *make_mlp(const struct model *model, size_t n)
{
	struct bytes bytes = { NULL, 0, 0 };
	struct session *session;

	if (!ready())
		return NULL;
	onnx_mlp(&bytes, model, n);
	session = session_of(&bytes);
	session->n_in_dims = 2;
	session->in_dims[0] = session->out_dims[0] = (int64_t)n;
	session->in_dims[1] = model_inputs(model);
	session->out_dims[1] = model_outputs(model);
	return session;
}

static void run_mlp(void *of, const float *rows, float *outputs)
{
	session_run(of, (float *)rows, outputs);
}

static void *make_lstm(const struct lstm_model *model, const uint32_t *hot, size_t n)
{
	size_t width = model->layer[0].inputs;
	struct bytes bytes = { NULL, 0, 0 };
	struct session *session;

	if (!ready())
		return NULL;
	onnx_lstm(&bytes, model, n);
	session = session_of(&bytes);
	session->n_in_dims = 3;
	session->in_dims[0] = model->steps;
	session->in_dims[1] = session->out_dims[0] = (int64_t)n;
	session->in_dims[2] = (int64_t)width;
	session->out_dims[1] = model->classes;
	session->dense = calloc(model->steps * n * width, sizeof(float));
	for (size_t r = 0; r < n; r++)
		for (size_t t = 0; t < model->steps; t++)
			session->dense[(t * n + r) * width + hot[r * model->steps + t]] = 1;
	return session;
}

static void run_lstm(void *of, float *probability)
{
	session_run(of, ((struct session *)of)->dense, probability);
}

const struct peer peer_onnxruntime = {
	.name = "onnxruntime",
	.mlp_make = make_mlp,
	.mlp_run = run_mlp,
	.mlp_free = session_free,
	.lstm_make = make_lstm,
	.lstm_run = run_lstm,
	.lstm_free = session_free,
};
