// SPDX-License-Identifier: Apache-2.0
// Which pods are bound to a node: every host lists and watches its own, and there are many of both. Holds no references:
// what is in it is in the index, too. Not thread-safe: the store locks around it.
#ifndef BH_SERVER_NODE_INDEX_H
#define BH_SERVER_NODE_INDEX_H

#include "server/obj.h"

struct node_index;

struct node_index *node_index_new(void);
void node_index_free(struct node_index *x);      // NULL is fine

/* now takes the place of before; either may be NULL. Returns 0 or -ENOMEM (before is out, now not in). */
int node_index_change(struct node_index *x, const struct obj *before, struct obj *now);

/* The pods of a node, in no order; valid until the next change. */
struct obj *const *node_index_get(const struct node_index *x, const char *node, size_t *count);

#endif
