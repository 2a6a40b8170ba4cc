/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer.h - who is at the other end of a connection, and what that person may do.
 *
 * Only what the kernel says counts: SO_PEERCRED and SO_PEERGROUPS as they stood when the peer connected. Nothing is
 * read from /proc, where a process id could have been reused meanwhile. Pure functions, any thread.
 */
#ifndef SEMANTOS_API_PEER_H
#define SEMANTOS_API_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PEER_OPERATOR_GROUP "semantos-admin"
#define PEER_READER_GROUP "semantos"
#define PEER_ADVISOR_USER "semantos-advisor"
#define PEER_NO_GROUP ((gid_t) - 1)
#define PEER_NO_USER ((uid_t) - 1)

/* In rising order: each may do what the ones before it may, but for the advisor, which has calls of its own. */
enum api_role {
	API_DENIED, /* every call answers PERMISSION_DENIED */
	API_ADVISOR, /* proposes, and looks at the telemetry */
	API_READER, /* sees */
	API_OPERATOR, /* changes */
	API_ROOT, /* ends the agent */
	API_ROLES,
};

#define PEER_MAX_GROUPS 1024

struct peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	uint32_t n_groups;
	gid_t group[PEER_MAX_GROUPS]; /* supplementary */
};

/* Which numbers mean what on this machine; looked up once, by peer_policy_load(). */
struct peer_policy {
	uid_t own_uid; /* the agent's: may read even when no group exists */
	uid_t advisor_uid; /* PEER_NO_USER = no such user */
	gid_t reader_gid, operator_gid; /* PEER_NO_GROUP = no such group */
};

void peer_policy_load(struct peer_policy *policy);

/* Credentials of the process that connected `fd`. 0 or -errno (-E2BIG: more groups than are looked at). */
int peer_of(int fd, struct peer *peer);

enum api_role peer_role(const struct peer *peer, const struct peer_policy *policy);

#endif
