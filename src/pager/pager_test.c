// SPDX-License-Identifier: Apache-2.0
// The structures: what a fault finds, in how many steps, and what split, merge, remap, eviction and failing allocations
// do to it. Everything is compared with a plain array that says for each page where its data should come from.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "pager.h"

struct fake { struct backing backing; int loads, releases; };

static int fake_load(struct backing *b, uint64_t page, uint32_t n, void *buf, const void **data)
{
	for (uint32_t i = 0; i < n; i++)
		memset((char *)buf + (size_t)i * PAGER_PAGE, (int)(page + i) & 255, PAGER_PAGE);
	((struct fake *)b)->loads++;
	*data = buf;
	return 0;
}

static void fake_release(struct backing *b, uint32_t handle)
{
	(void)handle;
	((struct fake *)b)->releases++;
}

static const struct vad_ops fake_ops = { .name = "fake", .cluster = 16, .load = fake_load };
static const struct vad_ops store_ops = { .name = "store", .cluster = 1, .load = fake_load, .release = fake_release };
static struct fake one = { .backing = { &fake_ops, 1 } }, two = { .backing = { &fake_ops, 1 } };
static struct fake store = { .backing = { &store_ops, 1 } };

static struct pager *new_pager(uint32_t frames, uint32_t vads, uint32_t vms)
{
	struct pager *p = NULL;
	struct err e = ERR_INIT;
	assert_int_equal(pager_new(&(struct pager_options){ .frames = frames, .vads = vads, .vms = vms,
		.store = &store.backing }, &p, &e), 0);
	return p;
}

static struct pager_vm *new_vm(struct pager *p, uint64_t pages)
{
	struct pager_vm *vm = NULL;
	struct err e = ERR_INIT;
	assert_int_equal(pager_vm_new(p, pages, NULL, &vm, &e), 0);
	return vm;
}

static void load_page(struct pager_vm *vm, uint64_t page)
{
	struct pager_claim c;
	assert_int_equal(pager_claim(vm, page, 1, &c), 0);
	pager_loaded(&c, 1);
}

static void evict_page(struct pager_vm *vm, uint64_t page, uint32_t handle)
{
	struct pager_claim c;
	assert_int_equal(pager_evict_claim(vm, page, &c), 0);
	pager_evicted(&c, handle);
}

static void assert_source(struct pager_vm *vm, uint64_t page, struct backing *b, uint64_t backing_page)
{
	struct pager_claim c;
	assert_int_equal(pager_claim(vm, page, 1, &c), 0);
	assert_ptr_equal(c.backing, b);
	assert_int_equal(c.backing_page, backing_page);
	pager_loaded(&c, 0);
	assert_int_equal(pager_state(vm, page), PAGER_UNLOADED);
}

static void assert_empty(struct pager *p)
{
	struct pager_usage u;
	pager_usage(p, &u);
	assert_int_equal(u.frames_used, 0);
	assert_int_equal(u.vads, 0);
	assert_int_equal(u.vms, 0);
	assert_int_equal(one.backing.users, 1);
	assert_int_equal(two.backing.users, 1);
}

// ---- Constant time: counted, not timed ----

static void count(struct pager_vm *vm, uint64_t page, uint32_t lines)
{
	struct pager_trace t;
	assert_non_null(pager_lookup_traced(vm, page, &t));
	assert_int_equal(t.steps, 5);          // VM, directory, leaf entry, record, VAD
	assert_int_equal(t.lines, lines + (page >> 19 < 3 ? 1 : 2));   // and the VM's own
}

static void steps_are_constant(void **state)
{
	(void)state;
	static const struct { uint64_t pages; uint32_t vads, vms; } cases[] = {
		{ 1 << 14, 1, 1 }, { 1 << 14, 1000, 1 }, { 1 << 16, 1 << 16, 1 }, { 1 << 12, 4, 1000 }, { 1 << 21, 10, 1 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pager *p = new_pager(1 << 20, 1 << 19, 1000);
		struct pager_vm *vm[1000];
		uint64_t pages = cases[i].pages, size = pages / cases[i].vads;
		for (uint32_t v = 0; v < cases[i].vms; v++) {
			vm[v] = new_vm(p, pages);
			for (uint32_t k = 0; k < cases[i].vads; k++)
				assert_int_equal(pager_map(vm[v], k * size, size, &one.backing, k * 7, NULL), 0);
		}
		for (int k = 0; k < 1000; k++) {
			uint64_t page = ((uint64_t)k * 7919 + 3) * 104729 % (size * cases[i].vads);
			struct pager_vm *at = vm[(uint32_t)k % cases[i].vms];
			count(at, page, 2);                                // never loaded: entry, record with its VAD
			struct pager_claim c;
			if (pager_claim(at, page, 1, &c))
				continue;
			pager_loaded(&c, 1);
			count(at, page, 3);                                // resident: entry, record, VAD
			evict_page(at, page, 5);
			count(at, page, 3);                                // evicted
		}
		for (uint32_t v = 0; v < cases[i].vms; v++)
			pager_vm_free(vm[v]);
		assert_empty(p);
		pager_free(p);
	}
}

// ---- One page's life ----

static void life_of_a_page(void **state)
{
	(void)state;
	struct pager *p = new_pager(1000, 10, 2);
	struct pager_vm *vm = new_vm(p, 100);
	struct pager_claim c, other;
	struct pager_vm_usage u;
	assert_int_equal(pager_claim(vm, 5, 1, &c), -EFAULT);          // nothing mapped
	assert_int_equal(pager_claim(vm, 100, 1, &c), -EFAULT);        // past the end
	assert_int_equal(pager_claim(vm, UINT64_MAX, 1, &c), -EFAULT);
	assert_int_equal(pager_map(vm, 0, 50, &one.backing, 1000, NULL), 0);
	assert_int_equal(pager_claim(vm, 5, 1, &c), 0);
	assert_ptr_equal(c.backing, &one.backing);
	assert_int_equal(c.backing_page, 1005);
	assert_int_equal(pager_claim(vm, 5, 1, &other), -EBUSY);
	assert_int_equal(pager_evict_claim(vm, 5, &other), -EBUSY);
	assert_int_equal(pager_discard(vm, 5), -EBUSY);
	pager_set_time(p, 7);
	pager_loaded(&c, 1);
	assert_int_equal(pager_claim(vm, 5, 1, &c), -EEXIST);
	assert_int_equal(pager_age(vm, 5, 9), 2);
	pager_mark(vm, 5, 9);
	assert_int_equal(pager_age(vm, 5, 9), 0);
	assert_int_equal(pager_age(vm, 6, 9), -1);
	assert_int_equal(pager_evict_claim(vm, 6, &c), -ENOENT);
	assert_int_equal(pager_evict_claim(vm, 5, &c), 0);
	assert_int_equal(c.backing_page, 1005);                        // to compare with, before it is compressed
	assert_int_equal(pager_claim(vm, 5, 1, &other), -EBUSY);
	pager_evict_cancel(&c);
	evict_page(vm, 5, 77);
	pager_vm_usage(vm, &u);
	assert_int_equal(u.resident, 0);
	assert_int_equal(u.evicted, 1);
	store.releases = 0;
	assert_source(vm, 5, &store.backing, 77);                      // tried, failed: still in the store
	assert_int_equal(store.releases, 0);
	load_page(vm, 5);
	assert_int_equal(store.releases, 1);
	assert_int_equal(pager_evict_claim(vm, 5, &c), 0);
	pager_dropped(&c);
	assert_source(vm, 5, &one.backing, 1005);
	load_page(vm, 5);
	assert_int_equal(pager_discard(vm, 5), 0);
	assert_source(vm, 5, backing_zero(), 5);
	load_page(vm, 5);
	evict_page(vm, 5, 78);
	assert_int_equal(pager_discard(vm, 5), 0);
	assert_int_equal(store.releases, 2);
	assert_int_equal(pager_discard(vm, 60), -EFAULT);
	assert_int_equal(pager_unmap(vm, 0, 100, NULL), 0);
	assert_int_equal(pager_claim(vm, 5, 1, &c), -EFAULT);
	pager_vm_free(vm);
	assert_empty(p);
	pager_free(p);
}

static void around(void **state)
{
	(void)state;
	struct pager *p = new_pager(1000, 10, 2);
	struct pager_vm *vm = new_vm(p, 100);
	struct pager_claim c;
	pager_map(vm, 3, 60, &one.backing, 0, NULL);
	assert_int_equal(pager_claim(vm, 7, 16, &c), 0);               // its VAD begins at 3
	assert_int_equal(c.page, 3);
	assert_int_equal(c.count, 13);
	assert_int_equal(c.backing_page, 0);
	pager_loaded(&c, 10);                                          // 3 to 12
	assert_int_equal(pager_state(vm, 12), PAGER_RESIDENT);
	assert_int_equal(pager_state(vm, 13), PAGER_UNLOADED);
	assert_int_equal(pager_claim(vm, 15, 64, &c), 0);
	assert_int_equal(c.page, 13);
	assert_int_equal(c.count, 3);
	assert_int_equal(c.backing_page, 10);
	pager_loaded(&c, 3);
	assert_int_equal(pager_claim(vm, 62, 16, &c), 0);
	assert_int_equal(c.page, 48);
	assert_int_equal(c.count, 15);                                 // it ends behind 62
	pager_loaded(&c, 0);
	assert_int_equal(pager_claim(vm, 20, 5, &c), 0);               // the power of two below
	assert_int_equal(c.page, 20);
	assert_int_equal(c.count, 4);
	pager_loaded(&c, 4);
	pager_vm_free(vm);
	assert_empty(p);
	pager_free(p);
}

static void records_run_out(void **state)
{
	(void)state;
	struct pager *p = new_pager(1 + 20, 10, 2);                    // 20 pages
	struct pager_vm *vm = new_vm(p, 100);
	struct pager_claim c;
	pager_map(vm, 0, 100, &one.backing, 0, NULL);
	assert_int_equal(pager_claim(vm, 7, 16, &c), 0);
	assert_int_equal(c.count, 16);
	pager_loaded(&c, 16);
	assert_int_equal(pager_claim(vm, 40, 16, &c), 0);
	assert_true(c.page <= 40 && 40 < c.page + c.count && c.count <= 4);
	uint32_t had = c.count;
	pager_loaded(&c, c.count);
	struct pager_claim last;
	for (uint64_t page = 60; had < 4; page++, had++)
		load_page(vm, page);
	assert_int_equal(pager_claim(vm, 80, 16, &last), -ENOMEM);
	for (uint64_t page = 64; page < 96; page++)
		assert_int_not_equal(pager_state(vm, page), PAGER_LOADING);
	assert_int_equal(pager_evict_claim(vm, 3, &c), 0);
	pager_dropped(&c);
	load_page(vm, 80);
	pager_vm_free(vm);
	assert_empty(p);
	pager_free(p);
}

// ---- VADs against a model ----

enum { PAGES = 600 };
struct model { struct backing *b; uint64_t page; bool resident, evicted; uint32_t handle; };

static void check_model(struct pager_vm *vm, const struct model *m)
{
	for (uint64_t i = 0; i < PAGES; i++) {
		enum pager_state s = pager_state(vm, i);
		assert_int_equal(s, !m[i].b ? PAGER_NONE : m[i].resident ? PAGER_RESIDENT : PAGER_UNLOADED);
		if (s == PAGER_UNLOADED && m[i].b == backing_zero())
			assert_source(vm, i, backing_zero(), i);
		else if (s == PAGER_UNLOADED)
			assert_source(vm, i, m[i].evicted ? &store.backing : m[i].b, m[i].evicted ? m[i].handle : m[i].page);
		struct pager_vad_info info;
		if (s != PAGER_RESIDENT)
			continue;
		pager_vad_info(pager_lookup(vm, i), &info);
		assert_false(info.compressed);
		if (m[i].b != backing_zero())
			assert_int_equal(info.backing_page + i - info.first, m[i].page);
	}
}

static uint32_t rnd_state;
static uint32_t rnd(uint32_t n)
{
	rnd_state = rnd_state * 1664525 + 1013904223;
	return (rnd_state >> 8) % n;
}

static bool model_all(const struct model *m, uint64_t first, uint64_t pages, bool mapped)
{
	for (uint64_t i = first; i < first + pages; i++)
		if ((m[i].b != NULL) != mapped)
			return false;
	return true;
}

static void random_step(struct pager_vm *vm, struct model *m)
{
	uint64_t first = rnd(PAGES), pages = 1 + rnd(PAGES - (uint32_t)first), at = rnd(100) * 1000;
	struct backing *b = rnd(2) ? &one.backing : &two.backing;
	struct err e = ERR_INIT;
	pages = rnd(2) && pages > 20 ? 20 : pages;
	switch (rnd(8)) {
	case 0:
		assert_int_equal(pager_map(vm, first, pages, b, at, &e), model_all(m, first, pages, false) ? 0 : -EEXIST);
		for (uint64_t i = first; !e.code && i < first + pages; i++)
			m[i] = (struct model){ .b = b, .page = at + i - first };
		break;
	case 1:
		assert_int_equal(pager_unmap(vm, first, pages > 30 ? 30 : pages, &e), 0);
		memset(m + first, 0, (pages > 30 ? 30 : pages) * sizeof(*m));
		break;
	case 2:
		assert_int_equal(pager_remap(vm, first, pages, b, at, &e), model_all(m, first, pages, true) ? 0 : -ENOENT);
		for (uint64_t i = first; !e.code && i < first + pages; i++)
			if (m[i].b != backing_zero()) {
				m[i].b = b;
				m[i].page = at + i - first;
			}
		break;
	case 3:
		assert_int_equal(pager_split(vm, first, &e), m[first].b ? 0 : -ENOENT);
		break;
	case 4:
		pager_merge(vm, first, &e);
		break;
	case 5: {
		struct pager_claim c;
		int rc = pager_claim(vm, first, 16, &c);
		if (rc)
			break;
		pager_loaded(&c, c.count);
		for (uint64_t i = c.page; i < c.page + c.count; i++)
			m[i].resident = true, m[i].evicted = false;
		break;
	}
	case 6:
		for (uint64_t i = first; i < first + pages; i++)
			if (m[i].resident) {
				evict_page(vm, i, (uint32_t)i + 9);
				m[i].resident = false, m[i].evicted = true, m[i].handle = (uint32_t)i + 9;
			}
		break;
	default:
		if (m[first].b && !pager_discard(vm, first))
			m[first] = (struct model){ .b = backing_zero() };
	}
}

static void against_a_model(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 8; seed++) {
		struct pager *p = new_pager(4000, 400, 2);
		struct pager_vm *vm = new_vm(p, PAGES);
		struct model m[PAGES] = { 0 };
		rnd_state = seed;
		for (int i = 0; i < 400; i++) {
			random_step(vm, m);
			check_model(vm, m);
		}
		pager_vm_free(vm);
		assert_empty(p);
		pager_free(p);
	}
}

static void split_and_merge(void **state)
{
	(void)state;
	struct pager *p = new_pager(1000, 10, 2);
	struct pager_vm *vm = new_vm(p, 100);
	pager_map(vm, 10, 40, &one.backing, 100, NULL);
	load_page(vm, 20);
	load_page(vm, 30);
	evict_page(vm, 30, 5);
	assert_int_equal(pager_vads(vm), 1);
	assert_int_equal(pager_split(vm, 25, NULL), 0);
	assert_int_equal(pager_split(vm, 25, NULL), 0);
	assert_int_equal(pager_vads(vm), 2);
	assert_int_equal(pager_split(vm, 5, NULL), -ENOENT);
	assert_source(vm, 24, &one.backing, 114);
	assert_source(vm, 25, &one.backing, 115);
	assert_source(vm, 30, &store.backing, 5);
	assert_int_equal(pager_merge(vm, 26, NULL), -EINVAL);
	assert_int_equal(pager_merge(vm, 25, NULL), 0);
	assert_int_equal(pager_vads(vm), 1);
	assert_source(vm, 25, &one.backing, 115);
	pager_map(vm, 50, 10, &two.backing, 140, NULL);
	assert_int_equal(pager_merge(vm, 50, NULL), -EINVAL);          // another backing
	assert_int_equal(pager_remap(vm, 50, 10, &one.backing, 141, NULL), 0);
	assert_int_equal(pager_merge(vm, 50, NULL), -EINVAL);          // not the next page
	assert_int_equal(pager_remap(vm, 50, 10, &one.backing, 140, NULL), 0);
	assert_int_equal(pager_merge(vm, 50, NULL), 0);
	assert_int_equal(pager_remap(vm, 40, 40, &two.backing, 0, NULL), -ENOENT);   // 60 to 79 are not mapped
	assert_int_equal(pager_map(vm, 90, 11, &one.backing, 0, NULL), -EINVAL);
	assert_int_equal(pager_map(vm, 90, 0, &one.backing, 0, NULL), -EINVAL);
	assert_int_equal(pager_map(vm, UINT64_MAX, 2, &one.backing, 0, NULL), -EINVAL);
	pager_vm_free(vm);
	assert_empty(p);
	pager_free(p);
}

// ---- Every allocation failing once ----

static int all_of_it(void)
{
	struct pager *p = NULL;
	struct pager_vm *vm = NULL;
	struct pager_claim c;
	int rc = pager_new(&(struct pager_options){ .frames = 200, .vads = 20, .vms = 2, .store = &store.backing }, &p, NULL);
	if (rc)
		return rc;
	rc = pager_vm_new(p, 100, NULL, &vm, NULL);
	for (uint64_t i = 0; !rc && i < 4; i++)
		rc = pager_map(vm, i * 25, 25, &one.backing, i * 25, NULL);
	if (!rc)
		rc = pager_claim(vm, 30, 16, &c);
	if (!rc) {
		pager_loaded(&c, c.count);
		evict_page(vm, 30, 3);
		rc = pager_split(vm, 30, NULL);
	}
	if (!rc)
		rc = pager_remap(vm, 10, 40, &two.backing, 7, NULL);
	if (!rc)
		rc = pager_unmap(vm, 28, 4, NULL);
	for (uint64_t i = 0; vm && i < 100; i++) {                     // whatever failed: every page leads somewhere or nowhere
		struct pager_claim look;
		if (pager_state(vm, i) == PAGER_UNLOADED && !pager_claim(vm, i, 1, &look))
			pager_loaded(&look, 0);
		assert_true(pager_state(vm, i) <= PAGER_RESIDENT);
	}
	pager_vm_free(vm);
	assert_empty(p);
	pager_free(p);
	return rc;
}

static void allocations_fail(void **state)
{
	(void)state;
	int failed = 0, rc = -1;
	for (long n = 1; rc && n < 1000; n++) {
		pager_fail_at = n;
		rc = all_of_it();
		failed += rc != 0;
		assert_true(rc == 0 || rc == -ENOMEM || rc == -ENOSPC);
	}
	pager_fail_at = 0;
	assert_int_equal(rc, 0);
	assert_true(failed > 10);
}

static void limits(void **state)
{
	(void)state;
	struct pager *p = NULL;
	struct pager_vm *vm[3];
	struct err e = ERR_INIT;
	assert_int_equal(pager_new(&(struct pager_options){ .frames = (1u << 29) - 100, .vads = 50, .vms = 1 }, &p, &e), -EINVAL);
	assert_int_equal(pager_new(&(struct pager_options){ .frames = 10, .vads = 1, .vms = 70000 }, &p, &e), -EINVAL);
	assert_int_equal(pager_new(&(struct pager_options){ .frames = 10, .vads = 0, .vms = 1 }, &p, &e), -EINVAL);
	p = new_pager(100, 4, 2);
	vm[0] = new_vm(p, 10);
	assert_int_equal(pager_vm_new(p, 0, NULL, &vm[2], &e), -EINVAL);
	assert_int_equal(pager_vm_new(p, 1ull << 32, NULL, &vm[2], &e), -EINVAL);
	vm[1] = new_vm(p, 10);
	assert_int_equal(pager_vm_new(p, 10, NULL, &vm[2], &e), -ENOSPC);
	assert_int_equal(pager_map(vm[0], 0, 1, &one.backing, 0, &e), 0);
	assert_int_equal(pager_map(vm[0], 1, 1, &one.backing, 0, &e), 0);
	assert_int_equal(pager_map(vm[0], 2, 1, &one.backing, 0, &e), -ENOSPC);
	pager_vm_free(vm[0]);
	assert_int_equal(pager_map(vm[1], 2, 1, &one.backing, 0, &e), 0);
	pager_vm_free(vm[1]);
	assert_empty(p);
	pager_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_are_constant),
		cmocka_unit_test(life_of_a_page),
		cmocka_unit_test(around),
		cmocka_unit_test(records_run_out),
		cmocka_unit_test(against_a_model),
		cmocka_unit_test(split_and_merge),
		cmocka_unit_test(allocations_fail),
		cmocka_unit_test(limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
