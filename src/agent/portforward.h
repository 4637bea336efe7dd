// SPDX-License-Identifier: Apache-2.0
// Port streams: raw bytes to a TCP port of the pod.
#ifndef BH_AGENT_PORTFORWARD_H
#define BH_AGENT_PORTFORWARD_H

#include "agent.pb-c.h"

struct agent;
struct stream;

void port_open(struct agent *a, struct stream *s, const Bulkhead__Agent__PortOpen *rq);   // the stream is its own now

#endif
