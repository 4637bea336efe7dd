// SPDX-License-Identifier: Apache-2.0
// Preemption held back: what the real kernel says, and, with a kernel played by this test, that the request stands while
// a section runs and only then, and that a held-back preemption is noticed at its end.
#include "delay.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>

#include <cmocka.h>

#include "bulkhead/prda.h"

static _Thread_local struct prda_slice_ctrl ctrl;
static _Thread_local int begun, yielded;
static _Thread_local bool grant, request_at_yield;

static int enable(void) { return 0; }
static int refuse(void) { return -EINVAL; }

static struct prda_slice_ctrl *ctrl_of_thread(void)
{
	/* The first call of two is before the section; the grant comes in between, at the second. */
	if (begun++ % 2 == 1 && grant) {
		assert_int_equal(ctrl.request, 1);
		ctrl = (struct prda_slice_ctrl){ .request = 0, .granted = 1 };
	}
	return &ctrl;
}

static void yield_now(void)
{
	request_at_yield = ctrl.request;
	ctrl.granted = 0;
	yielded++;
}

static const struct prda_slice_ops simulated = { enable, ctrl_of_thread, yield_now };
static const struct prda_slice_ops without = { refuse, ctrl_of_thread, yield_now };

/* The library asks once per thread: so each case has its own. */
static void in_thread(void *(*body)(void *))
{
	pthread_t t;
	assert_int_equal(pthread_create(&t, NULL, body, NULL), 0);
	pthread_join(t, NULL);
}

static void *run_kernel(void *arg)
{
	(void)arg;
	prda_slice = &prda_slice_kernel;
	int rc = prda_have_rseq() ? prctl(79, 2, 1, 0, 0) : -1;
	printf("# time slice extension: %s\n", rc == 0 ? "yes" : "not in this kernel");
	struct prda_region *r;
	prda_u64 n;
	assert_int_equal(prda_region_new(&(struct prda_options){ .form = PRDA_DELAY }, &r, NULL), 0);
	assert_int_equal(prda_region_form(r), rc == 0 ? PRDA_DELAY : PRDA_RESTART);
	assert_int_equal(prda_alloc(r, &n, NULL, NULL), 0);
	for (int i = 0; i < 1000; i++)
		prda_add(n, 1);
	struct prda_stats s;
	prda_region_stats(r, &s);
	assert_int_equal(prda_sum(n), 1000);
	assert_int_equal(s.delayed, rc == 0 ? 1000 : 0);
	prda_region_close(r);
	return NULL;
}

static void *run_simulated(void *arg)
{
	(void)arg;
	if (!prda_have_rseq())
		return NULL;
	prda_slice = &simulated;
	struct prda_region *r;
	prda_u64 n;
	struct prda_stats s;
	assert_int_equal(prda_region_new(&(struct prda_options){ .form = PRDA_DELAY }, &r, NULL), 0);
	assert_int_equal(prda_region_form(r), PRDA_DELAY);
	assert_int_equal(prda_alloc(r, &n, NULL, NULL), 0);
	prda_add(n, 1);
	assert_int_equal(ctrl.request, 0);
	assert_int_equal(begun, 2);
	assert_int_equal(yielded, 0);
	grant = true;
	prda_add(n, 1);
	assert_int_equal(yielded, 1);
	assert_false(request_at_yield);
#if defined(__x86_64__)
	PRDA_SECTION(n, "incq " PRDA_HERE_("0"), (), (), fail());
	assert_int_equal(ctrl.request, 0);
	assert_int_equal(yielded, 2);
#endif
	prda_region_stats(r, &s);
	assert_int_equal(prda_sum(n), s.delayed);
	assert_int_equal(s.yields, yielded);
	assert_int_equal(s.locked, 0);
	prda_region_close(r);
	prda_slice = &prda_slice_kernel;
	return NULL;
}

static prda_u64 handled;

static void handler(int sig)
{
	(void)sig;
	prda_add(handled, 1);
}

/* A handler that interrupts a held-back section and runs one itself must not end the outer request. */
static void *run_nested(void *arg)
{
	(void)arg;
	if (!prda_have_rseq())
		return NULL;
	prda_slice = &simulated;
	grant = false;
	struct prda_region *r;
	assert_int_equal(prda_region_new(&(struct prda_options){ .form = PRDA_DELAY }, &r, NULL), 0);
	assert_int_equal(prda_alloc(r, &handled, NULL, NULL), 0);
	void (*before)(int) = signal(SIGUSR1, handler);
	assert_true(prda_delay_begin());
	raise(SIGUSR1);
	assert_int_equal(ctrl.request, 1);
	prda_delay_end();
	assert_int_equal(ctrl.request, 0);
	assert_int_equal(prda_sum(handled), 1);
	signal(SIGUSR1, before);
	prda_region_close(r);
	prda_slice = &prda_slice_kernel;
	return NULL;
}

static void *run_without(void *arg)
{
	(void)arg;
	prda_slice = &without;
	struct prda_region *r;
	assert_int_equal(prda_region_new(&(struct prda_options){ .form = PRDA_DELAY }, &r, NULL), 0);
	assert_int_equal(prda_region_form(r), PRDA_RESTART);
	prda_region_close(r);
	prda_slice = &prda_slice_kernel;
	return NULL;
}

static void test_this_kernel(void **state) { (void)state; in_thread(run_kernel); }
static void test_held_back(void **state) { (void)state; in_thread(run_simulated); }
static void test_handler_inside(void **state) { (void)state; in_thread(run_nested); }
static void test_not_available(void **state) { (void)state; in_thread(run_without); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_this_kernel), cmocka_unit_test(test_held_back), cmocka_unit_test(test_handler_inside),
		cmocka_unit_test(test_not_available),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
