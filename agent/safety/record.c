// SPDX-License-Identifier: Apache-2.0
/*
 * record.c - one table a kind of record says which fields it has; the same table writes and reads them.
 *
 * Must never accept bytes that it would not write: every length, range and the end are checked. Pure, any thread.
 */
#include "agent/safety/record.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct field {
	size_t offset;
	size_t size; /* of the string with its NUL; 0 = u64 */
	uint64_t min, max; /* of a u64 */
};

#define NUMBER(type, member, low, high) { offsetof(type, member), 0, low, high }
#define TEXT(type, member) { offsetof(type, member), sizeof(((type *)0)->member), 0, 0 }
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct field stamp_fields[] = {
	NUMBER(struct record_stamp, real_ns, 0, UINT64_MAX),
	NUMBER(struct record_stamp, boot_ns, 0, UINT64_MAX),
	TEXT(struct record_stamp, boot_id),
};

static const struct field change_fields[] = {
	NUMBER(struct change, id, 1, UINT64_MAX - 1),
	NUMBER(struct change, state, CHANGE_INTENT, CHANGE_DONE),
	NUMBER(struct change, mode, CHANGE_AUTO, CHANGE_ONCE),
	NUMBER(struct change, n_knobs, 1, RECORD_KNOBS_MAX),
	TEXT(struct change, owner),
	TEXT(struct change, sentence),
	TEXT(struct change, evidence),
	TEXT(struct change, expected),
	TEXT(struct change, observed),
	TEXT(struct change, why),
};

static const struct field knob_fields[] = {
	TEXT(struct change_knob, name),
	TEXT(struct change_knob, original),
	TEXT(struct change_knob, intended),
	TEXT(struct change_knob, readback),
};

static const struct field exit_fields[] = {
	NUMBER(struct exit_record, environment, 0, 1),
	TEXT(struct exit_record, policy),
	TEXT(struct exit_record, kind),
	TEXT(struct exit_record, reason),
	TEXT(struct exit_record, evidence),
};

static const struct field quarantine_fields[] = {
	NUMBER(struct quarantine, on, 0, 1),
	TEXT(struct quarantine, policy),
	TEXT(struct quarantine, sentence),
};

static const struct field policy_fields[] = {
	NUMBER(struct policy_event, id, 1, UINT64_MAX - 1),
	TEXT(struct policy_event, policy),
	TEXT(struct policy_event, from),
	TEXT(struct policy_event, to),
	TEXT(struct policy_event, sentence),
	TEXT(struct policy_event, evidence),
	TEXT(struct policy_event, expected),
	TEXT(struct policy_event, undo),
};

static const struct field segment_field = { 0, 0, 1, UINT64_MAX - 1 };
static const struct field mark_field = { 0, 0, MARK_BEGUN, MARK_UPGRADE };

/* Where reading or writing stands. */
struct cursor {
	uint8_t *out;
	const uint8_t *in;
	size_t at, end;
	bool bad;
};

static void number(struct cursor *c, uint64_t *value, const struct field *f)
{
	if (c->end - c->at < 8) {
		c->bad = true;
		return;
	}
	if (c->out) {
		for (unsigned int i = 0; i < 8; i++)
			c->out[c->at + i] = (uint8_t)(*value >> 8 * i);
	} else {
		*value = 0;
		for (unsigned int i = 0; i < 8; i++)
			*value |= (uint64_t)c->in[c->at + i] << 8 * i;
		c->bad |= *value < f->min || *value > f->max;
	}
	c->at += 8;
}

static void text(struct cursor *c, char *value, const struct field *f)
{
	size_t n = c->out ? strnlen(value, f->size - 1) : 0;

	if (c->end - c->at < 2 + n) {
		c->bad = true;
		return;
	}
	if (c->out) {
		c->out[c->at] = (uint8_t)n;
		c->out[c->at + 1] = (uint8_t)(n >> 8);
		memcpy(c->out + c->at + 2, value, n);
	} else {
		n = c->in[c->at] | (size_t)c->in[c->at + 1] << 8;
		if (n >= f->size || n > c->end - c->at - 2 || memchr(c->in + c->at + 2, 0, n)) {
			c->bad = true;
			return;
		}
		memcpy(value, c->in + c->at + 2, n);
		value[n] = '\0';
	}
	c->at += 2 + n;
}

static void walk(struct cursor *c, void *object, const struct field *fields, size_t n)
{
	for (size_t i = 0; i < n && !c->bad; i++) {
		void *value = (char *)object + fields[i].offset;

		if (fields[i].size > 0)
			text(c, value, &fields[i]);
		else
			number(c, value, &fields[i]);
	}
}

static void walk_record(struct cursor *c, struct record *r)
{
	walk(c, &r->stamp, stamp_fields, COUNT(stamp_fields));
	switch (r->kind) {
	case RECORD_START:
		walk(c, &r->segment, &segment_field, 1);
		break;
	case RECORD_MARK:
		walk(c, &r->mark, &mark_field, 1);
		break;
	case RECORD_CHANGE:
		walk(c, &r->change.begun, stamp_fields, COUNT(stamp_fields));
		walk(c, &r->change, change_fields, COUNT(change_fields));
		for (size_t i = 0; !c->bad && i < r->change.n_knobs; i++)
			walk(c, &r->change.knob[i], knob_fields, COUNT(knob_fields));
		break;
	case RECORD_EXIT:
		walk(c, &r->exit, exit_fields, COUNT(exit_fields));
		break;
	case RECORD_QUARANTINE:
		walk(c, &r->quarantine, quarantine_fields, COUNT(quarantine_fields));
		break;
	case RECORD_POLICY:
		walk(c, &r->policy, policy_fields, COUNT(policy_fields));
		break;
	default:
		c->bad = true;
	}
}

size_t record_pack(const struct record *record, uint8_t *out)
{
	struct cursor c = { .out = out, .end = RECORD_PAYLOAD_MAX };

	/* nothing of the record is written to when c.out is set */
	walk_record(&c, (struct record *)record);
	return c.bad ? 0 : c.at;
}

int record_unpack(struct record *record, const uint8_t *bytes, size_t n)
{
	struct cursor c = { .in = bytes, .end = n };

	walk_record(&c, record);
	if (record->kind == RECORD_CHANGE)
		record->change.swapped = 0;
	return c.bad || c.at != n ? -EINVAL : 0;
}

_Static_assert(sizeof(struct change) + 512 < RECORD_PAYLOAD_MAX, "the longest record fits");

bool change_open(const struct change *change)
{
	return change->state <= CHANGE_KEPT;
}

const char *change_state_name(uint64_t state)
{
	static const char *const name[] = { "?", "intent", "applied", "kept", "rolled-back",
		"left-alone", "done" };

	return name[state <= CHANGE_DONE ? state : 0];
}

const char *change_mode_name(uint64_t mode)
{
	static const char *const name[] = { "?", "auto", "on-breach", "never", "once" };

	return name[mode <= CHANGE_ONCE ? mode : 0];
}

void record_add(char *out, size_t size, size_t *len, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	*len += (size_t)vsnprintf(out + *len, size - *len, fmt, args);
	va_end(args);
	if (*len >= size)
		*len = size - 1;
}

void record_text(char *out, size_t size, const char *text_in)
{
	size_t n;

	if (size == 0)
		return;
	text_in = text_in ? text_in : "";
	n = strlen(text_in);
	if (n >= size) {
		n = size - 1;
		while (n > 0 && ((unsigned char)text_in[n] & 0xc0) == 0x80)
			n--;
	}
	for (size_t i = 0; i < n; i++) {
		unsigned char ch = (unsigned char)text_in[i];

		out[i] = ch < ' ' || ch == 0x7f ? ' ' : (char)ch;
	}
	out[n] = '\0';
}
