// SPDX-License-Identifier: Apache-2.0
// The MMIO transport; see mmio.h.
// Invariants: `lock` orders the vCPU threads and covers all registers but status, isr and config, which the device's thread
// changes too: the first two are atomics, the third has a lock that is never held across a call. A queue runs only
// between DRIVER_OK and the next reset; it is started and stopped on the device's thread.
#include "mmio.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/evloop.h"
#include "base/log.h"

#define VENDOR 0x4b484c42u      // "BLHK"
#define CONFIG_MAX VIRTIO_MMIO_CONFIG_MAX
_Static_assert(CONFIG_MAX == VIRTIO_MMIO_SIZE - VIRTIO_MMIO_CONFIG, "the configuration space fills the window");

struct queue {
	struct virtio_mmio *m;
	unsigned index;
	uint32_t num;
	bool ready;                   // as the driver wrote it
	uint64_t desc, avail, used;
	int kick;                     // owned
	struct evwatch *watch;        // of kick, while the queue runs
	bool paused;                  // it is to run after virtio_mmio_resume, from `next`
	uint16_t next;
	bool fresh;                   // started, but the device has not heard of it yet
};

struct virtio_mmio {
	struct virtio_mmio_attr a;
	pthread_mutex_t lock;
	uint32_t device_sel, driver_sel, queue_sel;
	uint64_t driver_features;
	uint32_t status, isr;         // atomics
	pthread_mutex_t config_lock;
	uint32_t generation;
	uint8_t config[CONFIG_MAX];
	size_t config_len;
	struct queue queue[VIRTIO_MMIO_QUEUES_MAX];
};

static uint32_t get(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static void set_bits(uint32_t *p, uint32_t bits) { __atomic_fetch_or(p, bits, __ATOMIC_SEQ_CST); }

// ---- on the device's thread

static void interrupt(struct virtio_mmio *m, uint32_t reason)
{
	uint64_t one = 1;
	set_bits(&m->isr, reason);
	ssize_t n = write(m->a.irq_fd, &one, sizeof(one));   // full: an edge is pending anyway
	(void)n;
}

static void needs_reset(struct virtio_mmio *m)
{
	set_bits(&m->status, VIRTIO_CONFIG_S_NEEDS_RESET);
	if (get(&m->status) & VIRTIO_CONFIG_S_DRIVER_OK)
		interrupt(m, VIRTIO_MMIO_INT_CONFIG);
}

static void ring_interrupt(void *user) { interrupt(((struct queue *)user)->m, VIRTIO_MMIO_INT_VRING); }

static void ring_again(void *user)
{
	uint64_t one = 1;
	ssize_t n = write(((struct queue *)user)->kick, &one, sizeof(one));
	(void)n;
}

static void ring_failed(void *user, const char *why)
{
	struct queue *q = user;
	log_limited(LOG_LEVEL_WARN, "virtio", "queue stopped: %s device=%s queue=%u", why, q->m->a.dev->ops->name, q->index);
	needs_reset(q->m);
}

static void kicked(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)w, (void)events;   // edge-triggered: the counter need not be read
	struct queue *q = user;
	struct virtio_dev *d = q->m->a.dev;
	if (q->fresh)
		d->ops->queue_start(d, q->index);
	else
		d->ops->queue_kick(d, q->index);
	q->fresh = false;
}

static bool ring_start(struct queue *q, uint16_t next)
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
	struct queue *q = arg;
	struct virtio_dev *d = q->m->a.dev;
	if (!q->watch && ring_start(q, 0))
		d->ops->queue_start(d, q->index);
}

static void queue_stop(void *arg)
{
	struct queue *q = arg;
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
	__atomic_store_n(&m->isr, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&m->status, 0, __ATOMIC_SEQ_CST);
}

static void config_read(struct virtio_mmio *m)
{
	uint8_t now[CONFIG_MAX] = {0};
	size_t len = m->a.dev->ops->config(m->a.dev, now, sizeof(now));
	pthread_mutex_lock(&m->config_lock);
	memcpy(m->config, now, sizeof(now));
	m->config_len = len < sizeof(now) ? len : sizeof(now);
	m->generation++;
	pthread_mutex_unlock(&m->config_lock);
}

static void config_changed(void *user)
{
	struct virtio_mmio *m = user;
	config_read(m);
	if (get(&m->status) & VIRTIO_CONFIG_S_DRIVER_OK)
		interrupt(m, VIRTIO_MMIO_INT_CONFIG);
}

void virtio_mmio_pause(struct virtio_mmio *m)
{
	struct virtio_dev *d = m->a.dev;
	for (unsigned i = 0; i < d->nqueues; i++) {
		struct queue *q = &m->queue[i];
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
		struct queue *q = &m->queue[i];
		if (!q->paused)
			continue;
		q->paused = false;
		q->fresh = ring_start(q, q->next);
		ring_again(q);
	}
	if (get(&m->isr))   // an edge may have been lost on its way to the controller that was saved
		interrupt(m, 0);
}

// ---- on vCPU threads, lock held

static void on_device(struct virtio_mmio *m, void (*fn)(void *arg), void *arg) { m->a.call(m->a.user, fn, arg); }

static uint64_t offered(const struct virtio_mmio *m)
{
	return m->a.dev->ops->features(m->a.dev) | 1ull << VIRTIO_F_VERSION_1;
}

static struct queue *selected(struct virtio_mmio *m)
{
	return m->queue_sel < m->a.dev->nqueues ? &m->queue[m->queue_sel] : NULL;
}

static void reset(struct virtio_mmio *m)
{
	on_device(m, device_reset, m);
	m->device_sel = m->driver_sel = m->queue_sel = 0;
	m->driver_features = 0;
	for (unsigned i = 0; i < m->a.dev->nqueues; i++) {
		struct queue *q = &m->queue[i];
		q->num = VIRTIO_MMIO_RING_MAX;
		q->ready = false;
		q->desc = q->avail = q->used = 0;
	}
}

static void write_status(struct virtio_mmio *m, uint32_t v)
{
	uint32_t was = get(&m->status);
	if (!v) {
		reset(m);
		return;
	}
	v &= 0xff & ~(uint32_t)VIRTIO_CONFIG_S_NEEDS_RESET & ~was;   // bits are only added
	if ((v & VIRTIO_CONFIG_S_FEATURES_OK) &&
	    ((m->driver_features & ~offered(m)) || !(m->driver_features >> VIRTIO_F_VERSION_1 & 1)))
		v &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
	if ((v & VIRTIO_CONFIG_S_DRIVER_OK) && !((was | v) & VIRTIO_CONFIG_S_FEATURES_OK))
		v &= ~(uint32_t)VIRTIO_CONFIG_S_DRIVER_OK;
	set_bits(&m->status, v);
	if (v & VIRTIO_CONFIG_S_DRIVER_OK)
		on_device(m, device_start, m);
}

static void write_ready(struct virtio_mmio *m, struct queue *q, uint32_t v)
{
	if ((v & 1) == q->ready)
		return;
	q->ready = v & 1;
	if (!q->ready)
		on_device(m, queue_stop, q);
	else if (get(&m->status) & VIRTIO_CONFIG_S_DRIVER_OK)
		on_device(m, queue_start, q);
}

static void put_half(uint64_t *at, bool high, uint32_t v)
{
	*at = high ? (*at & UINT32_MAX) | (uint64_t)v << 32 : (*at & ~(uint64_t)UINT32_MAX) | v;
}

static void write_queue(struct virtio_mmio *m, unsigned off, uint32_t v)
{
	struct queue *q = selected(m);
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
		if (m->driver_sel < 2 && !(get(&m->status) & VIRTIO_CONFIG_S_FEATURES_OK))
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

static uint32_t read_locked(struct virtio_mmio *m, unsigned off)
{
	const struct queue *q = selected(m);
	switch (off) {
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return m->device_sel < 2 ? (uint32_t)(offered(m) >> (32 * m->device_sel)) : 0;
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return q ? VIRTIO_MMIO_RING_MAX : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return q ? q->ready : 0;
	default:
		return 0;
	}
}

// ---- any vCPU thread

static uint64_t read_config(struct virtio_mmio *m, unsigned off, unsigned len)
{
	uint64_t v = 0;
	pthread_mutex_lock(&m->config_lock);
	if (off + len <= m->config_len)
		memcpy(&v, m->config + off, len);
	pthread_mutex_unlock(&m->config_lock);
	return v;
}

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
	config_read(w->m);
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

static uint32_t read_generation(struct virtio_mmio *m)
{
	pthread_mutex_lock(&m->config_lock);
	uint32_t v = m->generation;
	pthread_mutex_unlock(&m->config_lock);
	return v;
}

uint64_t virtio_mmio_read(struct virtio_mmio *m, unsigned off, unsigned len)
{
	if (off >= VIRTIO_MMIO_CONFIG)
		return read_config(m, off - VIRTIO_MMIO_CONFIG, len);
	if (len != 4 || off % 4)
		return 0;
	switch (off) {
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return get(&m->isr);
	case VIRTIO_MMIO_STATUS:
		return get(&m->status);
	case VIRTIO_MMIO_MAGIC_VALUE:
		return VIRTIO_MMIO_MAGIC;
	case VIRTIO_MMIO_VERSION:
		return 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return m->a.dev->ops->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return read_generation(m);
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX;   // there is no shared memory region
	default:
		break;
	}
	pthread_mutex_lock(&m->lock);
	uint32_t v = read_locked(m, off);
	pthread_mutex_unlock(&m->lock);
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
	if (off == VIRTIO_MMIO_INTERRUPT_ACK) {
		__atomic_fetch_and(&m->isr, ~(uint32_t)v, __ATOMIC_SEQ_CST);
		return;
	}
	if (off == VIRTIO_MMIO_QUEUE_NOTIFY) {   // usually the kernel sees to it, without coming here
		if ((uint32_t)v < m->a.dev->nqueues)
			ring_again(&m->queue[(uint32_t)v]);
		return;
	}
	pthread_mutex_lock(&m->lock);
	write_locked(m, off, (uint32_t)v);
	pthread_mutex_unlock(&m->lock);
}

int virtio_mmio_kick_fd(const struct virtio_mmio *m, unsigned n) { return m->queue[n].kick; }

// ---- saved state

void virtio_mmio_save(const struct virtio_mmio *m, struct virtio_mmio_state *s)
{
	*s = (struct virtio_mmio_state){
		.device_id = m->a.dev->ops->id, .nqueues = m->a.dev->nqueues, .device_sel = m->device_sel,
		.driver_sel = m->driver_sel, .queue_sel = m->queue_sel, .status = get(&m->status), .isr = get(&m->isr),
		.generation = m->generation, .driver_features = m->driver_features,
		.carry = m->a.dev->carry, .config_len = (uint32_t)m->config_len,
	};
	memcpy(s->config, m->config, sizeof(s->config));
	for (unsigned i = 0; i < s->nqueues; i++) {
		const struct queue *q = &m->queue[i];
		s->queue[i].desc = q->desc;
		s->queue[i].avail = q->avail;
		s->queue[i].used = q->used;
		s->queue[i].num = q->num;
		s->queue[i].next = q->next;
		s->queue[i].ready = q->ready;
		s->queue[i].running = q->paused;
	}
}

static int check_state(const struct virtio_mmio *m, const struct virtio_mmio_state *s, struct err *e)
{
	const struct virtio_dev *d = m->a.dev;
	uint64_t unknown = s->driver_features & ~offered(m);
	if (s->device_id != d->ops->id)
		return err_set(e, EINVAL, "a device of type %u was saved, and here is one of type %u (%s)", s->device_id, d->ops->id,
			       d->ops->name);
	if (s->nqueues != d->nqueues)
		return err_set(e, EINVAL, "the device was saved with %u queues and has %u here", s->nqueues, d->nqueues);
	if ((s->status & VIRTIO_CONFIG_S_FEATURES_OK) && unknown)
		return err_set(e, EINVAL, "its driver uses features (0x%llx) that the device does not have here",
			       (unsigned long long)unknown);
	if (s->status & ~0xffu || s->config_len > sizeof(s->config))
		return err_set(e, EINVAL, "the saved device's state cannot be");
	for (unsigned i = 0; i < s->nqueues; i++) {
		struct virtqueue trial;
		struct virtq_host host = {.user = NULL};
		struct virtq_ring at = {.size = (uint16_t)s->queue[i].num, .desc = s->queue[i].desc, .avail = s->queue[i].avail,
					.used = s->queue[i].used};
		if (s->queue[i].num > VIRTIO_MMIO_RING_MAX || s->queue[i].ready > 1 || s->queue[i].running > s->queue[i].ready ||
		    (s->queue[i].running && virtqueue_start(&trial, m->a.mem, &at, s->driver_features, s->queue[i].next, &host)))
			return err_set(e, EINVAL, "the saved ring of queue %u cannot be", i);
	}
	return 0;
}

int virtio_mmio_restore(struct virtio_mmio *m, const struct virtio_mmio_state *s, struct err *e)
{
	struct virtio_dev *d = m->a.dev;
	int rc = check_state(m, s, e);
	if (rc)
		return rc;
	m->device_sel = s->device_sel;
	m->driver_sel = s->driver_sel;
	m->queue_sel = s->queue_sel;
	m->driver_features = s->driver_features;
	m->generation = s->generation + 1;
	m->isr = s->isr;
	m->status = s->status;
	for (unsigned i = 0; i < s->nqueues; i++) {
		struct queue *q = &m->queue[i];
		q->desc = s->queue[i].desc;
		q->avail = s->queue[i].avail;
		q->used = s->queue[i].used;
		q->num = s->queue[i].num;
		q->next = s->queue[i].next;
		q->ready = s->queue[i].ready;
		q->paused = s->queue[i].running;
	}
	if (!(s->status & VIRTIO_CONFIG_S_DRIVER_OK))
		return 0;
	d->driver_features = s->driver_features;
	d->carry = s->carry;
	if (d->ops->restored)
		d->ops->restored(d, s->config, s->config_len);
	config_read(m);
	if (s->config_len != m->config_len || memcmp(s->config, m->config, m->config_len))
		m->isr |= VIRTIO_MMIO_INT_CONFIG;   // another disk, say: virtio_mmio_resume interrupts
	return 0;
}

// ---- beginning and end

int virtio_mmio_new(const struct virtio_mmio_attr *a, struct virtio_mmio **out)
{
	if (!a->dev->nqueues || a->dev->nqueues > VIRTIO_MMIO_QUEUES_MAX)
		return -EINVAL;
	struct virtio_mmio *m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->a = *a;
	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_init(&m->config_lock, NULL);
	for (unsigned i = 0; i < VIRTIO_MMIO_QUEUES_MAX; i++)
		m->queue[i] = (struct queue){.m = m, .index = i, .num = VIRTIO_MMIO_RING_MAX, .kick = -1};
	for (unsigned i = 0; i < a->dev->nqueues; i++) {
		m->queue[i].kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (m->queue[i].kick < 0) {
			int rc = -errno;
			virtio_mmio_free(m);
			return rc;
		}
	}
	config_read(m);
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
