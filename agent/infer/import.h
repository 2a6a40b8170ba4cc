/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import.h - brings models trained elsewhere in: LinnOS/LAKE CSV weights, Keras weights as JSON, plain safetensors.
 *
 * Every reader bounds-checks its input like model.h does and refuses with one sentence. What a foreign file cannot
 * say (encoder, thresholds, activations) comes from import_options. docs/model-format.md lists the accepted names.
 */
#ifndef SEMANTOS_INFER_IMPORT_H
#define SEMANTOS_INFER_IMPORT_H

#include <stddef.h>
#include <stdint.h>
#include "agent/infer/model.h"

#define IMPORT_MAX_FILES (2 * MODEL_MAX_LAYERS)

struct import_options {
	const char *name; /* of the model; NULL = "imported" */
	const char *encoder; /* NULL = linnos-digits when the model has 31 inputs, else refused */
	const char *activations; /* "relu,linear", one per layer; NULL = relu, the last linear */
	/*
	 * score >= this is class 1; NAN = the smallest number above 0, so that a tie is fast as in LinnOS, or just above
	 * 0.5 for a net with one output (the usual reading of a sigmoid or a 0/1 regression).
	 */
	float decision_threshold;
	float slow_threshold_us; /* 0 = unknown */
};

/* A file in memory. `name` tells the CSV reader what it holds; the bytes may be gzip'ed only when read by path. */
struct import_file {
	const char *name;
	const void *bytes;
	size_t n_bytes;
};

/*
 * One to sixteen paths, plain or .gz; the ending of the first says what they are:
 *   .csv          weights and biases, one file each, in any order
 *   .json         Keras weights
 *   .safetensors  a model of ours, or plain tensors
 * The model carries the notes "imported" (format) and "imported_from" (first path). NULL with *error.
 */
struct model *import_model(const char *const *paths, uint32_t n_paths,
	const struct import_options *options, struct model_error *error);

/*
 * CSV: names hold "bias" or "weight" ("_w" will do) and the layer's number as their last digits. Numbers are separated
 * by commas, blanks or line ends. A matrix is [inputs][outputs] or, when only that fits the bias or the name ends in
 * "_T", [outputs][inputs]. When no number has a point, they are LinnOS's integers: the integer twin is taken as it
 * is and the floats are the twin divided by its scale; otherwise the twin is made by model_quantise().
 */
struct model *import_linnos_csv(const struct import_file *files, uint32_t n_files,
	const struct import_options *options, struct model_error *error);

/* Keras: {"dense/dense/kernel:0": [[...]], "dense/dense/bias:0": [...], ...} or [kernel, bias, kernel, bias, ...]. */
struct model *import_keras(const struct import_file *file, const struct import_options *options,
	struct model_error *error);

/*
 * Safetensors: a file of our own format is parsed as it is; else F32 tensors "<prefix><number>.weight" [out, in] with
 * "<prefix><number>.bias" [out], layers in the order of the numbers (what torch.nn.Sequential saves), and optionally
 * "scale.mean" and "scale.scale".
 */
struct model *import_safetensors(const struct import_file *file,
	const struct import_options *options, struct model_error *error);

#endif
