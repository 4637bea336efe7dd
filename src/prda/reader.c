// SPDX-License-Identifier: Apache-2.0
#include "bulkhead/prda_reader.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "region.h"

struct prda_reader {
	const char *map;             // the file: header slot, then the areas
	size_t bytes;
	uint32_t cpus, slots;        // as checked; the mapped ones can change
	int fd;
};

static const struct prda_shared *shared(const struct prda_reader *r)
{
	return (const struct prda_shared *)r->map;
}

static const char *area(const struct prda_reader *r, uint32_t slot)
{
	return r->map + prda_file_at(slot);
}

/* A file that shrinks under a mapping kills whoever reads it. */
static int check_lasting(int fd, const struct stat *st, struct err *e)
{
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals >= 0 && seals & F_SEAL_SHRINK)
		return 0;
	if ((st->st_uid == geteuid() || st->st_uid == 0) && (st->st_mode & 022) == 0)
		return 0;
	return err_set(e, EPERM, "PRDA region of user %u, mode %03o: others could cut it short while it is read",
		(unsigned)st->st_uid, (unsigned)st->st_mode & 0777);
}

static int check_header(const struct prda_shared *s, const struct stat *st, struct err *e)
{
	if (s->magic != PRDA_MAGIC)
		return err_set(e, EINVAL, "not a PRDA region");
	if (s->version != PRDA_VERSION || s->entry_bytes != sizeof(struct prda_entry) || s->stride != PRDA_STRIDE)
		return err_set(e, EINVAL, "PRDA region of version %u: this program reads version %u", s->version, PRDA_VERSION);
	if (s->cpus == 0 || s->cpus > PRDA_CPUS_MAX || s->slots != 2 * s->cpus + 1
			|| (uint64_t)st->st_size != prda_file_at(s->slots))
		return err_set(e, EINVAL, "damaged PRDA region: %u CPUs, %u slots, %lld bytes", s->cpus, s->slots,
			(long long)st->st_size);
	return 0;
}

int prda_reader_open_fd(int fd, struct prda_reader **out, struct err *e)
{
	struct stat st;
	struct prda_shared s;
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "PRDA region");
	if (!S_ISREG(st.st_mode) || st.st_size < (off_t)PRDA_DIRECTORY)
		return err_set(e, EINVAL, "not a PRDA region");
	ssize_t n = pread(fd, &s, sizeof(s), 0);
	if (n != sizeof(s))
		return err_sys(e, n < 0 ? errno : EIO, "read the PRDA region");
	int rc = check_header(&s, &st, e);
	if (rc == 0)
		rc = check_lasting(fd, &st, e);
	if (rc < 0)
		return rc;
	struct prda_reader *r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(e, ENOMEM, "no memory for a PRDA reader");
	void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
	r->fd = map == MAP_FAILED ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (r->fd < 0) {
		rc = err_sys(e, errno, "map the PRDA region");
		if (map != MAP_FAILED)
			munmap(map, (size_t)st.st_size);
		free(r);
		return rc;
	}
	r->map = map;
	r->bytes = (size_t)st.st_size;
	r->cpus = s.cpus;
	r->slots = s.slots;
	*out = r;
	return 0;
}

int prda_reader_open(const char *path, struct prda_reader **r, struct err *e)
{
	own_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, errno, "open %s", path);
	int rc = prda_reader_open_fd(fd, r, e);
	if (rc < 0)
		err_wrap(e, "%s", path);
	return rc;
}

void prda_reader_close(struct prda_reader *r)
{
	if (!r)
		return;
	munmap((void *)r->map, r->bytes);
	close(r->fd);
	free(r);
}

void prda_reader_info(const struct prda_reader *r, struct prda_reader_info *info)
{
	const struct prda_shared *s = shared(r);
	uint32_t form = s->form;
	*info = (struct prda_reader_info){ .pid = s->pid, .cpus = r->cpus, .slots = r->slots,
		.form = form <= PRDA_LOCKED ? (enum prda_form)form : PRDA_RESTART, .start_ns = s->start_ns };
	memcpy(info->name, s->name, sizeof(info->name) - 1);
}

bool prda_reader_alive(const struct prda_reader *r)
{
	struct flock f = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = PRDA_SEAT_BASE + 1, .l_len = PRDA_SEATS };
	return fcntl(r->fd, F_OFD_GETLK, &f) == 0 && f.l_type != F_UNLCK;
}

/* Copy an entry as it was at one moment; false when it is not live, not whole, or nonsense. */
static bool entry_copy(const struct prda_entry *t, struct prda_variable *v)
{
	uint32_t before = atomic_load_explicit(&t->generation, memory_order_acquire);
	if (before & 1 || atomic_load_explicit(&t->state, memory_order_acquire) != PRDA_LIVE)
		return false;
	*v = (struct prda_variable){ .kind = (enum prda_kind)t->kind, .offset = t->offset, .size = t->size };
	memcpy(v->name, t->name, sizeof(v->name) - 1);
	memcpy(v->labels, t->labels, sizeof(v->labels) - 1);
	memcpy(v->help, t->help, sizeof(v->help) - 1);
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&t->generation, memory_order_relaxed) != before)
		return false;
	return v->name[0] && v->kind <= PRDA_HISTOGRAM && v->offset % 8 == 0 && v->offset >= PRDA_AREA_HEAD
		&& v->offset < PRDA_STRIDE && v->size <= PRDA_STRIDE - v->offset;
}

bool prda_reader_next(const struct prda_reader *r, uint32_t *cursor, struct prda_variable *v)
{
	uint32_t n = atomic_load_explicit(&shared(r)->entries, memory_order_acquire);
	while (*cursor < n && *cursor < PRDA_ENTRIES_MAX) {
		const struct prda_entry *t = (const struct prda_entry *)(r->map + PRDA_ENTRIES) + (*cursor)++;
		if (entry_copy(t, v))
			return true;
	}
	return false;
}

uint64_t prda_reader_word(const struct prda_reader *r, const struct prda_variable *v, uint32_t word, uint32_t slot)
{
	if (slot >= r->slots || word >= v->size / 8 || v->offset % 8 || v->offset > PRDA_STRIDE
			|| v->size > PRDA_STRIDE - v->offset)
		return 0;
	return __atomic_load_n((const uint64_t *)(area(r, slot) + v->offset) + word, __ATOMIC_ACQUIRE);
}

static uint32_t slots_in_use(const struct prda_reader *r)
{
	return atomic_load_explicit(&shared(r)->locked_used, memory_order_acquire) ? r->slots : r->cpus;
}

uint64_t prda_reader_sum(const struct prda_reader *r, const struct prda_variable *v, uint32_t word)
{
	uint64_t sum = 0;
	for (uint32_t slot = 0, end = slots_in_use(r); slot < end; slot++)
		sum += prda_reader_word(r, v, word, slot);
	return sum;
}

void prda_reader_stats(const struct prda_reader *r, struct prda_stats *s)
{
	*s = (struct prda_stats){ 0 };
	for (uint32_t slot = 0, end = slots_in_use(r); slot < end; slot++) {
		const struct prda_area *a = (const struct prda_area *)area(r, slot);
		s->restarts += __atomic_load_n(&a->restarts, __ATOMIC_RELAXED);
		s->locked += __atomic_load_n(&a->locked, __ATOMIC_RELAXED);
		s->takeovers += __atomic_load_n(&a->takeovers, __ATOMIC_RELAXED);
		s->delayed += __atomic_load_n(&a->delayed, __ATOMIC_RELAXED);
		s->yields += __atomic_load_n(&a->yields, __ATOMIC_RELAXED);
	}
}
