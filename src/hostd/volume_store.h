// SPDX-License-Identifier: Apache-2.0
// Disks of persistent volumes on this host: made, copied, grown, removed. Knows nothing of Kubernetes.
//
// ROOT/volumes/ holds a record per volume (ID.volume.json) and per snapshot (ID.snapshot.json), naming a disk in disks/.
// Disks that something was cloned or snapshotted from do not change any more: a volume whose disk became such a one gets a
// clone of it before it is written again, so copies of any size are made at once. base/ has one empty file system per size.
// Disks that no record and no other disk needs are removed.
//
// All calls may block; safe from any thread. A SIGKILL at any point leaves at most disks that the next open removes.
#ifndef BH_HOSTD_VOLUME_STORE_H
#define BH_HOSTD_VOLUME_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct volume_store;

int volume_store_open(const char *root, struct volume_store **s, struct err *e);
void volume_store_close(struct volume_store *s);   // NULL allowed

struct volume_new {
	const char *id;              // 1-128 of [A-Za-z0-9._-]
	uint64_t size_bytes;         // rounded up to 1 MiB
	bool block;                  // no file system
	const char *filters;         // JSON list, as bulkhead/disk.h has it; NULL: none
	const char *from_volume, *from_snapshot;   // a copy of that; NULL: empty
};

struct volume_info {
	char path[4096];             // of its disk
	uint64_t size_bytes;
	bool block;
};

/* Make a volume; one of that id that is there already is taken as it is. -ENOSPC: the host has not so much room. -EBUSY: the
 * source is being written (freeze its file system and use volume_copy_frozen). */
int volume_create(struct volume_store *s, const struct volume_new *n, struct err *e);
int volume_remove(struct volume_store *s, const char *id, struct err *e);    // absent is fine; -EBUSY: in use
int volume_get(struct volume_store *s, const char *id, struct volume_info *v, struct err *e);   // -ENOENT

/* The same, for a VM that will write: its disk may become another one. */
int volume_open(struct volume_store *s, const char *id, struct volume_info *v, struct err *e);

/* used: a VM has it open; it must be told the new size afterwards. Shrinking: -EINVAL. */
int volume_grow(struct volume_store *s, const char *id, uint64_t size_bytes, bool used, struct err *e);

/* frozen: it is in use by a VM, which writes nothing until this returns: the volume's own blocks are copied. */
int volume_snapshot(struct volume_store *s, const char *snapshot, const char *volume, bool frozen, struct err *e);
int volume_snapshot_get(struct volume_store *s, const char *snapshot, struct volume_info *v, struct err *e);
int volume_snapshot_remove(struct volume_store *s, const char *snapshot, struct err *e);   // absent is fine

#endif
