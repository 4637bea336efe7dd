// SPDX-License-Identifier: Apache-2.0
// The resolver of a host's pods: names of the cluster from memory, all others from the host's own nameservers. UDP and TCP.
#ifndef BH_HOSTD_DNS_H
#define BH_HOSTD_DNS_H

#include "base/err.h"

struct dns;
struct service_model;

/* addr: "10.88.0.1", port 53; it need not exist yet. domain: "cluster.local". */
int dns_start(const char *addr, const char *domain, struct dns **d, struct err *e);
void dns_stop(struct dns *d);

/* What there is from now on; owned by d afterwards. Until the first one, names of the cluster wait (the asker asks again). */
void dns_set(struct dns *d, struct service_model *m);

#endif
