// SPDX-License-Identifier: Apache-2.0
// Regions: address space, mappings, attaching, fork. The layout is in region.h.
#include "region.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/own.h"
#include "cpus.h"
#include "delay.h"

_Static_assert(PRDA_SHIFT == 19, "the sections have the stride as a constant");

static pthread_mutex_t regions_lock = PTHREAD_MUTEX_INITIALIZER;
static struct prda_region *regions;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

/* The child has its parent's private regions as its own, with none of the threads that held locks in them; and shared
 * regions, in which it needs a seat of its own. */
static void fork_child(void)
{
	for (struct prda_region *r = regions; r; r = r->next) {
		pthread_mutex_init(&r->alloc_lock, NULL);
		free(take(r->path));
		if (r->fd < 0) {
			for (uint32_t slot = r->cpus; r->shared->locked_used && slot < r->slots; slot++)
				atomic_store(&prda_area(r, slot)->lock, 0);
			continue;
		}
		int inherited = r->fd;
		r->fd = -1;
		prda_seat_take(r, inherited, NULL);
		close(inherited);
	}
	pthread_mutex_unlock(&regions_lock);
}

static void fork_prepare(void) { pthread_mutex_lock(&regions_lock); }
static void fork_parent(void) { pthread_mutex_unlock(&regions_lock); }
static void fork_watch(void) { pthread_atfork(fork_prepare, fork_parent, fork_child); }

static void regions_add(struct prda_region *r)
{
	pthread_once(&fork_once, fork_watch);
	pthread_mutex_lock(&regions_lock);
	r->next = regions;
	regions = r;
	pthread_mutex_unlock(&regions_lock);
}

static void regions_remove(struct prda_region *r)
{
	pthread_mutex_lock(&regions_lock);
	for (struct prda_region **p = &regions; *p; p = &(*p)->next) {
		if (*p == r) {
			*p = r->next;
			break;
		}
	}
	pthread_mutex_unlock(&regions_lock);
}

/* Reserve bytes at an address that is a multiple of the stride. at: 0: anywhere, but by preference where little else
 * is mapped, so that other processes find the same addresses free. */
static int reserve(uintptr_t at, size_t bytes, uintptr_t *out)
{
	if (at) {
		/* A wish, not MAP_FIXED_NOREPLACE, which ThreadSanitizer gets wrong outside of what it thinks proper. */
		void *p = mmap((void *)at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED)
			return -errno;
		if (p != (void *)at) {
			munmap(p, bytes);
			return -EADDRNOTAVAIL;
		}
		*out = at;
		return 0;
	}
	uint64_t random = clock_real_ns() * 0x9e3779b97f4a7c15ull + (uint64_t)getpid() * 0xbf58476d1ce4e5b9ull;
#ifdef __SANITIZE_THREAD__
	const int tries = 0;   // it owns these addresses, and maps at 0 instead
#else
	const int tries = 4;
#endif
	for (int i = 0; i < tries; i++, random = random * 6364136223846793005ull + 1442695040888963407ull) {
		uintptr_t want = 0x200000000000ull + (random >> 32) % (0x200000000000ull / PRDA_STRIDE) * PRDA_STRIDE;
		if (reserve(want, bytes, out) == 0)
			return 0;
	}
	void *p = mmap(NULL, bytes + PRDA_STRIDE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	uintptr_t start = ((uintptr_t)p + PRDA_STRIDE - 1) & ~(PRDA_STRIDE - 1);
	if (start > (uintptr_t)p)
		munmap(p, start - (uintptr_t)p);
	if (start - (uintptr_t)p < PRDA_STRIDE)
		munmap((void *)(start + bytes), PRDA_STRIDE - (start - (uintptr_t)p));
	*out = start;
	return 0;
}

static int map_at(uintptr_t at, size_t bytes, int fd, off_t off)
{
	int flags = MAP_FIXED | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED);
	if (mmap((void *)at, bytes, PROT_READ | PROT_WRITE, flags, fd, off) == MAP_FAILED)
		return -errno;
	madvise((void *)at, bytes, MADV_NOHUGEPAGE);   // a huge page would hold two CPUs' areas
	return 0;
}

/* Map everything of r, whose cpus, slots, form, fd are set, around the alias address at (0: anywhere). */
static int map_region(struct prda_region *r, uintptr_t at, struct err *e)
{
	uintptr_t base = 0;
	r->bytes = PRDA_DIRECTORY + (size_t)(r->slots + 1) * PRDA_STRIDE;
	int rc = reserve(at ? at - PRDA_DIRECTORY : 0, r->bytes, &base);
	if (rc < 0)
		return err_sys(e, -rc, "reserve %zu MiB of addresses for a PRDA region%s", r->bytes >> 20,
			at ? " where the other process has it" : "");
	r->shared = (struct prda_shared *)base;
	r->alias = base + PRDA_DIRECTORY;
	rc = map_at(base, PRDA_DIRECTORY - PRDA_LOCAL_GAP_, r->fd, 0);
	if (rc == 0)
		rc = map_at(r->alias - PRDA_LOCAL_GAP_, PRDA_LOCAL_GAP_, -1, 0);
	if (rc == 0)
		rc = map_at(r->alias + PRDA_STRIDE, (size_t)r->slots * PRDA_STRIDE, r->fd, PRDA_DIRECTORY);
	if (rc < 0) {
		munmap(r->shared, r->bytes);
		return err_sys(e, -rc, "map a PRDA region of %u slots", r->slots);
	}
	struct prda_local_ *local = (struct prda_local_ *)(r->alias - PRDA_LOCAL_GAP_);
	*local = (struct prda_local_){ .region = r };
	return 0;
}

static void region_free(struct prda_region *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	if (r->path)
		unlink(r->path);
	free(r->path);
	pthread_mutex_destroy(&r->alloc_lock);
	free(r);
}

static struct prda_region *region_make(uint32_t cpus, enum prda_form form)
{
	struct prda_region *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	pthread_mutex_init(&r->alloc_lock, NULL);
	r->cpus = cpus;
	r->slots = 2 * cpus + 1;
	r->form = form;
	r->fd = -1;
	r->seat = PRDA_SEAT_NONE;
	return r;
}

/* A file of the right size behind a shared region: it is complete before it gets its name. */
static int make_file(struct prda_region *r, const struct prda_options *o, struct err *e)
{
	own_fd int fd = o->path ? open(o->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)
		: memfd_create(o->name ? o->name : "prda", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return err_sys(e, errno, "create PRDA file %s", o->path ? o->path : "in memory");
	if (o->path && !(r->path = strdup(o->path)))
		return err_set(e, ENOMEM, "no memory for a path");
	if (ftruncate(fd, (off_t)prda_file_at(r->slots)) < 0)
		return err_sys(e, errno, "make a PRDA file of %zu MiB", prda_file_at(r->slots) >> 20);
	/* Readers map the file: nobody shall be able to take it away under them. */
	if (!o->path && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_sys(e, errno, "seal the PRDA memfd");
	return prda_seat_take(r, fd, e);
}

int prda_region_new(const struct prda_options *o, struct prda_region **out, struct err *e)
{
	static const struct prda_options usual;
	if (!o)
		o = &usual;
	if (o->cpus > PRDA_CPUS_MAX)
		return err_set(e, EINVAL, "%u CPUs: a PRDA region has at most %u", o->cpus, PRDA_CPUS_MAX);
	if (o->form > PRDA_LOCKED || (o->name && strlen(o->name) >= sizeof(((struct prda_shared *)0)->name)))
		return err_set(e, EINVAL, "PRDA options: unknown form, or a name of more than 31 bytes");
	uint32_t possible = prda_cpus_possible();
	uint32_t cpus = o->cpus ? o->cpus : possible;
	enum prda_form form = o->form == PRDA_DELAY && !prda_delay_available() ? PRDA_RESTART : o->form;
	if (cpus < possible)
		form = PRDA_LOCKED;   // sections take it that every CPU has an area
	struct prda_region *r = region_make(cpus, form);
	if (!r)
		return err_set(e, ENOMEM, "no memory for a PRDA region");
	r->tag = form == PRDA_RESTART ? 0 : PRDA_TAG_;
	int rc = o->shared || o->path ? make_file(r, o, e) : 0;
	if (rc == 0)
		rc = map_region(r, 0, e);
	if (rc < 0) {
		region_free(r);
		return rc;
	}
	struct prda_shared *s = r->shared;
	s->version = PRDA_VERSION;
	s->entry_bytes = sizeof(struct prda_entry);
	s->stride = PRDA_STRIDE;
	s->cpus = r->cpus;
	s->slots = r->slots;
	s->form = (uint32_t)r->form;
	s->pid = (uint32_t)getpid();
	s->alias = r->alias | r->tag;
	s->start_ns = clock_real_ns();
	snprintf(s->name, sizeof(s->name), "%s", o->name ? o->name : "");
	__atomic_store_n(&s->magic, PRDA_MAGIC, __ATOMIC_RELEASE);
	regions_add(r);
	*out = r;
	return 0;
}

/* Read and check what another process wrote. */
static int check_shared(int fd, struct prda_shared *s, struct err *e)
{
	ssize_t n = pread(fd, s, sizeof(*s), 0);
	if (n < 0)
		return err_sys(e, errno, "read the PRDA region");
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "size of the PRDA region");
	if (n != sizeof(*s) || s->magic != PRDA_MAGIC)
		return err_set(e, EINVAL, "not a PRDA region");
	if (s->version != PRDA_VERSION || s->entry_bytes != sizeof(struct prda_entry) || s->stride != PRDA_STRIDE)
		return err_set(e, EINVAL, "PRDA region of version %u: this program reads version %u", s->version, PRDA_VERSION);
	if (s->cpus == 0 || s->cpus > PRDA_CPUS_MAX || s->slots != 2 * s->cpus + 1 || s->form > PRDA_LOCKED
			|| (uint64_t)st.st_size != prda_file_at(s->slots))
		return err_set(e, EINVAL, "damaged PRDA region: %u CPUs, %u slots, %lld bytes", s->cpus, s->slots,
			(long long)st.st_size);
	uint64_t address = s->alias & ~PRDA_TAG_;
	if (address < 2 * PRDA_DIRECTORY || address % PRDA_STRIDE || address > (1ull << 56))
		return err_set(e, EINVAL, "damaged PRDA region: alias address %#llx", (unsigned long long)s->alias);
	return 0;
}

int prda_region_attach(int fd, struct prda_region **out, struct err *e)
{
	struct prda_shared s;
	int rc = check_shared(fd, &s, e);
	if (rc < 0)
		return rc;
	if ((s.form == PRDA_RESTART) != !(s.alias & PRDA_TAG_) || (s.form != PRDA_LOCKED && s.cpus < prda_cpus_possible()))
		return err_set(e, EINVAL, "damaged PRDA region: form %u, %u areas, CPUs up to %u", s.form, s.cpus, prda_cpus_possible() - 1);
	struct prda_region *r = region_make(s.cpus, (enum prda_form)s.form);
	if (!r)
		return err_set(e, ENOMEM, "no memory for a PRDA region");
	r->tag = s.alias & PRDA_TAG_;
	rc = prda_seat_take(r, fd, e);
	if (rc == 0)
		rc = map_region(r, s.alias & ~PRDA_TAG_, e);
	if (rc < 0) {
		region_free(r);
		return rc;
	}
	regions_add(r);
	*out = r;
	return 0;
}

void prda_region_close(struct prda_region *r)
{
	if (!r)
		return;
	regions_remove(r);
	munmap(r->shared, r->bytes);
	region_free(r);
}

/* Bytes at the start of an area that variables have. */
static size_t area_used(const struct prda_region *r)
{
	size_t end = PRDA_AREA_HEAD;
	for (uint32_t i = 0; i < r->shared->entries; i++) {
		const struct prda_entry *t = prda_entry(r, i);
		if (t->state == PRDA_LIVE && t->offset + t->size > end)
			end = t->offset + t->size;
	}
	return end;
}

static int copy_out(const struct prda_region *r, struct err *e)
{
	size_t head = PRDA_ENTRIES + r->shared->entries * sizeof(struct prda_entry), used = area_used(r);
	bool good = pwrite(r->fd, r->shared, head, 0) == (ssize_t)head;
	for (uint32_t slot = 0; good && slot < prda_slots_in_use(r); slot++)
		good = pwrite(r->fd, prda_area(r, slot), used, (off_t)prda_file_at(slot)) == (ssize_t)used;
	return good ? 0 : err_sys(e, errno ? errno : EIO, "copy a PRDA region into shared memory");
}

int prda_region_share(struct prda_region *r, const char *name, struct err *e)
{
	if (strlen(name) >= sizeof(r->shared->name))
		return err_set(e, EINVAL, "PRDA region name '%s': at most 31 bytes", name);
	snprintf(r->shared->name, sizeof(r->shared->name), "%s", name);
	r->shared->pid = (uint32_t)getpid();
	if (r->fd >= 0)
		return 0;
	int rc = make_file(r, &(struct prda_options){ .name = name }, e);
	if (rc < 0)
		return rc;
	rc = copy_out(r, e);
	if (rc == 0 && (rc = map_at(r->alias + PRDA_STRIDE, (size_t)r->slots * PRDA_STRIDE, r->fd, PRDA_DIRECTORY)) < 0)
		err_sys(e, -rc, "map the shared areas of a PRDA region");
	if (rc < 0) {
		close(take_fd(r->fd));
		r->seat = PRDA_SEAT_NONE;
		return rc;
	}
	if (map_at((uintptr_t)r->shared, PRDA_DIRECTORY - PRDA_LOCAL_GAP_, r->fd, 0) < 0)
		abort();   // half of it is in the file: there is no way back
	return 0;
}

static struct prda_region *process_region;

static void process_region_make(void)
{
	struct err e = ERR_INIT;
	if (prda_region_new(NULL, &process_region, &e) < 0) {
		fprintf(stderr, "prda: %s\n", e.text);
		abort();
	}
}

struct prda_region *prda_process_region(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, process_region_make);
	return process_region;
}

int prda_region_fd(const struct prda_region *r) { return r->fd; }
enum prda_form prda_region_form(const struct prda_region *r) { return r->form; }
uint32_t prda_region_cpus(const struct prda_region *r) { return r->cpus; }
uint32_t prda_region_slots(const struct prda_region *r) { return r->slots; }

uint32_t prda_slots_in_use(const struct prda_region *r)
{
	return atomic_load_explicit(&r->shared->locked_used, memory_order_acquire) ? r->slots : r->cpus;
}
