// SPDX-License-Identifier: Apache-2.0
/*
 * test_display.c - the live display, on a real pseudo terminal and in a plain file.
 *
 * What the terminal would show is rebuilt by a small screen that knows the few sequences the display sends; it counts
 * those it does not know, and any character that came into the last column's neighbour.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "agent/cli/display.h"
#include "tests/unit/fake_control.h"

#define ROWS 60
#define COLUMNS 200

static struct terminal {
	int master, slave;
	FILE *out;
	unsigned int rows, columns, row, column, unknown, overflow, scrolled;
	char cell[ROWS][COLUMNS + 1];
} term;

static void clear_from(unsigned int row, unsigned int column)
{
	for (unsigned int r = row; r < ROWS; r++)
		memset(term.cell[r] + (r == row ? column : 0), ' ',
			COLUMNS - (r == row ? column : 0));
}

static void open_terminal(unsigned short columns, unsigned short rows)
{
	struct winsize size = { .ws_row = rows, .ws_col = columns };
	struct termios raw;

	memset(&term, 0, sizeof(term));
	clear_from(0, 0);
	term.rows = rows;
	term.columns = columns;
	assert_int_equal(openpty(&term.master, &term.slave, NULL, NULL, &size), 0);
	tcgetattr(term.slave, &raw);
	cfmakeraw(&raw);
	tcsetattr(term.slave, TCSANOW, &raw);
	setenv("TERM", "xterm", 1);
	unsetenv("NO_COLOR");
	term.out = fdopen(term.slave, "w");
	assert_non_null(term.out);
}

static void close_terminal(void)
{
	fclose(term.out);
	close(term.master);
}

/* One escape sequence; returns its length. */
static size_t escape(const char *at)
{
	unsigned int n = 0;
	size_t i = 2;

	if (at[1] != '[')
		return term.unknown++, 1;
	for (; at[i] >= '0' && at[i] <= '9'; i++)
		n = n * 10 + (unsigned int)(at[i] - '0');
	switch (at[i]) {
	case 'A':
		term.unknown += n > term.row;
		term.row -= n > term.row ? term.row : n;
		break;
	case 'H':
		term.row = term.column = 0;
		break;
	case 'J':
		clear_from(n == 2 ? 0 : term.row, n == 2 ? 0 : term.column);
		break;
	case 'K':
		memset(term.cell[term.row] + term.column, ' ', COLUMNS - term.column);
		break;
	case 'm':
		break;
	default:
		term.unknown++;
	}
	return i + 1;
}

/* Take what the display wrote and put it on the screen. */
static void look(void)
{
	struct pollfd wait = { .fd = term.master, .events = POLLIN };
	static char text[1 << 16];
	size_t n = 0;

	while (poll(&wait, 1, 20) > 0 && n < sizeof(text) - 1) {
		ssize_t got = read(term.master, text + n, sizeof(text) - 1 - n);

		if (got <= 0)
			break;
		n += (size_t)got;
	}
	text[n] = 0;
	for (size_t i = 0; i < n;) {
		unsigned char c = (unsigned char)text[i];

		if (c == 0x1b) {
			i += escape(text + i);
			continue;
		}
		i++;
		if (c == '\n') {
			term.column = 0;
			if (++term.row >= term.rows) {
				term.scrolled++;
				term.row = term.rows - 1;
			}
		} else if (c == '\r') {
			term.column = 0;
		} else if (c < ' ') {
			term.unknown++;
		} else if ((c & 0xc0) != 0x80) {
			term.overflow += term.column >= term.columns - 1;
			if (term.column < COLUMNS)
				term.cell[term.row][term.column++] = (char)c;
		}
	}
}

/* Words as they stand on the screen, whatever lines they were broken into. */
static bool shows(const char *words)
{
	static char all[ROWS * (COLUMNS + 1)];
	size_t n = 0;

	for (unsigned int row = 0; row < ROWS; row++) {
		for (unsigned int column = 0; column < COLUMNS; column++) {
			char c = term.cell[row][column];

			if (c != ' ' || (n && all[n - 1] != ' '))
				all[n++] = c;
		}
		if (n && all[n - 1] != ' ')
			all[n++] = ' ';
	}
	all[n] = 0;
	return strstr(all, words) != NULL;
}

static void draw(struct display *display, const struct agent_view *view, const char *extra)
{
	display_draw(display, view, extra);
	look();
	assert_int_equal(term.unknown, 0);
	assert_int_equal(term.overflow, 0);
	assert_int_equal(term.scrolled, 0);
}

static void every_width_shows_every_word(void **state)
{
	static const unsigned short widths[] = { 60, 80, 120, 199 };

	(void)state;
	for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
		struct agent_view view;
		struct display *display;

		open_terminal(widths[i], ROWS);
		display = display_new(term.out);
		assert_int_equal(control_view(NULL, NULL, &view), 0);
		for (int round = 0; round < 3; round++)
			draw(display, &view, "exercising /mnt: 17 reads, 3 MiB written");
		assert_true(shows("linnos as canary: obeyed for 20 % of the requests"));
		assert_true(shows("Held in shadow: nothing here enforces yet."));
		assert_true(
			shows("nvme0n1 predicting with model linnos-nvme0n1; a slow read takes"));
		assert_true(shows("judged 1234567 predictions"));
		assert_true(shows("fast (confidence 78 %)"));
		assert_true(shows("on later ones, held out, AUC 0.71 (95 % sure of 0.69)"));
		assert_true(shows("vda learning: Note on device 1."));
		assert_true(shows("pmem0 not followed: Note on device 2."));
		assert_true(shows("requests that found the ring full"));
		assert_true(shows("load exercising /mnt: 17 reads, 3 MiB written"));
		display_free(display);
		control_view_free(&view);
		close_terminal();
	}
}

static void a_low_window_keeps_every_disk(void **state)
{
	struct agent_view view;
	struct display *display;

	(void)state;
	open_terminal(80, 24);
	display = display_new(term.out);
	assert_int_equal(control_view(NULL, NULL, &view), 0);
	memset(view.policy[0].counters.count, 0, sizeof(view.policy[0].counters.count));
	for (int round = 0; round < 3; round++)
		draw(display, &view, NULL);
	assert_true(shows("nvme0n1") && shows("vda") && shows("pmem0"));
	display_free(display);
	close_terminal();

	open_terminal(80, 8);
	display = display_new(term.out);
	for (int round = 0; round < 3; round++)
		draw(display, &view, NULL);
	assert_true(shows("more lines; a taller window shows them"));
	display_free(display);
	control_view_free(&view);
	close_terminal();
}

static void a_changed_width_starts_anew(void **state)
{
	struct winsize size = { .ws_row = 40, .ws_col = 50 };
	struct agent_view view;
	struct display *display;

	(void)state;
	open_terminal(120, 40);
	display = display_new(term.out);
	assert_int_equal(control_view(NULL, NULL, &view), 0);
	draw(display, &view, NULL);
	assert_int_equal(ioctl(term.slave, TIOCSWINSZ, &size), 0);
	term.columns = 50;
	draw(display, &view, NULL);
	assert_memory_equal(term.cell[0], "semantos", 8);
	display_free(display);
	control_view_free(&view);
	close_terminal();
}

static void each_phase_is_told(void **state)
{
	struct device_view d = { .name = "vdb", .rows_wanted = 6000, .slow_threshold_us = 1500 };
	char text[256];

	(void)state;
#define told(part)                                                      \
	do {                                                            \
		display_device_words(NULL, &d, text, sizeof(text));     \
		if (!strstr(text, part))                                \
			fail_msg("'%s' does not say '%s'", text, part); \
	} while (0)
	told("idle: no reads to learn from yet");
	d.phase = DEVICE_LEARNING;
	d.rows = 3000;
	d.reads_per_s = 100;
	told("3000 of 6000 reads (50 %)");
	d.reads_per_s = 0;
	told("idle now (--exercise DIR makes reads)");
	d.rows = 7000;
	told("7000 reads, enough");
	strcpy(d.note, "training on 7000 reads");
	told("learning: training on 7000 reads");
	d.phase = DEVICE_PREDICTING;
	strcpy(d.model, "m");
	told("model m; a slow read takes 1.5 ms or more");
	d.phase = DEVICE_UNSUPPORTED;
	strcpy(d.note, "it is bio-only.");
	told("not followed: it is bio-only.");
	d.phase = DEVICE_GONE;
	told("gone");
}

static void a_sentence_no_picture_showed_is_printed_at_the_end(void **state)
{
	struct agent_view view;
	struct display *display;

	(void)state;
	open_terminal(80, 40);
	display = display_new(term.out);
	display_log(display, LOG_LEVEL_ERROR, "No policy 'nosuch' here.");
	display_free(display);
	look();
	assert_true(shows("No policy 'nosuch' here."));
	close_terminal();

	open_terminal(80, 40);
	display = display_new(term.out);
	assert_int_equal(control_view(NULL, NULL, &view), 0);
	display_log(display, LOG_LEVEL_INFO, "first");
	draw(display, &view, NULL);
	assert_true(shows("log first"));
	display_log(display, LOG_LEVEL_INFO, "last \x1b[2J\a words");
	display_free(display);
	look();
	assert_int_equal(term.unknown, 0);
	assert_true(shows("last ?[2J? words"));
	assert_true(shows("log first"));
	control_view_free(&view);
	close_terminal();
}

static void names_cannot_reach_the_terminal(void **state)
{
	struct agent_view view;
	struct display *display;

	(void)state;
	open_terminal(80, 60);
	display = display_new(term.out);
	assert_int_equal(control_view(NULL, NULL, &view), 0);
	strcpy(view.policy[0].device[0].name, "\x1b]0;x\a");
	strcpy(view.policy[0].device[2].note, "\x1b[31mred\nline");
	draw(display, &view, NULL);
	assert_true(shows("?]0;x?"));
	assert_true(shows("?[31mred?line"));
	display_free(display);
	control_view_free(&view);
	close_terminal();
}

static void a_file_gets_lines_without_escapes(void **state)
{
	char text[8192] = "", name[] = "/tmp/semantos-display-XXXXXX";
	int fd = mkstemp(name);
	FILE *file = fdopen(fd, "w+");
	struct display *display = display_new(file);
	struct agent_view view;
	size_t n;

	(void)state;
	unlink(name);
	assert_int_equal(control_view(NULL, NULL, &view), 0);
	display_log(display, LOG_LEVEL_INFO, "A sentence.");
	for (int i = 0; i < 11; i++)
		display_draw(display, &view, "busy");
	display_free(display);
	rewind(file);
	n = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	assert_true(n > 0);
	assert_null(strchr(text, 0x1b));
	assert_non_null(strstr(text, "A sentence.\n"));
	assert_non_null(strstr(text, "linnos nvme0n1: predicting"));
	/* two summaries of eleven pictures */
	assert_non_null(strstr(strstr(text, "load: busy") + 1, "load: busy"));
	control_view_free(&view);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_width_shows_every_word),
		cmocka_unit_test(a_low_window_keeps_every_disk),
		cmocka_unit_test(a_changed_width_starts_anew),
		cmocka_unit_test(each_phase_is_told),
		cmocka_unit_test(a_sentence_no_picture_showed_is_printed_at_the_end),
		cmocka_unit_test(names_cannot_reach_the_terminal),
		cmocka_unit_test(a_file_gets_lines_without_escapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
