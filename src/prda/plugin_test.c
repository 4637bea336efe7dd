// SPDX-License-Identifier: Apache-2.0
// Sections in code that is unloaded while its threads go on: the kernel must not look for their descriptions then.
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bulkhead/prda.h"

static prda_u64 n;

static void load_count_unload(void)
{
	void *lib = dlopen(getenv("PRDA_TEST_PLUGIN"), RTLD_NOW);
	assert_non_null(lib);
	void (*count)(prda_u64) = (void (*)(prda_u64))(uintptr_t)dlsym(lib, "plugin_count");
	assert_non_null(count);
	for (int i = 0; i < 100; i++)
		count(n);
	assert_int_equal(dlclose(lib), 0);
	/* Now the thread is preempted, with the plugin's sections behind it. */
	for (int i = 0; i < 20; i++)
		sched_yield();
}

static void *noise(void *stop)
{
	while (!atomic_load((_Atomic bool *)stop))
		sched_yield();
	return NULL;
}

static void test_unload(void **state)
{
	(void)state;
	if (!getenv("PRDA_TEST_PLUGIN"))
		skip();
	static _Atomic bool stop;
	pthread_t t[2];
	assert_int_equal(prda_alloc(prda_process_region(), &n, NULL, NULL), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, noise, &stop), 0);
	for (int i = 0; i < 50; i++)
		load_count_unload();
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(prda_sum(n), 5000);
	prda_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_unload) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
