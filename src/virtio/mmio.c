// SPDX-License-Identifier: Apache-2.0
// The MMIO transport; see mmio.h.
// The registers are kept as the driver reads them, in a window that it may be shown instead of having its reads carried out here.
// Invariants: `lock` orders the vCPU threads and covers all registers but status, isr and config, which the device's thread
// changes too: the first two are atomics, the third has a lock that is never held across a call. A queue runs only
// between DRIVER_OK and the next reset; it is started and stopped on the device's thread.
#include "mmio_internal.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/evloop.h"
#include "base/log.h"

#define VENDOR 0x4b484c42u      // "BLHK"

static uint32_t get(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }

// A register as the driver reads it.
static void show(struct virtio_mmio *m, unsigned off, uint32_t v)
{
	__atomic_store_n((uint32_t *)(void *)(m->window + off), v, __ATOMIC_RELEASE);
}

static void set_bits(uint32_t *p, uint32_t bits) { __atomic_fetch_or(p, bits, __ATOMIC_SEQ_CST); }

// ---- on the device's thread

static void interrupt(struct virtio_mmio *m, uint32_t reason)
{
	uint64_t one = 1;
	set_bits(m->isr, reason);
	ssize_t n = write(m->a.irq_fd, &one, sizeof(one));   // full: an edge is pending anyway
	(void)n;
}

static void needs_reset(struct virtio_mmio *m)
{
	set_bits(m->status, VIRTIO_CONFIG_S_NEEDS_RESET);
	if (get(m->status) & VIRTIO_CONFIG_S_DRIVER_OK)
		interrupt(m, VIRTIO_MMIO_INT_CONFIG);
}

static void ring_interrupt(void *user) { interrupt(((struct mmio_queue *)user)->m, VIRTIO_MMIO_INT_VRING); }

static void ring_again(void *user)
{
	uint64_t one = 1;
	ssize_t n = write(((struct mmio_queue *)user)->kick, &one, sizeof(one));
	(void)n;
}

static void ring_failed(void *user, const char *why)
{
	struct mmio_queue *q = user;
	log_limited(LOG_LEVEL_WARN, "virtio", "queue stopped: %s device=%s queue=%u", why, q->m->a.dev->ops->name, q->index);
	needs_reset(q->m);
}

static void kicked(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)w, (void)events;   // edge-triggered: the counter need not be read
	struct mmio_queue *q = user;
	struct virtio_dev *d = q->m->a.dev;
	if (q->fresh)
		d->ops->queue_start(d, q->index);
	else
		d->ops->queue_kick(d, q->index);
	q->fresh = false;
}

static bool ring_start(struct mmio_queue *q, uint16_t next)
{
	struct virtio_mmio *m = q->m;
	struct virtio_dev *d = m->a.dev;
	struct virtq_ring at = {.size = (uint16_t)q->num, .desc = q->desc, .avail = q->avail, .used = q->used};
	struct virtq_host host = {.interrupt = ring_interrupt, .again = ring_again, .failed = ring_failed, .user = q};
	if (virtqueue_start(&d->vq[q->index], m->a.mem, &at, d->driver_features, next, &host)) {
		ring_failed(q, "the ring is not aligned or not in guest memory");
		return false;
	}
	q->watch = evloop_add(m->a.loop, q->kick, EPOLLIN | EPOLLET, kicked, q);
	if (q->watch)
		return true;
	virtqueue_stop(&d->vq[q->index]);
	ring_failed(q, "no memory");
	return false;
}

static void queue_start(void *arg)
{
	struct mmio_queue *q = arg;
	struct virtio_dev *d = q->m->a.dev;
	if (!q->watch && ring_start(q, 0))
		d->ops->queue_start(d, q->index);
}

static void queue_stop(void *arg)
{
	struct mmio_queue *q = arg;
	struct virtio_dev *d = q->m->a.dev;
	q->paused = q->fresh = false;
	if (!q->watch)
		return;
	evloop_remove(q->watch);
	q->watch = NULL;
	d->ops->queue_stop(d, q->index);
	virtqueue_stop(&d->vq[q->index]);
}

static void device_start(void *arg)
{
	struct virtio_mmio *m = arg;
	m->a.dev->driver_features = m->driver_features;
	for (unsigned i = 0; i < m->a.dev->nqueues; i++) {
		if (m->queue[i].ready)
			queue_start(&m->queue[i]);
	}
}

static void device_reset(void *arg)
{
	struct virtio_mmio *m = arg;
	for (unsigned i = 0; i < m->a.dev->nqueues; i++)
		queue_stop(&m->queue[i]);
	m->a.dev->ops->reset(m->a.dev);
	m->a.dev->driver_features = 0;
	__atomic_store_n(m->isr, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(m->status, 0, __ATOMIC_SEQ_CST);
}

void mmio_config_read(struct virtio_mmio *m)
{
	uint8_t now[CONFIG_MAX] = {0};
	size_t len = m->a.dev->ops->config(m->a.dev, now, sizeof(now));
	pthread_mutex_lock(&m->config_lock);
	memcpy(m->config, now, sizeof(now));
	m->config_len = len < sizeof(now) ? len : sizeof(now);
	m->generation++;
	// A driver that reads the window in just this moment may see a half; the interrupt that follows has it look again.
	memset(m->window + VIRTIO_MMIO_CONFIG, 0, CONFIG_MAX);
	memcpy(m->window + VIRTIO_MMIO_CONFIG, m->config, m->config_len);
	show(m, VIRTIO_MMIO_CONFIG_GENERATION, m->generation);
	pthread_mutex_unlock(&m->config_lock);
}

static void config_changed(void *user)
{
	struct virtio_mmio *m = user;
	mmio_config_read(m);
	if (get(m->status) & VIRTIO_CONFIG_S_DRIVER_OK)
		interrupt(m, VIRTIO_MMIO_INT_CONFIG);
}

void virtio_mmio_pause(struct virtio_mmio *m)
{
	struct virtio_dev *d = m->a.dev;
	for (unsigned i = 0; i < d->nqueues; i++) {
		struct mmio_queue *q = &m->queue[i];
		if (!q->watch)
			continue;
		queue_stop(q);
		q->paused = !d->vq[i].broken;
		q->next = d->vq[i].next_used;   // all that was taken was given back, so this is next_avail, too
	}
}

// The device is not called from here: it would look into guest memory, and whoever resumes a VM may have to see to the
// pages of that memory first.
void virtio_mmio_resume(struct virtio_mmio *m)
{
	for (unsigned i = 0; i < m->a.dev->nqueues; i++) {
		struct mmio_queue *q = &m->queue[i];
		if (!q->paused)
			continue;
		q->paused = false;
		q->fresh = ring_start(q, q->next);
		ring_again(q);
	}
	if (get(m->isr))   // an edge may have been lost on its way to the controller that was saved
		interrupt(m, 0);
}

// ---- on vCPU threads, lock held

static void on_device(struct virtio_mmio *m, void (*fn)(void *arg), void *arg) { m->a.call(m->a.user, fn, arg); }

uint64_t mmio_offered(const struct virtio_mmio *m)
{
	return m->a.dev->ops->features(m->a.dev) | 1ull << VIRTIO_F_VERSION_1;
}

static struct mmio_queue *selected(struct virtio_mmio *m)
{
	return m->queue_sel < m->a.dev->nqueues ? &m->queue[m->queue_sel] : NULL;
}

static void reset(struct virtio_mmio *m)
{
	on_device(m, device_reset, m);
	m->device_sel = m->driver_sel = m->queue_sel = 0;
	m->driver_features = 0;
	for (unsigned i = 0; i < m->a.dev->nqueues; i++) {
		struct mmio_queue *q = &m->queue[i];
		q->num = VIRTIO_MMIO_RING_MAX;
		q->ready = false;
		q->desc = q->avail = q->used = 0;
	}
}

static void write_status(struct virtio_mmio *m, uint32_t v)
{
	uint32_t was = get(m->status);
	if (!v) {
		reset(m);
		return;
	}
	v &= 0xff & ~(uint32_t)VIRTIO_CONFIG_S_NEEDS_RESET & ~was;   // bits are only added
	if ((v & VIRTIO_CONFIG_S_FEATURES_OK) &&
	    ((m->driver_features & ~mmio_offered(m)) || !(m->driver_features >> VIRTIO_F_VERSION_1 & 1)))
		v &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
	if ((v & VIRTIO_CONFIG_S_DRIVER_OK) && !((was | v) & VIRTIO_CONFIG_S_FEATURES_OK))
		v &= ~(uint32_t)VIRTIO_CONFIG_S_DRIVER_OK;
	set_bits(m->status, v);
	if (v & VIRTIO_CONFIG_S_DRIVER_OK)
		on_device(m, device_start, m);
}

static void write_ready(struct virtio_mmio *m, struct mmio_queue *q, uint32_t v)
{
	if ((v & 1) == q->ready)
		return;
	q->ready = v & 1;
	if (!q->ready)
		on_device(m, queue_stop, q);
	else if (get(m->status) & VIRTIO_CONFIG_S_DRIVER_OK)
		on_device(m, queue_start, q);
}

static void put_half(uint64_t *at, bool high, uint32_t v)
{
	*at = high ? (*at & UINT32_MAX) | (uint64_t)v << 32 : (*at & ~(uint64_t)UINT32_MAX) | v;
}

static void write_queue(struct virtio_mmio *m, unsigned off, uint32_t v)
{
	struct mmio_queue *q = selected(m);
	if (!q)
		return;
	if (off == VIRTIO_MMIO_QUEUE_READY) {
		write_ready(m, q, v);
		return;
	}
	if (q->ready)
		return;   // a ring that is in use stays as it is
	switch (off) {
	case VIRTIO_MMIO_QUEUE_NUM:
		q->num = v <= VIRTIO_MMIO_RING_MAX ? v : 0;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		put_half(&q->desc, off == VIRTIO_MMIO_QUEUE_DESC_HIGH, v);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		put_half(&q->avail, off == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, v);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		put_half(&q->used, off == VIRTIO_MMIO_QUEUE_USED_HIGH, v);
		break;
	default:
		break;
	}
}

static void write_locked(struct virtio_mmio *m, unsigned off, uint32_t v)
{
	switch (off) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		m->device_sel = v;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		m->driver_sel = v;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (m->driver_sel < 2 && !(get(m->status) & VIRTIO_CONFIG_S_FEATURES_OK))
			put_half(&m->driver_features, m->driver_sel, v);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		m->queue_sel = v;
		break;
	case VIRTIO_MMIO_STATUS:
		write_status(m, v);
		break;
	default:
		write_queue(m, off, v);
		break;
	}
}

void mmio_show_selected(struct virtio_mmio *m)
{
	const struct mmio_queue *q = selected(m);
	show(m, VIRTIO_MMIO_DEVICE_FEATURES, m->device_sel < 2 ? (uint32_t)(mmio_offered(m) >> (32 * m->device_sel)) : 0);
	show(m, VIRTIO_MMIO_QUEUE_NUM_MAX, q ? VIRTIO_MMIO_RING_MAX : 0);
	show(m, VIRTIO_MMIO_QUEUE_READY, q ? q->ready : 0);
}

static void show_constant(struct virtio_mmio *m)
{
	const struct { unsigned off; uint32_t v; } list[] = {
		{VIRTIO_MMIO_MAGIC_VALUE, VIRTIO_MMIO_MAGIC}, {VIRTIO_MMIO_VERSION, 2}, {VIRTIO_MMIO_DEVICE_ID, m->a.dev->ops->id},
		{VIRTIO_MMIO_VENDOR_ID, VENDOR},
		// There is no shared memory region.
		{VIRTIO_MMIO_SHM_LEN_LOW, UINT32_MAX}, {VIRTIO_MMIO_SHM_LEN_HIGH, UINT32_MAX}, {VIRTIO_MMIO_SHM_BASE_LOW, UINT32_MAX},
		{VIRTIO_MMIO_SHM_BASE_HIGH, UINT32_MAX},
	};
	for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		show(m, list[i].off, list[i].v);
}

// ---- any vCPU thread

struct config_write {
	struct virtio_mmio *m;
	size_t off, len;
	uint64_t v;
};

static void on_config_write(void *arg)
{
	struct config_write *w = arg;
	struct virtio_dev *d = w->m->a.dev;
	d->ops->config_write(d, w->off, &w->v, w->len);
	mmio_config_read(w->m);
}

static void write_config(struct virtio_mmio *m, unsigned off, unsigned len, uint64_t v)
{
	struct config_write w = {.m = m, .off = off, .len = len, .v = v};
	if (!m->a.dev->ops->config_write || len > sizeof(v))
		return;
	pthread_mutex_lock(&m->lock);
	on_device(m, on_config_write, &w);
	pthread_mutex_unlock(&m->lock);
}

uint64_t virtio_mmio_read(struct virtio_mmio *m, unsigned off, unsigned len)
{
	uint64_t v = 0;
	if (off < VIRTIO_MMIO_CONFIG)
		return len != 4 || off % 4 ? 0 : get((uint32_t *)(void *)(m->window + off));
	pthread_mutex_lock(&m->config_lock);
	if (off + len <= VIRTIO_MMIO_SIZE && len <= sizeof(v))
		memcpy(&v, m->window + off, len);
	pthread_mutex_unlock(&m->config_lock);
	return v;
}

void virtio_mmio_write(struct virtio_mmio *m, unsigned off, unsigned len, uint64_t v)
{
	if (off >= VIRTIO_MMIO_CONFIG) {
		write_config(m, off - VIRTIO_MMIO_CONFIG, len, v);
		return;
	}
	if (len != 4 || off % 4)
		return;
	if (off == VIRTIO_MMIO_INTERRUPT_ACK) {   // of used buffers alone it need not come here: see mmio.h
		__atomic_fetch_and(m->isr, ~(uint32_t)v, __ATOMIC_SEQ_CST);
		return;
	}
	if (off == VIRTIO_MMIO_QUEUE_NOTIFY) {   // usually the kernel sees to it, without coming here
		if ((uint32_t)v < m->a.dev->nqueues)
			ring_again(&m->queue[(uint32_t)v]);
		return;
	}
	pthread_mutex_lock(&m->lock);
	write_locked(m, off, (uint32_t)v);
	mmio_show_selected(m);
	pthread_mutex_unlock(&m->lock);
}

int virtio_mmio_kick_fd(const struct virtio_mmio *m, unsigned n) { return m->queue[n].kick; }

// ---- beginning and end

int virtio_mmio_new(const struct virtio_mmio_attr *a, struct virtio_mmio **out)
{
	if (!a->dev->nqueues || a->dev->nqueues > VIRTIO_MMIO_QUEUES_MAX)
		return -EINVAL;
	struct virtio_mmio *m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->a = *a;
	m->window = a->window ? a->window : m->own_window;
	memset(m->window, 0, VIRTIO_MMIO_SIZE);
	m->status = (uint32_t *)(void *)(m->window + VIRTIO_MMIO_STATUS);
	m->isr = (uint32_t *)(void *)(m->window + VIRTIO_MMIO_INTERRUPT_STATUS);
	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_init(&m->config_lock, NULL);
	for (unsigned i = 0; i < VIRTIO_MMIO_QUEUES_MAX; i++)
		m->queue[i] = (struct mmio_queue){.m = m, .index = i, .num = VIRTIO_MMIO_RING_MAX, .kick = -1};
	for (unsigned i = 0; i < a->dev->nqueues; i++) {
		m->queue[i].kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (m->queue[i].kick < 0) {
			int rc = -errno;
			virtio_mmio_free(m);
			return rc;
		}
	}
	mmio_config_read(m);
	show_constant(m);
	mmio_show_selected(m);
	a->dev->config_changed = config_changed;
	a->dev->config_user = m;
	*out = m;
	return 0;
}

void virtio_mmio_free(struct virtio_mmio *m)
{
	if (!m)
		return;
	for (unsigned i = 0; i < VIRTIO_MMIO_QUEUES_MAX; i++) {
		queue_stop(&m->queue[i]);
		if (m->queue[i].kick >= 0)
			close(m->queue[i].kick);
	}
	if (m->a.dev->config_user == m)
		m->a.dev->config_changed = NULL;
	pthread_mutex_destroy(&m->lock);
	pthread_mutex_destroy(&m->config_lock);
	free(m);
}
