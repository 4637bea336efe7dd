// SPDX-License-Identifier: Apache-2.0
// Data that is not what it was, and memory that has run out: a guest gets the right bytes, waits, or gets a signal; never others' or
// altered ones, and pagerd goes on.
//	PAGERD: the program. PAGERD_TEST_ONLY: a pattern for names of tests.
#include "test_world.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void written(struct world *w, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		assert_int_equal(guest_ask(&w->guest[0], 'w', i), i + 1);
}

static void as_written(struct world *w, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		assert_int_equal(guest_ask(&w->guest[0], 'r', i), i + 1);
}

static bool answers(struct process *g, int ms, uint64_t *word)
{
	struct { char what; uint64_t page, word; } ask;
	struct timeval limit = { ms / 1000, ms % 1000 * 1000 };
	setsockopt(g->sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	bool came = recv(g->sock, &ask, sizeof(ask), 0) == sizeof(ask);
	limit = (struct timeval){ 0 };
	setsockopt(g->sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (came)
		*word = ask.word;
	return came;
}

static void request(struct process *g, char what, uint64_t page)
{
	struct { char what; uint64_t page, word; } ask = { what, page, 0 };
	assert_int_equal(send(g->sock, &ask, sizeof(ask), 0), sizeof(ask));
}

/* Whoever touches this page gets a signal, and no answer. */
static void signalled(struct world *w, uint64_t page)
{
	uint64_t word = 0;
	request(&w->guest[0], 'r', page);
	assert_false(answers(&w->guest[0], 20000, &word));
	int status = guest_end(&w->guest[0]);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
#else
	assert_int_not_equal(status, 0);                       // the sanitizer's own end
#endif
	assert_true(stats(w).failed >= 1);
}

/* A bit of each compressed page is another one. */
static void compressed_pages_altered(void **state)
{
	(void)state;
	struct world w = open_world(1, asked_guest, "lz4");
	struct stat st;
	unsigned char byte;
	attach(&w);
	guest_go(&w.guest[0]);
	written(&w, 0, 64);
	wait_for(&w, 64 * PAGER_PAGE, 0);
	assert_int_equal(range(&w, PAGER_MSG_EVICT, 0, BYTES), 64);
	wait_for(&w, 0, 64 * PAGER_PAGE);
	as_written(&w, 0, 4);                                  // and these are in memory again
	int fd = open(w.store, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0 && !fstat(fd, &st));
	int altered = 0;
	for (off_t at = 4096 + 40; at < st.st_size; at += 256) {
		off_t data = lseek(fd, at, SEEK_DATA);
		if (data < 0)
			break;
		at = data > at ? data / 256 * 256 + 40 : at;
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= 4;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		altered++;
	}
	close(fd);
	assert_true(altered >= 60);
	as_written(&w, 0, 4);
	signalled(&w, 40);
	detached(&w);
	close_world(&w);
}

/* More is written than the store can hold, even compressed. What does not go in stays in memory, and keeps nothing else from going: small pages,
 * and those that need not be stored. */
static void store_full(void **state)
{
	(void)state;
	static const struct world_sizes small = { .store_mib = 1 };
	struct world w = open_world_of(1, asked_guest, "lz4", &small);
	attach(&w);
	guest_go(&w.guest[0]);
	for (int round = 0; round < 2; round++) {
		written(&w, 0, PAGES);
		wait_for(&w, BYTES, 0);
		uint64_t went = 0;
		for (int i = 0; i < 10; i++)
			went += range(&w, PAGER_MSG_EVICT, 0, BYTES);
		printf("# %lu of %d pages went in\n", (unsigned long)went, PAGES);
		assert_in_range(went, 1500, PAGES - 1);    // the small ones, and some of the others: without these 200
		wait_for(&w, BYTES - went * PAGER_PAGE, went * PAGER_PAGE);
		as_written(&w, 0, PAGES);                          // which makes room again
	}
	assert_int_equal(stats(&w).failed, 0);
	assert_int_equal(guest_end(&w.guest[0]), 0);
	detached(&w);
	close_world(&w);
}

/* Fewer page frame records than pages. Pages that need not be kept make room for others; when all must be kept, the next one waits, of
 * whatever VM, until one ends. */
static void records_run_out(void **state)
{
	(void)state;
	static const struct world_sizes small = { .frames_mib = 8 };
	struct world w = open_world_of(1, asked_guest, "lz4", &small), full = join_world(&w, 1, asked_guest, 0);
	uint64_t word, i;
	attach(&w);
	attach(&full);
	guest_go(&w.guest[0]);
	guest_go(&full.guest[0]);
	for (i = 0; i < PAGES; i++)
		assert_int_equal(guest_ask(&w.guest[0], 'r', i), i < HALF ? 0 : image_word(i - HALF, 5));
	for (i = 0; i < PAGES; i++) {
		request(&full.guest[0], 'w', i);
		if (!answers(&full.guest[0], 1500, &word))
			break;
		assert_int_equal(word, i + 1);
	}
	printf("# page %lu waits\n", (unsigned long)i);
	assert_in_range(i, 1000, 2048);
	request(&w.guest[0], 'w', 5);
	assert_false(answers(&w.guest[0], 300, &word));
	kill(full.guest[0].pid, SIGKILL);
	guest_end(&full.guest[0]);
	leave_world(&full);
	assert_true(answers(&w.guest[0], 20000, &word));
	assert_int_equal(word, 6);
	written(&w, 0, 1000);
	as_written(&w, 0, 1000);
	assert_int_equal(stats(&w).failed, 0);
	assert_int_equal(guest_end(&w.guest[0]), 0);
	detached(&w);
	close_world(&w);
}

// ---- Another host's pages ----

struct peer { int fd; uint32_t served; };

static void *serve_pages(void *arg)
{
	struct peer *p = arg;
	struct { uint64_t page; uint32_t n, zero; } ask;
	while (recv(p->fd, &ask, sizeof(ask), MSG_WAITALL) == sizeof(ask)) {
		struct { int32_t status; uint32_t n; uint64_t page; } head = { 0, ask.n, ask.page };
		uint64_t page[512];
		if (send(p->fd, &head, sizeof(head), MSG_NOSIGNAL) != sizeof(head))
			break;
		for (uint32_t i = 0; i < ask.n; i++) {
			for (uint64_t k = 0; k < 512; k++)
				page[k] = image_word(ask.page + i, k);
			if (send(p->fd, page, sizeof(page), MSG_NOSIGNAL) != sizeof(page))
				break;
		}
		p->served += ask.n;
	}
	return NULL;
}

static void from_another_host(void **state)
{
	(void)state;
	struct world w = open_world(1, asked_guest, "lz4");
	struct pager_attach a = attach_msg(&w);
	int pair[2];
	union any reply;
	pthread_t thread;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	a.vad[1].kind = PAGER_VAD_REMOTE;
	int fds[] = { w.memfd, pair[0], w.guest[0].uffd };
	struct peer peer = { .fd = pair[1] };
	assert_int_equal(pthread_create(&thread, NULL, serve_pages, &peer), 0);
	assert_int_equal(call(&w, &a, sizeof(a), fds, 3, &reply), 0);
	close(pair[0]);
	guest_go(&w.guest[0]);
	for (uint64_t i = 0; i < HALF / 2; i += 37)
		assert_int_equal(guest_ask(&w.guest[0], 'r', HALF + i), image_word(i, 5));
	assert_int_equal(guest_ask(&w.guest[0], 'w', HALF), HALF + 1);
	shutdown(pair[1], SHUT_RDWR);                          // it is gone
	pthread_join(thread, NULL);
	assert_true(peer.served >= HALF / 2 / 37);
	assert_int_equal(guest_ask(&w.guest[0], 'r', HALF), HALF + 1);
	signalled(&w, PAGES - 1);
	detached(&w);
	close(pair[1]);
	close_world(&w);
}

int main(void)
{
	if (!pagerd_testable())
		return 0;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compressed_pages_altered),
		cmocka_unit_test(store_full),
		cmocka_unit_test(records_run_out),
		cmocka_unit_test(from_another_host),
	};
	cmocka_set_test_filter(getenv("PAGERD_TEST_ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
