// SPDX-License-Identifier: Apache-2.0
// HTTPS connections of the load generator: many per thread, one epoll, requests one after the other per connection.
// Nothing in it knows which server is measured.
#ifndef BH_BENCH_CONN_H
#define BH_BENCH_CONN_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct conn;

struct pool {
	const char *host;
	int port;
	gnutls_certificate_credentials_t cred;
	int epoll_fd;
	int open;                // connections
	char *wire;              // what has come and GnuTLS has not taken: [wire_pos, wire_len), of the connection that is read now
	size_t wire_pos, wire_len;
	bool wire_dry;           // its socket is not asked again now
};

struct conn {
	struct pool *pool;
	int fd;
	gnutls_session_t tls;
	struct buf out, in;      // request not sent yet; answer's bytes not consumed yet
	bool busy;
	bool closed;             // by the server
	uint64_t started_ns;     // of the request
	int code;                // of the answer; 0: its head has not come
	long long length;        // of its body; -1: chunked
	size_t body_off;
	/* A whole answer is there; or, with `streaming`, some decoded bytes of it. */
	void (*answered)(struct conn *c, int code, const char *body, size_t len);
	bool streaming;
	struct buf decoded;      // of chunks
	void *user;
};

/* ca, cert, key: PEM files. Exits with a sentence when something is wrong, as everything here. */
void pool_init(struct pool *p, const char *host, int port, const char *ca, const char *cert, const char *key);
struct conn *conn_open(struct pool *p, void (*answered)(struct conn *c, int code, const char *body, size_t len), void *user);
void conn_close(struct conn *c);
void conn_send(struct conn *c, const char *head, const char *body, size_t len);   // head: up to the empty line, with it
void conn_leave(struct conn *c);      // nothing of it is read any more
void conn_enter(struct conn *c);      // again
/* Handle what is there; wait at most ms. */
void pool_run(struct pool *p, int ms);
_Noreturn void give_up(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
