// SPDX-License-Identifier: Apache-2.0
// Sums exact, lists intact, no record torn, no operation on the wrong CPU's area: while threads are moved, signalled and
// stopped inside the operations, in one process and in several. Seconds by PRDA_STORM_SECONDS for each test; by default a
// fraction of one. PRDA_TEST_ONLY: pattern of test names.
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "delay.h"
#include "region.h"
#include "storm.h"

static double seconds(void)
{
	const char *text = getenv("PRDA_STORM_SECONDS");
	return text ? atof(text) : 0.15;
}

static void report(const char *name, struct storm *s)
{
	struct prda_stats p;
	prda_region_stats(s->region, &p);
	printf("# %s: %llu operations, %llu moves, %llu signals; %llu restarts, %llu locked, %llu delayed, %llu yields\n", name,
		(unsigned long long)s->sums->operations, (unsigned long long)s->sums->moves, (unsigned long long)s->sums->signals,
		(unsigned long long)p.restarts, (unsigned long long)p.locked, (unsigned long long)p.delayed,
		(unsigned long long)p.yields);
}

static void storm(const char *name, enum prda_form form, int processes, int threads)
{
	struct prda_region *r;
	struct storm s;
	struct prda_options o = { .form = form, .shared = processes > 1 };
	assert_int_equal(prda_region_new(&o, &r, NULL), 0);
	assert_int_equal(storm_init(&s, r), 0);
	if (processes == 1) {
		storm_run(&s, threads, seconds());
	} else {
		pid_t child[8];
		for (int i = 0; i < processes; i++) {
			s.seed = (uint32_t)i + 1;
			child[i] = fork();
			if (child[i] == 0) {
				storm_run(&s, threads, seconds());
				_exit(0);
			}
		}
		for (int i = 0; i < processes; i++) {
			int status = 1;
			waitpid(child[i], &status, 0);
			assert_int_equal(status, 0);
		}
	}
	report(name, &s);
	assert_int_equal(storm_check(&s, 0), 0);
	assert_true(s.sums->operations > 0);
	storm_fini(&s);
	prda_region_close(r);
}

static void test_2_threads(void **state)  { (void)state; storm("2 threads", PRDA_RESTART, 1, 2); }
static void test_64_threads(void **state) { (void)state; storm("64 threads", PRDA_RESTART, 1, 64); }
static void test_8_processes_2_threads(void **state) { (void)state; storm("8 x 2 threads", PRDA_RESTART, 8, 2); }
static void test_8_processes_64_threads(void **state) { (void)state; storm("8 x 64 threads", PRDA_RESTART, 8, 64); }
static void test_locked_64_threads(void **state) { (void)state; storm("locked, 64 threads", PRDA_LOCKED, 1, 64); }
static void test_locked_8_processes(void **state) { (void)state; storm("locked, 8 x 8 threads", PRDA_LOCKED, 8, 8); }

/* Preemption held back, by a kernel that grants now and then. */
static _Thread_local struct prda_slice_ctrl ctrl;
static _Thread_local unsigned asked;
static _Atomic uint64_t yields;

static int enable(void) { return 0; }

static struct prda_slice_ctrl *ctrl_of_thread(void)
{
	if (++asked % 32 == 0 && ctrl.request)
		ctrl = (struct prda_slice_ctrl){ .request = 0, .granted = 1 };
	return &ctrl;
}

static void yield_now(void)
{
	yields++;
	sched_yield();
	ctrl.granted = 0;
}

static void test_delayed(void **state)
{
	(void)state;
	static const struct prda_slice_ops simulated = { enable, ctrl_of_thread, yield_now };
	prda_slice = &simulated;
	storm("delayed, 8 threads", PRDA_DELAY, 1, 8);
	assert_true(!prda_have_rseq() || yields > 0);
	prda_slice = &prda_slice_kernel;
}

/* The storm is strong enough to break an addition that is not protected. */
static _Atomic bool careless_stop;

static void *careless(void *alias)
{
	uint64_t n = 0;
	while (!careless_stop) {
		volatile uint64_t *p = (uint64_t *)prda_at(*(prda_u64 *)alias, (uint32_t)sched_getcpu());
		uint64_t v = *p;
		if (n % 64 == 0)
			sched_yield();
		*p = v + 1;
		n++;
	}
	return (void *)(uintptr_t)n;
}

static void test_storm_breaks_careless_code(void **state)
{
	(void)state;
	prda_u64 count;
	struct prda_region *r;
	assert_int_equal(prda_region_new(NULL, &r, NULL), 0);
	assert_int_equal(prda_alloc(r, &count, NULL, NULL), 0);
	pthread_t t[4];
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, careless, &count), 0);
	usleep(100000);
	careless_stop = true;
	uint64_t added = 0;
	for (int i = 0; i < 4; i++) {
		void *n;
		pthread_join(t[i], &n);
		added += (uintptr_t)n;
	}
	printf("# careless: %llu of %llu additions lost\n", (unsigned long long)(added - prda_sum(count)),
		(unsigned long long)added);
	assert_true(prda_sum(count) != added);
	prda_region_close(r);
}

/* What killed threads took with them goes back, for the next round. */
static void storm_restore(struct storm *s)
{
	unsigned char node[STORM_NODES] = { 0 }, token[STORM_TOKENS] = { 0 };
	prda_for_each_slot(slot, s->region) {
		for (struct prda_node *n = prda_at(s->list, slot)->head; n; n = n->next)
			node[(struct storm_node *)n - s->sums->node] = 1;
		struct prda_cache_ *c = prda_at(s->cache, slot);
		for (uint64_t i = 0; i < c->count; i++)
			token[c->item[i]] = 1;
	}
	for (int i = 0; i < STORM_NODES; i++) {
		s->sums->node[i].taken = 0;
		if (!node[i])
			prda_push(s->list, &s->sums->node[i].node);
	}
	for (uint64_t i = 0; i < STORM_TOKENS; i++) {
		s->sums->token[i] = 0;
		if (!token[i])
			prda_give(s->cache, &i, 1);
	}
}

/* Kill a process that is in the middle of operations, again and again; look each time. */
static void kill_inside(enum prda_form form, const char *name)
{
	enum { THREADS = 4 };
	struct prda_region *r;
	struct storm s;
	assert_int_equal(prda_region_new(&(struct prda_options){ .form = form, .shared = true }, &r, NULL), 0);
	assert_int_equal(storm_init(&s, r), 0);
	uint64_t end = clock_mono_ns() + (uint64_t)(seconds() * 2e9);
	int kills = 0;
	for (uint32_t random = 12345; clock_mono_ns() < end || kills < 10; kills++) {
		s.seed = random = random * 1664525u + 1013904223u;
		pid_t child = fork();
		if (child == 0) {
			storm_run(&s, THREADS, 10);
			_exit(0);
		}
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 + random % 8000000 }, NULL);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		assert_int_equal(storm_check(&s, THREADS), 0);
		storm_restore(&s);   // goes through locks that died with their owner
	}
	struct prda_stats p;
	prda_region_stats(r, &p);
	printf("# %s: %d kills, %llu locks taken over\n", name, kills, (unsigned long long)p.takeovers);
	storm_fini(&s);
	prda_region_close(r);
}

static void test_kill_restart(void **state) { (void)state; kill_inside(PRDA_RESTART, "killed inside, restart"); }
static void test_kill_locked(void **state) { (void)state; kill_inside(PRDA_LOCKED, "killed inside, locked"); }

/* One kill that certainly hits an owner of a lock. */
static void test_lock_of_the_dead_is_taken_over(void **state)
{
	(void)state;
	struct prda_region *r;
	prda_u64 n;
	assert_int_equal(prda_region_new(&(struct prda_options){ .form = PRDA_LOCKED, .shared = true }, &r, NULL), 0);
	assert_int_equal(prda_alloc(r, &n, NULL, NULL), 0);
	pid_t child = fork();
	if (child == 0) {
		prda_add(n, 1);
		struct prda_hold_ hold;
		for (uint32_t cpu = 0; cpu < prda_region_cpus(r); cpu++) {   // every lock of the region
			cpu_set_t set;
			CPU_ZERO(&set);
			CPU_SET(cpu, &set);
			sched_setaffinity(0, sizeof(set), &set);
			pid_t grandchild = fork();
			if (grandchild == 0) {
				prda_hold_take_(&hold, prda_number(n) & ~PRDA_TAG_);
				pause();
			}
			usleep(20000);
			kill(grandchild, SIGKILL);
			waitpid(grandchild, NULL, 0);
		}
		_exit(0);
	}
	int status = 1;
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	prda_add(n, 1);
	assert_int_equal(prda_sum(n), 2);
	struct prda_stats p;
	prda_region_stats(r, &p);
	assert_true(p.takeovers >= 1);
	prda_region_close(r);
}

/* A signal in the middle of a locked operation: its handler must not wait for its own thread. */
static prda_u64 nested_count;

static void nested_handler(int sig)
{
	(void)sig;
	prda_add(nested_count, 1);
}

static void test_handler_inside_locked_operation(void **state)
{
	(void)state;
	struct prda_region *r;
	assert_int_equal(prda_region_new(&(struct prda_options){ .form = PRDA_LOCKED }, &r, NULL), 0);
	assert_int_equal(prda_alloc(r, &nested_count, NULL, NULL), 0);
	void (*before)(int) = signal(SIGUSR1, nested_handler);
	PRDA_SECTION(nested_count, "", (), (), raise(SIGUSR1); __atomic_store_n(here, *here + 1, __ATOMIC_RELEASE));
	assert_int_equal(prda_sum(nested_count), 2);
	assert_int_equal(prda_read(nested_count, prda_region_slots(r) - 1), 1);
	signal(SIGUSR1, before);
	prda_region_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_2_threads), cmocka_unit_test(test_64_threads), cmocka_unit_test(test_8_processes_2_threads),
		cmocka_unit_test(test_8_processes_64_threads), cmocka_unit_test(test_locked_64_threads),
		cmocka_unit_test(test_locked_8_processes), cmocka_unit_test(test_delayed),
		cmocka_unit_test(test_storm_breaks_careless_code), cmocka_unit_test(test_kill_restart),
		cmocka_unit_test(test_kill_locked), cmocka_unit_test(test_lock_of_the_dead_is_taken_over),
		cmocka_unit_test(test_handler_inside_locked_operation),
	};
	cmocka_set_test_filter(getenv("PRDA_TEST_ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
