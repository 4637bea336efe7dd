// SPDX-License-Identifier: Apache-2.0
// What is written down of a request: an audit.k8s.io/v1 Policy. The first rule that matches decides.
#ifndef BH_SERVER_AUDIT_POLICY_H
#define BH_SERVER_AUDIT_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "server/identity.h"
#include "server/route.h"

enum audit_level { AUDIT_NONE, AUDIT_METADATA, AUDIT_REQUEST, AUDIT_REQUEST_RESPONSE };
enum { AUDIT_RECEIVED = 1, AUDIT_STARTED = 2, AUDIT_COMPLETE = 4 };   // stages

struct audit_choice {
	enum audit_level level;
	unsigned stages;               // which are written
	bool omit_managed_fields;
};

struct audit_policy;

/* path NULL: the policy of those who give none: Metadata when the answer is there, for all but health checks, metrics and
 * discovery. */
int audit_policy_open(const char *path, struct audit_policy **p, struct err *e);
int audit_policy_parse(const char *text, size_t len, struct audit_policy **p, struct err *e);   // YAML or JSON
void audit_policy_free(struct audit_policy *p);   // NULL is fine

/* who NULL: not known. What holds secrets is written at most with its metadata, unless the rule names it. Any thread. */
struct audit_choice audit_policy_choose(const struct audit_policy *p, const struct identity *who, const struct route *route);

const char *audit_level_name(enum audit_level level);

#endif
