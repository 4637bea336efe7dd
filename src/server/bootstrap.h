// SPDX-License-Identifier: Apache-2.0
// Objects that every cluster has from its first moment.
#ifndef BH_SERVER_BOOTSTRAP_H
#define BH_SERVER_BOOTSTRAP_H

#include "base/err.h"
#include "server/server.h"

int bootstrap_objects(struct server *srv, struct err *e);   // makes what is missing; never changes what is there

#endif
