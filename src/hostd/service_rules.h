// SPDX-License-Identifier: Apache-2.0
// Services as rules of the host's firewall: one nft table, replaced as a whole whenever Services or their endpoints change.
// A connection to a Service's address or node port gets the address of one of its endpoints; connections that exist stay
// where they are.
#ifndef BH_HOSTD_SERVICE_RULES_H
#define BH_HOSTD_SERVICE_RULES_H

#include <stdint.h>

#include "base/err.h"
#include "service_model.h"

struct service_rules_config {
	const char *table;             // name of the nft table
	uint32_t dns_addr;             // of the cluster's resolver; 0: none
	uint32_t dns_local;            // where this host answers for it while no endpoint does
};

/* The script for `nft -f -`; heap. NULL: no memory. Pure. */
char *service_rules_script(const struct service_rules_config *c, const struct service_model *m);

int service_rules_apply(const struct service_rules_config *c, const struct service_model *m, struct err *e);
int service_rules_remove(const char *table, struct err *e);      // absent is fine

#endif
