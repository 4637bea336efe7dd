// SPDX-License-Identifier: Apache-2.0
// A guest whose disk (slot 7) and network card (slot 3) come while it runs: it looks into the slots until there is something, then
// reads the disk and sends a packet.
#include "tiny.h"

#define DISK SLOT_AT(7)
#define CARD SLOT_AT(3)
#define REHEARSAL SLOT_AT(6)
#define VERSION_1 (1ull << 32)

static struct ring ring, tx, rx;
static struct { uint32_t type, reserved; uint64_t sector; } head;
static uint8_t data[512], status, packet[12 + 60];

static bool has(uint32_t at, uint32_t device) { return mmio_read(at) == 0x74726976 && mmio_read(at + 8) == device; }

static void read_disk(void)
{
	check(dev_reset(DISK) && dev_features(DISK, VERSION_1), "the disk is set up");
	dev_queue(DISK, 0, &ring);
	dev_go(DISK);
	head.sector = 1;
	ring_desc(&ring, 0, &head, sizeof(head), NEXT, 1);
	ring_desc(&ring, 1, data, sizeof(data), NEXT | WRITE, 2);
	ring_desc(&ring, 2, &status, 1, WRITE, 0);
	ring_offer(&ring, 0);
	check(ring_wait(DISK, 0, &ring) == 1 && !status && data[0] == 'B' && data[511] == 'B', "and read");
}

static void send_packet(uint32_t at)
{
	for (unsigned i = 12; i < 24; i++)
		packet[i] = i < 18 ? 0xff : 0x02;
	check(dev_reset(at) && dev_features(at, VERSION_1), "a card is set up");
	dev_queue(at, 0, &rx);
	dev_queue(at, 1, &tx);
	dev_go(at);
	ring_desc(&tx, 0, packet, sizeof(packet), 0, 0);
	ring_offer(&tx, 0);
	check(ring_wait(at, 1, &tx) == 1, "and takes a packet");
}

void guest_main(const struct start_info *info)
{
	(void)info;
	check(!has(DISK, 2) && !has(CARD, 1), "nothing is there");
	put("waiting\n");
	while (!has(REHEARSAL, 1))
		;
	send_packet(REHEARSAL);
	check(dev_reset(REHEARSAL), "and given back");
	tx = rx = (struct ring){.seen = 0};
	while (!has(DISK, 2) || !has(CARD, 1))
		;
	read_disk();
	send_packet(CARD);
	put("done\n");
	power_off();
}
