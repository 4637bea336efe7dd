// SPDX-License-Identifier: Apache-2.0
// Tables of a filter that say where data are (which blocks are a clone's own, where a compressed cluster lies), kept in
// memory and in a file of checksummed sectors (map.h). A flush makes them durable in the order that survives a crash:
// the dirty sectors are copied as they are, the data below are synced, then the sectors are written and synced. What
// the file says thus always has its data on disk. Flushes run one at a time; those that come meanwhile share the next.
//
// The state of a filter that uses this begins with struct meta.
#ifndef BH_DISK_META_H
#define BH_DISK_META_H

#include <bulkhead/iofilter.h>
#include <pthread.h>
#include <stdatomic.h>

#include "disk/map.h"

struct meta_ops {
	void (*sector)(struct iof_layer *l, uint64_t index, uint8_t payload[MAP_BITS_BYTES]);   // worker: as it is now; zeroed before
	void (*staged)(struct iof_layer *l);                 // worker: what changed up to here becomes durable next; may be NULL
	/* Queue thread: the flush has succeeded or failed; calls meta_end(l, r). NULL: nothing to do. */
	void (*finish)(struct iof_layer *l, struct iof_req *r);
};

struct meta {
	const struct meta_ops *ops;
	struct iof_file *file;            // owned
	_Atomic uint64_t *dirty;          // one bit a sector
	uint32_t *list;                   // the dirty sectors
	uint64_t sectors_max;
	pthread_mutex_t lock;             // the fields below
	_Atomic uint32_t nlist;
	bool flushing;
	struct iof_req *batch;            // complete with the flush that runs
	struct iof_req *waiting;          // with the next one
	uint32_t nstaged, staged_cap;     // only the running flush
	uint32_t *staged;
	uint8_t *sectors;
};

int meta_init(struct meta *m, const struct meta_ops *ops, uint64_t sectors_max, struct err *e);
void meta_fini(struct meta *m);
void meta_dirty(struct meta *m, uint64_t sector);                   // after the change; any queue thread
void meta_flush(struct iof_layer *l, struct iof_req *r);            // r->done once everything is on disk
void meta_end(struct iof_layer *l, struct iof_req *r);              // with r->result
static inline bool meta_is_dirty(struct meta *m) { return m->nlist || m->flushing; }

#endif
