// SPDX-License-Identifier: Apache-2.0
#include "virtio/vhost_user_internal.h"

#include <sys/epoll.h>
#include <unistd.h>

#include "base/evloop.h"
#include "base/log.h"
#include "base/own.h"

void ring_signal(int fd)
{
	uint64_t one = 1;
	ssize_t n = fd < 0 ? 0 : write(fd, &one, sizeof(one));   // full: the front-end has a signal pending anyway
	(void)n;
}

static void ring_interrupt(void *user) { ring_signal(((struct ring *)user)->call); }

static void ring_again(void *user) { ring_signal(((struct ring *)user)->kick); }

static void ring_failed(void *user, const char *why)
{
	struct ring *r = user;
	log_warn("virtio", "queue stopped: %s device=%s queue=%u", why, r->u->a.dev->ops->name, r->index);
	ring_signal(r->err);
}

static void ring_kicked(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)w, (void)events;   // edge-triggered: the eventfd's counter need not be read
	struct ring *r = user;
	r->u->a.dev->ops->queue_kick(r->u->a.dev, r->index);
}

bool ring_running(const struct ring *r) { return r->watch; }

void ring_stop(struct ring *r)
{
	struct virtio_dev *d = r->u->a.dev;
	if (!ring_running(r))
		return;
	evloop_remove(r->watch);
	r->watch = NULL;
	d->ops->queue_stop(d, r->index);
	r->next = d->vq[r->index].next_avail;
	virtqueue_stop(&d->vq[r->index]);
}

const char *ring_update(struct ring *r)
{
	struct vhost_user *u = r->u;
	struct virtio_dev *d = u->a.dev;
	if (ring_running(r) || !r->enabled || r->kick < 0 || !r->has_addr || !r->num)
		return NULL;
	struct virtq_ring at = {.size = (uint16_t)r->num};
	if (gmem_from_user(&u->mem, r->desc, &at.desc) || gmem_from_user(&u->mem, r->avail, &at.avail) ||
	    gmem_from_user(&u->mem, r->used, &at.used))
		return "a ring address lies outside guest memory";
	d->driver_features = u->features;
	struct virtq_host host = {.interrupt = ring_interrupt, .again = ring_again, .failed = ring_failed, .user = r};
	if (virtqueue_start(&d->vq[r->index], &u->mem, &at, u->features, r->next, &host))
		return "a ring is not aligned or does not fit in guest memory";
	r->watch = evloop_add(u->a.loop, r->kick, EPOLLIN | EPOLLET, ring_kicked, r);
	if (!r->watch) {
		virtqueue_stop(&d->vq[r->index]);
		return "the kick descriptor cannot be watched";
	}
	d->ops->queue_start(d, r->index);
	return NULL;
}

void rings_stop(struct vhost_user *u)
{
	for (unsigned i = 0; i < u->a.dev->nqueues; i++)
		ring_stop(&u->ring[i]);
}

const char *rings_update(struct vhost_user *u)
{
	const char *why = NULL;
	for (unsigned i = 0; i < u->a.dev->nqueues && !why; i++)
		why = ring_update(&u->ring[i]);
	return why;
}

void rings_reset(struct vhost_user *u)
{
	rings_stop(u);
	for (unsigned i = 0; i < u->a.dev->nqueues; i++) {
		struct ring *r = &u->ring[i];
		own_fd int kick = take_fd(r->kick), call = take_fd(r->call), err = take_fd(r->err);
		*r = (struct ring){.u = u, .index = i, .kick = -1, .call = -1, .err = -1};
		(void)kick, (void)call, (void)err;
	}
	u->a.dev->ops->reset(u->a.dev);
}
