// SPDX-License-Identifier: Apache-2.0
// The HTTPS listener: connections, request bodies, limits. What a request means is api.h's business.
#ifndef BH_SERVER_HTTP_H
#define BH_SERVER_HTTP_H

#include "base/err.h"
#include "server/server.h"

struct http;

/* listen: "ADDRESS:PORT" ("[::]:PORT" for all addresses of both families). Certificates: ROOT/pki/server.*, ca.crt. */
int http_start(struct server *srv, const char *listen, struct http **h, struct err *e);
void http_quiesce(struct http *h);   // no new connections
void http_stop(struct http *h);      // every request is ended first; watches must have been told to end

#endif
