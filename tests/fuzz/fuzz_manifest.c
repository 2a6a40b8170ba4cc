// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_manifest.c - any text given to manifest_parse() is refused with one sentence that names the file, or gives a
 * manifest every number of which a policy can live with.
 */
#include "agent/core/manifest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool held)
{
	if (!held)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct manifest manifest;
	struct learn_recipe recipe;
	char error[512] = "", *text = malloc(size + 1);
	int err;

	expect(text);
	memcpy(text, data, size);
	text[size] = 0;
	err = manifest_parse(text, "folder", &manifest, error, sizeof(error));
	free(text);
	if (err) {
		expect(err == -EINVAL || err == -EPROTO);
		expect(strncmp(error, "folder/policy.conf", 18) == 0);
		return 0;
	}
	expect(manifest.wire == SEMANTOS_WIRE_VERSION && manifest.name[0]);
	expect(!strpbrk(manifest.name, "/. ") && !strchr(manifest.object, '/'));
	expect(manifest.object[0] && !strchr(manifest.model, '/'));
	expect(manifest.ttl_ms >= 1 && manifest.ttl_ms <= 75);
	expect(manifest.batch_max >= 1 && manifest.batch_max <= 4096);
	expect(!manifest.batch_window_us || manifest.batch_window_us >= 50);
	expect(manifest.window >= 256 && !(manifest.window & (manifest.window - 1)));
	expect(manifest.max_rows >= manifest.min_rows && manifest.min_rows >= 200);
	expect(manifest.learning_rate > 0 && manifest.margin >= 0 && manifest.drift > 0);
	expect(manifest_recipe(&manifest, &recipe, error, sizeof(error)) == 0);
	expect(recipe.n_hidden < MODEL_MAX_LAYERS);
	return 0;
}
