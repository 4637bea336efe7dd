// SPDX-License-Identifier: Apache-2.0
// A driver that breaks the rules of every device (vsock 1, balloon 2, network card 3, disk 7, random numbers 23), changes descriptors while they
// are in use, and touches every port and the addresses around the devices.
#include "tiny.h"

#define VERSION_1 (1ull << 32)

static struct ring ring[3];
static uint8_t data[512];
static struct { uint32_t type, reserved; uint64_t sector; } head;
static uint8_t status;

static void zero(void *p, unsigned len)
{
	for (volatile uint8_t *at = p; len--; at++)
		*at = 0;
}

static bool begin(uint32_t at, unsigned queues)
{
	zero(ring, sizeof(ring));
	if (!dev_reset(at) || !dev_features(at, VERSION_1))
		return false;
	for (unsigned q = 0; q < queues; q++)
		dev_queue(at, q, &ring[q]);
	dev_go(at);
	return !(mmio_read(at + 0x70) & 0x40);
}

// A chain of one descriptor of each unlawful kind. The device must ask for a reset.
static bool offends(uint32_t at, unsigned queues, unsigned q, unsigned kind, bool device_writes)
{
	struct ring *r = &ring[q];
	unsigned flags = device_writes ? WRITE : 0;
	if (!begin(at, queues))
		return false;
	switch (kind) {
	case 0:   // a loop
		ring_desc(r, 0, data, 4, NEXT | flags, 1);
		ring_desc(r, 1, data, 4, NEXT | flags, 0);
		break;
	case 1:   // outside of memory
		ring_desc(r, 0, (void *)0xfffff000, 4096, flags, 0);
		break;
	case 2:   // past the end of memory
		ring_desc(r, 0, data, 0xfffffff0, flags, 0);
		break;
	case 3:   // on to nowhere
		ring_desc(r, 0, data, 64, NEXT | flags, 60000);
		break;
	case 4:   // the wrong direction
		ring_desc(r, 0, data, 64, flags ^ WRITE, 0);
		break;
	default:  // an index that jumps
		r->avail.idx = (uint16_t)(r->avail.idx + 5000);
		break;
	}
	ring_offer(r, 0);
	return ring_wait(at, q, r) == -1;
}

static void device(const char *name, uint32_t at, unsigned queues, unsigned q, bool device_writes)
{
	bool good = true;
	for (unsigned kind = 0; kind < 6; kind++)
		good &= offends(at, queues, q, kind, device_writes);
	check(good, name);
	check(begin(at, queues), "and it works again");
}

// The driver rewrites what it has just offered.
static void changing(void)
{
	static const uint32_t where[] = {0, 0xfffff000, 0x1000, 0xfeb00000};
	uint32_t at = SLOT_AT(7);
	unsigned resets = 0;
	begin(at, 1);
	for (unsigned i = 0; i < 400; i++) {
		head.sector = i % 4;
		ring_desc(&ring[0], 0, &head, 16, NEXT, 1);
		ring_desc(&ring[0], 1, data, 512, NEXT | WRITE, 2);
		ring_desc(&ring[0], 2, &status, 1, WRITE, 0);
		ring_offer(&ring[0], 0);
		mmio_write(at + 0x50, 0);
		volatile struct desc *d = &ring[0].desc[i % 3];
		d->addr = where[i / 3 % 4];
		d->len = i * 0x01234567;
		d->next = (uint16_t)i;
		if (ring_wait(at, 0, &ring[0]) == -1) {
			resets++;
			begin(at, 1);
		}
	}
	put("resets ");
	put_number(resets);
	put("\n");
	check(begin(at, 1), "descriptors changed while in use");
}

static void ports(void)
{
	for (uint32_t p = 0; p < 0x10000; p += p < 0x800 ? 1 : 61) {
		if (p >= 0x3f8 && p < 0x400)
			continue;
		inb((uint16_t)p);
		inl((uint16_t)p);
		if (p + 4 <= 0x60 || p > 0x64)
			if (p + 4 <= 0x600 || p > 0x602)
				outl((uint16_t)p, 0xffffffff);
	}
	check(true, "every port");
}

static void addresses(void)
{
	for (uint32_t a = 0xfeb00000 - 64; a < 0xfeb00000 + 64; a++)
		(void)*(volatile uint32_t *)a;
	for (uint32_t a = 0xfeb03000 - 64; a < 0xfeb03000 + 64; a++)
		(void)*(volatile uint16_t *)a;
	for (uint32_t slot = 0; slot < 24; slot++) {
		for (uint32_t off = 0xfc; off < 0x104; off++) {
			*(volatile uint32_t *)(SLOT_AT(slot) + off) = 0xffffffff;
			(void)*(volatile uint32_t *)(SLOT_AT(slot) + off);
		}
		*(volatile uint32_t *)(SLOT_AT(slot) + 0x1fe) = 0xffffffff;   // over the edge to the next one
	}
	for (uint32_t a = 0xd0000000; a < 0xfe000000; a += 0x0fedcba8)
		mmio_write(a, mmio_read(a));
	check(true, "addresses around and between the devices");
}

void guest_main(const struct start_info *info)
{
	(void)info;
	device("vsock, transmit queue", SLOT_AT(1), 3, 1, false);
	device("balloon, inflation", SLOT_AT(2), 3, 0, false);
	device("balloon, reports", SLOT_AT(2), 3, 2, true);
	device("random numbers", SLOT_AT(23), 1, 0, true);
	if (mmio_read(SLOT_AT(3) + 8) == 1) {
		device("network card, receive", SLOT_AT(3), 2, 0, true);
		device("network card, transmit", SLOT_AT(3), 2, 1, false);
		put("card\n");
	}
	changing();
	ports();
	addresses();
	put("done\n");
	power_off();
}
