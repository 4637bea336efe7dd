// SPDX-License-Identifier: Apache-2.0
// Exec sessions: a command in a running container, through crun.
#ifndef BH_AGENT_EXEC_H
#define BH_AGENT_EXEC_H

#include "agent.pb-c.h"

struct agent;
struct exec;
struct stream;

void exec_open(struct agent *a, struct stream *s, const Bulkhead__Agent__ExecOpen *rq);   // the stream is exec's now

/* The container goes away: the session ends, the client is told. e: head of container.execs. */
void exec_abort(struct exec *e);

#endif
