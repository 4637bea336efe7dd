// SPDX-License-Identifier: Apache-2.0
// Reading JSON values by a dotted path ("metadata.name"; keys that contain dots: walk by hand). jansson only.
#ifndef BH_JPATH_H
#define BH_JPATH_H

#include <jansson.h>
#include <stdbool.h>

json_t *jpath_get(const json_t *root, const char *path);                              // borrowed; NULL when absent
const char *jpath_str(const json_t *root, const char *path, const char *fallback);    // borrowed from root
long long jpath_int(const json_t *root, const char *path, long long fallback);
bool jpath_bool(const json_t *root, const char *path, bool fallback);

/* Set a value, making the objects on the way. Steals value. Returns 0, -EINVAL (something on the way is not an
 * object) or -ENOMEM. */
int jpath_set(json_t *root, const char *path, json_t *value);

static inline void own_json_(json_t **j) { json_decref(*j); }
#define own_json __attribute__((cleanup(own_json_)))   // json_t *, one reference

#endif
