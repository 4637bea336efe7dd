// SPDX-License-Identifier: Apache-2.0
// The cluster's Services as a host needs them: addresses, ports, and where their connections go. Made as a whole from the
// API's objects, read-only afterwards. IPv4. Pure.
#ifndef BH_HOSTD_SERVICE_MODEL_H
#define BH_HOSTD_SERVICE_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERVICE_PUBLIC_MAX 8

struct service_target { uint32_t addr; uint16_t port; bool local; };

struct service_port {
	char name[64];
	bool tcp;                          // else UDP
	uint16_t port, node_port;          // node_port 0: none
	struct service_target *targets;    // where new connections go
	size_t count;
};

struct service_member {                // an address that names lead to
	uint32_t addr;
	char hostname[64];                 // "" when it has none of its own
	bool ready;
};

struct service {
	char ns[64], name[64];
	uint32_t addr;                     // clusterIP; 0: headless or without
	uint32_t public_addrs[SERVICE_PUBLIC_MAX];   // externalIPs and a load balancer's
	size_t public_count;
	char *external_name;               // NULL: none
	bool headless, sticky, local_inside, local_outside;
	bool has_ready;                    // at least one member is
	struct service_port *ports;
	size_t ports_count;
	struct service_member *members;
	size_t members_count;
};

struct service_model {
	struct service *services;          // by namespace, then name
	size_t count;
};

/* services, slices: objects of Service and EndpointSlice; what is not understood in them is left out.
 * node: whose endpoints are local. NULL: no memory. */
struct service_model *service_model_new(const json_t *services, const json_t *slices, const char *node);
void service_model_free(struct service_model *m);

/* NULL: there is none. Names need not end in NUL. */
const struct service *service_model_find(const struct service_model *m, const char *ns, size_t ns_len, const char *name, size_t name_len);

#endif
