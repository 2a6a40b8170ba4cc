/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_volume.c - semantosctl volume: makes, starts, shows, mends and removes replica volumes (docs/volume.md).
 *
 * Needs root and dm-semantos-replica.ko, no agent. Must never touch a device that carries anything unless --wipe names
 * that device; what the module refuses (histories that parted, legs that are missing) it refuses as well, in words.
 */
#include "agent/cli/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/cli/ctl.h"
#include "agent/cli/status_json.h"
#include "agent/cli/table.h"
#include "agent/cli/volume_disk.h"
#include "agent/cli/volume_dm.h"

static const char usage[] =
	"Usage: semantosctl volume create NAME DEVICE DEVICE [DEVICE...] [options]\n"
	"       semantosctl volume start NAME DEVICE DEVICE [DEVICE...] [--degraded] [--rebuild "
	"DEVICE]\n"
	"       semantosctl volume status [NAME]\n"
	"       semantosctl volume resync NAME LEG\n"
	"       semantosctl volume remove NAME\n\n"
	"A volume holds the same data on 2 to 8 devices: reads come from one, writes go to all.\n"
	"create makes one of empty devices; start puts an existing one together, e.g. after a "
	"boot; resync lets a\n"
	"leg that is out catch up; remove takes it out of the kernel and leaves the devices as "
	"they are.\n\n"
	"      --wipe DEVICE         create: what is on this device may be destroyed\n"
	"      --assume-equal        create: the devices hold equal data already (e.g. all zeros)\n"
	"      --region-kib N        create: differences are remembered in units of so many KiB "
	"(1024)\n"
	"      --nowait-reject N     reads that must not wait are refused when N are in flight on "
	"a leg\n"
	"      --hedge-us N          a second leg is asked when the first has not answered a read "
	"for "
	"N us (0: when the policy says)\n"
	"      --degraded            start: go on although devices are missing\n"
	"      --rebuild DEVICE      start: fill this device from the others, whatever is on it\n";

enum { OPT_WIPE = 256, OPT_EQUAL, OPT_REGION, OPT_NOWAIT, OPT_HEDGE, OPT_DEGRADED, OPT_REBUILD };

struct volume_options {
	const char *wipe[REPLICA_MAX_LEGS], *rebuild[REPLICA_MAX_LEGS];
	unsigned int n_wipe, n_rebuild;
	bool equal, degraded, hedging;
	uint64_t region_kib, nowait, hedge_us;
};

static bool volume_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	struct volume_options *o = ctx;

	switch (id) {
	case OPT_WIPE:
		if (o->n_wipe < REPLICA_MAX_LEGS)
			o->wipe[o->n_wipe++] = value;
		return true;
	case OPT_REBUILD:
		if (o->n_rebuild < REPLICA_MAX_LEGS)
			o->rebuild[o->n_rebuild++] = value;
		return true;
	case OPT_EQUAL:
		o->equal = true;
		return true;
	case OPT_DEGRADED:
		o->degraded = true;
		return true;
	case OPT_REGION:
		if (ctl_number(value, 4, 1 << 20, &o->region_kib) &&
			(o->region_kib & (o->region_kib - 1)) == 0)
			return true;
		snprintf(why, why_len, "--region-kib takes a power of two from 4 to 1048576");
		return false;
	case OPT_NOWAIT:
		if (ctl_number(value, 1, 65535, &o->nowait))
			return true;
		snprintf(why, why_len, "--nowait-reject takes 1 to 65535");
		return false;
	case OPT_HEDGE:
		o->hedging = ctl_number(value, 0, 1000000, &o->hedge_us);
		if (!o->hedging)
			snprintf(why, why_len, "--hedge-us takes 0 to 1000000");
		return o->hedging;
	default:
		return false;
	}
}

/* What the table says of reads, create and start alike. */
static int read_options_words(const struct volume_options *o)
{
	return 2 * !!o->nowait + 2 * o->hedging;
}

static void read_options_add(const struct volume_options *o, char *to, size_t len)
{
	int at = 0;

	if (o->nowait)
		at = snprintf(to, len, " nowait_reject %" PRIu64, o->nowait);
	if (o->hedging)
		snprintf(to + at, len - (size_t)at, " hedge_us %" PRIu64, o->hedge_us);
}

static bool named(const char *const *list, unsigned int n, const char *path)
{
	for (unsigned int i = 0; i < n; i++)
		if (strcmp(list[i], path) == 0)
			return true;
	return false;
}

static int done(const struct ctl *ctl, const char *text)
{
	if (ctl->json)
		return ctl_print_json(json_pack("{s:b, s:s}", "ok", 1, "text", text));
	puts(text);
	return EXIT_CODE_OK;
}

static int cannot_look(const struct ctl *ctl, const char *path, int err)
{
	if (err == -EBUSY)
		return ctl_fail(ctl, EXIT_CODE_BUSY,
			"%s is in use: mounted, or part of another device.", path);
	if (err == -ENOTBLK)
		return ctl_fail(ctl, EXIT_CODE_REFUSED,
			"%s is no block device: a file needs losetup first.", path);
	return ctl_fail(ctl, err == -ENOENT ? EXIT_CODE_NOT_FOUND : EXIT_CODE_FAILED,
		"%s cannot be looked at: %s.", path, strerror(-err));
}

/* Load the table. `line` is what dmsetup gets; `what` the past tense for people. */
static int load(const struct ctl *ctl, const char *name, const char *line, const char *what)
{
	char text[1024], sentence[200];
	int status = volume_run(
		(const char *const[]){ "dmsetup", "create", name, "--table", line, NULL }, text,
		sizeof(text));

	if (status)
		return ctl_fail(ctl, EXIT_CODE_FAILED,
			"Device-mapper refused %s: %.300s. The kernel log (dmesg) has the reason.",
			name, text);
	snprintf(sentence, sizeof(sentence), "%s is %s: /dev/mapper/%s.", name, what, name);
	return done(ctl, sentence);
}

static int create(const struct ctl *ctl, const struct volume_options *o, const char *name,
	char **paths, unsigned int n)
{
	struct volume_disk disk[REPLICA_MAX_LEGS];
	uint64_t sectors = UINT64_MAX;
	char line[4096];
	int err, at;

	for (unsigned int i = 0; i < o->n_wipe; i++)
		if (!named((const char *const *)paths, n, o->wipe[i]))
			return ctl_fail(ctl, EXIT_CODE_USAGE,
				"--wipe %s names none of the volume's devices.", o->wipe[i]);
	/* Nothing is written before all of them were looked at. */
	for (unsigned int i = 0; i < n; i++) {
		err = volume_disk_look(paths[i], &disk[i]);
		if (err)
			return cannot_look(ctl, paths[i], err);
		if ((disk[i].is_leg || disk[i].signature[0]) &&
			!named(o->wipe, o->n_wipe, paths[i]))
			return ctl_fail(ctl, EXIT_CODE_REFUSED,
				"%s carries %s. If that may be destroyed, say --wipe %s.", paths[i],
				disk[i].is_leg ? "a leg of a replica volume" : disk[i].signature,
				paths[i]);
		if (disk[i].sectors < REPLICA_META_SECTORS + 2048)
			return ctl_fail(
				ctl, EXIT_CODE_REFUSED, "%s has less than 2 MiB.", paths[i]);
		if (disk[i].sectors - REPLICA_META_SECTORS < sectors)
			sectors = disk[i].sectors - REPLICA_META_SECTORS;
	}
	for (unsigned int i = 0; i < n; i++) {
		if (!named(o->wipe, o->n_wipe, paths[i]))
			continue;
		err = volume_disk_wipe(paths[i]);
		if (err)
			return ctl_fail(ctl, EXIT_CODE_FAILED, "%s cannot be wiped: %s.", paths[i],
				strerror(-err));
	}
	at = snprintf(line, sizeof(line), "0 %" PRIu64 " semantos 1 %u", sectors & ~(uint64_t)7, n);
	for (unsigned int i = 0; i < n; i++)
		at += snprintf(line + at, sizeof(line) - (size_t)at, " %.255s 0", paths[i]);
	at += snprintf(line + at, sizeof(line) - (size_t)at, " %d create",
		1 + o->equal + 2 * !!o->region_kib + read_options_words(o));
	if (o->equal)
		at += snprintf(line + at, sizeof(line) - (size_t)at, " assume_equal");
	if (o->region_kib)
		at += snprintf(line + at, sizeof(line) - (size_t)at, " region_sectors %" PRIu64,
			o->region_kib * 2);
	read_options_add(o, line + at, sizeof(line) - (size_t)at);
	return load(ctl, name, line, "created");
}

static int start(const struct ctl *ctl, const struct volume_options *o, const char *name,
	char **paths, unsigned int n)
{
	const char *leg[REPLICA_MAX_LEGS] = { 0 }, *blank = NULL;
	struct volume_disk disk, first = { 0 };
	unsigned int missing = 0, rebuild = REPLICA_MAX_LEGS;
	char line[4096];
	int err, at;

	for (unsigned int i = 0; i < n; i++) {
		err = volume_disk_look(paths[i], &disk);
		if (err)
			return cannot_look(ctl, paths[i], err);
		if (named(o->rebuild, o->n_rebuild, paths[i])) {
			if (blank)
				return ctl_fail(
					ctl, EXIT_CODE_USAGE, "One device is rebuilt at a time.");
			blank = paths[i];
			continue;
		}
		if (!disk.is_leg)
			return ctl_fail(ctl, EXIT_CODE_REFUSED,
				"%s is no leg of a replica volume; to fill it from the others, say "
				"--rebuild %s.",
				paths[i], paths[i]);
		if (!first.is_leg)
			first = disk;
		if (memcmp(first.uuid, disk.uuid, sizeof(disk.uuid)) != 0 ||
			disk.leg >= first.nr_legs || first.nr_legs > REPLICA_MAX_LEGS)
			return ctl_fail(ctl, EXIT_CODE_REFUSED,
				"%s and %s are legs of different volumes.", first.path, paths[i]);
		if (leg[disk.leg])
			return ctl_fail(ctl, EXIT_CODE_REFUSED, "%s and %s both are leg %u.",
				leg[disk.leg], paths[i], disk.leg);
		leg[disk.leg] = paths[i];
	}
	if (!first.is_leg)
		return ctl_fail(ctl, EXIT_CODE_REFUSED, "No device is left to start from.");
	for (unsigned int i = 0; i < first.nr_legs && blank; i++)
		if (!leg[i] && rebuild == REPLICA_MAX_LEGS) {
			leg[i] = blank;
			rebuild = i;
		}
	if (blank && rebuild == REPLICA_MAX_LEGS)
		return ctl_fail(ctl, EXIT_CODE_USAGE, "All %u legs are there: %s has no place.",
			first.nr_legs, blank);
	at = snprintf(line, sizeof(line), "0 %" PRIu64 " semantos 1 %u", first.data_sectors,
		first.nr_legs);
	for (unsigned int i = 0; i < first.nr_legs; i++) {
		missing += !leg[i];
		at += snprintf(
			line + at, sizeof(line) - (size_t)at, " %.255s 0", leg[i] ? leg[i] : "-");
	}
	if (missing && !o->degraded)
		return ctl_fail(ctl, EXIT_CODE_REFUSED,
			"%u of %u legs are missing. What was written to them alone would be lost; "
			"to go on "
			"without, say --degraded.",
			missing, first.nr_legs);
	at += snprintf(line + at, sizeof(line) - (size_t)at, " %d region_sectors %u",
		2 + !!missing + 2 * !!blank + read_options_words(o), first.region_sectors);
	if (missing)
		at += snprintf(line + at, sizeof(line) - (size_t)at, " degraded");
	if (blank)
		at += snprintf(line + at, sizeof(line) - (size_t)at, " rebuild %u", rebuild);
	read_options_add(o, line + at, sizeof(line) - (size_t)at);
	return load(ctl, name, line, "started");
}

/* ---- status ---- */

static const char *state_name(char letter)
{
	return letter == 'A'   ? "in sync"
	       : letter == 'c' ? "catching up"
	       : letter == 'D' ? "out"
			       : "missing";
}

/* One line of `dmsetup status`: "NAME: 0 LENGTH semantos 1 LEGS LETTERS EQUAL/ALL GENERATION LEG... ". */
static void status_line(char *line, struct table *table, json_t *list)
{
	char name[128], letters[REPLICA_MAX_LEGS + 1], dev[32];
	uint64_t length, equal, all, generation, reads, writes;
	unsigned int n, inflight, read_errors, write_errors;
	json_t *legs = json_array(), *volume;
	int used = 0;

	if (sscanf(line,
		    "%127[^:]: 0 %" SCNu64 " semantos 1 %u %8s %" SCNu64 "/%" SCNu64 " %" SCNu64
		    "%n",
		    name, &length, &n, letters, &equal, &all, &generation, &used) != 7 ||
		n > REPLICA_MAX_LEGS || strlen(letters) != n) {
		json_decref(legs);
		return;
	}
	line += used;
	for (unsigned int i = 0; i < n; i++) {
		if (sscanf(line, " %31s%n", dev, &used) != 1)
			break;
		line += used;
		/* MAJOR:MINOR:READS:... or -:READS:... */
		if (sscanf(dev,
			    letters[i] == '-' ? "-:%" SCNu64 ":%" SCNu64 ":%u:%u:%u"
					      : "%*u:%*u:%" SCNu64 ":%" SCNu64 ":%u:%u:%u",
			    &reads, &writes, &inflight, &read_errors, &write_errors) != 5)
			break;
		table_cell(table, "%s", i ? "" : name);
		table_cell(table, "%u", i);
		table_cell(table, "%s", state_name(letters[i]));
		table_cell(table, "%" PRIu64, reads);
		table_cell(table, "%" PRIu64, writes);
		table_cell(table, "%u", inflight);
		table_cell(table, "%u", read_errors);
		table_cell(table, "%u", write_errors);
		if (i)
			table_cell(table, "%s", "");
		else
			table_cell(table, "%" PRIu64 " of %" PRIu64, all - equal, all);
		json_array_append_new(legs,
			json_pack("{s:i, s:s, s:I, s:I, s:i, s:i, s:i}", "leg", (int)i, "state",
				state_name(letters[i]), "reads", (json_int_t)reads, "writes",
				(json_int_t)writes, "inflight", (int)inflight, "read_errors",
				(int)read_errors, "write_errors", (int)write_errors));
	}
	volume = json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "name", name, "sectors",
		(json_int_t)length, "generation", (json_int_t)generation, "regions",
		(json_int_t)all, "regions_to_copy", (json_int_t)(all - equal), "legs", legs);
	json_array_append_new(list, volume);
}

static int status(const struct ctl *ctl, const char *name)
{
	static const char *const headers[] = { "VOLUME", "LEG", "STATE", "READS", "WRITES",
		"IN FLIGHT", "READ ERRORS", "WRITE ERRORS", "TO COPY", NULL };
	struct table *table;
	char text[8192];
	json_t *list = json_array();
	size_t n;
	int err = volume_run(
		(const char *const[]){ "dmsetup", "status", "--target", "semantos", NULL }, text,
		sizeof(text));

	if (err) {
		json_decref(list);
		return ctl_fail(
			ctl, EXIT_CODE_FAILED, "Device-mapper does not answer: %.300s.", text);
	}
	table = table_new(headers);
	for (char *rest = text, *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n"))
		if (!name || (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':'))
			status_line(line, table, list);
	n = json_array_size(list);
	if (ctl->json) {
		table_free(table);
		if (n == 0 && name) {
			json_decref(list);
			return ctl_fail(ctl, EXIT_CODE_NOT_FOUND, "There is no volume %s.", name);
		}
		return ctl_print_json(json_pack("{s:o}", "volumes", list));
	}
	json_decref(list);
	if (n == 0) {
		table_free(table);
		if (name)
			return ctl_fail(ctl, EXIT_CODE_NOT_FOUND, "There is no volume %s.", name);
		puts("There is no replica volume.");
		return EXIT_CODE_OK;
	}
	err = table_print(table, stdout, 0, ctl_width());
	table_free(table);
	return err ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

/* ---- the rest ---- */

static int resync(const struct ctl *ctl, const char *name, const char *leg)
{
	char text[300], sentence[200];
	uint64_t number;

	if (!ctl_number(leg, 0, REPLICA_MAX_LEGS - 1, &number))
		return ctl_fail(ctl, EXIT_CODE_USAGE,
			"%s is no number of a leg: see `semantosctl volume "
			"status`.",
			leg);
	if (volume_run(
		    (const char *const[]){ "dmsetup", "message", name, "0", "resync", leg, NULL },
		    text, sizeof(text)))
		return ctl_fail(ctl, EXIT_CODE_FAILED,
			"Leg %s of %s cannot catch up: %.200s. If its device was gone, remove the "
			"volume "
			"and start it again.",
			leg, name, text);
	snprintf(sentence, sizeof(sentence),
		"Leg %s of %s catches up: see `semantosctl volume status`.", leg, name);
	return done(ctl, sentence);
}

static int remove_volume(const struct ctl *ctl, const char *name)
{
	char text[300], sentence[200];

	if (volume_run(
		    (const char *const[]){ "dmsetup", "remove", name, NULL }, text, sizeof(text)))
		return ctl_fail(ctl, EXIT_CODE_BUSY, "%s cannot be removed: %.200s", name, text);
	snprintf(sentence, sizeof(sentence),
		"%s is removed; its devices keep their data, `semantosctl volume start` brings it "
		"back.",
		name);
	return done(ctl, sentence);
}

int cmd_volume(int argc, char **argv)
{
	static const struct option extra[] = { { "wipe", required_argument, NULL, OPT_WIPE },
		{ "assume-equal", no_argument, NULL, OPT_EQUAL },
		{ "region-kib", required_argument, NULL, OPT_REGION },
		{ "nowait-reject", required_argument, NULL, OPT_NOWAIT },
		{ "hedge-us", required_argument, NULL, OPT_HEDGE },
		{ "degraded", no_argument, NULL, OPT_DEGRADED },
		{ "rebuild", required_argument, NULL, OPT_REBUILD }, { 0 } };
	struct ctl ctl = { .command = "volume", .offline = true, .usage = usage };
	struct volume_options o = { 0 };
	char why[400];
	const char *verb, *name;
	unsigned int n;
	int code = ctl_parse(&ctl, argc, argv, extra, volume_option, &o, 1, 2 + REPLICA_MAX_LEGS);

	if (code != CTL_GO_ON)
		return code;
	verb = argv[optind];
	name = optind + 1 < argc ? argv[optind + 1] : NULL;
	n = name ? (unsigned int)(argc - optind - 2) : 0;
	if (name && !volume_name_ok(name))
		return ctl_fail(&ctl, EXIT_CODE_USAGE,
			"A volume's name has 1 to 60 letters, digits, '_', '-', '.' or '+'.");
	if (geteuid() != 0)
		return ctl_fail(&ctl, EXIT_CODE_PERMISSION, "Volumes need root: use sudo.");
	if (strcmp(verb, "status") == 0 && n == 0)
		return volume_target_ready(why, sizeof(why))
			       ? status(&ctl, name)
			       : ctl_fail(&ctl, EXIT_CODE_KERNEL, "%s.", why);
	if ((strcmp(verb, "create") == 0 && n >= 2) || (strcmp(verb, "start") == 0 && n >= 1)) {
		if (!volume_target_ready(why, sizeof(why)))
			return ctl_fail(&ctl, EXIT_CODE_KERNEL, "%s.", why);
		return verb[0] == 'c' ? create(&ctl, &o, name, &argv[optind + 2], n)
				      : start(&ctl, &o, name, &argv[optind + 2], n);
	}
	if ((strcmp(verb, "resync") == 0 && n == 1) ||
		(strcmp(verb, "remove") == 0 && name && n == 0)) {
		if (!volume_exists(name))
			return ctl_fail(&ctl, EXIT_CODE_NOT_FOUND, "There is no volume %s.", name);
		return n == 1 ? resync(&ctl, name, argv[optind + 2]) : remove_volume(&ctl, name);
	}
	return ctl_fail(&ctl, EXIT_CODE_USAGE,
		"%.40s is no such command, or something is missing: see "
		"`semantosctl volume --help`.",
		verb);
}
