// SPDX-License-Identifier: Apache-2.0
// What the query of a list or watch may not say. Rules and texts: k8s.io/apimachinery, ValidateListOptions.
#ifndef BH_SERVER_LIST_OPTIONS_H
#define BH_SERVER_LIST_OPTIONS_H

#include <jansson.h>

#include "server/route.h"

json_t *list_options_check(const struct route *r);      // NULL: fine; else a 422 (the caller's)
json_t *watch_options_check(const struct route *r);

#endif
