// SPDX-License-Identifier: Apache-2.0
// A guest that works until the power button is pressed, for saving it in the middle: four requests in flight at its disk
// (slot 7), every completion looked at, and an echo service on every vsock port (slot 1). It says FAILED when a request is
// lost or answered twice, or when a sector does not hold what was written last.
#include "tiny.h"

#define DISK SLOT_AT(7)
#define VSOCK SLOT_AT(1)
#define VERSION_1 (1ull << 32)
#define DEPTH 4
#define SECTORS 16          // of each request's own
#define LOST 3000           // completions of others while one is still out

static void fill(void *p, int byte, unsigned len)
{
	for (volatile uint8_t *at = p; len--; at++)
		*at = (uint8_t)byte;
}

static void copy(void *to, const void *from, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		((volatile uint8_t *)to)[i] = ((const volatile uint8_t *)from)[i];
}

// ---- disk

static struct request {
	struct { uint32_t type, reserved; uint64_t sector; } head;
	uint32_t data[128];
	uint8_t status;
	bool out;
	uint32_t begun;             // completions when it was sent
	uint32_t turn;
	uint32_t expect[SECTORS];   // what was written last; 0: nothing
} req[DEPTH];
static struct ring disk_ring;
static uint32_t completions;
static bool failed;

static void fault(const char *what, uint32_t a)
{
	failed = true;
	put("FAILED ");
	put(what);
	put(" ");
	put_number(a);
	put("\n");
}

static void disk_send(unsigned n)
{
	struct request *r = &req[n];
	unsigned s = r->turn / 2 % SECTORS;
	bool write = r->turn % 2 == 0;
	r->head.type = write;
	r->head.sector = n * SECTORS + s;
	for (unsigned i = 0; i < 128; i++)
		r->data[i] = write ? r->turn * DEPTH + n + 1 : 0;
	r->status = 0xee;
	r->out = true;
	r->begun = completions;
	ring_desc(&disk_ring, n * 3, &r->head, 16, NEXT, n * 3 + 1);
	ring_desc(&disk_ring, n * 3 + 1, r->data, 512, NEXT | (write ? 0 : WRITE), n * 3 + 2);
	ring_desc(&disk_ring, n * 3 + 2, &r->status, 1, WRITE, 0);
	ring_offer(&disk_ring, n * 3);
	mmio_write(DISK + 0x50, 0);
}

static void disk_done(uint32_t id, uint32_t len)
{
	unsigned n = id / 3, s;
	if (id % 3 || n >= DEPTH || !req[n].out)
		return fault("a completion of nothing", id);
	struct request *r = &req[n];
	bool write = r->turn % 2 == 0;
	s = r->turn / 2 % SECTORS;
	r->out = false;
	completions++;
	if (r->status || len != (write ? 1u : 513u))
		fault("a request failed", r->status);
	if (write)
		r->expect[s] = r->turn * DEPTH + n + 1;
	for (unsigned i = 0; i < 128 && !write; i++) {
		if (r->data[i] != r->expect[s])
			return fault("a sector does not hold what was written", r->data[i]);
	}
	r->turn++;
}

static void disk_turn(void)
{
	while (*(volatile uint16_t *)&disk_ring.used.idx != disk_ring.seen) {
		struct used_elem e = disk_ring.used.ring[disk_ring.seen++ % RING];
		disk_done(e.id, e.len);
	}
	for (unsigned n = 0; n < DEPTH; n++) {
		if (!req[n].out)
			disk_send(n);
		else if (completions - req[n].begun > LOST)
			fault("a request was lost", n), req[n].begun = completions;
	}
}

// ---- vsock

struct header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST };

#define PAYLOAD 1024
#define BUFFERS 8

static struct ring rx, tx, event;
static struct buffer { struct header h; uint8_t data[PAYLOAD]; } __attribute__((packed)) rx_buf[BUFFERS], tx_buf;
static uint32_t event_buf[2], resets;
static struct { uint32_t port, fwd; } conn[16];

static uint32_t *received(uint32_t port)   // bytes taken from this peer
{
	for (unsigned i = 0; i < 16; i++) {
		if (conn[i].port == port)
			return &conn[i].fwd;
	}
	conn[port % 16].port = port;
	conn[port % 16].fwd = 0;
	return &conn[port % 16].fwd;
}

static void vsock_send(const struct header *to, unsigned op, const void *data, uint32_t len, uint32_t flags)
{
	tx_buf.h = (struct header){.src_cid = 3, .dst_cid = 2, .src_port = to->dst_port, .dst_port = to->src_port, .len = len,
				   .type = 1, .op = (uint16_t)op, .flags = flags, .buf_alloc = 1 << 20,
				   .fwd_cnt = *received(to->src_port)};
	copy(tx_buf.data, data, len);
	ring_desc(&tx, 0, &tx_buf, sizeof(struct header) + len, 0, 0);
	ring_offer(&tx, 0);
	mmio_write(VSOCK + 0x50, 1);
	while (*(volatile uint16_t *)&tx.used.idx == tx.seen)
		;
	tx.seen++;
}

static void vsock_packet(struct buffer *b)
{
	switch (b->h.op) {
	case REQUEST:
		*received(b->h.src_port) = 0;
		vsock_send(&b->h, RESPONSE, "", 0, 0);
		break;
	case RW:
		*received(b->h.src_port) += b->h.len;
		vsock_send(&b->h, RW, b->data, b->h.len, 0);
		break;
	case SHUTDOWN:
		vsock_send(&b->h, SHUTDOWN, "", 0, 3);
		break;
	case CREDIT_REQUEST:
		vsock_send(&b->h, CREDIT_UPDATE, "", 0, 0);
		break;
	default:
		break;
	}
}

static void vsock_turn(void)
{
	while (*(volatile uint16_t *)&rx.used.idx != rx.seen) {
		uint32_t id = rx.used.ring[rx.seen++ % RING].id;
		if (id >= BUFFERS)
			return fault("a packet in no buffer", id);
		vsock_packet(&rx_buf[id]);
		ring_offer(&rx, id);
		mmio_write(VSOCK + 0x50, 0);
	}
	while (*(volatile uint16_t *)&event.used.idx != event.seen) {
		uint32_t id = event.used.ring[event.seen++ % RING].id;
		resets++;
		if (id > 1 || event_buf[id])
			fault("an unknown event", id);
		fill(conn, 0, sizeof(conn));
		ring_offer(&event, id);
		mmio_write(VSOCK + 0x50, 2);
	}
}

static void vsock_begin(void)
{
	dev_reset(VSOCK);
	check(dev_features(VSOCK, VERSION_1), "vsock");
	dev_queue(VSOCK, 0, &rx);
	dev_queue(VSOCK, 1, &tx);
	dev_queue(VSOCK, 2, &event);
	for (unsigned i = 0; i < BUFFERS; i++) {
		ring_desc(&rx, i, &rx_buf[i], sizeof(rx_buf[i]), WRITE, 0);
		ring_offer(&rx, i);
	}
	for (unsigned i = 0; i < 2; i++) {
		ring_desc(&event, i, &event_buf[i], 4, WRITE, 0);
		ring_offer(&event, i);
	}
	dev_go(VSOCK);
}

void guest_main(const struct start_info *info)
{
	(void)info;
	dev_reset(DISK);
	check(dev_features(DISK, VERSION_1), "disk");
	dev_queue(DISK, 0, &disk_ring);
	dev_go(DISK);
	vsock_begin();
	put("working\n");
	for (uint32_t i = 0; i % 16 || !(inl(0x604) & 1); i++) {
		disk_turn();
		vsock_turn();
	}
	put("completions ");
	put_number(completions);
	put(" resets ");
	put_number(resets);
	put(failed ? "\nFAILED\n" : "\ndone\n");
	power_off();
}
