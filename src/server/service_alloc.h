// SPDX-License-Identifier: Apache-2.0
// Addresses and node ports of Services: asked for ones are checked, the others chosen, when a Service is created or changed.
#ifndef BH_SERVER_SERVICE_ALLOC_H
#define BH_SERVER_SERVICE_ALLOC_H

#include <jansson.h>

#include "k8s/kind.h"
#include "server/server.h"

#define SERVICE_ADDR_API 1     // in the service range: the address of default/kubernetes
#define SERVICE_ADDR_DNS 10    // of kube-system/kube-dns

/* obj: a Service with defaults, changed in place; old: the one before, or NULL. Returns NULL or a Status. */
json_t *service_alloc(struct server *srv, const struct k8s_kind *k, json_t *obj, const json_t *old);

#endif
