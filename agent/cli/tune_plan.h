/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_plan.h - `semantosctl tune --dry-run`: what would be asked, what each source says now, which knobs match.
 */
#ifndef SEMANTOS_CLI_TUNE_PLAN_H
#define SEMANTOS_CLI_TUNE_PLAN_H

#include "agent/cli/ctl.h"
#include "agent/cli/tune_wish.h"
#include "agent/cli/tune_sources.h"

/*
 * After tune_sources_first(). Exit code: not 0 when a source cannot be measured, a pattern of --knob fits nothing here, or
 * the agent is needed and cannot be asked; all else is shown first.
 */
int tune_plan(
	const struct ctl *ctl, const struct tune_wish *wish, const struct tune_sources *sources);

#endif
