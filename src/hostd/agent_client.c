// SPDX-License-Identifier: Apache-2.0
// The control connection to one agent; see agent_client.h. A reader thread takes replies to the requests that wait for
// them and events to the callback. Lock order: send_lock alone; lock alone; never both.
#include "agent_client.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent_link.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/own.h"

#define PROTOCOL_VERSION 1
#define READER_STACK (128 * 1024)
#define CONNECT_TIMEOUT_MS 2000
#define RETRY_NS (2 * NS_PER_MS)
#define RETRY_MAX_NS (20 * NS_PER_MS)

struct waiter {
	uint64_t id;
	Bulkhead__Agent__Reply *reply;
	struct waiter *next;
};

struct agent_client {
	int fd;
	pthread_t reader;
	pthread_mutex_t send_lock;   // one frame at a time
	pthread_mutex_t lock;        // what follows
	pthread_cond_t answered;
	struct waiter *waiters;
	uint64_t next_id;
	bool ended;
	agent_event_fn *on_event;
	void *user;
};

static void give_reply(struct agent_client *c, Bulkhead__Agent__Reply *reply)
{
	struct waiter *w;
	pthread_mutex_lock(&c->lock);
	for (w = c->waiters; w && w->id != reply->id; w = w->next)
		;
	if (w && !w->reply) {
		w->reply = reply;
		reply = NULL;
		pthread_cond_broadcast(&c->answered);
	}
	pthread_mutex_unlock(&c->lock);
	if (reply)   // nobody waits any more
		bulkhead__agent__reply__free_unpacked(reply, NULL);
}

static void *read_all(void *arg)
{
	struct agent_client *c = arg;
	struct buf in = BUF_INIT;
	while (agent_link_recv(c->fd, &in) == 0) {
		Bulkhead__Agent__Reply *reply = bulkhead__agent__reply__unpack(NULL, in.len, (const uint8_t *)in.data);
		if (!reply)
			break;   // not our protocol: the connection is of no use
		if (reply->id) {
			give_reply(c, reply);
			continue;
		}
		if (reply->what_case == BULKHEAD__AGENT__REPLY__WHAT_EVENT)
			c->on_event(c->user, reply->event);
		bulkhead__agent__reply__free_unpacked(reply, NULL);
	}
	buf_fini(&in);
	shutdown(c->fd, SHUT_RDWR);
	pthread_mutex_lock(&c->lock);
	c->ended = true;
	pthread_cond_broadcast(&c->answered);
	pthread_mutex_unlock(&c->lock);
	c->on_event(c->user, NULL);
	return NULL;
}

static int send_request(struct agent_client *c, const Bulkhead__Agent__Request *rq)
{
	size_t len = bulkhead__agent__request__get_packed_size(rq);
	own_free uint8_t *packed = malloc(len ? len : 1);
	if (!packed)
		return -ENOMEM;
	bulkhead__agent__request__pack(rq, packed);
	pthread_mutex_lock(&c->send_lock);
	int rc = agent_link_send(c->fd, packed, len);
	pthread_mutex_unlock(&c->send_lock);
	return rc == -EMSGSIZE ? rc : rc ? -EPIPE : 0;
}

/* Waits for w's reply; takes w out of the list. */
static int wait_reply(struct agent_client *c, struct waiter *w, uint32_t timeout_ms)
{
	uint64_t end = clock_mono_ns() + timeout_ms * NS_PER_MS;
	struct timespec until = {.tv_sec = (time_t)(end / NS_PER_S), .tv_nsec = (long)(end % NS_PER_S)};
	int rc = 0;
	pthread_mutex_lock(&c->lock);
	while (!w->reply && !c->ended && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&c->answered, &c->lock, &until);
	for (struct waiter **at = &c->waiters; *at; at = &(*at)->next)
		if (*at == w) {
			*at = w->next;
			break;
		}
	rc = w->reply ? 0 : c->ended ? -EPIPE : -ETIMEDOUT;
	pthread_mutex_unlock(&c->lock);
	return rc;
}

int agent_request(struct agent_client *c, Bulkhead__Agent__Request *rq, uint32_t timeout_ms, Bulkhead__Agent__Reply **reply,
		  struct err *e)
{
	struct waiter w = {.reply = NULL};
	pthread_mutex_lock(&c->lock);
	w.id = rq->id = ++c->next_id;
	w.next = c->waiters;
	c->waiters = &w;
	pthread_mutex_unlock(&c->lock);
	int rc = send_request(c, rq);
	int waited = wait_reply(c, &w, rc ? 0 : timeout_ms);
	if (rc || waited) {
		if (w.reply)
			bulkhead__agent__reply__free_unpacked(w.reply, NULL);
		rc = rc ? rc : waited;
		return err_sys(e, -rc, rc == -EPIPE ? "the VM has ended" : "the agent does not answer");
	}
	rc = w.reply->error_code > 0 ? err_set(e, w.reply->error_code, "%s", w.reply->error) : 0;
	if (!rc && reply)
		*reply = w.reply;
	else
		bulkhead__agent__reply__free_unpacked(w.reply, NULL);
	return rc;
}

static int hello(struct agent_client *c, uint32_t timeout_ms, Bulkhead__Agent__HelloReply **out, struct err *e)
{
	Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT;
	Bulkhead__Agent__Hello h = BULKHEAD__AGENT__HELLO__INIT;
	Bulkhead__Agent__Reply *reply = NULL;
	h.version = PROTOCOL_VERSION;
	rq.what_case = BULKHEAD__AGENT__REQUEST__WHAT_HELLO;
	rq.hello = &h;
	int rc = agent_request(c, &rq, timeout_ms, &reply, e);
	if (rc)
		return rc;
	if (reply->what_case != BULKHEAD__AGENT__REPLY__WHAT_HELLO || reply->hello->version != PROTOCOL_VERSION)
		rc = err_set(e, EPROTO, "the agent does not speak version %d of the protocol", PROTOCOL_VERSION);
	else if (out) {
		*out = reply->hello;
		reply->hello = NULL;   // the caller's now
		reply->what_case = BULKHEAD__AGENT__REPLY__WHAT__NOT_SET;
	}
	bulkhead__agent__reply__free_unpacked(reply, NULL);
	return rc;
}

/* A guest that boots has nobody listening yet: the connection is refused, or taken when the transport comes up. */
static int connect_until(const char *vsock_path, uint64_t end, const volatile int *cancel, struct err *e)
{
	uint64_t pause = RETRY_NS;
	for (;;) {
		int fd = agent_link_open(vsock_path, AGENT_PORT_CONTROL, CONNECT_TIMEOUT_MS, e);
		if (fd >= 0)
			return fd;
		if (cancel && *cancel)
			return err_set(e, ECANCELED, "given up");
		if (fd == -ENOENT || (fd == -ECONNREFUSED && access(vsock_path, F_OK)))
			return err_set(e, EPIPE, "the VM has ended");
		if (clock_mono_ns() >= end)
			return err_set(e, ETIMEDOUT, "the guest's agent did not answer in time");
		nanosleep(&(struct timespec){.tv_nsec = (long)pause}, NULL);
		pause = pause * 2 > RETRY_MAX_NS ? RETRY_MAX_NS : pause * 2;
	}
}

int agent_client_open(const char *vsock_path, uint32_t deadline_ms, const volatile int *cancel, agent_event_fn *on_event,
		      void *user, struct agent_client **out, Bulkhead__Agent__HelloReply **hello_reply, struct err *e)
{
	uint64_t end = clock_mono_ns() + deadline_ms * NS_PER_MS;
	own_fd int fd = connect_until(vsock_path, end, cancel, e);
	if (fd < 0)
		return fd;
	struct agent_client *c = calloc(1, sizeof(*c));
	if (!c)
		return err_sys(e, ENOMEM, "agent connection");
	*c = (struct agent_client){.fd = take_fd(fd), .on_event = on_event, .user = user};
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->send_lock, NULL);
	pthread_condattr_t ca;
	pthread_condattr_init(&ca);
	pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	pthread_cond_init(&c->answered, &ca);
	pthread_condattr_destroy(&ca);
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, READER_STACK);
	int rc = pthread_create(&c->reader, &attr, read_all, c);
	pthread_attr_destroy(&attr);
	if (rc) {
		close(c->fd);
		free(c);
		return err_sys(e, rc, "agent connection");
	}
	uint64_t now = clock_mono_ns();
	rc = hello(c, now < end ? (uint32_t)((end - now) / NS_PER_MS) + 1 : 1, hello_reply, e);
	if (rc) {
		agent_client_close(c);
		return rc;
	}
	*out = c;
	return 0;
}

void agent_client_close(struct agent_client *c)
{
	if (!c)
		return;
	shutdown(c->fd, SHUT_RDWR);
	pthread_join(c->reader, NULL);
	close(c->fd);
	pthread_cond_destroy(&c->answered);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->send_lock);
	free(c);
}

int agent_stream_open(const char *vsock_path, const Bulkhead__Agent__StreamOpen *open, uint32_t timeout_ms, struct err *e)
{
	own_buf struct buf in = BUF_INIT;
	own_fd int fd = agent_link_open(vsock_path, AGENT_PORT_STREAM, timeout_ms, e);
	if (fd < 0)
		return fd;
	size_t len = bulkhead__agent__stream_open__get_packed_size(open);
	own_free uint8_t *packed = malloc(len ? len : 1);
	if (!packed)
		return err_sys(e, ENOMEM, "open stream");
	bulkhead__agent__stream_open__pack(open, packed);
	struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000}, none = {0};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	int rc = agent_link_send(fd, packed, len);
	if (!rc)
		rc = agent_link_recv(fd, &in);
	if (rc)
		return err_sys(e, rc == -EAGAIN ? ETIMEDOUT : rc == -ENODATA ? EPIPE : -rc, "the agent does not answer");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none));
	Bulkhead__Agent__StreamReady *ready = bulkhead__agent__stream_ready__unpack(NULL, in.len, (const uint8_t *)in.data);
	if (!ready)
		return err_set(e, EPROTO, "the agent's answer is not a StreamReady");
	rc = ready->error_code > 0 ? err_set(e, ready->error_code, "%s", ready->error) : 0;
	bulkhead__agent__stream_ready__free_unpacked(ready, NULL);
	return rc ? rc : take_fd(fd);
}

int agent_frame_send(int fd, uint8_t channel, const void *data, uint32_t len)
{
	uint8_t head[5] = {channel, (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16), (uint8_t)(len >> 24)};
	return len > AGENT_FRAME_MAX ? -EMSGSIZE : agent_link_send_parts(fd, head, sizeof(head), data, len);
}

int agent_frame_recv(int fd, uint8_t *channel, void *data, uint32_t *len)
{
	uint8_t head[5];
	int rc = fd_read_all(fd, head, 5);
	if (rc)
		return rc;
	uint32_t n = head[1] | (uint32_t)head[2] << 8 | (uint32_t)head[3] << 16 | (uint32_t)head[4] << 24;
	if (n > *len || n > AGENT_FRAME_MAX)
		return -EPROTO;
	rc = n ? fd_read_all(fd, data, n) : 0;
	if (rc)
		return rc == -ENODATA ? -EPIPE : rc;
	*channel = head[0];
	*len = n;
	return 0;
}
