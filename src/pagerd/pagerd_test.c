// SPDX-License-Identifier: Apache-2.0
// bulkhead-pagerd with ordinary processes as guests: one that computes, and one that stands for its devices, map the same
// memfd, hand their userfaultfds over, and touch pages from several threads against a shadow copy, while pages are evicted,
// prefetched and given back, and pagerd is killed and started again, or finds that calls fail. The device touches memory
// through the kernel, as reads and writes of files do. Needs userfaultfd (root, or a kernel that allows it); skipped without.
//	PAGERD: the program. PAGERD_TEST_SECONDS: how long each storm lasts (1). FAIL_SHIM: fail_shim.c, built.
//	PAGERD_TEST_ONLY: a pattern for names of tests.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/usock.h"
#include "pager/pager.h"
#include "prda/metrics_view.h"
#include "proto/pager_msg.h"
#include "base/uffd.h"

enum { PAGES = 4096, HALF = PAGES / 2, THREADS = 4, SLOTS = 2 * THREADS };
enum { BALLOON = 256 };          // the last pages of the first half: used and given back in turns, by one thread
#define BYTES ((uint64_t)PAGES * PAGER_PAGE)

// ---- Guests: forked before the test has threads ----

struct process { pid_t pid; int sock, uffd; uint64_t address; };

/* What word of a page the template holds. */
static uint64_t image_word(uint64_t page, uint64_t word) { return (page * 0x9e3779b97f4a7c15ull) ^ (word << 32) ^ 77; }

static volatile uint64_t *memory;
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
		volatile uint64_t *p = memory + page * 512;
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
		volatile uint64_t *p = memory + hot * 512;
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
		if (!balloons(i) && get(t, &memory[i * 512 + t->slot]) != t->shadow[i])
			wrong = true;
	return NULL;
}

static int storm_guest(int sock, int side, int memfd)
{
	pthread_t thread[THREADS], giver;
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

/* Reads "r page", answers with word 5 of it; "w page" writes page + 1 there. */
static int asked_guest(int sock, int side, int memfd)
{
	struct { char what; uint64_t page, word; } ask;
	(void)side, (void)memfd;
	while (recv(sock, &ask, sizeof(ask), 0) == sizeof(ask)) {
		if (ask.what == 'w')
			memory[ask.page * 512 + 5] = ask.page + 1;
		ask.word = memory[ask.page * 512 + 5];
		if (send(sock, &ask, sizeof(ask), 0) < 0)
			return 1;
	}
	return 0;
}

static struct process guest_start(int memfd, int side, int (*fn)(int sock, int side, int memfd))
{
	int s[2];
	struct process p = { .uffd = -1 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	p.pid = fork();
	assert_true(p.pid >= 0);
	if (p.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGBUS, SIG_DFL);       // cmocka catches it
		signal(SIGSEGV, SIG_DFL);
		memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
		int uffd = uffd_open();
		uint64_t address = (uintptr_t)memory;
		char go;
		if (uffd < 0 || usock_send(s[1], &address, sizeof(address), &uffd, 1))
			_exit(3);
		if (recv(s[1], &go, 1, 0) != 1)
			_exit(4);
		close(s[0]);
		_exit(fn(s[1], side, memfd));
	}
	size_t n = 1;
	close(s[1]);
	p.sock = s[0];
	assert_int_equal(usock_recv(p.sock, &p.address, sizeof(p.address), &p.uffd, &n), sizeof(p.address));
	assert_int_equal(n, 1);
	return p;
}

static void guest_go(struct process *p) { assert_int_equal(send(p->sock, "g", 1, 0), 1); }

static int guest_end(struct process *p)
{
	int status = -1;
	shutdown(p->sock, SHUT_WR);
	waitpid(p->pid, &status, 0);
	close(p->sock);
	close(p->uffd);
	return status;
}

static uint64_t guest_ask(struct process *p, char what, uint64_t page)
{
	struct { char what; uint64_t page, word; } ask = { what, page, 0 };
	assert_int_equal(send(p->sock, &ask, sizeof(ask), 0), sizeof(ask));
	assert_int_equal(recv(p->sock, &ask, sizeof(ask), 0), sizeof(ask));
	return ask.word;
}

// ---- pagerd, and what hostd would do ----

struct world {
	char dir[64], control[96], store[96], metrics[96];
	pid_t pagerd;
	int sock;
	int memfd, image;
	struct process guest[2];
	uint32_t guests;
};

static void pagerd_spawn(struct world *w, const char *codec)
{
	w->pagerd = fork();
	assert_true(w->pagerd >= 0);
	if (w->pagerd == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		const char *program = getenv("PAGERD"), *shim = getenv("FAIL_PRELOAD");
		if (shim)
			setenv("LD_PRELOAD", shim, 1);
		execl(program, "bulkhead-pagerd", "--control", w->control, "--store", w->store, "--store-mib", "64", "--frames-mib",
			"64", "--readers", "3", "--codec", codec, "--metrics", w->metrics, (char *)NULL);
		_exit(127);
	}
}

static void pagerd_start(struct world *w, const char *codec)
{
	struct err e = ERR_INIT;
	pagerd_spawn(w, codec);
	for (int i = 0; i < 1000; i++) {
		w->sock = usock_connect(w->control, SOCK_SEQPACKET, &e);
		if (w->sock >= 0)
			return;
		usleep(10000);
	}
	fail_msg("pagerd does not start: %s", e.text);
}

static void pagerd_end(struct world *w, int sig)
{
	int status;
	kill(w->pagerd, sig);
	assert_int_equal(waitpid(w->pagerd, &status, 0), w->pagerd);
	assert_true(sig == SIGKILL || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
	close(w->sock);
}

union any { struct pager_msg head; struct pager_stats stats; struct pager_done done; struct pager_host host; struct pager_error error; };

/* Returns 0, or the code of the error that was answered. */
static int call(struct world *w, void *msg, size_t len, const int *fds, size_t nfds, union any *reply)
{
	static uint64_t id;
	struct pager_msg *head = msg;
	head->version = PAGER_MSG_VERSION;
	head->id = ++id;
	assert_int_equal(usock_send(w->sock, msg, len, fds, nfds), 0);
	size_t none = 0;
	assert_true(usock_recv(w->sock, reply, sizeof(*reply), NULL, &none) >= (ssize_t)sizeof(struct pager_msg));
	assert_int_equal(reply->head.id, id);
	if (reply->head.type == PAGER_MSG_ERROR) {
		assert_true(reply->error.code > 0 && *reply->error.text);
		return reply->error.code;
	}
	assert_int_equal(reply->head.type, head->type);
	return 0;
}

static const uint8_t vm_id[16] = "pagerd test vm";

static struct pager_attach attach_msg(const struct world *w)
{
	struct pager_attach a = { .head.type = PAGER_MSG_ATTACH, .memory_bytes = BYTES, .memfd = 0, .maps = w->guests, .vads = 2 };
	memcpy(a.vm, vm_id, 16);
	for (uint32_t i = 0; i < w->guests; i++)
		a.map[i] = (struct pager_map){ .address = w->guest[i].address, .length = BYTES, .fd = 2 + i };
	a.vad[0] = (struct pager_vad){ .kind = PAGER_VAD_ZERO, .pages = HALF };
	a.vad[1] = (struct pager_vad){ .kind = PAGER_VAD_TEMPLATE, .fd = 1, .first_page = HALF, .pages = HALF };
	return a;
}

static int attach_as(struct world *w, struct pager_attach *a)
{
	union any reply;
	int fds[4] = { w->memfd, w->image, w->guest[0].uffd, w->guests > 1 ? w->guest[1].uffd : w->memfd };
	return call(w, a, sizeof(*a), fds, 4, &reply);
}

static void attach(struct world *w)
{
	struct pager_attach a = attach_msg(w);
	assert_int_equal(attach_as(w, &a), 0);
}

static uint64_t range(struct world *w, uint32_t type, uint64_t offset, uint64_t length)
{
	struct pager_range r = { .head.type = type, .offset = offset, .length = length };
	union any reply;
	memcpy(r.vm, vm_id, 16);
	assert_int_equal(call(w, &r, sizeof(r), NULL, 0, &reply), 0);
	return reply.done.pages;
}

struct wanted { const char *name; uint64_t value; bool found; };

static void on_metric(void *user, const struct metrics_source *s, const struct prda_reader *r, const struct prda_variable *v)
{
	struct wanted *w = user;
	assert_string_equal(s->program, "pagerd");
	if (strcmp(v->name, w->name))
		return;
	w->found = true;
	for (uint32_t i = v->kind == PRDA_HISTOGRAM; i < v->size / 8; i++)   // of a histogram: how many
		w->value += prda_reader_sum(r, v, i);
}

/* What another process reads of pagerd's counters. */
static uint64_t counted(struct world *w, const char *name)
{
	struct err e = ERR_INIT;
	struct wanted wanted = { .name = name };
	struct metrics_view *view = metrics_view_new(w->metrics);
	assert_int_equal(metrics_view_refresh(view, &e), 0);
	assert_int_equal(metrics_view_regions(view), 1);
	metrics_view_read(view, on_metric, &wanted);
	metrics_view_free(view);
	assert_true(wanted.found);
	return wanted.value;
}

static struct pager_stats stats(struct world *w)
{
	struct pager_vm_ref r = { .head.type = PAGER_MSG_STATS };
	union any reply;
	memcpy(r.vm, vm_id, 16);
	assert_int_equal(call(w, &r, sizeof(r), NULL, 0, &reply), 0);
	return reply.stats;
}

/* A guest goes on as soon as its page is there; pagerd's books are closed a moment later. */
static void wait_for(struct world *w, uint64_t resident, uint64_t evicted)
{
	struct pager_stats s = stats(w);
	for (int i = 0; i < 500 && (s.resident_bytes != resident || s.evicted_bytes != evicted); i++, s = stats(w))
		usleep(10000);
	assert_int_equal(s.resident_bytes, resident);
	assert_int_equal(s.evicted_bytes, evicted);
}

static int template_image(void)
{
	int fd = memfd_create("template", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint64_t page[512];
	for (uint64_t i = 0; i < HALF; i++) {
		for (uint64_t k = 0; k < 512; k++)
			page[k] = image_word(i, k);
		assert_int_equal(write(fd, page, sizeof(page)), sizeof(page));
	}
	return fd;
}

static struct world open_world(uint32_t guests, int (*fn)(int, int, int), const char *codec)
{
	struct world w = { .guests = guests };
	snprintf(w.dir, sizeof(w.dir), "/tmp/bh-pagerd-test-XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	snprintf(w.control, sizeof(w.control), "%s/control", w.dir);
	snprintf(w.store, sizeof(w.store), "%s/store", w.dir);
	snprintf(w.metrics, sizeof(w.metrics), "%s/metrics", w.dir);
	w.memfd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(w.memfd, BYTES), 0);
	w.image = template_image();
	for (uint32_t i = 0; i < guests; i++)
		w.guest[i] = guest_start(w.memfd, (int)i, fn);
	pagerd_start(&w, codec);
	return w;
}

static void close_world(struct world *w)
{
	pagerd_end(w, SIGTERM);
	close(w->memfd);
	close(w->image);
	unlink(w->control);
	unlink(w->store);
	assert_int_equal(dir_remove(w->metrics, NULL), 0);
	assert_int_equal(rmdir(w->dir), 0);
}

static uint64_t storm_ns(void)
{
	const char *s = getenv("PAGERD_TEST_SECONDS");
	return s ? strtoull(s, NULL, 10) * NS_PER_S : NS_PER_S;
}

// ---- Tests ----

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
		memcpy(r.vm, vm_id, 16);
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
	memcpy(r.vm, vm_id, 16);
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

static void detached(struct world *w)
{
	struct pager_vm_ref r = { .head.type = PAGER_MSG_DETACH };
	struct pager_msg h = { .type = PAGER_MSG_HOST };
	union any reply;
	memcpy(r.vm, vm_id, 16);
	assert_int_equal(call(w, &r, sizeof(r), NULL, 0, &reply), 0);
	assert_int_equal(call(w, &r, sizeof(r), NULL, 0, &reply), ENOENT);
	assert_int_equal(call(w, &h, sizeof(h), NULL, 0, &reply), 0);
	assert_int_equal(reply.host.vms, 0);
	assert_int_equal(reply.host.frames_used, 0);
	assert_int_equal(reply.host.store_pages, 0);
}

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
	memcpy(l.vm, vm_id, 16);
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
	memcpy(r.vm, vm_id, 16);
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
	int uffd = uffd_open();
	if (uffd < 0 || !getenv("PAGERD")) {
		printf("1..0 # SKIP userfaultfd is not allowed here, or PAGERD is not set\n");
		return 0;
	}
	close(uffd);
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_page_at_a_time),
		cmocka_unit_test(bad_input),
		cmocka_unit_test(right_bytes_lz4),
		cmocka_unit_test(right_bytes_zstd),
		cmocka_unit_test(killed_and_started_again),
		cmocka_unit_test(all_at_once),
		cmocka_unit_test(everything_fails_once),
		cmocka_unit_test(slow_backing),
		cmocka_unit_test(below_its_limit),
		cmocka_unit_test(template_cut_short),
		cmocka_unit_test(dead_guest),
	};
	cmocka_set_test_filter(getenv("PAGERD_TEST_ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
