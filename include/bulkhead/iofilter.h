// SPDX-License-Identifier: Apache-2.0
// The ABI of I/O filters. A filter is one layer in the chain of one open disk. It sees every request on its way down
// and, if it asks for it, on its way back up; it may complete it, fail it, change it, split it, delay it or pass it on.
// Built-in filters and plug-ins (shared objects) use the same ABI. docs/filters.md has a guide, examples/filters/ a
// plug-in.
//
// Threads. A disk has queues; each belongs to one thread. The request functions of a filter run on the thread of the
// request's queue, several queues at once: state that queues share needs the filter's own locks. Request functions
// must not block: what blocks goes through iof_work. open, close, attach, reconfigure and check may block.
//
// Requests. A filter that lets a request go on unchanged calls iof_pass and forgets it. One that wants to see the
// completion, or to send something else, makes children with iof_child, sets their done, passes them on, and completes
// the original from there. Every request is completed exactly once. An operation that is NULL in the table is passed
// on without a call.
#ifndef BULKHEAD_IOFILTER_H
#define BULKHEAD_IOFILTER_H

#include <string.h>

#include <bulkhead/disk.h>

#define IOF_ABI_VERSION 1u

struct iof_layer;      // a filter's place in the chain of one open disk
struct iof_settings;   // settings of one filter, as the descriptor has them
struct iof_file;       // a file of the filter's own beside the disk
struct err;

enum iof_op {
	IOF_READ = BH_DISK_READ,
	IOF_WRITE = BH_DISK_WRITE,
	IOF_FLUSH = BH_DISK_FLUSH,
	IOF_DISCARD = BH_DISK_DISCARD,
	IOF_WRITE_ZEROES = BH_DISK_WRITE_ZEROES,
	IOF_EXTENTS = BH_DISK_EXTENTS,
	IOF_OPS = BH_DISK_OPS,
};

struct iof_req {
	enum iof_op op;
	uint32_t flags;                // BH_DISK_FUA, BH_DISK_NO_UNMAP
	uint64_t off, len;             // bytes
	const struct iovec *iov;       // read, write: the data are bytes [iov_skip, iov_skip + len) of iov
	int iovcnt;
	size_t iov_skip;
	struct bh_disk_extent *extent; // extents: where the answer goes
	struct bh_disk_queue *queue;

	/* Whoever made the request sets these; a filter leaves those of requests that it was given alone. */
	void (*done)(struct iof_req *r, int result);   // on the queue's thread. result: 0 or -errno
	void *user;
	uint64_t data[4];

	/* The framework's. */
	struct iof_req *next, *link, *hold_next, *hold_prev;
	struct iof_layer *layer;
	void (*step)(struct iof_layer *l, struct iof_req *r);
	int (*work)(struct iof_layer *l, struct iof_req *r);
	uint64_t when;
	uint64_t progress;
	struct iovec vec;
	int result;
	int state;
};

/* Where a filter may stand, top to bottom. Within one chain the class must not grow again further up; "any" may stand
 * anywhere. Attaching against the order is refused unless forced. */
enum iof_class {
	IOF_CLASS_ANY = 0,
	IOF_CLASS_OBSERVE = 10,     // counts, limits: what the user of the disk sees
	IOF_CLASS_REPLICATE = 20,
	IOF_CLASS_CACHE = 30,
	IOF_CLASS_LINK = 40,        // above here: all of a clone's I/O; below: its own blocks only
	IOF_CLASS_CHECK = 50,
	IOF_CLASS_COMPRESS = 60,
	IOF_CLASS_ENCRYPT = 70,
	IOF_CLASS_MEDIUM = 80,      // behaves like the medium: fault injectors
};

enum {
	IOF_CHANGES_DATA = 1u << 0,   // what lies below is not what lies above: attach to an empty disk only, no detach
	IOF_ALIGN_READ = 1u << 1,     // the framework also aligns reads for this filter (writes: whenever align > 1)
	IOF_SERIAL_WRITE = 1u << 2,   // with align > 1: never two writes of one block at a time
	IOF_QUIET_SET = 1u << 3,      // reconfigure only while no request is in flight
};

struct iof_setting {
	const char *key, *help;       // table ends with key NULL
};

struct iof_filter {
	uint32_t abi;                 // IOF_ABI_VERSION
	uint32_t size;                // sizeof(struct iof_filter)
	const char *name;             // [a-z0-9-]+
	const char *summary;          // one line
	int order;                    // enum iof_class
	uint32_t flags;
	const struct iof_setting *settings;   // the keys it accepts; others are refused before open

	/* When the filter is added to a disk for good or its settings are changed: check them, make files or keys. May change
	 * s, which then goes into the descriptor. NULL: nothing to do. */
	int (*attach)(struct iof_settings *s, const char *descriptor_path, struct err *e);

	/* The disk is being opened (or the filter was attached online). The layers below work already. Sets *state.
	 * *align: requests reach the filter in multiples of it (power of two; 1: as they come). */
	int (*open)(struct iof_layer *l, const struct iof_settings *s, void **state, uint32_t *align, struct err *e);

	/* No request is in flight. The layers below still work. Returns 0 or -errno if something could not be saved. */
	int (*close)(struct iof_layer *l, struct err *e);

	/* Settings, right after open and whenever they change; on failure the old ones stay. NULL: open reads them, and a
	 * change needs detach and attach. */
	int (*reconfigure)(struct iof_layer *l, const struct iof_settings *s, struct err *e);

	/* May the filter leave the chain of this disk now? Called when quiet. NULL: yes, unless IOF_CHANGES_DATA. */
	int (*detach)(struct iof_layer *l, struct err *e);

	/* State of one queue (iof_queue_state). NULL: none. */
	int (*queue_open)(struct iof_layer *l, void **queue_state, struct err *e);
	void (*queue_close)(struct iof_layer *l, void *queue_state);

	/* The virtual size of the disk has changed to iof_size(l). Before a disk shrinks this is also called with the size it
	 * has: a filter that does not allow a change refuses either way. */
	int (*resized)(struct iof_layer *l, struct err *e);

	/* Requests; NULL: passed on. */
	void (*read)(struct iof_layer *l, struct iof_req *r);
	void (*write)(struct iof_layer *l, struct iof_req *r);
	void (*flush)(struct iof_layer *l, struct iof_req *r);
	void (*discard)(struct iof_layer *l, struct iof_req *r);
	void (*write_zeroes)(struct iof_layer *l, struct iof_req *r);
	void (*extents)(struct iof_layer *l, struct iof_req *r);

	/* Numbers for operators; emit may be called any number of times. Any thread. */
	void (*stats)(struct iof_layer *l, void (*emit)(void *user, const char *key, uint64_t value), void *user);

	/* "disk check": report every fault found in the filter's own files and data. Returns faults, or -errno. */
	int (*check)(struct iof_layer *l, void (*fault)(void *user, const char *text), void *user, struct err *e);
};

/* What the framework does for filters. Grows at its end only. */
struct iof_host {
	uint32_t abi;
	uint32_t size;

	void (*pass)(struct iof_layer *l, struct iof_req *r);          // to the layer below l
	void (*complete)(struct iof_req *r, int result);               // on the queue's thread
	void (*complete_from)(struct iof_req *r, int result);          // from any thread
	/* A new request on r's queue with r's fields except done, user, data. NULL: no memory. iof_free when it is done. */
	struct iof_req *(*child)(struct iof_layer *l, const struct iof_req *r);
	void (*free)(struct iof_req *child);
	/* Call then(l, r) on the queue's thread: after ns; or as soon as the thread gets to it (from any thread). */
	void (*after)(struct iof_layer *l, struct iof_req *r, uint64_t ns, void (*then)(struct iof_layer *, struct iof_req *));
	void (*resume)(struct iof_layer *l, struct iof_req *r, void (*then)(struct iof_layer *, struct iof_req *));
	/* Run fn on a worker thread (may block), then then() on the queue's thread with r->result = what fn returned. */
	void (*work)(struct iof_layer *l, struct iof_req *r, int (*fn)(struct iof_layer *, struct iof_req *),
		     void (*then)(struct iof_layer *, struct iof_req *));
	/* Memory for data, aligned to 4096, from the queue's pool. NULL: no memory. Same queue, same len to give back. */
	void *(*buf_get)(struct bh_disk_queue *q, size_t len);
	void (*buf_put)(struct bh_disk_queue *q, void *buf, size_t len);

	void *(*state)(const struct iof_layer *l);
	void *(*queue_state)(const struct iof_layer *l, const struct bh_disk_queue *q);
	uint64_t (*size_of)(const struct iof_layer *l);                // virtual size, rounded up to whole blocks
	bool (*read_only)(const struct iof_layer *l);
	const char *(*name)(const struct iof_layer *l);                // of the filter in the descriptor
	const char *(*disk_id)(const struct iof_layer *l);
	const char *(*disk_path)(const struct iof_layer *l);
	uint64_t (*content_version)(const struct iof_layer *l);        // differs whenever a read-only disk's contents differ

	/* One request to the layer below, waited for. Not from request functions. 0 or -errno. */
	int (*rw_below)(struct iof_layer *l, enum iof_op op, uint64_t off, void *buf, size_t len);

	const char *(*setting)(const struct iof_settings *s, const char *key);                    // NULL: not given
	int (*setting_set)(struct iof_settings *s, const char *key, const char *value);           // in attach only; NULL: removes
	/* A size ("64M"), count or duration in ns ("10ms"); fallback where absent. -EINVAL with text. */
	int (*setting_size)(const struct iof_settings *s, const char *key, uint64_t fallback, uint64_t *v, struct err *e);
	int (*setting_ns)(const struct iof_settings *s, const char *key, uint64_t fallback, uint64_t *v, struct err *e);

	/* Files beside the disk: NAME.<suffix>. They take part in power-cut simulation. All may block. 0 or -errno. */
	int (*file_open)(struct iof_layer *l, const char *suffix, struct iof_file **f, struct err *e);
	void (*file_close)(struct iof_file *f);
	int (*file_read)(struct iof_file *f, void *buf, size_t len, uint64_t off);                // zeroes past the end
	int (*file_write)(struct iof_file *f, const void *buf, size_t len, uint64_t off);
	int (*file_sync)(struct iof_file *f);
	int (*file_discard)(struct iof_file *f, uint64_t off, uint64_t len);                      // reads as zeroes, space given back
	int (*file_next)(struct iof_file *f, uint64_t off, uint64_t *data, uint64_t *end);        // next written area; -ENXIO: none

	int (*error)(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));   // returns -code
	void (*log)(struct iof_layer *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
};

/* A plug-in defines iof itself and exports bulkhead_iofilter_entry, which keeps host in iof and returns its table, or
 * NULL when host is too old for it. IOF_PLUGIN(table) does both. */
extern const struct iof_host *iof;
#define IOF_PLUGIN_ENTRY "bulkhead_iofilter_entry"
#define IOF_PLUGIN(table) \
	const struct iof_host *iof; \
	__attribute__((visibility("default"))) const struct iof_filter *bulkhead_iofilter_entry(const struct iof_host *host); \
	const struct iof_filter *bulkhead_iofilter_entry(const struct iof_host *host) \
	{ \
		if (host->abi != IOF_ABI_VERSION || host->size < sizeof(struct iof_host)) return NULL; \
		iof = host; \
		return &(table); \
	}

static inline void iof_pass(struct iof_layer *l, struct iof_req *r) { iof->pass(l, r); }
static inline void iof_complete(struct iof_req *r, int result) { iof->complete(r, result); }
static inline struct iof_req *iof_child(struct iof_layer *l, const struct iof_req *r) { return iof->child(l, r); }
static inline void iof_free(struct iof_req *r) { iof->free(r); }
static inline void *iof_state(const struct iof_layer *l) { return iof->state(l); }
static inline uint64_t iof_size(const struct iof_layer *l) { return iof->size_of(l); }

/* Make child c (from iof_child) the part [off, off + len) of r. */
static inline void iof_part(struct iof_req *c, const struct iof_req *r, uint64_t off, uint64_t len)
{
	c->off = off;
	c->len = len;
	c->iov_skip = r->iov_skip + (size_t)(off - r->off);
	while (c->iovcnt > 1 && c->iov_skip >= c->iov->iov_len) {
		c->iov_skip -= c->iov->iov_len;
		c->iov++;
		c->iovcnt--;
	}
}

/* Let child c carry its data in buf instead. */
static inline void iof_use_buf(struct iof_req *c, void *buf)
{
	c->vec.iov_base = buf;
	c->vec.iov_len = (size_t)c->len;
	c->iov = &c->vec;
	c->iovcnt = 1;
	c->iov_skip = 0;
}

/* The request's data if it lies in one piece, else NULL. */
static inline void *iof_contiguous(const struct iof_req *r)
{
	return r->iovcnt > 0 && r->iov_skip + r->len <= r->iov->iov_len ? (char *)r->iov->iov_base + r->iov_skip : NULL;
}

/* Copy len bytes between the request's data, from byte at on, and buf; to_req: into the request, buf NULL: zeroes.
 * at + len <= r->len. */
static inline void iof_copy(const struct iof_req *r, uint64_t at, void *buf, size_t len, bool to_req)
{
	size_t skip = r->iov_skip + (size_t)at;
	char *b = buf;

	for (int i = 0; i < r->iovcnt && len; i++) {
		const struct iovec *v = &r->iov[i];
		size_t n;

		if (skip >= v->iov_len) {
			skip -= v->iov_len;
			continue;
		}
		n = v->iov_len - skip < len ? v->iov_len - skip : len;
		if (!to_req) memcpy(b, (char *)v->iov_base + skip, n);
		else if (b) memcpy((char *)v->iov_base + skip, b, n);
		else memset((char *)v->iov_base + skip, 0, n);
		if (b) b += n;
		len -= n;
		skip = 0;
	}
}

#endif
