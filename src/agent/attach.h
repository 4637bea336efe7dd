// SPDX-License-Identifier: Apache-2.0
// Attach sessions: a client on the standard streams of a container's own process.
#ifndef BH_AGENT_ATTACH_H
#define BH_AGENT_ATTACH_H

#include "agent.pb-c.h"

struct agent;
struct stream;

void attach_open(struct agent *a, struct stream *s, const Bulkhead__Agent__AttachOpen *rq);   // the stream is attach's now

#endif
