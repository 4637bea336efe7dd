// SPDX-License-Identifier: Apache-2.0
// The audit log: who asked for what, when, whether they were let, and how it ended; audit.k8s.io/v1 Events, one JSON object a
// line. All calls are cheap and do nothing for a request that the policy leaves out.
#ifndef BH_SERVER_AUDIT_H
#define BH_SERVER_AUDIT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "server/audit_log.h"

struct audit;
struct audit_event;
struct request;
struct obj;

struct audit_options {
	const char *path;         // NULL: no audit log
	const char *policy;       // NULL: the standard one
	uint64_t max_bytes;
	unsigned keep;
};

int audit_open(const struct audit_options *o, struct audit **a, struct err *e);   // *a NULL when there is none
void audit_close(struct audit *a);                                                // NULL is fine
void audit_counts(struct audit *a, struct audit_counts *c);

/* A request's way: r->route is there; r->who is the one who knocked (NULL: that did not become clear). */
void audit_begin(struct request *r);
void audit_impersonated(struct request *r);                                 // r->who is somebody else now
void audit_decided(struct request *r, bool allowed, const char *reason);
void audit_body(struct request *r);                                         // r->body is complete
void audit_status(struct request *r, const json_t *status);                 // the answer is a Status
void audit_object(struct request *r, struct obj *o);                        // the answer is an object
void audit_text(struct request *r, const char *text, size_t len);           // the answer is this JSON
void audit_started(struct request *r);                                      // the answer goes on for long
void audit_end(struct request *r);                                          // it is over; forgets it

/* The answer goes on without its request. audit_finish says that it is over; NULL is fine. */
struct audit_event *audit_detach(struct request *r);
void audit_finish(struct audit_event *v);

#endif
