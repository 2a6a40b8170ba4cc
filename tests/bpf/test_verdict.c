// SPDX-License-Identifier: Apache-2.0
/*
 * test_verdict.c - which verdict words the kernel side obeys: fresh, of the slot's generation, under a living lease.
 */
#include "tests/bpf/wrap.h"

#define DEV (259u << 20 | 3)
#define SLOT 5
#define TTL_NS 50000000ULL
#define US 1000ULL

static uint64_t start_ns; /* the kernel's clock when the lease was renewed last */

static void renew(struct wrap *wrap)
{
	assert_int_equal(bpf_lease_renew(&wrap->lease), 0);
	start_ns = wrap->lease.row->expires_ns - SEMANTOS_LEASE_NS;
}

static void open_with_history(struct wrap *wrap)
{
	wrap_open(wrap, 1000000, 65536);
	wrap_slot_add(wrap, SLOT, DEV, 1, 32);
	renew(wrap);
	for (uint32_t i = 0; i < 4; i++) {
		wrap_event(wrap, WRAP_ISSUE, SLOT, DEV, 1, i, 0, 8, start_ns);
		wrap_event(wrap, WRAP_COMPLETE, SLOT, DEV, 1, i, 0, 8, start_ns + 1);
	}
}

static void store(struct wrap *wrap, uint64_t word)
{
	__atomic_store_n((uint64_t *)&wrap->policy.verdicts[SLOT].verdict, word, __ATOMIC_RELEASE);
}

/* The class the kernel side would obey for a read issued at now_ns. */
static uint8_t in_force(struct wrap *wrap, uint64_t now_ns)
{
	wrap_event(wrap, WRAP_ISSUE, SLOT, DEV, 1, 9, 0, 8, now_ns);
	wrap_event(wrap, WRAP_COMPLETE, SLOT, DEV, 1, 9, 0, 8, now_ns + 10 * US);
	assert_int_equal(wrap_drain(wrap), 2);
	return wrap->record[0].class_in_force;
}

static uint32_t generation(struct wrap *wrap)
{
	return wrap->policy.slots[SLOT].generation;
}

static void fresh_verdict_is_obeyed_until_it_expires(void **state)
{
	struct wrap wrap;

	(void)state;
	open_with_history(&wrap);
	assert_int_equal(
		in_force(&wrap, start_ns + 100 * US), SEMANTOS_CLASS_DEFAULT); /* no verdict yet */
	store(&wrap, semantos_verdict_pack(start_ns + TTL_NS, generation(&wrap), 200, 1));
	assert_int_equal(in_force(&wrap, start_ns + 1000 * US), 1);
	assert_int_equal(wrap.record[0].confidence_in_force, 200);
	assert_int_equal(in_force(&wrap, start_ns + TTL_NS - 200 * US), 1);
	assert_int_equal(in_force(&wrap, start_ns + TTL_NS), SEMANTOS_CLASS_DEFAULT);
	assert_int_equal(in_force(&wrap, start_ns + TTL_NS + 1000 * US), SEMANTOS_CLASS_DEFAULT);
	wrap_close(&wrap);
}

static void verdict_further_off_than_the_ttl_is_ignored(void **state)
{
	struct wrap wrap;

	(void)state;
	open_with_history(&wrap);
	store(&wrap,
		semantos_verdict_pack(start_ns + TTL_NS + 10000 * US, generation(&wrap), 200, 1));
	assert_int_equal(in_force(&wrap, start_ns + 1000 * US), SEMANTOS_CLASS_DEFAULT);
	store(&wrap, semantos_verdict_pack(~0ULL, generation(&wrap), 255, 1));
	assert_int_equal(in_force(&wrap, start_ns + 1000 * US), SEMANTOS_CLASS_DEFAULT);
	wrap_close(&wrap);
}

static void verdict_of_another_generation_is_ignored(void **state)
{
	struct wrap wrap;

	(void)state;
	open_with_history(&wrap);
	store(&wrap, semantos_verdict_pack(start_ns + TTL_NS, generation(&wrap), 200, 1));
	assert_int_equal(in_force(&wrap, start_ns + 1000 * US), 1);
	assert_int_equal(wrap_slot_command(&wrap, SEMANTOS_CTL_SLOT_BUMP, SLOT, 0), 0);
	assert_int_equal(in_force(&wrap, start_ns + 1100 * US), SEMANTOS_CLASS_DEFAULT);
	wrap_close(&wrap);
}

static void dead_lease_silences_every_verdict(void **state)
{
	struct wrap wrap;
	struct bpf_lease gone;

	(void)state;
	open_with_history(&wrap);
	/* Long enough that only the lease can be what ends it. */
	store(&wrap, semantos_verdict_pack(start_ns + SEMANTOS_LEASE_NS + TTL_NS - 5000 * US,
			     generation(&wrap), 200, 1));
	assert_int_equal(in_force(&wrap, start_ns + SEMANTOS_LEASE_NS - 1000 * US), 1);
	assert_int_equal(in_force(&wrap, start_ns + SEMANTOS_LEASE_NS), SEMANTOS_CLASS_DEFAULT);
	/* Given up on purpose it ends at once. */
	renew(&wrap);
	store(&wrap, semantos_verdict_pack(start_ns + TTL_NS, generation(&wrap), 200, 1));
	assert_int_equal(in_force(&wrap, start_ns + 100 * US), 1);
	gone = wrap.lease;
	bpf_lease_release(&gone);
	assert_int_equal(in_force(&wrap, start_ns + 200 * US), SEMANTOS_CLASS_DEFAULT);
	wrap_close(&wrap);
}

static void late_store_is_born_stale(void **state)
{
	struct wrap wrap;
	uint64_t word;

	(void)state;
	open_with_history(&wrap);
	wrap_event(&wrap, WRAP_ISSUE, SLOT, DEV, 1, 8, 0, 8, start_ns);
	assert_int_equal(wrap_drain(&wrap), 1);
	/* What the agent does: expiry and generation are the record's. Then it was stopped before the store. */
	word = semantos_verdict_pack(
		wrap.record[0].head.ts_ns + TTL_NS, wrap.record[0].head.generation, 255, 1);
	renew(&wrap);
	store(&wrap, word);
	assert_int_equal(in_force(&wrap, wrap.record[0].head.ts_ns + TTL_NS + 1000 * US),
		SEMANTOS_CLASS_DEFAULT);
	wrap_close(&wrap);
}

static void expiry_survives_the_wrap_of_its_counter(void **state)
{
	uint64_t wrap_ns = (SEMANTOS_EXPIRES_MASK + 1) << SEMANTOS_EXPIRES_SHIFT;
	uint64_t now = wrap_ns - 10000 * US;

	(void)state;
	assert_true(semantos_verdict_fresh(
		semantos_verdict_pack(now + TTL_NS, 3, 1, 1), 3, TTL_NS, now));
	assert_true(semantos_verdict_fresh(
		semantos_verdict_pack(now + TTL_NS, 3, 1, 1), 3, TTL_NS, now + 20000 * US));
	assert_false(semantos_verdict_fresh(
		semantos_verdict_pack(now + TTL_NS, 3, 1, 1), 3, TTL_NS, now + 60000 * US));
	assert_false(semantos_verdict_fresh(
		semantos_verdict_pack(now, 3, 1, 1), 3, TTL_NS, now + 100 * US));
	assert_false(semantos_verdict_fresh(0, 0, TTL_NS, now));
}

static void word_and_bits_are_the_same(void **state)
{
	struct semantos_verdict_bits bits;
	uint64_t word = semantos_verdict_pack(0x123456789abc0000ULL, 0xabc, 0x5a, 0x7);

	(void)state;
	memcpy(&bits, &word, sizeof(bits));
	assert_int_equal(bits.class, 7);
	assert_int_equal(bits.confidence, 0x5a);
	assert_int_equal(bits.generation, 0xabc);
	assert_int_equal(bits.expires_65us, 0x3456789abcULL);
	assert_int_equal(semantos_verdict_class(word), 7);
	assert_int_equal(semantos_verdict_confidence(word), 0x5a);
	assert_int_equal(semantos_verdict_generation(word), 0xabc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fresh_verdict_is_obeyed_until_it_expires),
		cmocka_unit_test(verdict_further_off_than_the_ttl_is_ignored),
		cmocka_unit_test(verdict_of_another_generation_is_ignored),
		cmocka_unit_test(dead_lease_silences_every_verdict),
		cmocka_unit_test(late_store_is_born_stale),
		cmocka_unit_test(expiry_survives_the_wrap_of_its_counter),
		cmocka_unit_test(word_and_bits_are_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
