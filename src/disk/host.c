// SPDX-License-Identifier: Apache-2.0
// What the framework does for filters: the functions of struct iof_host.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "disk/disk.h"
#include "disk/sidefile.h"
#include "disk/work.h"

static void host_pass(struct iof_layer *l, struct iof_req *r) { layer_call(l->below[r->op], r); }
static void host_complete(struct iof_req *r, int result) { r->done(r, result); }

static void complete_step(struct iof_layer *l, struct iof_req *r)
{
	(void)l;
	r->done(r, r->result);
}

static void host_complete_from(struct iof_req *r, int result)
{
	r->result = result;
	r->step = complete_step;
	queue_post(r);
}

static struct iof_req *host_child(struct iof_layer *l, const struct iof_req *r)
{
	struct iof_req *c = queue_req_get(r->queue);

	(void)l;
	if (!c) return NULL;
	*c = (struct iof_req){ .op = r->op, .flags = r->flags, .off = r->off, .len = r->len, .iov = r->iov, .iovcnt = r->iovcnt,
			       .iov_skip = r->iov_skip, .extent = r->extent, .queue = r->queue };
	return c;
}

static void host_free(struct iof_req *c) { queue_req_put(c->queue, c); }

static void host_after(struct iof_layer *l, struct iof_req *r, uint64_t ns, void (*then)(struct iof_layer *, struct iof_req *))
{
	r->layer = l;
	r->step = then;
	work_after(r, ns);
}

static void host_resume(struct iof_layer *l, struct iof_req *r, void (*then)(struct iof_layer *, struct iof_req *))
{
	r->layer = l;
	r->step = then;
	queue_post(r);
}

static void host_work(struct iof_layer *l, struct iof_req *r, int (*fn)(struct iof_layer *, struct iof_req *),
		      void (*then)(struct iof_layer *, struct iof_req *))
{
	r->layer = l;
	r->work = fn;
	r->step = then;
	work_push(r);
}

static void *host_state(const struct iof_layer *l) { return l->state; }
static void *host_queue_state(const struct iof_layer *l, const struct bh_disk_queue *q) { return queue_slot(q, l->slot); }
static uint64_t host_size(const struct iof_layer *l) { return (l->disk->size + l->disk->block - 1) / l->disk->block * l->disk->block; }
static bool host_read_only(const struct iof_layer *l) { return l->disk->read_only; }
static const char *host_name(const struct iof_layer *l) { return l->name; }
static const char *host_disk_id(const struct iof_layer *l) { return l->disk->desc ? l->disk->desc->id : ""; }
static const char *host_disk_path(const struct iof_layer *l) { return l->disk->path; }

static uint64_t host_content_version(const struct iof_layer *l)
{
	int64_t mtime = 0;

	disk_data_mtime(l->disk->data_fd, &mtime);
	return (uint64_t)mtime ^ (l->disk->desc ? l->disk->desc->generation << 48 : 0);
}

static int host_rw_below(struct iof_layer *l, enum iof_op op, uint64_t off, void *buf, size_t len)
{
	return queue_rw(l->disk->root, l->below, op, off, buf, len, 0, NULL);
}

static int host_file_open(struct iof_layer *l, const char *suffix, struct iof_file **f, struct err *e)
{
	return side_open(l->disk, suffix, f, e);
}

static int host_error(struct err *e, int code, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(e, code, "%s", text);
}

static void host_log(struct iof_layer *l, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_warn("disk", "%s: filter %s: %s", l->disk->path, l->name, text);
}

const struct iof_host host_table = {
	.abi = IOF_ABI_VERSION, .size = sizeof(struct iof_host),
	.pass = host_pass, .complete = host_complete, .complete_from = host_complete_from, .child = host_child, .free = host_free,
	.after = host_after, .resume = host_resume, .work = host_work, .buf_get = queue_buf_get, .buf_put = queue_buf_put,
	.state = host_state, .queue_state = host_queue_state, .size_of = host_size, .read_only = host_read_only,
	.name = host_name, .disk_id = host_disk_id, .disk_path = host_disk_path, .content_version = host_content_version, .rw_below = host_rw_below,
	.setting = settings_get, .setting_set = settings_set, .setting_size = settings_size, .setting_ns = settings_ns,
	.file_open = host_file_open, .file_close = side_close, .file_read = side_read, .file_write = side_write, .file_sync = side_sync,
	.file_discard = side_discard, .file_next = side_next, .error = host_error, .log = host_log,
};

const struct iof_host *iof = &host_table;
