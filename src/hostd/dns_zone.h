// SPDX-License-Identifier: Apache-2.0
// What the names below the cluster's domain, and the reverse names of its addresses, stand for. Pure.
//
//   SERVICE.NS.svc.DOMAIN              the clusterIP; of a headless Service all its ready members; an ExternalName's CNAME
//   HOST.SERVICE.NS.svc.DOMAIN         a member with a host name of its own (a pod of a StatefulSet), or a-b-c-d
//   _PORT._PROTO.SERVICE.NS.svc.DOMAIN SRV
//   a-b-c-d.NS.pod.DOMAIN              that address
#ifndef BH_HOSTD_DNS_ZONE_H
#define BH_HOSTD_DNS_ZONE_H

#include "dns_wire.h"
#include "service_model.h"

#define DNS_TTL 5                      // seconds that answers about the cluster hold

enum dns_result { DNS_ANSWERED, DNS_NOT_OURS, DNS_ELSEWHERE };

/* DNS_ANSWERED: a is complete. DNS_NOT_OURS: nothing was written. DNS_ELSEWHERE: a CNAME was written; what it leads to,
 * outside of the domain, is in target. */
enum dns_result dns_zone_answer(const struct service_model *m, const char *domain, const struct dns_question *q, struct dns_answer *a,
				char target[DNS_NAME_MAX]);

#endif
