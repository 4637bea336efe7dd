// SPDX-License-Identifier: Apache-2.0
// The parsed text of an object that many look at at the same time (every controller sees every change): parsed once, or
// taken over from who made the object, and kept for a few hundred of the latest.
#ifndef BH_SERVER_VIEW_H
#define BH_SERVER_VIEW_H

#include "server/obj.h"

/* A new reference to a tree that others hold too: it and everything below it must not be changed. NULL: no memory. */
json_t *obj_view(struct obj *o);

/* Of an object that is not committed yet: the tree that it was encoded from, which nobody changes any more. The reference
 * is taken over. What is kept no longer in exchange goes to *old, which the caller frees when there is time. */
struct obj_view {
	struct obj *obj;      // a reference: its address stays taken
	json_t *tree;
};
void obj_view_give(struct obj *o, json_t *tree, struct obj_view *old);
void obj_view_free(struct obj_view *v);
/* It has been committed, and nobody else has seen it yet: the tree, where it is still kept, learns its resourceVersion. */
void obj_view_committed(struct obj *o);

#endif
