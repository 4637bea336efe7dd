// SPDX-License-Identifier: Apache-2.0
// An audit policy, and what it chooses for a few requests.
#include <stddef.h>
#include <stdint.h>

#include "server/audit_policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const uris[] = { "/api/v1/namespaces/d/secrets/s", "/apis/apps/v1/deployments", "/healthz" };
	struct audit_policy *p = NULL;
	struct err e = ERR_INIT;

	if (audit_policy_parse((const char *)data, size, &p, &e))
		return 0;
	for (size_t i = 0; i < sizeof uris / sizeof *uris; i++) {
		struct route t;
		if (route_parse("GET", uris[i], &t))
			continue;
		audit_policy_choose(p, identity_anonymous(), &t);
		route_fini(&t);
	}
	audit_policy_free(p);
	return 0;
}
