// SPDX-License-Identifier: Apache-2.0
// What the files of the disk library share: the open disk, its chain of layers, its queues. Nothing outside src/disk
// includes this.
//
// A disk that the user opened is the root of a tree: the link filter of a clone holds the parent's open disk, which
// has a chain of its own. A queue belongs to the root and serves the layers of the whole tree; each layer has a slot
// in the queue for its own state.
//
// Lock order: disk.admin -> disk.helper_lock -> disk.queues_lock, disk.chain_lock. Only helper_lock may be held while a filter's request function runs.
#ifndef BH_DISK_INTERNAL_H
#define BH_DISK_INTERNAL_H

#include <bulkhead/disk.h>
#include <bulkhead/iofilter.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/err.h"
#include "disk/chain.h"
#include "disk/descriptor.h"
#include "disk/owner.h"

#define DISK_DEPTH_MAX 256      // of a chain of clones
#define DISK_SLOTS_MAX 4096     // layers of a whole tree

struct iof_layer {
	const struct iof_filter *filter;
	struct bh_disk *disk;
	struct iof_layer *below[IOF_OPS];   // next layer that handles the operation
	struct iof_layer *next;             // next layer
	void *state;                        // the filter's
	char *name;                         // owned: in the descriptor
	unsigned slot;                      // of its state in each queue
	uint32_t align;
	bool automatic;                     // put in by the framework, not in the descriptor
};

struct bh_disk {
	struct bh_disk *root;               // == self for the disk that the user opened
	struct bh_disk *child;              // whose parent this is; NULL for the root
	struct descriptor *desc;            // owned; NULL for a raw disk
	char *path;                         // owned
	uint64_t size;                      // bytes, as the user sees it
	uint32_t block;
	bool read_only;
	bool threads_only;                  // no io_uring
	bool keep_descriptor;               // a new size is not written to it
	bool no_parent;                     // a clone without its parent (disk.h)
	int data_fd;                        // owned; also carries the lock
	bool is_block_device;
	bool in_memory;                     // the data file is on a file system without a device
	struct iof_layer *top;              // first layer
	struct iof_layer *entry[IOF_OPS];   // first layer that handles the operation
	struct iof_layer data;              // last layer: the data file

	const struct side_ops *side_ops;    // how the filters' files are reached; the powercut filter replaces it
	void *side_user;

	pthread_mutex_t admin;              // open, attach, detach, resize, queue open and close
	struct bh_disk_queue *queues;       // changed under admin and queues_lock, read under either
	pthread_mutex_t queues_lock;
	unsigned slots;                     // used
	struct iof_layer **slot_layer;      // DISK_SLOTS_MAX of them
	struct bh_disk_queue *helper;       // for bh_disk_rw and rw_below
	pthread_mutex_t helper_lock;
	pthread_rwlock_t chain_lock;        // written while layers of the root come and go; never held while requests are waited for
};

/* queue.c */
struct iof_req *queue_req_get(struct bh_disk_queue *q);                 // NULL: no memory
void queue_req_put(struct bh_disk_queue *q, struct iof_req *r);
void queue_post(struct iof_req *r);                                     // r->step runs on its queue's thread; any thread
void queue_pause(struct bh_disk *root);                                 // until nothing is in flight in any queue
void queue_resume(struct bh_disk *root);
int queue_slots_grow(struct bh_disk *root, struct iof_layer *l, struct err *e);
void queue_slots_drop(struct bh_disk *root, struct iof_layer *l);
void *queue_buf_get(struct bh_disk_queue *q, size_t len);                 // NULL: no memory
void queue_buf_put(struct bh_disk_queue *q, void *b, size_t len);
void *queue_slot(const struct bh_disk_queue *q, unsigned slot);
int queue_rw(struct bh_disk *root, struct iof_layer *const *entry, enum iof_op op, uint64_t off, void *data, uint64_t len, uint32_t flags,
	     struct bh_disk_extent *ext);

/* engine.c: how the data layer reaches files */
extern const struct iof_filter data_filter;

/* host.c */
extern const struct iof_host host_table;

static inline void layer_call(struct iof_layer *l, struct iof_req *r)
{
	switch (r->op) {
	case IOF_READ: l->filter->read(l, r); break;
	case IOF_WRITE: l->filter->write(l, r); break;
	case IOF_FLUSH: l->filter->flush(l, r); break;
	case IOF_DISCARD: l->filter->discard(l, r); break;
	case IOF_WRITE_ZEROES: l->filter->write_zeroes(l, r); break;
	default: l->filter->extents(l, r); break;
	}
}

static inline void chain_enter(struct bh_disk *d, struct iof_req *r)
{
	layer_call(d->entry[r->op], r);
}

#endif
