// SPDX-License-Identifier: Apache-2.0
/*
 * offline.c - reads captures and models for the commands that work on files alone, and prints scores.
 *
 * Must never print a score that is not defined: "-" for people, null in JSON. One thread.
 */
#include "agent/cli/offline.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/core/trace.h"

enum exit_code offline_code(int error)
{
	switch (error) {
	case -ENOENT:
		return EXIT_CODE_NOT_FOUND;
	case -EACCES:
	case -EPERM:
		return EXIT_CODE_PERMISSION;
	case -ENOMEM:
	case -EIO:
		return EXIT_CODE_FAILED;
	default:
		return EXIT_CODE_REFUSED;
	}
}

int offline_readable(const struct ctl *ctl, const char *path)
{
	int err;

	if (access(path, R_OK) == 0)
		return CTL_GO_ON;
	err = -errno;
	return ctl_fail(ctl, offline_code(err), "%s cannot be opened: %s.", path, strerror(-err));
}

int offline_capture(
	const struct ctl *ctl, const char *path, uint32_t device, struct capture *capture)
{
	int err, code = offline_readable(ctl, path);
	char error[256] = "";

	if (code != CTL_GO_ON)
		return code;
	if (trace_looks_like(path))
		err = trace_read(path, device, capture, error, sizeof(error));
	else
		err = capture_read(path, capture, error, sizeof(error));
	if (err)
		return ctl_fail(ctl, offline_code(err), "%s was refused: %s", path, error);
	return CTL_GO_ON;
}

int offline_model(const struct ctl *ctl, const char *path, struct model **model)
{
	struct model_error error = { "" };
	int code = offline_readable(ctl, path);

	if (code != CTL_GO_ON)
		return code;
	*model = model_load(path, &error);
	if (!*model)
		return ctl_fail(ctl, EXIT_CODE_REFUSED, "%s was refused: %s", path, error.text);
	return CTL_GO_ON;
}

int offline_save(const struct ctl *ctl, const struct model *model, const char *path)
{
	struct model_error error = { "" };
	int err = model_save(model, path, &error);

	switch (err) {
	case 0:
		return CTL_GO_ON;
	case -EACCES:
	case -EPERM:
		return ctl_fail(ctl, EXIT_CODE_PERMISSION, "%s", error.text);
	case -EINVAL:
	case -ENOMEM:
		return ctl_fail(ctl, EXIT_CODE_FAILED, "%s", error.text);
	default:
		return ctl_fail(ctl, EXIT_CODE_STATE, "%s", error.text);
	}
}

json_t *offline_number(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

json_t *offline_scores(const struct learn_result *result)
{
	const struct score_signal *heldout = &result->heldout;
	const struct {
		const char *key;
		double value;
	} row[] = {
		{ "auc", heldout->auc },
		{ "auc_low", heldout->auc_low },
		{ "auc_high", heldout->auc_high },
		{ "pending_auc", heldout->baseline_auc },
		{ "gain_low", heldout->gain_low },
		{ "gain_high", heldout->gain_high },
		{ "majority", result->heldout_majority },
		{ "accuracy", result->heldout_accuracy },
		{ "recall", result->heldout_recall },
		{ "precision", result->heldout_precision },
	};
	json_t *scores = json_object();

	for (size_t i = 0; scores && i < sizeof(row) / sizeof(row[0]); i++)
		json_object_set_new(scores, row[i].key, offline_number(row[i].value));
	return scores;
}

void offline_print_scores(const struct learn_result *result)
{
	char count[32], share[16], accuracy[16], majority[16], recall[16], precision[16];

	printf("judged on %s reads, slow share %s: accuracy %s (majority %s), recall %s, precision "
	       "%s\n",
		ctl_count(count, sizeof(count), result->rows_heldout),
		ctl_score(share, sizeof(share), result->slow_share),
		ctl_score(accuracy, sizeof(accuracy), result->heldout_accuracy),
		ctl_score(majority, sizeof(majority), result->heldout_majority),
		ctl_score(recall, sizeof(recall), result->heldout_recall),
		ctl_score(precision, sizeof(precision), result->heldout_precision));
}

bool offline_real(const char *text, double min, double max, double *out)
{
	char *end;

	if ((*text < '0' || *text > '9') && *text != '.')
		return false;
	*out = strtod(text, &end);
	return end != text && !*end && isfinite(*out) && *out >= min && *out <= max;
}
