// SPDX-License-Identifier: Apache-2.0
// Services on this host: follows the API's Services and EndpointSlices and keeps the firewall's rules, the pods' resolver and
// the variables that containers get up to date with them.
#ifndef BH_HOSTD_SERVICES_H
#define BH_HOSTD_SERVICES_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "host.h"

struct services;

struct services_config {
	const char *tag;               // names the nft table
	const char *gateway;           // this host's address on the pods' bridge, where its resolver listens
};

int services_start(const struct host *h, const struct services_config *c, struct services **s, struct err *e);
void services_stop(struct services *s);        // rules stay: pods go on
int services_remove(const char *tag, struct err *e);   // the rules, for good

/* The variables {NAME: VALUE} that a container of namespace ns gets: those of default/kubernetes and, if all, of every Service
 * of the namespace. -EAGAIN: the Services have not been read yet. */
int services_env(struct services *s, const char *ns, bool all, json_t *env, struct err *e);

#endif
