// SPDX-License-Identifier: Apache-2.0
/*
 * trace.c - replays the issues and completions of a trace through a device's history.
 *
 * Depth and history are kept by the very lines the block hooks run (bpf/hooks/block_history.h). What a request saw at its issue is fixed there; only its latency is added when it completes.
 * Equal times keep the order of the trace, as in the published LinnOS tooling.
 */
#include "agent/core/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include "bpf/hooks/block_history.h"

#define LINE_MAX_BYTES 512
#define COLUMNS 7
#define LINES_MAX 100000000u /* of all devices: a small packed file may hold any number */
#define DEPTH_GROWTH 1024
#define LATENCY_MAX_US 4294967295.0
#define TIME_MAX_NS 9e18 /* below 2^63 */

/* The hooks' own state and arithmetic, as one CPU sees them. */
struct device_state {
	struct block_shared shared;
	struct block_cpu cpu;
};

static uint64_t done_ns(const struct trace_request *request)
{
	return request->issue_ns + request->latency_us * 1000ULL;
}

/* What happens at an instant happens in the order of the trace, and a request's issue before its completion. */
struct event {
	uint64_t ns;
	size_t order; /* 2 * index of the request, + 1 for its completion */
};

static int event_order(const void *left, const void *right)
{
	const struct event *a = left, *b = right;

	if (a->ns != b->ns)
		return a->ns < b->ns ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

static void issue(struct device_state *state, const struct trace_request *request,
	uint64_t request_id, uint64_t oldest_issue_ns, struct semantos_block_record *record)
{
	uint64_t age_us = oldest_issue_ns ? (request->issue_ns - oldest_issue_ns) / 1000 : 0;

	*record = (struct semantos_block_record){
		.head = {
			.version = SEMANTOS_WIRE_VERSION,
			.bytes = sizeof(*record),
			.kind = SEMANTOS_REQUEST,
			.ts_ns = request->issue_ns,
			.request_id = request_id,
		},
		.sectors = request->sectors,
		.sector = request->sector,
		.op = request->op,
		.class_in_force = SEMANTOS_CLASS_DEFAULT,
		.oldest_age_us = age_us > UINT32_MAX ? UINT32_MAX : (uint32_t)age_us,
	};
	block_depth_enter(&state->shared, &state->cpu, request->sectors,
		request->op == SEMANTOS_OP_READ, request->issue_ns);
	block_depth_features(&state->cpu, record);
	block_features(&state->cpu, record, request->issue_ns);
}

static void complete(struct device_state *state, const struct trace_request *request,
	struct semantos_block_record *record)
{
	int is_read = request->op == SEMANTOS_OP_READ;

	block_depth_leave(&state->cpu, request->sectors, is_read);
	if (is_read)
		record->latency_us = request->latency_us;
	block_completed(&state->shared, &state->cpu, record, is_read, request->latency_us,
		done_ns(request));
}

int trace_records(const struct trace_request *requests, size_t n,
	struct semantos_block_record **records, size_t *n_records)
{
	struct semantos_block_record *record = NULL, *out = NULL;
	struct device_state state = { 0 };
	size_t oldest = 0, issued = 0, kept = 0;
	struct event *event;
	size_t *in_order; /* indices of requests as they were issued */
	int err = -ENOMEM;

	*records = NULL;
	*n_records = 0;
	if (!n)
		return 0;
	event = malloc(2 * n * sizeof(*event));
	in_order = malloc(n * sizeof(*in_order));
	record = calloc(n, sizeof(*record));
	out = malloc(n * sizeof(*out));
	if (!event || !in_order || !record || !out)
		goto out_free;
	for (size_t i = 0; i < n; i++) {
		event[2 * i] = (struct event){ requests[i].issue_ns, 2 * i };
		event[2 * i + 1] = (struct event){ done_ns(&requests[i]), 2 * i + 1 };
	}
	qsort(event, 2 * n, sizeof(*event), event_order);
	for (size_t i = 0; i < 2 * n; i++) {
		size_t which = event[i].order / 2;
		uint64_t oldest_ns = 0;

		if (event[i].order & 1) {
			complete(&state, &requests[which], &record[which]);
			record[which].head.kind = SEMANTOS_OUTCOME;
			if (requests[which].op == SEMANTOS_OP_READ)
				out[kept++] = record[which];
			continue;
		}
		/* The first read issued that has not completed is the oldest one under way. */
		while (oldest < issued &&
			(requests[in_order[oldest]].op != SEMANTOS_OP_READ ||
				record[in_order[oldest]].head.kind == SEMANTOS_OUTCOME))
			oldest++;
		if (oldest < issued)
			oldest_ns = requests[in_order[oldest]].issue_ns;
		in_order[issued++] = which;
		issue(&state, &requests[which], issued, oldest_ns, &record[which]);
	}
	*records = out;
	*n_records = kept;
	out = NULL;
	err = 0;
out_free:
	free(out);
	free(record);
	free(in_order);
	free(event);
	return err;
}

/* A number of the line, finite and not negative. 0 and *at moved behind its comma, or -EINVAL. */
static int column(char **at, double most, double *value)
{
	char *end;

	if (!(**at >= '0' && **at <= '9')) /* no sign, no "nan", no blank */
		return -EINVAL;
	*value = strtod(*at, &end);
	if (!isfinite(*value) || *value > most || (*end != ',' && *end != 0))
		return -EINVAL;
	*at = *end ? end + 1 : end;
	return 0;
}

/* 0, 1 when the line belongs to another device, or -EINVAL. */
static int parse_line(char *line, uint32_t device, struct trace_request *request)
{
	static const double most[COLUMNS] = { TIME_MAX_NS, LATENCY_MAX_US, 1, 1 << 30, 9e18,
		TIME_MAX_NS, 9e18 };
	char *at = line, *submit = NULL;
	double value[COLUMNS];
	int in_ms;

	for (int i = 0; i < COLUMNS; i++) {
		if (i == 5)
			submit = at;
		if (column(&at, most[i], &value[i]))
			return -EINVAL;
	}
	if (*at)
		return -EINVAL;
	in_ms = submit[strcspn(submit, ".,")] == '.';
	if (value[5] * (in_ms ? 1e6 : 1e3) > TIME_MAX_NS)
		return -EINVAL;
	if (!in_ms && value[6] >= TRACE_DEVICES)
		return -EINVAL;
	if (!in_ms && (uint32_t)value[6] != device)
		return 1;
	*request = (struct trace_request){
		/* Microseconds are the resolution of both layouts; rounding keeps 0.1 ms exactly 100 us. */
		.issue_ns = (uint64_t)llround(value[5] * (in_ms ? 1e3 : 1)) * 1000,
		.latency_us = (uint32_t)value[1],
		.sectors = (uint32_t)(value[3] / 512),
		.sector = (uint64_t)(value[4] / 512),
		.op = value[2] == 1 ? SEMANTOS_OP_READ : SEMANTOS_OP_WRITE,
	};
	return 0;
}

static int read_lines(gzFile file, uint32_t device, struct trace_request **requests, size_t *n,
	char *error, size_t error_len)
{
	size_t capacity = 0, number = 0;
	char line[LINE_MAX_BYTES];

	while (gzgets(file, line, sizeof(line))) {
		size_t length = strcspn(line, "\r\n");
		struct trace_request request;
		int err;

		if (number++ == LINES_MAX) {
			snprintf(error, error_len, "The trace has more than %u lines; split it.",
				LINES_MAX);
			return -EFBIG;
		}
		if (!line[length] && length + 1 == sizeof(line))
			goto malformed;
		line[length] = 0;
		err = parse_line(line, device, &request);
		if (err < 0)
			goto malformed;
		if (err)
			continue;
		if (*n == TRACE_MAX_REQUESTS) {
			snprintf(error, error_len, "The trace has more than %u requests; split it.",
				TRACE_MAX_REQUESTS);
			return -EFBIG;
		}
		if (*n == capacity) {
			size_t wanted = capacity ? 2 * capacity : DEPTH_GROWTH;
			void *grown = realloc(*requests, wanted * sizeof(**requests));

			if (!grown) {
				snprintf(error, error_len, "There is no memory for the trace.");
				return -ENOMEM;
			}
			*requests = grown;
			capacity = wanted;
		}
		(*requests)[(*n)++] = request;
	}
	if (!gzeof(file)) {
		snprintf(error, error_len,
			"The trace cannot be unpacked after line %zu; the file is damaged or cut.",
			number);
		return -EINVAL;
	}
	return 0;
malformed:
	snprintf(error, error_len,
		"Line %zu is no request: seven numbers are wanted (completion, latency in us, 1 "
		"for a "
		"read, bytes, offset, submission, device).",
		number);
	return -EINVAL;
}

int trace_read(
	const char *path, uint32_t device, struct capture *out, char *error, size_t error_len)
{
	struct trace_request *requests = NULL;
	size_t n = 0;
	gzFile file;
	int err;

	memset(out, 0, sizeof(*out));
	file = gzopen(path, "rbe");
	if (!file) {
		err = errno ? -errno : -ENOMEM;
		snprintf(error, error_len, "%s cannot be opened: %s.", path, strerror(-err));
		return err;
	}
	err = read_lines(file, device, &requests, &n, error, error_len);
	gzclose(file);
	if (!err && !n) {
		snprintf(error, error_len, "The trace holds no request of device %" PRIu32 ".",
			device);
		err = -ENODATA;
	}
	if (!err) {
		err = trace_records(requests, n, &out->record, &out->n);
		if (err)
			snprintf(error, error_len, "There is no memory for the trace.");
	}
	free(requests);
	if (err)
		return err;
	snprintf(out->header.device, sizeof(out->header.device), "trace:%" PRIu32, device);
	out->header.wire_version = SEMANTOS_WIRE_VERSION;
	out->header.record_bytes = sizeof(*out->record);
	return 0;
}

int trace_looks_like(const char *path)
{
	unsigned char first[2] = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, first, sizeof(first));

	if (fd >= 0)
		close(fd);
	return n == 2 &&
	       ((first[0] >= '0' && first[0] <= '9') || (first[0] == 0x1f && first[1] == 0x8b));
}
