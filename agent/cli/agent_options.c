// SPDX-License-Identifier: Apache-2.0
/*
 * agent_options.c - getopt_long, ranges, and where the policies lie.
 */
#include "agent/cli/agent_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/safety/keeper.h"
#include "agent/telemetry/telemetry.h"

#define DEFAULT_POLICY_PATH "/usr/lib/semantos/policies"
#define DEFAULT_LEARN_TIMEOUT_S 600
#define MOST_SECONDS 31536000

enum {
	OPT_POLICY = 256,
	OPT_POLICY_PATH,
	OPT_STATE_DIR,
	OPT_RUN_DIR,
	OPT_BPFFS_DIR,
	OPT_DEVICE,
	OPT_EXCLUDE,
	OPT_ROWS,
	OPT_FRESH,
	OPT_LEARN_TIMEOUT,
	OPT_DURATION,
	OPT_JSON,
	OPT_EXERCISE,
	OPT_NO_API,
	OPT_MODE,
	OPT_SOCKET,
	OPT_CONTROL,
	OPT_NO_TELEMETRY,
	OPT_NO_SYSCALLS,
	OPT_TELEMETRY_INTERVAL,
	OPT_METRICS
};

static const struct option long_options[] = {
	{ "policy", required_argument, NULL, OPT_POLICY },
	{ "policy-path", required_argument, NULL, OPT_POLICY_PATH },
	{ "state-dir", required_argument, NULL, OPT_STATE_DIR },
	{ "run-dir", required_argument, NULL, OPT_RUN_DIR },
	{ "bpffs-dir", required_argument, NULL, OPT_BPFFS_DIR },
	{ "device", required_argument, NULL, OPT_DEVICE },
	{ "exclude", required_argument, NULL, OPT_EXCLUDE },
	{ "rows", required_argument, NULL, OPT_ROWS },
	{ "fresh", no_argument, NULL, OPT_FRESH },
	{ "learn-timeout", required_argument, NULL, OPT_LEARN_TIMEOUT },
	{ "duration", required_argument, NULL, OPT_DURATION },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "exercise", required_argument, NULL, OPT_EXERCISE },
	{ "no-api", no_argument, NULL, OPT_NO_API },
	{ "mode", required_argument, NULL, OPT_MODE },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "no-telemetry", no_argument, NULL, OPT_NO_TELEMETRY },
	{ "no-syscall-rate", no_argument, NULL, OPT_NO_SYSCALLS },
	{ "metrics", required_argument, NULL, OPT_METRICS },
	{ "telemetry-interval", required_argument, NULL, OPT_TELEMETRY_INTERVAL },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

void agent_options_help(FILE *out)
{
	fputs("usage: semantos-agent --policy NAME [options]\n\n"
	      "Attaches policies, learns each disk, predicts its reads and keeps verdicts in "
	      "pinned maps.\n\n"
	      "  --policy NAME[,NAME]  policies to attach at start; may be repeated, none is "
	      "allowed\n"
	      "  --mode MODE           shadow, canary:N or enforce instead of each manifest's "
	      "mode\n"
	      "  --device PAT          follow only these disks: name, glob or /dev path; may be "
	      "repeated\n"
	      "  --exclude PAT         leave these disks out; may be repeated\n"
	      "  --exercise DIR        make a bounded O_DIRECT load on a scratch file in DIR\n"
	      "  --rows N              reads to learn from, instead of the manifest's min_rows\n"
	      "  --fresh               ignore saved models, learn anew\n"
	      "  --learn-timeout S     wait so long for a trained model, 0 = for ever (default 600 "
	      "with\n"
	      "                        --duration, else 0)\n"
	      "  --duration S          end S seconds after the first prediction of a trained "
	      "model\n"
	      "  --control KIND        judge a control instead of the model: permute, fast, slow, "
	      "constant\n"
	      "  --telemetry-interval S  seconds between snapshots of telemetry (default 5)\n"
	      "  --no-syscall-rate     do not sample system calls\n"
	      "  --no-telemetry        take none at all\n"
	      "  --metrics ADDR:PORT   serve them to Prometheus, on a loopback address (default: "
	      "no)\n"
	      "  --json                one JSON object on the last line of standard output at the "
	      "end\n"
	      "  --quiet, -q           no display\n"
	      "  --policy-path PATH    folders of policies, colon-separated\n"
	      "  --state-dir DIR       models and captures (default /var/lib/semantos)\n"
	      "  --run-dir DIR         lock and socket (default /run/semantos)\n"
	      "  --bpffs-dir DIR       pins (default /sys/fs/bpf/semantos)\n"
	      "  --socket PATH         control socket (default DIR/agent.sock in the run dir)\n"
	      "  --no-api              no control socket\n"
	      "  --version, --help\n\n"
	      "semantosctl(1) speaks with a running agent. Exit codes: semantos-agent(8).\n",
		out);
}

static int number(const char *option, const char *text, uint32_t most, uint32_t *value, char *error,
	size_t error_len)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || n > most) {
		snprintf(error, error_len, "--%s takes a whole number up to %u, not '%.40s'.",
			option, most, text);
		return -EINVAL;
	}
	*value = (uint32_t)n;
	return 0;
}

static int add_pattern(
	const char **list, uint32_t *n, const char *pattern, char *error, size_t error_len)
{
	if (!*pattern || *n == CORE_MAX_PATTERNS) {
		snprintf(error, error_len,
			"--device and --exclude take up to %d patterns, none of them empty.",
			CORE_MAX_PATTERNS);
		return -EINVAL;
	}
	list[(*n)++] = pattern;
	return 0;
}

static int add_policies(
	struct agent_options *options, const char *names, char *error, size_t error_len)
{
	do {
		size_t n = strcspn(names, ",");

		if (!n || n >= CONTROL_NAME_LEN || options->n_policies == CONTROL_MAX_POLICIES) {
			snprintf(error, error_len,
				"--policy takes up to %d names of 1 to %d characters.",
				CONTROL_MAX_POLICIES, CONTROL_NAME_LEN - 1);
			return -EINVAL;
		}
		memcpy(options->policy[options->n_policies], names, n);
		options->policy[options->n_policies++][n] = 0;
		names += n + (names[n] == ',');
	} while (*names);
	return 0;
}

/* Beside the program lies `policies` in a build tree, in an installed one /usr/lib/semantos/policies. */
static void default_policy_path(const char *exe, struct agent_options *options)
{
	const char *slash = strrchr(exe, '/');

	options->core.policy_path = options->policy_path;
	if (slash &&
		snprintf(options->policy_path, sizeof(options->policy_path), "%.*s/policies",
			(int)(slash - exe), exe) < (int)sizeof(options->policy_path) &&
		access(options->policy_path, X_OK) == 0)
		return;
	if (slash &&
		snprintf(options->policy_path, sizeof(options->policy_path),
			"%.*s/../lib/semantos/policies", (int)(slash - exe),
			exe) < (int)sizeof(options->policy_path) &&
		access(options->policy_path, X_OK) == 0)
		return;
	snprintf(options->policy_path, sizeof(options->policy_path), DEFAULT_POLICY_PATH);
}

/* Without it settings can be changed only in modes that are undone by hand. */
static void find_keeper(const char *exe, struct agent_options *options)
{
	const char *slash = strrchr(exe, '/');

	if (slash &&
		snprintf(options->keeper, sizeof(options->keeper), "%.*s/" KEEPER_NAME,
			(int)(slash - exe), exe) < (int)sizeof(options->keeper) &&
		access(options->keeper, X_OK) == 0)
		options->core.keeper = options->keeper;
}

int agent_options_parse(int argc, char **argv, const char *exe, struct agent_options *options,
	char *error, size_t error_len)
{
	bool timeout_given = false;
	uint32_t percent;
	enum semantos_mode mode;
	int c, err = 0;

	memset(options, 0, sizeof(*options));
	default_policy_path(exe, options);
	find_keeper(exe, options);
	opterr = 0;
	optind = 1;
	while (!err && (c = getopt_long(argc, argv, "qhV", long_options, NULL)) != -1) {
		switch (c) {
		case OPT_POLICY:
			err = add_policies(options, optarg, error, error_len);
			break;
		case OPT_POLICY_PATH:
			options->core.policy_path = optarg;
			break;
		case OPT_STATE_DIR:
			options->core.state_dir = optarg;
			break;
		case OPT_RUN_DIR:
			options->core.run_dir = optarg;
			break;
		case OPT_BPFFS_DIR:
			options->core.bpffs_dir = optarg;
			break;
		case OPT_DEVICE:
			err = add_pattern(options->core.device, &options->core.n_device, optarg,
				error, error_len);
			break;
		case OPT_EXCLUDE:
			err = add_pattern(options->core.exclude, &options->core.n_exclude, optarg,
				error, error_len);
			break;
		case OPT_ROWS:
			err = number(
				"rows", optarg, 1000000, &options->core.min_rows, error, error_len);
			break;
		case OPT_FRESH:
			options->core.fresh = true;
			break;
		case OPT_LEARN_TIMEOUT:
			timeout_given = true;
			err = number("learn-timeout", optarg, MOST_SECONDS,
				&options->learn_timeout_s, error, error_len);
			break;
		case OPT_DURATION:
			err = number("duration", optarg, MOST_SECONDS, &options->duration_s, error,
				error_len);
			break;
		case OPT_JSON:
			options->json = true;
			break;
		case OPT_EXERCISE:
			options->exercise = optarg;
			break;
		case OPT_NO_API:
			options->no_api = true;
			break;
		case OPT_MODE:
			options->mode = optarg;
			break;
		case OPT_SOCKET:
			options->socket = optarg;
			break;
		case OPT_CONTROL:
			err = placebo_parse(optarg, &options->core.control);
			if (err)
				snprintf(error, error_len,
					"--control is permute, fast, slow, constant or none, not "
					"'%.40s'.",
					optarg);
			break;
		case OPT_METRICS:
			options->metrics = optarg;
			break;
		case OPT_NO_TELEMETRY:
			options->no_telemetry = true;
			break;
		case OPT_NO_SYSCALLS:
			options->no_syscalls = true;
			break;
		case OPT_TELEMETRY_INTERVAL:
			err = number("telemetry-interval", optarg, TELEMETRY_INTERVAL_MAX_S,
				&options->telemetry_interval_s, error, error_len);
			if (!err && !options->telemetry_interval_s) {
				snprintf(error, error_len,
					"--telemetry-interval takes 1 to %d seconds; "
					"--no-telemetry "
					"switches it off.",
					TELEMETRY_INTERVAL_MAX_S);
				err = -EINVAL;
			}
			break;
		case 'q':
			options->quiet = true;
			break;
		case 'h':
			options->show_help = true;
			break;
		case 'V':
			options->show_version = true;
			break;
		default:
			snprintf(error, error_len,
				"%s is no option of semantos-agent, or lacks its value; see "
				"--help.",
				argv[optind > 1 ? optind - 1 : 1]);
			return -EINVAL;
		}
	}
	if (err)
		return err;
	if (optind < argc) {
		snprintf(error, error_len,
			"'%.40s' is not expected; policies are named by --policy.", argv[optind]);
		return -EINVAL;
	}
	if (options->mode && control_parse_mode(options->mode, &mode, &percent)) {
		snprintf(error, error_len,
			"--mode is shadow, canary:N (1 to 99) or enforce, not '%.40s'.",
			options->mode);
		return -EINVAL;
	}
	if (!timeout_given && options->duration_s)
		options->learn_timeout_s = DEFAULT_LEARN_TIMEOUT_S;
	return 0;
}
