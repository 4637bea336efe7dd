// SPDX-License-Identifier: Apache-2.0
// hostd's side of the agent protocol; see agent_client.h. One reader thread per VM: it hands replies to the callers
// that wait and events to the owner. The guest is not trusted: every length is checked, and an answer that cannot be
// understood ends the connection.
#include "agent_client.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "base/usock.h"

#define PORT_CONTROL 1024
#define PORT_STREAMS 1025
#define MESSAGE_MAX (4u << 20)
#define HELLO_VERSION 1
#define SEND_TIMEOUT_S 10         // a guest that reads nothing
#define CANCEL_CHECK_MS 50
#define RETRY_MS 5
#define READER_STACK (256u << 10)

struct pending {
	uint64_t id;
	Bulkhead__Agent__Reply *reply;    // set by the reader
	struct pending *next;
};

struct agent_client {
	int fd;
	pthread_t reader;
	pthread_mutex_t send_lock;        // one frame at a time; taken before nothing else
	pthread_mutex_t lock;             // guards what follows
	pthread_cond_t changed;
	agent_event_fn *on_event;
	void *user;
	uint64_t next_id;
	struct pending *pending;
	bool ended;
};

static void put_le32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t get_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* All bytes or -errno; never SIGPIPE. */
static int send_all(int fd, const void *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		data = (const char *)data + n;
		len -= (size_t)n;
	}
	return 0;
}

/* Until when to wait for bytes; NULL: for ever. */
struct patience {
	uint64_t deadline_ns;
	const volatile int *cancel;       // may be NULL
};

static struct patience patience_ms(uint32_t ms, const volatile int *cancel)
{
	return (struct patience){.deadline_ns = clock_mono_ns() + ms * NS_PER_MS, .cancel = cancel};
}

static int wait_readable(int fd, const struct patience *p)
{
	for (;;) {
		uint64_t now = clock_mono_ns();
		if (p->cancel && *p->cancel)
			return -ECANCELED;
		if (now >= p->deadline_ns)
			return -ETIMEDOUT;
		uint64_t left_ms = (p->deadline_ns - now) / NS_PER_MS + 1;
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		int n = poll(&pfd, 1, left_ms < CANCEL_CHECK_MS || !p->cancel ? (int)(left_ms < INT_MAX ? left_ms : INT_MAX)
									     : CANCEL_CHECK_MS);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

/* Exactly len bytes. 0, -ENODATA at the end before the first, -EPIPE in the middle, -ETIMEDOUT, -ECANCELED, -errno. */
static int recv_all(int fd, void *data, size_t len, const struct patience *p)
{
	for (size_t done = 0; done < len;) {
		int rc = p ? wait_readable(fd, p) : 0;
		if (rc)
			return rc;
		ssize_t n = recv(fd, (char *)data + done, len - done, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return done ? -EPIPE : -ENODATA;
		done += (size_t)n;
	}
	return 0;
}

static int send_message(int fd, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	if (len > MESSAGE_MAX)
		return -EMSGSIZE;
	own_free uint8_t *frame = malloc(len + 4);
	if (!frame)
		return -ENOMEM;
	put_le32(frame, (uint32_t)len);
	protobuf_c_message_pack(m, frame + 4);
	return send_all(fd, frame, len + 4);
}

/* A frame's message as *data (heap, the caller's). -ENODATA: the peer closed between frames. */
static int recv_message(int fd, uint8_t **data, size_t *len, const struct patience *p)
{
	uint8_t head[4];
	int rc = recv_all(fd, head, sizeof(head), p);
	if (rc)
		return rc;
	uint32_t n = get_le32(head);
	if (n > MESSAGE_MAX)
		return -EPROTO;
	own_free uint8_t *body = malloc(n + 1);
	if (!body)
		return -ENOMEM;
	rc = n ? recv_all(fd, body, n, p) : 0;
	if (rc)
		return rc == -ENODATA ? -EPIPE : rc;
	*data = take(body);
	*len = n;
	return 0;
}

static int explain(int rc, unsigned port, struct err *e)
{
	if (rc == -ECANCELED)
		return err_set(e, ECANCELED, "given up");
	if (rc == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "the VM does not answer on vsock port %u", port);
	return err_set(e, ECONNREFUSED, "the VM refuses vsock port %u", port);
}

/* Connect to a port of the VM. -ECONNREFUSED: it does not listen (yet). */
static int connect_port(const char *vsock_path, unsigned port, const struct patience *p, struct err *e)
{
	char line[64];
	size_t n = 0;
	own_fd int fd = usock_connect(vsock_path, SOCK_STREAM, e);
	if (fd < 0)
		return fd;
	struct timeval t = {.tv_sec = SEND_TIMEOUT_S};
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	snprintf(line, sizeof(line), "CONNECT %u\n", port);
	int rc = send_all(fd, line, strlen(line));
	do   // byte by byte: what follows the line belongs to the stream
		rc = rc ? rc : recv_all(fd, line + n, 1, p);
	while (!rc && line[n++] != '\n' && n < sizeof(line));
	if (!rc && (strncmp(line, "OK ", 3) || line[n - 1] != '\n'))
		rc = -EPROTO;
	return rc ? explain(rc, port, e) : take_fd(fd);
}

/* Reader. */

static void tell(struct agent_client *c, const Bulkhead__Agent__Event *ev)
{
	pthread_mutex_lock(&c->lock);
	agent_event_fn *on_event = c->on_event;
	void *user = c->user;
	pthread_mutex_unlock(&c->lock);
	if (on_event)
		on_event(user, ev);
}

int agent_client_become(struct agent_client *c, agent_event_fn *on_event, void *user)
{
	pthread_mutex_lock(&c->lock);
	bool ended = c->ended;
	c->on_event = on_event;
	c->user = user;
	pthread_mutex_unlock(&c->lock);
	return ended ? -EPIPE : 0;
}

static void end(struct agent_client *c)
{
	pthread_mutex_lock(&c->lock);
	c->ended = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	tell(c, NULL);
}

static void deliver(struct agent_client *c, Bulkhead__Agent__Reply *r)
{
	pthread_mutex_lock(&c->lock);
	struct pending *p = c->pending;
	while (p && p->id != r->id)
		p = p->next;
	if (p && !p->reply) {
		p->reply = r;
		r = NULL;
		pthread_cond_broadcast(&c->changed);
	}
	pthread_mutex_unlock(&c->lock);
	if (r)   // the caller has given up
		bulkhead__agent__reply__free_unpacked(r, NULL);
}

static void *reader_main(void *arg)
{
	struct agent_client *c = arg;
	for (;;) {
		own_free uint8_t *data = NULL;
		size_t len = 0;
		if (recv_message(c->fd, &data, &len, NULL))
			break;
		Bulkhead__Agent__Reply *r = bulkhead__agent__reply__unpack(NULL, len, data);
		if (!r)
			break;
		if (r->id) {
			deliver(c, r);
			continue;
		}
		if (r->what_case == BULKHEAD__AGENT__REPLY__WHAT_EVENT)
			tell(c, r->event);
		bulkhead__agent__reply__free_unpacked(r, NULL);
	}
	shutdown(c->fd, SHUT_RDWR);   // also for a sender that is blocked
	end(c);
	return NULL;
}

/* Open and close. */

/* 0 with *hello (may be NULL), or -errno. */
static int take_hello(Bulkhead__Agent__Reply *r, Bulkhead__Agent__HelloReply **hello, struct err *e)
{
	if (r->error_code)
		return err_set(e, EPROTO, "the agent refuses: %s", r->error);
	if (r->what_case != BULKHEAD__AGENT__REPLY__WHAT_HELLO)
		return err_set(e, EPROTO, "the agent's answer to Hello is something else");
	if (r->hello->version != HELLO_VERSION)
		return err_set(e, EPROTO, "the agent speaks protocol version %u, not %u", r->hello->version, HELLO_VERSION);
	if (hello) {
		*hello = r->hello;
		r->hello = NULL;
		r->what_case = BULKHEAD__AGENT__REPLY__WHAT__NOT_SET;
	}
	return 0;
}

static int say_hello(int fd, const struct patience *p, Bulkhead__Agent__HelloReply **hello, struct err *e)
{
	Bulkhead__Agent__Hello h = BULKHEAD__AGENT__HELLO__INIT;
	Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT;
	h.version = HELLO_VERSION;
	rq.id = 1;
	rq.what_case = BULKHEAD__AGENT__REQUEST__WHAT_HELLO;
	rq.hello = &h;
	int rc = send_message(fd, &rq.base);
	for (bool mine = false; !rc && !mine;) {   // events may come first
		own_free uint8_t *data = NULL;
		size_t len = 0;
		rc = recv_message(fd, &data, &len, p);
		Bulkhead__Agent__Reply *r = rc ? NULL : bulkhead__agent__reply__unpack(NULL, len, data);
		if (!rc && !r)
			return err_set(e, EPROTO, "the agent's answer to Hello is not a message");
		mine = r && r->id == 1;
		int answer = mine ? take_hello(r, hello, e) : 0;
		if (r)
			bulkhead__agent__reply__free_unpacked(r, NULL);
		if (mine)
			return answer;
	}
	return explain(rc, PORT_CONTROL, e);
}

static int connect_until(const char *vsock_path, const struct patience *p, Bulkhead__Agent__HelloReply **hello,
			 struct err *e)
{
	struct err last = ERR_INIT;
	for (;;) {
		own_fd int fd = connect_port(vsock_path, PORT_CONTROL, p, &last);
		int rc = fd < 0 ? fd : say_hello(fd, p, hello, &last);
		if (!rc)
			return take_fd(fd);
		if (rc == -EPROTO || rc == -ENAMETOOLONG || rc == -ECANCELED || rc == -ETIMEDOUT)
			return err_set(e, -rc, "%s", last.text);
		if (clock_mono_ns() >= p->deadline_ns)
			return err_set(e, ETIMEDOUT, "the agent did not answer in time: %s", last.text);
		if (p->cancel && *p->cancel)
			return err_set(e, ECANCELED, "given up");
		poll(NULL, 0, RETRY_MS);
	}
}

static int start_reader(struct agent_client *c, struct err *e)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, READER_STACK);
	int rc = pthread_create(&c->reader, &attr, reader_main, c);
	pthread_attr_destroy(&attr);
	return rc ? err_sys(e, rc, "start the agent's reader thread") : 0;
}

int agent_client_open(const char *vsock_path, uint32_t deadline_ms, const volatile int *cancel, agent_event_fn *on_event,
		      void *user, struct agent_client **c, Bulkhead__Agent__HelloReply **hello, struct err *e)
{
	struct patience p = patience_ms(deadline_ms, cancel);
	Bulkhead__Agent__HelloReply *answer = NULL;
	struct agent_client *n = calloc(1, sizeof(*n));
	if (!n)
		return err_set(e, ENOMEM, "no memory");
	int rc = connect_until(vsock_path, &p, &answer, e);
	if (rc < 0) {
		free(n);
		return rc;
	}
	*n = (struct agent_client){.fd = rc, .on_event = on_event, .user = user, .next_id = 2};
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&n->changed, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&n->lock, NULL);
	pthread_mutex_init(&n->send_lock, NULL);
	rc = start_reader(n, e);
	if (!rc && hello)
		*hello = take(answer);
	if (answer)
		bulkhead__agent__hello_reply__free_unpacked(answer, NULL);
	if (rc) {
		close(n->fd);
		free(n);
		return rc;
	}
	*c = n;
	return 0;
}

void agent_client_close(struct agent_client *c)
{
	if (!c)
		return;
	shutdown(c->fd, SHUT_RDWR);
	pthread_join(c->reader, NULL);
	close(c->fd);
	pthread_mutex_destroy(&c->send_lock);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->changed);
	free(c);
}

/* Requests. */

static void enlist(struct agent_client *c, struct pending *p)
{
	pthread_mutex_lock(&c->lock);
	p->id = c->next_id++;
	p->next = c->pending;
	c->pending = p;
	pthread_mutex_unlock(&c->lock);
}

/* Wait for the reply (send_error 0) and leave the list. 0, -ETIMEDOUT, -EPIPE or send_error. */
static int await(struct agent_client *c, struct pending *p, uint32_t timeout_ms, int send_error)
{
	uint64_t until = clock_mono_ns() + timeout_ms * NS_PER_MS;
	struct timespec t = {.tv_sec = (time_t)(until / NS_PER_S), .tv_nsec = (long)(until % NS_PER_S)};
	int rc = send_error;
	pthread_mutex_lock(&c->lock);
	while (!rc && !p->reply && !c->ended)
		rc = -pthread_cond_timedwait(&c->changed, &c->lock, &t);
	struct pending **at = &c->pending;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	pthread_mutex_unlock(&c->lock);
	return p->reply ? 0 : rc ? rc : -EPIPE;
}

int agent_request(struct agent_client *c, Bulkhead__Agent__Request *rq, uint32_t timeout_ms,
		  Bulkhead__Agent__Reply **reply, struct err *e)
{
	struct pending p = {0};
	enlist(c, &p);
	rq->id = p.id;
	pthread_mutex_lock(&c->send_lock);
	int rc = send_message(c->fd, &rq->base);
	if (rc && rc != -EMSGSIZE && rc != -ENOMEM)
		shutdown(c->fd, SHUT_RDWR);   // part of a frame may be out: nothing can follow it
	pthread_mutex_unlock(&c->send_lock);
	rc = await(c, &p, timeout_ms, rc);
	if (rc == -EMSGSIZE)
		return err_set(e, EMSGSIZE, "the request is longer than %u bytes", MESSAGE_MAX);
	if (rc == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "the agent did not answer within %u ms", timeout_ms);
	if (rc)
		return err_set(e, rc == -ENOMEM ? ENOMEM : EPIPE, "the connection to the agent has ended");
	rc = p.reply->error_code;
	if (rc) {
		rc = rc > 0 && rc < 4096 ? rc : EIO;
		err_set(e, rc, "%s", p.reply->error);
	} else if (reply) {
		*reply = take(p.reply);
	}
	if (p.reply)
		bulkhead__agent__reply__free_unpacked(p.reply, NULL);
	return -rc;
}

/* Streams. */

int agent_stream_open(const char *vsock_path, const Bulkhead__Agent__StreamOpen *open, uint32_t timeout_ms, struct err *e)
{
	struct patience p = patience_ms(timeout_ms, NULL);
	own_free uint8_t *data = NULL;
	size_t len = 0;
	own_fd int fd = connect_port(vsock_path, PORT_STREAMS, &p, e);
	if (fd < 0)
		return fd;
	int rc = send_message(fd, &open->base);
	if (!rc)
		rc = recv_message(fd, &data, &len, &p);
	if (rc)
		return explain(rc, PORT_STREAMS, e);
	Bulkhead__Agent__StreamReady *ready = bulkhead__agent__stream_ready__unpack(NULL, len, data);
	if (!ready)
		return err_set(e, EPROTO, "the agent's answer to StreamOpen is not a message");
	if (ready->error_code)
		rc = err_set(e, ready->error_code > 0 && ready->error_code < 4096 ? ready->error_code : EIO, "%s", ready->error);
	bulkhead__agent__stream_ready__free_unpacked(ready, NULL);
	if (rc)
		return rc;
	struct timeval forever = {0};   // a client that reads slowly is no error
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &forever, sizeof(forever));
	return take_fd(fd);
}

int agent_frame_send(int fd, uint8_t channel, const void *data, uint32_t len)
{
	uint8_t head[5] = {channel};
	if (len > AGENT_FRAME_MAX)
		return -EMSGSIZE;
	put_le32(head + 1, len);
	struct iovec iov[2] = {{.iov_base = head, .iov_len = sizeof(head)}, {.iov_base = (void *)data, .iov_len = len}};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;
	do
		n = sendmsg(fd, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	size_t done = (size_t)n;
	int rc = done < sizeof(head) ? send_all(fd, head + done, sizeof(head) - done) : 0;
	size_t sent = done < sizeof(head) ? 0 : done - sizeof(head);
	return rc ? rc : send_all(fd, (const char *)data + sent, len - sent);
}

int agent_frame_recv(int fd, uint8_t *channel, void *data, uint32_t *len)
{
	uint8_t head[5];
	int rc = recv_all(fd, head, sizeof(head), NULL);
	if (rc)
		return rc;
	uint32_t n = get_le32(head + 1);
	if (n > AGENT_FRAME_MAX || n > *len)
		return -EMSGSIZE;
	rc = n ? recv_all(fd, data, n, NULL) : 0;
	if (rc)
		return rc == -ENODATA ? -EPIPE : rc;
	*channel = head[0];
	*len = n;
	return 0;
}
