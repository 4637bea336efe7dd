// SPDX-License-Identifier: Apache-2.0
// The JSONPath of printer columns: ".spec.a", ".spec['a.b']", ".list[0]", ".list[*].x", ".conditions[?(@.type=="Ready")].status".
#ifndef BH_K8S_JSON_PATH_H
#define BH_K8S_JSON_PATH_H

#include <jansson.h>
#include <stdbool.h>

bool json_path_valid(const char *path);
const json_t *json_path_first(const json_t *value, const char *path);   // borrowed; NULL: nothing there or path not understood

#endif
