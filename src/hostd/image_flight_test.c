// SPDX-License-Identifier: Apache-2.0
#include "image_flight.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
	struct flights *table;
	atomic_int runs, inside, waiting;
	int rc;                       // result of the work
	volatile int cancel_first;    // set: the first run ends with -ECANCELED
};

struct caller {
	struct world *w;
	volatile int cancel;
	atomic_int reports;
	int rc;
	struct err err;
	pthread_t thread;
};

static int work(void *ctx, struct flight *f, struct err *e)
{
	struct world *w = ctx;
	int run = ++w->runs;
	assert_int_equal(++w->inside, 1);
	flight_report(f, "copy", 1, 2);
	while (w->waiting < 4)
		usleep(100);
	usleep(2000);
	w->inside--;
	if (w->cancel_first && run == 1)
		return err_set(e, ECANCELED, "cancelled");
	return w->rc ? err_set(e, -w->rc, "no luck") : 0;
}

static void progress(void *user, const char *stage, uint64_t done, uint64_t total)
{
	struct caller *c = user;
	assert_string_equal(stage, "copy");
	assert_true(done == 1 && total == 2);
	c->reports++;
}

static void *call(void *arg)
{
	struct caller *c = arg;
	c->w->waiting++;
	struct flight_job job = {.key = "k", .work = work, .ctx = c->w, .progress = progress, .user = c, .cancel = &c->cancel};
	c->rc = flight_run(c->w->table, &job, &c->err);
	return NULL;
}

static void run_four(struct world *w, struct caller c[4])
{
	w->table = flights_new();
	for (int i = 0; i < 4; i++) {
		c[i].w = w;
		pthread_create(&c[i].thread, NULL, call, &c[i]);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(c[i].thread, NULL);
	flights_free(w->table);
}

static void test_shared(void **state)
{
	(void)state;
	struct world w = {0};
	struct caller c[4] = {0};
	run_four(&w, c);
	for (int i = 0; i < 4; i++)
		assert_int_equal(c[i].rc, 0);
	assert_in_range(w.runs, 1, 4);   // a late thread may start anew
}

static void test_error_is_shared(void **state)
{
	(void)state;
	struct world w = {.rc = -ENOENT};
	struct caller c[4] = {0};
	run_four(&w, c);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(c[i].rc, -ENOENT);
		assert_string_equal(c[i].err.text, "no luck");
	}
}

static void test_cancelled_worker_hands_over(void **state)
{
	(void)state;
	struct world w = {.cancel_first = 1};
	struct caller c[4] = {0};
	run_four(&w, c);
	int cancelled = 0;
	for (int i = 0; i < 4; i++)
		cancelled += c[i].rc == -ECANCELED;
	assert_int_equal(cancelled, 1);   // only the worker itself
	assert_true(w.runs >= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared), cmocka_unit_test(test_error_is_shared), cmocka_unit_test(test_cancelled_worker_hands_over),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
