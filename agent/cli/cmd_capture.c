/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_capture.c - semantosctl capture: outcome records from the running agent into a file of the caller's.
 *
 * The file is written under a temporary name beside its own and renamed when whole, so that a capture is complete or
 * absent. An interrupt ends it in order: what came is kept.
 */
#include "agent/cli/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/cli/ctl.h"
#include "agent/core/capture.h"

#define MAX_SECONDS 86400
#define GRACE_MS 15000 /* beyond --duration, for the agent's last word */

enum { OPT_DEVICE = 256, OPT_ROWS, OPT_DURATION, OPT_OUTPUT = 'o' };

struct capture_ask {
	const char *device, *path;
	uint64_t rows, seconds;
};

static volatile int interrupted;

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

static bool capture_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	struct capture_ask *ask = ctx;

	switch (id) {
	case OPT_DEVICE:
		ask->device = strncmp(value, "/dev/", 5) == 0 ? value + 5 : value;
		return true;
	case OPT_ROWS:
		snprintf(why, why_len, "--rows takes 1 to %u", CAPTURE_MAX_ROWS);
		return ctl_number(value, 1, CAPTURE_MAX_ROWS, &ask->rows);
	case OPT_DURATION:
		snprintf(why, why_len, "--duration takes 1 to %d seconds", MAX_SECONDS);
		return ctl_number(value, 1, MAX_SECONDS, &ask->seconds);
	case OPT_OUTPUT:
		ask->path = value;
		return true;
	default:
		return false;
	}
}

struct writer {
	const struct capture_ask *ask;
	FILE *file;
	uint64_t rows, dropped;
	bool begun, last;
	enum exit_code code;
	char text[600]; /* how it ended, or what is wrong */
};

static bool refuse(struct writer *writer, enum exit_code code, const char *what)
{
	writer->code = code;
	snprintf(writer->text, sizeof(writer->text), "%s %s.", writer->ask->path, what);
	return false;
}

static bool write_chunk(void *ctx, const ProtobufCMessage *message)
{
	const Semantos__V1__CaptureChunk *chunk = (const Semantos__V1__CaptureChunk *)message;
	struct semantos_block_record record;
	struct writer *writer = ctx;

	if (chunk->wire_version != SEMANTOS_WIRE_VERSION || chunk->record_bytes != sizeof(record) ||
		chunk->records.len % sizeof(record) != 0) {
		writer->code = EXIT_CODE_REFUSED;
		snprintf(writer->text, sizeof(writer->text),
			"The agent sends records of version %u with %u bytes, this program knows "
			"version %d with %zu: use the two of one release.",
			chunk->wire_version, chunk->record_bytes, SEMANTOS_WIRE_VERSION,
			sizeof(record));
		return false;
	}
	if (!writer->begun &&
		capture_write_header(writer->file, writer->ask->device, chunk->major, chunk->minor))
		return refuse(writer, EXIT_CODE_STATE, "cannot be written: is the disk full?");
	writer->begun = true;
	for (size_t at = 0; at < chunk->records.len; at += sizeof(record)) {
		memcpy(&record, chunk->records.data + at, sizeof(record)); /* aligned */
		if (capture_write(writer->file, &record, 1))
			return refuse(
				writer, EXIT_CODE_STATE, "cannot be written: is the disk full?");
		writer->rows++;
	}
	writer->dropped = chunk->dropped;
	if (chunk->last) {
		writer->last = true;
		snprintf(writer->text, sizeof(writer->text), "%s", chunk->text);
	}
	return !chunk->last;
}

/* Stream into writer->file. */
static void stream(const struct ctl *ctl, const char *policy, struct writer *writer)
{
	Semantos__V1__CaptureRequest request = SEMANTOS__V1__CAPTURE_REQUEST__INIT;
	struct sigaction action = { .sa_handler = on_interrupt };
	struct client_error error = { 0 };
	struct client *client;
	int err = -1;

	request.policy = (char *)policy;
	request.device = (char *)writer->ask->device;
	request.rows = writer->ask->rows;
	request.seconds = (uint32_t)writer->ask->seconds;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	client = client_open(ctl->socket, ctl->timeout_ms, &error);
	if (client)
		err = client_stream(client, "Capture", &request.base,
			&semantos__v1__capture_chunk__descriptor,
			writer->ask->seconds * 1000 + GRACE_MS, &interrupted, write_chunk, writer,
			&error);
	client_close(client);
	if (err) {
		writer->code = error.code;
		snprintf(writer->text, sizeof(writer->text), "%s", error.text);
	} else if (interrupted && writer->code == EXIT_CODE_OK) {
		snprintf(writer->text, sizeof(writer->text),
			"Interrupted: %" PRIu64 " reads of %s were captured.", writer->rows,
			writer->ask->device);
	}
}

int cmd_capture(int argc, char **argv)
{
	static const struct option options[] = { { "device", required_argument, NULL, OPT_DEVICE },
		{ "rows", required_argument, NULL, OPT_ROWS },
		{ "duration", required_argument, NULL, OPT_DURATION },
		{ "output", required_argument, NULL, OPT_OUTPUT }, { 0 } };
	struct ctl ctl = { .command = "capture",
		.usage = "Usage: semantosctl capture NAME --device DEVICE -o FILE [--rows N] "
			 "[--duration S]\n\n"
			 "Write completed reads of DEVICE, as the policy NAME sees them, into "
			 "FILE: raw numbers from which\n"
			 "`semantosctl train` and `replay` work. FILE is complete or absent.\n\n"
			 "      --device DEVICE  e.g. nvme0n1\n"
			 "  -o, --output FILE    replaced when it exists\n"
			 "      --rows N         end after N reads (100000)\n"
			 "      --duration S     end after so many seconds (60)\n" };
	struct capture_ask ask = { .rows = 100000, .seconds = 60 };
	struct writer writer = { .ask = &ask };
	char temporary[PATH_MAX];
	int code, fd;

	code = ctl_parse(&ctl, argc, argv, options, capture_option, &ask, 1, 1);
	if (code != CTL_GO_ON)
		return code;
	if (!ask.device || !ask.path)
		return ctl_fail(&ctl, EXIT_CODE_USAGE,
			"--device and -o are needed: see `semantosctl capture --help`.");
	if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", ask.path) >= (int)sizeof(temporary))
		return ctl_fail(&ctl, EXIT_CODE_USAGE, "The name of the file is too long.");
	fd = mkstemp(temporary);
	writer.file = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (!writer.file)
		return ctl_fail(&ctl, errno == EACCES ? EXIT_CODE_PERMISSION : EXIT_CODE_STATE,
			"%s cannot be made: %s.", ask.path, strerror(errno));
	fchmod(fd, 0644);

	stream(&ctl, argv[optind], &writer);
	if (writer.code == EXIT_CODE_OK && writer.rows == 0) {
		char ended[sizeof(writer.text)];

		writer.code = EXIT_CODE_TIMEOUT;
		memcpy(ended, writer.text, sizeof(ended));
		snprintf(writer.text, sizeof(writer.text),
			"No read of %.31s was captured, so %.300s is not written: the disk is "
			"idle, or the policy is detached. %.100s",
			ask.device, ask.path, ended);
	}
	if (fclose(writer.file) != 0 && writer.code == EXIT_CODE_OK)
		refuse(&writer, EXIT_CODE_STATE, "cannot be written: is the disk full?");
	if (writer.code == EXIT_CODE_OK && rename(temporary, ask.path) < 0)
		refuse(&writer, EXIT_CODE_STATE, "cannot be put in place");
	if (writer.code != EXIT_CODE_OK) {
		unlink(temporary);
		return ctl_fail(&ctl, writer.code, "%s", writer.text);
	}
	if (ctl.json)
		return ctl_print_json(json_pack("{s:b, s:s, s:s, s:I, s:I, s:s}", "ok", 1, "file",
			ask.path, "device", ask.device, "rows", (json_int_t)writer.rows, "dropped",
			(json_int_t)writer.dropped, "text", writer.text));
	printf("%s It is in %s.\n", writer.text, ask.path);
	return EXIT_CODE_OK;
}
