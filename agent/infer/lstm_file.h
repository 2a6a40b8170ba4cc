/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lstm_file.h - an LSTM stack as a safetensors file, see docs/model-format.md.
 */
#ifndef SEMANTOS_INFER_LSTM_FILE_H
#define SEMANTOS_INFER_LSTM_FILE_H

#include "agent/infer/lstm.h"
#include "agent/infer/model.h"

#define LSTM_FORMAT "semantos-lstm-1"

struct lstm_file {
	char name[MODEL_NAME_LEN];
	struct lstm_model model; /* its numbers lie in `memory` */
	float *memory;
};

/* From a file or from memory. Nothing is believed before it is checked. NULL with *error (which may be NULL). */
struct lstm_file *lstm_load(const char *path, struct model_error *error);
struct lstm_file *lstm_parse(const void *bytes, size_t n_bytes, struct model_error *error);
void lstm_file_free(struct lstm_file *file); /* accepts NULL */

/* Atomically, as model_save(). 0 or -errno with *error. */
int lstm_save(const struct lstm_model *model, const char *name, const char *path,
	struct model_error *error);

#endif
