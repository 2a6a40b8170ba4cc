// SPDX-License-Identifier: Apache-2.0
/*
 * cmd_train.c - semantosctl train: a model from a capture, judged on reads it never saw.
 *
 * Runs without the agent and without root. The model file appears whole or not at all.
 */
#include "agent/cli/commands.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include "agent/cli/offline.h"
#include "agent/infer/encode.h"
#include "agent/infer/label.h"

enum {
	OPT_OUTPUT = 'o',
	OPT_ENCODER = 256,
	OPT_LABELER,
	OPT_HIDDEN,
	OPT_OUTPUTS,
	OPT_PREDICTS,
	OPT_EPOCHS,
	OPT_BATCH,
	OPT_OPTIMISER,
	OPT_RATE,
	OPT_SLOW_WEIGHT,
	OPT_SEED,
	OPT_MARGIN,
	OPT_NAME,
	OPT_DEVICE,
};

struct train_command {
	struct learn_recipe recipe;
	const char *output, *name;
	uint32_t device;
};

static const char usage[] =
	"Usage: semantosctl train CAPTURE -o MODEL [OPTION...]\n\n"
	"Label the reads of a capture slow or fast, train a model on the first 70 % of them in "
	"time\n"
	"order and judge it on the last 30 % beside pending pages alone.\n" OFFLINE_CAPTURE_HELP
	"  -o, --output MODEL      write the model here (safetensors)\n"
	"      --encoder NAME      what the model sees: linnos-digits, heimdall, latency-ages,\n"
	"                          pending-only (linnos-digits)\n"
	"      --labeler NAME      what slow means: inflection, percentile-85, periods "
	"(inflection)\n"
	"      --hidden N[,N...]   widths of the hidden layers (256)\n"
	"      --outputs N         1 or 2 (2)\n"
	"      --predicts WHAT     class, or latency: one output that foresees it (class)\n"
	"      --epochs N          passes over the rows (20)\n"
	"      --batch N           rows per step (128)\n"
	"      --optimiser NAME    adam, or sgd: with momentum 0.9 (adam)\n"
	"      --learning-rate X   of it (0.001)\n"
	"      --slow-weight X     a slow read called fast costs so much more (5)\n"
	"      --seed N            the same seed and rows give the same model (1)\n"
	"      --margin X          signal needs an AUC above 0.5 + X with 95 % confidence (0.05)\n"
	"      --name NAME         of the model (linnos)\n"
	"      --device N          which device of a trace (0)\n";

static const struct option options[] = {
	{ "output", required_argument, NULL, OPT_OUTPUT },
	{ "encoder", required_argument, NULL, OPT_ENCODER },
	{ "labeler", required_argument, NULL, OPT_LABELER },
	{ "hidden", required_argument, NULL, OPT_HIDDEN },
	{ "outputs", required_argument, NULL, OPT_OUTPUTS },
	{ "predicts", required_argument, NULL, OPT_PREDICTS },
	{ "epochs", required_argument, NULL, OPT_EPOCHS },
	{ "batch", required_argument, NULL, OPT_BATCH },
	{ "optimiser", required_argument, NULL, OPT_OPTIMISER },
	{ "learning-rate", required_argument, NULL, OPT_RATE },
	{ "slow-weight", required_argument, NULL, OPT_SLOW_WEIGHT },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "margin", required_argument, NULL, OPT_MARGIN },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "device", required_argument, NULL, OPT_DEVICE },
	{ 0 },
};

static bool parse_hidden(const char *text, struct learn_recipe *recipe)
{
	recipe->n_hidden = 0;
	for (;;) {
		size_t n = strcspn(text, ",");
		uint64_t width;
		char word[16];

		if (n >= sizeof(word) || recipe->n_hidden + 1 >= MODEL_MAX_LAYERS)
			return false;
		memcpy(word, text, n);
		word[n] = 0;
		if (!ctl_number(word, 1, MODEL_MAX_WIDTH, &width))
			return false;
		recipe->hidden[recipe->n_hidden++] = (uint32_t)width;
		if (!text[n])
			return true;
		text += n + 1;
	}
}

static bool number_option(const char *value, uint32_t min, uint32_t max, uint32_t *out, char *why,
	size_t why_len, const char *name)
{
	uint64_t number;

	if (!ctl_number(value, min, max, &number)) {
		snprintf(why, why_len, "--%s takes %u to %u, not %.40s", name, min, max, value);
		return false;
	}
	*out = (uint32_t)number;
	return true;
}

static bool real_option(const char *value, double min, double max, double *out, char *why,
	size_t why_len, const char *name)
{
	if (offline_real(value, min, max, out))
		return true;
	snprintf(why, why_len, "--%s takes %g to %g, not %.40s", name, min, max, value);
	return false;
}

static bool name_option(
	bool known, const char *value, char *out, char *why, size_t why_len, const char *what)
{
	if (known)
		snprintf(out, MODEL_NAME_LEN, "%s", value);
	else
		snprintf(why, why_len, "No %s is called %.40s", what, value);
	return known;
}

static bool train_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	struct train_command *command = ctx;
	struct learn_recipe *recipe = &command->recipe;
	uint64_t seed;
	double real;

	switch (id) {
	case OPT_OUTPUT:
		command->output = value;
		return true;
	case OPT_ENCODER:
		return name_option(encoder_find(value) != NULL, value, recipe->encoder, why,
			why_len, "encoder");
	case OPT_LABELER:
		return name_option(labeler_find(value) != NULL, value, recipe->labeler, why,
			why_len, "labeler");
	case OPT_HIDDEN:
		if (parse_hidden(value, recipe))
			return true;
		snprintf(why, why_len, "--hidden takes up to %d widths from 1 to %d, not %.40s",
			MODEL_MAX_LAYERS - 1, MODEL_MAX_WIDTH, value);
		return false;
	case OPT_OUTPUTS:
		return number_option(value, 1, 2, &recipe->outputs, why, why_len, "outputs");
	case OPT_PREDICTS:
		if (strcmp(value, "class") && strcmp(value, "latency")) {
			snprintf(why, why_len, "--predicts takes class or latency, not %.40s",
				value);
			return false;
		}
		recipe->latency = strcmp(value, "latency") == 0;
		if (recipe->latency)
			recipe->outputs = 1;
		return true;
	case OPT_EPOCHS:
		return number_option(
			value, 1, 10000, &recipe->train.epochs, why, why_len, "epochs");
	case OPT_BATCH:
		return number_option(value, 1, 4096, &recipe->train.batch, why, why_len, "batch");
	case OPT_OPTIMISER:
		if (strcmp(value, "adam") == 0) {
			recipe->train.optimiser = TRAIN_ADAM;
			return true;
		}
		recipe->train.optimiser = TRAIN_SGD;
		recipe->train.momentum = 0.9f;
		snprintf(why, why_len, "--optimiser takes adam or sgd, not %.40s", value);
		return strcmp(value, "sgd") == 0;
	case OPT_RATE:
		if (!real_option(value, 1e-7, 10, &real, why, why_len, "learning-rate"))
			return false;
		recipe->train.learning_rate = (float)real;
		return true;
	case OPT_SLOW_WEIGHT:
		if (!real_option(value, 0.01, 1000, &real, why, why_len, "slow-weight"))
			return false;
		recipe->train.slow_weight = (float)real;
		return true;
	case OPT_SEED:
		if (!ctl_number(value, 0, UINT64_MAX, &seed)) {
			snprintf(why, why_len, "--seed takes a whole number, not %.40s", value);
			return false;
		}
		recipe->train.seed = seed;
		return true;
	case OPT_MARGIN:
		return real_option(value, 0, 0.5, &recipe->margin, why, why_len, "margin");
	case OPT_NAME:
		if (*value && strlen(value) < MODEL_NAME_LEN) {
			command->name = value;
			return true;
		}
		snprintf(why, why_len, "--name takes 1 to %d characters", MODEL_NAME_LEN - 1);
		return false;
	case OPT_DEVICE:
		return number_option(value, 0, 63, &command->device, why, why_len, "device");
	}
	return false;
}

static int report(const struct ctl *ctl, const struct train_command *command, const char *capture,
	const struct learn_result *result)
{
	if (!ctl->json) {
		puts(result->text);
		offline_print_scores(result);
		printf("slow is %.0f us and more; %s was written\n",
			(double)result->model->slow_threshold_us, command->output);
		return EXIT_CODE_OK;
	}
	return ctl_print_json(json_pack(
		"{s:b, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:b, s:I, s:o}", "ok",
		1, "text", result->text, "capture", capture, "output", command->output, "model",
		result->model->name, "encoder", command->recipe.encoder, "labeler",
		command->recipe.labeler, "rows_train", (json_int_t)result->rows_train,
		"rows_heldout", (json_int_t)result->rows_heldout, "slow_share",
		offline_number(result->slow_share), "slow_threshold_us",
		offline_number((double)result->model->slow_threshold_us), "heldout",
		offline_scores(result), "signal", result->heldout.signal, "epochs",
		(json_int_t)result->report.epochs, "seconds",
		offline_number(result->report.seconds)));
}

int cmd_train(int argc, char **argv)
{
	struct ctl ctl = { .command = "train", .offline = true, .usage = usage };
	struct train_command command = {
		.recipe = {
			.encoder = "linnos-digits",
			.labeler = "inflection",
			.hidden = { 256 },
			.n_hidden = 1,
			.outputs = 2,
			.margin = 0.05,
			.train = {
				.optimiser = TRAIN_ADAM,
				.loss = TRAIN_CROSS_ENTROPY,
				.learning_rate = 1e-3f,
				.slow_weight = 5,
				.epochs = 20,
				.batch = 128,
				.seed = 1,
			},
		},
		.name = "linnos",
	};
	struct learn_result result = { 0 };
	struct capture capture = { 0 };
	int code = ctl_parse(&ctl, argc, argv, options, train_option, &command, 1, 1);

	if (code != CTL_GO_ON)
		return code;
	if (!command.output)
		return ctl_fail(&ctl, EXIT_CODE_USAGE,
			"-o MODEL is missing: see `semantosctl train --help`.");
	/* LinnOS feeds its digits as they are; other encoders mix units and need a common scale. */
	command.recipe.train.standardise = strcmp(command.recipe.encoder, "linnos-digits") != 0;
	code = offline_capture(&ctl, argv[optind], command.device, &capture);
	if (code != CTL_GO_ON)
		return code;
	learn(capture.record, capture.n, &command.recipe, command.name, &result);
	if (result.error) {
		code = ctl_fail(&ctl, EXIT_CODE_FAILED, "%s", result.text);
		goto out;
	}
	if (capture.header.device[0] &&
		model_note_set(result.model, "device", capture.header.device)) {
		code = ctl_fail(&ctl, EXIT_CODE_FAILED, "No memory is left.");
		goto out;
	}
	code = offline_save(&ctl, result.model, command.output);
	if (code == CTL_GO_ON)
		code = report(&ctl, &command, argv[optind], &result);
out:
	model_free(result.model);
	capture_free(&capture);
	return code;
}
