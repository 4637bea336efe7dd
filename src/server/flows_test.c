// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/flows.h"

#define MS 1000000ull
#define S 1000000000ull

/* Users who ask so often, each request costing so much, served by one thread in simulated time. */
struct user {
	const char *name;
	uint64_t every, cost;          // nanoseconds; every 0: always as many as may wait
	uint64_t served, refused, worst_wait, next;
};

struct ask { struct flow_ticket t; struct user *who; uint64_t at; };

static void serve(struct flows *f, struct ask *a, uint64_t *now)
{
	uint64_t wait = *now - a->at;

	if (wait > a->who->worst_wait)
		a->who->worst_wait = wait;
	*now += a->who->cost;
	flow_charge(&a->t, a->who->cost);
	flows_leave(f, &a->t);
	a->who->served++;
	free(a);
}

static void ask(struct flows *f, struct user *u, uint64_t *now)
{
	struct ask *a = calloc(1, sizeof *a);

	a->who = u;
	a->at = *now;
	switch (flows_ask(f, &a->t, u->name, *now)) {
	case FLOW_GO:
		serve(f, a, now);
		break;
	case FLOW_REFUSE:
		u->refused++;
		free(a);
		break;
	case FLOW_WAIT:
		break;
	}
}

static void simulate(struct flows *f, struct user *users, size_t n, uint64_t *now, uint64_t span)
{
	struct flow_ticket *t;
	uint64_t end = *now + span, at;

	while (*now < end) {
		for (size_t i = 0; i < n; i++) {
			uint64_t refused = users[i].refused;
			for (int k = 0; k < 4 && !users[i].every && users[i].refused == refused; k++)
				ask(f, &users[i], now);
			for (; users[i].every && users[i].next <= *now; users[i].next = *now + users[i].every)
				ask(f, &users[i], now);
		}
		while ((t = flows_next(f, *now, &at))) {
			struct ask *a = (struct ask *)t;
			if (!t->late) {
				serve(f, a, now);
				continue;
			}
			a->who->refused++;
			flows_leave(f, t);
			free(a);
		}
		*now += MS / 10;
	}
	while ((t = flows_next(f, UINT64_MAX / 2, &at))) {
		flows_leave(f, t);
		free(t);
	}
}

static void a_flood_does_not_slow_others(void **state)
{
	struct flows *f = flows_new(800 * MS);
	struct user users[] = { { .name = "flood", .cost = MS }, { .name = "calm", .every = 20 * MS, .cost = MS } };
	uint64_t now = S;

	(void)state;
	simulate(f, users, 2, &now, 10 * S);
	assert_int_equal(users[1].refused, 0);
	assert_in_range(users[1].served, 400, 510);              // all it asked for
	assert_true(users[1].worst_wait < 10 * MS);
	assert_in_range(users[0].served, 6500, 8000);            // the rest of 8 s of work
	assert_true(users[0].refused > 0);
	flows_free(f);
}

static void two_floods_get_the_same(void **state)
{
	struct flows *f = flows_new(500 * MS);
	struct user users[] = { { .name = "cheap", .cost = MS / 2 }, { .name = "dear", .cost = 5 * MS } };
	uint64_t now = S;

	(void)state;
	simulate(f, users, 2, &now, 10 * S);
	uint64_t cheap = users[0].served * (MS / 2), dear = users[1].served * 5 * MS;
	assert_in_range(cheap, 2 * S, 3 * S);                    // of 5 s: by time, not by number
	assert_in_range(dear, 2 * S, 3 * S);
	flows_free(f);
}

static void alone_one_gets_all(void **state)
{
	struct flows *f = flows_new(500 * MS);
	struct user users[] = { { .name = "one", .cost = MS } };
	struct flow_counts c;
	uint64_t now = S;

	(void)state;
	simulate(f, users, 1, &now, 10 * S);
	assert_in_range(users[0].served, 4500, 5300);
	flows_counts(f, &c);
	assert_int_equal(c.users, 1);
	assert_int_equal(c.in_flight, 0);
	assert_int_equal(c.waiting, 0);
	assert_true(c.waited_total > 0 && c.refused_total > 0);
	flows_free(f);
}

static void long_waits_end_in_refusal(void **state)
{
	struct flows *f = flows_new(S);
	struct flow_ticket dear = { 0 }, later = { 0 }, gone = { 0 };
	uint64_t at, now = S;

	(void)state;
	assert_int_equal(flows_ask(f, &dear, "u", now), FLOW_GO);
	flow_charge(&dear, 60 * S);
	flows_leave(f, &dear);
	assert_int_equal(flows_ask(f, &later, "u", now + MS), FLOW_WAIT);
	assert_int_equal(flows_ask(f, &gone, "u", now + MS), FLOW_WAIT);
	flows_leave(f, &gone);                                   // does not wait for its turn
	assert_null(flows_next(f, now + 2 * MS, &at));
	assert_true(at > now + 2 * MS && at <= now + MS + FLOW_WAIT_NS);
	// a debt is at most a second's work: the answer comes before the wait is too long
	assert_ptr_equal(flows_next(f, at + 100 * MS, &at), &later);
	assert_false(later.late);
	flows_leave(f, &later);
	assert_null(flows_next(f, now + 60 * S, &at));
	assert_true(at == FLOWS_NEVER);
	flows_free(f);
}

static void idle_users_are_forgotten(void **state)
{
	struct flows *f = flows_new(S);
	struct flow_ticket t = { 0 };
	struct flow_counts c;
	char name[32];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "u%d", i);
		assert_int_equal(flows_ask(f, &t, name, S), FLOW_GO);
		flows_leave(f, &t);
		flows_leave(f, &t);
	}
	flows_counts(f, &c);
	assert_int_equal(c.users, 1000);
	assert_int_equal(flows_ask(f, &t, "u", 20 * S), FLOW_GO);
	flows_counts(f, &c);
	assert_int_equal(c.users, 1);
	flows_leave(f, &t);
	flows_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flood_does_not_slow_others), cmocka_unit_test(two_floods_get_the_same),
		cmocka_unit_test(alone_one_gets_all), cmocka_unit_test(long_waits_end_in_refusal), cmocka_unit_test(idle_users_are_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
