// SPDX-License-Identifier: Apache-2.0
// What a deletion does to the objects that the deleted one owns: the finalizers that make the garbage collector act first.
#ifndef BH_SERVER_CONTROLLERS_PROPAGATION_H
#define BH_SERVER_CONTROLLERS_PROPAGATION_H

#include <jansson.h>
#include <stdbool.h>

#define FINALIZER_FOREGROUND "foregroundDeletion"
#define FINALIZER_ORPHAN "orphan"

/* obj is about to be deleted: set or drop these finalizers as DeleteOptions (may be NULL) ask, or as is usual for its kind.
 * The options have been checked (write_options.h). */
void propagation_apply(json_t *obj, const json_t *options);

bool finalizer_has(const json_t *obj, const char *name);
bool finalizer_add(json_t *obj, const char *name);       // true: it was not there
bool finalizer_remove(json_t *obj, const char *name);    // true: it was there

#endif
