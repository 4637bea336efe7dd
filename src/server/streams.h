// SPDX-License-Identifier: Apache-2.0
// Connections to nodes (logs, exec, attach, port-forward): one thread drives all of them, HTTPS with the server's client
// certificate, buffers bounded in both directions. Once a node has answered, its bytes are either read as an answer's
// body or, after an upgrade, passed through to the client's connection as they are.
#ifndef BH_SERVER_STREAMS_H
#define BH_SERVER_STREAMS_H

#include <gnutls/gnutls.h>
#include <stdbool.h>

#include "base/err.h"
#include "server/http_head.h"

struct streams;
struct stream;

/* Certificates: ROOT/pki/kubelet-client.*, ca.crt. */
int streams_start(const char *root, struct streams **s, struct err *e);
void streams_stop(struct streams *s);     // fails all that is under way and takes nothing new; NULL is fine
void streams_free(struct streams *s);     // after streams_stop, when nobody holds a stream any more; NULL is fine

struct stream_target {
	const char *address;         // IP address
	int port;
	const char *node_name;       // the serving certificate must name this or the address
};

/* Connect and send head (a complete request head, copied). ready(user) is called once on the streams' thread when the
 * node's answer is there or it has failed; later again whenever stream_wait was called. client_fd: its hang-up fails the
 * stream; -1: none. timeout_ms: until the answer; 0: none after the handshake. Returns 0 or -ENOMEM. */
int stream_open(struct streams *s, const struct stream_target *t, const char *head, int client_fd, unsigned timeout_ms,
		void (*ready)(void *user), void *user, struct stream **out);
void stream_close(struct stream *st);     // any thread; no call to ready comes after it

/* After ready: the node's answer, or NULL and why. Valid until stream_close. */
const struct http_head *stream_head(const struct stream *st, const char **why);

/* Body: bytes read, 0 when there are none now, -ENODATA at its end, -EPIPE when the node broke off. */
ssize_t stream_read(struct stream *st, char *out, size_t max);
/* After 0: have ready called when there is something. suspend(user) is called before it can be. False: there is already. */
bool stream_wait(struct stream *st, void (*suspend)(void *user));

/* Hand both sides to each other until one ends. client: the TLS session of the client's connection, which nobody else
 * touches meanwhile (its request is suspended), fd its socket. first: bytes for the client before the node's. ready(user)
 * is called when it is over and both may be used again. Returns 0 or -ENOMEM (nothing was done). */
int stream_tunnel(struct stream *st, gnutls_session_t client, int fd, const char *first);

#endif
