// SPDX-License-Identifier: Apache-2.0
// Virtual disks: open a disk by its descriptor, get the chain of I/O filters that its metadata names, and read and
// write it asynchronously from any number of queues. docs/disk-format.md describes the files.
#ifndef BULKHEAD_DISK_H
#define BULKHEAD_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct err;
struct bh_disk;         // an open disk: one instance of the filter framework
struct bh_disk_queue;   // a submission and completion queue of one thread

enum bh_disk_op {
	BH_DISK_READ,
	BH_DISK_WRITE,
	BH_DISK_FLUSH,          // off, len, iov ignored
	BH_DISK_DISCARD,        // contents undefined afterwards (zeroes where the disk can), space given back
	BH_DISK_WRITE_ZEROES,   // reads as zeroes afterwards
	BH_DISK_EXTENTS,        // what lies at off; see struct bh_disk_extent
	BH_DISK_OPS
};

enum { BH_DISK_DATA, BH_DISK_HOLE };   // a hole reads as zeroes and takes no space

/* Answer of BH_DISK_EXTENTS: one extent that starts at off. It may be shorter than asked, never empty: ask again for the
 * rest. */
struct bh_disk_extent {
	uint64_t len;
	int type;              // BH_DISK_DATA, BH_DISK_HOLE
	int depth;             // 0: this disk's own; n: from the n-th disk below it
};

#define BH_DISK_FUA      (1u << 0)   // write, write-zeroes: on stable storage before completion
#define BH_DISK_NO_UNMAP (1u << 1)   // write-zeroes: keep the space allocated

/* One request. The caller owns it and its buffers from submission until done is called, and must not change them.
 * done runs on the thread that owns the queue, inside bh_disk_queue_poll (or inside bh_disk_submit for a request that
 * completes at once); it may submit further requests. result: 0 or -errno (-EIO, -ENOSPC, -EINVAL out of range...). */
struct bh_disk_io {
	enum bh_disk_op op;
	uint32_t flags;
	uint64_t off;              // bytes; any alignment
	uint64_t len;              // bytes; sum of iov for read and write
	const struct iovec *iov;   // read, write
	int iovcnt;
	struct bh_disk_extent *extent;   // extents
	void (*done)(struct bh_disk_io *io, int result);
	void *user;                // the caller's
	uint64_t priv[4];          // the library's, from submission to completion
};

enum bh_disk_mode { BH_DISK_RDONLY, BH_DISK_RDWR };

struct bh_disk_attr {
	enum bh_disk_mode mode;
	const char *at;            // open at this filter (its name in the descriptor), bypassing those above; NULL: top
	bool no_io_uring;          // thread pool even where io_uring works
	bool keep_descriptor;      // bh_disk_resize leaves the descriptor to the caller, for a process that may open no files
};

struct bh_disk_info {
	uint64_t size_bytes;
	uint32_t block_bytes;      // best alignment of requests
	bool read_only;
	bool can_discard;
	char id[40];               // UUID text
};

/* Open a disk. path: a descriptor (*.bhd), or a plain file or block device, which is then a raw disk without filters.
 * attr: NULL: read-write, top. May block. Returns 0 and *d (owned by the caller), or -errno with text in e. */
int bh_disk_open(const char *path, const struct bh_disk_attr *attr, struct bh_disk **d, struct err *e);

/* For a process that may open no files by itself: whoever may names them with bh_disk_files, and hands their descriptors over.
 * Data files must be there, side files are made when absent. Who takes a disk's lock (flock on its data) when the data is named,
 * which is before the descriptor, hands over a descriptor that nobody has changed since.
 * each: 0, or -errno, which ends it. -ENOTSUP: the disk has a filter that opens files which only it knows. */
enum bh_disk_file { BH_DISK_FILE_DESCRIPTOR, BH_DISK_FILE_DATA, BH_DISK_FILE_SIDE };
typedef int bh_disk_file_fn(void *user, const char *path, enum bh_disk_file what, bool writable, struct err *e);
int bh_disk_files(const char *path, bool read_only, bh_disk_file_fn *each, void *user, struct err *e);
/* From now on this process opens the files of disks through fn, which returns a descriptor (the library's; where it stands in the
 * file does not matter) or -errno. NULL: by path, as at first. Not while another thread opens a disk. */
typedef int bh_disk_opener_fn(void *user, const char *path, bool writable);
void bh_disk_set_opener(bh_disk_opener_fn *fn, void *user);

/* Flushes and closes. No queue may be open. May block. Returns 0 or the first error that a flush met. */
int bh_disk_close(struct bh_disk *d, struct err *e);

void bh_disk_info(const struct bh_disk *d, struct bh_disk_info *info);   // any thread

/* A queue for the calling thread; depth: most requests in flight (more are accepted and wait). 0 or -errno. */
int bh_disk_queue_open(struct bh_disk *d, unsigned depth, struct bh_disk_queue **q, struct err *e);
void bh_disk_queue_close(struct bh_disk_queue *q);                       // waits for requests in flight

/* Hand in a request; never blocks on I/O. Errors arrive through done. Only from the queue's thread. */
void bh_disk_submit(struct bh_disk_queue *q, struct bh_disk_io *io);

int bh_disk_queue_fd(const struct bh_disk_queue *q);   // becomes readable when bh_disk_queue_poll has work; borrowed
int bh_disk_queue_poll(struct bh_disk_queue *q);       // runs completions; returns their number. Also pushes batched submissions

/* Convenience for tools: one request, waited for. May block. Any thread (serialised inside), not from inside done. Queues of the
 * calling thread are polled meanwhile: done of their requests may run. */
int bh_disk_rw(struct bh_disk *d, enum bh_disk_op op, uint64_t off, void *data, size_t len, uint32_t flags, struct err *e);

/* A new disk, or a linked clone. All 0 or NULL where nothing is said. */
struct bh_disk_new {
	uint64_t size_bytes;       // clone: 0 takes the parent's
	uint32_t block_bytes;      // 0: 4096; clone: the parent's
	const char *parent;        // make a linked clone of this descriptor or raw file, which must not change any more
	const char *filters;       // JSON list of {"type", "name", "settings"}; each goes where its class belongs
};

/* path: NAME.bhd, must not exist. May block (syncs); a clone takes the same time whatever its size. 0 or -errno. */
int bh_disk_create(const char *path, const struct bh_disk_new *n, struct err *e);
int bh_disk_clone(const char *parent, const char *path, struct err *e);

/* Removes descriptor, data and the filters' files. -EBUSY: open somewhere. */
int bh_disk_remove(const char *path, struct err *e);

/* Change an open disk, under load: requests wait meanwhile, none is lost. The descriptor is changed too. Not from inside
 * done. All queues must go on being polled (by their threads, or they belong to the calling thread).
 * settings: JSON object or NULL. at: place from the top, -1: where the filter's class belongs. */
int bh_disk_filter_add(struct bh_disk *d, const char *type, const char *name, const char *settings, int at, bool force, struct err *e);
int bh_disk_filter_remove(struct bh_disk *d, const char *name, struct err *e);
int bh_disk_filter_set(struct bh_disk *d, const char *name, const char *settings, struct err *e);   // null takes a setting away

/* size 0: a raw disk's file has changed its size by itself. Shrinking needs a disk without queues. */
int bh_disk_resize(struct bh_disk *d, uint64_t size, struct err *e);

/* JSON: {"filters": [{"name", "type", "stats": {...}}]}; the caller's to free. NULL: no memory. */
char *bh_disk_stats(struct bh_disk *d);

/* Requests of all disks of this process since its start. Any thread. */
struct bh_disk_counters {
	uint64_t ops[BH_DISK_OPS], bytes[BH_DISK_OPS];   // by enum bh_disk_op
	uint64_t errors;
};
void bh_disk_counters(struct bh_disk_counters *c);

#endif
