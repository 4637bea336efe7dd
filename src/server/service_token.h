// SPDX-License-Identifier: Apache-2.0
// Tokens of service accounts: what is in them, and whom they name. A token counts as long as its account, and the pod that it
// was made for, are there.
#ifndef BH_SERVER_SERVICE_TOKEN_H
#define BH_SERVER_SERVICE_TOKEN_H

#include <jansson.h>

#include "k8s/kind.h"
#include "server/request.h"
#include "server/server.h"

#define TOKEN_ISSUER "https://kubernetes.default.svc.cluster.local"   // also the audience that is the API itself

/* POST serviceaccounts/NAME/token. */
void service_token_create(struct request *r, const struct k8s_kind *k);

/* Whom a token names; NULL: nobody, *why says so. audiences: array of those that may accept it, one must be in the token
 * (NULL: the API's). *accepted: which of them are (new reference; NULL: not wanted). */
struct identity *service_token_identity(struct server *srv, const char *token, const json_t *audiences, json_t **accepted,
					const char **why);

/* The two public documents with which others check tokens. False: not one of their paths. */
bool service_token_documents(struct request *r);

#endif
