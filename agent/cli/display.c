// SPDX-License-Identifier: Apache-2.0
/*
 * display.c - composes a picture line by line, then writes it in one piece over the last one.
 *
 * Lines are broken to the terminal's width, so that the cursor can go back by counting them; where the screen is too
 * low for all, each disk takes two lines, and what still does not fit is counted. Names come from the kernel and
 * models: bytes below space never reach the terminal. A sentence of the log is never lost: what no picture showed
 * is printed at the end.
 */
#include "agent/cli/display.h"

#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "agent/api/counter_names.h"

#define LOG_LINES 6
#define LINE_LEN 512
#define LABEL_COLUMNS 11 /* of "  reads    " */
#define LABEL_MOST 48 /* bytes; the name of a disk may be longer than its column */
#define DRAWN_FINDINGS 4
#define SUMMARY_EVERY 10 /* draws between summary lines where there is no terminal */

struct display {
	FILE *out;
	bool terminal, colour;
	unsigned int width, drawn; /* lines of the last picture */
	unsigned int draws;
	pthread_mutex_t lock; /* of log and picture */
	char log[LOG_LINES][LINE_LEN];
	unsigned int n_log, n_seen; /* sentences so far, and those that a picture has shown */
	char *picture;
	size_t picture_len;
	FILE *paper; /* the picture being composed */
	unsigned int lines;
};

struct display *display_new(FILE *out)
{
	struct display *display = calloc(1, sizeof(*display));
	const char *term = getenv("TERM");

	if (!display)
		return NULL;
	display->out = out;
	display->terminal = isatty(fileno(out)) && term && strcmp(term, "dumb");
	display->colour = display->terminal && !getenv("NO_COLOR");
	pthread_mutex_init(&display->lock, NULL);
	return display;
}

void display_free(struct display *display)
{
	if (!display)
		return;
	log_set_sink(NULL, NULL);
	if (display->n_log - display->n_seen > LOG_LINES)
		display->n_seen = display->n_log - LOG_LINES;
	for (; display->n_seen < display->n_log; display->n_seen++)
		fprintf(display->out, "%s\n", display->log[display->n_seen % LOG_LINES]);
	fflush(display->out);
	pthread_mutex_destroy(&display->lock);
	free(display);
}

void display_log(void *ctx, enum log_level level, const char *sentence)
{
	struct display *display = ctx;

	(void)level;
	pthread_mutex_lock(&display->lock);
	if (display->terminal) {
		char *text = display->log[display->n_log++ % LOG_LINES];

		snprintf(text, LINE_LEN, "%s", sentence);
		for (; *text; text++)
			if ((unsigned char)*text < ' ' || *text == 127)
				*text = '?';
	} else {
		fprintf(display->out, "%s\n", sentence);
		fflush(display->out);
	}
	pthread_mutex_unlock(&display->lock);
}

static const char *style(const struct display *display, const char *code)
{
	return display->colour ? code : "";
}

#define BOLD "\033[1m"
#define DIM "\033[2m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define PLAIN "\033[0m"

/* Where a text of so many columns should be broken: at the last blank that fits, or hard. */
static size_t break_at(const char *text, unsigned int columns)
{
	size_t last_blank = 0, i = 0;
	unsigned int used = 0;

	for (; text[i]; i++) {
		/* UTF-8 continuation bytes take no column */
		if (((unsigned char)text[i] & 0xc0) != 0x80 && ++used > columns)
			return last_blank ? last_blank : i;
		if (text[i] == ' ')
			last_blank = i;
	}
	return i;
}

/* A text of the picture: broken at blanks to the width, later lines indented, its style closed on each line. */
static void vput(
	struct display *display, const char *code, const char *label, const char *fmt, va_list args)
{
	int indent = 0, n = label ? LABEL_COLUMNS : 0;
	char text[LINE_LEN], *at = text;

	if (label)
		snprintf(text, LABEL_MOST, "%-*s ", n - 1, label);
	vsnprintf(text + (n ? strlen(text) : 0), sizeof(text) - LABEL_MOST, fmt, args);
	for (unsigned char *c = (unsigned char *)text; *c; c++)
		if (*c < ' ' || *c == 127)
			*c = '?';
	do {
		size_t length = break_at(at, display->width - (unsigned int)indent);

		fprintf(display->paper, "%s%*s%.*s%s\033[K\n", style(display, code), indent, "",
			(int)length, at, display->colour ? PLAIN : "");
		display->lines++;
		for (at += length; *at == ' ';)
			at++;
		indent = n;
	} while (*at);
}

__attribute__((format(printf, 3, 4))) static void line(
	struct display *display, const char *code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vput(display, code, NULL, fmt, args);
	va_end(args);
}

__attribute__((format(printf, 4, 5))) static void field(
	struct display *display, const char *code, const char *label, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vput(display, code, label, fmt, args);
	va_end(args);
}

static void score(double value, char *text, size_t text_len)
{
	if (isnan(value))
		snprintf(text, text_len, "-");
	else
		snprintf(text, text_len, "%.2f", value);
}

static void micro(double us, char *text, size_t text_len)
{
	if (isnan(us))
		snprintf(text, text_len, "-");
	else if (us < 1000)
		snprintf(text, text_len, "%.0f µs", us);
	else if (us < 1e6)
		snprintf(text, text_len, us < 10000 ? "%.1f ms" : "%.0f ms", us / 1000);
	else
		snprintf(text, text_len, "%.1f s", us / 1e6);
}

void display_device_words(
	const struct policy_view *policy, const struct device_view *d, char *text, size_t text_len)
{
	unsigned long long rows = d->rows, wanted = d->rows_wanted;
	char threshold[32];

	(void)policy;
	micro(d->slow_threshold_us, threshold, sizeof(threshold));
	switch (d->phase) {
	case DEVICE_WAITING:
		snprintf(text, text_len,
			"idle: no reads to learn from yet (--exercise DIR makes some)");
		break;
	case DEVICE_LEARNING:
		if (d->note[0])
			snprintf(text, text_len, "learning: %s", d->note);
		else if (rows >= wanted)
			snprintf(text, text_len,
				"learning: %llu reads, enough; going on until they span more time",
				rows);
		else
			snprintf(text, text_len, "learning: %llu of %llu reads (%llu %%)%s", rows,
				wanted, wanted ? rows * 100 / wanted : 0,
				d->reads_per_s < 1
					? "; the disk is idle now (--exercise DIR makes reads)"
					: "");
		break;
	case DEVICE_PREDICTING:
		snprintf(text, text_len, "predicting with model %s; a slow read takes %s or more",
			d->model, threshold);
		break;
	case DEVICE_UNSUPPORTED:
		snprintf(text, text_len, "not followed: %s", d->note);
		break;
	case DEVICE_GONE:
		snprintf(text, text_len, "gone");
		break;
	}
}

static void percent(double share, char *text, size_t text_len)
{
	if (isnan(share))
		snprintf(text, text_len, "-");
	else
		snprintf(text, text_len, "%.0f %%", 100 * share);
}

static const char *judged(const struct device_view *d)
{
	return d->judged ? d->judged : "reads";
}

static const char *baseline(const struct device_view *d)
{
	return d->baseline ? d->baseline : "pending pages";
}

static void draw_scores(struct display *display, const struct device_view *d)
{
	char auc[16], low[16], pending[16], majority[16], recall[16], precision[16], slow[16];

	percent(d->score.recall, recall, sizeof(recall));
	percent(d->score.precision, precision, sizeof(precision));
	percent(d->score.slow_share, slow, sizeof(slow));
	if (!d->score.evaluated)
		field(display, "", "  judged", "nothing yet: no prediction has met its outcome");
	else
		field(display, "", "  judged",
			"%llu predictions; of late %s of the %s were %s, it foresaw %s of those, "
			"and %s of "
			"its warnings were right",
			(unsigned long long)d->score.evaluated, slow, judged(d),
			strcmp(judged(d), "reads") ? "yes" : "slow", recall, precision);
	score(d->score.auc, auc, sizeof(auc));
	score(d->score.auc_pending, pending, sizeof(pending));
	field(display, "", "  live AUC", "%s of late; %s alone: %s%s", auc, baseline(d), pending,
		isnan(d->score.auc) ? "" : " (0.5 is guessing, 1 is perfect)");
	score(d->heldout_auc, auc, sizeof(auc));
	score(d->heldout_auc_low, low, sizeof(low));
	score(d->heldout_auc_pending, pending, sizeof(pending));
	percent(d->heldout_majority, majority, sizeof(majority));
	if (isnan(d->heldout_auc))
		field(display, "", "  training", "not trained on this disk");
	else
		field(display, "", "  training",
			"%llu %s; on later ones, held out, AUC %s (95 %% sure of %s), %s alone "
			"%s; \"always %s\" was right for %s",
			(unsigned long long)d->trained_rows, judged(d), auc, low, baseline(d),
			pending, strcmp(judged(d), "reads") ? "the commoner" : "fast", majority);
}

static void draw_device(struct display *display, const struct policy_view *policy,
	const struct device_view *d, bool brief)
{
	const char *verdict = d->verdict_class ? "slow" : "fast";
	char words[LINE_LEN], auc[16], pending[16], p50[32], p95[32], p99[32];

	display_device_words(policy, d, words, sizeof(words));
	field(display, BOLD, d->name, "%s", words);
	if (d->phase == DEVICE_UNSUPPORTED || d->phase == DEVICE_GONE)
		return;
	micro(d->latency_us_p50, p50, sizeof(p50));
	micro(d->latency_us_p95, p95, sizeof(p95));
	micro(d->latency_us_p99, p99, sizeof(p99));
	if (brief && d->has_model) {
		score(d->score.auc, auc, sizeof(auc));
		score(d->score.auc_pending, pending, sizeof(pending));
		field(display, d->signal ? GREEN : YELLOW, "  reads",
			"%.0f %s/s, p99 %s; AUC %s, %s %s; %s", d->reads_per_s, judged(d), p99, auc,
			baseline(d), pending, d->signal ? "signal" : "no signal");
		return;
	}
	if (isnan(d->latency_us_p50))
		field(display, "", "  reads", "none lately");
	else
		field(display, "", "  reads", "%.0f a second; latency p50 %s, p95 %s, p99 %s",
			d->reads_per_s, p50, p95, p99);
	if (!d->has_model)
		return;
	if (d->verdict_live)
		field(display, "", "  verdict", "%s (confidence %u %%)", verdict,
			d->verdict_confidence * 100 / 255);
	else
		field(display, "", "  verdict", "none is fresh: the kernel's default applies");
	draw_scores(display, d);
	if (d->signal)
		field(display, GREEN, "  signal", "yes: it predicts better than both baselines%s%s",
			d->note[0] ? "; " : "", d->note);
	else
		field(display, YELLOW, "  signal", "%s",
			d->note[0] ? d->note
				   : "none shown: it predicts in shadow and can be promoted to "
				     "nothing");
}

static void draw_mode(struct display *display, const struct policy_view *p)
{
	if (p->mode == SEMANTOS_SHADOW)
		line(display, BOLD, "%s in shadow: it watches and is judged; nothing obeys it",
			p->name);
	else if (p->mode == SEMANTOS_CANARY)
		line(display, BOLD,
			"%s as canary: obeyed for %u %% of the requests, the others are the "
			"control group",
			p->name, p->canary_percent);
	else
		line(display, BOLD, "%s in force: its fresh verdicts are obeyed", p->name);
	if (p->note[0])
		line(display, YELLOW, "%s", p->note);
}

static void draw_cost(struct display *display, const struct policy_view *p)
{
	unsigned long long runs = 0, ns = 0;
	char drops[LINE_LEN] = "", us50[32], us99[32];
	size_t at = 0;

	for (unsigned int i = 0; i < SEMANTOS_C_NR && at < sizeof(drops); i++) {
		unsigned long long n = p->counters.count[i];
		const char *name = counter_name(i);

		if (n && counter_is_drop(name))
			at += (size_t)snprintf(drops + at, sizeof(drops) - at, "%s%llu %s",
				at ? "; " : "", n, counter_meaning(name));
	}
	micro(p->decide_us_p50, us50, sizeof(us50));
	micro(p->decide_us_p99, us99, sizeof(us99));
	field(display, DIM, "records", "%llu, %llu verdicts stored; a batch takes p50 %s, p99 %s",
		(unsigned long long)p->delivered, (unsigned long long)p->verdicts_stored, us50,
		us99);
	field(display, DIM, "lost", "%s", at ? drops : "none");
	for (uint32_t i = 0; i < p->n_programs; i++) {
		runs += p->program[i].runs;
		ns += p->program[i].run_ns;
	}
	if (runs)
		field(display, DIM, "hooks", "%llu ns per event (sampled)", ns / runs);
	else
		field(display, DIM, "hooks", "no event measured yet");
}

/* Processes instead of disks: what is compared with what, and the latest that were found. */
static void draw_watch(struct display *display, const struct policy_view *p)
{
	const struct watch_view *w = &p->watch;
	char auc[16], low[16];

	score(w->auc, auc, sizeof(auc));
	score(w->auc_low, low, sizeof(low));
	if (w->note[0])
		field(display, YELLOW, "compares", "nothing yet: %s", w->note);
	else
		field(display, GREEN, "compares",
			"with %u windows of %u recordings; held out by recording AUC %s (95 %% "
			"sure "
			"of %s)",
			w->references, w->recordings, auc, low);
	field(display, "", "windows", "%llu judged, %llu flagged; %llu processes found",
		(unsigned long long)w->judged, (unsigned long long)w->flagged,
		(unsigned long long)w->findings);
	for (uint32_t i = 0; i < w->n_findings && i < DRAWN_FINDINGS; i++) {
		const struct finding_view *f = &w->finding[i];

		field(display, YELLOW, "found", "process %u (%s) like %s, score %.2f: %s", f->pid,
			f->comm, f->label, f->score, f->act);
	}
}

static void draw_policy(struct display *display, const struct policy_view *p, bool brief)
{
	draw_mode(display, p);
	if (p->watch.there) {
		draw_watch(display, p);
		draw_cost(display, p);
		return;
	}
	for (uint32_t i = 0; i < p->n_devices; i++)
		draw_device(display, p, &p->device[i], brief);
	if (!p->n_devices)
		line(display, YELLOW,
			"no disk to follow: none matches; semantosctl probe lists the disks, "
			"--device names one");
	draw_cost(display, p);
}

/* The newest sentences of the log that fit into so many lines, one of them in any case. */
static void draw_log(struct display *display, unsigned int room)
{
	unsigned int first = display->n_log, oldest, used = 0;

	oldest = display->n_log > LOG_LINES ? display->n_log - LOG_LINES : 0;
	while (first > oldest) {
		const char *at = display->log[(first - 1) % LOG_LINES];

		for (; *at; at += *at == ' ') {
			at += break_at(at, display->width - LABEL_COLUMNS);
			used++;
		}
		if (used > room && first < display->n_log)
			break;
		first--;
	}
	for (unsigned int i = first; i < display->n_log; i++)
		field(display, DIM, i == first ? "log" : "", "%s", display->log[i % LOG_LINES]);
	display->n_seen = display->n_log;
}

/* The whole picture on fresh paper; false when there is no memory for it, and the last picture stands. */
static bool compose(struct display *display, const struct agent_view *view, const char *extra,
	unsigned int rows, bool brief)
{
	display->lines = 0;
	display->paper = open_memstream(&display->picture, &display->picture_len);
	if (!display->paper)
		return false;
	line(display, DIM, "semantos %s on %s, up %llu s, CPU %.1f %%, %.1f MiB; Ctrl-C ends",
		view->version, view->kernel, (unsigned long long)view->uptime_s, view->cpu_percent,
		(double)view->rss_bytes / (1 << 20));
	for (uint32_t i = 0; i < view->n_policies; i++)
		draw_policy(display, &view->policy[i], brief);
	if (!view->n_policies)
		line(display, "", "no policy is attached; semantosctl attach NAME attaches one");
	if (extra)
		field(display, DIM, "load", "%s", extra);
	draw_log(display, rows > display->lines ? rows - display->lines - 1 : 0);
	fclose(display->paper);
	return display->picture != NULL;
}

static void drop_picture(struct display *display)
{
	free(display->picture);
	display->picture = NULL;
}

/* A picture taller than the screen would scroll: its upper part, and how much is below. */
static void cut(struct display *display, unsigned int rows)
{
	unsigned int hidden = display->lines - (rows - 2);
	char *end = display->picture;

	for (unsigned int i = 0; i + 2 < rows && end; i++)
		end = strchr(end, '\n') ? strchr(end, '\n') + 1 : NULL;
	if (!end)
		return;
	*end = 0;
	fputs(display->picture, display->out);
	fprintf(display->out, "and %u more lines; a taller window shows them\033[K\n", hidden);
	display->lines = rows - 1;
	*display->picture = 0;
}

static void draw_terminal(struct display *display, const struct agent_view *view, const char *extra)
{
	struct winsize size = { 0 };
	unsigned int width = 80, rows = UINT_MAX;

	if (ioctl(fileno(display->out), TIOCGWINSZ, &size) == 0) {
		/* the last column stays empty: what is erased behind it could take its character */
		width = size.ws_col >= 40 ? size.ws_col - 1u : 40;
		rows = size.ws_row >= 5 ? size.ws_row : UINT_MAX;
	}
	/* Another width broke the lines of the last picture elsewhere: begin on a clean screen. */
	if (display->drawn && display->width != width) {
		fputs("\033[2J\033[H", display->out);
		display->drawn = 0;
	}
	display->width = width;
	if (!compose(display, view, extra, rows, false))
		return;
	if (display->lines >= rows) {
		drop_picture(display);
		if (!compose(display, view, extra, rows, true))
			return;
	}
	if (display->drawn)
		fprintf(display->out, "\033[%uA\r", display->drawn);
	if (display->lines >= rows)
		cut(display, rows);
	fprintf(display->out, "%s\033[J", display->picture);
	fflush(display->out);
	display->drawn = display->lines;
	drop_picture(display);
}

static void draw_summary(struct display *display, const struct agent_view *view, const char *extra)
{
	char words[LINE_LEN], auc[16], pending[16];

	for (uint32_t i = 0; i < view->n_policies; i++) {
		const struct policy_view *p = &view->policy[i];

		if (p->watch.there)
			fprintf(display->out,
				"%s: %llu windows judged, %llu flagged, %llu processes found%s%s\n",
				p->name, (unsigned long long)p->watch.judged,
				(unsigned long long)p->watch.flagged,
				(unsigned long long)p->watch.findings, p->watch.note[0] ? "; " : "",
				p->watch.note);
		for (uint32_t k = 0; k < p->n_devices; k++) {
			const struct device_view *d = &p->device[k];

			display_device_words(p, d, words, sizeof(words));
			score(d->score.auc, auc, sizeof(auc));
			score(d->score.auc_pending, pending, sizeof(pending));
			fprintf(display->out, "%s %s: %s; %.0f reads/s", p->name, d->name, words,
				d->reads_per_s);
			if (d->has_model)
				fprintf(display->out, "; live AUC %s (%s alone %s), %llu judged",
					auc, baseline(d), pending,
					(unsigned long long)d->score.evaluated);
			fputc('\n', display->out);
		}
	}
	if (extra)
		fprintf(display->out, "load: %s\n", extra);
	fflush(display->out);
}

void display_draw(struct display *display, const struct agent_view *view, const char *extra)
{
	pthread_mutex_lock(&display->lock);
	if (display->terminal)
		draw_terminal(display, view, extra);
	else if (display->draws++ % SUMMARY_EVERY == 0)
		draw_summary(display, view, extra);
	pthread_mutex_unlock(&display->lock);
}
