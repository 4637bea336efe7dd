// SPDX-License-Identifier: Apache-2.0
// An NBD server for one disk. Each connection has a thread and a queue of its own.
#ifndef BH_NBD_SERVER_H
#define BH_NBD_SERVER_H

#include <bulkhead/disk.h>
#include <stdbool.h>

#include "base/err.h"

#define NBD_CONTEXTS_MAX 8

struct nbd_export {
	struct bh_disk *disk;         // borrowed
	const char *name;             // besides ""
	unsigned connections_max;
	/* Named changed-blocks points, as contexts "bulkhead:changed:NAME". NULL: none. list calls fn for each name. */
	void (*points)(struct bh_disk *d, void (*fn)(void *user, const char *name), void *user);
	/* First run of [off, off + len) that is all changed or all unchanged since the point. -ENOENT: point is gone. */
	int (*changed)(struct bh_disk *d, const char *point, uint64_t off, uint64_t len, uint64_t *run, bool *is_changed);
};


/* listen_fd: borrowed. stop_fd: readable ends it. Returns when all connections have ended. */
int nbd_serve(const struct nbd_export *x, int listen_fd, int stop_fd, struct err *e);

/* One connection, until the client leaves. fd is closed. */
int nbd_connection(const struct nbd_export *x, int fd, struct err *e);

/* What the handshake settles. */
struct nbd_session {
	const struct nbd_export *x;
	int fd;
	bool structured;
	unsigned ncontexts;
	struct { uint32_t id; bool allocation; bool depth; char point[64]; } context[NBD_CONTEXTS_MAX];
};

/* 0: go on with transmission. 1: the client left in peace. -errno. */
int nbd_handshake(struct nbd_session *s);

#endif
