// SPDX-License-Identifier: Apache-2.0
// What streams.c (the thread, and calls from other threads) and stream_node.c (one connection) share.
#ifndef BH_SERVER_STREAMS_INTERNAL_H
#define BH_SERVER_STREAMS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/evloop.h"
#include "server/streams.h"

#define STREAM_BUFFER_MAX 65536         // bytes held per direction
#define STREAM_WHY_MAX 256

enum stream_state { STREAM_DIALING, STREAM_HANDSHAKE, STREAM_ASKING, STREAM_ANSWERED, STREAM_TUNNEL, STREAM_ENDED };

struct stream {
	struct streams *s;
	_Atomic int refs;            // the loop's and the user's
	struct stream *next, *prev;  // of all streams; loop thread
	struct stream *next_posted;
	bool posted;                 // under s->lock
	int fd;
	gnutls_session_t tls;
	enum stream_state state;
	struct evwatch *node_watch, *client_watch, *timer;
	int client_fd;               // own copy, for hang-ups; -1: none
	unsigned timeout_ms;
	struct buf to_node;
	struct sockaddr_storage addr;
	socklen_t addr_len;
	char *address, *node_name;
	int port;
	bool node_over;              // nothing more comes from the node
	bool client_over;            // nothing more comes from the client

	// Tunnel; loop thread.
	gnutls_session_t client;
	int tunnel_fd;
	struct evwatch *tunnel_watch;

	pthread_mutex_t lock;        // the rest
	struct buf from_node;
	long long body_left;         // of Content-Length; -1: until the end
	struct http_head head;
	bool has_head, failed, closed, waiting, announced, wants_tunnel;
	char why[STREAM_WHY_MAX];
	void (*ready)(void *user);
	void *user;
};

struct streams {
	struct evloop *loop;
	pthread_t thread;
	gnutls_certificate_credentials_t cred;
	int event_fd;
	struct stream *all;          // loop thread
	pthread_mutex_t lock;
	struct stream *posted;       // streams that somebody wants the loop to look at
	bool stopping;
};

void stream_unref(struct stream *st);

/* One connection; loop thread. */
void stream_dial(struct stream *st);
void stream_answered(struct stream *st);              // the user has said what he wants of the answer, or has read some of it
void stream_announce(struct stream *st, bool first);  // have ready called
void stream_fail(struct stream *st, const char *fmt, const char *detail);
void stream_end(struct stream *st);                   // release everything but the memory
int stream_verify_node(gnutls_session_t tls);

#endif
