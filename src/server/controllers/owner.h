// SPDX-License-Identifier: Apache-2.0
// ownerReferences.
#ifndef BH_SERVER_CONTROLLERS_OWNER_H
#define BH_SERVER_CONTROLLERS_OWNER_H

#include <jansson.h>
#include <stdbool.h>

/* The reference with controller true; NULL: nobody controls it. Borrowed. */
json_t *owner_controller(const json_t *obj);
json_t *owner_reference(const json_t *owner);              // a controller reference to owner; new
void owner_add(json_t *obj, const json_t *owner);          // make owner its controller
bool owner_remove(json_t *obj, const char *uid);           // true: there was such a reference

#endif
