// SPDX-License-Identifier: Apache-2.0
// Page tables go back to the host: those of guests that end, and those of ranges that are unmapped. Counted in bytes that the pager
// holds and in pages that the kernel has in memory.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "pager_internal.h"

#define HUGE_PAGE ((uint64_t)2 << 20)

static struct pager *new_pager(void)
{
	struct pager *p = NULL;
	assert_int_equal(pager_new(&(struct pager_options){ .frames = 4096, .vads = 1000, .vms = 200 }, &p, NULL), 0);
	return p;
}

static struct pager_vm *new_vm(struct pager *p, uint64_t pages)
{
	struct pager_vm *vm = NULL;
	assert_int_equal(pager_vm_new(p, pages, NULL, &vm, NULL), 0);
	return vm;
}

static void map(struct pager_vm *vm, uint64_t first, uint64_t pages)
{
	assert_int_equal(pager_map(vm, first, pages, backing_zero(), 0, NULL), 0);
}

static void unmap(struct pager_vm *vm, uint64_t first, uint64_t pages)
{
	assert_int_equal(pager_unmap(vm, first, pages, NULL), 0);
}

static uint64_t held(struct pager *p)
{
	struct pager_usage u;
	pager_usage(p, &u);
	return u.table_bytes;
}

/* Pages of a leaf table that are in memory. */
static size_t in_memory(const struct pager_vm *vm, size_t leaf)
{
	size_t pages = (leaf_size(vm, leaf) + PAGER_PAGE - 1) / PAGER_PAGE, n = 0;
	unsigned char there[512];
	assert_int_equal(mincore(vm->leaf[leaf], pages * PAGER_PAGE, there), 0);
	for (size_t i = 0; i < pages; i++)
		n += there[i] & 1;
	return n;
}

static void with_the_guest(void **state)
{
	static const uint64_t pages[] = { 1, 100, 1 << 14, 152 << 10, 1 << 18, (1 << 18) + 1, (3 << 19) + 1 };
	(void)state;
	struct pager *p = new_pager();
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		assert_int_equal(held(p), 0);
		struct pager_vm *vm = new_vm(p, pages[i]);
		map(vm, 0, pages[i]);
		assert_in_range(held(p), pages[i] * 4, pages[i] * 4 + HUGE_PAGE);
		pager_vm_free(vm);
	}
	assert_int_equal(held(p), 0);
	pager_free(p);
}

/* Of 608 MiB three fit in a huge page: 60 guests need 20, and as they go in any order each goes with its last. */
static void shared_ones_with_the_last_guest(void **state)
{
	(void)state;
	struct pager *p = new_pager();
	struct pager_vm *vm[60];
	for (int i = 0; i < 60; i++)
		map(vm[i] = new_vm(p, 152 << 10), 0, 152 << 10);
	assert_int_equal(held(p), 20 * HUGE_PAGE);
	for (int i = 0; i < 60; i++)
		if (i % 3)
			pager_vm_free(vm[i]);
	assert_int_equal(held(p), 20 * HUGE_PAGE);
	for (int i = 1; i < 60; i++)
		if (i % 3) {
			vm[i] = new_vm(p, 152 << 10);           // where the others were, with nothing of theirs
			for (uint64_t page = 0; page < 152 << 10; page += 997)
				assert_int_equal(pager_state(vm[i], page), PAGER_NONE);
		}
	assert_int_equal(held(p), 20 * HUGE_PAGE);
	uint64_t before = held(p);
	for (int i = 0; i < 60; i++) {
		pager_vm_free(vm[i * 7 % 60]);
		assert_true(held(p) <= before);
		before = held(p);
	}
	assert_int_equal(before, 0);
	pager_free(p);
}

static void with_the_last_range(void **state)
{
	(void)state;
	struct pager *p = new_pager();
	struct pager_vm *vm = new_vm(p, 2 << LEAF_BITS);
	struct pager_trace t;
	struct pager_claim c;
	for (int round = 0; round < 2; round++) {
		map(vm, 0, 2 << LEAF_BITS);
		assert_int_equal(in_memory(vm, 0), 512);
		unmap(vm, 0, LEAF_ENTRIES - 1);
		assert_int_equal(in_memory(vm, 0), 512);                // one page of it is still mapped
		assert_non_null(pager_lookup_traced(vm, LEAF_ENTRIES - 1, &t));
		assert_int_equal(t.steps, 5);
		unmap(vm, LEAF_ENTRIES - 1, 2);                         // and one of the next table
		assert_int_equal(in_memory(vm, 0), 0);
		assert_int_equal(in_memory(vm, 1), 512);
		assert_null(pager_lookup(vm, 7));
		assert_int_equal(pager_claim(vm, 7, 1, &c), -EFAULT);
		map(vm, 5, 10);
		assert_non_null(pager_lookup_traced(vm, 7, &t));
		assert_int_equal(t.steps, 5);
		assert_int_equal(pager_claim(vm, 7, 1, &c), 0);
		pager_loaded(&c, 1);
		unmap(vm, 0, 2 << LEAF_BITS);
		assert_int_equal(in_memory(vm, 0) + in_memory(vm, 1), 0);
	}
	pager_vm_free(vm);
	assert_int_equal(held(p), 0);
	pager_free(p);
}

struct fault_thread { struct pager_vm *vm; _Atomic bool *stop; _Atomic uint64_t loaded; unsigned seed; };

static void *fault(void *arg)
{
	struct fault_thread *f = arg;
	struct pager_claim c;
	while (!*f->stop) {
		int rc = pager_claim(f->vm, (uint64_t)rand_r(&f->seed) % (1 << LEAF_BITS), 1, &c);
		if (rc && rc != -EFAULT && rc != -EEXIST && rc != -EBUSY && rc != -EAGAIN && rc != -ENOMEM)
			break;
		if (!rc) {
			pager_loaded(&c, 1);
			f->loaded++;
		}
	}
	return NULL;
}

/* Faults go on in a table that is emptied and filled again. */
static void beside_faults(void **state)
{
	(void)state;
	struct pager *p = new_pager();
	struct pager_vm *vm = new_vm(p, 1 << LEAF_BITS);
	struct pager_vm_usage u;
	_Atomic bool stop = false;
	pthread_t thread[2];
	struct fault_thread f[2];
	for (int i = 0; i < 2; i++) {
		f[i] = (struct fault_thread){ .vm = vm, .stop = &stop, .seed = (unsigned)i + 1 };
		assert_int_equal(pthread_create(&thread[i], NULL, fault, &f[i]), 0);
	}
	for (int round = 0; round < 20 || !f[0].loaded || !f[1].loaded; round++) {
		map(vm, 0, 1 << LEAF_BITS);
		unmap(vm, 0, 1 << LEAF_BITS);
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	pager_vm_usage(vm, &u);
	assert_int_equal(u.resident, 0);
	for (uint64_t page = 0; page < 1 << LEAF_BITS; page += 101)
		assert_int_equal(pager_state(vm, page), PAGER_NONE);
	pager_vm_free(vm);
	assert_int_equal(held(p), 0);
	pager_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_the_guest),
		cmocka_unit_test(shared_ones_with_the_last_guest),
		cmocka_unit_test(with_the_last_range),
		cmocka_unit_test(beside_faults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
