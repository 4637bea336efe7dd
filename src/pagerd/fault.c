// SPDX-License-Identifier: Apache-2.0
// Readers: wait for userfaultfds that have something to say, and give each BUDGET messages in its turn. Descriptors are
// watched edge-triggered: a read that returns less than it asked for has emptied the descriptor, and the next fault wakes
// a reader again; one that returns all it asked for goes to the end of the reader's own line.
#include "fault.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "bulkhead/prda.h"
#include "evict.h"
#include "prda/metrics.h"
#include "queue.h"
#include "base/uffd.h"

enum { BUDGET = 16, LINE = 256, EVENTS = 4, THREADS_MAX = 64 };
/* Threads that fault all the time take the processor from those that end everybody's faults, and a guest that hardly faults waits for it too.
 * A reader has work only as long as guests get a turn to fault, so that it leaves them as much. Without the right to it: as all are. */
enum { READER_NICE = -10 };
#define STOP UINT64_MAX

struct faults {
	struct guests *g;
	struct queue *queue;
	uint32_t cluster;
	int stop;                    // eventfd
	uint32_t readers, workers;
	pthread_t reader[THREADS_MAX], worker[THREADS_MAX];
};

PRDA_DEFINE_COUNTER(faults_taken, "bulkhead_pager_faults_total", "faults taken from guests");
METRICS_DEFINE_HISTOGRAM(fault_ns, "bulkhead_pager_fault_ns", "time of faults that loaded a page, from reading the message to waking");

static void measure(struct guest *guest, uint64_t start)
{
	uint64_t ns = clock_mono_ns() - start;
	metrics_observe(fault_ns, ns);
	int i = ns ? 63 - __builtin_clzll(ns) : 0;
	atomic_fetch_add_explicit(&guest->latency[i < 32 ? i : 31], 1, memory_order_relaxed);
}

/* Write protection is eviction's. While a page is being evicted, eviction will wake; else it is a leftover. */
static void unprotect(struct guest *guest, const struct mapping *m, uint32_t page)
{
	struct pager_claim c;
	uint64_t address, length = mapping_range(m, page, 1, &address);
	int rc = pager_evict_claim(guest->vm, page, &c);
	if (rc == -EBUSY && pager_state(guest->vm, page) == PAGER_EVICTING)
		return;
	if (length && !rc)
		uffd_unprotect(m->uffd, address, length);
	if (!rc)
		pager_evict_cancel(&c);
	guest_wake(guest, page, 1);
}

static void missing(struct faults *f, struct guest *guest, uint32_t map, uint32_t page)
{
	uint64_t start = clock_mono_ns();
	int rc = fault_resolve(guest, map, page, f->cluster, false);
	if (rc == -EINPROGRESS || rc == -ENOMEM) {
		struct queue_item item = { guest_event(guest->handle, map), page };
		if (!queue_put(f->queue, (uint32_t)(guest->handle % GUESTS_MAX), item))
			guest_wake(guest, page, 1);        // it will ask again
		return;
	}
	measure(guest, start);
}

static void removed(struct faults *f, struct guest *guest, const struct mapping *m, uint64_t from, uint64_t to)
{
	for (uint64_t at = from > m->address ? from : m->address;
			at < to && (at - m->address) / PAGER_PAGE < m->pages; at += PAGER_PAGE)
		evict_discard(f->g, guest, m->first + (uint32_t)((at - m->address) / PAGER_PAGE));
}

static void message(struct faults *f, struct guest *guest, uint32_t map, const struct uffd_msg *msg)
{
	const struct mapping *m = &guest->map[map];
	uint64_t at = msg->arg.pagefault.address;
	switch (msg->event) {
	case UFFD_EVENT_PAGEFAULT:
		atomic_fetch_add_explicit(&guest->faults, 1, memory_order_relaxed);
		prda_add(faults_taken, 1);
		if (at < m->address || (at - m->address) / PAGER_PAGE >= m->pages)
			break;                                 // registered by somebody else; not ours to resolve
		if (msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP)
			unprotect(guest, m, m->first + (uint32_t)((at - m->address) / PAGER_PAGE));
		else
			missing(f, guest, map, m->first + (uint32_t)((at - m->address) / PAGER_PAGE));
		break;
	case UFFD_EVENT_REMOVE:
		removed(f, guest, m, msg->arg.remove.start, msg->arg.remove.end);
		break;
	case UFFD_EVENT_FORK:
		close((int)msg->arg.fork.ufd);                 // a child of a VM process is not served
		break;
	default:                                               // moved or unmapped: its faults are its own affair
		break;
	}
}

/* Returns whether there may be more. */
static bool serve(struct faults *f, uint64_t event)
{
	struct uffd_msg msg[BUDGET];
	struct guest *guest = guest_get(f->g, event >> 2);
	uint32_t map = event & 3;
	if (!guest)
		return false;
	ssize_t n = read(guest->map[map].uffd, msg, sizeof(msg));
	for (ssize_t i = 0; n > 0 && i < n / (ssize_t)sizeof(msg[0]); i++)
		message(f, guest, map, &msg[i]);
	guest_put(f->g, guest);
	return n == (ssize_t)sizeof(msg);
}

static void *reader_run(void *arg)
{
	struct faults *f = arg;
	uint64_t line[LINE];
	uint32_t first = 0, count = 0;
	setpriority(PRIO_PROCESS, 0, READER_NICE);             // of this thread
	for (;;) {
		struct epoll_event ev[EVENTS];
		int room = LINE - count < EVENTS ? (int)(LINE - count) : EVENTS;
		int n = room ? epoll_wait(f->g->epoll, ev, room, count ? 0 : -1) : 0;
		for (int i = 0; i < n; i++) {
			if (ev[i].data.u64 == STOP)
				return NULL;
			line[(first + count++) % LINE] = ev[i].data.u64;
		}
		if (!count)
			continue;
		uint64_t event = line[first];
		first = (first + 1) % LINE;
		count--;
		if (serve(f, event))
			line[(first + count++) % LINE] = event;
	}
}

static void work(struct faults *f, uint64_t event, uint32_t page)
{
	struct guest *guest = guest_get(f->g, event >> 2);
	uint64_t start = clock_mono_ns();
	if (!guest)
		return;
	int rc = -ENOMEM;
	for (int tries = 0; tries < 100 && (rc = fault_resolve(guest, event & 3, page, f->cluster, true)) == -ENOMEM; tries++) {
		uint64_t went = evict_pages(f->g, guest, 64);
		if (tries % 8 == 7)
			went += evict_fattest(f->g, 64);       // others may have all there is
		if (!went)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	if (rc == -ENOMEM)
		guest_wake(guest, page, 1);                    // it asks again, and others have their turn
	measure(guest, start);
	guest_put(f->g, guest);
}

static void *worker_run(void *arg)
{
	struct faults *f = arg;
	struct queue_item item;
	int slot;
	while ((slot = queue_get(f->queue, &item)) >= 0) {
		work(f, item.event, item.page);
		queue_done(f->queue, (uint32_t)slot);
	}
	return NULL;
}

static int start_threads(struct faults *f, uint32_t readers, uint32_t workers, struct err *e)
{
	for (; f->readers < readers; f->readers++) {
		int rc = pthread_create(&f->reader[f->readers], NULL, reader_run, f);
		if (rc)
			return err_sys(e, rc, "start a thread for faults");
	}
	for (; f->workers < workers; f->workers++) {
		int rc = pthread_create(&f->worker[f->workers], NULL, worker_run, f);
		if (rc)
			return err_sys(e, rc, "start a thread for slow faults");
	}
	return 0;
}

int faults_start(struct guests *g, uint32_t readers, uint32_t workers, uint32_t cluster, struct faults **out, struct err *e)
{
	if (!readers || readers > THREADS_MAX || !workers || workers > THREADS_MAX || !cluster || cluster > PAGER_CLUSTER_MAX
			|| (cluster & (cluster - 1)))
		return err_set(e, EINVAL, "1 to %d threads of each kind, and 1 to %u pages at once, a power of two", THREADS_MAX,
			PAGER_CLUSTER_MAX);
	struct faults *f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(e, ENOMEM, "no memory for the fault threads");
	f->g = g;
	f->cluster = cluster;
	f->queue = queue_new(GUESTS_MAX, workers / 2);
	g->epoll = epoll_create1(EPOLL_CLOEXEC);
	f->stop = eventfd(0, EFD_CLOEXEC);
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = STOP };
	int rc = 0;
	if (!f->queue)
		rc = err_set(e, ENOMEM, "no memory for the queue of slow faults");
	else if (g->epoll < 0 || f->stop < 0 || epoll_ctl(g->epoll, EPOLL_CTL_ADD, f->stop, &ev))
		rc = err_sys(e, errno, "epoll");
	else
		rc = start_threads(f, readers, workers, e);
	if (rc) {
		faults_stop(f);
		return rc;
	}
	*out = f;
	return 0;
}

void faults_stop(struct faults *f)
{
	if (f->stop >= 0)
		eventfd_write(f->stop, 1);                     // stays readable: all readers see it
	if (f->queue)
		queue_close(f->queue);
	for (uint32_t i = 0; i < f->readers; i++)
		pthread_join(f->reader[i], NULL);
	for (uint32_t i = 0; i < f->workers; i++)
		pthread_join(f->worker[i], NULL);
	if (f->queue)
		queue_free(f->queue);
	if (f->stop >= 0)
		close(f->stop);
	if (f->g->epoll >= 0)
		close(f->g->epoll);
	f->g->epoll = -1;
	free(f);
}
