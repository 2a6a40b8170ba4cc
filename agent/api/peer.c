/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer.c - credentials of a Unix socket's other end, mapped to a role.
 *
 * Must never grant on doubt: a credential that cannot be read is a denied peer. No state, any thread.
 */
#include "agent/api/peer.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define GROUP_BUFFER_BYTES (256u << 10) /* a group line lists its members: large ones exist */

static gid_t gid_of(const char *name)
{
	struct group group, *found = NULL;
	gid_t gid = PEER_NO_GROUP;
	char *buffer = malloc(GROUP_BUFFER_BYTES);

	if (!buffer)
		return gid;
	if (getgrnam_r(name, &group, buffer, GROUP_BUFFER_BYTES, &found) == 0 && found)
		gid = found->gr_gid;
	free(buffer);
	return gid;
}

static uid_t uid_of(const char *name)
{
	struct passwd user, *found = NULL;
	uid_t uid = PEER_NO_USER;
	char *buffer = malloc(GROUP_BUFFER_BYTES);

	if (!buffer)
		return uid;
	if (getpwnam_r(name, &user, buffer, GROUP_BUFFER_BYTES, &found) == 0 && found)
		uid = found->pw_uid;
	free(buffer);
	return uid;
}

void peer_policy_load(struct peer_policy *policy)
{
	policy->own_uid = geteuid();
	policy->advisor_uid = uid_of(PEER_ADVISOR_USER);
	policy->reader_gid = gid_of(PEER_READER_GROUP);
	policy->operator_gid = gid_of(PEER_OPERATOR_GROUP);
}

int peer_of(int fd, struct peer *peer)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	peer->pid = cred.pid;
	peer->uid = cred.uid;
	peer->gid = cred.gid;

	len = sizeof(peer->group);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, peer->group, &len) < 0) {
		peer->n_groups = 0;
		return errno == ERANGE ? -E2BIG : -errno;
	}
	peer->n_groups = len / sizeof(peer->group[0]);
	return 0;
}

static bool in_group(const struct peer *peer, gid_t gid)
{
	if (gid == PEER_NO_GROUP)
		return false;
	if (peer->gid == gid)
		return true;
	for (uint32_t i = 0; i < peer->n_groups; i++) {
		if (peer->group[i] == gid)
			return true;
	}
	return false;
}

enum api_role peer_role(const struct peer *peer, const struct peer_policy *policy)
{
	if (peer->uid == 0)
		return API_ROOT;
	/* before its groups are looked at: whatever they are, it may no more than this */
	if (peer->uid == policy->advisor_uid && policy->advisor_uid != PEER_NO_USER)
		return API_ADVISOR;
	if (in_group(peer, policy->operator_gid))
		return API_OPERATOR;
	if (peer->uid == policy->own_uid || in_group(peer, policy->reader_gid))
		return API_READER;
	return API_DENIED;
}
