// SPDX-License-Identifier: Apache-2.0
/*
 * semantos-keeper.c - the program that undoes the agent's changes when the agent is gone; see agent/safety/keeper.h.
 *
 * Started by the agent and never by hand. Nothing else lives here, and it needs nothing but libc and zlib.
 */
#include "agent/safety/keeper.h"

int main(int argc, char **argv)
{
	return keeper_main(argc, argv);
}
