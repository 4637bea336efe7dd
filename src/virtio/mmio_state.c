// SPDX-License-Identifier: Apache-2.0
// The state of an MMIO transport, saved and restored; see mmio.h. What was saved may have been made up: it is checked as if a
// driver had written it.
#include "mmio_internal.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>

void virtio_mmio_save(const struct virtio_mmio *m, struct virtio_mmio_state *s)
{
	*s = (struct virtio_mmio_state){
		.device_id = m->a.dev->ops->id, .nqueues = m->a.dev->nqueues, .device_sel = m->device_sel,
		.driver_sel = m->driver_sel, .queue_sel = m->queue_sel, .status = __atomic_load_n(m->status, __ATOMIC_SEQ_CST), .isr = __atomic_load_n(m->isr, __ATOMIC_SEQ_CST),
		.generation = m->generation, .driver_features = m->driver_features,
		.carry = m->a.dev->carry, .config_len = (uint32_t)m->config_len,
	};
	memcpy(s->config, m->config, sizeof(s->config));
	for (unsigned i = 0; i < s->nqueues; i++) {
		const struct mmio_queue *q = &m->queue[i];
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
	uint64_t unknown = s->driver_features & ~mmio_offered(m);
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
	*m->isr = s->isr;
	*m->status = s->status;
	for (unsigned i = 0; i < s->nqueues; i++) {
		struct mmio_queue *q = &m->queue[i];
		q->desc = s->queue[i].desc;
		q->avail = s->queue[i].avail;
		q->used = s->queue[i].used;
		q->num = s->queue[i].num;
		q->next = s->queue[i].next;
		q->ready = s->queue[i].ready;
		q->paused = s->queue[i].running;
	}
	mmio_show_selected(m);
	if (!(s->status & VIRTIO_CONFIG_S_DRIVER_OK))
		return 0;
	d->driver_features = s->driver_features;
	d->carry = s->carry;
	if (d->ops->restored)
		d->ops->restored(d, s->config, s->config_len);
	mmio_config_read(m);
	if (s->config_len != m->config_len || memcmp(s->config, m->config, m->config_len))
		*m->isr |= VIRTIO_MMIO_INT_CONFIG;   // another disk, say: virtio_mmio_resume interrupts
	return 0;
}
