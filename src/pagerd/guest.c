// SPDX-License-Identifier: Apache-2.0
// A slot's word: generation in the upper half, holders + 1 in the lower (0: no guest). A handle is generation and slot,
// so that an event of a guest that is gone finds nobody.
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "base/uffd.h"

#define SLOT_BITS 12
_Static_assert(GUESTS_MAX == 1u << SLOT_BITS, "handles");

static uint64_t handle_of(uint32_t slot, uint32_t generation) { return (uint64_t)generation << SLOT_BITS | slot; }

struct guest *guest_get(struct guests *g, uint64_t handle)
{
	struct guest_slot *s = &g->slot[handle % GUESTS_MAX];
	uint64_t word = atomic_load(&s->word);
	do {
		if (word >> 32 != handle >> SLOT_BITS || (uint32_t)word == 0)
			return NULL;
	} while (!atomic_compare_exchange_weak(&s->word, &word, word + 1));
	return s->guest;
}

void guest_put(struct guests *g, struct guest *guest)
{
	atomic_fetch_sub(&g->slot[guest->handle % GUESTS_MAX].word, 1);
}

struct guest *guest_at(struct guests *g, uint32_t slot)
{
	return guest_get(g, handle_of(slot, (uint32_t)(atomic_load(&g->slot[slot].word) >> 32)));
}

struct guest *guest_find(struct guests *g, const uint8_t vm[16])
{
	struct store_key key;
	memcpy(&key, vm, sizeof(key));
	for (uint32_t i = 0; i < GUESTS_MAX; i++) {
		struct guest *guest = guest_at(g, i);
		if (guest && !memcmp(&guest->key, &key, sizeof(key)))
			return guest;
		if (guest)
			guest_put(g, guest);
	}
	return NULL;
}

uint64_t mapping_range(const struct mapping *m, uint32_t page, uint32_t pages, uint64_t *address)
{
	uint64_t low = page > m->first ? page : m->first, end = (uint64_t)page + pages, stop = (uint64_t)m->first + m->pages;
	uint64_t high = end < stop ? end : stop;
	if (low >= high)
		return 0;
	*address = m->address + (low - m->first) * PAGER_PAGE;
	return (high - low) * PAGER_PAGE;
}

uint64_t guest_shared(const struct guest *guest)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < guest->images; i++)
		for (uint32_t k = 0; k < guest->image[i].pages; k++)
			n += pager_untouched(guest->vm, guest->image[i].first + k);
	return n;
}

void guest_wake(struct guest *guest, uint32_t page, uint32_t pages)
{
	for (uint32_t i = 0; i < guest->maps; i++) {
		uint64_t address, length = mapping_range(&guest->map[i], page, pages, &address);
		if (length)
			uffd_wake(guest->map[i].uffd, address, length);
	}
}

// ---- Attaching ----

static void guest_free(struct guest *guest)
{
	if (!guest)
		return;
	for (uint32_t i = 0; i < guest->maps; i++)
		close(guest->map[i].uffd);
	if (guest->memfd >= 0)
		close(guest->memfd);
	pthread_mutex_destroy(&guest->evict_lock);
	free(guest);
}

static int check_attach(const struct pager_attach *a, const int *fds, size_t nfds, struct err *e)
{
	struct stat st;
	if (!a->memory_bytes || a->memory_bytes % PAGER_PAGE || a->memory_bytes / PAGER_PAGE > UINT32_MAX)
		return err_set(e, EINVAL, "memory_bytes must be a multiple of 4096 below 16 TiB, not %lu", (unsigned long)a->memory_bytes);
	if (!a->maps || a->maps > PAGER_MAPS_MAX || !a->vads || a->vads > PAGER_VADS_MAX)
		return err_set(e, EINVAL, "a guest has 1 to %d mappings and 1 to %d VADs", PAGER_MAPS_MAX, PAGER_VADS_MAX);
	if (a->memfd >= nfds || fstat(fds[a->memfd], &st) || fcntl(fds[a->memfd], F_GET_SEALS) < 0)
		return err_set(e, EINVAL, "the memory descriptor must be a memfd");
	if ((uint64_t)st.st_size < a->memory_bytes)
		return err_set(e, EINVAL, "the memfd has %lu bytes, fewer than the guest's %lu", (unsigned long)st.st_size,
			(unsigned long)a->memory_bytes);
	return 0;
}

static int map_one(struct guest *guest, const struct pager_attach *a, const struct pager_map *m, const int *fds,
	size_t nfds, struct err *e)
{
	if ((m->address | m->offset | m->length) % PAGER_PAGE || !m->length || m->offset > a->memory_bytes
			|| m->length > a->memory_bytes - m->offset || m->address > UINT64_MAX - m->length)
		return err_set(e, EINVAL, "a mapping must be whole pages within the guest's memory");
	if (m->fd >= nfds || uffd_check(fds[m->fd]))
		return err_set(e, EINVAL, "a mapping's descriptor must be a userfaultfd");
	own_fd int fd = fcntl(fds[m->fd], F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return err_sys(e, errno, "keep userfaultfd");
	int rc = uffd_register(fd, m->address, m->length);
	if (!rc)   // a pagerd that was killed may have left pages protected; wakes nobody who matters yet
		rc = uffd_unprotect(fd, m->address, m->length);
	if (rc)
		return err_sys(e, -rc, "register userfaultfd for %#lx, %lu bytes", (unsigned long)m->address, (unsigned long)m->length);
	guest->map[guest->maps++] = (struct mapping){ m->address, (uint32_t)(m->offset / PAGER_PAGE),
		(uint32_t)(m->length / PAGER_PAGE), take_fd(fd) };
	return 0;
}

static int backing_open(const struct pager_vad *v, const int *fds, size_t nfds, struct backing **b, struct err *e)
{
	uint64_t pages = 0;
	int rc = 0;
	*b = NULL;
	if (v->kind == PAGER_VAD_ZERO) {
		*b = backing_get(backing_zero());
		return 0;
	}
	if (v->fd >= nfds)
		return err_set(e, EINVAL, "a VAD names descriptor %u of %zu", v->fd, nfds);
	switch (v->kind) {
	case PAGER_VAD_TEMPLATE:
	case PAGER_VAD_TEMPLATE_SINGLE:
		if (!(rc = backing_template_new(fds[v->fd], v->kind == PAGER_VAD_TEMPLATE_SINGLE, b, e)))
			pages = backing_template_pages(*b);
		break;
	case PAGER_VAD_FILE:
		if (!(rc = backing_file_new(fds[v->fd], b, e)))
			pages = backing_file_pages(*b);
		break;
	case PAGER_VAD_REMOTE:
		pages = v->backing_page + v->pages;
		rc = backing_remote_new(fds[v->fd], pages, b, e);
		break;
	default:
		return err_set(e, EINVAL, "VADs are of kind 0 to %d, not %u", PAGER_VAD_TEMPLATE_SINGLE, v->kind);
	}
	if (!rc && (v->backing_page > pages || v->pages > pages - v->backing_page)) {
		backing_put(*b);
		*b = NULL;
		rc = err_set(e, EINVAL, "a VAD needs pages %lu and the %lu after it of an image of %lu", (unsigned long)v->backing_page,
			(unsigned long)v->pages, (unsigned long)pages);
	}
	return rc;
}

static int map_vads(struct guest *guest, const struct pager_attach *a, const int *fds, size_t nfds, struct err *e)
{
	guest->plain = true;
	for (uint32_t i = 0; i < a->vads; i++) {
		const struct pager_vad *v = &a->vad[i];
		struct backing *b;
		int rc = backing_open(v, fds, nfds, &b, e);
		if (!rc)
			rc = pager_map(guest->vm, v->first_page, v->pages, b, v->backing_page, e);
		backing_put(b);
		if (rc)
			return err_wrap(e, "VAD %u", i);
		guest->plain = guest->plain && v->kind == PAGER_VAD_ZERO;
		if (v->kind == PAGER_VAD_TEMPLATE || v->kind == PAGER_VAD_TEMPLATE_SINGLE) {
			guest->image[guest->images].first = (uint32_t)v->first_page;
			guest->image[guest->images++].pages = (uint32_t)v->pages;
		}
	}
	return 0;
}

/* What is in the memfd already is resident. */
static int adopt_memory(struct guest *guest, uint64_t bytes, struct err *e)
{
	off_t at = 0;
	while ((at = lseek(guest->memfd, at, SEEK_DATA)) >= 0 && (uint64_t)at < bytes) {
		off_t hole = lseek(guest->memfd, at, SEEK_HOLE);
		if (hole < 0)
			return err_sys(e, errno, "look for the guest's pages");
		for (; at < hole && (uint64_t)at < bytes; at += PAGER_PAGE)
			if (pager_adopt_resident(guest->vm, (uint64_t)at / PAGER_PAGE) == -ENOMEM)
				return err_set(e, ENOMEM, "no page frame records for the guest's resident pages");
	}
	return 0;
}

struct adoption { struct guests *g; struct guest *guest; };

static void adopt_stored(void *user, uint32_t page, uint32_t handle)
{
	struct adoption *a = user;
	if (pager_adopt_evicted(a->guest->vm, page, handle))   // resident: the newer copy; or outside all VADs
		store_release(a->g->store, handle);
}

static void unwatch(struct guests *g, struct guest *guest)
{
	for (uint32_t i = 0; i < guest->maps; i++)
		epoll_ctl(g->epoll, EPOLL_CTL_DEL, guest->map[i].uffd, NULL);
}

/* What is reported before the guest can be found is lost: at the end of attaching all threads are woken. */
static int watch(struct guests *g, struct guest *guest, struct err *e)
{
	for (uint32_t i = 0; i < guest->maps; i++) {
		struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = guest_event(guest->handle, i) };
		if (epoll_ctl(g->epoll, EPOLL_CTL_ADD, guest->map[i].uffd, &ev)) {
			int rc = err_sys(e, errno, "watch userfaultfd");
			unwatch(g, guest);
			return rc;
		}
	}
	return 0;
}

/* Under the lock: which slot it will have, and its handle. There is a free one. */
static void slot_choose(struct guests *g, struct guest *guest)
{
	uint32_t i = 0;
	while ((uint32_t)atomic_load(&g->slot[i].word))
		i++;
	guest->handle = handle_of(i, (uint32_t)(atomic_load(&g->slot[i].word) >> 32) + 1);
}

/* From here on it is found. */
static void slot_take(struct guests *g, struct guest *guest)
{
	struct guest_slot *s = &g->slot[guest->handle % GUESTS_MAX];
	s->guest = guest;
	atomic_store(&s->word, guest->handle >> SLOT_BITS << 32 | 1);
	g->used++;
}

/* Under the lock: nobody gets it any more, nobody has it any more. */
static void slot_give(struct guests *g, struct guest *guest)
{
	struct guest_slot *s = &g->slot[guest->handle % GUESTS_MAX];
	uint64_t word = atomic_load(&s->word);
	while (!atomic_compare_exchange_weak(&s->word, &word, word + (1ull << 32)))
		;
	while ((uint32_t)atomic_load(&s->word) != 1)
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	atomic_fetch_sub(&s->word, 1);
	g->used--;
}

static int guest_fill(struct guests *g, struct guest *guest, const struct pager_attach *a, const int *fds, size_t nfds,
	struct err *e)
{
	memcpy(&guest->key, a->vm, sizeof(guest->key));
	guest->limit = a->limit_bytes / PAGER_PAGE;
	guest->reserve = a->reserve_bytes / PAGER_PAGE;
	guest->shares = a->shares ? a->shares : GUEST_SHARES;
	guest->memfd = fcntl(fds[a->memfd], F_DUPFD_CLOEXEC, 3);
	if (guest->memfd < 0)
		return err_sys(e, errno, "keep memfd");
	int rc = pager_vm_new(g->pager, a->memory_bytes / PAGER_PAGE, guest, &guest->vm, e);
	for (uint32_t i = 0; !rc && i < a->maps; i++)
		rc = map_one(guest, a, &a->map[i], fds, nfds, e);
	if (!rc)
		rc = map_vads(guest, a, fds, nfds, e);
	return rc ? rc : adopt_memory(guest, a->memory_bytes, e);
}

static int attach_locked(struct guests *g, const struct pager_attach *a, const int *fds, size_t nfds, struct err *e)
{
	struct guest *there = guest_find(g, a->vm);
	if (there) {
		guest_put(g, there);
		return err_set(e, EEXIST, "this guest is attached already; detach it first");
	}
	struct guest *guest = calloc(1, sizeof(*guest));
	if (!guest)
		return err_set(e, ENOMEM, "no memory for a guest");
	guest->memfd = -1;
	pthread_mutex_init(&guest->evict_lock, NULL);
	int rc = guest_fill(g, guest, a, fds, nfds, e);
	if (!rc && g->used == GUESTS_MAX)
		rc = err_set(e, ENOSPC, "pagerd serves %u guests already", GUESTS_MAX);
	if (!rc) {
		slot_choose(g, guest);
		rc = watch(g, guest, e);
	}
	if (rc) {
		pager_vm_free(guest->vm);
		guest_free(guest);
		return rc;
	}
	/* Only now, when nothing can go wrong in between: what is adopted and given up is gone. And before anybody sees the
	 * guest: a resident page that is dropped must not be replaced by an old copy. */
	struct adoption ad = { g, guest };
	store_adopt(g->store, guest->key, adopt_stored, &ad);
	slot_take(g, guest);
	guest_wake(guest, 0, (uint32_t)(a->memory_bytes / PAGER_PAGE));
	return 0;
}

int guest_attach(struct guests *g, const struct pager_attach *a, const int *fds, size_t nfds, struct err *e)
{
	int rc = check_attach(a, fds, nfds, e);
	if (rc)
		return rc;
	pthread_mutex_lock(&g->lock);
	rc = attach_locked(g, a, fds, nfds, e);
	pthread_mutex_unlock(&g->lock);
	return rc;
}

static void remove_locked(struct guests *g, struct guest *guest)
{
	unwatch(g, guest);
	slot_give(g, guest);
}

int guest_detach(struct guests *g, const uint8_t vm[16], struct err *e)
{
	pthread_mutex_lock(&g->lock);
	struct guest *guest = guest_find(g, vm);
	if (guest) {
		guest_put(g, guest);   // it stays: only the holder of the lock removes
		remove_locked(g, guest);
		pager_vm_free(guest->vm);
		guest_free(guest);
	}
	pthread_mutex_unlock(&g->lock);
	return guest ? 0 : err_set(e, ENOENT, "no such guest is attached");
}

void guests_close(struct guests *g)
{
	pthread_mutex_lock(&g->lock);
	for (uint32_t i = 0; i < GUESTS_MAX; i++) {
		struct guest *guest = guest_at(g, i);
		if (!guest)
			continue;
		guest_put(g, guest);
		remove_locked(g, guest);
		pager_vm_leave(guest->vm);
		guest_free(guest);
	}
	pthread_mutex_unlock(&g->lock);
}
