/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_status.c - semantosctl status and list: what the agent does now, device by device or one line a policy.
 *
 * A score never stands alone: beside it are the baselines it has to beat.
 */
#include "agent/cli/commands.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/cli/ctl.h"
#include "agent/cli/module_view.h"
#include "agent/cli/status_json.h"
#include "agent/cli/table.h"

#define EXPLAINED 8 /* findings whose neighbours are printed; --json has all */

static const char *phase_word(const Semantos__V1__Device *device, char *buf, size_t len)
{
	char rows[32], wanted[32];

	switch (device->phase) {
	case SEMANTOS__V1__PHASE__WAITING:
		return "idle";
	case SEMANTOS__V1__PHASE__LEARNING:
		snprintf(buf, len, "learning %s/%s", ctl_count(rows, sizeof(rows), device->rows),
			ctl_count(wanted, sizeof(wanted), device->rows_wanted));
		return buf;
	case SEMANTOS__V1__PHASE__PREDICTING:
		return device->signal ? "predicting" : "predicting, no signal";
	case SEMANTOS__V1__PHASE__UNSUPPORTED:
		return "unsupported";
	case SEMANTOS__V1__PHASE__GONE:
		return "gone";
	default:
		return "unknown";
	}
}

static const char *verdict_word(const Semantos__V1__Device *device, char *buf, size_t len)
{
	const char *class = device->verdict_class == 0 ? "fast" : "slow";

	if (!device->verdict_live)
		return "none fresh";
	if (device->slow_threshold_us > 0 && device->verdict_class <= 1)
		snprintf(buf, len, "%s (%u/255)", class, device->verdict_confidence);
	else
		snprintf(buf, len, "class %u (%u/255)", device->verdict_class,
			device->verdict_confidence);
	return buf;
}

static void device_row(struct table *table, const Semantos__V1__Device *device)
{
	static const Semantos__V1__Score none = SEMANTOS__V1__SCORE__INIT;
	const Semantos__V1__Score *score = device->score ? device->score : &none;
	bool judged = score->evaluated > 0;
	char buf[64];

	table_cell(table, "%s", device->name);
	table_cell(table, "%s", phase_word(device, buf, sizeof(buf)));
	table_cell(table, "%s", verdict_word(device, buf, sizeof(buf)));
	table_cell(table, "%s", ctl_score(buf, sizeof(buf), judged ? score->auc : NAN));
	table_cell(table, "%s", ctl_score(buf, sizeof(buf), judged ? score->auc_pending : NAN));
	table_cell(table, "%s", ctl_score(buf, sizeof(buf), judged ? score->accuracy : NAN));
	table_cell(table, "%s", ctl_score(buf, sizeof(buf), judged ? score->majority : NAN));
	table_cell(table, "%s", ctl_count(buf, sizeof(buf), score->evaluated));
	table_cell(table, "%s",
		ctl_score(buf, sizeof(buf), device->has_model ? device->heldout_auc : NAN));
	table_cell(table, "%s",
		ctl_score(buf, sizeof(buf), device->has_model ? device->heldout_auc_pending : NAN));
	table_cell(table, "%s", device->has_model ? device->model : "-");
}

static int watch_print(const Semantos__V1__Watch *watch)
{
	static const char *const headers[] = { ">PROCESS", "NAME", "LIKE", ">SCORE", ">SURE",
		">WINDOWS", "WHAT WAS DONE", NULL };
	struct table *table;
	char auc[32], low[32];
	int err;

	if (watch->note[0])
		printf("  Nothing is flagged: %s.\n", watch->note);
	else if (watch->one_class)
		printf("  Compares with %u benign windows of %u recordings.\n", watch->benign,
			watch->recordings);
	else
		printf("  Compares with %u windows of %u recordings; held out by recording AUC %s "
		       "(95 %% sure of %s),\n  recall %.2f at %.1f %% false positives.\n",
			watch->references, watch->recordings,
			ctl_score(auc, sizeof(auc), watch->auc),
			ctl_score(low, sizeof(low), watch->auc_low), watch->recall,
			100 * watch->false_positives);
	printf("  %llu windows judged, %llu flagged; %llu processes found, %llu of them not logged "
	       "one "
	       "by one.\n",
		(unsigned long long)watch->judged, (unsigned long long)watch->flagged,
		(unsigned long long)watch->found, (unsigned long long)watch->unlogged);
	if (!watch->n_findings)
		return EXIT_CODE_OK;
	table = table_new(headers);
	for (size_t i = 0; table && i < watch->n_findings; i++) {
		const Semantos__V1__Finding *finding = watch->findings[i];
		char buf[32];

		table_cell(table, "%u", finding->pid);
		table_cell(table, "%s", finding->comm);
		table_cell(table, "%s", finding->label);
		table_cell(table, "%.2f", finding->score);
		table_cell(table, "%s", ctl_score(buf, sizeof(buf), finding->probability));
		table_cell(table, "%u", finding->windows);
		table_cell(table, "%s", finding->act);
	}
	err = table_print(table, stdout, 2, ctl_width());
	table_free(table);
	for (size_t i = 0; i < watch->n_findings && i < EXPLAINED; i++)
		printf("  %u %s\n", watch->findings[i]->pid, watch->findings[i]->neighbours);
	return err ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

static int policy_print(const Semantos__V1__Policy *policy)
{
	static const char *const headers[] = { "DEVICE", "PHASE", "VERDICT", ">AUC", ">PENDING",
		">ACCURACY", ">MAJORITY", ">JUDGED", ">HELD-OUT AUC", ">HELD-OUT PENDING", "MODEL",
		NULL };
	char mode[32], age[32];
	struct table *table;
	int err;

	printf("\n%s: %s, attached %s ago%s%s\n", policy->name,
		ctl_mode(mode, sizeof(mode), policy), ctl_age(age, sizeof(age), policy->age_s),
		policy->summary[0] ? ": " : "", policy->summary);
	if (policy->note[0])
		printf("  %s\n", policy->note);
	if (policy->watch)
		return watch_print(policy->watch);
	if (policy->n_devices == 0) {
		printf("  No device is watched: name one with semantos-agent --device.\n");
		return EXIT_CODE_OK;
	}
	table = table_new(headers);
	for (size_t i = 0; table && i < policy->n_devices; i++)
		device_row(table, policy->devices[i]);
	err = table_print(table, stdout, 2, ctl_width());
	table_free(table);
	for (size_t i = 0; i < policy->n_devices; i++) {
		if (policy->devices[i]->note[0])
			printf("  %s: %s\n", policy->devices[i]->name, policy->devices[i]->note);
	}
	return err ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

int cmd_status(int argc, char **argv)
{
	struct ctl ctl = { .command = "status",
		.usage = "Usage: semantosctl status [NAME]\n\n"
			 "Show the agent and its policies: phase, verdict (and how sure it is, of "
			 "255) and scores of each\n"
			 "device, beside what they have to beat. AUC, PENDING (pending pages "
			 "alone; of mllb\n"
			 "the time since a task ran), ACCURACY and MAJORITY\n"
			 "(always the commoner answer) are of the latest judged predictions, "
			 "HELD-OUT of reads kept back\n"
			 "from training.\n\n" };
	Semantos__V1__AgentStatus *status;
	char age[32], *module;
	json_t *json;
	int code = ctl_parse(&ctl, argc, argv, NULL, NULL, NULL, 0, 1);

	if (code != CTL_GO_ON)
		return code;
	status = ctl_status(&ctl, argv[optind], &code);
	if (!status)
		return code;
	module = module_state(MODULE_STATE);
	if (ctl.json) {
		json = status_json(status);
		if (json)
			json_object_set_new(json, "module", module_json(module));
		code = ctl_print_json(json);
		goto out;
	}
	printf("semantos-agent %s (process %u) on Linux %s, up %s. %s\n", status->version,
		status->pid, status->kernel, ctl_age(age, sizeof(age), status->uptime_s),
		status->lease_live ? "Its lease is live."
				   : "Its lease is not live: no verdict counts, the kernel's own "
				     "heuristics decide.");
	if (status->n_policies == 0)
		printf("No policy is attached: `semantosctl probe` names those there are, `attach` "
		       "loads one.\n");
	for (size_t i = 0; i < status->n_quarantined; i++)
		printf("%s is quarantined: %s. Lift it with `semantosctl unquarantine %s`.\n",
			status->quarantined[i]->policy, status->quarantined[i]->sentence,
			status->quarantined[i]->policy);
	for (size_t i = 0; i < status->n_changes; i++)
		printf("Change %llu in force (%s, %s): %s.\n",
			(unsigned long long)status->changes[i]->id, status->changes[i]->mode,
			status->changes[i]->state, status->changes[i]->sentence);
	for (size_t i = 0; i < status->n_policies && code == EXIT_CODE_OK; i++)
		code = policy_print(status->policies[i]);
	module_print(module, stdout);
out:
	free(module);
	semantos__v1__agent_status__free_unpacked(status, NULL);
	return code;
}

static size_t devices_in(const Semantos__V1__Policy *policy, Semantos__V1__Phase phase)
{
	size_t n = 0;

	for (size_t i = 0; i < policy->n_devices; i++)
		n += policy->devices[i]->phase == phase;
	return n;
}

static json_t *list_json(const Semantos__V1__AgentStatus *status)
{
	json_t *list = json_array();
	char mode[32];

	for (size_t i = 0; i < status->n_policies; i++) {
		const Semantos__V1__Policy *policy = status->policies[i];

		json_array_append_new(list,
			json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:o}", "name",
				text_json(policy->name), "mode",
				ctl_mode(mode, sizeof(mode), policy), "devices",
				(json_int_t)policy->n_devices, "predicting",
				(json_int_t)devices_in(policy, SEMANTOS__V1__PHASE__PREDICTING),
				"learning",
				(json_int_t)devices_in(policy, SEMANTOS__V1__PHASE__LEARNING),
				"age_s", (json_int_t)policy->age_s, "summary",
				text_json(policy->summary)));
	}
	return json_pack("{s:o}", "policies", list);
}

int cmd_list(int argc, char **argv)
{
	static const char *const headers[] = { "POLICY", "MODE", ">DEVICES", ">PREDICTING",
		">LEARNING", ">ATTACHED FOR", "SUMMARY", NULL };
	struct ctl ctl = { .command = "list",
		.usage = "Usage: semantosctl list\n\nShow the attached policies, one a line.\n\n" };
	Semantos__V1__AgentStatus *status;
	struct table *table;
	int code = ctl_parse(&ctl, argc, argv, NULL, NULL, NULL, 0, 0);

	if (code != CTL_GO_ON)
		return code;
	status = ctl_status(&ctl, NULL, &code);
	if (!status)
		return code;
	if (ctl.json) {
		code = ctl_print_json(list_json(status));
		goto out;
	}
	if (status->n_policies == 0) {
		printf("No policy is attached: `semantosctl probe` names those there are, `attach` "
		       "loads one.\n");
		goto out;
	}
	table = table_new(headers);
	for (size_t i = 0; table && i < status->n_policies; i++) {
		const Semantos__V1__Policy *policy = status->policies[i];
		char buf[32];

		table_cell(table, "%s", policy->name);
		table_cell(table, "%s", ctl_mode(buf, sizeof(buf), policy));
		table_cell(table, "%zu", policy->n_devices);
		table_cell(table, "%zu", devices_in(policy, SEMANTOS__V1__PHASE__PREDICTING));
		table_cell(table, "%zu", devices_in(policy, SEMANTOS__V1__PHASE__LEARNING));
		table_cell(table, "%s", ctl_age(buf, sizeof(buf), policy->age_s));
		table_cell(table, "%s", policy->summary[0] ? policy->summary : "-");
	}
	if (table_print(table, stdout, 0, ctl_width()))
		code = EXIT_CODE_FAILED;
	table_free(table);
out:
	semantos__v1__agent_status__free_unpacked(status, NULL);
	return code;
}
