// SPDX-License-Identifier: Apache-2.0
/*
 * cmd_knobs.c - semantosctl knobs: the kernel settings of this machine that are described, and all that is known of one.
 *
 * Asks no agent and opens nothing for writing. One thread.
 */
#include "agent/cli/commands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agent/cli/ctl.h"
#include "agent/cli/status_json.h"
#include "agent/cli/table.h"
#include "agent/util/knob_scan.h"

enum { OPT_ROOT = 256, OPT_SUBSYSTEM };

struct ask {
	const char *root, *subsystem;
};

static bool knobs_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	struct ask *ask = ctx;

	(void)why, (void)why_len;
	if (id == OPT_ROOT)
		ask->root = value;
	else if (id == OPT_SUBSYSTEM)
		ask->subsystem = value;
	else
		return false;
	return true;
}

/* What stands in the column of the value: it, or why there is none. */
static void value_text(const struct knob_here *here, char *out, size_t size)
{
	if (here->err)
		snprintf(out, size, "(%s)", strerror(-here->err));
	else if (here->groups)
		snprintf(out, size, "(%u groups)", here->groups);
	else if (here->value[0])
		snprintf(out, size, "%.*s%s", 48, here->value,
			strlen(here->value) > 48 ? "..." : "");
	else
		snprintf(out, size, "-");
}

/* The default of the nearest kernel that was looked at; "~" before it where it goes by the machine. */
static void default_text(const struct knob_here *here, const char *release, char *out, size_t size)
{
	const char *value =
		n_knob_kernels ? here->desc->seen[knob_kernel_nearest(release)].value : NULL;

	if (value)
		snprintf(out, size, "%s%s", here->desc->sized[0] ? "~" : "", value);
	else
		snprintf(out, size, "-");
}

static json_t *words_json(const char *words)
{
	json_t *list = json_array();

	for (size_t n; *words; words += n) {
		words += strspn(words, " ");
		n = strcspn(words, " ");
		if (n > 0)
			json_array_append_new(list, json_stringn(words, n));
	}
	return list;
}

static json_t *type_json(const struct knob_here *here)
{
	const struct knob_def *def = &here->desc->def;
	json_t *all = json_pack("{s:s}", "type", knob_type_names[def->type]);

	if (def->type == KNOB_CHOICE) {
		/* those the file lists, of those that may be written */
		json_object_set_new(all, "words", words_json(def->choices ? def->choices : ""));
		json_object_set_new(all, "words_here", words_json(here->choices));
	} else if (def->min || def->max) {
		json_object_set_new(all, "min", json_integer(def->min));
		json_object_set_new(all, "max", json_integer(def->max));
	}
	if (def->step)
		json_object_set_new(all, "step", json_integer(def->step));
	if (def->round)
		json_object_set_new(all, "rounded_to", json_integer(def->round));
	if (def->count)
		json_object_set_new(all, "count", json_integer(def->count));
	if (def->type == KNOB_INT_OR_MAX || def->or_max)
		json_object_set_new(all, "max_word", json_true());
	return all;
}

static json_t *edges_json(const struct knob_desc *desc)
{
	json_t *list = json_array();

	for (size_t e = 0; e < desc->n_edges; e++) {
		const struct knob_edge *edge = &desc->edge[e];

		json_array_append_new(
			list, json_pack("{s:s, s:i, s:s, s:s}", "type", knob_link_names[edge->link],
				      "sign", edge->sign, "to", edge->to, "when", edge->when));
	}
	return list;
}

static json_t *kernels_json(const struct knob_desc *desc)
{
	json_t *all = json_object();

	for (size_t k = 0; k < n_knob_kernels; k++) {
		const struct knob_seen *seen = &desc->seen[k];

		json_object_set_new(all, knob_kernels[k],
			seen->value ? json_pack("{s:o, s:s}", "default", text_json(seen->value),
					      "written", seen->written)
				    : json_null());
	}
	return all;
}

static json_t *knob_json(const struct knob_here *here, const char *root, const char *release)
{
	const struct knob_desc *desc = here->desc;
	char text[KNOB_SCAN_VALUE_MAX], file[512];
	json_t *all = json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "name",
		text_json(here->name), "pattern", desc->def.pattern, "subsystem", desc->subsystem,
		"why", desc->why, "unit", desc->unit, "risk", knob_risk_names[desc->risk], "scope",
		knob_scope_names[desc->scope], "documented", desc->doc);

	json_object_set_new(
		all, "value", here->err || !here->value[0] ? json_null() : text_json(here->value));
	if (here->err)
		json_object_set_new(all, "unreadable", json_string(strerror(-here->err)));
	if (here->groups)
		json_object_set_new(all, "groups", json_integer(here->groups));
	default_text(here, release, text, sizeof(text));
	json_object_set_new(all, "default",
		strcmp(text, "-") == 0 ? json_null() : text_json(text + (text[0] == '~')));
	json_object_set_new(all, "default_goes_by", json_string(desc->sized));
	json_object_update_new(all, type_json(here));
	json_object_set_new(
		all, "read_only", desc->read_only ? json_string(desc->read_only) : json_null());
	json_object_set_new(all, "group", json_string(desc->group));
	json_object_set_new(
		all, "pair", desc->def.partner ? json_string(desc->def.partner) : json_null());
	json_object_set_new(all, "waits_for_disk", json_boolean(desc->def.waits));
	json_object_set_new(all, "undo", json_string(knob_undo_names[desc->undo]));
	json_object_set_new(all, "undo_note", json_string(desc->undo_note));
	json_object_set_new(all, "edges", edges_json(desc));
	json_object_set_new(all, "kernels", kernels_json(desc));
	json_object_set_new(all, "documented_here",
		knob_doc_file(root, desc->doc, file, sizeof(file)) ? text_json(file) : json_null());
	return all;
}

static int out_of_memory(const struct ctl *ctl)
{
	return ctl_fail(ctl, EXIT_CODE_FAILED, "No memory is left.");
}

static int print_json(const struct ctl *ctl, const struct knob_scan *scan, const struct ask *ask)
{
	json_t *list = json_array(), *all = json_pack("{s:b, s:o, s:o}", "ok", 1, "kernel",
					     text_json(scan->release), "knobs", list);

	if (!all)
		return out_of_memory(ctl);
	for (size_t i = 0; i < scan->n; i++)
		json_array_append_new(list, knob_json(&scan->here[i], ask->root, scan->release));
	return ctl_print_json(all);
}

static int print_list(const struct ctl *ctl, const struct knob_scan *scan)
{
	static const char *const headers[] = { "KNOB", "VALUE", "DEFAULT", "RANGE", "UNIT", "RISK",
		"WHY IT MATTERS", NULL };
	struct table *table = table_new(headers);
	char text[KNOB_SCAN_VALUE_MAX];
	int err;

	for (size_t i = 0; i < scan->n; i++) {
		const struct knob_here *here = &scan->here[i];
		const struct knob_desc *desc = here->desc;

		table_cell(table, "%s", here->name);
		value_text(here, text, sizeof(text));
		table_cell(table, "%s", text);
		default_text(here, scan->release, text, sizeof(text));
		table_cell(table, "%s", text);
		knob_range_text(&desc->def, text, sizeof(text));
		table_cell(table, "%s", desc->read_only ? "read only" : text);
		table_cell(table, "%s", desc->unit[0] ? desc->unit : "-");
		table_cell(table, "%s", desc->read_only ? "-" : knob_risk_names[desc->risk]);
		table_cell(table, "%s", desc->why);
	}
	err = table_print(table, stdout, 0, ctl_width());
	table_free(table);
	return err ? out_of_memory(ctl) : EXIT_CODE_OK;
}

static void fact(struct table *table, const char *name, const char *value)
{
	table_cell(table, "%s", name);
	table_cell(table, "%s", value);
}

static void edge_facts(struct table *table, const struct knob_desc *desc)
{
	static const char *const words[] = { "depends on", "conflicts with", "goes well with" };
	char text[256];

	for (size_t e = 0; e < desc->n_edges; e++) {
		const struct knob_edge *edge = &desc->edge[e];

		snprintf(text, sizeof(text), "%s%s%s", edge->to, edge->when[0] ? " " : "",
			edge->when);
		fact(table, words[edge->link], text);
	}
}

static void kernel_facts(struct table *table, const struct knob_desc *desc)
{
	char name[64], text[256];

	for (size_t k = 0; k < n_knob_kernels; k++) {
		const struct knob_seen *seen = &desc->seen[k];

		snprintf(name, sizeof(name), "on Linux %s", knob_kernels[k]);
		if (!seen->value)
			snprintf(text, sizeof(text), "absent");
		else
			snprintf(text, sizeof(text), "%.120s%s%.100s", seen->value,
				!seen->written[0]		   ? ""
				: strcmp(seen->written, "ok") == 0 ? "; written and read back"
								   : "; not read back as written: ",
				!seen->written[0] || strcmp(seen->written, "ok") == 0
					? ""
					: seen->written);
		fact(table, name, text);
	}
}

static int print_one(
	const struct ctl *ctl, const struct knob_here *here, const char *root, const char *release)
{
	static const char *const headers[] = { "KNOB", "", NULL };
	const struct knob_desc *desc = here->desc;
	struct table *table = table_new(headers);
	char text[KNOB_SCAN_VALUE_MAX];
	int err;

	fact(table, "name", here->name);
	fact(table, "why it matters", desc->why);
	value_text(here, text, sizeof(text));
	fact(table, "value", text);
	default_text(here, release, text, sizeof(text));
	fact(table, "default", text);
	if (desc->sized[0])
		fact(table, "default goes by", desc->sized);
	knob_range_text(&desc->def, text, sizeof(text));
	fact(table, "range", text);
	if (here->choices[0])
		fact(table, "offered here", here->choices);
	fact(table, "unit", desc->unit[0] ? desc->unit : "-");
	fact(table, "type", knob_type_names[desc->def.type]);
	fact(table, "subsystem", desc->subsystem);
	fact(table, "of", knob_scope_names[desc->scope]);
	fact(table, "risk", knob_risk_names[desc->risk]);
	if (desc->read_only)
		fact(table, "never written", desc->read_only);
	if (desc->def.partner)
		fact(table, "undone with", desc->def.partner);
	if (desc->group[0])
		fact(table, "group", desc->group);
	fact(table, "undo",
		desc->undo == KNOB_UNDO_EXACT  ? "the old value stands again, and nothing stays"
		: desc->undo == KNOB_UNDO_NONE ? "cannot be undone"
					       : desc->undo_note);
	if (desc->def.waits)
		fact(table, "waits", "a write waits for the disk's requests; undone after others");
	edge_facts(table, desc);
	kernel_facts(table, desc);
	fact(table, "documented", desc->doc);
	if (knob_doc_file(root, desc->doc, text, sizeof(text)))
		fact(table, "here", text);
	err = table_print(table, stdout, 0, ctl_width());
	table_free(table);
	return err ? out_of_memory(ctl) : EXIT_CODE_OK;
}

static int absent(const struct ctl *ctl, const char *name, const char *release)
{
	const struct knob_desc *desc = knob_desc_find(name);
	char where[160] = "";

	if (!desc)
		return ctl_fail(ctl, EXIT_CODE_NOT_FOUND,
			"There is no description of %.200s: `semantosctl knobs` lists them.", name);
	for (size_t k = 0; k < n_knob_kernels; k++) {
		size_t len = strlen(where);

		if (desc->seen[k].value)
			snprintf(where + len, sizeof(where) - len, "%s %s", len ? "," : "",
				knob_kernels[k]);
	}
	return ctl_fail(ctl, EXIT_CODE_NOT_FOUND,
		"%.200s is not on this machine (Linux %.60s)%s%s.", name, release,
		where[0] ? "; seen on Linux" : "", where);
}

/* The one knob asked for; a row of the scan so that both ways of printing know one form. */
static int one(
	const struct ctl *ctl, struct knob_scan *scan, const struct ask *ask, const char *name)
{
	struct knob_here here;
	int err = knob_look(ask->root, name, &here);

	if (err)
		return absent(ctl, name, scan->release);
	if (ctl->json) {
		struct knob_scan only = *scan;

		only.here = &here;
		only.n = 1;
		return print_json(ctl, &only, ask);
	}
	return print_one(ctl, &here, ask->root, scan->release);
}

/* Leaves the rows of one subsystem; false: it has none. */
static bool keep_subsystem(struct knob_scan *scan, const char *subsystem)
{
	size_t n = 0;

	for (size_t i = 0; i < scan->n; i++) {
		if (strcmp(scan->here[i].desc->subsystem, subsystem) == 0)
			scan->here[n++] = scan->here[i];
	}
	scan->n = n;
	return n > 0;
}

static int no_subsystem(const struct ctl *ctl, const char *subsystem)
{
	char names[400] = "";

	for (size_t i = 0, k; i < n_knob_descs; i++) {
		size_t len = strlen(names);

		for (k = 0; strcmp(knob_descs[k].subsystem, knob_descs[i].subsystem) != 0; k++)
			;
		if (k == i)
			snprintf(names + len, sizeof(names) - len, "%s%s", len ? ", " : "",
				knob_descs[i].subsystem);
	}
	return ctl_fail(ctl, EXIT_CODE_NOT_FOUND,
		"This machine has no knob of the subsystem %.60s; there are: %s.", subsystem,
		names);
}

int cmd_knobs(int argc, char **argv)
{
	static const struct option options[] = { { "root", required_argument, NULL, OPT_ROOT },
		{ "subsystem", required_argument, NULL, OPT_SUBSYSTEM }, { 0 } };
	struct ctl ctl = { .command = "knobs",
		.offline = true,
		.usage = "Usage: semantosctl knobs [NAME]\n\n"
			 "List the kernel settings of this machine that are described: value, "
			 "default, range, risk and why they matter; of NAME,\n"
			 "all that is known. Reads only, and needs no agent. ~ stands before a "
			 "default that goes by the machine.\n\n"
			 "      --subsystem S    of this one only, e.g. memory, block, tcp\n"
			 "      --root DIR       a folder with proc/sys and sys, instead of this "
			 "machine's\n" };
	struct ask ask = { .root = getenv("SEMANTOS_ROOT") };
	struct knob_scan scan;
	int code = ctl_parse(&ctl, argc, argv, options, knobs_option, &ask, 0, 1);

	if (code != CTL_GO_ON)
		return code;
	ask.root = ask.root ?: "";
	if (knob_scan(&scan, ask.root))
		code = out_of_memory(&ctl);
	else if (optind < argc)
		code = one(&ctl, &scan, &ask, argv[optind]);
	else if (ask.subsystem && !keep_subsystem(&scan, ask.subsystem))
		code = no_subsystem(&ctl, ask.subsystem);
	else
		code = ctl.json ? print_json(&ctl, &scan, &ask) : print_list(&ctl, &scan);
	knob_scan_free(&scan);
	return code;
}
