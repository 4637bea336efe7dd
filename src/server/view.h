// SPDX-License-Identifier: Apache-2.0
// The parsed text of an object that many look at at the same time (every controller sees every change): parsed once, kept
// for a few hundred of the latest objects.
#ifndef BH_SERVER_VIEW_H
#define BH_SERVER_VIEW_H

#include "server/obj.h"

/* A new reference to a tree that others hold too: it and everything below it must not be changed. NULL: no memory. */
json_t *obj_view(struct obj *o);

#endif
