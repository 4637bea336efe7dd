// SPDX-License-Identifier: Apache-2.0
// The compressed store: evicted pages of all VMs in one file (on tmpfs, or where the host wants them), mapped here.
//
// It survives SIGKILL of its process: a page is complete in the file before its slot is marked valid, and before its guest
// loses it; it is marked free after its guest has it again. Who opens the file next finds every valid slot. A page that
// is both in the store and in its guest was being moved; the guest's is the newer one.
//
// File: header, a byte for each chunk of 64 KiB that says of which size its slots are, chunks. Slots are multiples of 256
// bytes: header with VM, page, length and checksum, then the data. A handle is the slot's place in the file, in 256 bytes.
// Slots of each size are a pool (pool.h): no lock. A chunk keeps its size for ever.
#ifndef BH_PAGER_STORE_H
#define BH_PAGER_STORE_H

#include "pager.h"

struct store_key { uint64_t word[2]; };          // which VM; the caller's

enum store_codec { STORE_RAW, STORE_LZ4, STORE_ZSTD };

/* fd: readable, writable file, empty or written by an earlier store; duplicated, and locked against others. max_bytes: as
 * it is made; an existing file keeps its own. Returns 0; -EINVAL not a store, or another version's; -EWOULDBLOCK in use;
 * -errno. */
int store_new(int fd, uint64_t max_bytes, enum store_codec codec, struct prda_region *region, struct backing **b,
	struct err *e);

/* Compress a page into the store. Returns 0 and *handle; -ENOSPC full. Any thread. */
int store_put(struct backing *b, struct store_key key, uint32_t page, const void *data, uint32_t *handle);
/* Undo a put: the page stays where it was. */
void store_release(struct backing *b, uint32_t handle);

/* Pages that an earlier process left in the file belong to nobody until their VM comes back. Hand those of key to fn,
 * which keeps the handle or releases it. Control path, any thread. */
void store_adopt(struct backing *b, struct store_key key, void (*fn)(void *user, uint32_t page, uint32_t handle), void *user);
/* Release those that nobody came for. Returns how many. */
uint64_t store_sweep(struct backing *b);

struct store_usage { uint64_t pages, bytes, file_bytes; };   // bytes: of slots in use
void store_usage(const struct backing *b, struct store_usage *u);

#endif
