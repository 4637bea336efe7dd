// SPDX-License-Identifier: Apache-2.0
// What a new pod gets from its service account: its name, secrets for pulling images, and the volume with a token, the
// cluster's certificate authority and the namespace.
#ifndef BH_SERVER_ADMIT_ACCOUNT_H
#define BH_SERVER_ADMIT_ACCOUNT_H

#include <jansson.h>

#include "k8s/kind.h"
#include "server/server.h"

/* pod: with defaults and namespace; changed in place. Returns NULL or a Status. */
json_t *admit_account(struct server *srv, const struct k8s_kind *k, json_t *pod);

#endif
