// SPDX-License-Identifier: Apache-2.0
// A write to a subresource of an object changes a part of it; a write to the object itself changes all but its status.
#ifndef BH_SERVER_SUBRESOURCE_H
#define BH_SERVER_SUBRESOURCE_H

#include <jansson.h>

#include "k8s/kind.h"

/* What a write to subresource ("": the object) may not change comes from cur. */
void subresource_keep(const struct k8s_kind *k, const char *subresource, json_t *next, const json_t *cur);
/* Whether what it may change is changed as it may be: NULL, or a Status. */
json_t *subresource_check(const struct k8s_kind *k, const char *subresource, const json_t *next, const json_t *cur);

#endif
