// SPDX-License-Identifier: Apache-2.0
/*
 * cmd_model.c - semantosctl model show and model import: look at a model file, bring a foreign one in.
 *
 * Runs without the agent and without root. `model use` talks to the agent and lives in cmd_change.c.
 */
#include "agent/cli/commands.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include "agent/cli/offline.h"
#include "agent/infer/encode.h"
#include "agent/infer/import.h"

enum {
	OPT_OUTPUT = 'o',
	OPT_FROM = 256,
	OPT_NAME,
	OPT_ENCODER,
	OPT_ACTIVATIONS,
	OPT_DECISION,
	OPT_SLOW
};

static const char model_usage[] =
	"Usage: semantosctl model show FILE\n"
	"       semantosctl model import [--from FORMAT] SOURCE... -o MODEL\n"
	"       semantosctl model use NAME DEVICE FILE\n\n"
	"Each has its own --help.\n";

static const char show_usage[] =
	"Usage: semantosctl model show FILE\n\n"
	"Print what a model takes and gives, when it says slow, and where it came from.\n\n";

static const char import_usage[] =
	"Usage: semantosctl model import [--from FORMAT] SOURCE... -o MODEL [OPTION...]\n\n"
	"Turn weights trained elsewhere into a model file. The ending of the first SOURCE says "
	"what it\n"
	"is, or --from: linnos-csv (.csv, one file each for weights and biases), keras (.json) or\n"
	"safetensors (.safetensors). CSV and JSON may be gzipped (.gz).\n\n"
	"  -o, --output MODEL      write the model here (safetensors)\n"
	"      --from FORMAT       refuse sources that are not of this format\n"
	"      --name NAME         of the model (imported)\n"
	"      --encoder NAME      what makes its inputs (linnos-digits when there are 31)\n"
	"      --activations LIST  one per layer: relu, sigmoid, linear (relu, the last linear)\n"
	"      --decision X        a score of X or more is class 1 (above 0)\n"
	"      --slow-threshold US slow is a latency of US and more (unknown)\n";

static const struct option import_list[] = {
	{ "output", required_argument, NULL, OPT_OUTPUT },
	{ "from", required_argument, NULL, OPT_FROM },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "encoder", required_argument, NULL, OPT_ENCODER },
	{ "activations", required_argument, NULL, OPT_ACTIVATIONS },
	{ "decision", required_argument, NULL, OPT_DECISION },
	{ "slow-threshold", required_argument, NULL, OPT_SLOW },
	{ 0 },
};

static const struct import_format {
	const char *name, *ending;
} formats[] = { { "linnos-csv", ".csv" }, { "keras", ".json" }, { "safetensors", ".safetensors" } };

struct import_command {
	struct import_options options;
	const struct import_format *from;
	const char *output;
};

static const char *activation_name(enum model_activation activation)
{
	static const char *const name[] = { "linear", "relu", "sigmoid" };

	return name[activation];
}

static json_t *model_json(const struct model *model)
{
	json_t *layers = json_array(), *notes = json_object();

	for (uint32_t i = 0; i < model->n_layers; i++)
		json_array_append_new(layers,
			json_pack("{s:I, s:I, s:s}", "inputs", (json_int_t)model->layer[i].inputs,
				"outputs", (json_int_t)model->layer[i].outputs, "activation",
				activation_name(model->layer[i].activation)));
	for (uint32_t i = 0; i < model->n_notes; i++)
		json_object_set_new(notes, model->note[i].key, json_string(model->note[i].value));
	return json_pack("{s:b, s:s, s:s, s:o, s:b, s:b, s:o, s:o, s:o}", "ok", 1, "name",
		model->name, "encoder", model->encoder, "layers", layers, "integer",
		model->has_integer, "standardised", model->mean != NULL, "decision_threshold",
		offline_number((double)model->decision_threshold), "slow_threshold_us",
		model->slow_threshold_us > 0 ? json_real((double)model->slow_threshold_us)
					     : json_null(),
		"notes", notes);
}

static void model_print(const struct model *model)
{
	const struct encoder *encoder = encoder_find(model->encoder);
	size_t parameters = 0;
	char count[32];

	printf("%-18s %s\n", "name", model->name);
	printf("%-18s %s: %s\n", "encoder", model->encoder,
		encoder ? encoder->summary : "unknown to this build");
	printf("%-18s %u", "shape", model_inputs(model));
	for (uint32_t i = 0; i < model->n_layers; i++) {
		printf(" -> %u %s", model->layer[i].outputs,
			activation_name(model->layer[i].activation));
		parameters += (model->layer[i].inputs + 1UL) * model->layer[i].outputs;
	}
	printf("\n%-18s %s%s%s\n", "parameters", ctl_count(count, sizeof(count), parameters),
		model->has_integer ? ", integer twin" : "", model->mean ? ", scaled inputs" : "");
	if (model->slow_threshold_us > 0)
		printf("%-18s %.0f us and more\n", "slow", (double)model->slow_threshold_us);
	printf("%-18s score of %g and more\n", "class 1", (double)model->decision_threshold);
	for (uint32_t i = 0; i < model->n_notes; i++)
		printf("%-18s %s\n", model->note[i].key, model->note[i].value);
}

static int show(int argc, char **argv)
{
	struct ctl ctl = { .command = "model show", .offline = true, .usage = show_usage };
	struct model *model = NULL;
	int code = ctl_parse(&ctl, argc, argv, NULL, NULL, NULL, 1, 1);

	if (code == CTL_GO_ON)
		code = offline_model(&ctl, argv[optind], &model);
	if (code != CTL_GO_ON)
		return code;
	code = EXIT_CODE_OK;
	if (ctl.json)
		code = ctl_print_json(model_json(model));
	else
		model_print(model);
	model_free(model);
	return code;
}

static bool import_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	struct import_command *command = ctx;
	double real;

	switch (id) {
	case OPT_OUTPUT:
		command->output = value;
		return true;
	case OPT_FROM:
		for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
			if (!strcmp(value, formats[i].name))
				command->from = &formats[i];
		}
		if (!command->from)
			snprintf(why, why_len,
				"--from takes linnos-csv, keras or safetensors, not %.40s", value);
		return command->from != NULL;
	case OPT_NAME:
		command->options.name = value;
		return true;
	case OPT_ENCODER:
		command->options.encoder = value;
		if (!encoder_find(value))
			snprintf(why, why_len, "No encoder is called %.40s", value);
		return encoder_find(value) != NULL;
	case OPT_ACTIVATIONS:
		command->options.activations = value;
		return true;
	case OPT_DECISION:
		if (!offline_real(value + (*value == '-'), 0, 1e30, &real)) {
			snprintf(why, why_len, "--decision takes a number, not %.40s", value);
			return false;
		}
		command->options.decision_threshold = (float)(*value == '-' ? -real : real);
		return true;
	case OPT_SLOW:
		if (!offline_real(value, 0, 1e9, &real)) {
			snprintf(why, why_len,
				"--slow-threshold takes 0 to 1e9 microseconds, not %.40s", value);
			return false;
		}
		command->options.slow_threshold_us = (float)real;
		return true;
	}
	return false;
}

/* Does the path end so, or so and .gz? */
static bool has_ending(const char *path, const char *ending)
{
	size_t length = strlen(path), n = strlen(ending);

	if (length > 3 && !strcmp(path + length - 3, ".gz"))
		length -= 3;
	return length > n && !strncmp(path + length - n, ending, n);
}

static int import(int argc, char **argv)
{
	struct ctl ctl = { .command = "model import", .offline = true, .usage = import_usage };
	struct import_command command = { .options = { .decision_threshold = NAN } };
	struct model_error error = { "" };
	struct model *model = NULL;
	int code = ctl_parse(
		&ctl, argc, argv, import_list, import_option, &command, 1, IMPORT_MAX_FILES);

	if (code != CTL_GO_ON)
		return code;
	if (!command.output)
		return ctl_fail(&ctl, EXIT_CODE_USAGE,
			"-o MODEL is missing: see `semantosctl model import --help`.");
	if (command.from && !has_ending(argv[optind], command.from->ending))
		return ctl_fail(&ctl, EXIT_CODE_USAGE,
			"--from %s reads files that end in %s, and %s does not.",
			command.from->name, command.from->ending, argv[optind]);
	for (int i = optind; i < argc; i++) {
		code = offline_readable(&ctl, argv[i]);
		if (code != CTL_GO_ON)
			return code;
	}
	model = import_model((const char *const *)argv + optind, (uint32_t)(argc - optind),
		&command.options, &error);
	if (!model)
		return ctl_fail(&ctl, EXIT_CODE_REFUSED, "%s", error.text);
	code = offline_save(&ctl, model, command.output);
	if (code == CTL_GO_ON) {
		code = EXIT_CODE_OK;
		if (ctl.json) {
			code = ctl_print_json(model_json(model));
		} else {
			model_print(model);
			printf("%s was written\n", command.output);
		}
	}
	model_free(model);
	return code;
}

int cmd_model(int argc, char **argv)
{
	struct ctl ctl = { .command = "model", .usage = model_usage };

	for (int i = 1; i < argc; i++)
		ctl.json |= !strcmp(argv[i], "--json") || !strcmp(argv[i], "-j");
	if (argc > 1 && !strcmp(argv[1], "show"))
		return show(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "import"))
		return import(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "use"))
		return cmd_model_use(argc - 1, argv + 1);
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		fputs(model_usage, stdout);
		return EXIT_CODE_OK;
	}
	return ctl_fail(&ctl, EXIT_CODE_USAGE,
		"model takes show, import or use: see `semantosctl model --help`.");
}
