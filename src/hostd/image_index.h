// SPDX-License-Identifier: Apache-2.0
// What images are here: records by id, names (references and repository digests) that lead to them, in memory and in
// index.json. Knows nothing of pulling.
// Locks are the caller's. Readers hold the lock given at open; what they are lent is theirs until they drop it. Those who
// change something hold another lock among themselves and not this one: it is taken here for the moment in which a
// change that is already on disk becomes visible, so that a look-up never waits for the disk.
#ifndef BH_HOSTD_IMAGE_INDEX_H
#define BH_HOSTD_IMAGE_INDEX_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "image_ref.h"

struct image_index;

/* dir: ROOT/images, with disks/ and configs/. lock: of the readers, borrowed. Records whose disk or configuration is missing are dropped; disks and
 * configurations without a record (a crash came between) are removed. */
int image_index_open(const char *dir, pthread_mutex_t *lock, struct image_index **x, struct err *e);
void image_index_free(struct image_index *x);

/* --- for readers --- */

/* ref: any form of a reference, a repository digest, an id with or without "sha256:". Returns the image's id (valid
 * until the next change) or NULL. key: the normalised name that was looked up; may be NULL. */
const char *image_index_find(const struct image_index *x, const char *ref, char key[IMAGE_REF_MAX]);

bool image_index_has(const struct image_index *x, const char *id);
json_t *image_index_config(const struct image_index *x, const char *id);    // borrowed
uint64_t image_index_size(const struct image_index *x, const char *id);     // bytes of the disk
const char *image_index_repo_digest(const struct image_index *x, const char *id, const char *ref);   // "" if none
const char *image_index_any_ref(const struct image_index *x, const char *id);   // a reference, or the id itself
size_t image_index_ref_count(const struct image_index *x, const char *id);
bool image_index_is_ref(const struct image_index *x, const char *name);     // a reference, not merely a repository digest
void image_index_touch(struct image_index *x, const char *id);               // used now
char *image_index_disk(const struct image_index *x, const char *id);         // heap path; needs no lock
json_t *image_index_list(const struct image_index *x);       // as image_list, without "pinned"; new reference
char *image_index_oldest(const struct image_index *x, bool (*skip)(void *ctx, const char *id), void *ctx);   // heap id or NULL

/* --- changes: on disk when they return 0, never made when they fail --- */

int image_index_add(struct image_index *x, const char *id, json_t *config, struct err *e);   // disk and configuration are in place
int image_index_name(struct image_index *x, const char *id, const char *ref, const char *repo_digest, struct err *e);
int image_index_unname(struct image_index *x, const char *ref, struct err *e);
int image_index_drop(struct image_index *x, const char *id, struct err *e);  // with its names and files

#endif
