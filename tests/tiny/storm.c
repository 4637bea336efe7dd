// SPDX-License-Identifier: Apache-2.0
// A guest that never stops: kicks of every queue, register accesses, console output, resets and interrupts without end: the
// serial port's, those of a device whose buffers come back, and the ones that its processor sends to itself.
#include "tiny.h"

#define RNG SLOT_AT(23)
#define IOAPIC 0xfec00000u
#define LAPIC 0xfee00000u

static struct ring ring;
static uint8_t data[64];

static void set_up(void)
{
	for (unsigned line = 0; line < 24; line++) {   // every line to this processor
		mmio_write(IOAPIC, 0x10 + 2 * line);
		mmio_write(IOAPIC + 0x10, 0x40 + line);
		mmio_write(IOAPIC, 0x11 + 2 * line);
		mmio_write(IOAPIC + 0x10, 0);
	}
	mmio_write(LAPIC + 0xf0, 0x1ff);
	dev_reset(RNG);
	dev_features(RNG, 1ull << 32);
	dev_queue(RNG, 0, &ring);
	dev_go(RNG);
}

static void interrupts(void)
{
	outb(0x3f9, 0);
	outb(0x3f9, 2);              // "transmitter empty", again and again
	mmio_write(LAPIC + 0x300, 0x40041);
	ring_desc(&ring, ring.avail.idx % RING, data, sizeof(data), WRITE, 0);
	ring_offer(&ring, ring.avail.idx % RING);
	mmio_write(RNG + 0x50, 0);
}

void guest_main(const struct start_info *info)
{
	(void)info;
	put("storm\n");
	set_up();
	for (uint32_t i = 0;; i++) {
		interrupts();
		if (!(i % 64))       // the accesses below reset it
			set_up();
		for (unsigned slot = 1; slot < 24; slot++) {
			mmio_write(SLOT_AT(slot) + 0x50, i % 8);
			mmio_write(SLOT_AT(slot) + (i & 0x1fc), i);
			mmio_read(SLOT_AT(slot) + (i * 4 & 0x1fc));
		}
		outb(0x3f8, 'x');
		outl((uint16_t)(i * 7 % 0x600), i);
	}
}
