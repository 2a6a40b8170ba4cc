// SPDX-License-Identifier: Apache-2.0
/*
 * breaker.c - a policy ejected three times within ten minutes stays out until a person lets it in again.
 *
 * Ages: within one boot by uptime. An ejection of an earlier boot is at least as old as this boot; beyond that the
 * wall clock is asked, and a clock that was set back makes the ejection recent, never forgotten. An ejection that was
 * the environment's fault is on record and counts for nothing. One thread at a time.
 */
#include "agent/safety/breaker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent/safety/safety_internal.h"
#include "agent/util/log.h"

uint64_t breaker_age_ns(const struct record_stamp *then, const struct record_stamp *now)
{
	uint64_t wall = now->real_ns > then->real_ns ? now->real_ns - then->real_ns : 0;

	if (strcmp(then->boot_id, now->boot_id) == 0)
		return now->boot_ns > then->boot_ns ? now->boot_ns - then->boot_ns : 0;
	return wall > now->boot_ns ? wall : now->boot_ns;
}

unsigned int breaker_count(
	const struct book *book, const char *policy, const struct record_stamp *now)
{
	unsigned int n = 0;

	for (size_t i = 0; i < book->n_exits; i++) {
		const struct book_exit *e = &book->exit[i];

		n += !e->forgiven && !e->exit.environment && strcmp(e->exit.policy, policy) == 0 &&
		     breaker_age_ns(&e->stamp, now) < BREAKER_WINDOW_NS;
	}
	return n;
}

static bool policy_name_ok(const char *policy, struct safety_error *error)
{
	size_t n = strnlen(policy, RECORD_OWNER_MAX);

	if (n > 0 && n < RECORD_OWNER_MAX)
		return true;
	safety_say(error, "a policy's name has 1 to %d bytes", RECORD_OWNER_MAX - 1);
	return false;
}

static int put_in_quarantine(struct safety *s, const char *policy, unsigned int n,
	const char *reason, struct safety_error *error)
{
	struct quarantine *quarantine = &s->scratch.quarantine;
	int err;

	memset(quarantine, 0, sizeof(*quarantine));
	quarantine->on = 1;
	record_text(quarantine->policy, sizeof(quarantine->policy), policy);
	snprintf(quarantine->sentence, sizeof(quarantine->sentence),
		"%.63s was ejected %u times within 10 minutes, the last time because %.300s",
		policy, n, reason);
	err = safety_log_scratch(s, RECORD_QUARANTINE, error);
	if (!err)
		log_error(
			"%.63s is quarantined: %s. Lift it with `semantosctl unquarantine %.63s`.",
			policy, quarantine->sentence, policy);
	return err;
}

int safety_exit(struct safety *s, const struct exit_record *exit, bool *quarantined,
	struct safety_error *error)
{
	struct record_stamp now;
	unsigned int n;
	int err;

	*quarantined = false;
	if (!policy_name_ok(exit->policy, error))
		return -EINVAL;
	err = safety_ready(s, false, error);
	if (err)
		return err;
	s->scratch.exit = *exit;
	s->scratch.exit.environment = exit->environment != 0;
	record_text(s->scratch.exit.reason, RECORD_TEXT_MAX, exit->reason);
	record_text(s->scratch.exit.evidence, RECORD_TEXT_MAX, exit->evidence);
	err = safety_log_scratch(s, RECORD_EXIT, error);
	if (err)
		return err;
	log_warn("%s was ejected (%s, %s): %s.", exit->policy, exit->kind,
		exit->environment ? "not its fault" : "its fault", exit->reason);
	*quarantined = book_quarantined(s->book, exit->policy);
	safety_stamp(s, &now);
	n = breaker_count(s->book, exit->policy, &now);
	if (*quarantined || n < BREAKER_EJECTIONS)
		return 0;
	err = put_in_quarantine(s, exit->policy, n, exit->reason, error);
	*quarantined = !err;
	return err;
}

/* An agent that died between the last ejection and the quarantine that had to follow it: the count as it was then. */
static int catch_up_quarantine(struct safety *s, const char *policy, struct safety_error *error)
{
	for (size_t i = s->book->n_exits; i-- > 0;) {
		const struct book_exit *e = &s->book->exit[i];
		unsigned int n;

		if (strcmp(e->exit.policy, policy) != 0)
			continue;
		n = breaker_count(s->book, policy, &e->stamp);
		return n < BREAKER_EJECTIONS
			       ? 0
			       : put_in_quarantine(s, policy, n, e->exit.reason, error);
	}
	return 0;
}

int safety_admit(struct safety *s, const char *policy, struct safety_error *error)
{
	int err = safety_ready(s, false, error);

	if (!err && !book_quarantined(s->book, policy))
		err = catch_up_quarantine(s, policy, error);
	if (err)
		return err;
	for (size_t i = 0; i < s->book->n_quarantine; i++) {
		if (strcmp(s->book->quarantine[i].policy, policy) != 0)
			continue;
		safety_say(error, "%s. Lift the quarantine with `semantosctl unquarantine %.60s`",
			s->book->quarantine[i].sentence, policy);
		return -EPERM;
	}
	return 0;
}

int safety_unquarantine(struct safety *s, const char *policy, struct safety_error *error)
{
	int err = safety_ready(s, false, error);

	if (err)
		return err;
	if (!book_quarantined(s->book, policy)) {
		safety_say(error,
			"policy %.60s is not quarantined; `semantosctl history` lists those that "
			"are",
			policy);
		return -ENOENT;
	}
	memset(&s->scratch.quarantine, 0, sizeof(s->scratch.quarantine));
	record_text(s->scratch.quarantine.policy, RECORD_OWNER_MAX, policy);
	snprintf(s->scratch.quarantine.sentence, RECORD_TEXT_MAX,
		"the quarantine of %.60s was lifted", policy);
	return safety_log_scratch(s, RECORD_QUARANTINE, error);
}
