// SPDX-License-Identifier: Apache-2.0
// A hostile driver of the block device. The disk is a piece of memory that completes at once or, for half the requests,
// when polled.
#include <bulkhead/disk.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/evloop.h"
#include "virtio/blk.h"
#include "virtq_script.h"

#define DISK_BYTES 65536

struct bh_disk { uint8_t data[DISK_BYTES]; };
struct bh_disk_queue { struct bh_disk *d; int fd; struct bh_disk_io *late[4096]; unsigned n; };

static struct bh_disk disk;
static struct bh_disk_queue queue = {.d = &disk, .fd = -1};

void bh_disk_info(const struct bh_disk *d, struct bh_disk_info *i)
{
	(void)d;
	*i = (struct bh_disk_info){.size_bytes = DISK_BYTES, .block_bytes = 4096, .can_discard = true};
}

int bh_disk_queue_open(struct bh_disk *d, unsigned depth, struct bh_disk_queue **q, struct err *e)
{
	(void)d, (void)depth, (void)e;
	queue.n = 0;
	if (queue.fd < 0)
		queue.fd = eventfd(0, EFD_NONBLOCK);
	*q = &queue;
	return 0;
}

void bh_disk_queue_close(struct bh_disk_queue *q) { if (q->n) abort(); }
int bh_disk_queue_fd(const struct bh_disk_queue *q) { return q->fd; }

static void finish(struct bh_disk_io *io)
{
	uint64_t at = io->off, sum = 0;
	if (io->op != BH_DISK_FLUSH && (io->off > DISK_BYTES || io->len > DISK_BYTES - io->off))
		abort();   // the device must have checked
	for (int i = 0; i < io->iovcnt; i++) {
		struct iovec v = io->iov[i];
		sum += v.iov_len;
		if (sum > io->len)
			abort();
		if (io->op == BH_DISK_READ)
			memcpy(v.iov_base, disk.data + at, v.iov_len);
		else
			memcpy(disk.data + at, v.iov_base, v.iov_len);
		at += v.iov_len;
	}
	io->done(io, 0);
}

void bh_disk_submit(struct bh_disk_queue *q, struct bh_disk_io *io)
{
	if (io->off & 512 && q->n < 4096)
		q->late[q->n++] = io;
	else
		finish(io);
}

int bh_disk_queue_poll(struct bh_disk_queue *q)
{
	int n = 0;
	while (q->n) {
		finish(q->late[--q->n]);
		n++;
	}
	return n;
}

static void after(void *b)
{
	struct virtio_dev *d = blk_dev(b);
	d->ops->queue_stop(d, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
	struct fake_ram ram;
	struct fake_ring r;
	struct blk *b;
	struct evloop *l = evloop_new();
	struct blk_attr a = {.loop = l, .disk = &disk, .serial = "fuzz", .nqueues = 1};
	fake_ram_init(&ram);
	fake_ring_init(&r, &ram);
	if (blk_new(&a, &b))
		abort();
	struct virtio_dev *d = blk_dev(b);
	fake_ring_start(&r, &d->vq[0], len & 1 ? VIRTQ_FEATURES : 0);
	d->ops->queue_start(d, 0);
	script_run(&ram, (struct fake_ring *const[]){&r}, d, in, len, after, b);
	d->ops->queue_stop(d, 0);
	blk_free(b);
	evloop_free(l);
	fake_ram_fini(&ram);
	return 0;
}
