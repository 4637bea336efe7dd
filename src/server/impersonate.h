// SPDX-License-Identifier: Apache-2.0
// Impersonate-User and its companions: somebody who may, acts as somebody else.
#ifndef BH_SERVER_IMPERSONATE_H
#define BH_SERVER_IMPERSONATE_H

#include "server/request.h"

bool impersonate_asked(const struct request *r);   // whether a header asks for it

/* Make r->who the one whom the headers ask for, if the one who asks may. Returns NULL or a Status. */
json_t *impersonate(struct request *r);

#endif
