// SPDX-License-Identifier: Apache-2.0
// bulkhead-pagerd, question by question: single pages, slow backings, limits, bad input, guests that end. storm_test.c has the rest.
//	PAGERD: the program. PAGERD_TEST_ONLY: a pattern for names of tests.
#include "test_world.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/usock.h"

static void one_page_at_a_time(void **state)
{
	(void)state;
	struct world w = open_world(1, asked_guest, "lz4");
	struct process *g = &w.guest[0];
	attach(&w);
	guest_go(g);
	assert_int_equal(guest_ask(g, 'r', 7), 0);
	assert_int_equal(guest_ask(g, 'r', HALF + 7), image_word(7, 5));
	assert_int_equal(guest_ask(g, 'w', 7), 8);
	assert_int_equal(guest_ask(g, 'w', HALF + 7), HALF + 8);
	wait_for(&w, 32 * PAGER_PAGE, 0);
	assert_int_equal(counted(&w, "bulkhead_pager_loaded_zero_total"), 16);
	assert_int_equal(counted(&w, "bulkhead_pager_loaded_copied_total"), 16);
	assert_true(counted(&w, "bulkhead_pager_faults_total") >= 2);
	assert_true(counted(&w, "bulkhead_pager_fault_ns") >= 1);
	assert_int_equal(range(&w, PAGER_MSG_EVICT, 0, BYTES), 32);
	assert_int_equal(counted(&w, "bulkhead_pager_evictions_total"), 2);
	assert_int_equal(counted(&w, "bulkhead_pager_dropped_total"), 30);
	pagerd_end(&w, SIGTERM);
	pagerd_start(&w, "lz4");
	attach(&w);
	wait_for(&w, 0, 2 * PAGER_PAGE);                               // the others were never written: dropped
	assert_int_equal(guest_ask(g, 'r', 7), 8);
	assert_int_equal(guest_ask(g, 'r', HALF + 7), HALF + 8);
	wait_for(&w, 2 * PAGER_PAGE, 0);
	assert_int_equal(counted(&w, "bulkhead_pager_loaded_restored_total"), 2);   // a new process, from 0
	/* Given back: zeros, also where there is a template, also after a restart. */
	assert_int_equal(range(&w, PAGER_MSG_DISCARD, (HALF + 7) * PAGER_PAGE, PAGER_PAGE), 1);
	assert_int_equal(range(&w, PAGER_MSG_DISCARD, 7 * PAGER_PAGE, PAGER_PAGE), 1);
	pagerd_end(&w, SIGKILL);
	pagerd_start(&w, "lz4");
	attach(&w);
	assert_int_equal(guest_ask(g, 'r', HALF + 7), 0);
	assert_int_equal(guest_ask(g, 'r', 7), 0);
	/* Punched out behind our back: zeros. */
	assert_int_equal(guest_ask(g, 'w', 9), 10);
	assert_int_equal(fallocate(w.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 9 * PAGER_PAGE, PAGER_PAGE), 0);
	assert_int_equal(guest_ask(g, 'r', 9), 0);
	assert_int_equal(range(&w, PAGER_MSG_PREFETCH, 0, BYTES) > 0, 1);
	wait_for(&w, BYTES, 0);
	assert_int_equal(stats(&w).failed, 0);
	assert_int_equal(guest_end(g), 0);
	detached(&w);
	close_world(&w);
}

/* What may have to wait goes through the workers. */
static void slow_backing(void **state)
{
	(void)state;
	struct world w = open_world(1, asked_guest, "lz4");
	struct pager_attach a = attach_msg(&w);
	a.vad[1].kind = PAGER_VAD_FILE;
	assert_int_equal(attach_as(&w, &a), 0);
	guest_go(&w.guest[0]);
	for (uint64_t i = 0; i < HALF; i += 37)
		assert_int_equal(guest_ask(&w.guest[0], 'r', HALF + i), image_word(i, 5));
	assert_int_equal(stats(&w).failed, 0);
	assert_int_equal(guest_end(&w.guest[0]), 0);
	close_world(&w);
}

static void below_its_limit(void **state)
{
	(void)state;
	struct world w = open_world(1, asked_guest, "lz4");
	struct pager_limit l = { .head.type = PAGER_MSG_LIMIT, .limit_bytes = 100 * PAGER_PAGE };
	union any reply;
	attach(&w);
	guest_go(&w.guest[0]);
	memcpy(l.vm, w.id, 16);
	assert_int_equal(call(&w, &l, sizeof(l), NULL, 0, &reply), 0);
	for (uint64_t i = 0; i < HALF; i += 4)
		assert_int_equal(guest_ask(&w.guest[0], 'w', i), i + 1);
	for (int i = 0; stats(&w).resident_bytes > 100 * PAGER_PAGE; i++) {
		assert_true(i < 500);
		usleep(10000);
	}
	for (uint64_t i = 0; i < HALF; i += 4)
		assert_int_equal(guest_ask(&w.guest[0], 'r', i), i + 1);
	assert_int_equal(guest_end(&w.guest[0]), 0);
	close_world(&w);
}

/* A template that is shorter than it was: the thread that needs the page gets a signal, the others go on. */
static void template_cut_short(void **state)
{
	(void)state;
	struct world w = open_world(1, asked_guest, "lz4");
	attach(&w);
	guest_go(&w.guest[0]);
	assert_int_equal(guest_ask(&w.guest[0], 'r', HALF + 1), image_word(1, 5));
	assert_int_equal(ftruncate(w.image, 40 * PAGER_PAGE), 0);
	assert_int_equal(guest_ask(&w.guest[0], 'r', HALF + 39), image_word(39, 5));
	assert_int_equal(guest_ask(&w.guest[0], 'r', 3), 0);
	struct { char what; uint64_t page, word; } ask = { 'r', HALF + 41, 0 };
	send(w.guest[0].sock, &ask, sizeof(ask), 0);
	int status = guest_end(&w.guest[0]);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
#else
	assert_int_not_equal(status, 0);
#endif
	assert_true(stats(&w).failed >= 1);
	close_world(&w);
}

static void bad_input(void **state)
{
	(void)state;
	struct world w = open_world(1, asked_guest, "lz4");
	struct pager_attach good = attach_msg(&w), a;
	union any reply;
#define REFUSED(change, code) do { \
		a = good; \
		change; \
		assert_int_equal(attach_as(&w, &a), code); \
	} while (0)
	REFUSED(a.memory_bytes = 0, EINVAL);
	REFUSED(a.memory_bytes = BYTES + 1, EINVAL);
	REFUSED(a.memory_bytes = 2 * BYTES, EINVAL);
	REFUSED(a.memfd = 9, EINVAL);
	REFUSED(a.memfd = 2, EINVAL);
	REFUSED(a.maps = 0, EINVAL);
	REFUSED(a.maps = UINT32_MAX, EINVAL);
	REFUSED(a.vads = PAGER_VADS_MAX + 1, EINVAL);
	REFUSED(a.map[0].fd = 1, EINVAL);
	REFUSED(a.map[0].fd = 77, EINVAL);
	REFUSED(a.map[0].address += 1, EINVAL);
	REFUSED(a.map[0].length = 2 * BYTES, EINVAL);
	REFUSED(a.map[0].offset = UINT64_MAX & ~4095ull, EINVAL);
	REFUSED(a.map[0].address = 4096, EINVAL);                      // nothing is mapped there
	REFUSED(a.vad[0].kind = 9, EINVAL);
	REFUSED(a.vad[0].pages = UINT64_MAX, EINVAL);
	REFUSED(a.vad[1].first_page = 0, EEXIST);
	REFUSED(a.vad[1].backing_page = 1, EINVAL);
	REFUSED(a.vad[1].backing_page = UINT64_MAX, EINVAL);
	REFUSED(a.vad[1].fd = 2, EINVAL);
	REFUSED((a.vad[1].kind = PAGER_VAD_REMOTE), EINVAL);
	REFUSED((void)0, 0);
	REFUSED((void)0, EEXIST);
	a = good;
	assert_int_equal(call(&w, &a, sizeof(a) - 1, NULL, 0, &reply), EPROTO);
	a.head.type = 99;
	assert_int_equal(call(&w, &a, sizeof(a), NULL, 0, &reply), EPROTO);
	struct pager_range r = { .head.type = PAGER_MSG_DISCARD, .length = 1 };
	assert_int_equal(call(&w, &r, sizeof(r), NULL, 0, &reply), ENOENT);
	memcpy(r.vm, w.id, 16);
	assert_int_equal(call(&w, &r, sizeof(r), NULL, 0, &reply), EINVAL);
	r.length = UINT64_MAX & ~4095ull;
	assert_int_equal(call(&w, &r, sizeof(r), NULL, 0, &reply), EINVAL);
	uint32_t version[4] = { 7 };
	assert_int_equal(usock_send(w.sock, version, sizeof(version), NULL, 0), 0);
	size_t none = 0;
	assert_int_equal(usock_recv(w.sock, &reply, sizeof(reply), NULL, &none), sizeof(struct pager_error));
	assert_int_equal(usock_send(w.sock, "x", 1, NULL, 0), 0);
	assert_int_equal(usock_recv(w.sock, &reply, sizeof(reply), NULL, &none), sizeof(struct pager_error));
	guest_go(&w.guest[0]);
	assert_int_equal(guest_ask(&w.guest[0], 'r', HALF), image_word(0, 5));
	assert_int_equal(guest_end(&w.guest[0]), 0);
	detached(&w);
	close_world(&w);
}

int main(void)
{
	if (!pagerd_testable())
		return 0;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_page_at_a_time),
		cmocka_unit_test(bad_input),
		cmocka_unit_test(slow_backing),
		cmocka_unit_test(below_its_limit),
		cmocka_unit_test(template_cut_short),
	};
	cmocka_set_test_filter(getenv("PAGERD_TEST_ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
