// SPDX-License-Identifier: Apache-2.0
// Control connections: requests in, replies and events out.
#ifndef BH_AGENT_CONTROL_H
#define BH_AGENT_CONTROL_H

#include "agent.pb-c.h"
#include "base/err.h"

struct agent;
struct call;      // one request that has no reply yet; outlives its connection
struct control;

struct control *control_new(struct agent *a);   // NULL: no memory
void control_add(struct control *c, int fd);     // a new connection; fd is control's
void control_free(struct control *c);    // NULL allowed; calls still open are answered into nothing

/* Each ends the call and frees it. */
void call_ok(struct call *c);
void call_fail(struct call *c, const struct err *e);
void call_reply(struct call *c, Bulkhead__Agent__Reply *reply);   // id is filled in; reply stays the caller's

/* 0: call_ok, else call_fail. */
void call_end(struct call *c, int rc, const struct err *e);

void control_event(struct control *c, Bulkhead__Agent__Event *ev);       // to every connection
void control_warn(struct control *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));   // event and log

/* A request that a table entry answers, now or later through call. rq is valid during the call only. */
typedef void control_fn(struct agent *a, const Bulkhead__Agent__Request *rq, struct call *call);

#endif
