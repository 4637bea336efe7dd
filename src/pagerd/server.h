// SPDX-License-Identifier: Apache-2.0
// The control socket: one thread, on an evloop; messages of proto/pager_msg.h.
#ifndef BH_PAGERD_SERVER_H
#define BH_PAGERD_SERVER_H

#include "base/evloop.h"
#include "guest.h"

struct pressure;
struct server;
/* listener: a listening SOCK_SEQPACKET socket; the server's from now on. cluster: for prefetching. */
int server_start(struct evloop *l, int listener, struct guests *g, uint32_t cluster, const struct pressure *p, struct server **s,
	struct err *e);
void server_stop(struct server *s);

#endif
