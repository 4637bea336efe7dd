// SPDX-License-Identifier: Apache-2.0
// Who a request comes from.
#ifndef BH_SERVER_IDENTITY_H
#define BH_SERVER_IDENTITY_H

#include <gnutls/x509.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct identity {
	char *name;            // "kubernetes-admin", "system:serviceaccount:ns:name", "system:anonymous"
	char *uid;             // "" when unknown
	char **groups;         // system:authenticated or system:unauthenticated is among them
	size_t group_count;
	json_t *extra;         // owned: {key: [value, ...]}; NULL: none
};

const struct identity *identity_anonymous(void);   // static
/* Name and groups: common name and organizations of a verified client certificate. NULL: no memory or no common name. */
struct identity *identity_from_certificate(gnutls_x509_crt_t cert);
struct identity *identity_new(const char *name, const char *uid, const char *const *groups);   // + system:authenticated
struct identity *identity_exact(const char *name, const char *uid, const char *const *groups);
void identity_free(struct identity *i);
bool identity_in(const struct identity *i, const char *group);

#endif
