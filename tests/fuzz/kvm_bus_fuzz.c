// SPDX-License-Identifier: Apache-2.0
// The guest's ports and addresses: any sequence of accesses (12 bytes each: what, length, where, value), with a device in some slots
// and none in others, in memory that holds the input.
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/evloop.h"
#include "virtio/balloon.h"
#include "virtio/rng.h"
#include "virtio/virtq_fake.h"
#include "vmx/engine_kvm/bus.h"
#include "vmx/engine_kvm/arch.h"

static void here(void *user, void (*fn)(void *arg), void *arg) { (void)user, fn(arg); }
static void edge(void *user) { (void)user; }
static void ended(void *user, enum machine_end how, const char *why) { (void)user, (void)how, (void)why; }
static void discard(void *user, void *host, size_t len) { (void)user, memset(host, 0, len); }

struct world {
	struct fake_ram ram;
	struct bus bus;
	struct evloop *loop;
	int out, irq;
	_Alignas(8) uint8_t window[2][VIRTIO_MMIO_SIZE];
};

static void connect_to(struct world *w, unsigned slot, unsigned n, struct virtio_dev *d)
{
	struct virtio_mmio_attr a = {.loop = w->loop, .dev = d, .mem = &w->ram.mem, .irq_fd = w->irq, .window = w->window[n], .call = here};
	if (virtio_mmio_new(&a, &w->bus.slot[slot]))
		abort();
}

static void access_one(struct world *w, const uint8_t in[12])
{
	uint32_t where;
	uint8_t data[8];
	unsigned len = 1u << (in[1] & 3);
	memcpy(&where, in + 2, sizeof(where));
	memcpy(data, in + 4, sizeof(data));
	if (in[0] & 2)
		bus_port(&w->bus, (uint16_t)where, in[0] & 1, len > 4 ? 4 : len, data);
	else if (in[0] & 4)
		bus_mmio(&w->bus, where | (uint64_t)in[6] << 32, in[0] & 1, len, data);
	else   // about the devices
		bus_mmio(&w->bus, DEVICES_BASE - 8 + where % (SLOTS * VIRTIO_MMIO_SIZE + 16), in[0] & 1, len, data);
	if (!(in[1] & 0xf0))
		evloop_once(w->loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
	struct world w = {.bus = {.ended = ended}, .loop = evloop_new(), .irq = eventfd(0, EFD_NONBLOCK), .out = open("/dev/null", O_WRONLY)};
	struct balloon_attr a = {.discard = discard};
	struct balloon *b;
	struct rng *r = rng_new();
	fake_ram_init(&w.ram);
	for (size_t i = 0; len && i < FAKE_RAM; i++)
		w.ram.base[i] = in[i * 7 % len];
	serial_init(&w.bus.serial, w.out, edge, NULL);
	if (!r || balloon_new(&a, &b))
		abort();
	connect_to(&w, 2, 0, balloon_dev(b));
	connect_to(&w, SLOT_RNG, 1, rng_dev(r));
	for (; len >= 12; in += 12, len -= 12)
		access_one(&w, in);
	struct serial_state s;
	serial_save(&w.bus.serial, &s);
	serial_restore(&w.bus.serial, &s);
	virtio_mmio_free(w.bus.slot[2]);
	virtio_mmio_free(w.bus.slot[SLOT_RNG]);
	balloon_free(b);
	rng_free(r);
	evloop_free(w.loop);
	close(w.irq);
	close(w.out);
	fake_ram_fini(&w.ram);
	return 0;
}
