// SPDX-License-Identifier: Apache-2.0
#include "server/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "server/tls_out.h"

#define STUCK_NS (120 * NS_PER_S)      // nothing taken for so long: gone
#define LOOK_MS 10000                  // how often that is looked for, while somebody does not take something
#define CHUNK_HEAD 6                   // four hexadecimal digits and the end of their line
#define CHUNK_TAIL 2
#define CHUNK_MAX (TLS_OUT_TEXT_MAX - CHUNK_HEAD - CHUNK_TAIL)
#define LAST_CHUNK "0\r\n\r\n"
#define ROUND_EVENTS 64

struct pump_conn {
	struct pump_thread *thread;
	struct pump_conn *next_ready;      // under the thread's lock
	bool ready;                        // is in the thread's list of those to look at; under its lock
	bool gone;                         // to be freed when the list is through with it

	// The thread's own.
	int fd;
	struct tls_out *tls;
	const struct pump_source *source;
	void *user;
	char *held;                        // sealed, not taken by the socket yet: [held_pos, held_len); NULL: nothing
	size_t held_pos, held_len;
	bool watched;                      // its socket is
	bool over, due;                    // to be closed after what is held; to be looked at after what is held
	uint64_t held_since_ns;
	struct pump_conn *next_held, *prev_held;
};

struct pump_thread {
	struct pump *pump;
	pthread_t id;
	int epoll_fd, event_fd;
	struct pump_conn *held;            // those that do not take what there is
	uint64_t looked_ns;                // when those were last looked through
	char *wire;                        // PUMP_HELD_MAX bytes

	pthread_mutex_t lock;
	struct pump_conn *ready, **ready_last;
	bool sleeping, ending;
};

struct pump {
	_Atomic int *count;
	_Atomic unsigned live;
	unsigned limit;                    // of those
	_Atomic bool stopping;
	_Atomic unsigned next;
	unsigned thread_count;
	struct pump_thread threads[];
};

/* --- who is to be looked at --- */

static void kick(struct pump_thread *t)
{
	uint64_t one = 1;

	while (write(t->event_fd, &one, sizeof one) < 0 && errno == EINTR)
		;
}

void pump_wake(struct pump_conn *c)
{
	struct pump_thread *t = c->thread;
	bool asleep = false;

	pthread_mutex_lock(&t->lock);
	if (!c->ready) {
		c->ready = true;
		c->next_ready = NULL;
		*t->ready_last = c;
		t->ready_last = &c->next_ready;
		asleep = t->sleeping;
		t->sleeping = false;
	}
	pthread_mutex_unlock(&t->lock);
	if (asleep)
		kick(t);
}

/* The whole list; each of it may come in again from now on. */
static struct pump_conn *take_ready(struct pump_thread *t)
{
	struct pump_conn *list;

	pthread_mutex_lock(&t->lock);
	t->sleeping = false;
	list = t->ready;
	t->ready = NULL;
	t->ready_last = &t->ready;
	pthread_mutex_unlock(&t->lock);
	return list;
}

/* The next of the list, which from now on may be woken again. */
static struct pump_conn *next_of(struct pump_thread *t, struct pump_conn *c)
{
	struct pump_conn *next;

	pthread_mutex_lock(&t->lock);
	next = c->next_ready;
	c->ready = false;
	pthread_mutex_unlock(&t->lock);
	return next;
}

/* --- how many there may be --- */

static void release_place(struct pump *p)
{
	atomic_fetch_sub(&p->live, 1);
	atomic_fetch_sub(p->count, 1);
}

/* Counted first: whoever stops the pump and then looks at the count misses nobody. */
static int take_place(struct pump *p)
{
	atomic_fetch_add(p->count, 1);
	if (atomic_fetch_add(&p->live, 1) < p->limit && !p->stopping)
		return 0;
	release_place(p);
	return -EBUSY;
}

unsigned pump_live(struct pump *p)
{
	return p->live;
}

/* --- one connection; its thread --- */

static void conn_free(struct pump_conn *c)
{
	tls_out_free(c->tls);
	free(c->held);
	free(c);
}

static int watch_socket(struct pump_conn *c, int op, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = c };

	return epoll_ctl(c->thread->epoll_fd, op, c->fd, &ev);
}

static void release_held(struct pump_conn *c)
{
	struct pump_thread *t = c->thread;

	if (c->prev_held)
		c->prev_held->next_held = c->next_held;
	else
		t->held = c->next_held;
	if (c->next_held)
		c->next_held->prev_held = c->prev_held;
	c->next_held = c->prev_held = NULL;
	free(c->held);
	c->held = NULL;
}

static void conn_close(struct pump_conn *c)
{
	struct pump_thread *t = c->thread;
	bool listed;

	c->source->free(c->user);
	if (c->held)
		release_held(c);
	watch_socket(c, EPOLL_CTL_DEL, 0);
	shutdown(c->fd, SHUT_RDWR);   // whoever else has a descriptor of it
	close(c->fd);
	release_place(t->pump);
	pthread_mutex_lock(&t->lock);
	listed = c->ready;
	c->gone = true;
	pthread_mutex_unlock(&t->lock);
	if (!listed)
		conn_free(c);
}

/* Keep what the socket does not take. False: the connection is closed. */
static bool hold(struct pump_conn *c, const char *rest, size_t len)
{
	struct pump_thread *t = c->thread;

	c->held = malloc(len);
	if (!c->held || t->pump->stopping) {
		free(take(c->held));
		conn_close(c);
		return false;
	}
	memcpy(c->held, rest, len);
	c->held_pos = 0;
	c->held_len = len;
	c->held_since_ns = clock_mono_ns();
	c->next_held = t->held;
	if (t->held)
		t->held->prev_held = c;
	t->held = c;
	watch_socket(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLRDHUP | EPOLLOUT);
	return true;
}

/* Bytes that the socket has taken; -1: it is broken. */
static ssize_t put(const struct pump_conn *c, const char *bytes, size_t len)
{
	ssize_t n;

	do
		n = send(c->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : n;
}

static void put_size(char head[CHUNK_HEAD], unsigned n)
{
	for (int i = 0; i < 4; i++)
		head[i] = "0123456789abcdef"[n >> (12 - 4 * i) & 15];
	memcpy(head + 4, "\r\n", 2);
}

/* Seal one record of the answer at out. Returns its bytes; 0: there is nothing now. */
static size_t fill(struct pump_conn *c, char *out)
{
	char *text = out + TLS_OUT_HEAD;
	ssize_t n = c->source->read(c->user, text + CHUNK_HEAD, CHUNK_MAX);
	int sealed;

	if (!n)
		return 0;
	if (n > 0) {
		put_size(text, (unsigned)n);
		memcpy(text + CHUNK_HEAD + n, "\r\n", CHUNK_TAIL);
		n += CHUNK_HEAD + CHUNK_TAIL;
	} else {
		c->over = true;
		memcpy(text, LAST_CHUNK, n = strlen(LAST_CHUNK));
	}
	sealed = tls_out_seal(c->tls, out, (size_t)n);
	if (sealed < 0)
		c->over = true;
	else if (c->over)
		sealed += tls_out_seal_close(c->tls, out + sealed);
	return sealed < 0 ? 0 : (size_t)sealed;
}

/* Send what there is, up to a round's worth. */
static void serve(struct pump_conn *c)
{
	char *wire = c->thread->wire;
	size_t len = 0, more = 1;
	ssize_t n;

	c->due = c->held != NULL;
	if (c->due)
		return;
	if (!c->watched && watch_socket(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLRDHUP)) {
		conn_close(c);
		return;
	}
	c->watched = true;
	while (more && !c->over && PUMP_HELD_MAX - len >= TLS_OUT_HEAD + TLS_OUT_TEXT_MAX + TLS_OUT_TAIL + TLS_OUT_CLOSE)
		len += more = fill(c, wire + len);
	n = len ? put(c, wire, len) : 0;
	if (n < 0 || (c->over && (size_t)n == len)) {
		conn_close(c);
		return;
	}
	if ((size_t)n < len && !hold(c, wire + n, len - n))
		return;
	if (more && !c->over)
		pump_wake(c);   // behind the others
}

/* The socket takes something again. */
static void go_on(struct pump_conn *c)
{
	ssize_t n = put(c, c->held + c->held_pos, c->held_len - c->held_pos);

	if (n > 0) {
		c->held_pos += n;
		c->held_since_ns = clock_mono_ns();
	}
	if (n < 0 || (c->held_pos == c->held_len && c->over)) {
		conn_close(c);
	} else if (c->held_pos == c->held_len) {
		release_held(c);
		watch_socket(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLRDHUP);
		if (c->due)
			serve(c);
	}
}

static void heard(struct pump_conn *c, uint32_t events)
{
	if (events & ~EPOLLOUT)
		conn_close(c);
	else if (c->held)
		go_on(c);
}

/* Those that have taken nothing for too long, or at the end at all. */
static void drop_stuck(struct pump_thread *t)
{
	uint64_t now = clock_mono_ns();

	if (!t->pump->stopping && now - t->looked_ns < LOOK_MS * NS_PER_MS)
		return;
	t->looked_ns = now;
	for (struct pump_conn *c = t->held, *next; c; c = next) {
		next = c->next_held;
		if (t->pump->stopping || now - c->held_since_ns > STUCK_NS)
			conn_close(c);
	}
}

/* --- the thread --- */

/* How long to sleep; from here until take_ready whoever wakes somebody kicks. */
static int prepare_sleep(struct pump_thread *t, bool *ending)
{
	int ms;

	pthread_mutex_lock(&t->lock);
	t->sleeping = !t->ready;
	ms = t->ready ? 0 : t->held ? LOOK_MS : -1;
	*ending = t->ending;
	pthread_mutex_unlock(&t->lock);
	return ms;
}

static void look_at(struct pump_thread *t, struct pump_conn *list)
{
	for (struct pump_conn *c = list, *next; c; c = next) {
		next = next_of(t, c);
		if (c->gone)
			conn_free(c);
		else
			serve(c);
	}
}

static void *run(void *arg)
{
	struct pump_thread *t = arg;
	struct epoll_event ev[ROUND_EVENTS];
	uint64_t kicks;
	bool ending;

	for (;;) {
		int ms = prepare_sleep(t, &ending), n;
		if (ending)
			break;
		n = epoll_wait(t->epoll_fd, ev, ROUND_EVENTS, ms);
		for (int i = 0; i < n; i++)
			if (ev[i].data.ptr)
				heard(ev[i].data.ptr, ev[i].events);
			else if (read(t->event_fd, &kicks, sizeof kicks) < 0)
				kicks = 0;
		if (t->held)
			drop_stuck(t);
		look_at(t, take_ready(t));
	}
	look_at(t, take_ready(t));   // those that are gone already
	return NULL;
}

/* --- taking over --- */

int pump_take(struct pump *p, gnutls_session_t session, int fd, struct pump_conn **out)
{
	struct pump_conn *c;
	int zero = 0, one = 1, r = take_place(p);

	if (r)
		return r;
	c = calloc(1, sizeof *c);
	r = c ? tls_out_take(session, &c->tls) : -ENOMEM;
	if (!r && (c->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0)
		r = -errno;
	if (r) {
		if (c)
			conn_free(c);
		release_place(p);
		return r;
	}
	// libmicrohttpd corks a socket for a small answer and may leave it so: each of ours would wait for 200 ms.
	setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &zero, sizeof zero);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);   // sends what is held, too
	c->thread = &p->threads[atomic_fetch_add(&p->next, 1) % p->thread_count];
	*out = c;
	return 0;
}

void pump_begin(struct pump_conn *c, const struct pump_source *source, void *user)
{
	c->source = source;
	c->user = user;
	pump_wake(c);
}

/* --- starting and stopping --- */

static int thread_start(struct pump *p, struct pump_thread *t)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int r;

	t->pump = p;
	t->ready_last = &t->ready;
	t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	t->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	t->wire = malloc(PUMP_HELD_MAX);
	pthread_mutex_init(&t->lock, NULL);
	if (t->epoll_fd < 0 || t->event_fd < 0 || !t->wire || epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, t->event_fd, &ev))
		r = -(errno ? errno : ENOMEM);
	else
		r = -pthread_create(&t->id, NULL, run, t);
	if (!r) {
		pthread_setname_np(t->id, "pump");
		return 0;
	}
	if (t->epoll_fd >= 0)
		close(t->epoll_fd);
	if (t->event_fd >= 0)
		close(t->event_fd);
	free(t->wire);
	pthread_mutex_destroy(&t->lock);
	return r;
}

int pump_start(unsigned threads, unsigned limit, _Atomic int *count, struct pump **out, struct err *e)
{
	struct pump *p = calloc(1, sizeof *p + threads * sizeof *p->threads);
	int r = p ? 0 : -ENOMEM;

	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	p->count = count;
	p->limit = limit;
	for (; p->thread_count < threads && !r; p->thread_count += !r)
		r = thread_start(p, &p->threads[p->thread_count]);
	if (r) {
		pump_free(p);
		return err_sys(e, -r, "start the threads of watches");
	}
	*out = p;
	return 0;
}

void pump_stop(struct pump *p)
{
	if (!p)
		return;
	p->stopping = true;
	for (unsigned i = 0; i < p->thread_count; i++)
		kick(&p->threads[i]);
}

void pump_free(struct pump *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < p->thread_count; i++) {
		struct pump_thread *t = &p->threads[i];
		pthread_mutex_lock(&t->lock);
		t->ending = true;
		pthread_mutex_unlock(&t->lock);
		kick(t);
		pthread_join(t->id, NULL);
		close(t->epoll_fd);
		close(t->event_fd);
		free(t->wire);
		pthread_mutex_destroy(&t->lock);
	}
	free(p);
}
