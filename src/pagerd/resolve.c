// SPDX-License-Identifier: Apache-2.0
// One fault: claim, load, give back, wake.
//
// A fault that meets a claim is sent away: whoever holds the claim will wake its thread. Most of these threads are woken
// by the copy itself. Those of other mappings are not, nor those whose page the guest gave back between the copy and the
// end of the claim. So who is sent away counts that first and then looks at the page again; the holder gives the claim
// back and then looks at the count. One of the two sees the other.
#include <errno.h>
#include <sched.h>

#include "base/log.h"
#include "bulkhead/prda.h"
#include "fault.h"
#include "base/uffd.h"

PRDA_DEFINE_COUNTER(zero, "bulkhead_pager_loaded_zero_total", "pages given as zeros");
PRDA_DEFINE_COUNTER(copied, "bulkhead_pager_loaded_copied_total", "pages copied from a backing file");
PRDA_DEFINE_COUNTER(restored, "bulkhead_pager_loaded_restored_total", "evicted pages brought back");
PRDA_DEFINE_COUNTER(failed, "bulkhead_pager_failed_total", "pages that could not be had");

static _Thread_local unsigned char buffer[PAGER_CLUSTER_MAX * PAGER_PAGE] __attribute__((aligned(4096)));

/* Nobody can give the guest this page: whoever touches it gets a signal, and is not left asleep for ever. */
static void give_up(struct guest *guest, uint32_t page, int why)
{
	atomic_fetch_add_explicit(&guest->failed, 1, memory_order_relaxed);
	prda_add(failed, 1);
	log_limited(LOG_LEVEL_ERROR, "fault", "a page cannot be had page=%u error=%d", page, why);
	for (uint32_t i = 0; i < guest->maps; i++) {
		uint64_t address, length = mapping_range(&guest->map[i], page, 1, &address);
		int rc = length ? uffd_poison(guest->map[i].uffd, address, length) : 0;
		if (rc && rc != -EEXIST)
			log_limited(LOG_LEVEL_ERROR, "fault", "and it cannot be poisoned, its thread waits error=%d", rc);
	}
}

/* The page should be there, and somebody faulted: the fault is old, or the guest punched the page out of the memfd. */
static int settle(struct guest *guest, uint32_t map, uint32_t page)
{
	struct pager_claim c;
	uint64_t address, done;
	int rc = pager_evict_claim(guest->vm, page, &c);
	if (rc)
		return -EAGAIN;                                // it changes just now: look again
	if (mapping_range(&guest->map[map], page, 1, &address))
		uffd_copy(guest->map[map].uffd, address, NULL, PAGER_PAGE, &done);   // EEXIST, most of the time
	pager_evict_cancel(&c);
	guest_wake(guest, page, 1);
	return 0;
}

/* Put the claimed pages in place through a mapping. Returns how many are; *rc: why not all. */
static uint32_t place(const struct mapping *m, const struct pager_claim *c, const unsigned char *data, int *rc)
{
	uint64_t address = 0, length = mapping_range(m, c->page, c->count, &address), at = 0, done;
	*rc = 0;
	while (at < length) {
		*rc = uffd_copy(m->uffd, address + at, data ? data + at : NULL, length - at, &done);
		at += done;
		if (*rc == -EEXIST)
			at += done ? 0 : PAGER_PAGE;   // that one is there; with some done, the call says so again
		else if (*rc && *rc != -EAGAIN)
			break;
	}
	if (at >= length)
		*rc = 0;
	return (uint32_t)(at / PAGER_PAGE);
}

static void count(struct guest *guest, const struct pager_claim *c, const void *data, uint32_t pages)
{
	_Atomic uint64_t *which = c->count == 1 && c->backing->ops->release ? &guest->restored : data ? &guest->copied : &guest->zero;
	atomic_fetch_add_explicit(which, pages, memory_order_relaxed);
	prda_add(which == &guest->restored ? restored : which == &guest->copied ? copied : zero, pages);
}

/* Give claims back; n pages are in place. before: the count, from before the claim. */
static void give_back(struct guest *guest, struct pager_claim *c, uint32_t n, uint64_t before)
{
	pager_loaded(c, n);
	if (atomic_fetch_add(&guest->sent_away, 0) != before)
		guest_wake(guest, c->page, c->count);
}

/* Returns whether the page is still claimed by another. */
static bool send_away(struct guest *guest, uint32_t page)
{
	atomic_fetch_add(&guest->sent_away, 1);
	enum pager_state now = pager_state(guest->vm, page);
	return now == PAGER_LOADING || now == PAGER_EVICTING;
}

/* With a claim: load. Returns 0 when page is there. */
static int load(struct guest *guest, uint32_t map, uint32_t page, struct pager_claim *c, uint64_t before)
{
	const void *data = NULL;
	int rc = c->backing->ops->load(c->backing, c->backing_page, c->count, buffer, &data);
	uint32_t done = rc ? 0 : place(&guest->map[map], c, data, &rc);
	count(guest, c, data, done);
	give_back(guest, c, done, before);
	return page < c->page + done ? 0 : rc;
}

/* How many pages can be loaded at once through this mapping: all of the cluster must be in it. */
static uint32_t fit(const struct mapping *m, uint32_t page, uint32_t cluster)
{
	uint32_t low = page & ~(cluster - 1);
	return low >= m->first && (uint64_t)low + cluster <= (uint64_t)m->first + m->pages ? cluster : 1;
}

int fault_resolve(struct guest *guest, uint32_t map, uint32_t page, uint32_t cluster, bool may_wait)
{
	uint32_t most = fit(&guest->map[map], page, cluster);
	for (;;) {
		struct pager_claim c;
		uint64_t before = atomic_load(&guest->sent_away);
		int rc = pager_claim(guest->vm, page, most, &c);
		if (rc == -EEXIST)
			rc = settle(guest, map, page);
		else if (!rc && c.backing->ops->may_block && !may_wait) {
			give_back(guest, &c, 0, before);
			return -EINPROGRESS;
		} else if (!rc) {
			rc = load(guest, map, page, &c, before);
		} else if (rc == -EBUSY) {
			if (send_away(guest, page))
				return 0;
			continue;
		}
		if (rc == -EAGAIN) {
			sched_yield();
			continue;
		}
		if (rc == 0 || rc == -ENOMEM || rc == -ESRCH || rc == -ENOENT)   // gone with its process, or its mapping
			return rc;
		if (most == 1) {
			give_up(guest, page, rc);
			return rc;
		}
		most = 1;   // perhaps it was a neighbour
	}
}
