// SPDX-License-Identifier: Apache-2.0
// What volume_store.c and volume_grow.c share: records, and the disks they name.
#ifndef BH_HOSTD_VOLUME_STORE_INTERNAL_H
#define BH_HOSTD_VOLUME_STORE_INTERNAL_H

#include <jansson.h>
#include <pthread.h>

#include "volume_store.h"

#define MIB (1ull << 20)
#define PATH_LEN 4096

struct volume_store {
	pthread_mutex_t lock;     // one change at a time
	char *dir;                // ROOT/volumes
};

enum record { VOLUME, SNAPSHOT };

/* All under the lock. -ENOENT: there is no such record. */
int volume_record_read(const struct volume_store *s, enum record r, const char *id, json_t **out, struct err *e);
int volume_record_write(const struct volume_store *s, enum record r, const char *id, const json_t *j, struct err *e);
int volume_json_write(const char *path, const json_t *j, struct err *e);
void volume_disk_path(const struct volume_store *s, const char *name, const char *suffix, char out[PATH_LEN]);
json_t *volume_descriptor(const struct volume_store *s, const char *disk, struct err *e);   // NULL: see e
int volume_room_for(const struct volume_store *s, uint64_t bytes, struct err *e);          // -ENOSPC
/* Whatever was made from the volume keeps its disk: rec names one afterwards that may be written. */
int volume_writable(struct volume_store *s, const char *id, json_t *rec, struct err *e);

#endif
