// SPDX-License-Identifier: Apache-2.0
// The collector of container output; see log_collector.h. All of it happens on one thread under one lock, which is
// released only while waiting.
#include "log_collector.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "cri_log.h"
#include "streaming_open.h"

#define OPEN_TIMEOUT_MS 10000
#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS 5000
#define FULL_DISK_MS 1000
#define READ_SIZE (64u << 10)
#define BATCH (512u << 10)          // bytes taken from one container before the others get their turn
#define RECORD_MAX (1u << 20)       // a longer record is a broken agent
#define STACK_SIZE (128u << 10)

struct log_source {
	struct log_collector *c;
	struct log_source *next;
	char *vsock_path, *container_id;
	void (*ended)(void *user);
	void *user;
	struct cri_log *log;
	struct agent_opening *opening;
	int fd;                     // -1: not connected
	struct buf in;              // records not yet complete
	struct buf ack;             // not yet sent
	uint64_t acked;
	uint64_t retry_at;          // monotonic ns; 0: nothing is to be tried
	unsigned retry_ms;
	bool end_seen, told;        // of the output; the owner has been told
	bool stalled;               // the disk does not take it: not read until retry_at
};

struct log_collector {
	pthread_t thread;
	pthread_mutex_t lock;
	int epoll_fd, wake_fd;      // wake_fd: something changed, or an opening is over
	struct log_source *sources;
	bool stopping;
};

/* One source. */

static void watch(struct log_source *s, int op)
{
	struct epoll_event ev = {.events = (s->stalled ? 0 : EPOLLIN) | (s->ack.len ? EPOLLOUT : 0), .data.ptr = s};
	if (epoll_ctl(s->c->epoll_fd, op, s->fd, &ev))
		log_error("logs", "epoll: %s", strerror(errno));
}

static void disconnect(struct log_source *s)
{
	if (s->fd >= 0) {
		epoll_ctl(s->c->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
		close(s->fd);
	}
	s->fd = -1;
	s->stalled = false;
	buf_fini(&s->in);
	buf_fini(&s->ack);
}

/* Try again after a while, each time a longer one until records come. */
static void retry(struct log_source *s)
{
	disconnect(s);
	s->retry_at = clock_mono_ns() + s->retry_ms * NS_PER_MS;
	s->retry_ms = s->retry_ms * 2 < RETRY_MAX_MS ? s->retry_ms * 2 : RETRY_MAX_MS;
}

static void connect_source(struct log_source *s)
{
	Bulkhead__Agent__StreamOpen open = BULKHEAD__AGENT__STREAM_OPEN__INIT;
	Bulkhead__Agent__LogOpen log = BULKHEAD__AGENT__LOG_OPEN__INIT;
	log.container_id = s->container_id;
	log.from_seq = cri_log_seq(s->log);
	open.what_case = BULKHEAD__AGENT__STREAM_OPEN__WHAT_LOG;
	open.log = &log;
	s->retry_at = 0;
	s->opening = agent_opening_start(s->vsock_path, &open, OPEN_TIMEOUT_MS, s->c->wake_fd);
	if (!s->opening)
		retry(s);
}

static void opened(struct log_source *s)
{
	struct err e = ERR_INIT;
	int fd = agent_opening_collect(s->opening, &e);
	if (fd == -EINPROGRESS)
		return;
	s->opening = NULL;
	s->fd = fd;
	if (fd < 0) {
		log_debug("logs", "container=%s: %s", s->container_id, e.text);
		retry(s);
		return;
	}
	watch(s, EPOLL_CTL_ADD);
}

/* The last line is in the file. */
static void tell_end(struct log_source *s)
{
	if (s->told || !cri_log_ended(s->log))
		return;
	s->told = true;
	if (s->ended)
		s->ended(s->user);
}

static int flush_ack(struct log_source *s)
{
	while (s->ack.len) {
		ssize_t n = send(s->fd, s->ack.data, s->ack.len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		buf_consume(&s->ack, (size_t)n);
	}
	return 0;
}

/* Acknowledge what is committed; at most one acknowledgement waits to be sent. */
static int send_ack(struct log_source *s)
{
	Bulkhead__Agent__LogAck ack = BULKHEAD__AGENT__LOG_ACK__INIT;
	uint8_t raw[4 + 16];
	ack.seq = cri_log_seq(s->log);
	if (s->ack.len || ack.seq == s->acked)
		return flush_ack(s);
	uint32_t len = (uint32_t)bulkhead__agent__log_ack__pack(&ack, raw + 4);
	raw[0] = (uint8_t)len, raw[1] = raw[2] = raw[3] = 0;
	if (buf_append(&s->ack, raw, 4 + len))
		return -ENOMEM;
	s->acked = ack.seq;
	return flush_ack(s);
}

static int take_record(struct log_source *s, const uint8_t *data, size_t len)
{
	Bulkhead__Agent__LogRecord *r = bulkhead__agent__log_record__unpack(NULL, len, data);
	if (!r)
		return -EPROTO;
	int rc = 0;
	if (r->data.len)
		rc = cri_log_add(s->log, r->seq, r->real_ns, (enum cri_stream)r->channel, r->data.data, r->data.len);
	if (!rc && r->end) {
		rc = cri_log_end(s->log, r->seq, r->real_ns);
		s->end_seen = true;
	}
	bulkhead__agent__log_record__free_unpacked(r, NULL);
	return rc;
}

static int take_records(struct log_source *s)
{
	size_t at = 0;
	int rc = 0;
	while (!rc && s->in.len - at >= 4) {
		const uint8_t *p = (const uint8_t *)s->in.data + at;
		uint32_t len = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
		if (len > RECORD_MAX)
			return -EPROTO;
		if (s->in.len - at - 4 < len)
			break;
		rc = take_record(s, p + 4, len);
		at += 4 + len;
	}
	buf_consume(&s->in, at);
	return rc;
}

/* Read what is there, up to a batch. Returns 0, -EAGAIN nothing more now, -EPIPE the end, other -errno. */
static int read_records(struct log_source *s)
{
	for (size_t got = 0; got < BATCH;) {
		if (buf_reserve(&s->in, READ_SIZE))
			return -ENOMEM;
		ssize_t n = recv(s->fd, s->in.data + s->in.len, READ_SIZE, MSG_DONTWAIT);
		if (n < 0)
			return errno == EINTR ? 0 : -errno;
		if (n == 0)
			return -EPIPE;
		s->in.len += (size_t)n;
		got += (size_t)n;
		int rc = take_records(s);
		if (rc)
			return rc;
	}
	return 0;
}

/* Put into the file what was taken in, acknowledge it, and go on according to rc of the reading. */
static void settle(struct log_source *s, int rc)
{
	struct err e = ERR_INIT;
	if (cri_log_commit(s->log, &e)) {
		log_limited(LOG_LEVEL_ERROR, "logs", "container=%s: %s", s->container_id, e.text);
		s->stalled = true;
		s->retry_at = clock_mono_ns() + FULL_DISK_MS * NS_PER_MS;
		watch(s, EPOLL_CTL_MOD);
		return;
	}
	if (cri_log_seq(s->log) != s->acked)
		s->retry_ms = RETRY_FIRST_MS;
	if (!rc || rc == -EAGAIN || rc == -EPIPE) {
		int ack = send_ack(s);
		if (ack && !rc)
			rc = ack;
	}
	tell_end(s);
	if (s->told) {
		disconnect(s);
		return;
	}
	if (rc && rc != -EAGAIN) {
		if (rc != -EPIPE)
			log_limited(LOG_LEVEL_WARN, "logs", "container=%s: log stream: %s", s->container_id, strerror(-rc));
		retry(s);
		return;
	}
	watch(s, EPOLL_CTL_MOD);
}

static void source_ready(struct log_source *s, uint32_t events)
{
	int rc = flush_ack(s);
	if (!rc && !s->stalled && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		rc = read_records(s);
	settle(s, rc);
}

static void source_timer(struct log_source *s, uint64_t now)
{
	if (!s->retry_at || now < s->retry_at)
		return;
	s->retry_at = 0;
	if (s->stalled) {
		s->stalled = false;
		settle(s, 0);
	} else {
		connect_source(s);
	}
}

static void source_free(struct log_source *s)
{
	agent_opening_abandon(s->opening);
	disconnect(s);
	cri_log_close(s->log);
	free(s->vsock_path);
	free(s->container_id);
	free(s);
}

/* The thread. */

static int next_timeout(const struct log_collector *c)
{
	uint64_t first = UINT64_MAX, now = clock_mono_ns();
	for (const struct log_source *s = c->sources; s; s = s->next)
		if (s->retry_at && s->retry_at < first)
			first = s->retry_at;
	if (first == UINT64_MAX)
		return -1;
	return first <= now ? 0 : (int)((first - now) / NS_PER_MS) + 1;
}

static void look_at_all(struct log_collector *c)
{
	uint64_t now = clock_mono_ns();
	for (struct log_source *s = c->sources; s; s = s->next) {
		if (s->opening)
			opened(s);
		else
			source_timer(s, now);
		tell_end(s);
	}
}

static bool still_there(const struct log_collector *c, const struct log_source *wanted)
{
	for (const struct log_source *s = c->sources; s; s = s->next)
		if (s == wanted)
			return s->fd >= 0;
	return false;
}

static void *collector_thread(void *user)
{
	struct log_collector *c = user;
	struct epoll_event events[64];
	pthread_mutex_lock(&c->lock);
	while (!c->stopping) {
		int timeout = next_timeout(c);
		pthread_mutex_unlock(&c->lock);
		int n = epoll_wait(c->epoll_fd, events, 64, timeout);
		pthread_mutex_lock(&c->lock);
		for (int i = 0; i < n; i++) {
			struct log_source *s = events[i].data.ptr;
			eventfd_t count;
			if (!s)
				eventfd_read(c->wake_fd, &count);
			else if (still_there(c, s))   // it may have been removed while we waited for the lock
				source_ready(s, events[i].events);
		}
		look_at_all(c);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

static int start_thread(struct log_collector *c)
{
	pthread_attr_t attr;
	if (pthread_attr_init(&attr))
		return -ENOMEM;
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	int rc = pthread_create(&c->thread, &attr, collector_thread, c);
	pthread_attr_destroy(&attr);
	return -rc;
}

int log_collector_start(struct log_collector **out, struct err *e)
{
	struct log_collector *c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, ENOMEM, "no memory");
	struct epoll_event ev = {.events = EPOLLIN};   // data.ptr NULL: the wake_fd
	pthread_mutex_init(&c->lock, NULL);
	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = 0;
	if (c->epoll_fd < 0 || c->wake_fd < 0 || epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->wake_fd, &ev))
		rc = -errno;
	if (!rc)
		rc = start_thread(c);
	if (!rc) {
		*out = c;
		return 0;
	}
	if (c->epoll_fd >= 0)
		close(c->epoll_fd);
	if (c->wake_fd >= 0)
		close(c->wake_fd);
	pthread_mutex_destroy(&c->lock);
	free(c);
	return err_sys(e, -rc, "start the log collector");
}

void log_collector_stop(struct log_collector *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	pthread_mutex_unlock(&c->lock);
	eventfd_write(c->wake_fd, 1);
	pthread_join(c->thread, NULL);
	for (struct log_source *s; (s = c->sources);) {
		c->sources = s->next;
		source_free(s);
	}
	close(c->epoll_fd);
	close(c->wake_fd);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

int log_collector_add(struct log_collector *c, const struct log_source_spec *spec, struct log_source **out, struct err *e)
{
	struct log_source *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, ENOMEM, "no memory");
	s->c = c;
	s->fd = -1;
	s->ended = spec->ended;
	s->user = spec->user;
	s->retry_ms = RETRY_FIRST_MS;
	s->vsock_path = strdup(spec->vsock_path);
	s->container_id = strdup(spec->container_id);
	int rc = s->vsock_path && s->container_id ? 0 : err_set(e, ENOMEM, "no memory");
	if (!rc)
		rc = cri_log_open(spec->log_dir, spec->instance, &s->log, e);
	if (rc) {
		source_free(s);
		return rc;
	}
	pthread_mutex_lock(&c->lock);
	s->next = c->sources;
	c->sources = s;
	if (!cri_log_ended(s->log))
		connect_source(s);
	*out = s;
	pthread_mutex_unlock(&c->lock);
	eventfd_write(c->wake_fd, 1);   // a log that has ended long ago is told of there
	return 0;
}

void log_collector_remove(struct log_collector *c, struct log_source *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&c->lock);
	struct log_source **link = &c->sources;
	while (*link && *link != s)
		link = &(*link)->next;
	if (*link)
		*link = s->next;
	if (s->fd >= 0 && !s->stalled)
		read_records(s);
	struct err e = ERR_INIT;
	if (cri_log_commit(s->log, &e))
		log_error("logs", "container=%s: %s", s->container_id, e.text);
	pthread_mutex_unlock(&c->lock);
	source_free(s);
}
