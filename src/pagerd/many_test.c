// SPDX-License-Identifier: Apache-2.0
// Several VMs in one pagerd: what each waits when another floods it, and who keeps how much when memory is short.
//	PAGERD: the program. PAGERD_TEST_ONLY: a pattern for names of tests. MANY_TEST_MS: how long each measures (1500).
#include "test_world.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum { FLOODS = 3, FLOOD_THREADS = 32, SAMPLES = 8192 };

static unsigned long measured_ms(void)
{
	const char *text = getenv("MANY_TEST_MS");
	return text ? strtoul(text, NULL, 10) : 1500;
}

// ---- Guests that fault for ever: each page that was touched is punched out again ----

struct waits { uint64_t count, p50_ns, p99_ns; };
struct samples { pthread_mutex_t lock; uint64_t ns[SAMPLES]; uint32_t n; uint64_t all; };
struct toucher { struct samples *s; int memfd; uint32_t first, pages, pause_us; };

static void *touch(void *arg)
{
	const struct toucher *t = arg;
	for (uint32_t i = 0;; i = (i + 1) % t->pages) {
		uint64_t page = t->first + i, start = clock_mono_ns();
		guest_memory[page * 512 + 5] = page;
		uint64_t ns = clock_mono_ns() - start;
		if (ns >= 2000) {                              // less is no round trip: the page had come with its neighbour
			pthread_mutex_lock(&t->s->lock);
			t->s->ns[t->s->all++ % SAMPLES] = ns;
			t->s->n += t->s->n < SAMPLES;
			pthread_mutex_unlock(&t->s->lock);
		}
		if (fallocate(t->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)page * PAGER_PAGE, PAGER_PAGE))
			_exit(5);
		if (t->pause_us)
			usleep(t->pause_us);
	}
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* Answers each message with what it has waited since the last. side 0: one thread, now and then; else many, without a pause. */
static int faulting_guest(int sock, int side, int memfd)
{
	static struct samples s = { .lock = PTHREAD_MUTEX_INITIALIZER };
	static struct toucher t[FLOOD_THREADS];
	uint32_t threads = side ? FLOOD_THREADS : 1;
	char ask;
	for (uint32_t i = 0; i < threads; i++) {
		pthread_t thread;
		t[i] = (struct toucher){ &s, memfd, i * (HALF / threads), HALF / threads, side ? 0 : 500 };
		if (pthread_create(&thread, NULL, touch, &t[i]))
			return 1;
	}
	while (recv(sock, &ask, 1, 0) == 1) {
		pthread_mutex_lock(&s.lock);
		qsort(s.ns, s.n, sizeof(s.ns[0]), by_size);
		struct waits w = { s.all, s.n ? s.ns[s.n / 2] : 0, s.n ? s.ns[(uint64_t)s.n * 99 / 100] : 0 };
		s.n = 0;
		s.all = 0;
		pthread_mutex_unlock(&s.lock);
		if (send(sock, &w, sizeof(w), 0) != sizeof(w))
			return 1;
	}
	return 0;
}

static struct waits waits_of(struct world *w)
{
	struct waits r;
	assert_int_equal(send(w->guest[0].sock, "?", 1, 0), 1);
	assert_int_equal(recv(w->guest[0].sock, &r, sizeof(r), 0), sizeof(r));
	return r;
}

static void say(const char *who, const struct waits *w)
{
	printf("# %s: %lu faults, p50 %lu us, p99 %lu us\n", who, (unsigned long)w->count, (unsigned long)w->p50_ns / 1000,
		(unsigned long)w->p99_ns / 1000);
}

/* 96 threads of three VMs fault without a pause, and one of a fourth VM beside them: it is served, and does not wait far longer than they do,
 * on a machine that others use, too. That guests take turns whatever the order of arrival is queue_test.c's to show, by counting them. */
static void who_floods_waits_for_himself(void **state)
{
	(void)state;
	struct world w = open_world(1, faulting_guest, "lz4"), flood[FLOODS];
	for (int i = 0; i < FLOODS; i++)
		flood[i] = join_world(&w, (uint8_t)(i + 1), faulting_guest, 1);
	attach(&w);
	for (int i = 0; i < FLOODS; i++)
		attach(&flood[i]);
	guest_go(&w.guest[0]);
	usleep(300000);
	struct waits alone = waits_of(&w), quiet, loud;
	for (int i = 0; i < FLOODS; i++)
		guest_go(&flood[i].guest[0]);
	usleep(200000);
	waits_of(&w);
	for (int i = 0; i < FLOODS; i++)
		waits_of(&flood[i]);
	usleep((useconds_t)measured_ms() * 1000);
	quiet = waits_of(&w);
	say("alone", &alone);
	say("beside a flood", &quiet);
	uint64_t of_floods = 0;
	for (int i = 0; i < FLOODS; i++) {
		loud = waits_of(&flood[i]);
		say("who floods", &loud);
		assert_true(loud.count > quiet.count);
		of_floods += loud.p50_ns / FLOODS;
	}
	assert_true(quiet.count >= 10);
	assert_true(quiet.p50_ns < of_floods * 3 + 30000000);
	for (int i = 0; i < FLOODS; i++) {
		guest_end(&flood[i].guest[0]);
		leave_world(&flood[i]);
	}
	guest_end(&w.guest[0]);
	detached(&w);
	close_world(&w);
}

// ---- Memory ----

/* Writes to all pages of the first half in turn, and looks whether what it wrote the last time is there. */
static int writing_guest(int sock, int side, int memfd)
{
	char ask;
	(void)side, (void)memfd;
	for (uint64_t round = 1;; round++) {
		for (uint64_t i = 0; i < HALF; i++) {
			volatile uint64_t *word = guest_memory + i * 512 + 5;
			if (*word != (round > 1 ? round - 1 + i : 0))
				return 6;
			*word = round + i;
			if (i % 16)
				continue;
			usleep(1000);
			if (recv(sock, &ask, 1, MSG_DONTWAIT) == 0)
				return 0;
		}
	}
}

static void attach_with(struct world *w, uint64_t reserve_pages, uint32_t shares)
{
	struct pager_attach a = attach_msg(w);
	a.reserve_bytes = reserve_pages * PAGER_PAGE;
	a.shares = shares;
	assert_int_equal(attach_as(w, &a), 0);
}

/* 8 MiB for three VMs that use 18. One has reserved the 2 it uses, and keeps them though it does not touch them; of the others, one has
 * twice the shares. */
static void reserved_and_shared(void **state)
{
	(void)state;
	static const struct world_sizes small = { .memory_mib = 8 };
	struct world kept = open_world_of(1, asked_guest, "lz4", &small);
	struct world twice = join_world(&kept, 1, writing_guest, 0), once = join_world(&kept, 2, writing_guest, 0);
	attach_with(&kept, 512, 100);
	attach_with(&twice, 0, 200);
	attach_with(&once, 0, 100);
	guest_go(&kept.guest[0]);
	for (uint64_t i = 0; i < 512; i++)
		assert_int_equal(guest_ask(&kept.guest[0], 'w', i), i + 1);
	guest_go(&twice.guest[0]);
	guest_go(&once.guest[0]);
	for (int i = 0; !stats(&twice).evictions || !stats(&once).evictions; i++) {
		assert_true(i < 3000);
		usleep(10000);
	}
	uint64_t of_twice = 0, of_once = 0, most = 0;
	for (unsigned long i = 0; i < measured_ms() / 5 + 100; i++, usleep(5000)) {
		uint64_t a = stats(&twice).resident_bytes, b = stats(&once).resident_bytes;
		of_twice += a;
		of_once += b;
		most = a + b > most ? a + b : most;
	}
	printf("# shares 200 to 100: memory %lu to 100; at most %lu KiB of the 6 MiB for both at one time\n", (unsigned long)(of_twice * 100 / of_once),
		(unsigned long)most >> 10);
	assert_in_range(of_twice * 100 / of_once, 130, 300);
	struct pager_stats s = stats(&kept);
	assert_int_equal(s.evictions + s.dropped, 0);
	assert_true(s.resident_bytes >= 512 * PAGER_PAGE);
	assert_int_equal(guest_end(&twice.guest[0]), 0);
	assert_int_equal(guest_end(&once.guest[0]), 0);
	for (uint64_t i = 0; i < 512; i++)
		assert_int_equal(guest_ask(&kept.guest[0], 'r', i), i + 1);
	assert_int_equal(guest_end(&kept.guest[0]), 0);
	leave_world(&twice);
	leave_world(&once);
	detached(&kept);
	close_world(&kept);
}

int main(void)
{
	if (!pagerd_testable())
		return 0;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_floods_waits_for_himself),
		cmocka_unit_test(reserved_and_shared),
	};
	cmocka_set_test_filter(getenv("PAGERD_TEST_ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
