// SPDX-License-Identifier: Apache-2.0
/*
 * capture.c - writes records to a file and reads them back; the one place that says what a valid record is.
 *
 * Nothing of a file is believed before it was checked, and a file is taken whole or not at all: whoever trains on
 * it must not have to wonder which rows were left out. No state of its own; any thread may call.
 */
#include "agent/core/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char capture_magic[8] = { 'S', 'E', 'M', 'C', 'A', 'P', 0, 1 };

#define RECORD_BYTES sizeof(struct semantos_block_record)
#define RECORD_FLAGS (SEMANTOS_F_CANARY | SEMANTOS_F_ERROR | SEMANTOS_F_EXPLORED)

bool record_valid(const void *bytes, size_t n_bytes)
{
	struct semantos_block_record record;

	if (n_bytes != sizeof(record))
		return false;
	memcpy(&record, bytes, sizeof(record)); /* the bytes may lie anywhere */
	if (record.head.version != SEMANTOS_WIRE_VERSION || record.head.bytes != sizeof(record))
		return false;
	if (record.head.kind != SEMANTOS_REQUEST && record.head.kind != SEMANTOS_OUTCOME)
		return false;
	if (record.head.flags & ~RECORD_FLAGS)
		return false;
	if (record.head.kind == SEMANTOS_REQUEST &&
		(record.latency_us || record.head.flags & SEMANTOS_F_ERROR))
		return false;
	if (record.head.slot >= SEMANTOS_MAX_SLOTS || !record.head.request_id)
		return false;
	if (record.head.generation & ~SEMANTOS_GENERATION_MASK)
		return false;
	if (record.op != SEMANTOS_OP_READ && record.op != SEMANTOS_OP_WRITE)
		return false;
	if (record.history_len > SEMANTOS_HISTORY)
		return false;
	return record.class_in_force <= SEMANTOS_CLASS_MASK ||
	       record.class_in_force == SEMANTOS_CLASS_DEFAULT;
}

int capture_write_header(FILE *file, const char *device, uint32_t major, uint32_t minor)
{
	struct capture_header header = {
		.wire_version = SEMANTOS_WIRE_VERSION,
		.record_bytes = RECORD_BYTES,
		.major = major,
		.minor = minor,
	};

	memcpy(header.magic, capture_magic, sizeof(header.magic));
	snprintf(header.device, sizeof(header.device), "%s", device);
	errno = 0;
	if (fwrite(&header, sizeof(header), 1, file) != 1)
		return errno ? -errno : -EIO;
	return 0;
}

int capture_write(FILE *file, const struct semantos_block_record *records, size_t n)
{
	errno = 0;
	if (n && fwrite(records, RECORD_BYTES, n, file) != n)
		return errno ? -errno : -EIO;
	return 0;
}

/* 0 when records of this build may follow. */
static int header_check(const struct capture_header *header, char *error, size_t error_len)
{
	if (memcmp(header->magic, capture_magic, sizeof(capture_magic))) {
		snprintf(error, error_len,
			"This is no capture: it does not begin with the mark of one; `semantosctl "
			"capture` writes them.");
		return -EINVAL;
	}
	if (header->wire_version != SEMANTOS_WIRE_VERSION) {
		snprintf(error, error_len,
			"The capture holds records of wire version %" PRIu32
			" and this build reads version %d; capture again with this build.",
			header->wire_version, SEMANTOS_WIRE_VERSION);
		return -EPROTO;
	}
	if (header->record_bytes != RECORD_BYTES) {
		snprintf(error, error_len,
			"The capture says a record has %" PRIu32
			" bytes where version %d has %zu; the file is damaged, capture again.",
			header->record_bytes, SEMANTOS_WIRE_VERSION, RECORD_BYTES);
		return -EINVAL;
	}
	if (!memchr(header->device, 0, sizeof(header->device))) {
		snprintf(error, error_len,
			"The capture's device name has no end; the file is damaged, capture "
			"again.");
		return -EINVAL;
	}
	return 0;
}

/* How many records the bytes after the header hold. */
static int body_check(uint64_t n_bytes, size_t *n, char *error, size_t error_len)
{
	uint64_t rows = n_bytes / RECORD_BYTES;

	if (n_bytes % RECORD_BYTES) {
		snprintf(error, error_len,
			"The capture is truncated: record %" PRIu64 " has %" PRIu64
			" of its %zu bytes; copy or capture it again.",
			rows + 1, n_bytes % (uint64_t)RECORD_BYTES, RECORD_BYTES);
		return -EINVAL;
	}
	if (rows > CAPTURE_MAX_ROWS) {
		snprintf(error, error_len,
			"The capture has %" PRIu64 " records and at most %u are read; split it.",
			rows, CAPTURE_MAX_ROWS);
		return -EFBIG;
	}
	*n = (size_t)rows;
	return 0;
}

static int records_check(const struct capture *capture, char *error, size_t error_len)
{
	for (size_t i = 0; i < capture->n; i++) {
		if (record_valid(&capture->record[i], RECORD_BYTES) &&
			capture->record[i].head.kind == SEMANTOS_OUTCOME)
			continue;
		snprintf(error, error_len,
			"Record %zu of the capture is not the outcome of a request: a field is "
			"out of range; the file is damaged, capture again.",
			i + 1);
		return -EINVAL;
	}
	return 0;
}

static int too_short(uint64_t n_bytes, char *error, size_t error_len)
{
	snprintf(error, error_len,
		"This is no capture: it has %" PRIu64
		" bytes and a capture's header alone has %zu.",
		n_bytes, sizeof(struct capture_header));
	return -EINVAL;
}

int capture_parse(
	const void *bytes, size_t n_bytes, struct capture *out, char *error, size_t error_len)
{
	const char *body = (const char *)bytes + sizeof(out->header);
	int err;

	memset(out, 0, sizeof(*out));
	if (n_bytes < sizeof(out->header))
		return too_short(n_bytes, error, error_len);
	memcpy(&out->header, bytes, sizeof(out->header));
	err = header_check(&out->header, error, error_len);
	if (!err)
		err = body_check(n_bytes - sizeof(out->header), &out->n, error, error_len);
	if (!err && out->n) {
		out->record = malloc(out->n * RECORD_BYTES);
		if (out->record) {
			memcpy(out->record, body, out->n * RECORD_BYTES);
			err = records_check(out, error, error_len);
		} else {
			err = -ENOMEM;
			snprintf(error, error_len, "There is no memory for %zu records.", out->n);
		}
	}
	if (err)
		capture_free(out);
	return err;
}

static int read_all(int fd, void *buffer, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t got = read(fd, (char *)buffer + done, n - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			return -ENODATA; /* it shrank while it was read */
		done += (size_t)got;
	}
	return 0;
}

int capture_read(const char *path, struct capture *out, char *error, size_t error_len)
{
	struct stat st;
	int fd, err;

	memset(out, 0, sizeof(*out));
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st)) {
		err = -errno;
		snprintf(error, error_len, "%s cannot be opened: %s.", path, strerror(-err));
		goto out_close;
	}
	err = -EINVAL;
	if (!S_ISREG(st.st_mode)) {
		snprintf(error, error_len, "%s is no capture: it is not a file.", path);
		goto out_close;
	}
	if ((uint64_t)st.st_size < sizeof(out->header)) {
		err = too_short((uint64_t)st.st_size, error, error_len);
		goto out_close;
	}
	err = read_all(fd, &out->header, sizeof(out->header));
	if (err)
		goto out_failed;
	err = header_check(&out->header, error, error_len);
	if (!err)
		err = body_check(
			(uint64_t)st.st_size - sizeof(out->header), &out->n, error, error_len);
	if (err || !out->n)
		goto out_close;
	out->record = malloc(out->n * RECORD_BYTES);
	err = out->record ? read_all(fd, out->record, out->n * RECORD_BYTES) : -ENOMEM;
	if (err)
		goto out_failed;
	err = records_check(out, error, error_len);
	goto out_close;
out_failed:
	snprintf(error, error_len, "%s cannot be read: %s.", path,
		err == -ENODATA ? "it became shorter meanwhile" : strerror(-err));
out_close:
	if (fd >= 0)
		close(fd);
	if (err)
		capture_free(out);
	return err;
}

void capture_free(struct capture *capture)
{
	free(capture->record);
	memset(capture, 0, sizeof(*capture));
}
