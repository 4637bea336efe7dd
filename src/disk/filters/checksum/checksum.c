// SPDX-License-Identifier: Apache-2.0
// A CRC-32C of every block of 4096 bytes: a read of a block that has silently changed fails, and the log says which.
// The sums are kept in memory and saved at close; regions that were being written when the process died or the power
// went (regionlog.h) have their blocks summed anew as they are next read or written. 0: not known.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <bulkhead/iofilter.h>

#include "base/err.h"
#include "disk/crc32c.h"
#include "disk/regionlog.h"

#define BLOCK 4096u
#define PAGE_SUMS 1024u                  // of one page of the file
#define BLOCKS_MAX ((64ull << 40) / BLOCK)
#define TRIES 100u

struct checksum {
	struct regionlog log;
	struct iof_file *file;
	_Atomic uint32_t *sum;
	_Atomic uint8_t *page_dirty;
	uint64_t blocks;
	pthread_mutex_t learning;            // a sum is learned from a read only while nothing is written
	unsigned writing;                    // under learning: writes in flight
	_Atomic uint64_t writes;             // begun (under learning) or ended
	_Atomic uint64_t verified, corrupt;
};

static const struct iof_setting settings[] = { { NULL, NULL } };

static uint32_t sum_of(const void *data)
{
	uint32_t c = crc32c(0, data, BLOCK);

	return c ? c : 1;
}

static void *space(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void checksum_free(struct checksum *x)
{
	pthread_mutex_destroy(&x->learning);
	regionlog_fini(&x->log);
	iof->file_close(x->file);
	if (x->sum) munmap((void *)x->sum, BLOCKS_MAX * 4);
	if (x->page_dirty) munmap((void *)x->page_dirty, BLOCKS_MAX / PAGE_SUMS);
	free(x);
}

static void set_sum(struct checksum *x, uint64_t block, uint32_t v)
{
	atomic_store(&x->sum[block], v);
	atomic_store(&x->page_dirty[block / PAGE_SUMS], 1);
}

static int load(struct checksum *x)
{
	uint64_t at = 0, end, limit = x->blocks * 4;
	int rc;

	if (x->log.fresh) return iof->file_discard(x->file, 0, BLOCKS_MAX * 4);   // sums of an earlier attachment
	while (at < limit && (rc = iof->file_next(x->file, at, &at, &end)) == 0) {
		at -= at % 4096;
		if (end > limit) end = limit;
		if (at < end) rc = iof->file_read(x->file, (char *)x->sum + at, end - at, at);
		if (rc < 0) return rc;
		at = end;
	}
	for (uint64_t g = 0; g < x->log.regions; g++)
		if (regionlog_found(&x->log, g))
			for (uint64_t b = g * (REGION_BYTES / BLOCK); b < (g + 1) * (REGION_BYTES / BLOCK) && b < x->blocks; b++)
				if (x->sum[b]) set_sum(x, b, 0);
	return 0;
}

static int checksum_open(struct iof_layer *l, const struct iof_settings *s, void **state, uint32_t *align, struct err *e)
{
	struct checksum *x = calloc(1, sizeof(*x));
	int rc;

	(void)s;
	if (!x) return err_set(e, ENOMEM, "no memory");
	*state = x;
	pthread_mutex_init(&x->learning, NULL);
	x->blocks = iof_size(l) / BLOCK;
	x->sum = space(BLOCKS_MAX * 4);
	x->page_dirty = space(BLOCKS_MAX / PAGE_SUMS);
	rc = regionlog_open(l, "checksum-log", false, e);
	if (rc == 0 && (!x->sum || !x->page_dirty)) rc = err_set(e, ENOMEM, "no memory for the sums");
	if (rc == 0) rc = iof->file_open(l, "checksum", &x->file, e);
	if (rc == 0 && (rc = load(x)) < 0) err_sys(e, -rc, "cannot read the sums");
	if (rc < 0) checksum_free(x);
	*align = BLOCK;
	return rc;
}

static int checksum_close(struct iof_layer *l, struct err *e)
{
	struct checksum *x = iof_state(l);
	int rc = 0;

	if (!iof->read_only(l)) {
		for (uint64_t p = 0; p <= x->blocks / PAGE_SUMS && rc == 0; p++)
			if (x->page_dirty[p]) rc = iof->file_write(x->file, (char *)x->sum + p * PAGE_SUMS * 4, PAGE_SUMS * 4, p * PAGE_SUMS * 4);
		if (rc == 0) rc = iof->file_sync(x->file);
		if (rc == 0) rc = regionlog_clear(&x->log);
		if (rc < 0) err_sys(e, -rc, "cannot save the sums");
	}
	checksum_free(x);
	return rc;
}

static int checksum_detach(struct iof_layer *l, struct err *e)
{
	struct checksum *x = iof_state(l);
	int rc = iof->read_only(l) ? 0 : regionlog_forget(&x->log);

	return rc < 0 ? err_sys(e, -rc, "cannot give up the sums") : 0;
}

static int checksum_resized(struct iof_layer *l, struct err *e)
{
	struct checksum *x = iof_state(l);

	for (uint64_t b = iof_size(l) / BLOCK; b < x->blocks; b++)
		if (x->sum[b]) set_sum(x, b, 0);
	x->blocks = iof_size(l) / BLOCK;
	return regionlog_resize(&x->log, iof_size(l)) < 0 ? err_set(e, ENOMEM, "no memory for the log of regions") : 0;
}

/* ---- reads. While a block is written its sum is 0; what was read before the write and does not fit the sum after it is
 * read again. ---- */

#define NOT_ALONE UINT64_MAX

/* What read_try saw: the number of writes, or that some were in flight. */
static uint64_t writes_now(struct checksum *x)
{
	uint64_t n;

	pthread_mutex_lock(&x->learning);
	n = x->writing ? NOT_ALONE : atomic_load(&x->writes);
	pthread_mutex_unlock(&x->learning);
	return n;
}

static void learn(struct checksum *x, uint64_t block, uint32_t sum, uint64_t writes)
{
	pthread_mutex_lock(&x->learning);
	if (atomic_load(&x->writes) == writes && !x->sum[block]) set_sum(x, block, sum);
	pthread_mutex_unlock(&x->learning);
}

/* Returns -EIO and *bad at the first block that does not fit. */
static int verify(struct checksum *x, const struct iof_req *r, uint64_t writes, uint64_t *bad)
{
	unsigned char tmp[BLOCK];

	for (uint64_t i = 0; i < r->len; i += BLOCK) {
		uint64_t b = (r->off + i) / BLOCK;
		const unsigned char *p = iof_contiguous(r);
		uint32_t want = atomic_load(&x->sum[b]), got;

		if (p) p += i;
		else {
			iof_copy(r, i, tmp, BLOCK, false);
			p = tmp;
		}
		got = sum_of(p);
		if (!want) {
			if (!x->log.file || writes == NOT_ALONE) continue;
			learn(x, b, got, writes);
		} else if (got != want) {
			*bad = b;
			return -EIO;
		}
		atomic_fetch_add_explicit(&x->verified, 1, memory_order_relaxed);
	}
	return 0;
}

static void read_try(struct iof_layer *l, struct iof_req *c)
{
	struct checksum *x = iof_state(l);

	c->data[2] = writes_now(x);
	iof_pass(l, c);
}

static void read_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	struct iof_layer *l = (struct iof_layer *)c->data[0];
	struct checksum *x = iof_state(l);
	uint64_t bad;

	if (result == 0 && verify(x, r, c->data[2], &bad) < 0) {
		if (atomic_load(&x->writes) != c->data[2] && c->data[1]++ < TRIES) {
			read_try(l, c);
			return;
		}
		atomic_fetch_add(&x->corrupt, 1);
		iof->log(l, "block %llu (bytes %llu to %llu) is corrupt: its checksum is wrong", (unsigned long long)bad,
			 (unsigned long long)bad * BLOCK, (unsigned long long)(bad + 1) * BLOCK - 1);
		result = -EIO;
	}
	iof_free(c);
	r->done(r, result);
}

static struct iof_req *child(struct iof_layer *l, struct iof_req *r, void (*done)(struct iof_req *, int))
{
	struct iof_req *c = iof_child(l, r);

	if (!c) {
		r->done(r, -ENOMEM);
		return NULL;
	}
	c->done = done;
	c->user = r;
	c->data[0] = (uintptr_t)l;
	return c;
}

static void checksum_read(struct iof_layer *l, struct iof_req *r)
{
	struct iof_req *c = child(l, r, read_done);

	if (c) read_try(l, c);
}

/* ---- writes, one at a time per block (the align layer) ---- */

static void writing(struct checksum *x, int change)
{
	pthread_mutex_lock(&x->learning);
	x->writing += (unsigned)change;
	atomic_fetch_add(&x->writes, 1);
	pthread_mutex_unlock(&x->learning);
}

static void write_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	struct checksum *x = iof_state((struct iof_layer *)c->data[0]);
	bool known = result == 0 && r->op == IOF_WRITE;
	unsigned char tmp[BLOCK];

	for (uint64_t i = 0; i < r->len; i += BLOCK) {
		if (known) iof_copy(r, i, tmp, BLOCK, false);
		set_sum(x, (r->off + i) / BLOCK, known ? sum_of(tmp) : 0);
	}
	if (c->data[1]) writing(x, -1);
	iof_free(c);
	r->done(r, result);
}

static void write_go(struct iof_layer *l, struct iof_req *c)
{
	struct checksum *x = iof_state(l);

	if (c->result < 0) {
		write_done(c, c->result);
		return;
	}
	c->data[1] = 1;
	writing(x, 1);
	for (uint64_t b = c->off / BLOCK; b < (c->off + c->len) / BLOCK; b++) set_sum(x, b, 0);
	iof_pass(l, c);
}

static void checksum_write(struct iof_layer *l, struct iof_req *r)
{
	struct checksum *x = iof_state(l);
	struct iof_req *c = child(l, r, write_done);

	if (!c) return;
	c->result = 0;
	if (regionlog_marked(&x->log, c->off, c->len)) write_go(l, c);
	else regionlog_mark(l, c, write_go);
}

static void checksum_stats(struct iof_layer *l, void (*emit)(void *, const char *, uint64_t), void *user)
{
	struct checksum *x = iof_state(l);

	emit(user, "blocks_verified", x->verified);
	emit(user, "blocks_corrupt", x->corrupt);
}

static int checksum_check(struct iof_layer *l, void (*fault)(void *, const char *), void *user, struct err *e)
{
	struct checksum *x = iof_state(l);
	unsigned char *buf = aligned_alloc(4096, BLOCK);
	int faults = 0;

	if (!buf) return err_set(e, ENOMEM, "no memory");
	for (uint64_t b = 0; b < x->blocks; b++) {
		char text[128];
		int rc;

		if (!x->sum[b]) continue;
		rc = iof->rw_below(l, IOF_READ, b * BLOCK, buf, BLOCK);
		if (rc == 0 && sum_of(buf) == x->sum[b]) continue;
		snprintf(text, sizeof(text), "block %llu: %s", (unsigned long long)b, rc < 0 ? "cannot be read" : "checksum is wrong");
		fault(user, text);
		faults++;
	}
	free(buf);
	return faults;
}

const struct iof_filter checksum_filter = {
	.abi = IOF_ABI_VERSION, .size = sizeof(struct iof_filter), .name = "checksum", .summary = "finds silent corruption",
	.order = IOF_CLASS_CHECK, .flags = IOF_ALIGN_READ | IOF_SERIAL_WRITE, .settings = settings, .open = checksum_open,
	.close = checksum_close, .detach = checksum_detach, .resized = checksum_resized, .read = checksum_read, .write = checksum_write,
	.discard = checksum_write, .write_zeroes = checksum_write, .stats = checksum_stats, .check = checksum_check,
};
