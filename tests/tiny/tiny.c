// SPDX-License-Identifier: Apache-2.0
// What tiny guests share; see tiny.h.
#include "tiny.h"

#define WAIT_TURNS 200000

void put(const char *text)
{
	for (; *text; text++)
		outb(0x3f8, (uint8_t)*text);
}

void put_number(uint64_t v)
{
	char text[17];
	int i = 16;
	text[i] = 0;
	do {
		text[--i] = "0123456789abcdef"[v & 15];
		v >>= 4;
	} while (v);
	put(text + i);
}

void power_off(void)
{
	outb(0x600, 0x20 | 5 << 2);
	for (;;)
		__asm__ volatile("pause");
}

void check(bool good, const char *what)
{
	put(good ? "ok " : "FAILED ");
	put(what);
	put("\n");
}

bool dev_reset(uint32_t at)
{
	mmio_write(at + 0x70, 0);
	return mmio_read(at + 0x70) == 0;
}

bool dev_features(uint32_t at, uint64_t features)
{
	mmio_write(at + 0x70, 1);
	mmio_write(at + 0x70, 3);
	for (unsigned i = 0; i < 2; i++) {
		mmio_write(at + 0x24, i);
		mmio_write(at + 0x20, (uint32_t)(features >> (32 * i)));
	}
	mmio_write(at + 0x70, 11);
	return mmio_read(at + 0x70) & 8;
}

void dev_queue(uint32_t at, unsigned n, struct ring *r)
{
	mmio_write(at + 0x30, n);
	mmio_write(at + 0x38, RING);
	mmio_write(at + 0x80, (uint32_t)r->desc);
	mmio_write(at + 0x84, 0);
	mmio_write(at + 0x90, (uint32_t)&r->avail);
	mmio_write(at + 0x94, 0);
	mmio_write(at + 0xa0, (uint32_t)&r->used);
	mmio_write(at + 0xa4, 0);
	mmio_write(at + 0x44, 1);
}

void dev_go(uint32_t at) { mmio_write(at + 0x70, 15); }

void ring_desc(struct ring *r, unsigned i, const void *p, uint32_t len, unsigned flags, unsigned next)
{
	r->desc[i] = (struct desc){.addr = (uint32_t)p, .len = len, .flags = (uint16_t)flags, .next = (uint16_t)next};
}

void ring_offer(struct ring *r, unsigned head)
{
	r->avail.ring[r->avail.idx % RING] = (uint16_t)head;
	__asm__ volatile("" : : : "memory");
	r->avail.idx++;
}

int ring_wait(uint32_t at, unsigned n, struct ring *r)
{
	mmio_write(at + 0x50, n);
	for (int i = 0; i < WAIT_TURNS; i++) {
		if (*(volatile uint16_t *)&r->used.idx != r->seen) {
			r->seen++;
			return 1;
		}
		if (i % 1000 != 999)
			continue;
		inb(0x3fd);   // leaves the guest, so that waiting takes a while; a device's register may not
		if (mmio_read(at + 0x70) & 0x40)
			return -1;
	}
	return 0;
}
