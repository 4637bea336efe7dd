// SPDX-License-Identifier: Apache-2.0
// Eviction of a run of pages. At every point the page is whole in the guest, in the store, or in both:
//  1. claim the pages; 2. write-protect them in every mapping; 3. read them from the memfd and put them in the store;
//  4. punch them out of the memfd; 5. give the claims back; 6. lift the protection, which also wakes whoever ran into
//     the protection or the hole meanwhile.
// Killed between 3 and 4, the page is in both, and the guest's is what the next pagerd keeps.
#include "evict.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/uffd.h"
#include "prda/metrics.h"
#include "pressure.h"

enum {
	RUN = 32,
	RUNS_IN_VAIN = 16,           // in a row: the store is full, or nearly, and others wait; the hand goes on from there the next time
};
#define STAYS UINT32_MAX

PRDA_DEFINE_COUNTER(evictions, "bulkhead_pager_evictions_total", "pages put into the store and taken out of guests");
PRDA_DEFINE_COUNTER(dropped, "bulkhead_pager_dropped_total", "pages taken out of guests that could be had again without the store");
PRDA_DEFINE_GAUGE(resident_pages, "bulkhead_pager_resident_pages", "pages of all guests in memory, when eviction last looked");

struct run {
	struct pager_claim claim[RUN];
	uint32_t handle[RUN];        // 0: dropped, its VAD has the same bytes; STAYS: the store has no room for it
	uint32_t first, count;
};

static int protect(struct guest *guest, uint32_t first, uint32_t count, bool on)
{
	int rc = 0;
	for (uint32_t i = 0; i < guest->maps; i++) {
		uint64_t address, length = mapping_range(&guest->map[i], first, count, &address);
		int fd = guest->map[i].uffd;
		int this = !length ? 0 : on ? uffd_protect(fd, address, length) : uffd_unprotect(fd, address, length);
		rc = rc ? rc : this == -ESRCH ? 0 : this;      // that process is gone: it writes no more
	}
	return rc;
}

/* The handle of a page that is safe elsewhere, or STAYS. */
static uint32_t save(struct guests *g, struct guest *guest, const struct pager_claim *c)
{
	unsigned char page[PAGER_PAGE];
	uint32_t handle = 0;
	if (pread(guest->memfd, page, sizeof(page), (off_t)c->page * PAGER_PAGE) != PAGER_PAGE)
		return STAYS;
	if (c->backing->ops->same && c->backing->ops->same(c->backing, c->backing_page, page))
		return 0;
	return store_put(g->store, guest->key, c->page, page, &handle) ? STAYS : handle;
}

/* Take pages from..to out of the guest's memory; all of them are safe elsewhere. */
static void punch(struct guests *g, struct guest *guest, struct run *r, uint32_t from, uint32_t to)
{
	if (from == to || !fallocate(guest->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(r->first + from) * PAGER_PAGE,
			(off_t)(to - from) * PAGER_PAGE))
		return;
	for (uint32_t i = from; i < to; i++) {
		if (r->handle[i])
			store_release(g->store, r->handle[i]);
		r->handle[i] = STAYS;
	}
}

/* Those of a protected run that can go, go. */
static void take_out(struct guests *g, struct guest *guest, struct run *r)
{
	uint32_t from = 0;
	for (uint32_t i = 0; i < r->count; i++) {
		r->handle[i] = save(g, guest, &r->claim[i]);
		if (r->handle[i] == STAYS) {
			punch(g, guest, r, from, i);
			from = i + 1;
		}
	}
	punch(g, guest, r, from, r->count);
}

static uint64_t evict_run(struct guests *g, struct guest *guest, struct run *r)
{
	uint64_t gone = 0;
	memset(r->handle, 0xff, sizeof(r->handle));            // STAYS
	if (!protect(guest, r->first, r->count, true))
		take_out(g, guest, r);
	for (uint32_t i = 0; i < r->count; i++) {
		gone += r->handle[i] != STAYS;
		if (r->handle[i] == STAYS) {
			pager_evict_cancel(&r->claim[i]);
		} else if (r->handle[i]) {
			pager_evicted(&r->claim[i], r->handle[i]);
			atomic_fetch_add_explicit(&guest->evictions, 1, memory_order_relaxed);
			prda_add(evictions, 1);
		} else {
			pager_dropped(&r->claim[i]);
			atomic_fetch_add_explicit(&guest->dropped, 1, memory_order_relaxed);
			prda_add(dropped, 1);
		}
	}
	if (protect(guest, r->first, r->count, false))
		guest_wake(guest, r->first, r->count);         // who runs into it again has it lifted by the fault
	return gone;
}

static uint16_t now_ticks(void) { return (uint16_t)(clock_mono_ns() / (NS_PER_S / 10)); }

/* Pages in a row from page on that are at least so old. */
static void gather(struct guest *guest, uint32_t page, int age, uint64_t most, struct run *r)
{
	uint16_t now = now_ticks();
	r->first = page;
	r->count = 0;
	while (r->count < RUN && r->count < most && pager_age(guest->vm, (uint64_t)page + r->count, now) >= age
			&& !pager_evict_claim(guest->vm, (uint64_t)page + r->count, &r->claim[r->count]))
		r->count++;
}

uint64_t evict_pages(struct guests *g, struct guest *guest, uint64_t pages)
{
	static const int ages[] = { 100, 10, 0 };              // tenths of a second
	uint64_t all = pager_vm_pages(guest->vm), gone = 0;
	uint32_t in_vain = 0;
	struct run *r = malloc(sizeof(*r));
	if (!r)
		return 0;
	pthread_mutex_lock(&guest->evict_lock);
	for (size_t a = 0; a < sizeof(ages) / sizeof(ages[0]) && gone < pages; a++) {
		for (uint64_t seen = 0; seen < all && gone < pages; ) {
			gather(guest, guest->hand, ages[a], pages - gone, r);
			uint64_t went = r->count ? evict_run(g, guest, r) : 0;
			uint64_t step = r->count ? r->count : 1;
			gone += went;
			seen += step;
			guest->hand = (uint32_t)((guest->hand + step) % all);
			if (r->count)                          // pages that are not there say nothing of the store
				in_vain = went ? 0 : in_vain + 1;
			if (in_vain == RUNS_IN_VAIN)
				pages = 0;
		}
	}
	pthread_mutex_unlock(&guest->evict_lock);
	free(r);
	return gone;
}

int evict_discard(struct guests *g, struct guest *guest, uint32_t page)
{
	static const unsigned char zeros[PAGER_PAGE];
	struct pager_claim c;
	uint32_t handle = 0;
	int rc = pager_evict_claim(guest->vm, page, &c);
	if (rc == -ENOENT && guest->plain)
		return pager_discard(guest->vm, page);         // the store need not keep it
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	/* Where the VAD is not zeros, the store must say that this page is: a later pagerd has no other way to know. */
	bool same = c.backing == backing_zero();
	rc = same ? 0 : store_put(g->store, guest->key, page, zeros, &handle);
	if (!rc && fallocate(guest->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)page * PAGER_PAGE, PAGER_PAGE)) {
		rc = -errno;
		if (handle)
			store_release(g->store, handle);
	}
	if (rc)
		pager_evict_cancel(&c);
	else if (same)
		pager_dropped(&c);
	else
		pager_evicted(&c, handle);
	guest_wake(guest, page, 1);
	return rc;
}

/* Under a claim nobody puts the page there. */
static bool is_hole(const struct guest *guest, uint32_t page)
{
	off_t at = (off_t)page * PAGER_PAGE, data = lseek(guest->memfd, at, SEEK_DATA);
	return data < 0 ? errno == ENXIO : data > at;
}

static uint64_t forget_hole(struct guest *guest, uint64_t first, uint64_t end)
{
	uint64_t gone = 0;
	for (uint64_t page = first; page < end; page++) {
		struct pager_claim c;
		if (pager_state(guest->vm, page) != PAGER_RESIDENT || pager_evict_claim(guest->vm, page, &c))
			continue;
		if (is_hole(guest, (uint32_t)page)) {
			pager_zeroed(&c);
			gone++;
		} else {
			pager_evict_cancel(&c);
		}
		guest_wake(guest, (uint32_t)page, 1);
	}
	return gone;
}

uint64_t evict_reconcile(struct guest *guest)
{
	uint64_t all = pager_vm_pages(guest->vm), gone = 0, page = 0;
	while (page < all) {
		off_t hole = lseek(guest->memfd, (off_t)(page * PAGER_PAGE), SEEK_HOLE);
		if (hole < 0 || (uint64_t)hole / PAGER_PAGE >= all)
			break;
		off_t data = lseek(guest->memfd, hole, SEEK_DATA);
		uint64_t end = data < 0 ? all : (uint64_t)data / PAGER_PAGE;
		gone += forget_hole(guest, (uint64_t)hole / PAGER_PAGE, end < all ? end : all);
		page = end;
	}
	return gone;
}

// ---- Reclaim ----

enum { PERIOD_MS = 50, HOUSEKEEPING = 20 };      // so many periods

struct reclaim {
	struct guests *g;
	struct pressure *pressure;
	uint32_t round;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool stop;
};

static uint64_t resident(const struct guest *guest)
{
	struct pager_vm_usage u;
	pager_vm_usage(guest->vm, &u);
	return u.resident;
}

/* Of one thread only: what two of them find to be too much, both would take. */
static void keep_limits(struct guests *g)
{
	for (uint32_t i = 0; i < GUESTS_MAX; i++) {
		struct guest *guest = guest_at(g, i);
		if (!guest)
			continue;
		uint64_t has = resident(guest), limit = guest->limit;
		if (limit && has > limit)
			evict_pages(g, guest, has - limit);
		guest_put(g, guest);
	}
}

static uint64_t above_reserve(const struct guest *guest)
{
	uint64_t has = resident(guest), reserve = guest->reserve;
	return has > reserve ? has - reserve : 0;
}

/* All guests' pages; *fattest: the one furthest above what it has reserved, by its shares, counted. */
static uint64_t survey(struct guests *g, struct guest **fattest)
{
	uint64_t sum = 0, most = 0;
	*fattest = NULL;
	for (uint32_t i = 0; i < GUESTS_MAX; i++) {
		struct guest *guest = guest_at(g, i);
		if (!guest)
			continue;
		sum += resident(guest);
		uint64_t above = above_reserve(guest) * GUEST_SHARES / guest->shares;
		if (above > most) {
			most = above;
			if (*fattest)
				guest_put(g, *fattest);
			*fattest = guest;
		} else {
			guest_put(g, guest);
		}
	}
	return sum;
}

uint64_t evict_fattest(struct guests *g, uint64_t pages)
{
	struct guest *fattest;
	survey(g, &fattest);
	if (!fattest)
		return 0;
	uint64_t above = above_reserve(fattest), gone = evict_pages(g, fattest, pages < above ? pages : above);
	guest_put(g, fattest);
	return gone;
}

/* At most so much at once: then another may be the fattest. */
enum { PART = 4096 };

/* Returns whether there is more to do at once. */
static bool reclaim_once(struct reclaim *r)
{
	struct guest *fattest;
	pager_set_time(r->g->pager, now_ticks());
	keep_limits(r->g);
	uint64_t sum = survey(r->g, &fattest);
	metrics_gauge_set(resident_pages, (int64_t)sum);
	uint64_t over = pressure_excess(r->pressure, sum), went = 0;
	if (!fattest)
		return false;
	if (over) {
		uint64_t above = above_reserve(fattest);
		over = over < PART ? over : PART;
		went = evict_pages(r->g, fattest, over < above ? over : above);
	}
	guest_put(r->g, fattest);
	return went == PART;
}

static bool alive(const struct guest *guest)
{
	for (uint32_t i = 0; i < guest->maps; i++)
		if (uffd_alive(guest->map[i].uffd, guest->map[i].address))
			return true;
	return false;
}

/* More holes in the memfd than there would be if all pages that are counted as resident were there? */
static bool gave_back(const struct guest *guest)
{
	struct stat st;
	return !fstat(guest->memfd, &st) && (uint64_t)st.st_blocks * 512 / PAGER_PAGE < resident(guest);
}

static void housekeeping(struct reclaim *r)
{
	for (uint32_t i = 0; i < GUESTS_MAX; i++) {
		struct guest *guest = guest_at(r->g, i);
		if (!guest)
			continue;
		struct store_key key = guest->key;
		bool lives = alive(guest);
		if (lives && gave_back(guest))
			evict_reconcile(guest);
		guest_put(r->g, guest);
		if (!lives && !guest_detach(r->g, (const uint8_t *)&key, NULL))
			log_info("guest", "its processes are gone");
	}
}

static void *reclaim_run(void *arg)
{
	struct reclaim *r = arg;
	pthread_mutex_lock(&r->lock);
	while (!r->stop) {
		struct timespec t;
		pthread_mutex_unlock(&r->lock);
		bool more = reclaim_once(r);
		if (r->round++ % HOUSEKEEPING == 0)
			housekeeping(r);
		clock_gettime(CLOCK_REALTIME, &t);
		t.tv_nsec += more ? 0 : PERIOD_MS * 1000000;
		t.tv_sec += t.tv_nsec / 1000000000;
		t.tv_nsec %= 1000000000;
		pthread_mutex_lock(&r->lock);
		if (!r->stop)
			pthread_cond_timedwait(&r->cond, &r->lock, &t);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

int reclaim_start(struct guests *g, struct pressure *p, struct reclaim **out, struct err *e)
{
	struct reclaim *r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(e, ENOMEM, "no memory for the thread that evicts");
	r->g = g;
	r->pressure = p;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->cond, NULL);
	pager_set_time(g->pager, now_ticks());
	int rc = pthread_create(&r->thread, NULL, reclaim_run, r);
	if (rc) {
		free(r);
		return err_sys(e, rc, "start the thread that evicts");
	}
	*out = r;
	return 0;
}

void reclaim_stop(struct reclaim *r)
{
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_signal(&r->cond);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	pthread_cond_destroy(&r->cond);
	pthread_mutex_destroy(&r->lock);
	free(r);
}
