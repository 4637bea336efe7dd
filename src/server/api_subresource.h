// SPDX-License-Identifier: Apache-2.0
// Subresources other than status.
#ifndef BH_SERVER_API_SUBRESOURCE_H
#define BH_SERVER_API_SUBRESOURCE_H

#include "k8s/kind.h"
#include "server/request.h"

bool api_subresource(struct request *r, const struct k8s_kind *k);   // false: not with this method

#endif
