// SPDX-License-Identifier: Apache-2.0
// Which regions (16 MiB) of a disk may have been written since a filter last saved its tables. A region is marked, and
// the mark synced, before the first write to it goes down; marks are taken away when the tables have been saved. What
// is still marked at open was written when the power went or the process died: the filter must not trust its tables
// there.
//
// The state of a filter that uses this begins with struct regionlog.
#ifndef BH_DISK_REGIONLOG_H
#define BH_DISK_REGIONLOG_H

#include <bulkhead/iofilter.h>
#include <pthread.h>
#include <stdatomic.h>

#define REGION_SHIFT 24u
#define REGION_BYTES (1ull << REGION_SHIFT)

struct regionlog {
	struct iof_file *file;          // owned
	pthread_mutex_t lock;           // writing
	uint64_t regions;
	_Atomic uint64_t *bits;         // marked and synced
	uint64_t *before;               // as found at open; regionlog_found
	bool fresh;                     // there was no log: the filter has just been attached
};

/* all_at_first: a log that is made now begins with every region marked. */
int regionlog_open(struct iof_layer *l, const char *suffix, bool all_at_first, struct err *e);
int regionlog_forget(struct regionlog *g);                   // the filter leaves: its tables mean nothing from now on; blocks
void regionlog_fini(struct regionlog *g);
bool regionlog_found(const struct regionlog *g, uint64_t region);
bool regionlog_any(const struct regionlog *g);
int regionlog_clear(struct regionlog *g);                    // tables are saved; blocks
int regionlog_resize(struct regionlog *g, uint64_t size);    // quiet

/* True: every region of [off, off + len) is marked. */
bool regionlog_marked(const struct regionlog *g, uint64_t off, uint64_t len);
/* then(l, r) once they are; r->result < 0 if they cannot be. */
void regionlog_mark(struct iof_layer *l, struct iof_req *r, void (*then)(struct iof_layer *, struct iof_req *));

#endif
