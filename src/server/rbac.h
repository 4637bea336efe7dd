// SPDX-License-Identifier: Apache-2.0
// Role-based access control: Roles, ClusterRoles and their bindings as they are in the store at the moment of the question.
// Parsed objects are kept between questions. Any thread.
#ifndef BH_SERVER_RBAC_H
#define BH_SERVER_RBAC_H

#include <jansson.h>
#include <stdbool.h>

#include "k8s/kind.h"
#include "server/auth.h"
#include "server/identity.h"
#include "server/server.h"

struct rbac;

struct rbac *rbac_new(struct server *srv);
void rbac_free(struct rbac *b);   // NULL is fine

/* why: as of auth_allowed_why. */
bool rbac_allows(struct rbac *b, const struct identity *who, const struct auth_ask *ask, char *why);
/* All rules that apply to who, in ns and cluster-wide ("": only these): a new array. NULL: no memory. */
json_t *rbac_rules(struct rbac *b, const struct identity *who, const char *ns);
/* A role or binding is about to become obj (old: what it is; NULL on create): nobody gives away what he does not have.
 * Returns NULL or a Status. */
json_t *rbac_admit(struct rbac *b, const struct identity *who, const struct k8s_kind *k, const json_t *obj, const json_t *old);

#endif
