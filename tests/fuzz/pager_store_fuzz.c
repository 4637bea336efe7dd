// SPDX-License-Identifier: Apache-2.0
// A compressed store's file, spoilt: opened, or refused; whatever it is said to hold is loaded, or refused.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "pager/codec.h"
#include "pager/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct backing *store;

static void found(void *user, uint32_t page, uint32_t handle)
{
	unsigned char buf[PAGER_PAGE];
	const void *got;
	(void)user, (void)page;
	store->ops->load(store, handle, 1, buf, &got);
	store_release(store, handle);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char page[PAGER_PAGE];
	uint32_t handle;
	const struct store_key key = { { 0, 0 } };
	if (size < 2)
		return 0;
	if (data[0] & 1) {
		codec_unpack(data[1] % 4, data + 2, size - 2, page);
		return 0;
	}
	/* A sound store of five chunks with two pages in it, and the input written over some place of it. */
	int fd = memfd_create("store", MFD_CLOEXEC);
	if (store_new(fd, 5 * 65536, STORE_LZ4, NULL, &store, NULL))
		abort();
	memset(page, 3, sizeof(page));
	store_put(store, key, 1, page, &handle);
	backing_put(store);
	if (pwrite(fd, data + 2, size - 2, (off_t)(data[1] & 1 ? handle * 256 : 0)) < 0)
		abort();
	store = NULL;
	if (!store_new(fd, 0, STORE_LZ4, NULL, &store, NULL)) {
		store_adopt(store, key, found, NULL);
		store_sweep(store);
		store_put(store, key, 2, page, &handle);
		backing_put(store);
	}
	close(fd);
	return 0;
}
