// SPDX-License-Identifier: Apache-2.0
// Threads that load, evict, discard, split, merge and remap the same pages at once. A claim is a right to a page: an
// owner word for each page shows that two threads never hold it, and its source is always one of those it can have.
// Under ThreadSanitizer the owner words are plain, so that a claim that does not synchronise is reported.
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "pager.h"

enum { PAGES = 256, THREADS = 4 };

static struct pager_vm *vm;
static uint32_t owner[PAGES];                // plain on purpose
static uint32_t stored[PAGES];               // the handle it has in the store; 0: none. Plain, too
static _Atomic uint64_t releases, puts_, done, wrong;
static _Atomic int stop;

static int load(struct backing *b, uint64_t page, uint32_t n, void *buf, const void **data)
{
	(void)b, (void)page, (void)n, (void)buf, (void)data;
	return 0;
}
static void release(struct backing *b, uint32_t handle)
{
	(void)b, (void)handle;
	releases++;
}
static const struct vad_ops ops = { .name = "storm", .cluster = 16, .load = load };
static const struct vad_ops store_ops = { .name = "store", .cluster = 1, .load = load, .release = release };
static struct backing one = { &ops, 1 }, two = { &ops, 1 }, store = { &store_ops, 1 };

static void delay(int where)
{
	static _Atomic uint32_t n;
	if ((atomic_fetch_add(&n, 1) * 2654435761u >> 16) % 64 == (uint32_t)where)
		sched_yield();
}

static uint32_t rnd(uint32_t *s)
{
	*s = *s * 1664525 + 1013904223;
	return *s >> 8;
}

static void hold(const struct pager_claim *c, uint32_t me)
{
	for (uint32_t i = c->page; i < c->page + c->count; i++) {
		wrong += owner[i] != 0;
		owner[i] = me;
	}
}

static void let_go(const struct pager_claim *c, uint32_t me)
{
	for (uint32_t i = c->page; i < c->page + c->count; i++) {
		wrong += owner[i] != me;
		owner[i] = 0;
	}
}

static void fault(uint32_t *seed, uint32_t me)
{
	struct pager_claim c;
	if (pager_claim(vm, rnd(seed) % PAGES, 16, &c))
		return;
	hold(&c, me);
	if (c.backing == &store) {
		wrong += c.count != 1 || c.backing_page != stored[c.page];
	} else if (c.backing == &one || c.backing == &two) {
		wrong += (c.backing_page & 0xffff) != c.page;              // each range begins at a multiple of 65536 + its page
	} else {
		wrong += c.backing != backing_zero();
	}
	uint32_t n = rnd(seed) % 8 ? c.count : rnd(seed) % (c.count + 1);
	if (n && c.backing == &store)
		stored[c.page] = 0;
	let_go(&c, me);
	pager_loaded(&c, n);
	done++;
}

static void evict(uint32_t *seed, uint32_t me)
{
	struct pager_claim c;
	if (pager_evict_claim(vm, rnd(seed) % PAGES, &c))
		return;
	hold(&c, me);
	wrong += c.backing != backing_zero() && (c.backing_page & 0xffff) != c.page;
	uint32_t how = rnd(seed) % 8, handle = rnd(seed) | 1;
	if (how > 2) {
		stored[c.page] = handle;
		puts_++;
	}
	let_go(&c, me);
	switch (how) {
	case 0: pager_evict_cancel(&c); break;
	case 1: pager_dropped(&c); break;
	case 2: pager_zeroed(&c); break;
	default: pager_evicted(&c, handle);
	}
	done++;
}

static void change(uint32_t *seed)
{
	uint64_t first = rnd(seed) % PAGES, pages = 1 + rnd(seed) % (PAGES - first);
	struct backing *b = rnd(seed) % 2 ? &one : &two;
	switch (rnd(seed) % 4) {
	case 0: pager_split(vm, first, NULL); break;
	case 1: pager_merge(vm, first, NULL); break;
	case 2: pager_remap(vm, first, pages, b, (uint64_t)(rnd(seed) % 2) << 16 | first, NULL); break;
	default: pager_discard(vm, first);
	}
}

static void *worker(void *arg)
{
	uint32_t me = (uint32_t)(uintptr_t)arg, seed = me * 77;
	while (!stop) {
		for (int i = 0; i < 20; i++) {
			fault(&seed, me);
			evict(&seed, me);
		}
		if (me % 2 == 0)
			change(&seed);
	}
	return NULL;
}

static void storm(void **state)
{
	(void)state;
	struct pager *p = NULL;
	struct err e = ERR_INIT;
	const char *seconds = getenv("PAGER_TEST_SECONDS");
	assert_int_equal(pager_new(&(struct pager_options){ .frames = 3000, .vads = 600, .vms = 1, .store = &store }, &p, &e), 0);
	assert_int_equal(pager_vm_new(p, PAGES, NULL, &vm, &e), 0);
	assert_int_equal(pager_map(vm, 0, PAGES, &one, 0, &e), 0);
	pager_point = delay;
	pthread_t t[THREADS];
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, worker, (void *)(i + 1));
	uint64_t end = clock_mono_ns() + (seconds ? strtoull(seconds, NULL, 10) * NS_PER_S : 300 * NS_PER_MS);
	while (clock_mono_ns() < end)
		sched_yield();
	stop = 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	pager_point = NULL;
	struct pager_vm_usage u;
	uint64_t resident = 0;
	pager_vm_usage(vm, &u);
	for (uint64_t i = 0; i < PAGES; i++) {
		assert_true(pager_state(vm, i) == PAGER_UNLOADED || pager_state(vm, i) == PAGER_RESIDENT);
		resident += pager_state(vm, i) == PAGER_RESIDENT;
	}
	assert_int_equal(u.resident, resident);
	assert_int_equal(u.evicted, puts_ - releases);
	assert_int_equal(wrong, 0);
	assert_true(done > 1000);
	pager_vm_free(vm);
	assert_int_equal(puts_, releases);
	struct pager_usage all;
	pager_usage(p, &all);
	assert_int_equal(all.frames_used, 0);
	assert_int_equal(all.vads, 0);
	pager_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(storm) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
