// SPDX-License-Identifier: Apache-2.0
// Addresses; see bus.h.
#include "bus.h"

#include <linux/virtio_mmio.h>
#include <string.h>

#include "virtio/mmio.h"
#include "vmx/engine_kvm/arch.h"

static void put32(uint8_t *at, uint32_t v) { memcpy(at, &v, sizeof(v)); }

void bus_empty(uint8_t window[VIRTIO_MMIO_SIZE])
{
	memset(window, 0, VIRTIO_MMIO_SIZE);
	put32(window + VIRTIO_MMIO_MAGIC_VALUE, VIRTIO_MMIO_MAGIC);
	put32(window + VIRTIO_MMIO_VERSION, 2);
}

static void read_empty(unsigned off, unsigned len, uint8_t *data)
{
	uint8_t window[VIRTIO_MMIO_SIZE];
	bus_empty(window);
	memset(data, 0, len);
	if (off + len <= sizeof(window))
		memcpy(data, window + off, len);
}

void bus_mmio(struct bus *b, gpa_t at, bool write, unsigned len, uint8_t *data)
{
	uint64_t v = 0, off = at - DEVICES_BASE;
	struct virtio_mmio *m = at >= DEVICES_BASE && off / VIRTIO_MMIO_SIZE < SLOTS ?
				__atomic_load_n(&b->slot[off / VIRTIO_MMIO_SIZE], __ATOMIC_ACQUIRE) : NULL;
	off %= VIRTIO_MMIO_SIZE;
	if (!m && at >= DEVICES_BASE && at - DEVICES_BASE < SLOTS * VIRTIO_MMIO_SIZE && !write) {
		read_empty((unsigned)off, len, data);
		return;
	}
	if (!m || len > sizeof(v) || off + len > VIRTIO_MMIO_SIZE) {
		if (!write)
			memset(data, 0xff, len);
		return;
	}
	if (write) {
		memcpy(&v, data, len);
		virtio_mmio_write(m, (unsigned)off, len, v);
		return;
	}
	v = virtio_mmio_read(m, (unsigned)off, len);
	memcpy(data, &v, len);
}
