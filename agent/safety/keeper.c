// SPDX-License-Identifier: Apache-2.0
/*
 * keeper.c - the keeper's own process: waits for the agent to go or to fall silent, then undoes its changes.
 *
 * Must never end before the agent's changes are undone: termination signals are ignored, the end of the pipe is what
 * ends it. What it undid over a silent agent it looks at once more when that agent is gone, because a stopped agent
 * that goes on may have had one write left to make. One thread.
 */
#include "agent/safety/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "agent/safety/safety_internal.h"
#include "agent/safety/undo.h"
#include "agent/util/exitcode.h"
#include "agent/util/log.h"

#define TRIES 20 /* of undoing what could not be undone at once */
#define TRY_NS 50000000L
#define REMEMBERED_MAX (4 * BOOK_OPEN_MAX) /* of silences long past only the newest count */
#define POLL_MS 50 /* while the agent is silent */

/* A change undone over a silent agent, as it was before and after. */
struct undone {
	struct change before, after;
};

struct keeper {
	struct safety_options options;
	int fd;
	struct undone *undone; /* [n_undone] */
	size_t n_undone;
};

static bool is_remembered(const struct keeper *k, uint64_t id)
{
	for (size_t i = 0; i < k->n_undone; i++) {
		if (k->undone[i].before.id == id)
			return true;
	}
	return false;
}

/* Undo a copy, and keep it as it was before and after. 0 or -errno: it is still in force. */
static int undo_remembered(struct keeper *k, const struct safety *s, const struct change *change)
{
	struct undone *more = realloc(k->undone, (k->n_undone + 1) * sizeof(*more)), *u;

	if (!more)
		return -ENOMEM;
	k->undone = more;
	u = &k->undone[k->n_undone++];
	u->before = *change;
	u->after = *change;
	return change_undo(&u->after, s->root, s->boot_id, "the agent is silent", NULL);
}

/*
 * A take-over begins a new segment: the silent agent's file is then not the one in use, which it sees. What the agent
 * wrote between our reading and that moment stands at the end of the old segment and is taken along.
 */
static int take_over(struct safety *s, struct safety_error *error)
{
	struct record_stamp stamp;
	struct record **carry;
	size_t n;
	int err = book_carry(s->book, &carry, &n);

	if (err)
		return err;
	safety_stamp(s, &stamp);
	err = journal_rotate(s->journal, carry, n, &stamp, error);
	book_carry_free(carry, n);
	return err;
}

struct late {
	struct safety *s;
	uint64_t known; /* sequence number up to which we had read */
};

static int take_late(void *ctx, const struct record *record)
{
	struct late *late = ctx;
	struct safety_error error;
	int err;

	if (record->kind == RECORD_START || record->seq <= late->known)
		return 0;
	late->s->scratch = *record;
	err = safety_log_scratch(late->s, record->kind, &error);
	/* a disk that fails keeps us from recording it, not from undoing it */
	if (err)
		err = book_add(late->s->book, record);
	if (!err)
		late->known = record->seq;
	return err;
}

/* What is not taken along here is on no record that counts, so it is tried as often as an undo is. */
static void take_late_records(struct safety *s, uint64_t known)
{
	const struct timespec nap = { .tv_nsec = TRY_NS };
	struct late late = { s, known };
	struct journal_scan scan;
	struct safety_error error;
	char name[40];

	snprintf(name, sizeof(name), JOURNAL_ARCHIVE_NAME,
		(unsigned long long)journal_segment(s->journal) - 1);
	for (int i = 0; i < TRIES; i++) {
		int dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = -EBADF;

		if (dir_fd >= 0) {
			err = journal_scan_file(dir_fd, name, take_late, &late, &scan, &error);
			close(dir_fd);
		}
		if (!err)
			return;
		nanosleep(&nap, NULL);
	}
	log_warn("The keeper cannot read what the agent wrote last.");
}

/* The end of `now` as the first undo told it, unless the second one had something to write. */
static int undo_again(struct keeper *k, struct safety *s, struct change *now)
{
	unsigned int written = 0;
	int err = change_undo(now, s->root, s->boot_id, "the agent is silent", &written);

	for (size_t i = 0; i < k->n_undone && !err && written == 0; i++) {
		const struct change *first = &k->undone[i].after;

		if (first->id != now->id || change_open(first))
			continue;
		now->state = first->state;
		memcpy(now->why, first->why, sizeof(now->why));
	}
	return err;
}

/* The agent still holds the lock but does not answer. Number of changes still in force. */
static unsigned int undo_over_silent(struct keeper *k)
{
	struct safety_error error = { "" };
	unsigned int failed = 0;
	size_t n_before = k->n_undone;
	struct safety *s;
	uint64_t known, segment;

	if (safety_begin(&s, &k->options, JOURNAL_TAKE_OVER, &error)) {
		log_error("The keeper cannot read the journal: %s.", error.text);
		return 1;
	}
	if (k->n_undone > REMEMBERED_MAX) {
		memmove(k->undone, k->undone + k->n_undone - BOOK_OPEN_MAX,
			BOOK_OPEN_MAX * sizeof(*k->undone));
		k->n_undone = n_before = BOOK_OPEN_MAX;
	}
	/* the knobs come first: the agent may be silent because the journal's disk hangs */
	for (size_t i = 2 * s->book->n_changes; i-- > 0;) {
		const struct change *change = s->book->change[i % s->book->n_changes];
		bool last = i < s->book->n_changes;

		if (safety_abandoned(s, change) && change_waits(change) == last)
			failed += undo_remembered(k, s, change) != 0;
	}
	if (k->n_undone == n_before)
		goto out;
	known = journal_next_seq(s->journal) - 1;
	segment = journal_segment(s->journal);
	if (take_over(s, &error)) {
		log_error("The keeper cannot take the journal over: %s.", error.text);
		/* the old values stand, and the next recovery finds them so and records it */
		if (journal_segment(s->journal) == segment)
			goto out;
		/* in place, but not surely on the disk: what the agent wrote last must still be undone */
	}
	take_late_records(s, known);
	failed = 0;
	for (size_t i = s->book->n_changes; i-- > 0;) {
		struct change *change = s->book->change[i];

		if (!safety_abandoned(s, change))
			continue;
		if (!is_remembered(k, change->id))
			undo_remembered(k, s, change);
		if (undo_again(k, s, change)) {
			failed++;
			log_error("change %llu of %s is not undone: %s.",
				(unsigned long long)change->id, change->owner, change->why);
			continue;
		}
		safety_log_end(s, change, &error);
	}
out:
	safety_free(s);
	return failed;
}

/* The agent is gone: the lock is free, unless a new agent or `recover` is at it already. */
static unsigned int undo_after_death(struct keeper *k)
{
	struct safety_error error = { "" };
	struct safety_report report = { 0 };
	int err = safety_recover(&k->options, &report, &error);

	if (err == -EBUSY)
		return 0;
	if (err && !report.failed)
		log_error("The keeper cannot undo what the agent left: %s.", error.text);
	return err ? 1 : 0;
}

/* What was undone over a silent agent, which may have had one write left to make. Number that could not be looked at. */
static size_t look_again(struct keeper *k)
{
	struct safety_error error;
	struct safety *s;
	size_t left = 0;
	int err;

	if (k->n_undone == 0)
		return 0;
	err = safety_begin(&s, &k->options, JOURNAL_OWN, &error);
	if (err) {
		log_warn("The keeper cannot look again: %s.", error.text);
		/* another agent, or `recover`, is at it already */
		return err == -EBUSY ? 0 : k->n_undone;
	}
	for (size_t i = 0; i < k->n_undone; i++) {
		struct undone *u = &k->undone[i];
		struct change now = u->before;
		unsigned int written = 0;

		if (change_undo(&now, s->root, s->boot_id,
			    "the agent wrote once more before it ended", &written))
			k->undone[left++] = *u;
		else if (written > 0 && safety_log_change(s, &now, &error))
			log_warn("This could not be recorded: %s.", error.text);
	}
	k->n_undone = left;
	safety_free(s);
	return left;
}

/* Wait for a byte: its value, 0 = none in time, -1 = the agent is gone. */
static int next_byte(const struct keeper *k, int timeout_ms)
{
	struct pollfd p = { .fd = k->fd, .events = POLLIN };
	char bytes[256];
	ssize_t n;

	if (poll(&p, 1, timeout_ms) <= 0)
		return 0;
	n = read(k->fd, bytes, sizeof(bytes));
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -1;
	return n == 0 ? -1 : memchr(bytes, 'q', (size_t)n) ? 'q' : 'b';
}

static uint64_t monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int run(struct keeper *k)
{
	const struct timespec nap = { .tv_nsec = TRY_NS };
	uint64_t heard = monotonic_ms();
	bool silent = false;

	for (;;) {
		uint64_t quiet = monotonic_ms() - heard;
		int byte = next_byte(
			k, quiet < KEEPER_SILENCE_MS ? (int)(KEEPER_SILENCE_MS - quiet) : POLL_MS);

		if (byte == 'q')
			return EXIT_CODE_OK;
		if (byte < 0)
			break;
		if (byte == 'b') {
			if (silent)
				log_info("The agent is heard again.");
			silent = false;
			heard = monotonic_ms();
		} else if (!silent && monotonic_ms() - heard >= KEEPER_SILENCE_MS) {
			silent = undo_over_silent(k) == 0;
		}
	}
	for (int i = 0; i < TRIES; i++) {
		if (look_again(k) + undo_after_death(k) == 0)
			return EXIT_CODE_OK;
		nanosleep(&nap, NULL);
	}
	log_error("Something the agent changed is still in force: see `semantosctl history`, then "
		  "`semantosctl recover`.");
	return EXIT_CODE_FAILED;
}

/*
 * On a machine too busy or too short of memory for the agent to be heard, this is who must come to its turn. Real time,
 * because in a session of its own nice values count little (sched_autogroup); all it does is short and bounded.
 */
static void come_first(void)
{
	const struct sched_param lowest = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &lowest) < 0 &&
		setpriority(PRIO_PROCESS, 0, -20) < 0)
		log_debug("The keeper runs without priority: %s.", strerror(errno));
	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		log_debug("The keeper's memory is not locked: %s.", strerror(errno));
}

/* An agent that is gone already is noticed by the first read. */
static void say_ready(const struct keeper *k)
{
	send(k->fd, &(char){ KEEPER_READY }, 1, 0);
}

int keeper_main(int argc, char **argv)
{
	struct keeper k = { .fd = -1 };
	int code;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--dir") == 0)
			k.options.dir = argv[i + 1];
		else if (strcmp(argv[i], "--root") == 0)
			k.options.root = argv[i + 1];
		else if (strcmp(argv[i], "--fd") == 0)
			k.fd = (int)strtol(argv[i + 1], NULL, 10);
	}
	if (!k.options.dir || k.fd < 0 || fcntl(k.fd, F_SETFD, FD_CLOEXEC) < 0) {
		fprintf(stderr, KEEPER_NAME ": It is started by semantos-agent and not by hand.\n");
		return EXIT_CODE_USAGE;
	}
	prctl(PR_SET_NAME, KEEPER_NAME);
	come_first();
	/* a service manager that stops the agent signals us as well; the work begins only then */
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	say_ready(&k);
	code = run(&k);
	free(k.undone);
	return code;
}
