// SPDX-License-Identifier: Apache-2.0
// A host's certificates, asked for from the API server as a kubelet does: one to speak to it, got with a bootstrap token the
// first time, and one to serve with. Both are kept in ROOT/pki, key and certificate in one file, and replaced before they
// expire.
#ifndef BH_HOSTD_CERTS_H
#define BH_HOSTD_CERTS_H

#include "base/err.h"
#include "host.h"

struct certs;

/* Have a client certificate and ROOT/node.kubeconfig that uses it. bootstrap: kubeconfig with a token; used only when there is
 * no certificate that still counts. Waits until the request is approved, a minute at most. */
int certs_client(const struct host *h, const char *bootstrap, struct err *e);

/* Have ROOT/pki/serving.pem: asked for with h->api; signed by itself until the request is approved. */
int certs_serving(const struct host *h, struct err *e);

/* Replace both in time. on_serving: the serving certificate is another one now. */
int certs_start(const struct host *h, void (*on_serving)(void *user), void *user, struct certs **c, struct err *e);
void certs_rotate(struct certs *c);                // now
void certs_stop(struct certs *c);

#endif
