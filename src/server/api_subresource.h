// SPDX-License-Identifier: Apache-2.0
// Subresources other than status, and what is created to the same effect.
#ifndef BH_SERVER_API_SUBRESOURCE_H
#define BH_SERVER_API_SUBRESOURCE_H

#include "k8s/kind.h"
#include "server/request.h"

/* A Binding created in bindings; false: not this kind, not this verb. */
bool api_bind(struct request *r, const struct k8s_kind *k);
bool api_subresource(struct request *r, const struct k8s_kind *k);   // false: not with this method

#endif
