// SPDX-License-Identifier: Apache-2.0
// Records lie one behind the other in a ring: a header block, then the data. The file's first block says where the
// oldest record is that may not be below yet. Opening reads records from there for as long as their checksums and
// numbers are right: what was synced is among them.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "disk/crc32c.h"
#include "disk/disk_internal.h"
#include "disk/filters/cache/cache.h"
#include "disk/sidefile.h"

#define MAGIC 0x4c4e524a44484221ull
#define RECORD_DATA_MAX (1u << 20)

struct start { uint64_t magic, blocks, tail, seq; char disk_id[40]; uint32_t crc; };                 // block 0
struct record { uint64_t magic, seq, off, len; char disk_id[40]; uint32_t zero, data_crc, crc; };      // one block

struct journal {
	struct iof_layer *l;
	int lock_fd;                      // holds the lock
	struct iof_file *file;            // owned
	bool read_only;                   // nothing is moved: a reader sees what a crash left here
	uint64_t blocks;                  // of the ring, without the start
	_Atomic uint32_t *where;          // by disk block: ring position of its data + 1; 0: not here
	uint64_t disk_blocks;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t head, tail;              // positions, ever growing; in the ring modulo blocks
	uint64_t done;                    // records before it are complete (in order of position)
	uint64_t seq, tail_seq;
	bool writing;
	bool stop, drain;
	int error;
	pthread_t thread;
};

static uint64_t place(const struct journal *j, uint64_t pos) { return (1 + pos % j->blocks) * CACHE_BLOCK; }

static int start_write(struct journal *j, uint64_t tail, uint64_t seq)
{
	char block[CACHE_BLOCK] = { 0 };
	struct start s = { .magic = MAGIC, .blocks = j->blocks, .tail = tail, .seq = seq };
	int rc;

	snprintf(s.disk_id, sizeof(s.disk_id), "%s", iof->disk_id(j->l));
	s.crc = crc32c(0, &s, offsetof(struct start, crc));
	memcpy(block, &s, sizeof(s));
	rc = side_write(j->file, block, sizeof(block), 0);
	return rc == 0 ? side_sync(j->file) : rc;
}

/* A record is not split by the ring's end: the rest is skipped. */
static uint64_t fit(const struct journal *j, uint64_t pos, uint64_t n)
{
	uint64_t left = j->blocks - pos % j->blocks;

	return left < n ? pos + left : pos;
}

static void point(struct journal *j, uint64_t off, uint64_t len, uint64_t pos)
{
	for (uint64_t i = 0; i < len / CACHE_BLOCK; i++)
		if (off / CACHE_BLOCK + i < j->disk_blocks) atomic_store(&j->where[off / CACHE_BLOCK + i], (uint32_t)((pos + i) % j->blocks + 1));
}

static int record_read(struct journal *j, uint64_t pos, uint64_t seq, struct record *h, void *data)
{
	char block[CACHE_BLOCK];
	uint32_t crc;
	int rc = side_read(j->file, block, sizeof(block), place(j, pos));

	if (rc < 0) return rc;
	memcpy(h, block, sizeof(*h));
	if (h->magic != MAGIC || h->seq != seq || h->crc != crc32c(0, h, offsetof(struct record, crc))) return -ENODATA;
	if (strncmp(h->disk_id, iof->disk_id(j->l), sizeof(h->disk_id)) || !h->len || h->len > RECORD_DATA_MAX || h->len % CACHE_BLOCK ||
	    h->off % CACHE_BLOCK || h->len / CACHE_BLOCK + 1 > j->blocks - pos % j->blocks)
		return -ENODATA;
	rc = side_read(j->file, data, h->len, place(j, pos + 1));
	crc = rc < 0 ? 0 : crc32c(0, data, h->len);
	return rc < 0 ? rc : crc == h->data_crc ? 0 : -ENODATA;
}

static int replay(struct journal *j, struct err *e)
{
	own_free void *data = malloc(RECORD_DATA_MAX);
	int rc = 0;

	if (!data) return err_set(e, ENOMEM, "no memory for the journal");
	for (;;) {
		struct record h;
		uint64_t pos = j->head;

		rc = record_read(j, pos, j->seq, &h, data);
		if (rc == -ENODATA && pos % j->blocks) {   // skipped to the ring's beginning?
			pos += j->blocks - pos % j->blocks;
			if (pos - j->tail < j->blocks) rc = record_read(j, pos, j->seq, &h, data);
		}
		if (rc < 0) break;
		if (pos + 1 + h.len / CACHE_BLOCK - j->tail > j->blocks) break;
		point(j, h.off, h.len, pos + 1);
		j->head = j->done = pos + 1 + h.len / CACHE_BLOCK;
		j->seq++;
	}
	return rc == -ENODATA || rc == 0 ? 0 : err_sys(e, -rc, "cannot read the journal");
}

/* ---- moving records below ---- */

static int move_record(struct journal *j, uint64_t *pos, uint64_t seq, void *data)
{
	struct record h;
	int rc = record_read(j, *pos, seq, &h, data);

	if (rc == -ENODATA && *pos % j->blocks) {
		*pos += j->blocks - *pos % j->blocks;
		rc = record_read(j, *pos, seq, &h, data);
	}
	if (rc < 0) return rc == -ENODATA ? -EIO : rc;
	for (uint64_t i = 0, n; i < h.len / CACHE_BLOCK && rc == 0; i += n) {   // runs that nothing newer has replaced
		uint64_t b = h.off / CACHE_BLOCK + i;
		uint32_t at = (uint32_t)((*pos + 1 + i) % j->blocks + 1);

		for (n = 0; i + n < h.len / CACHE_BLOCK && j->where[b + n] == at + n; n++) continue;
		if (n && h.zero) rc = iof->rw_below(j->l, IOF_WRITE_ZEROES, b * CACHE_BLOCK, NULL, n * CACHE_BLOCK);
		else if (n) rc = iof->rw_below(j->l, IOF_WRITE, b * CACHE_BLOCK, (char *)data + i * CACHE_BLOCK, n * CACHE_BLOCK);
		else n = 1;
	}
	*pos += 1 + h.len / CACHE_BLOCK;
	return rc;
}

static void unpoint(struct journal *j, uint64_t from, uint64_t to, uint64_t seq, void *data)
{
	while (from < to) {
		struct record h;

		if (record_read(j, from, seq, &h, data) < 0) {
			from += j->blocks - from % j->blocks;
			continue;
		}
		for (uint64_t i = 0; i < h.len / CACHE_BLOCK; i++) {
			uint32_t at = (uint32_t)((from + 1 + i) % j->blocks + 1);

			atomic_compare_exchange_strong(&j->where[h.off / CACHE_BLOCK + i], &at, 0);
		}
		from += 1 + h.len / CACHE_BLOCK;
		seq++;
	}
}

/* Up to 64 records: write below, flush below, then they count no more. */
static int move_some(struct journal *j, void *data)
{
	uint64_t pos = j->tail, seq = j->tail_seq, first = pos, first_seq = seq, until;
	int rc;

	pthread_mutex_lock(&j->lock);
	until = j->done;
	pthread_mutex_unlock(&j->lock);
	rc = side_sync(j->file);   // what goes below must not be newer than what a crash finds here
	for (int i = 0; i < 64 && pos < until && rc == 0; i++, seq++) rc = move_record(j, &pos, seq, data);
	if (rc == 0) rc = iof->rw_below(j->l, IOF_FLUSH, 0, NULL, 0);
	if (rc == 0) rc = start_write(j, pos, seq);
	if (rc < 0) return rc;
	unpoint(j, first, pos, first_seq, data);
	pthread_mutex_lock(&j->lock);
	j->tail = pos;
	j->tail_seq = seq;
	pthread_mutex_unlock(&j->lock);
	return 0;
}

static bool due(const struct journal *j)
{
	return j->done > j->tail && (j->stop || j->drain || (j->head - j->tail) * 4 > j->blocks);
}

static int wait_second(struct journal *j)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec++;
	return pthread_cond_timedwait(&j->changed, &j->lock, &t);
}

static void *mover(void *arg)
{
	struct journal *j = arg;
	void *data = malloc(RECORD_DATA_MAX);

	pthread_mutex_lock(&j->lock);
	for (;;) {
		int rc;

		while (!j->stop && !due(j))   // now and then also what is not due
			if (wait_second(j) == ETIMEDOUT && j->done > j->tail) break;
		if (j->done == j->tail) {
			if (j->stop) break;
			continue;
		}
		pthread_mutex_unlock(&j->lock);
		rc = data ? move_some(j, data) : -ENOMEM;
		pthread_mutex_lock(&j->lock);
		j->error = rc;
		pthread_cond_broadcast(&j->changed);
		if (rc < 0 && j->stop) break;
		if (rc < 0) wait_second(j);
	}
	pthread_mutex_unlock(&j->lock);
	free(data);
	return NULL;
}

/* ---- from outside ---- */

/* What the file holds, or a new one. */
static int begin(struct journal *j, const char *path, struct err *e)
{
	struct start s = { .magic = 0 };
	int rc = side_read(j->file, &s, sizeof(s), 0);

	if (rc < 0) return err_sys(e, -rc, "cannot read journal '%s'", path);
	if (!s.magic && j->read_only) return 0;
	if (!s.magic) {
		if (ftruncate(j->lock_fd, (off_t)((1 + j->blocks) * CACHE_BLOCK)) < 0) rc = -errno;
		if (rc == 0) rc = start_write(j, 0, 0);
		return rc < 0 ? err_sys(e, -rc, "cannot write journal '%s'", path) : 0;
	}
	if (s.magic != MAGIC || !s.blocks || s.crc != crc32c(0, &s, offsetof(struct start, crc)))
		return err_set(e, EBADMSG, "journal '%s' is damaged or not a journal", path);
	if (strncmp(s.disk_id, iof->disk_id(j->l), sizeof(s.disk_id))) return err_set(e, EBADMSG, "journal '%s' belongs to another disk", path);
	j->blocks = s.blocks;
	j->head = j->tail = j->done = s.tail;
	j->seq = j->tail_seq = s.seq;
	return replay(j, e);
}

static int open_into(struct journal *j, const char *path, struct err *e)
{
	void *p = mmap(NULL, j->disk_blocks * 4 + 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int rc;

	if (p == MAP_FAILED) return err_set(e, ENOMEM, "no memory for the journal");
	j->where = p;
	j->lock_fd = open(path, (j->read_only ? O_RDONLY : O_RDWR | O_CREAT) | O_CLOEXEC, 0640);
	if (j->lock_fd < 0 && j->read_only && errno == ENOENT) return 0;
	if (j->lock_fd < 0) return err_sys(e, errno, "cannot open journal '%s'", path);
	if (flock(j->lock_fd, (j->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0) return err_set(e, EBUSY, "journal '%s' is in use", path);
	rc = side_open_path(j->l->disk, path, &j->file, e);
	return rc < 0 ? rc : begin(j, path, e);
}

static void journal_free(struct journal *j)
{
	if (j->where) munmap((void *)j->where, j->disk_blocks * 4 + 4);
	side_close(j->file);
	if (j->lock_fd >= 0) close(j->lock_fd);
	pthread_mutex_destroy(&j->lock);
	pthread_cond_destroy(&j->changed);
	free(j);
}

int journal_open(struct iof_layer *l, const char *path, uint64_t bytes, struct journal **out, struct err *e)
{
	struct journal *j = calloc(1, sizeof(*j));
	int rc;

	if (!j) return err_set(e, ENOMEM, "no memory");
	j->l = l;
	j->lock_fd = -1;
	j->read_only = iof->read_only(l);
	j->disk_blocks = iof_size(l) / CACHE_BLOCK;
	j->blocks = bytes / CACHE_BLOCK;
	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->changed, NULL);
	rc = open_into(j, path, e);
	if (rc == 0 && !j->read_only && pthread_create(&j->thread, NULL, mover, j)) rc = err_set(e, EAGAIN, "cannot start a thread");
	if (rc < 0 || (j->read_only && j->head == j->tail)) {   // a reader needs no empty journal
		journal_free(j);
		j = NULL;
	}
	if (rc == 0) *out = j;
	return rc;
}

int journal_try_drain(struct journal *j)
{
	int rc;

	pthread_mutex_lock(&j->lock);
	rc = j->head == j->tail && !j->writing ? 0 : j->error ? j->error : -EAGAIN;
	j->drain = rc == -EAGAIN;
	if (rc) pthread_cond_broadcast(&j->changed);
	pthread_mutex_unlock(&j->lock);
	return rc;
}

int journal_drain(struct journal *j)
{
	int rc;

	while ((rc = journal_try_drain(j)) == -EAGAIN) usleep(1000);
	return rc;
}

int journal_close(struct journal *j)
{
	int rc;

	if (!j->read_only) {
		pthread_mutex_lock(&j->lock);
		j->stop = true;
		j->error = 0;
		pthread_cond_broadcast(&j->changed);
		pthread_mutex_unlock(&j->lock);
		pthread_join(j->thread, NULL);
	}
	rc = j->error;
	journal_free(j);
	return rc;
}

/* One record at a time is written, so that records are complete in the order of their places. */
int journal_write(struct journal *j, const struct iof_req *r)
{
	uint64_t n = r->len / CACHE_BLOCK + 1, pos;
	own_free char *buf = aligned_alloc(CACHE_BLOCK, n * CACHE_BLOCK);
	struct record h = { .magic = MAGIC, .off = r->off, .len = r->len, .zero = r->op != IOF_WRITE };
	int rc;

	if (!buf || n * 2 > j->blocks) return buf ? -EFBIG : -ENOMEM;
	if (h.zero) memset(buf + CACHE_BLOCK, 0, r->len);
	else iof_copy(r, 0, buf + CACHE_BLOCK, r->len, false);
	h.data_crc = crc32c(0, buf + CACHE_BLOCK, r->len);
	snprintf(h.disk_id, sizeof(h.disk_id), "%s", iof->disk_id(j->l));
	pthread_mutex_lock(&j->lock);
	while (j->writing) pthread_cond_wait(&j->changed, &j->lock);
	if (fit(j, j->head, n) + n - j->tail > j->blocks) {
		rc = j->error ? j->error : -EAGAIN;   // with an error nothing leaves below, and there is no room
		pthread_cond_broadcast(&j->changed);
		pthread_mutex_unlock(&j->lock);
		return rc;
	}
	pos = fit(j, j->head, n);
	h.seq = j->seq;
	j->writing = true;
	pthread_mutex_unlock(&j->lock);
	h.crc = crc32c(0, &h, offsetof(struct record, crc));
	memset(buf, 0, CACHE_BLOCK);
	memcpy(buf, &h, sizeof(h));
	rc = side_write(j->file, buf, n * CACHE_BLOCK, place(j, pos));
	pthread_mutex_lock(&j->lock);
	if (rc == 0) {
		point(j, r->off, r->len, pos + 1);
		j->head = j->done = pos + n;
		j->seq++;
	}
	j->writing = false;
	pthread_cond_broadcast(&j->changed);
	pthread_mutex_unlock(&j->lock);
	return rc;
}

int journal_sync(struct journal *j) { return side_sync(j->file); }

bool journal_touches(struct journal *j, uint64_t off, uint64_t len)
{
	for (uint64_t b = off / CACHE_BLOCK; b <= (off + len - 1) / CACHE_BLOCK; b++)
		if (atomic_load_explicit(&j->where[b], memory_order_acquire)) return true;
	return false;
}

int journal_read(struct journal *j, uint64_t off, uint64_t len, void *buf, uint64_t *have)
{
	for (uint64_t i = 0; i < len / CACHE_BLOCK; i++) {
		uint64_t b = off / CACHE_BLOCK + i;
		uint32_t at = atomic_load(&j->where[b]);
		int rc;

		if (!at) continue;
		rc = side_read(j->file, (char *)buf + i * CACHE_BLOCK, CACHE_BLOCK, (uint64_t)at * CACHE_BLOCK);
		if (rc < 0) return rc;
		if (atomic_load(&j->where[b]) != at) i--;   // moved meanwhile: look again
		else have[i / 64] |= 1ull << i % 64;
	}
	return 0;
}

uint64_t journal_pending(struct journal *j)
{
	uint64_t n;

	pthread_mutex_lock(&j->lock);
	n = (j->head - j->tail) * CACHE_BLOCK;
	pthread_mutex_unlock(&j->lock);
	return n;
}
