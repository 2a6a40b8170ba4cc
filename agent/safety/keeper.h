/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper.h - a small process that undoes the agent's changes when the agent is gone or silent.
 *
 * Both hold an end of a socket pair. The keeper says once that it watches, and no change of mode auto is begun before;
 * the agent sends a byte at least every KEEPER_BEAT_MS. End of file: the agent is
 * gone, every change of mode auto is undone. Silence: the same, by taking the journal over; when the agent comes back
 * it finds its changes ended. The keeper never begins a change and opens nothing but journal and knobs.
 */
#ifndef SEMANTOS_SAFETY_KEEPER_H
#define SEMANTOS_SAFETY_KEEPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "agent/safety/journal.h"

#define KEEPER_NAME "semantos-keeper"
#define KEEPER_BEAT_MS 100
#define KEEPER_READY 'r' /* what it says when it watches */
#define KEEPER_READY_MS 2000 /* to start on a busy machine */
#define KEEPER_SILENCE_MS 400 /* with the undo itself well inside the second that is promised */
#define KEEPER_RESTARTS \
	5 /* within KEEPER_RESTART_NS, then it is given up until that time has passed */
#define KEEPER_RESTART_NS 10000000000ULL

/* The agent's end. Zeroed = no keeper. */
struct keeper_link {
	int fd; /* our end, non-blocking */
	pid_t pid; /* 0 = none */
	bool ready; /* it said that it watches */
	char path[512], dir[512], root[512];
	uint64_t started_ns[KEEPER_RESTARTS]; /* monotonic, a ring */
	unsigned int n_started;
};

/* Start the program link->path. 0, or -errno with a sentence. */
int keeper_start(struct keeper_link *link, struct safety_error *error);
bool keeper_alive(struct keeper_link *link); /* reaps a dead one */
/*
 * Does it watch? A program takes a while to start, on a busy machine longer than it may take to undo: waits up to
 * KEEPER_READY_MS the first time.
 */
bool keeper_ready(struct keeper_link *link);
int keeper_beat(struct keeper_link *link); /* 0, -EPIPE: there is none */
/*
 * Let the keeper go. goodbye: there is nothing to undo, and the keeper ends at once (it is waited for, a second at
 * most). Without it the keeper finds the pipe closed and undoes what is in force.
 */
void keeper_end(struct keeper_link *link, bool goodbye);

/* The keeper's own main(): --dir, --root, --fd. Returns an exit code. */
int keeper_main(int argc, char **argv);

#endif
