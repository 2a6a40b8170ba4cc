// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_advisor.c - questions and outcomes drawn from bytes, with real names and values among made-up ones: whatever the
 * agent says, what is proposed is of the knobs it offered, each once, in their tables' range, with numbers that are numbers.
 *
 * A knowledge base of its own in memory's file system for each input, so that an input says all.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/advisor/internal.h"
#include "agent/util/log.h"

#define KNOBS 12
#define METRICS 4
#define EVENTS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
	const uint8_t *at;
	size_t left;
};

static uint8_t one(struct bytes *b)
{
	if (!b->left)
		return 0;
	b->left--;
	return *b->at++;
}

static double number(struct bytes *b)
{
	static const double often[] = { 0, 1, -1, 0.5, -0.2, -0.1, -0.3, 1e300, -1e300, INFINITY,
		NAN, 1e-9 };
	uint8_t which = one(b);
	double value;
	uint8_t raw[sizeof(value)];

	if (which < 2 * sizeof(often) / sizeof(often[0]))
		return often[which / 2];
	if (which < 200)
		return ((double)which - 112) / 100;
	for (size_t i = 0; i < sizeof(raw); i++)
		raw[i] = one(b);
	memcpy(&value, raw, sizeof(value));
	return value;
}

struct text {
	char s[400];
};

static char *any_text(struct bytes *b, struct text *out)
{
	size_t n = one(b), used = 0;

	n = n > 250 ? sizeof(out->s) - 1 : n % 24;
	while (used < n) {
		uint8_t c = one(b);

		out->s[used++] = (char)(c ? c : 'x');
	}
	out->s[used] = '\0';
	return out->s;
}

static const struct knob_desc *desc_of(struct bytes *b)
{
	return &knob_descs[(one(b) | (size_t)one(b) << 8) % n_knob_descs];
}

static char *knob_name(struct bytes *b, struct text *out)
{
	const char *pattern;
	size_t used = 0;

	if (one(b) > 230)
		return any_text(b, out);
	for (pattern = desc_of(b)->def.pattern; *pattern && used < 300; pattern++) {
		if (*pattern == '*') {
			memcpy(out->s + used, "vda", 3);
			used += 3;
		} else {
			out->s[used++] = *pattern;
		}
	}
	out->s[used] = '\0';
	return out->s;
}

static char *knob_value(struct bytes *b, const char *name, struct text *out)
{
	const struct knob_desc *desc = knob_desc_find(name);
	uint8_t which = one(b);

	if (which > 200 || !desc)
		return any_text(b, out);
	if (which < 60 && desc->seen[n_knob_kernels - 1].value)
		snprintf(out->s, sizeof(out->s), "%s", desc->seen[n_knob_kernels - 1].value);
	else if (which < 80)
		snprintf(out->s, sizeof(out->s), "%lld", (long long)desc->def.min);
	else if (which < 100)
		snprintf(out->s, sizeof(out->s), "%lld", (long long)desc->def.max);
	else if (which < 110)
		snprintf(out->s, sizeof(out->s), "max");
	else
		snprintf(out->s, sizeof(out->s), "%u", (unsigned int)one(b) * (which & 15));
	return out->s;
}

static void metrics(struct bytes *b, Semantos__V1__TelemetryMetric *metric,
	Semantos__V1__TelemetryMetric **list, struct text *text)
{
	static char *const names[] = { "page_in", "cpu_idle", "swap_in", "tcp_segments_out",
		"own_cpu" };

	for (size_t i = 0; i < METRICS; i++) {
		semantos__v1__telemetry_metric__init(&metric[i]);
		metric[i].name = one(b) < 200 ? names[one(b) % 5] : any_text(b, &text[i]);
		metric[i].unit = one(b) & 1 ? "bytes" : "ratio";
		metric[i].value = number(b);
		list[i] = &metric[i];
	}
}

static const Semantos__V1__Question *open_question;

static void check_value(const Semantos__V1__Knob *knob)
{
	const struct knob_desc *desc = knob_desc_find(knob->name);
	long long value;
	char *end;

	if (!desc || desc->read_only)
		abort();
	if (desc->def.type != KNOB_INT)
		return;
	value = strtoll(knob->value, &end, 10);
	if (*end || value < desc->def.min || value > desc->def.max ||
		(desc->def.step > 1 && value % desc->def.step))
		abort();
}

static int take(void *ctx, const Semantos__V1__Proposal *proposal)
{
	struct bytes *b = ctx;

	if (!(proposal->uncertainty >= 0 && proposal->uncertainty <= 1) ||
		!isfinite(proposal->expected_change) || proposal->expected_change < -1 ||
		proposal->n_knobs > FACT_MOVES_MAX || !proposal->rationale[0] ||
		strlen(proposal->rationale) > 2000 || strlen(proposal->evidence) > 1000)
		abort();
	for (size_t i = 0; i < proposal->n_knobs; i++) {
		bool offered = false;

		for (size_t k = 0; k < open_question->n_knobs; k++)
			offered |= strcmp(open_question->knobs[k]->name,
					   proposal->knobs[i]->name) == 0;
		for (size_t k = 0; k < i; k++)
			offered &= strcmp(proposal->knobs[k]->name, proposal->knobs[i]->name) != 0;
		if (!offered)
			abort();
		check_value(proposal->knobs[i]);
	}
	return one(b) < 180 ? 0 : one(b) < 200 ? -1 : 1;
}

static void question(struct advisor *advisor, struct bytes *b)
{
	Semantos__V1__Question q = SEMANTOS__V1__QUESTION__INIT;
	Semantos__V1__KnobState state[KNOBS], *states[KNOBS];
	Semantos__V1__TelemetryMetric metric[METRICS], *list[METRICS];
	struct text name[KNOBS], value[KNOBS], other[METRICS], objective;

	q.number = 1 + one(b);
	q.goal = one(b) % 3;
	q.objective = one(b) < 200 ? "o" : any_text(b, &objective);
	q.lower_is_better = one(b) & 1;
	q.trials_left = one(b);
	q.knobs = states;
	q.n_knobs = one(b) % (KNOBS + 1);
	for (size_t i = 0; i < q.n_knobs; i++) {
		semantos__v1__knob_state__init(&state[i]);
		state[i].name = knob_name(b, &name[i]);
		state[i].value = knob_value(b, state[i].name, &value[i]);
		states[i] = &state[i];
	}
	metrics(b, metric, list, other);
	q.telemetry = list;
	q.n_telemetry = METRICS;
	open_question = &q;
	advisor_question(advisor, &q, take, b);
}

static void outcome(struct advisor *advisor, struct bytes *b)
{
	static char *const verdicts[] = { "kept", "no-effect", "worse", "breach", "stopped",
		"vetoed", "rejected" };
	Semantos__V1__Outcome o = SEMANTOS__V1__OUTCOME__INIT;
	Semantos__V1__Knob knob[KNOBS], was[KNOBS], *knobs[KNOBS], *olds[KNOBS];
	Semantos__V1__TelemetryMetric metric[METRICS], *list[METRICS];
	struct text name[KNOBS], value[KNOBS], old[KNOBS], other[METRICS], text, objective;

	o.proposal = one(b);
	o.goal = one(b) % 3;
	o.unix_ms = one(b);
	o.objective = one(b) < 230 ? "o" : any_text(b, &objective);
	o.lower_is_better = one(b) & 1;
	o.verdict = one(b) < 230 ? verdicts[one(b) % 7] : any_text(b, &text);
	o.unsafe = one(b) > 200;
	o.change = number(b);
	o.low = number(b);
	o.high = number(b);
	o.uncertainty = number(b);
	o.n_knobs = o.n_was = one(b) % KNOBS;
	for (size_t i = 0; i < o.n_knobs; i++) {
		semantos__v1__knob__init(&knob[i]);
		semantos__v1__knob__init(&was[i]);
		knob[i].name = was[i].name = knob_name(b, &name[i]);
		knob[i].value = knob_value(b, knob[i].name, &value[i]);
		was[i].value = knob_value(b, knob[i].name, &old[i]);
		knobs[i] = &knob[i];
		olds[i] = &was[i];
	}
	o.knobs = knobs;
	o.was = olds;
	metrics(b, metric, list, other);
	o.telemetry_before = o.telemetry_after = list;
	o.n_telemetry_before = METRICS;
	o.n_telemetry_after = one(b) % (METRICS + 1);
	advisor_outcome(advisor, &o);
}

static void silent(void *ctx, enum log_level level, const char *sentence)
{
	(void)ctx, (void)level, (void)sentence;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const parts[] = { "knowledge.db", "knowledge.db-wal",
		"knowledge.db-shm" };
	static char dir[64];
	struct bytes b = { data, size };
	struct advisor *advisor;
	enum exit_code code;
	char note[KB_TEXT_MAX], path[128];

	if (!dir[0]) {
		log_set_sink(silent, NULL);
		snprintf(dir, sizeof(dir), "/dev/shm/fuzz-advisor-XXXXXX");
		if (!mkdtemp(dir))
			abort();
	}
	advisor = advisor_open(dir, note, sizeof(note), &code);
	if (!advisor)
		abort();
	for (size_t i = 0; i < EVENTS && b.left; i++) {
		if (one(&b) & 1)
			question(advisor, &b);
		else
			outcome(advisor, &b);
	}
	advisor_free(advisor);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, parts[i]);
		unlink(path);
	}
	rmdir(dir);
	dir[0] = '\0';
	return 0;
}
