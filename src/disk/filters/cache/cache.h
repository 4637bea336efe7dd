// SPDX-License-Identifier: Apache-2.0
// The two halves of the cache filter: slots.c keeps what was read, journal.c what was written and is not below yet.
#ifndef BH_DISK_CACHE_H
#define BH_DISK_CACHE_H

#include <bulkhead/iofilter.h>

#define CACHE_BLOCK 4096u

/* A file of slots, shared by any number of disks and processes. Each slot says, with a checksum over data and identity,
 * what it holds: no lock, no order of writes and no crash can make it give wrong data, only none. */
struct slots;
int slots_open(const char *path, uint64_t bytes, struct slots **s, struct err *e);
void slots_close(struct slots *s);
/* key: identity of the disk's contents. nowait: -EAGAIN instead of blocking. 0: buf has the block; -ENOENT. */
int slots_get(struct slots *s, uint64_t key, uint64_t block, void *buf, bool nowait);
bool slots_has(struct slots *s, uint64_t key, uint64_t block);
void slots_put(struct slots *s, uint64_t key, uint64_t block, const void *buf);   // blocks
void slots_drop(struct slots *s, uint64_t key, uint64_t block);

/* A log of writes in a local file. Appended to by workers; a thread of its own moves it below. A disk that is open
 * read-only sees what a crash left in it and moves nothing; *j is NULL where there is nothing. */
struct journal;
int journal_open(struct iof_layer *l, const char *path, uint64_t bytes, struct journal **j, struct err *e);
int journal_close(struct journal *j);               // moves everything below; blocks
int journal_drain(struct journal *j);               // the same, and goes on; blocks
int journal_try_drain(struct journal *j);           // 0: empty; -EAGAIN: later
int journal_write(struct journal *j, const struct iof_req *r);   // blocks for the local file only; -EAGAIN: no room yet
int journal_sync(struct journal *j);                // blocks
bool journal_touches(struct journal *j, uint64_t off, uint64_t len);
/* Reads the blocks that are in the journal into buf and sets bits in have (one a block). Blocks. */
int journal_read(struct journal *j, uint64_t off, uint64_t len, void *buf, uint64_t *have);
uint64_t journal_pending(struct journal *j);        // bytes

#endif
