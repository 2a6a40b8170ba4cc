/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_probe.c - semantosctl probe: prints what probe.h found, for people or as JSON.
 *
 * Exit code 3 when no policy can run on this kernel at all, 0 otherwise: a missing capability is an answer, no failure.
 */
#include "agent/cli/commands.h"

#include <stdlib.h>
#include <string.h>
#include "agent/cli/ctl.h"
#include "agent/cli/probe.h"
#include "agent/cli/status_json.h"
#include "agent/cli/table.h"

enum { OPT_ROOT = 256, OPT_POLICY_PATH };

static bool probe_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	struct probe_options *options = ctx;

	(void)why;
	(void)why_len;
	if (id == OPT_ROOT)
		options->root = value;
	else if (id == OPT_POLICY_PATH)
		options->policy_path = value;
	else
		return false;
	return true;
}

static const char *yes_no(enum probe_known known)
{
	return known == PROBE_YES ? "yes" : known == PROBE_NO ? "no" : "unknown";
}

static json_t *known_json(enum probe_known known)
{
	return known == PROBE_UNKNOWN ? json_null() : json_boolean(known == PROBE_YES);
}

static json_t *disks_json(const struct probe *probe)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < probe->n_disks; i++) {
		const struct probe_disk *disk = &probe->disk[i];

		json_array_append_new(
			list, json_pack("{s:o, s:o, s:b, s:o}", "name", text_json(disk->name),
				      "scheduler", text_json(disk->scheduler), "blk_mq",
				      disk->blk_mq, "note", text_json(disk->note)));
	}
	return list;
}

static json_t *policies_json(const struct probe *probe)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < probe->n_policies; i++) {
		const struct probe_policy *policy = &probe->policy[i];
		json_t *row = json_pack(
			"{s:o, s:b}", "name", text_json(policy->name), "refused", policy->refused);

		for (unsigned int c = 0; c < PROBE_CAPABILITIES; c++)
			json_object_set_new(row, probe_capability_name(c),
				json_pack("{s:b, s:b, s:o}", "used", policy->uses[c], "ready",
					policy->uses[c] && !policy->missing[c][0], "missing",
					text_json(policy->uses[c] ? policy->missing[c] : "")));
		json_array_append_new(list, row);
	}
	return list;
}

static json_t *probe_json(const struct probe *probe)
{
	json_t *all = json_pack("{s:o, s:b, s:b}", "kernel", text_json(probe->release),
		"kernel_too_old", probe->kernel_too_old, "root", probe->is_root);

	json_object_set_new(all, "btf", known_json(probe->btf));
	json_object_set_new(all, "bpffs", known_json(probe->bpffs));
	json_object_set_new(all, "secure_boot", known_json(probe->secure_boot));
	json_object_set_new(
		all, "lockdown", probe->lockdown[0] ? text_json(probe->lockdown) : json_null());
	json_object_set_new(all, "sched_class_ext", known_json(probe->sched_ext_config));
	json_object_set_new(all, "kmod_holder",
		probe->kmod_holder[0] ? text_json(probe->kmod_holder) : json_null());
	json_object_set_new(all, "sched_ext_scheduler", text_json(probe->scheduler));
	json_object_set_new(all, "module_btf", known_json(probe->module_btf));
	json_object_set_new(all, "unsigned_modules", known_json(probe->modules));
	json_object_set_new(all, "cgroup", json_integer(probe->cgroup));
	json_object_set_new(all, "agent_running", json_boolean(probe->agent_running));
	json_object_set_new(all, "agent_pid", json_integer(probe->agent_pid));
	json_object_set_new(all, "disks", disks_json(probe));
	json_object_set_new(all, "policies", policies_json(probe));
	return all;
}

static void fact(struct table *table, const char *name, const char *value)
{
	table_cell(table, "%s", name);
	table_cell(table, "%s", value);
}

static int print_facts(const struct probe *probe)
{
	static const char *const headers[] = { "THIS MACHINE", "", NULL };
	struct table *table = table_new(headers);
	char text[200];
	int err;

	fact(table, "kernel", probe->release[0] ? probe->release : "unknown");
	fact(table, "BTF", yes_no(probe->btf));
	fact(table, "bpffs at /sys/fs/bpf",
		probe->bpffs == PROBE_NO ? "not mounted" : yes_no(probe->bpffs));
	fact(table, "Secure Boot",
		probe->efi ? yes_no(probe->secure_boot) : "no (not booted by EFI)");
	fact(table, "lockdown",
		probe->lockdown[0] ? probe->lockdown
				   : "unknown: not compiled in, or securityfs is not mounted");
	fact(table, "CONFIG_SCHED_CLASS_EXT", yes_no(probe->sched_ext_config));
	fact(table, "sched_ext scheduler",
		probe->scheduler[0] ? probe->scheduler : "none attached");
	fact(table, "BTF of kernel modules", yes_no(probe->module_btf));
	fact(table, "unsigned kernel modules",
		probe->modules == PROBE_YES ? "may be loaded" : probe->modules_why);
	if (probe->kmod_loaded && probe->kmod_holder[0])
		snprintf(text, sizeof(text), "loaded; %s decides",
			strcmp(probe->kmod_holder, "none") ? probe->kmod_holder : "no policy");
	fact(table, "semantos.ko",
		!probe->kmod_loaded
			? (probe->kmod_present ? "installed, not loaded" : "not installed")
		: probe->kmod_holder[0]
			? text
			: "loaded, but it does not say who decides: another version");
	fact(table, "cgroups",
		probe->cgroup == 2   ? "v2"
		: probe->cgroup == 1 ? "v1: knobs of cgroup v2 are not offered"
				     : "none mounted");
	if (probe->agent_running)
		snprintf(text, sizeof(text), "process %u: a second one would be refused",
			probe->agent_pid);
	fact(table, "agent running", probe->agent_running ? text : "no");
	err = table_print(table, stdout, 0, ctl_width());
	table_free(table);
	return err;
}

static int print_disks(const struct probe *probe)
{
	static const char *const headers[] = { "DISK", "SCHEDULER", "KIND", NULL };
	struct table *table;
	int err;

	if (probe->n_disks == 0) {
		printf("\nNo physical disk was found.\n");
		return 0;
	}
	table = table_new(headers);
	for (uint32_t i = 0; i < probe->n_disks; i++) {
		const struct probe_disk *disk = &probe->disk[i];

		table_cell(table, "%s", disk->name);
		table_cell(table, "%s", disk->scheduler[0] ? disk->scheduler : "-");
		table_cell(table, "%s%s%s",
			disk->blk_mq ? "blk-mq" : "bio-only, cannot be followed",
			disk->note[0] ? ": " : "", disk->note);
	}
	putchar('\n');
	err = table_print(table, stdout, 0, ctl_width());
	table_free(table);
	return err;
}

static int print_policies(const struct probe *probe)
{
	static const char *const headers[] = { "POLICY", "CAPABILITY", "YES, OR WHAT IS MISSING",
		NULL };
	struct table *table = table_new(headers);
	int err;

	for (uint32_t i = 0; i < probe->n_policies; i++) {
		const struct probe_policy *policy = &probe->policy[i];

		for (unsigned int c = 0; c < PROBE_CAPABILITIES; c++) {
			table_cell(table, "%s", c == 0 ? policy->name : "");
			table_cell(table, "%s", probe_capability_name(c));
			table_cell(table, "%s",
				!policy->uses[c]	? "not used"
				: policy->missing[c][0] ? policy->missing[c]
							: "yes");
		}
	}
	putchar('\n');
	err = table_print(table, stdout, 0, ctl_width());
	table_free(table);
	return err;
}

/* The one sentence that ends a probe on a machine where nothing can run; NULL when something can. */
static const char *no_way(const struct probe *probe, char *text, size_t len)
{
	if (probe->kernel_too_old)
		snprintf(text, len,
			"Linux %s is too old: semantos needs %d.%d or newer (Debian 12 has it).",
			probe->release, PROBE_KERNEL_MAJOR, PROBE_KERNEL_MINOR);
	else if (probe->btf == PROBE_NO)
		snprintf(text, len,
			"Linux%s%s has no BTF (/sys/kernel/btf/vmlinux): boot a kernel built with "
			"CONFIG_DEBUG_INFO_BTF.",
			probe->release[0] ? " " : "", probe->release);
	else
		return NULL;
	return text;
}

int cmd_probe(int argc, char **argv)
{
	static const struct option options[] = { { "root", required_argument, NULL, OPT_ROOT },
		{ "policy-path", required_argument, NULL, OPT_POLICY_PATH }, { 0 } };
	struct ctl ctl = {
		.command = "probe",
		.offline = true,
		.usage =
			"Usage: semantosctl probe\n\n"
			"Show what this machine can do for each policy, without the agent and "
			"without changing anything.\n"
			"Exit code 3: no policy can run on this kernel.\n\n"
			"      --policy-path P  folders with policies, colon-separated\n"
			"      --root DIR       look at the machine below DIR (or $SEMANTOS_ROOT)\n"
	};
	struct probe_options ask = { .root = getenv("SEMANTOS_ROOT") };
	struct probe *probe;
	char text[256];
	int code = ctl_parse(&ctl, argc, argv, options, probe_option, &ask, 0, 0);

	if (code != CTL_GO_ON)
		return code;
	probe = malloc(sizeof(*probe));
	if (!probe || probe_run(&ask, probe)) {
		free(probe);
		return ctl_fail(&ctl, EXIT_CODE_FAILED, "No memory is left.");
	}
	code = no_way(probe, text, sizeof(text)) ? EXIT_CODE_KERNEL : EXIT_CODE_OK;
	if (ctl.json) {
		json_t *all = probe_json(probe);

		json_object_set_new(all, "ok", json_boolean(code == EXIT_CODE_OK));
		if (code != EXIT_CODE_OK) {
			json_object_set_new(all, "code", json_integer(code));
			json_object_set_new(all, "error", text_json(text));
		}
		if (ctl_print_json(all) != EXIT_CODE_OK)
			code = EXIT_CODE_FAILED;
	} else if (probe->kernel_too_old) {
		fprintf(stderr, "semantosctl: %s\n", text);
	} else if (print_facts(probe) || print_disks(probe) || print_policies(probe)) {
		code = ctl_fail(&ctl, EXIT_CODE_FAILED, "No memory is left.");
	} else if (code != EXIT_CODE_OK) {
		fprintf(stderr, "semantosctl: %s\n", text);
	} else if (!probe->is_root) {
		printf("\nYou are not root: the agent itself needs sudo.\n");
	}
	free(probe);
	return code;
}
