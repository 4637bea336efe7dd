// SPDX-License-Identifier: Apache-2.0
// An example of a filter as a plug-in: stores every byte inverted. It shows what any filter that changes data does: a
// read looks at the data on their way up, a write sends a changed copy down.
#include <bulkhead/iofilter.h>
#include <errno.h>

static const struct iof_setting settings[] = { { NULL, NULL } };

static int invert_open(struct iof_layer *l, const struct iof_settings *s, void **state, uint32_t *align, struct err *e)
{
	(void)l;
	(void)s;
	(void)state;   // nothing to remember
	(void)align;   // any byte by itself
	(void)e;
	return 0;
}

static int invert_close(struct iof_layer *l, struct err *e)
{
	(void)l;
	(void)e;
	return 0;
}

static void read_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	unsigned char part[4096];

	iof_free(c);
	for (uint64_t at = 0; result == 0 && at < r->len; at += sizeof(part)) {
		size_t n = r->len - at < sizeof(part) ? (size_t)(r->len - at) : sizeof(part);

		iof_copy(r, at, part, n, false);
		for (size_t i = 0; i < n; i++) part[i] = (unsigned char)~part[i];
		iof_copy(r, at, part, n, true);
	}
	iof_complete(r, result);
}

static void invert_read(struct iof_layer *l, struct iof_req *r)
{
	struct iof_req *c = iof_child(l, r);

	if (!c) {
		iof_complete(r, -ENOMEM);
		return;
	}
	c->done = read_done;
	c->user = r;
	iof_pass(l, c);
}

static void write_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;

	iof->buf_put(r->queue, (void *)c->data[0], (size_t)r->len);
	iof_free(c);
	iof_complete(r, result);
}

static void invert_write(struct iof_layer *l, struct iof_req *r)
{
	struct iof_req *c = iof_child(l, r);
	unsigned char *copy = c ? iof->buf_get(r->queue, (size_t)r->len) : NULL;

	if (!copy) {
		if (c) iof_free(c);
		iof_complete(r, -ENOMEM);
		return;
	}
	iof_copy(r, 0, copy, (size_t)r->len, false);
	for (uint64_t i = 0; i < r->len; i++) copy[i] = (unsigned char)~copy[i];
	c->data[0] = (uintptr_t)copy;
	iof_use_buf(c, copy);
	c->done = write_done;
	c->user = r;
	iof_pass(l, c);
}

/* Zeroes are not zeroes below: they have to be written. A part at a time, each one's end starting the next. */
static const unsigned char ones[64 << 10] = { [0 ... (64 << 10) - 1] = 0xff };

static void zero_next(struct iof_layer *l, struct iof_req *r, struct iof_req *c);

static void zero_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;

	c->data[1] += c->len;
	if (result == 0 && c->data[1] < r->len) {
		zero_next((struct iof_layer *)c->data[0], r, c);
		return;
	}
	iof_free(c);
	iof_complete(r, result);
}

static void zero_next(struct iof_layer *l, struct iof_req *r, struct iof_req *c)
{
	c->off = r->off + c->data[1];
	c->len = r->len - c->data[1] < sizeof(ones) ? r->len - c->data[1] : sizeof(ones);
	iof_use_buf(c, (void *)ones);
	iof_pass(l, c);
}

static void invert_zero(struct iof_layer *l, struct iof_req *r)
{
	struct iof_req *c = iof_child(l, r);

	if (!c) {
		iof_complete(r, -ENOMEM);
		return;
	}
	c->op = IOF_WRITE;
	c->flags &= BH_DISK_FUA;
	c->done = zero_done;
	c->user = r;
	c->data[0] = (uintptr_t)l;
	zero_next(l, r, c);
}

/* A hole below reads as ones here. */
static void extents_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;

	iof_free(c);
	r->extent->type = BH_DISK_DATA;
	iof_complete(r, result);
}

static void invert_extents(struct iof_layer *l, struct iof_req *r)
{
	struct iof_req *c = iof_child(l, r);

	if (!c) {
		iof_complete(r, -ENOMEM);
		return;
	}
	c->done = extents_done;
	c->user = r;
	iof_pass(l, c);
}

static const struct iof_filter invert = {
	.abi = IOF_ABI_VERSION, .size = sizeof(struct iof_filter), .name = "invert", .summary = "stores every byte inverted",
	.order = IOF_CLASS_ENCRYPT, .flags = IOF_CHANGES_DATA, .settings = settings, .open = invert_open, .close = invert_close,
	.read = invert_read, .write = invert_write, .discard = invert_zero, .write_zeroes = invert_zero, .extents = invert_extents,
};

IOF_PLUGIN(invert)
