// SPDX-License-Identifier: Apache-2.0
// Whole blocks for filters that need them: a write of part of a block reads the rest first (through the filter below,
// so that on a clone it comes from wherever the block is: copy-up) and writes the block, while no other write may touch
// it. Whole-block writes among themselves run freely.
#include "disk/align.h"

#include <errno.h>
#include <stdlib.h>

#include "disk/disk_internal.h"
#include "disk/rangelock.h"

struct align { struct rangelock lock; uint32_t align; bool serial; };

static const char zeroes[DISK_BLOCK_MAX] __attribute__((aligned(4096)));

int align_open(struct iof_layer *l, uint32_t align, struct err *e)
{
	struct align *a = calloc(1, sizeof(*a));

	if (!a) return err_set(e, ENOMEM, "no memory for a filter");
	rangelock_init(&a->lock);
	a->align = align;
	a->serial = l->next->filter->flags & IOF_SERIAL_WRITE;
	l->state = a;
	return 0;
}

static int align_close(struct iof_layer *l, struct err *e)
{
	struct align *a = l->state;

	(void)e;
	rangelock_fini(&a->lock);
	free(a);
	return 0;
}

static uint64_t down(const struct align *a, uint64_t v) { return v & ~(uint64_t)(a->align - 1); }
static uint64_t up(const struct align *a, uint64_t v) { return down(a, v + a->align - 1); }

static void finish(struct iof_layer *l, struct iof_req *r, int result)
{
	struct align *a = l->state;

	rangelock_drop(&a->lock, r);
	r->done(r, result);
}

/* ---- whole blocks ---- */

static void whole_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	struct iof_layer *l = (struct iof_layer *)c->data[0];

	iof_free(c);
	finish(l, r, result);
}

static void whole_go(struct iof_layer *l, struct iof_req *r)
{
	struct iof_req *c = iof_child(l, r);

	if (!c) {
		finish(l, r, -ENOMEM);
		return;
	}
	c->done = whole_done;
	c->user = r;
	c->data[0] = (uintptr_t)l;
	iof_pass(l, c);
}

/* ---- parts of blocks ----
 * data[0]: layer, data[1]: bounce buffer, data[2]: step (0 read the head, 1 read the tail, 2 write, 3 written) */

static void part_next(struct iof_layer *l, struct iof_req *r, struct iof_req *c);

static void part_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	struct iof_layer *l = (struct iof_layer *)c->data[0];
	struct align *a = l->state;
	uint64_t start = down(a, r->off), end = up(a, r->off + r->len);

	if (result == 0 && c->data[2] < 3) {
		part_next(l, r, c);
		return;
	}
	iof->buf_put(r->queue, (void *)c->data[1], (size_t)(end - start));
	iof_free(c);
	finish(l, r, result);
}

static void part_next(struct iof_layer *l, struct iof_req *r, struct iof_req *c)
{
	struct align *a = l->state;
	uint64_t start = down(a, r->off), end = up(a, r->off + r->len), last = end - a->align;
	char *buf = (char *)c->data[1];
	bool head = r->off != start, tail = r->off + r->len != end;

	c->op = IOF_READ;
	c->flags = 0;
	c->len = a->align;
	if (c->data[2] == 0) {
		c->data[2] = 1;
		if (head || (tail && last == start)) {
			c->off = start;
			iof_use_buf(c, buf);
			iof_pass(l, c);
			return;
		}
	}
	if (c->data[2] == 1) {
		c->data[2] = 2;
		if (tail && last != start) {
			c->off = last;
			iof_use_buf(c, buf + (last - start));
			iof_pass(l, c);
			return;
		}
	}
	c->data[2] = 3;
	iof_copy(r, 0, buf + (r->off - start), (size_t)r->len, false);
	c->op = IOF_WRITE;
	c->flags = r->flags;
	c->off = start;
	c->len = end - start;
	iof_use_buf(c, buf);
	iof_pass(l, c);
}

static void part_go(struct iof_layer *l, struct iof_req *r)
{
	struct align *a = l->state;
	size_t len = (size_t)(up(a, r->off + r->len) - down(a, r->off));
	struct iof_req *c = iof_child(l, r);
	void *buf = c ? iof->buf_get(r->queue, len) : NULL;

	if (!buf) {
		if (c) iof_free(c);
		finish(l, r, -ENOMEM);
		return;
	}
	c->done = part_done;
	c->user = r;
	c->data[0] = (uintptr_t)l;
	c->data[1] = (uintptr_t)buf;
	c->data[2] = 0;
	part_next(l, r, c);
}

static void align_write(struct iof_layer *l, struct iof_req *r)
{
	struct align *a = l->state;
	bool part = (r->off | r->len) & (a->align - 1);
	void (*go)(struct iof_layer *, struct iof_req *) = part ? part_go : whole_go;

	if (rangelock_take(&a->lock, l, r, down(a, r->off), up(a, r->off + r->len), part || a->serial, go)) go(l, r);
}

/* ---- discard, zeroes: the whole blocks inside; for zeroes the edges are written ---- */

static void pieces_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;

	iof_free(c);
	if (result < 0 && r->result == 0) r->result = result;
	if (--r->progress == 0) r->done(r, r->result);
}

static void piece(struct iof_layer *l, struct iof_req *r, uint64_t off, uint64_t end, bool whole)
{
	struct iof_req *c = iof_child(l, r);

	if (!c) {
		r->result = -ENOMEM;
		return;
	}
	r->progress++;
	c->off = off;
	c->len = end - off;
	c->done = pieces_done;
	c->user = r;
	if (!whole) {
		c->op = IOF_WRITE;
		c->flags &= BH_DISK_FUA;
		iof_use_buf(c, (void *)zeroes);
	}
	align_write(l, c);
}

static void align_zero(struct iof_layer *l, struct iof_req *r)
{
	struct align *a = l->state;
	uint64_t end = r->off + r->len, first = up(a, r->off), last = down(a, end);

	if (((r->off | r->len) & (a->align - 1)) == 0) {
		align_write(l, r);
		return;
	}
	r->result = 0;
	r->progress = 1;
	if (r->op == IOF_WRITE_ZEROES && first > last) {
		piece(l, r, r->off, end, false);   // inside one block
	} else {
		if (r->op == IOF_WRITE_ZEROES && first > r->off) piece(l, r, r->off, first, false);
		if (last > first) piece(l, r, first, last, true);
		if (r->op == IOF_WRITE_ZEROES && end > last) piece(l, r, last, end, false);
	}
	if (--r->progress == 0) r->done(r, r->result);
}

/* ---- reads, for filters that want them whole ---- */

static void read_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	void *buf = c->iov->iov_base;

	if (result == 0) iof_copy(r, 0, (char *)buf + (r->off - c->off), (size_t)r->len, true);
	iof->buf_put(r->queue, buf, (size_t)c->len);
	iof_free(c);
	r->done(r, result);
}

static void align_read(struct iof_layer *l, struct iof_req *r)
{
	struct align *a = l->state;
	struct iof_req *c;
	void *buf;

	if (((r->off | r->len) & (a->align - 1)) == 0) {
		iof_pass(l, r);
		return;
	}
	c = iof_child(l, r);
	if (!c) {
		r->done(r, -ENOMEM);
		return;
	}
	c->off = down(a, r->off);
	c->len = up(a, r->off + r->len) - c->off;
	buf = iof->buf_get(r->queue, (size_t)c->len);
	if (!buf) {
		iof_free(c);
		r->done(r, -ENOMEM);
		return;
	}
	iof_use_buf(c, buf);
	c->done = read_done;
	c->user = r;
	iof_pass(l, c);
}

#define ALIGN_OPS .abi = IOF_ABI_VERSION, .size = sizeof(struct iof_filter), .name = "align", .summary = "whole blocks", \
	.order = IOF_CLASS_ANY, .close = align_close, .write = align_write, .discard = align_zero, .write_zeroes = align_zero

const struct iof_filter align_filter = { ALIGN_OPS };
const struct iof_filter align_read_filter = { ALIGN_OPS, .read = align_read };
