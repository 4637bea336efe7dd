// SPDX-License-Identifier: Apache-2.0
// A driver that does anything: registers, rings and descriptors at random, in every device there is, from a seed, which is the
// last word of the command line. Its devices may write only where it does not matter to it, or where there is no memory.
#include "tiny.h"

#define STEPS 4000
#define ARENA 0x10000u

static uint8_t arena[ARENA] __attribute__((aligned(4096)));
static struct ring ring[4];
static uint32_t seed;

static uint32_t any(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

static uint64_t address(void)
{
	static const uint64_t bad[] = {0xfffff000, 0x7fffffff0000, 0xfeb00000, 0xfec00000, 0xffffffffffffff00, 0xc0000000, 0x3fffff0};
	return any() % 8 ? (uint32_t)arena + any() % ARENA : bad[any() % (sizeof(bad) / sizeof(bad[0]))];
}

static void registers(uint32_t at)
{
	static const uint16_t off[] = {0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x64, 0x70, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4, 0x100, 0x104};
	uint32_t r = off[any() % (sizeof(off) / sizeof(off[0]))], v = any() % 3 ? any() % 16 : any();
	if (r >= 0x80 && r < 0x100)   // where a ring is: the device writes there
		v = r % 0x10 ? 0 : any() % 4 ? (uint32_t)&ring[any() % 4] : 0xfffff000 - any() % 4096;
	mmio_write(at + r, v);
	mmio_read(at + any() % 0x200 / 4 * 4);
}

static void works(uint32_t at)
{
	dev_reset(at);
	if (!dev_features(at, 1ull << 32 | (uint64_t)(any() % 4 == 0) << 28 | (uint64_t)(any() % 4 == 0) << 29))
		return;
	for (unsigned q = 0; q < 4; q++)
		dev_queue(at, q, &ring[q]);
	dev_go(at);
}

static void chains(uint32_t at)
{
	unsigned q = any() % 4, n = 1 + any() % 4;
	struct ring *r = &ring[q];
	for (unsigned i = 0; i < n; i++) {
		struct desc *d = &r->desc[(r->avail.idx + i) % RING];
		*d = (struct desc){.addr = address(), .len = any() % 3 ? any() % 5000 : any(), .flags = (uint16_t)(any() % 8),
				   .next = (uint16_t)(any() % 8 ? (r->avail.idx + i + 1) % RING : any())};
	}
	for (unsigned i = 0; i < 32; i++)   // heads of requests, packets, tables of descriptors
		arena[any() % ARENA] = (uint8_t)any();
	ring_offer(r, any() % 8 ? r->avail.idx % RING : any());
	mmio_write(at + 0x50, q);
	r->desc[any() % RING].len = any();
	if (!(any() % 64))
		r->avail.idx = (uint16_t)any();
}

void guest_main(const struct start_info *info)
{
	for (const char *c = (const char *)(uint32_t)info->cmdline; *c; c++)
		seed = seed * 31 + (uint8_t)*c;
	seed |= 1;
	put("begin\n");
	for (unsigned i = 0; i < STEPS; i++) {
		uint32_t at = SLOT_AT(any() % 24);
		switch (any() % 8) {
		case 0:
			works(at);
			break;
		case 1:
		case 2:
			registers(at);
			break;
		default:
			chains(at);
			break;
		}
	}
	for (unsigned slot = 1; slot < 24; slot++)
		check(mmio_read(SLOT_AT(slot)) == 0x74726976 && dev_reset(SLOT_AT(slot)), "a slot answers");
	put("done\n");
	power_off();
}
