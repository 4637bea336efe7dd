// SPDX-License-Identifier: Apache-2.0
// Who is it, and may they?
#ifndef BH_SERVER_AUTH_H
#define BH_SERVER_AUTH_H

#include <gnutls/gnutls.h>

#include "base/err.h"
#include "server/identity.h"
#include "server/route.h"
#include "server/server.h"

/* The identity that a TLS session's client certificate proves; NULL: none was given or it is not valid. verify: the
 * authorities that may sign one. *invalid: a certificate was given but is not good. */
struct identity *auth_session(gnutls_session_t session, gnutls_x509_trust_list_t verify, bool *invalid);

struct auth_ask {
	const char *verb;
	const char *group, *resource, *subresource, *ns, *name;   // "" where there is none
	const char *path;                                         // not NULL: no resource but this path
};

struct auth_ask auth_ask_of(const struct route *r);   // strings are r's

/* In this order: system:masters may everything; hosts what node_auth.c says; everybody what RBAC grants; health and
 * discovery are open. srv NULL: as if the store were empty. */
#define AUTH_WHY_MAX 1024
/* why: AUTH_WHY_MAX bytes, or NULL; which binding allows it, "" when none had to. */
bool auth_allowed_why(struct server *srv, const struct identity *who, const struct auth_ask *ask, char *why);
bool auth_allowed(struct server *srv, const struct identity *who, const struct auth_ask *ask);

#endif
