/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_build.h - what the import readers share: matrices of any source become a checked model; for agent/infer only.
 */
#ifndef SEMANTOS_INFER_IMPORT_BUILD_H
#define SEMANTOS_INFER_IMPORT_BUILD_H

#include "agent/infer/import.h"
#include "agent/infer/model_file.h"

/* Numbers as the file gave them; doubles hold floats and the published integers exactly. */
struct import_matrix {
	double *value; /* [rows][columns], owned */
	uint32_t rows, columns;
};

struct import_layer {
	struct import_matrix weight, bias;
	bool outputs_first; /* weight is [outputs][inputs] */
};

void import_layers_free(struct import_layer *layers, uint32_t n_layers);

/*
 * A model of layers whose shapes need not fit yet; activations, encoder and thresholds by `options`. Reads the layers,
 * does not take them. NULL with *error.
 */
struct model *import_build(const struct import_layer *layers, uint32_t n_layers,
	const struct import_options *options, struct model_error *error);

#endif
