/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl.c - the common half of the commands that talk to the agent.
 *
 * Must never print a number that is not defined: NaN is "-" for people and null in JSON. One thread.
 */
#include "agent/cli/ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "agent/api/server.h"

#define MAX_OPTIONS 24
#define TIMEOUT_MAX_S 3600

enum { OPT_JSON = 'j', OPT_HELP = 'h', OPT_SOCKET = 1, OPT_TIMEOUT };

static const struct option common[] = {
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
};
#define N_COMMON (sizeof(common) / sizeof(common[0]))

static const char json_help[] = "  -j, --json           print one JSON object instead of text\n";
static const char agent_help[] = "      --socket PATH    the agent's socket (" API_SOCKET_PATH ")\n"
				 "      --timeout S      wait at most so long for an answer (10)\n";
static const char help_help[] = "  -h, --help           show this\n";

bool ctl_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return *end == '\0' && !errno && *out >= min && *out <= max;
}

static int usage_error(const struct ctl *ctl, const char *why)
{
	/* one that names a command already sends nobody to two */
	const char *seen = strstr(why, "see `");

	return ctl_fail(ctl, EXIT_CODE_USAGE, "%s%s `semantosctl %s --help`.", why,
		seen ? " and" : ": see", ctl->command);
}

int ctl_parse(struct ctl *ctl, int argc, char **argv, const struct option *extra, ctl_option *fn,
	void *ctx, int min_args, int max_args)
{
	struct option all[MAX_OPTIONS + N_COMMON + 1] = { 0 };
	char why[240] = "";
	size_t n = 0;
	int opt;

	ctl->socket = API_SOCKET_PATH;
	ctl->timeout_ms = CLIENT_TIMEOUT_MS;
	for (size_t i = 0; i < N_COMMON; i++)
		all[n++] = common[i];
	for (; extra && extra->name && n < MAX_OPTIONS + N_COMMON; extra++)
		all[n++] = *extra;
	/* --json anywhere: a usage error before it is still told as JSON */
	for (int i = 1; i < argc; i++)
		ctl->json |= strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "-j") == 0;

	optind = 0; /* glibc: start anew, this process may parse more than once */
	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":jho:", all, NULL)) != -1) {
		uint64_t seconds;

		switch (opt) {
		case OPT_JSON:
			ctl->json = true;
			break;
		case OPT_HELP:
			printf("%s%s%s%s", ctl->usage, json_help, ctl->offline ? "" : agent_help,
				help_help);
			return EXIT_CODE_OK;
		case OPT_SOCKET:
			ctl->socket = optarg;
			break;
		case OPT_TIMEOUT:
			if (!ctl_number(optarg, 1, TIMEOUT_MAX_S, &seconds))
				return usage_error(ctl, "--timeout takes 1 to 3600 seconds");
			ctl->timeout_ms = (uint32_t)seconds * 1000;
			break;
		case ':':
			snprintf(why, sizeof(why), "Option %.60s needs a value", argv[optind - 1]);
			return usage_error(ctl, why);
		default:
			why[0] = '\0'; /* of an option before it */
			if (opt != '?' && fn && fn(ctx, opt, optarg, why, sizeof(why)))
				break;
			if (!why[0])
				snprintf(why, sizeof(why), "Unknown option %.60s",
					argv[optind > 0 ? optind - 1 : 0]);
			return usage_error(ctl, why);
		}
	}
	if (argc - optind < min_args)
		return usage_error(ctl, "Something is missing");
	if (argc - optind > max_args) {
		snprintf(why, sizeof(why), "Unexpected word %.60s", argv[optind + max_args]);
		return usage_error(ctl, why);
	}
	return CTL_GO_ON;
}

int ctl_fail(const struct ctl *ctl, enum exit_code code, const char *fmt, ...)
{
	char text[700];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (ctl->json)
		ctl_print_json(
			json_pack("{s:b, s:i, s:s}", "ok", 0, "code", (int)code, "error", text));
	else
		fprintf(stderr, "semantosctl: %s\n", text);
	return (int)code;
}

ProtobufCMessage *ctl_call(const struct ctl *ctl, const char *method,
	const ProtobufCMessage *request, const ProtobufCMessageDescriptor *type, int *code)
{
	struct client_error error = { 0 };
	struct client *client = client_open(ctl->socket, ctl->timeout_ms, &error);
	ProtobufCMessage *reply = NULL;

	if (client)
		reply = client_call(client, method, request, type, &error);
	client_close(client);
	*code = EXIT_CODE_OK;
	if (!reply)
		*code = ctl_fail(ctl, error.code, "%s", error.text);
	return reply;
}

int ctl_change(const struct ctl *ctl, const char *method, const ProtobufCMessage *request)
{
	Semantos__V1__Done *done;
	int code;

	done = (Semantos__V1__Done *)ctl_call(
		ctl, method, request, &semantos__v1__done__descriptor, &code);
	if (!done)
		return code;
	if (ctl->json)
		code = ctl_print_json(
			done->change ? json_pack("{s:b, s:s, s:I}", "ok", 1, "text", done->text,
					       "change", (json_int_t)done->change)
				     : json_pack("{s:b, s:s}", "ok", 1, "text", done->text));
	else
		puts(done->text);
	semantos__v1__done__free_unpacked(done, NULL);
	return code;
}

Semantos__V1__AgentStatus *ctl_status(const struct ctl *ctl, const char *policy, int *code)
{
	Semantos__V1__StatusRequest request = SEMANTOS__V1__STATUS_REQUEST__INIT;

	if (policy)
		request.policy = (char *)policy;
	return (Semantos__V1__AgentStatus *)ctl_call(
		ctl, "GetStatus", &request.base, &semantos__v1__agent_status__descriptor, code);
}

int ctl_print_json(json_t *value)
{
	char *text = value ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;

	json_decref(value);
	if (!text) {
		fprintf(stderr, "semantosctl: The answer cannot be written as JSON.\n");
		return EXIT_CODE_FAILED;
	}
	puts(text);
	fflush(stdout);
	free(text);
	return EXIT_CODE_OK;
}

unsigned int ctl_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	uint64_t n;

	if (columns && ctl_number(columns, 20, 10000, &n))
		return (unsigned int)n;
	if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		return size.ws_col;
	return 0;
}

const char *ctl_count(char *buf, size_t len, uint64_t value)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%" PRIu64, value);
	size_t out = 0;

	for (int i = 0; i < n && out + 1 < len; i++) {
		if (i > 0 && (n - i) % 3 == 0 && out + 2 < len)
			buf[out++] = ',';
		buf[out++] = digits[i];
	}
	buf[out] = '\0';
	return buf;
}

const char *ctl_score(char *buf, size_t len, double value)
{
	snprintf(buf, len, isfinite(value) ? "%.3f" : "-", value);
	return buf;
}

const char *ctl_age(char *buf, size_t len, uint64_t seconds)
{
	if (seconds < 60)
		snprintf(buf, len, "%" PRIu64 " s", seconds);
	else if (seconds < 3600)
		snprintf(buf, len, "%" PRIu64 " min", seconds / 60);
	else if (seconds < 2 * 86400)
		snprintf(buf, len, "%" PRIu64 " h %" PRIu64 " min", seconds / 3600,
			seconds % 3600 / 60);
	else
		snprintf(buf, len, "%" PRIu64 " days", seconds / 86400);
	return buf;
}

const char *ctl_mode(char *buf, size_t len, const Semantos__V1__Policy *policy)
{
	switch (policy->mode) {
	case SEMANTOS__V1__MODE__CANARY:
		snprintf(buf, len, "canary:%u", policy->canary_percent);
		break;
	case SEMANTOS__V1__MODE__ENFORCE:
		snprintf(buf, len, "enforce");
		break;
	default:
		snprintf(buf, len, "shadow");
	}
	return buf;
}
