// SPDX-License-Identifier: Apache-2.0
// Tokens with which machines that the cluster does not know yet say that they may join: ID.SECRET, kept in Secrets
// kube-system/bootstrap-token-ID of type bootstrap.kubernetes.io/token.
#ifndef BH_SERVER_BOOTSTRAP_TOKEN_H
#define BH_SERVER_BOOTSTRAP_TOKEN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/identity.h"
#include "server/server.h"

#define BOOTSTRAP_TYPE "bootstrap.kubernetes.io/token"
#define BOOTSTRAP_GROUP "system:bootstrappers"
#define BOOTSTRAP_ID_LEN 6
#define BOOTSTRAP_SECRET_LEN 16

bool bootstrap_token_is(const char *token);     // by its form

/* Whom it names: system:bootstrap:ID. NULL: nobody, *why says so. */
struct identity *bootstrap_token_identity(struct server *srv, const char *token, const char **why);

/* One field of such a Secret, decoded: heap, or NULL. */
char *bootstrap_token_field(const json_t *secret, const char *field);
/* When it expires (real time, ns); 0: never. False: the Secret says it in a way that nobody can read. */
bool bootstrap_token_expiry(const json_t *secret, uint64_t *when);

#endif
