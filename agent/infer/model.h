/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.h - a trained multi-layer perceptron in memory and on disk.
 *
 * On disk a model is a safetensors file (8-byte little-endian header length, JSON header, raw tensors) whose
 * `__metadata__` says everything needed to run and to trust it; docs/model-format.md lists the names. Nothing is
 * believed before it is bounds-checked; a file is refused with one sentence in `struct model_error`.
 * A model is immutable once loaded or trained, so any number of threads may run it.
 */
#ifndef SEMANTOS_INFER_MODEL_H
#define SEMANTOS_INFER_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_MAX_LAYERS 8
#define MODEL_MAX_WIDTH 4096 /* inputs or outputs of one layer */
#define MODEL_MAX_FILE_BYTES (64u << 20)
#define MODEL_NAME_LEN 32 /* with the final NUL; fits struct semantos_verdict_row.model */
#define MODEL_NOTES_MAX 32
#define MODEL_NOTE_MAX_BYTES 1024 /* of a key or a value */

enum model_activation { MODEL_LINEAR, MODEL_RELU, MODEL_SIGMOID };

struct model_layer {
	uint32_t inputs, outputs;
	enum model_activation activation;
	float *weight; /* [outputs][inputs], row-major; owned by the model */
	float *bias; /* [outputs] */
};

/*
 * Optional integer twin (LinnOS as published): weights round(w*1000), every bias but the last round(b*1000) scaled
 * as the layer's products are, last bias x10^6. Evaluated in int64 without requantisation, so bit-exact everywhere.
 */
struct model_integer_layer {
	int64_t *weight; /* [outputs][inputs] */
	int64_t *bias; /* [outputs] */
};

/* A provenance entry: device, rows, date, scores, ... Shown by `semantosctl model show`, never interpreted. */
struct model_note {
	char *key, *value;
};

struct model {
	char name[MODEL_NAME_LEN];
	char encoder[MODEL_NAME_LEN]; /* name of the encoder (encode.h) whose features it takes */
	uint32_t n_layers;
	struct model_layer layer[MODEL_MAX_LAYERS];
	bool has_integer;
	struct model_integer_layer integer[MODEL_MAX_LAYERS];
	float *mean,
		*scale; /* [inputs] or both NULL: x' = (x - mean) * scale, folded in by infer_prepare() */
	float slow_threshold_us; /* the label's meaning for a latency model: slow when >= this; 0 = not such a model */
	float decision_threshold; /* score >= this is class 1 */
	/*
	 * Above 0: the score foresees a latency, of which it is the base-2 logarithm in us, and was off by so many us on the
	 * average of the reads it was judged by. 0: the score tells classes apart and is nothing more.
	 */
	float latency_error_us;
	float silence_us; /* the device never said nothing for longer while it learned; 0 = unknown */
	uint32_t n_notes;
	struct model_note note[MODEL_NOTES_MAX];
};

struct model_error {
	char text[256]; /* one sentence: what is wrong with the file and what to do */
};

/* An empty model with zeroed layers of `widths[0..n_widths-1]`; NULL when out of memory or a width is out of range. */
struct model *model_new(
	const char *name, const char *encoder, const uint32_t *widths, uint32_t n_widths);
void model_free(struct model *model); /* accepts NULL */
struct model *model_clone(const struct model *model);

uint32_t model_inputs(const struct model *model);
uint32_t model_outputs(const struct model *model);

/*
 * Add or replace a provenance note: control characters become blanks, more than MODEL_NOTE_MAX_BYTES are cut off.
 * 0, -ENOMEM, or -ENOSPC at MODEL_NOTES_MAX.
 */
int model_note_set(struct model *model, const char *key, const char *value);
const char *model_note_get(const struct model *model, const char *key); /* NULL when absent */

/* Load from a file or from memory. NULL on refusal, with *error filled (error may be NULL). */
struct model *model_load(const char *path, struct model_error *error);
struct model *model_parse(const void *bytes, size_t n_bytes, struct model_error *error);

/*
 * Save atomically: a temporary file beside `path`, fsync, rename, fsync of the directory. 0 or -errno with *error;
 * the previous file is untouched on failure (a full disk included).
 */
int model_save(const struct model *model, const char *path, struct model_error *error);

/*
 * Fill integer[] from the float weights by the published rule, mean and scale folded in, and set has_integer.
 * 0, -ENOMEM, -EINVAL for a sigmoid layer, -ERANGE when a number does not fit; without a twin after an error.
 */
int model_quantise(struct model *model);

#endif
