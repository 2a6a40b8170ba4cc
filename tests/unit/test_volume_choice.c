// SPDX-License-Identifier: Apache-2.0
/*
 * test_volume_choice.c - when linnos's object for volumes moves a read, the object compiled for this machine as the simulation
 * has it (tests/bench/replica/sim/policy.c): by verdicts, from a slow leg to a fast one that is not much deeper, and only
 * where both legs' models have shown that choosing by them gains.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "tests/bench/replica/sim/sim.h"

#define NOW 1000000000ULL
#define TTL_NS 50000000ULL

static struct sim_volume volume;

/* Of two legs the first is the default's and foreseen to be slow, the second to be fast. */
static void begin(bool obey, bool choose_first, bool choose_second)
{
	memset(&volume, 0, sizeof(volume));
	volume.nr_legs = 2;
	volume.now_ns = NOW;
	sim_policy_start(&volume);
	sim_policy_model(0, NULL, obey, choose_first);
	sim_policy_model(1, NULL, obey, choose_second);
	sim_policy_verdict(0, true, NOW, TTL_NS);
	sim_policy_verdict(1, false, NOW, TTL_NS);
}

static int asked(void)
{
	struct semantos_blk_read read = {
		.id = 1, .now_ns = NOW, .nr_legs = 2, .eligible = 3, .default_leg = 0, .sectors = 8
	};

	return sim_policy_async(&volume, &read);
}

static void both_legs_must_have_shown_it(void **state)
{
	(void)state;
	begin(true, true, true);
	assert_int_equal(asked(), 1);
	assert_int_equal(sim_policy_decisions()->count[SEMANTOS_D_MOVED], 1);
	for (int k = 0; k < 3; k++) {
		begin(true, k == 1, k == 2);
		assert_int_equal(asked(), SEMANTOS_BLK_DEFAULT);
		assert_int_equal(sim_policy_decisions()->count[SEMANTOS_D_NO_SIGNAL], 1);
		assert_int_equal(sim_policy_decisions()->count[SEMANTOS_D_MOVED], 0);
	}
}

/* Below its floor a model is not obeyed, whatever it had shown when it was learned. */
static void not_without_signal(void **state)
{
	(void)state;
	begin(false, true, true);
	assert_int_equal(asked(), SEMANTOS_BLK_DEFAULT);
	assert_int_equal(sim_policy_decisions()->count[SEMANTOS_D_NO_SIGNAL], 1);
}

static void not_to_a_much_deeper_leg(void **state)
{
	(void)state;
	begin(true, true, true);
	volume.leg[0].inflight = 2;
	volume.leg[1].inflight = 2 + SEMANTOS_CLASS_DEEPER;
	assert_int_equal(asked(), 1);
	volume.leg[1].inflight++;
	assert_int_equal(asked(), SEMANTOS_BLK_DEFAULT);
	assert_int_equal(sim_policy_decisions()->count[SEMANTOS_D_AGREED], 1);
}

static void not_by_a_verdict_that_is_old(void **state)
{
	(void)state;
	begin(true, true, true);
	sim_policy_verdict(1, false, NOW - TTL_NS, TTL_NS);
	assert_int_equal(asked(), SEMANTOS_BLK_DEFAULT);
	assert_int_equal(sim_policy_decisions()->count[SEMANTOS_D_MOVED], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_legs_must_have_shown_it),
		cmocka_unit_test(not_without_signal),
		cmocka_unit_test(not_to_a_much_deeper_leg),
		cmocka_unit_test(not_by_a_verdict_that_is_old),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
