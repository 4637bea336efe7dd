// SPDX-License-Identifier: Apache-2.0
// A hostile driver of the balloon (first byte even) or of the random number generator.
#include "virtio/balloon.h"
#include "virtio/rng.h"
#include "virtq_script.h"

static struct fake_ram ram;

static void discard(void *user, void *host, size_t len)
{
	uint8_t *from = host;
	(void)user;
	if (!len || from < ram.base || from + len > ram.base + FAKE_RAM)
		abort();
}

static void after(void *user) { (void)user; }

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
	struct fake_ring r[3];
	struct balloon_attr a = {.discard = discard};
	struct balloon *b;
	struct rng *g = rng_new();
	fake_ram_init(&ram);
	if (!g || balloon_new(&a, &b))
		abort();
	struct virtio_dev *d = len && in[0] & 1 ? rng_dev(g) : balloon_dev(b);
	for (unsigned i = 0; i < d->nqueues; i++) {
		fake_ring_init(&r[i], &ram);
		fake_ring_start(&r[i], &d->vq[i], len & 1 ? VIRTQ_FEATURES : 0);
	}
	if (len > 12 && d->ops->config_write)
		d->ops->config_write(d, in[1], in + 2, in[2] % 9);
	script_run(&ram, (struct fake_ring *const[]){&r[0], &r[1], &r[2]}, d, in, len, after, NULL);
	balloon_free(b);
	rng_free(g);
	fake_ram_fini(&ram);
	return 0;
}
