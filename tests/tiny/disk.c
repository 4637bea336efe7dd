// SPDX-License-Identifier: Apache-2.0
// The first disk (slot 7): identity, read, write, and a driver that breaks each rule. After every offence the device asks
// for a reset, and after that it works again.
#include "tiny.h"

#define AT SLOT_AT(7)
#define VERSION_1 (1ull << 32)
#define INDIRECT_DESC (1ull << 28)

static struct ring ring;
static struct { uint32_t type, reserved; uint64_t sector; } head;
static uint8_t data[512], status;
static struct desc table[4] __attribute__((aligned(16)));

static void fill(void *p, int byte, unsigned len)
{
	for (volatile uint8_t *at = p; len--; at++)
		*at = (uint8_t)byte;
}

static bool begin(uint64_t features)
{
	fill(&ring, 0, sizeof(ring));
	if (!dev_reset(AT) || !dev_features(AT, VERSION_1 | features))
		return false;
	dev_queue(AT, 0, &ring);
	dev_go(AT);
	return !(mmio_read(AT + 0x70) & 0x40);
}

static void request(uint32_t type, uint64_t sector, void *p, uint32_t len, unsigned flags)
{
	head.type = type;
	head.sector = sector;
	status = 0xee;
	ring_desc(&ring, 0, &head, sizeof(head), NEXT, 1);
	ring_desc(&ring, 1, p, len, NEXT | flags, 2);
	ring_desc(&ring, 2, &status, 1, WRITE, 0);
	ring_offer(&ring, 0);
}

static bool works(void)
{
	fill(data, 0, sizeof(data));
	request(0, 1, data, sizeof(data), WRITE);
	return ring_wait(AT, 0, &ring) == 1 && status == 0 && data[0] == 'B' && data[511] == 'B';
}

static void normal(void)
{
	check(begin(0), "set up");
	check(works(), "read");
	fill(data, 'W', sizeof(data));
	request(1, 3, data, sizeof(data), 0);
	check(ring_wait(AT, 0, &ring) == 1 && status == 0, "write");
	fill(data, 0, sizeof(data));
	request(8, 0, data, 20, WRITE);
	check(ring_wait(AT, 0, &ring) == 1 && status == 0 && data[0] == 'a' && !data[1], "serial");
	request(0, 1ull << 60, data, sizeof(data), WRITE);
	check(ring_wait(AT, 0, &ring) == 1 && status == 1, "a sector past the end is an error");
	request(99, 0, data, sizeof(data), WRITE);
	check(ring_wait(AT, 0, &ring) == 1 && status == 2, "an unknown request is refused");
	check(mmio_read(AT + 0x60) & 1, "an interrupt is pending");
	mmio_write(AT + 0x64, 3);
	check(mmio_read(AT + 0x60) == 0, "and acknowledged");
}

// One broken rule: the device stops, and works again after a reset.
static void offence(const char *name)
{
	int got = ring_wait(AT, 0, &ring);
	check(got == -1, name);
	check(begin(0) && works(), "works after a reset");
}

static void hostile(void)
{
	begin(0);
	ring_desc(&ring, 0, data, 4, NEXT, 1);
	ring_desc(&ring, 1, data, 4, NEXT, 0);
	ring_offer(&ring, 0);
	offence("a loop");
	ring_offer(&ring, 999);
	offence("a head out of range");
	ring_desc(&ring, 0, data, 4, NEXT, 60000);
	ring_offer(&ring, 0);
	offence("a next index out of range");
	request(0, 0, (void *)0xfffffff0, 4096, WRITE);
	offence("an address outside memory");
	request(0, 0, data, 0xffffffff, WRITE);
	offence("a length past the end of memory");
	ring.avail.idx = (uint16_t)(ring.avail.idx + 5000);
	offence("an available index that jumps");
	request(0, 0, data, 512, WRITE | INDIRECT);
	offence("an indirect descriptor that was not agreed on");
	begin(INDIRECT_DESC);
	table[0] = (struct desc){.addr = (uint32_t)data, .len = 16, .flags = INDIRECT};
	ring_desc(&ring, 0, table, sizeof(table), INDIRECT, 0);
	ring_offer(&ring, 0);
	offence("an indirect table in an indirect table");
	begin(INDIRECT_DESC);
	ring_desc(&ring, 0, table, 7, INDIRECT, 0);
	ring_offer(&ring, 0);
	offence("an indirect table of 7 bytes");
}

static void registers(void)
{
	check(dev_reset(AT) && !dev_features(AT, 0), "a driver without VERSION_1 is refused");
	check(dev_reset(AT) && !dev_features(AT, VERSION_1 | 1ull << 50), "a feature that was not offered is refused");
	mmio_write(AT + 0x70, 15);
	check(!(mmio_read(AT + 0x70) & 4), "no start without agreed features");
	dev_reset(AT);
	dev_features(AT, VERSION_1);
	dev_queue(AT, 0, (struct ring *)0xfff00000);
	dev_go(AT);
	check(mmio_read(AT + 0x70) & 0x40, "a ring outside memory");
	dev_reset(AT);
	dev_features(AT, VERSION_1);
	mmio_write(AT + 0x30, 0);
	mmio_write(AT + 0x38, 3);
	mmio_write(AT + 0x44, 1);
	dev_go(AT);
	check(mmio_read(AT + 0x70) & 0x40, "a ring of 3 entries");
	for (uint32_t at = 0; at < 0x200; at += 4) {   // everything, everywhere
		if (at != 0x70)
			mmio_write(AT + at, 0xffffffff);
		mmio_read(AT + at);
		*(volatile uint8_t *)(AT + at + 3) = 0xff;
		(void)*(volatile uint16_t *)(AT + at + 3);
	}
	check(begin(0) && works(), "works after all registers were written");
	for (int i = 0; i < 50; i++) {   // reset while requests are on their way
		request(0, 1, data, sizeof(data), WRITE);
		mmio_write(AT + 0x50, 0);
		dev_reset(AT);
		begin(0);
	}
	check(works(), "works after 50 resets with requests in flight");
}

void guest_main(const struct start_info *info)
{
	(void)info;
	normal();
	hostile();
	registers();
	put("done\n");
	power_off();
}
