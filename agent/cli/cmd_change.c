/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_change.c - semantosctl attach, detach, mode, model use, shutdown: each asks for one change and prints the answer.
 *
 * What can be judged without the agent (a mode's spelling, a model file's size) is judged before asking.
 */
#include "agent/cli/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/cli/ctl.h"
#include "agent/core/control.h"
#include "agent/infer/model.h"

#define CHANGE_TIMEOUT_NOTE \
	"A change is carried out whole or not at all; the sentence printed is also logged.\n"
#define MODES "shadow, canary:N (1 to 99) or enforce"

enum { OPT_MODE = 256, OPT_UPGRADE };

static bool mode_ok(const char *text)
{
	enum semantos_mode mode;
	uint32_t percent;

	return control_parse_mode(text, &mode, &percent) == 0;
}

static bool attach_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	const char **mode = ctx;

	if (id != OPT_MODE)
		return false;
	if (!mode_ok(value)) {
		snprintf(why, why_len, "--mode takes " MODES ", not %.40s", value);
		return false;
	}
	*mode = value;
	return true;
}

int cmd_attach(int argc, char **argv)
{
	static const struct option options[] = { { "mode", required_argument, NULL, OPT_MODE },
		{ 0 } };
	struct ctl ctl = { .command = "attach",
		.usage = "Usage: semantosctl attach NAME [--mode MODE]\n\n"
			 "Load the policy NAME into the running agent.\n" CHANGE_TIMEOUT_NOTE
			 "\n      --mode MODE      " MODES "; the policy's own by default\n" };
	Semantos__V1__AttachRequest request = SEMANTOS__V1__ATTACH_REQUEST__INIT;
	const char *mode = NULL;
	int code = ctl_parse(&ctl, argc, argv, options, attach_option, &mode, 1, 1);

	if (code != CTL_GO_ON)
		return code;
	request.policy = argv[optind];
	if (mode)
		request.mode = (char *)mode;
	return ctl_change(&ctl, "Attach", &request.base);
}

int cmd_detach(int argc, char **argv)
{
	struct ctl ctl = { .command = "detach",
		.usage = "Usage: semantosctl detach NAME\n\n"
			 "Unload the policy NAME: the kernel's own heuristic decides again. What "
			 "it learned is kept.\n\n" };
	Semantos__V1__DetachRequest request = SEMANTOS__V1__DETACH_REQUEST__INIT;
	int code = ctl_parse(&ctl, argc, argv, NULL, NULL, NULL, 1, 1);

	if (code != CTL_GO_ON)
		return code;
	request.policy = argv[optind];
	return ctl_change(&ctl, "Detach", &request.base);
}

int cmd_mode(int argc, char **argv)
{
	struct ctl ctl = { .command = "mode",
		.usage =
			"Usage: semantosctl mode NAME MODE\n\n"
			"Change how far the policy NAME is obeyed: " MODES
			".\nA policy without signal stays in shadow, and the answer says so.\n\n" };
	Semantos__V1__ModeRequest request = SEMANTOS__V1__MODE_REQUEST__INIT;
	int code = ctl_parse(&ctl, argc, argv, NULL, NULL, NULL, 2, 2);

	if (code != CTL_GO_ON)
		return code;
	if (!mode_ok(argv[optind + 1]))
		return ctl_fail(&ctl, EXIT_CODE_USAGE, "%.40s is no mode: it is " MODES ".",
			argv[optind + 1]);
	request.policy = argv[optind];
	request.mode = argv[optind + 1];
	return ctl_change(&ctl, "SetMode", &request.base);
}

static bool upgrade_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	Semantos__V1__ShutdownRequest *request = ctx;

	(void)value;
	(void)why;
	(void)why_len;
	request->upgrade = id == OPT_UPGRADE;
	return request->upgrade;
}

int cmd_shutdown(int argc, char **argv)
{
	struct ctl ctl = { .command = "shutdown",
		.usage = "Usage: semantosctl shutdown [--upgrade]\n\n"
			 "Detach every policy, remove the pins, undo changes of mode auto and end "
			 "the agent. For root only.\n\n"
			 "      --upgrade        leave changes to the next agent, which has 10 "
			 "minutes to come\n" };
	static const struct option options[] = { { "upgrade", no_argument, NULL, OPT_UPGRADE },
		{ 0 } };
	Semantos__V1__ShutdownRequest request = SEMANTOS__V1__SHUTDOWN_REQUEST__INIT;
	int code = ctl_parse(&ctl, argc, argv, options, upgrade_option, &request, 0, 0);

	return code != CTL_GO_ON ? code : ctl_change(&ctl, "Shutdown", &request.base);
}

/* The whole file; CTL_GO_ON or the exit code. */
static int read_model(const struct ctl *ctl, const char *path, ProtobufCBinaryData *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	int code;

	if (fd < 0)
		return ctl_fail(ctl,
			errno == ENOENT	  ? EXIT_CODE_NOT_FOUND
			: errno == EACCES ? EXIT_CODE_PERMISSION
					  : EXIT_CODE_FAILED,
			"%s cannot be opened: %s.", path, strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		code = ctl_fail(ctl, EXIT_CODE_REFUSED, "%s is no regular file.", path);
		goto out;
	}
	if (st.st_size == 0 || st.st_size > MODEL_MAX_FILE_BYTES) {
		code = ctl_fail(ctl, EXIT_CODE_REFUSED,
			"%s has %lld bytes: a model file has 1 to %u.", path, (long long)st.st_size,
			MODEL_MAX_FILE_BYTES);
		goto out;
	}
	out->len = (size_t)st.st_size;
	out->data = malloc(out->len);
	for (size_t have = 0; out->data && have < out->len;) {
		ssize_t n = read(fd, out->data + have, out->len - have);

		if (n <= 0) {
			code = ctl_fail(ctl, EXIT_CODE_FAILED, "%s cannot be read: %s.", path,
				n < 0 ? strerror(errno) : "it became shorter meanwhile");
			free(out->data);
			goto out;
		}
		have += (size_t)n;
	}
	code = out->data ? CTL_GO_ON : ctl_fail(ctl, EXIT_CODE_FAILED, "No memory is left.");
out:
	close(fd);
	return code;
}

int cmd_model_use(int argc, char **argv)
{
	struct ctl ctl = { .command = "model use",
		.usage = "Usage: semantosctl model use NAME DEVICE FILE\n\n"
			 "Let DEVICE (e.g. nvme0n1) be predicted by the model in FILE "
			 "(safetensors) in the policy NAME.\n"
			 "The agent checks the file first; a refused one changes nothing.\n\n" };
	Semantos__V1__UseModelRequest request = SEMANTOS__V1__USE_MODEL_REQUEST__INIT;
	const char *device;
	int code = ctl_parse(&ctl, argc, argv, NULL, NULL, NULL, 3, 3);

	if (code != CTL_GO_ON)
		return code;
	device = argv[optind + 1];
	request.policy = argv[optind];
	request.device = (char *)(strncmp(device, "/dev/", 5) == 0 ? device + 5 : device);
	code = read_model(&ctl, argv[optind + 2], &request.model);
	if (code != CTL_GO_ON)
		return code;
	code = ctl_change(&ctl, "UseModel", &request.base);
	free(request.model.data);
	return code;
}
