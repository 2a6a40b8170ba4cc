// SPDX-License-Identifier: Apache-2.0
/*
 * cmd_replay.c - semantosctl replay: what a model would have said about a capture, in time order, and how right it was.
 *
 * Runs without the agent and without root; writes nothing.
 */
#include "agent/cli/commands.h"

#include "agent/cli/offline.h"

enum { OPT_MODEL = 256, OPT_MARGIN, OPT_DEVICE };

struct replay_command {
	const char *model;
	double margin;
	uint32_t device;
};

static const char usage[] =
	"Usage: semantosctl replay CAPTURE --model MODEL [OPTION...]\n\n"
	"Run a model over the reads of a capture in time order; each prediction sees only what "
	"was\n"
	"known when its read was issued. Reads the model was trained on flatter "
	"it.\n" OFFLINE_CAPTURE_HELP "      --model MODEL    a model file (safetensors)\n"
	"      --margin X       signal needs an AUC above 0.5 + X with 95 % confidence (0.05)\n"
	"      --device N       which device of a trace (0)\n";

static const struct option options[] = {
	{ "model", required_argument, NULL, OPT_MODEL },
	{ "margin", required_argument, NULL, OPT_MARGIN },
	{ "device", required_argument, NULL, OPT_DEVICE },
	{ 0 },
};

static bool replay_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	struct replay_command *command = ctx;
	uint64_t number;

	switch (id) {
	case OPT_MODEL:
		command->model = value;
		return true;
	case OPT_MARGIN:
		if (offline_real(value, 0, 0.5, &command->margin))
			return true;
		snprintf(why, why_len, "--margin takes 0 to 0.5, not %.40s", value);
		return false;
	case OPT_DEVICE:
		if (ctl_number(value, 0, 63, &number)) {
			command->device = (uint32_t)number;
			return true;
		}
		snprintf(why, why_len, "--device takes 0 to 63, not %.40s", value);
		return false;
	}
	return false;
}

static int report(const struct ctl *ctl, const char *capture, const struct model *model,
	const struct learn_result *result)
{
	if (!ctl->json) {
		puts(result->text);
		offline_print_scores(result);
		return EXIT_CODE_OK;
	}
	return ctl_print_json(json_pack("{s:b, s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:b}", "ok",
		1, "text", result->text, "capture", capture, "model", model->name, "encoder",
		model->encoder, "rows", (json_int_t)result->rows_heldout, "slow_share",
		offline_number(result->slow_share), "slow_threshold_us",
		model->slow_threshold_us > 0 ? json_real((double)model->slow_threshold_us)
					     : json_null(),
		"scores", offline_scores(result), "signal", result->heldout.signal));
}

int cmd_replay(int argc, char **argv)
{
	struct ctl ctl = { .command = "replay", .offline = true, .usage = usage };
	struct replay_command command = { .margin = 0.05 };
	struct learn_result result;
	struct capture capture = { 0 };
	struct model *model = NULL;
	int code = ctl_parse(&ctl, argc, argv, options, replay_option, &command, 1, 1);

	if (code != CTL_GO_ON)
		return code;
	if (!command.model)
		return ctl_fail(&ctl, EXIT_CODE_USAGE,
			"--model MODEL is missing: see `semantosctl replay --help`.");
	code = offline_model(&ctl, command.model, &model);
	if (code == CTL_GO_ON)
		code = offline_capture(&ctl, argv[optind], command.device, &capture);
	if (code != CTL_GO_ON)
		goto out;
	learn_replay(capture.record, capture.n, model, command.margin, &result);
	code = result.error ? ctl_fail(&ctl, offline_code(result.error), "%s", result.text)
			    : report(&ctl, argv[optind], model, &result);
out:
	capture_free(&capture);
	model_free(model);
	return code;
}
