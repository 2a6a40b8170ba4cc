// SPDX-License-Identifier: Apache-2.0
/*
 * cmd_learn.c - semantosctl learn: windows of system calls become labelled references of the policy knn.
 *
 * Works on the file of references, with or without a running agent, which reads the file again when it changed. A lock
 * beside it lets one command at a time change it.
 */
#include "agent/cli/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "agent/cli/ctl.h"
#include "agent/cli/learn_record.h"
#include "agent/cli/offline.h"
#include "agent/cli/probe.h"
#include "agent/infer/kin.h"

#define DEFAULT_FILE "/var/lib/semantos/knn/references.safetensors"
#define FALSE_SHARE 0.021
#define SECONDS_MOST 86400

enum {
	OPT_LABEL = 256,
	OPT_TRACES,
	OPT_REFERENCES,
	OPT_POLICY_PATH,
	OPT_SECONDS,
	OPT_FORGET,
	OPT_LIST,
};

struct learn_command {
	const char *label, *traces, *file, *policies, *forget;
	uint32_t seconds;
	bool list;
};

static const char usage[] =
	"Usage: semantosctl learn --label NAME [OPTION...] -- COMMAND [ARGUMENT...]\n"
	"       semantosctl learn --traces FOLDER [--label NAME]\n"
	"       semantosctl learn --list | --forget NAME\n\n"
	"Run a command, as root, and keep the system calls of it and of all it starts as\n"
	"references of the policy knn, in windows of 1,024 calls; or read recorded traces.\n"
	"Label what is as it should be " KIN_BENIGN
	"; every other label is something to be found.\n"
	"Each run is one recording: record each label in several, for what is said of them is\n"
	"measured on recordings left out. At most 4,096 windows are kept.\n\n"
	"      --label NAME       what this is: letters, digits, - _ .\n"
	"      --traces FOLDER    every file below is a trace of i386 system calls by number, as\n"
	"                         ADFA-LD has them; without --label its folder's name is the "
	"label,\n"
	"                         and that of Training... and Validation... " KIN_BENIGN "\n"
	"      --seconds N        end the command after so long (600)\n"
	"      --references FILE  keep them here (" DEFAULT_FILE ")\n"
	"      --policy-path P    folders with policies, colon-separated\n"
	"      --list             say what there is, and how well it is told apart\n"
	"      --forget NAME      remove the references with this label\n";

static const struct option options[] = {
	{ "label", required_argument, NULL, OPT_LABEL },
	{ "traces", required_argument, NULL, OPT_TRACES },
	{ "references", required_argument, NULL, OPT_REFERENCES },
	{ "policy-path", required_argument, NULL, OPT_POLICY_PATH },
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "forget", required_argument, NULL, OPT_FORGET },
	{ "list", no_argument, NULL, OPT_LIST },
	{ 0 },
};

static bool learn_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	struct learn_command *command = ctx;
	uint64_t number;

	switch (id) {
	case OPT_LABEL:
	case OPT_FORGET:
		*(id == OPT_LABEL ? &command->label : &command->forget) = value;
		if (kin_label_valid(value))
			return true;
		snprintf(why, why_len, "a label is 1 to %d letters, digits, - _ or dots, not %.40s",
			KIN_LABEL_LEN - 1, value);
		return false;
	case OPT_TRACES:
		command->traces = value;
		return true;
	case OPT_REFERENCES:
		command->file = value;
		return true;
	case OPT_POLICY_PATH:
		command->policies = value;
		return true;
	case OPT_LIST:
		command->list = true;
		return true;
	case OPT_SECONDS:
		if (ctl_number(value, 1, SECONDS_MOST, &number)) {
			command->seconds = (uint32_t)number;
			return true;
		}
		snprintf(why, why_len, "--seconds takes 1 to %d, not %.40s", SECONDS_MOST, value);
		return false;
	}
	return false;
}

/* How many windows of each label there are, and how well they are told apart. */
static int report(const struct ctl *ctl, const struct kin_store *store, const char *text)
{
	struct kin *kin = kin_new(store->reference, store->n, false, FALSE_SHARE);
	const struct kin_report *r = kin ? kin_report(kin) : NULL;
	json_t *labels = json_object();
	int code;

	if (!ctl->json && text[0])
		puts(text);
	for (size_t l = 0; l < store->n_labels; l++) {
		size_t n = 0;

		for (size_t i = 0; i < store->n; i++)
			n += store->reference[i].label == l;
		json_object_set_new(labels, store->label[l], json_integer((json_int_t)n));
		if (!ctl->json && n)
			printf("  %-32s %zu windows\n", store->label[l], n);
	}
	if (ctl->json) {
		code = ctl_print_json(json_pack(
			"{s:b, s:s, s:o, s:I, s:b, s:o, s:o, s:o, s:o, s:s}", "ok", 1, "text", text,
			"labels", labels, "references", (json_int_t)store->n, "signal",
			r && r->signal, "auc", offline_number(r ? r->auc : NAN), "auc_low",
			offline_number(r ? r->auc_low : NAN), "recall",
			offline_number(r ? r->recall : NAN), "false_positives",
			offline_number(r ? r->false_positives : NAN), "why", r ? r->why : ""));
		kin_free(kin);
		return code;
	}
	if (r && r->signal)
		printf("Held out by recording: AUC %.3f (95 %% sure of %.3f), recall %.2f at %.1f "
		       "%% false positives.\n",
			r->auc, r->auc_low, r->recall, 100 * r->false_positives);
	else if (r)
		printf("Nothing will be flagged yet: %s.\n", r->why);
	json_decref(labels);
	kin_free(kin);
	return EXIT_CODE_OK;
}

static int lock_file(const struct ctl *ctl, const char *file, int *code)
{
	char path[PATH_MAX], *slash;
	int fd;

	/* its folder is the agent's, which may never have run */
	snprintf(path, sizeof(path), "%s", file);
	slash = strrchr(path, '/');
	if (slash && slash != path) {
		*slash = '\0';
		mkdir(path, 0750);
	}
	if (snprintf(path, sizeof(path), "%s.lock", file) >= (int)sizeof(path)) {
		*code = ctl_fail(ctl, EXIT_CODE_USAGE, "The path of the references is too long.");
		return -1;
	}
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	*code = fd < 0 ? ctl_fail(ctl, EXIT_CODE_STATE, "%s cannot be opened: %s.", path,
				 strerror(errno))
		       : ctl_fail(ctl, EXIT_CODE_BUSY,
				 "Another command changes %s at the moment; wait for it.", file);
	if (fd >= 0)
		close(fd);
	return -1;
}

static int add_command(const struct ctl *ctl, const struct learn_command *command, char **argv,
	struct kin_store *store, char *text, size_t text_len)
{
	char policies[PATH_MAX], name[KIN_NAME_LEN], error[512], stamp[32];
	const char *base = strrchr(argv[0], '/');
	struct learn_windows windows = { .most = KIN_MAX_REFERENCES - store->n };
	struct learn_run run = { .argv = argv,
		.seconds = command->seconds,
		.policies = command->policies
				    ? command->policies
				    : probe_default_policies("", policies, sizeof(policies)) };
	time_t now = time(NULL);
	struct tm utc;
	int64_t recording = 0;
	int err;

	windows.count = calloc(KIN_MAX_REFERENCES, sizeof(*windows.count));
	if (!windows.count)
		return ctl_fail(ctl, EXIT_CODE_FAILED, "Out of memory.");
	err = learn_run(&run, &windows, error, sizeof(error));
	if (err) {
		free(windows.count);
		return ctl_fail(ctl,
			err == -EPERM	 ? EXIT_CODE_PERMISSION
			: err == -ENOENT ? EXIT_CODE_USAGE
					 : EXIT_CODE_KERNEL,
			"%s", error);
	}
	gmtime_r(&now, &utc);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &utc);
	snprintf(name, sizeof(name), "%.28s-%.16s", base ? base + 1 : argv[0], stamp);
	if (windows.n)
		recording = kin_store_add(store, command->label, name,
			(const uint16_t(*)[SEMANTOS_CALLS])windows.count, windows.n, -1);
	free(windows.count);
	if (recording < 0)
		return ctl_fail(ctl, EXIT_CODE_STATE,
			"There is no room for another label; --forget removes one.");
	if (!windows.n)
		return ctl_fail(ctl, EXIT_CODE_FAILED,
			"%.60s made too few system calls to learn from (a window has 64 at least).",
			argv[0]);
	snprintf(text, text_len,
		"%s: %zu windows of recording %s; %llu were left out; it ended %s %d.",
		command->label, windows.n, name, (unsigned long long)windows.dropped,
		WIFSIGNALED(windows.status) ? "by signal" : "with",
		WIFSIGNALED(windows.status) ? WTERMSIG(windows.status)
					    : WEXITSTATUS(windows.status));
	return CTL_GO_ON;
}

static int add_traces(const struct ctl *ctl, const struct learn_command *command,
	struct kin_store *store, char *text, size_t text_len)
{
	struct learn_import import;
	char error[512];

	if (learn_traces(command->traces, command->label, store, &import, error, sizeof(error)))
		return ctl_fail(ctl, EXIT_CODE_USAGE, "%s", error);
	if (!import.added)
		return ctl_fail(ctl, EXIT_CODE_USAGE,
			"%.200s holds no traces: %zu files, %zu of them other things.",
			command->traces, import.files, import.bad);
	snprintf(text, text_len,
		"%zu traces of %zu files in %zu recordings; %zu were copies, %zu no traces, %zu "
		"found "
		"no room.",
		import.added, import.files, import.recordings, import.copies, import.bad,
		import.full);
	return CTL_GO_ON;
}

int cmd_learn(int argc, char **argv)
{
	struct ctl ctl = { .command = "learn", .offline = true, .usage = usage };
	struct learn_command command = { .file = DEFAULT_FILE, .seconds = 600 };
	struct model_error error = { "" };
	struct kin_store store = { 0 };
	char text[512] = "";
	int lock, code = ctl_parse(&ctl, argc, argv, options, learn_option, &command, 0, INT_MAX);

	if (code != CTL_GO_ON)
		return code;
	if ((optind < argc) + (command.traces != NULL) + command.list + (command.forget != NULL) !=
			1 ||
		(optind < argc && !command.label))
		return ctl_fail(&ctl, EXIT_CODE_USAGE,
			"One of a command with --label, --traces, --list and --forget is wanted: "
			"see "
			"`semantosctl learn --help`.");
	lock = command.list ? -1 : lock_file(&ctl, command.file, &code);
	if (lock < 0 && !command.list)
		return code;
	/* None yet is no fault; one that may not be read is, and is named once. */
	code = access(command.file, F_OK) && errno == ENOENT ? CTL_GO_ON
							     : offline_readable(&ctl, command.file);
	if (code != CTL_GO_ON)
		goto out;
	code = kin_store_load(&store, command.file, &error);
	if (code && code != -ENOENT) {
		code = ctl_fail(
			&ctl, EXIT_CODE_REFUSED, "%s was refused: %s", command.file, error.text);
		goto out;
	}
	code = CTL_GO_ON;
	if (command.forget) {
		size_t n = kin_store_forget(&store, command.forget);

		snprintf(text, sizeof(text), "%zu windows with the label %s are forgotten.", n,
			command.forget);
		if (!n)
			code = ctl_fail(&ctl, EXIT_CODE_USAGE, "No reference has the label %s.",
				command.forget);
		else if (!store.n && unlink(command.file))
			code = ctl_fail(&ctl, EXIT_CODE_STATE, "%s cannot be removed: %s.",
				command.file, strerror(errno));
	} else if (command.traces) {
		code = add_traces(&ctl, &command, &store, text, sizeof(text));
	} else if (!command.list) {
		code = add_command(&ctl, &command, argv + optind, &store, text, sizeof(text));
	}
	if (code == CTL_GO_ON && !command.list && store.n &&
		kin_store_save(&store, command.file, &error))
		code = ctl_fail(&ctl, EXIT_CODE_STATE, "%s", error.text);
	if (code == CTL_GO_ON && !store.n && command.list)
		code = ctl_fail(
			&ctl, EXIT_CODE_STATE, "There are no references in %s yet.", command.file);
	if (code == CTL_GO_ON)
		code = report(&ctl, &store, text);
out:
	kin_store_free(&store);
	if (lock >= 0)
		close(lock);
	return code;
}
