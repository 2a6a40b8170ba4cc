/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_file.h - what the reader, the writer and the importers of model files share; for agent/infer only.
 *
 * A tensor_file is a checked view of safetensors bytes: after tensor_file_open() every tensor lies inside the buffer,
 * none overlaps another, no bytes are left over and no float is NaN or infinite. The buffer must outlive the view.
 */
#ifndef SEMANTOS_INFER_MODEL_FILE_H
#define SEMANTOS_INFER_MODEL_FILE_H

#include <jansson.h>
#include <stdarg.h>
#include "agent/infer/model.h"

#define MODEL_FORMAT "semantos-model-1"
#define MODEL_NO_MEMORY "Memory ran out while the model was read; free some and try again."

#define TENSOR_MAX \
	64 /* 8 layers of weight and bias twice, mean and scale, and room to name strangers */
#define TENSOR_MAX_HEADER (1u << 20)

enum tensor_type { TENSOR_F32, TENSOR_I64 };

struct tensor {
	const char *name; /* owned by the JSON header */
	enum tensor_type type;
	size_t n_dims; /* 1 or 2 */
	uint32_t dim[2];
	uint64_t n; /* elements */
	uint64_t begin, end; /* bytes within the data */
	const uint8_t *data; /* little endian, not aligned */
};

struct tensor_file {
	json_t *json;
	json_t *metadata; /* object or NULL; part of json */
	const uint8_t *data;
	struct tensor tensor[TENSOR_MAX]; /* by offset */
	size_t n;
};

/* most: of a dimension. */
bool tensor_file_open(struct tensor_file *file, const void *bytes, size_t n_bytes, uint32_t most,
	struct model_error *error);
void tensor_file_close(struct tensor_file *file);
const struct tensor *tensor_find(const struct tensor_file *file, const char *name);
void tensor_copy_f32(const struct tensor *tensor, float *to); /* to: [tensor->n] */
void tensor_copy_i64(const struct tensor *tensor, int64_t *to);

/* The string under key, or NULL. A number in quotes to *out (0 when there is none); false with *error when it is no number. */
const char *tensor_metadata(const struct tensor_file *file, const char *key);
bool tensor_metadata_number(
	const struct tensor_file *file, const char *key, float *out, struct model_error *error);
/* Every entry is a string. */
bool tensor_metadata_strings(const struct tensor_file *file, struct model_error *error);
/* The format is `kind`, the name fit, every entry a string; `what` is what to give instead. False with *error. */
bool tensor_kind(const struct tensor_file *file, const char *kind, const char *what,
	struct model_error *error);
bool tensor_all_used(const struct tensor_file *file, size_t used, struct model_error *error);
/* That tensor, of that type and shape (columns 0: a vector); false with *error. */
bool tensor_expect(const struct tensor_file *file, const char *name, enum tensor_type type,
	uint32_t rows, uint32_t columns, const struct tensor **out, struct model_error *error);

/* A file to be: open, put, save, which closes it. What fails is told by the last one. */
struct tensor_writer {
	json_t *header, *metadata; /* metadata is part of header */
	uint8_t *data;
	size_t n, room;
	bool failed; /* memory ran out */
	const char *not_finite; /* what cannot be stored: a NaN or an infinity */
};

void tensor_writer_open(struct tensor_writer *w);
/* columns = 0: a vector */
void tensor_put_f32(struct tensor_writer *w, const char *name, uint32_t rows, uint32_t columns,
	const float *values);
void tensor_put_i64(struct tensor_writer *w, const char *name, uint32_t rows, uint32_t columns,
	const int64_t *values);
void tensor_put_string(struct tensor_writer *w, const char *key, const char *text);
void tensor_put_number(struct tensor_writer *w, const char *key, float value);
/* 0 or -errno with *error; -EINVAL when something cannot be stored. The previous file is untouched on failure. */
int tensor_writer_save(struct tensor_writer *w, const char *path, struct model_error *error);

/* Fill the sentence; what is not printable ASCII becomes '?'. error may be NULL. */
__attribute__((format(printf, 2, 3))) void model_refuse(
	struct model_error *error, const char *fmt, ...);

/* A whole regular file of at most MODEL_MAX_FILE_BYTES, a NUL behind it; NULL with *error. The caller frees it. */
void *model_slurp(const char *path, size_t *n_bytes, struct model_error *error);

/* 1..31 printable ASCII characters, no blank, no slash: fit for a verdict row, a terminal and a file name. */
bool model_name_valid(const char *name);

/* Spelled activations ("relu,linear") onto the layers. False with *error when unknown or not one per layer. */
bool model_read_activations(struct model *model, const char *text, struct model_error *error);

/* The activation spelled by text[length], or -1; and its name. */
int model_activation_find(const char *text, size_t length);
const char *model_activation_name(enum model_activation activation);

#endif
