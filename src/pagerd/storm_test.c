// SPDX-License-Identifier: Apache-2.0
// Right bytes: two processes that share a guest's memory touch it from several threads against a shadow copy, one of them through the
// kernel as devices do, while pages are evicted, prefetched and given back, and pagerd is killed and started again, or finds that
// calls fail. Needs userfaultfd (root, or a kernel that allows it); skipped without.
//	PAGERD: the program. PAGERD_TEST_SECONDS: how long each storm lasts (1). FAIL_SHIM: fail_shim.c, built.
//	PAGERD_TEST_ONLY: a pattern for names of tests.
#include "test_world.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/usock.h"

enum { THREADS = 4, SLOTS = 2 * THREADS };
enum { BALLOON = 256 };          // the last pages of the first half: used and given back in turns, by one thread

static _Atomic bool done, wrong;

struct toucher { uint32_t slot; uint64_t *shadow; int pipe[2]; };   // pipe: a device's, which uses it for all of its accesses

static uint64_t get(const struct toucher *t, volatile uint64_t *p)
{
	uint64_t v = 0;
	if (t->pipe[0] < 0)
		return *p;
	if (write(t->pipe[1], (const void *)p, sizeof(*p)) != sizeof(*p) || read(t->pipe[0], &v, sizeof(v)) != sizeof(v))
		wrong = true;
	return v;
}

static void set(const struct toucher *t, volatile uint64_t *p, uint64_t v)
{
	if (t->pipe[0] < 0)
		*p = v;
	else if (write(t->pipe[1], &v, sizeof(v)) != sizeof(v) || read(t->pipe[0], (void *)p, sizeof(*p)) != sizeof(*p))
		wrong = true;
}

static bool balloons(uint64_t page) { return page >= HALF - BALLOON && page < HALF; }

/* A page that was given back holds zeros, or what it held, until it is written again. */
static void *balloon(void *arg)
{
	int memfd = *(int *)arg;
	for (uint64_t i = 1; !done; i++) {
		uint64_t page = HALF - BALLOON + i * 31 % BALLOON;
		volatile uint64_t *p = guest_memory + page * 512;
		p[3] = i;
		sched_yield();
		if (p[3] != i || (fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(page * PAGER_PAGE), PAGER_PAGE), p[3])
				% i) {
			fprintf(stderr, "# balloon page %lu: %lx, not %lx\n", (unsigned long)page, (unsigned long)p[3], (unsigned long)i);
			wrong = true;
		}
		if (i % 64 == 0)
			usleep(1000);
	}
	return NULL;
}

/* Each thread has a word of its own in every page, and looks at one that nobody writes. */
static void *touch(void *arg)
{
	struct toucher *t = arg;
	uint64_t x = t->slot * 7919 + 1;
	while (!done) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		uint64_t page = (x >> 33) % PAGES, hot = (x >> 20) % 4 ? page : page % 64;
		volatile uint64_t *p = guest_memory + hot * 512;
		if (balloons(hot))
			continue;
		uint64_t got = get(t, &p[t->slot]), still = get(t, &p[500]), want = hot >= HALF ? image_word(hot - HALF, 500) : 0;
		if (got != t->shadow[hot] || still != want) {
			fprintf(stderr, "# slot %u page %lu: %lx, not %lx; word 500: %lx, not %lx\n", t->slot, (unsigned long)hot,
				(unsigned long)got, (unsigned long)t->shadow[hot], (unsigned long)still, (unsigned long)want);
			wrong = true;
			return NULL;
		}
		if (x >> 63)
			set(t, &p[t->slot], t->shadow[hot] = x | 1);
	}
	for (uint64_t i = 0; i < PAGES; i++)
		if (!balloons(i) && get(t, &guest_memory[i * 512 + t->slot]) != t->shadow[i])
			wrong = true;
	return NULL;
}

static int storm_guest(int sock, int side, int memfd)
{
	pthread_t thread[THREADS], giver = 0;
	struct toucher t[THREADS];
	char c;
	for (int i = 0; i < THREADS; i++) {
		t[i].slot = (uint32_t)(side * THREADS + i);
		t[i].shadow = calloc(PAGES, sizeof(uint64_t));
		for (uint64_t p = HALF; p < PAGES; p++)
			t[i].shadow[p] = image_word(p - HALF, t[i].slot);
		t[i].pipe[0] = -1;
		if (side && pipe2(t[i].pipe, O_CLOEXEC))
			return 1;
		pthread_create(&thread[i], NULL, touch, &t[i]);
	}
	if (!side)
		pthread_create(&giver, NULL, balloon, &memfd);
	while (!wrong && recv(sock, &c, 1, MSG_DONTWAIT) < 0)
		usleep(5000);
	done = true;
	if (!side)
		pthread_join(giver, NULL);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		free(t[i].shadow);
	}
	return wrong;
}

static uint64_t storm_ns(void)
{
	const char *s = getenv("PAGERD_TEST_SECONDS");
	return s ? strtoull(s, NULL, 10) * NS_PER_S : NS_PER_S;
}

static void eviction_storm(const char *codec)
{
	struct world w = open_world(2, storm_guest, codec);
	attach(&w);
	guest_go(&w.guest[0]);
	guest_go(&w.guest[1]);
	uint64_t evicted = 0;
	for (uint64_t end = clock_mono_ns() + storm_ns(); clock_mono_ns() < end; usleep(1000))
		evicted += range(&w, PAGER_MSG_EVICT, 0, 200 * PAGER_PAGE);
	struct pager_stats s = stats(&w);
	assert_int_equal(guest_end(&w.guest[0]), 0);
	assert_int_equal(guest_end(&w.guest[1]), 0);
	assert_int_equal(s.failed, 0);
	assert_true(s.restored > 100 && s.evictions > 100 && evicted >= s.evictions);
	printf("# %s: faults %lu restored %lu evicted %lu dropped %lu\n", codec, (unsigned long)s.faults, (unsigned long)s.restored,
		(unsigned long)s.evictions, (unsigned long)s.dropped);
	close_world(&w);
}

static void right_bytes_lz4(void **state) { (void)state; eviction_storm("lz4"); }
static void right_bytes_zstd(void **state) { (void)state; eviction_storm("zstd"); }

static void killed_and_started_again(void **state)
{
	(void)state;
	struct world w = open_world(2, storm_guest, "lz4");
	attach(&w);
	guest_go(&w.guest[0]);
	guest_go(&w.guest[1]);
	int kills = 0;
	for (uint64_t end = clock_mono_ns() + 2 * storm_ns(); clock_mono_ns() < end || kills < 3; kills++) {
		/* Killed in the middle of an eviction: the request is sent, its answer not waited for. */
		for (int i = 0; i < kills % 4; i++)
			range(&w, PAGER_MSG_EVICT, 0, 300 * PAGER_PAGE);
		struct pager_range r = { .head = { PAGER_MSG_VERSION, PAGER_MSG_EVICT, 1 }, .length = BYTES };
		memcpy(r.vm, w.id, 16);
		usock_send(w.sock, &r, sizeof(r), NULL, 0);
		usleep((useconds_t)(kills * 977 % 15000));
		pagerd_end(&w, SIGKILL);
		pagerd_start(&w, "lz4");
		attach(&w);
	}
	usleep(50000);
	struct pager_stats s = stats(&w);
	assert_int_equal(guest_end(&w.guest[0]), 0);
	assert_int_equal(guest_end(&w.guest[1]), 0);
	assert_int_equal(s.failed, 0);
	assert_true(kills > 2);
	printf("# killed %d times\n", kills);
	close_world(&w);
}

/* Everything at the same time, for PAGERD_TEST_SECONDS. */
static void all_at_once(void **state)
{
	(void)state;
	struct world w = open_world(2, storm_guest, "lz4");
	attach(&w);
	guest_go(&w.guest[0]);
	guest_go(&w.guest[1]);
	uint64_t x = 1, next_kill = clock_mono_ns() + storm_ns() / 4, kills = 0, prefetched = 0;
	for (uint64_t end = clock_mono_ns() + storm_ns(); clock_mono_ns() < end; usleep(500)) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		uint64_t at = (x >> 33) % (PAGES - 512) * PAGER_PAGE;
		range(&w, PAGER_MSG_EVICT, 0, (x >> 40) % 400 * PAGER_PAGE);
		prefetched += range(&w, PAGER_MSG_PREFETCH, at, (x >> 50) % 512 * PAGER_PAGE);
		if (clock_mono_ns() < next_kill)
			continue;
		pagerd_end(&w, SIGKILL);
		pagerd_start(&w, "lz4");
		attach(&w);
		kills++;
		next_kill = clock_mono_ns() + NS_PER_S / 3;
	}
	struct pager_stats s = stats(&w);
	assert_int_equal(guest_end(&w.guest[0]), 0);
	assert_int_equal(guest_end(&w.guest[1]), 0);
	assert_int_equal(s.failed, 0);
	assert_true(kills && prefetched);
	printf("# killed %lu times, prefetched %lu pages\n", (unsigned long)kills, (unsigned long)prefetched);
	close_world(&w);
}

/* What a pagerd has that finds each call failing once: it may end or refuse, but never gives out wrong bytes or forgets a
 * thread that waits. */
static int attach_if_it_lives(struct world *w)
{
	struct pager_attach a = attach_msg(w);
	static uint64_t id = 1000;
	union any reply;
	int fds[4] = { w->memfd, w->image, w->guest[0].uffd, w->guest[1].uffd };
	size_t none = 0;
	a.head = (struct pager_msg){ PAGER_MSG_VERSION, PAGER_MSG_ATTACH, ++id };
	if (usock_send(w->sock, &a, sizeof(a), fds, 4) || usock_recv(w->sock, &reply, sizeof(reply), NULL, &none) <= 0)
		return -EPIPE;
	return reply.head.type == PAGER_MSG_ERROR ? -reply.error.code : 0;
}

/* Ask for something, whatever comes of it. Returns false: no pagerd answers. */
static bool provoke(struct world *w, uint32_t type, uint64_t offset, uint64_t length)
{
	struct pager_range r = { .head = { PAGER_MSG_VERSION, type, 7 }, .offset = offset, .length = length };
	union any reply;
	size_t none = 0;
	memcpy(r.vm, w->id, 16);
	return !usock_send(w->sock, &r, sizeof(r), NULL, 0) && usock_recv(w->sock, &reply, sizeof(reply), NULL, &none) > 0;
}

static uint64_t places(const char *path)
{
	uint64_t n = 0, key;
	FILE *f = fopen(path, "re");
	while (f && fread(&key, sizeof(key), 1, f) == 1 && key)
		n++;
	if (f)
		fclose(f);
	return n;
}

/* Until pagerd runs and has the guests. */
static void revive(struct world *w)
{
	struct err e = ERR_INIT;
	for (int i = 0; i < 2000; i++) {
		int status;
		if (w->pagerd > 0 && waitpid(w->pagerd, &status, WNOHANG) == w->pagerd)
			w->pagerd = 0;
		if (!w->pagerd)
			pagerd_spawn(w, "lz4");
		if (w->sock < 0)
			w->sock = usock_connect(w->control, SOCK_SEQPACKET, &e);
		if (w->sock >= 0)
			setsockopt(w->sock, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_sec = 20 }, sizeof(struct timeval));
		int rc = w->sock < 0 ? -ECONNREFUSED : attach_if_it_lives(w);
		if (!rc || rc == -EEXIST)
			return;
		if (rc == -EPIPE) {
			close(w->sock);
			w->sock = -1;
		}
		usleep(2000);
	}
	fail_msg("pagerd does not come back: %s", e.text);
}

static void everything_fails_once(void **state)
{
	(void)state;
	char file[96];
	if (!getenv("FAIL_SHIM"))
		skip();
	struct world w = open_world(2, storm_guest, "lz4");
	snprintf(file, sizeof(file), "%s/failed", w.dir);
	pagerd_end(&w, SIGTERM);
	setenv("FAIL_FILE", file, 1);
	setenv("FAIL_PRELOAD", getenv("FAIL_SHIM"), 1);
	w.pagerd = 0;
	w.sock = -1;
	revive(&w);
	guest_go(&w.guest[0]);
	guest_go(&w.guest[1]);
	uint64_t x = 1;
	for (uint64_t end = clock_mono_ns() + 3 * storm_ns(); clock_mono_ns() < end; usleep(500)) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		if (!provoke(&w, PAGER_MSG_EVICT, 0, (x >> 40) % 400 * PAGER_PAGE)
				|| !provoke(&w, PAGER_MSG_PREFETCH, (x >> 33) % (PAGES - 512) * PAGER_PAGE, 100 * PAGER_PAGE)) {
			close(w.sock);
			w.sock = -1;
			revive(&w);
		}
	}
	unsetenv("FAIL_PRELOAD");
	assert_int_equal(guest_end(&w.guest[0]), 0);
	assert_int_equal(guest_end(&w.guest[1]), 0);
	printf("# %lu places have failed\n", (unsigned long)places(file));
	assert_true(places(file) > 25);
	unlink(file);
	close_world(&w);
}

/* A guest process that dies in mid-fault takes nobody with it. */
static void dead_guest(void **state)
{
	(void)state;
	struct world w = open_world(2, storm_guest, "lz4");
	attach(&w);
	guest_go(&w.guest[0]);
	guest_go(&w.guest[1]);
	usleep(30000);
	kill(w.guest[0].pid, SIGKILL);
	for (int i = 0; i < 20; i++)
		range(&w, PAGER_MSG_EVICT, 0, 100 * PAGER_PAGE);
	usleep(30000);
	assert_true(WIFSIGNALED(guest_end(&w.guest[0])));
	assert_int_equal(guest_end(&w.guest[1]), 0);
	detached(&w);
	close_world(&w);
}

int main(void)
{
	if (!pagerd_testable())
		return 0;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right_bytes_lz4),
		cmocka_unit_test(right_bytes_zstd),
		cmocka_unit_test(killed_and_started_again),
		cmocka_unit_test(all_at_once),
		cmocka_unit_test(everything_fails_once),
		cmocka_unit_test(dead_guest),
	};
	cmocka_set_test_filter(getenv("PAGERD_TEST_ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
