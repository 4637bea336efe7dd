// SPDX-License-Identifier: Apache-2.0
// Transmission phase of one connection: the socket and the loop. Many requests are taken with one recv and many replies given
// with one sendmsg, but not so many that client and server only ever wait for one another.
#include "disk/nbd/conn.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/spin.h"

#define SPIN_NS 30000
#define SPIN_BATCH 2                    // more requests at once: the client is not waiting for each

static void received(struct nbd_conn *c, ssize_t n)
{
	if (n > 0) return;
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
	c->leaving = true;   // the client has gone
	if (c->receiving) {
		struct nbd_req *r = c->receiving;

		c->receiving = NULL;
		nbd_req_put(r);
	}
}

static bool receive(struct nbd_conn *c)
{
	ssize_t n;

	if (c->leaving || c->inflight >= NBD_INFLIGHT_MAX || c->bytes >= NBD_BYTES_MAX) return false;
	if (c->receiving) {
		struct nbd_req *r = c->receiving;

		n = recv(c->s.fd, r->large + r->filled, r->length - r->filled, MSG_DONTWAIT);
		received(c, n);
		if (n <= 0) return false;
		c->drained = false;
		r->filled += (uint32_t)n;
		if (r->filled == r->length) {
			c->receiving = NULL;
			nbd_submit(r);
		}
		return true;
	}
	if (!nbd_take_space(c)) {
		nbd_protocol_error(c);
		return false;
	}
	n = recv(c->s.fd, c->cur->data + c->end, NBD_SPACE - c->end, MSG_DONTWAIT);
	received(c, n);
	if (n <= 0) return false;
	c->drained = (size_t)n < NBD_SPACE - c->end;
	c->end += (size_t)n;
	return true;
}

static bool may_receive(const struct nbd_conn *c) { return !c->leaving && c->inflight < NBD_INFLIGHT_MAX && c->bytes < NBD_BYTES_MAX; }

static void wait_for_work(struct nbd_conn *c, bool want_send)
{
	bool want_recv = may_receive(c);
	struct pollfd p[2] = {
		{ .fd = c->s.fd, .events = (short)((want_recv ? POLLIN : 0) | (want_send ? POLLOUT : 0)) },
		{ .fd = bh_disk_queue_fd(c->q), .events = POLLIN },
	};

	if (!want_recv && !want_send) p[0].fd = -1;
	poll(p, 2, -1);
	if (p[1].revents) bh_disk_queue_poll(c->q);
}

static bool next_is_there(void *arg)
{
	struct nbd_conn *c = arg;

	return receive(c) || c->leaving;   // it may be this very look that finds the client gone
}

/* A client that sends one request at a time sends the next as soon as it has the answer: see base/spin.h. */
static bool spin(struct nbd_conn *c)
{
	if (c->inflight || c->batch == 0 || c->batch > SPIN_BATCH || !may_receive(c)) return false;
	return spin_for(&c->spin, SPIN_NS, next_is_there, c);
}

static void run(struct nbd_conn *c)
{
	bool some = false;

	for (;;) {
		bool all_out;

		if (!some) some = receive(c);
		if (c->cur) nbd_parse(c);
		if (c->inflight || c->batch >= NBD_REPLY_BATCH) bh_disk_queue_poll(c->q);
		all_out = nbd_send_replies(c);
		if (c->leaving && c->receiving) {   // the rest of it does not come
			nbd_req_put(c->receiving);
			c->receiving = NULL;
		}
		if (c->leaving && c->inflight == 0) return;
		if (some && !c->drained) {
			some = false;
			continue;
		}
		some = spin(c);
		c->batch = 0;
		if (!some) wait_for_work(c, !all_out);
	}
}

static void conn_free(struct nbd_conn *c)
{
	struct nbd_req *r;
	struct nbd_space *k;

	while ((r = c->free)) {
		c->free = r->next;
		free(r->small);
		free(r);
	}
	while ((k = c->spare)) {
		c->spare = k->next;
		free(k);
	}
	free(c->cur);
	free(c);
}

int nbd_connection(const struct nbd_export *x, int fd, struct err *e)
{
	struct timeval limit = { .tv_sec = 10 };
	struct nbd_conn *c = calloc(1, sizeof(*c));
	int rc;

	if (!c) {
		close(fd);
		return err_set(e, ENOMEM, "no memory for a connection");
	}
	c->s = (struct nbd_session){ .x = x, .fd = fd };
	c->out_tail = &c->out;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));   // of the handshake; later nothing blocks
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	rc = nbd_handshake(&c->s);
	if (rc < 0 && rc != -ENODATA) err_sys(e, -rc, "handshake failed");
	if (rc == 0) rc = bh_disk_queue_open(x->disk, NBD_INFLIGHT_MAX, &c->q, e);
	else if (rc > 0 || rc == -ENODATA) rc = 1;
	if (rc == 0) {
		run(c);
		bh_disk_queue_close(c->q);
		if (c->error) rc = err_set(e, EPROTO, "the client broke the protocol");
	}
	close(fd);
	conn_free(c);
	return rc > 0 ? 0 : rc;
}
