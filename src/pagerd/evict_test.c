// SPDX-License-Identifier: Apache-2.0
// How much eviction takes, from whom, and when it gives up. Guests without processes: a memfd, and pages in it.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "evict.h"

enum { PAGES = 4096 };

static struct guests *g;
static bool full;
static unsigned puts;

int __real_store_put(struct backing *b, struct store_key key, uint32_t page, const void *data, uint32_t *handle);
int __wrap_store_put(struct backing *b, struct store_key key, uint32_t page, const void *data, uint32_t *handle);

int __wrap_store_put(struct backing *b, struct store_key key, uint32_t page, const void *data, uint32_t *handle)
{
	puts++;
	return full ? -ENOSPC : __real_store_put(b, key, page, data, handle);
}

static int setup(void **state)
{
	(void)state;
	int fd = memfd_create("store", MFD_CLOEXEC);
	g = calloc(1, sizeof(*g));
	g->epoll = -1;
	assert_int_equal(store_new(fd, 32 << 20, STORE_RAW, NULL, &g->store, NULL), 0);
	close(fd);
	struct pager_options o = { .frames = 65536, .vads = 64, .vms = 8, .store = g->store };
	assert_int_equal(pager_new(&o, &g->pager, NULL), 0);
	full = false;
	puts = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pager_free(g->pager);
	backing_put(g->store);
	free(g);
	return 0;
}

/* So many pages that are not zeros, one in every so many of its memory. */
static struct guest *guest_with(uint32_t slot, uint32_t pages, uint32_t every)
{
	struct guest *guest = calloc(1, sizeof(*guest));
	pthread_mutex_init(&guest->evict_lock, NULL);
	guest->shares = GUEST_SHARES;
	guest->key.word[0] = slot + 1;
	guest->memfd = memfd_create("guest", MFD_CLOEXEC);
	assert_int_equal(ftruncate(guest->memfd, (off_t)PAGES * PAGER_PAGE), 0);
	assert_int_equal(pager_vm_new(g->pager, PAGES, guest, &guest->vm, NULL), 0);
	struct backing *zero = backing_zero();
	assert_int_equal(pager_map(guest->vm, 0, PAGES, zero, 0, NULL), 0);
	backing_put(zero);
	for (uint32_t i = 0; i < pages; i++) {
		assert_int_equal(pwrite(guest->memfd, &(char){ 'x' }, 1, (off_t)i * every * PAGER_PAGE), 1);
		assert_int_equal(pager_adopt_resident(guest->vm, (uint64_t)i * every), 0);
	}
	guest->handle = (uint64_t)GUESTS_MAX + slot;           // its first attachment
	g->slot[slot].guest = guest;
	g->slot[slot].word = 1ull << 32 | 1;
	return guest;
}

static void gone(struct guest *guest)
{
	assert_int_equal(g->slot[guest->handle % GUESTS_MAX].word, 1ull << 32 | 1);   // nobody has it
	pager_vm_free(guest->vm);
	close(guest->memfd);
	pthread_mutex_destroy(&guest->evict_lock);
	free(guest);
}

static uint64_t resident(const struct guest *guest)
{
	struct pager_vm_usage u;
	pager_vm_usage(guest->vm, &u);
	return u.resident;
}

/* Also where each run is one page, with pages that are not there in between. */
static void full_store(void **state)
{
	(void)state;
	struct guest *guest = guest_with(0, PAGES / 2, 2);
	full = true;
	assert_int_equal(evict_pages(g, guest, PAGES), 0);
	assert_in_range(puts, 1, 64);
	uint32_t hand = guest->hand;
	assert_int_not_equal(hand, 0);                         // the next time it goes on
	full = false;
	assert_int_equal(evict_pages(g, guest, PAGES), PAGES / 2);
	gone(guest);
}

static void only_above_reserve(void **state)
{
	(void)state;
	struct guest *fat = guest_with(0, 512, 1), *limited = guest_with(1, 12, 1);
	fat->reserve = 508;
	limited->reserve = 12;
	limited->limit = 10;                                   // another thread sees to that
	assert_int_equal(evict_fattest(g, 64), 4);
	assert_int_equal(resident(fat), 508);
	assert_int_equal(resident(limited), 12);
	assert_int_equal(evict_fattest(g, 64), 0);
	fat->reserve = 0;
	assert_int_equal(evict_fattest(g, 64), 64);
	assert_int_equal(resident(fat), 444);
	gone(fat);
	gone(limited);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(full_store, setup, teardown),
		cmocka_unit_test_setup_teardown(only_above_reserve, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
