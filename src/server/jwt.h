// SPDX-License-Identifier: Apache-2.0
// JSON Web Tokens signed with the cluster's service account key (ES256), and the key's public half as others read it.
// Knows nothing of what the claims mean. Any thread.
#ifndef BH_SERVER_JWT_H
#define BH_SERVER_JWT_H

#include <jansson.h>

#include "base/err.h"

#define JWT_MAX 16384   // longest token that is looked at

struct jwt_key;

int jwt_key_open(const char *path, struct jwt_key **k, struct err *e);   // path: private EC P-256 key, PEM
void jwt_key_close(struct jwt_key *k);                                  // NULL is fine

/* claims signed, in the compact form (malloc). NULL: no memory or the library failed. */
char *jwt_sign(struct jwt_key *k, const json_t *claims);
/* The claims of a token that this key signed: new reference. NULL: malformed or not signed by it. */
json_t *jwt_verify(struct jwt_key *k, const char *token);
char *jwt_url_encode(const void *data, size_t len);   // base64url without padding; malloc
json_t *jwt_key_set(const struct jwt_key *k);                           // RFC 7517: {"keys": [...]}

#endif
