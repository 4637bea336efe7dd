// SPDX-License-Identifier: Apache-2.0
// Ports and addresses; see bus.h.
#include "bus.h"

#include <linux/virtio_mmio.h>
#include <string.h>

#include "virtio/mmio.h"
#include "vmx/engine_kvm/layout.h"

#define I8042_RESET 0xfe

static void write_port(struct bus *b, uint16_t port, uint8_t v)
{
	switch (port) {
	case PORT_I8042_COMMAND:
		if (v == I8042_RESET)
			b->ended(b->user, MACHINE_RESET, "");
		break;
	case PORT_RESET:
		if (v == 1)
			b->ended(b->user, MACHINE_RESET, "");
		break;
	case PORT_SLEEP_CONTROL:
		if ((v & SLEEP_ENABLE) && SLEEP_TYPE(v) == SLEEP_TYPE_S5)
			b->ended(b->user, MACHINE_POWER_OFF, "");
		break;
	default:
		if (port >= PORT_SERIAL && port < PORT_SERIAL + 8)
			serial_write(&b->serial, port - PORT_SERIAL, v);
		break;
	}
}

static uint8_t read_port(struct bus *b, uint16_t port)
{
	if (port >= PORT_SERIAL && port < PORT_SERIAL + 8)
		return serial_read(&b->serial, port - PORT_SERIAL);
	if (port == PORT_SLEEP_CONTROL || port == PORT_SLEEP_STATUS)
		return 0;
	return 0xff;
}

void bus_port(struct bus *b, uint16_t port, bool write, unsigned len, uint8_t *data)
{
	if (port == PORT_EVENTS && !write && len == 4) {
		uint32_t v = __atomic_exchange_n(&b->events, 0, __ATOMIC_SEQ_CST);
		memcpy(data, &v, sizeof(v));
		return;
	}
	for (unsigned i = 0; i < len; i++) {   // wider accesses are those of the bytes
		if (write)
			write_port(b, (uint16_t)(port + i), data[i]);
		else
			data[i] = read_port(b, (uint16_t)(port + i));
	}
}

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
