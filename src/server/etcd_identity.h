// SPDX-License-Identifier: Apache-2.0
// Servers over one etcd must be one cluster to their clients: the first one puts the certificate authority and the key
// that signs tokens into etcd, every other takes them from there.
#ifndef BH_SERVER_ETCD_IDENTITY_H
#define BH_SERVER_ETCD_IDENTITY_H

#include "base/err.h"

/* where: as for store_etcd_ops. After it ROOT/pki holds the cluster's ca.crt, ca.key and sa.key.
 * -EEXIST: ROOT belongs to another cluster. */
int etcd_identity(const char *where, const char *root, struct err *e);

#endif
