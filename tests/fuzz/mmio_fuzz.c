// SPDX-License-Identifier: Apache-2.0
// The MMIO transport, driven by any sequence of register accesses (6 bytes each: what, where, value) with any memory
// behind them, with a device that reads and fills what it is given.
#include <linux/virtio_mmio.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/evloop.h"
#include "virtio/mmio.h"
#include "virtio/virtq_fake.h"

static uint64_t features(const struct virtio_dev *d) { return (void)d, VIRTQ_FEATURES; }

static size_t config(const struct virtio_dev *d, void *out, size_t len)
{
	(void)d;
	memset(out, 0x5a, len < 10 ? len : 10);
	return 10;
}

static void kick(struct virtio_dev *d, unsigned n)
{
	struct virtq_chain c;
	for (int turns = 0; turns < 64 && virtqueue_pop(&d->vq[n], &c) == 1; turns++) {
		for (int i = 0; i < c.nout; i++) {   // is its last byte really ours to read?
			uint8_t last = ((uint8_t *)c.iov[i].iov_base)[c.iov[i].iov_len - 1];
			__asm__ volatile("" : : "r"(last));
		}
		for (int i = c.nout; i < c.nout + c.nin; i++)
			memset(c.iov[i].iov_base, turns, c.iov[i].iov_len);
		virtqueue_push(&d->vq[n], c.head, (uint32_t)c.in_len);
	}
	virtqueue_flush(&d->vq[n]);
}

static void stop(struct virtio_dev *d, unsigned n) { (void)d, (void)n; }
static void reset(struct virtio_dev *d) { (void)d; }

static const struct virtio_dev_ops ops = {.name = "fuzz", .id = 1, .features = features, .config = config,
	.queue_start = kick, .queue_kick = kick, .queue_stop = stop, .reset = reset};

static void here(void *user, void (*fn)(void *arg), void *arg) { (void)user, fn(arg); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fake_ram ram;
	struct virtqueue vq[2];
	struct virtio_dev dev = {.ops = &ops, .nqueues = 2, .vq = vq};
	struct virtio_mmio *m;
	memset(vq, 0, sizeof(vq));
	fake_ram_init(&ram);
	for (size_t i = 0; size && i < FAKE_RAM; i++)
		ram.base[i] = data[i * 7 % size];
	struct evloop *loop = evloop_new();
	int irq = eventfd(0, EFD_NONBLOCK);
	struct virtio_mmio_attr a = {.loop = loop, .dev = &dev, .mem = &ram.mem, .irq_fd = irq, .call = here};
	if (!virtio_mmio_new(&a, &m)) {
		for (; size >= 6; data += 6, size -= 6) {
			unsigned off = (unsigned)(data[1] << 2 | (data[0] >> 6)) & (VIRTIO_MMIO_SIZE - 1), len = 1u << (data[0] >> 4 & 3);
			uint32_t v;
			memcpy(&v, data + 2, 4);
			if (data[0] & 1)
				virtio_mmio_read(m, off, len);
			else
				virtio_mmio_write(m, off, len, data[0] & 2 ? FAKE_GPA + (v & (FAKE_RAM - 1)) : v);
			if (data[0] & 4)
				ram.base[v & (FAKE_RAM - 1)] = data[0];
			if (data[0] & 8)
				evloop_once(loop, 0);
			if (data[0] == 0xff) {   // saved and gone on, here or from what was saved
				struct virtio_mmio_state s;
				virtio_mmio_pause(m);
				virtio_mmio_save(m, &s);
				if (v & 1)
					virtio_mmio_restore(m, &s, NULL);
				virtio_mmio_resume(m);
			}
		}
		virtio_mmio_free(m);
	}
	evloop_free(loop);
	close(irq);
	fake_ram_fini(&ram);
	return 0;
}
