// SPDX-License-Identifier: Apache-2.0
// Where the host's connections come from: vsock in the guest, a Unix socket for tests.
#ifndef BH_AGENT_PORTS_H
#define BH_AGENT_PORTS_H

#include "base/err.h"

struct evloop;
struct ports;

#define PORT_CONTROL 1024
#define PORT_STREAMS 1025

/* fd: a connected socket, fn's from here on. */
typedef void ports_fn(void *user, unsigned port, int fd);

struct ports *ports_vsock(struct evloop *l, ports_fn *fn, void *user, struct err *e);   // NULL: error in e

/* One Unix socket at path, which speaks as a VM's does: CONNECT <port>\n, OK <port>\n. */
struct ports *ports_unix(struct evloop *l, const char *path, ports_fn *fn, void *user, struct err *e);

void ports_free(struct ports *p);   // NULL allowed

#endif
