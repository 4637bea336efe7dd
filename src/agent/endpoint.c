// SPDX-License-Identifier: Apache-2.0
// A descriptor on the event loop; see endpoint.h. Callbacks may close the endpoint they are called for: `depth` counts
// the callbacks in progress, and the outermost one frees.
#include "endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/evloop.h"

#define READ_SIZE (64u << 10)

struct endpoint {
	struct evloop *loop;
	struct evwatch *watch;       // NULL: removed because of a hang-up while held
	int fd;
	const struct endpoint_ops *ops;
	void *user;
	size_t input_max;
	struct buf in;               // read, not taken
	struct buf out;              // to write, from out_off on
	size_t out_off;
	unsigned depth;
	bool reading, held, eof, end_at_hangup;
	bool was_full, finishing, finished;
	bool lingering;              // no owner: close when out
	bool dead;                   // ended was called
	bool closed;
	int error;                   // of an early write, reported from the loop
};

static void on_event(struct evloop *l, struct evwatch *w, uint32_t events, void *user);

static size_t queued(const struct endpoint *ep) { return ep->out.len - ep->out_off; }

static void rearm(struct endpoint *ep)
{
	if (ep->closed || ep->dead)
		return;
	uint32_t events = 0;
	if (ep->reading && !ep->held && !ep->eof)
		events |= EPOLLIN;
	if (queued(ep) || ep->error || (ep->finishing && !ep->finished))
		events |= EPOLLOUT;
	if (ep->watch)
		evloop_modify(ep->watch, events);
	else if (events)
		ep->watch = evloop_add(ep->loop, ep->fd, events, on_event, ep);
}

static void leave(struct endpoint *ep)
{
	if (--ep->depth || !ep->closed)
		return;
	buf_fini(&ep->in);
	buf_fini(&ep->out);
	free(ep);
}

struct endpoint *ep_new(struct evloop *l, int fd, int directions, size_t input_max, const struct endpoint_ops *ops,
			void *user)
{
	struct endpoint *ep = calloc(1, sizeof(*ep));
	if (!ep) {
		close(fd);
		return NULL;
	}
	*ep = (struct endpoint){.loop = l, .fd = fd, .ops = ops, .user = user, .input_max = input_max,
				.reading = directions & EP_READ};
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	ep->watch = evloop_add(l, fd, ep->reading ? EPOLLIN : 0, on_event, ep);
	if (!ep->watch) {
		close(fd);
		free(ep);
		return NULL;
	}
	return ep;
}

void ep_close(struct endpoint *ep)
{
	if (!ep || ep->closed)
		return;
	ep->closed = true;
	if (ep->watch)
		evloop_remove(ep->watch);
	close(ep->fd);
	ep->depth++;
	leave(ep);
}

/* The owner is told once; nothing is watched until it closes. */
static void end(struct endpoint *ep, int error)
{
	if (ep->lingering) {
		ep_close(ep);
		return;
	}
	if (ep->watch)
		evloop_remove(ep->watch);
	ep->watch = NULL;
	ep->dead = true;
	ep->reading = false;
	ep->out.len = ep->out_off = 0;
	if (ep->ops->ended)
		ep->ops->ended(ep->user, error);
}

static void flush(struct endpoint *ep)
{
	while (queued(ep) && !ep->error) {
		ssize_t n = write(ep->fd, ep->out.data + ep->out_off, queued(ep));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			ep->error = errno;
		else
			ep->out_off += (size_t)n;
	}
	if (!queued(ep)) {
		ep->out.len = ep->out_off = 0;
		if (ep->out.cap > EP_QUEUE_HIGH)
			buf_fini(&ep->out);
		if (ep->finishing && !ep->finished) {
			ep->finished = true;
			shutdown(ep->fd, SHUT_WR);
		}
	} else if (ep->out_off > ep->out.len / 2) {
		buf_consume(&ep->out, ep->out_off);
		ep->out_off = 0;
	}
}

/* Offer bytes until the owner takes no more, holds or closes. Returns how many it took. */
static size_t offer(struct endpoint *ep, const uint8_t *data, size_t len)
{
	size_t taken = 0;
	while (taken < len && !ep->held && !ep->closed && ep->reading) {
		ssize_t n = ep->ops->input(ep->user, data + taken, len - taken);
		if (n < 0 && !ep->closed)
			end(ep, (int)-n);
		if (n <= 0)
			break;
		taken += (size_t)n;
	}
	if (len - taken >= ep->input_max && taken < len && !ep->held && !ep->closed && ep->reading)
		end(ep, EMSGSIZE);
	return taken;
}

static void offer_kept(struct endpoint *ep)
{
	size_t taken = offer(ep, (uint8_t *)ep->in.data, ep->in.len);
	if (ep->closed)
		return;
	buf_consume(&ep->in, taken);
	if (!ep->in.len)
		buf_fini(&ep->in);   // an idle endpoint holds no buffer
}

/* Reads happen on the loop only, never within an owner's callback: one buffer serves all. */
static void read_some(struct endpoint *ep)
{
	static uint8_t bytes[READ_SIZE];
	ssize_t n = read(ep->fd, bytes, sizeof(bytes));
	if (n > 0) {
		size_t taken = ep->in.len ? 0 : offer(ep, bytes, (size_t)n);
		if (ep->closed || !ep->reading || taken == (size_t)n)
			return;
		bool kept = ep->in.len != 0;
		if (buf_append(&ep->in, bytes + taken, (size_t)n - taken))
			end(ep, ENOMEM);
		else if (kept)
			offer_kept(ep);
	} else if (n < 0 && errno != EAGAIN && errno != EINTR && errno != EIO) {
		end(ep, errno);
	} else if (n == 0 || errno == EIO) {   // EIO: a terminal whose last user is gone
		ep->eof = true;
		if (ep->ops->eof)
			ep->ops->eof(ep->user);
		else
			end(ep, 0);
	}
}

static void on_event(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct endpoint *ep = user;
	(void)l, (void)w;
	ep->depth++;
	if (queued(ep) || ep->finishing)
		flush(ep);
	if (ep->error) {
		end(ep, ep->error);
	} else if (ep->reading && !ep->eof && !ep->held) {
		if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			read_some(ep);
	} else if (events & (EPOLLHUP | EPOLLERR)) {
		if (ep->reading && !ep->eof && !ep->end_at_hangup) {   // bytes are waiting, but the owner holds: no more events until it lets go
			evloop_remove(ep->watch);
			ep->watch = NULL;
		} else {
			end(ep, events & EPOLLERR ? EPIPE : 0);
		}
	}
	if (!ep->closed && ep->lingering && !queued(ep))
		ep_close(ep);
	if (!ep->closed && ep->was_full && queued(ep) < EP_QUEUE_LOW) {
		ep->was_full = false;
		if (ep->ops->drained)
			ep->ops->drained(ep->user);
	}
	if (ep->watch)
		rearm(ep);
	leave(ep);
}

/* Straight from the caller's memory, as long as nothing is queued before it. Returns bytes written. */
static size_t write_now(struct endpoint *ep, const void *head, size_t head_len, const void *data, size_t len)
{
	struct iovec iov[2] = {{.iov_base = (void *)head, .iov_len = head_len}, {.iov_base = (void *)data, .iov_len = len}};
	ssize_t n;
	do
		n = writev(ep->fd, iov, 2);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN)
		ep->error = errno;
	return n < 0 ? 0 : (size_t)n;
}

int ep_send(struct endpoint *ep, const void *head, size_t head_len, const void *data, size_t len)
{
	if (ep->dead || ep->closed || ep->finishing)
		return 0;
	size_t done = queued(ep) || ep->error || !ep->watch ? 0 : write_now(ep, head, head_len, data, len);
	if (done < head_len && buf_append(&ep->out, (const char *)head + done, head_len - done))
		return -ENOMEM;
	size_t data_done = done < head_len ? 0 : done - head_len;
	if (data_done < len && buf_append(&ep->out, (const char *)data + data_done, len - data_done))
		return -ENOMEM;
	if (ep_full(ep))
		ep->was_full = true;
	if (queued(ep) || ep->error)
		rearm(ep);
	return 0;
}

void ep_finish(struct endpoint *ep)
{
	if (ep->dead || ep->closed || ep->finishing)
		return;
	ep->finishing = true;
	flush(ep);
	rearm(ep);
}

void ep_close_sent(struct endpoint *ep)
{
	if (!ep || ep->closed)
		return;
	ep->reading = false;
	ep->lingering = true;
	flush(ep);
	if (!queued(ep) || ep->error || ep->dead || !ep->watch)
		ep_close(ep);
	else
		rearm(ep);
}

bool ep_full(const struct endpoint *ep) { return queued(ep) > EP_QUEUE_HIGH; }
int ep_fd(const struct endpoint *ep) { return ep->fd; }

void ep_end_at_hangup(struct endpoint *ep, bool yes) { ep->end_at_hangup = yes; }

void ep_hold(struct endpoint *ep, bool hold)
{
	if (ep->closed || ep->held == hold)
		return;
	ep->held = hold;
	ep->depth++;
	if (!hold)
		offer_kept(ep);
	rearm(ep);
	leave(ep);
}
