// SPDX-License-Identifier: Apache-2.0
// All current objects, ordered by key: a sorted array cut into chunks, so that a point look-up is a binary search over
// few cache lines, a range is a walk and an insert moves at most one chunk. Holds one reference per object.
// Not thread-safe: the store locks around it.
#ifndef BH_SERVER_INDEX_H
#define BH_SERVER_INDEX_H

#include "server/obj.h"

struct index;

struct index *index_new(void);
void index_free(struct index *x);
size_t index_count(const struct index *x);
size_t index_bytes(const struct index *x);     // of their texts
struct obj *index_get(const struct index *x, const char *key);   // borrowed; NULL when absent

/* Put o (a reference becomes the index's) in place of the object with its key, which *old gets (NULL: there was none;
 * the caller's reference). Returns 0 or -ENOMEM. */
int index_put(struct index *x, struct obj *o, struct obj **old);
struct obj *index_remove(struct index *x, const char *key);      // the reference becomes the caller's; NULL: absent

/* Walk in key order, starting at the first key >= from. */
struct index_pos { size_t chunk, slot; };
struct index_pos index_seek(const struct index *x, const char *from);
struct obj *index_next(const struct index *x, struct index_pos *pos);   // borrowed; NULL at the end

#endif
