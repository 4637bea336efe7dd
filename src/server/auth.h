// SPDX-License-Identifier: Apache-2.0
// Who is it, and may they?
#ifndef BH_SERVER_AUTH_H
#define BH_SERVER_AUTH_H

#include <gnutls/gnutls.h>

#include "base/err.h"
#include "server/identity.h"
#include "server/route.h"

/* The identity that a TLS session's client certificate proves; NULL: none was given or it is not valid. verify: the
 * authorities that may sign one. *invalid: a certificate was given but is not good. */
struct identity *auth_session(gnutls_session_t session, gnutls_x509_trust_list_t verify, bool *invalid);

/* NULL: allowed; else why not (static text to show, "" for none). */
bool auth_allowed(const struct identity *who, const struct route *r);

#endif
