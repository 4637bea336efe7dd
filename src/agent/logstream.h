// SPDX-License-Identifier: Apache-2.0
// Log streams: a container's output as numbered records, held until hostd acknowledges them.
#ifndef BH_AGENT_LOGSTREAM_H
#define BH_AGENT_LOGSTREAM_H

#include "agent.pb-c.h"

struct agent;
struct stream;

void logstream_open(struct agent *a, struct stream *s, const Bulkhead__Agent__LogOpen *rq);   // the stream is its own now

#endif
