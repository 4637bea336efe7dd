// SPDX-License-Identifier: Apache-2.0
// What a host may do: what its work needs, on its own objects. Secrets, ConfigMaps and claims it reads one by one, and only
// those that pods bound to it name.
#ifndef BH_SERVER_NODE_AUTH_H
#define BH_SERVER_NODE_AUTH_H

#include "server/auth.h"

bool node_auth_is_node(const struct identity *who);
/* srv NULL: without looking at objects. */
bool node_auth_allows(struct server *srv, const struct identity *who, const struct auth_ask *ask);
/* What cannot be seen before the body is read: obj is about to be created (is_new), or to become this. Of pods a node creates
 * only those that show what it runs by itself, and that give it a right to no other object. Returns NULL or a Status. */
struct k8s_kind;
json_t *node_auth_admit(const struct identity *who, const struct k8s_kind *k, const json_t *obj, bool is_new);

#endif
