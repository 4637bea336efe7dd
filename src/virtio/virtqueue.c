// SPDX-License-Identifier: Apache-2.0
// The device side of a split virtqueue; see virtqueue.h.
#include "virtqueue.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stddef.h>

#define INDIRECT_MAX 1024   // descriptors in an indirect table

// Shared fields: one load or store each, never repeated by the compiler.
#define shared_load(p, order) __atomic_load_n(p, order)
#define shared_store(p, v, order) __atomic_store_n(p, v, order)

static struct vring_avail *ring_avail(const struct virtqueue *q) { return q->avail; }
static struct vring_used *ring_used(const struct virtqueue *q) { return q->used; }

// With VIRTIO_RING_F_EVENT_IDX each side writes, behind its ring, the index at which it wants to hear from the other.
static uint16_t *used_event(const struct virtqueue *q) { return &ring_avail(q)->ring[q->size]; }
static uint16_t *avail_event(const struct virtqueue *q) { return (uint16_t *)&ring_used(q)->ring[q->size]; }

static bool aligned(gpa_t a, unsigned to) { return a % to == 0; }

int virtqueue_start(struct virtqueue *q, const struct guest_mem *mem, const struct virtq_ring *ring, uint64_t features,
		    uint16_t next, const struct virtq_host *host)
{
	unsigned n = ring->size;
	if (n == 0 || n > VIRTQ_SIZE_MAX || (n & (n - 1)))
		return -EINVAL;
	if (!aligned(ring->desc, 16) || !aligned(ring->avail, 2) || !aligned(ring->used, 4))
		return -EINVAL;
	const void *desc = gmem_at(mem, ring->desc, n * sizeof(struct vring_desc), GMEM_READ);
	void *avail = gmem_at(mem, ring->avail, sizeof(struct vring_avail) + (n + 1) * sizeof(uint16_t), GMEM_READ);
	void *used = gmem_at(mem, ring->used, sizeof(struct vring_used) + n * sizeof(struct vring_used_elem) +
			     sizeof(uint16_t), GMEM_WRITE);
	if (!desc || !avail || !used)
		return -EFAULT;
	*q = (struct virtqueue){
		.mem = mem, .desc = desc, .avail = avail, .used = used, .size = ring->size,
		.next_avail = next, .next_used = next, .signalled = next,
		.event_idx = features >> VIRTIO_RING_F_EVENT_IDX & 1,
		.indirect = features >> VIRTIO_RING_F_INDIRECT_DESC & 1,
		.running = true, .host = *host,
	};
	// A ring taken over in the middle: used buffers may lie there that nobody was told of.
	q->signalled = (uint16_t)(next - 1);
	return 0;
}

void virtqueue_stop(struct virtqueue *q) { q->running = false; }

int virtqueue_break(struct virtqueue *q, const char *why)
{
	if (!q->broken) {
		q->broken = why;
		q->running = false;
		if (q->host.failed)
			q->host.failed(q->host.user, why);
	}
	return -EPROTO;
}

// A table of descriptors: the ring's own or an indirect one.
struct table {
	const struct vring_desc *desc;
	unsigned size;
};

static struct vring_desc table_read(const struct table *t, unsigned i)
{
	const struct vring_desc *d = &t->desc[i];
	return (struct vring_desc){
		.addr = le64toh(shared_load(&d->addr, __ATOMIC_RELAXED)),
		.len = le32toh(shared_load(&d->len, __ATOMIC_RELAXED)),
		.flags = le16toh(shared_load(&d->flags, __ATOMIC_RELAXED)),
		.next = le16toh(shared_load(&d->next, __ATOMIC_RELAXED)),
	};
}

static const char *chain_add(const struct virtqueue *q, struct virtq_chain *c, const struct vring_desc *d)
{
	bool write = d->flags & VRING_DESC_F_WRITE;
	if (!write && c->nin)
		return "a buffer to read follows one to write";
	if (!d->len)
		return NULL;
	if (c->nout + c->nin == VIRTQ_CHAIN_MAX)
		return "a chain has too many buffers";
	void *at = gmem_at(q->mem, d->addr, d->len, write ? GMEM_WRITE : GMEM_READ);
	if (!at)
		return "a buffer lies outside guest memory";
	c->iov[c->nout + c->nin] = (struct iovec){.iov_base = at, .iov_len = d->len};
	if (write) {
		c->nin++;
		c->in_len += d->len;
	} else {
		c->nout++;
		c->out_len += d->len;
	}
	return NULL;
}

static const char *chain_walk(const struct virtqueue *q, struct virtq_chain *c)
{
	struct table t = {.desc = q->desc, .size = q->size};
	unsigned i = c->head;
	bool indirect = false;
	for (unsigned steps = 0; steps < t.size; steps++) {
		if (i >= t.size)
			return "a descriptor index is out of range";
		struct vring_desc d = table_read(&t, i);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (!q->indirect || indirect || (d.flags & VRING_DESC_F_NEXT))
				return "an indirect descriptor where none is allowed";
			if (!d.len || d.len % sizeof(struct vring_desc) || d.len / sizeof(struct vring_desc) > INDIRECT_MAX)
				return "an indirect table has a bad length";
			t = (struct table){.desc = gmem_at(q->mem, d.addr, d.len, GMEM_READ),
					   .size = d.len / sizeof(struct vring_desc)};
			if (!t.desc || d.addr % sizeof(uint64_t))
				return "an indirect table lies outside guest memory or is not aligned";
			indirect = true;
			i = 0;
			steps = UINT32_MAX;   // a table of its own: count its steps from 0
			continue;
		}
		const char *why = chain_add(q, c, &d);
		if (why)
			return why;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return NULL;
		i = d.next;
	}
	return "a chain has a loop";
}

bool virtqueue_waiting(const struct virtqueue *q)
{
	return q->running && le16toh(shared_load(&ring_avail(q)->idx, __ATOMIC_ACQUIRE)) != q->next_avail;
}

int virtqueue_pop(struct virtqueue *q, struct virtq_chain *c)
{
	if (!q->running)
		return q->broken ? -EPROTO : 0;
	uint16_t avail = le16toh(shared_load(&ring_avail(q)->idx, __ATOMIC_ACQUIRE));
	if (avail == q->next_avail)
		return 0;
	if ((uint16_t)(avail - q->next_avail) > q->size)
		return virtqueue_break(q, "the available index jumped");
	uint16_t slot = q->next_avail & (q->size - 1);
	c->head = le16toh(shared_load(&ring_avail(q)->ring[slot], __ATOMIC_RELAXED));
	c->nout = c->nin = 0;
	c->out_len = c->in_len = 0;
	const char *why = chain_walk(q, c);
	if (why)
		return virtqueue_break(q, why);
	q->next_avail++;
	return 1;
}

void virtqueue_unpop(struct virtqueue *q) { q->next_avail--; }

void virtqueue_push(struct virtqueue *q, uint16_t head, uint32_t written)
{
	if (!q->running)
		return;
	struct vring_used_elem *u = &ring_used(q)->ring[q->next_used & (q->size - 1)];
	shared_store(&u->id, htole32(head), __ATOMIC_RELAXED);
	shared_store(&u->len, htole32(written), __ATOMIC_RELAXED);
	q->next_used++;
	shared_store(&ring_used(q)->idx, htole16(q->next_used), __ATOMIC_RELEASE);
}

static bool interrupt_wanted(struct virtqueue *q)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);   // the used index is visible before we look at what the driver wants
	if (!q->event_idx)
		return !(le16toh(shared_load(&ring_avail(q)->flags, __ATOMIC_RELAXED)) & VRING_AVAIL_F_NO_INTERRUPT);
	uint16_t event = le16toh(shared_load(used_event(q), __ATOMIC_RELAXED));
	return vring_need_event(event, q->next_used, q->signalled);
}

void virtqueue_flush(struct virtqueue *q)
{
	if (!q->running || q->signalled == q->next_used)
		return;
	bool wanted = interrupt_wanted(q);
	q->signalled = q->next_used;
	if (wanted)
		q->host.interrupt(q->host.user);
}

uint16_t virtqueue_unsignalled(const struct virtqueue *q) { return (uint16_t)(q->next_used - q->signalled); }

void virtqueue_again(struct virtqueue *q)
{
	if (q->running)
		q->host.again(q->host.user);
}

void virtqueue_kicks_off(struct virtqueue *q)
{
	// With event index nothing needs doing: the driver kicks only when it passes the index written last.
	if (q->running && !q->event_idx)
		shared_store(&ring_used(q)->flags, htole16(VRING_USED_F_NO_NOTIFY), __ATOMIC_RELAXED);
}

bool virtqueue_kicks_on(struct virtqueue *q)
{
	if (!q->running)
		return false;
	if (q->event_idx)
		shared_store(avail_event(q), htole16(q->next_avail), __ATOMIC_RELAXED);
	else
		shared_store(&ring_used(q)->flags, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);   // the wish is visible before we look for entries that came without a kick
	return le16toh(shared_load(&ring_avail(q)->idx, __ATOMIC_RELAXED)) != q->next_avail;
}

uint16_t virtqueue_kick_at_next(struct virtqueue *q)
{
	if (!q->running)
		return 0;
	uint16_t avail = shared_load(&ring_avail(q)->idx, __ATOMIC_ACQUIRE);
	if (q->event_idx)
		shared_store(avail_event(q), avail, __ATOMIC_RELAXED);
	else
		shared_store(&ring_used(q)->flags, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return le16toh(avail);
}
