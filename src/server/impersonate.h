// SPDX-License-Identifier: Apache-2.0
// Impersonate-User and its companions: somebody who may, acts as somebody else.
#ifndef BH_SERVER_IMPERSONATE_H
#define BH_SERVER_IMPERSONATE_H

#include "server/request.h"

/* If the headers ask for it, make r->who the other. Returns NULL or a Status. */
json_t *impersonate(struct request *r);

#endif
