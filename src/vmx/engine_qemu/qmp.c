// SPDX-License-Identifier: Apache-2.0
// QEMU's monitor protocol; see qmp.h.
#include "qmp.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/evloop.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "base/usock.h"

#define LINE_MAX_BYTES (64u << 10)
#define WAITING_MAX 64

struct qmp {
	struct qmp_attr a;
	struct evwatch *watch;     // NULL once the connection has ended
	struct { qmp_done_fn *done; void *user; } waiting[WAITING_MAX];   // commands that are not answered, a ring
	unsigned asked, answered;                                         // counted
	size_t len;
	char in[LINE_MAX_BYTES];
};

static void ready(void *user, const json_t *value, const char *why)
{
	struct qmp *q = user;
	(void)value;
	if (why)
		log_warn("qmp", "QEMU refused a command: %s", why);
	else
		q->a.ready(q->a.user);
}

static void answer(struct qmp *q, const json_t *value, const char *why)
{
	if (q->answered == q->asked)
		return;   // of what nobody asked
	unsigned n = q->answered++ % WAITING_MAX;
	if (q->waiting[n].done)
		q->waiting[n].done(q->waiting[n].user, value, why);
	else if (why)
		log_warn("qmp", "QEMU refused a command: %s", why);
}

static void line(struct qmp *q, const char *text, size_t len)
{
	own_json json_t *o = json_loadb(text, len, 0, NULL);
	const char *event = jpath_str(o, "event", NULL);
	struct err e = ERR_INIT;
	if (event)
		return q->a.event(q->a.user, event, json_object_get(o, "data"));
	if (json_object_get(o, "QMP")) {
		if (qmp_send(q, "qmp_capabilities", NULL, -1, ready, q, &e))
			log_warn("qmp", "%s", e.text);
		return;
	}
	if (json_object_get(o, "error"))
		answer(q, NULL, jpath_str(o, "error.desc", "no reason given"));
	else if (json_object_get(o, "return"))
		answer(q, json_object_get(o, "return"), NULL);
}

static void lines(struct qmp *q)
{
	char *start = q->in, *end;
	while ((end = memchr(start, '\n', q->len - (size_t)(start - q->in)))) {
		line(q, start, (size_t)(end - start));
		start = end + 1;
	}
	q->len -= (size_t)(start - q->in);
	memmove(q->in, start, q->len);
}

// One read. False: nothing there, or the end.
static bool receive(struct qmp *q)
{
	ssize_t n = recv(q->a.fd, q->in + q->len, sizeof(q->in) - q->len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n > 0) {
		q->len += (size_t)n;
		lines(q);
		if (q->len < sizeof(q->in))
			return true;
		log_warn("qmp", "QEMU sent a line of more than %u bytes", LINE_MAX_BYTES);
	}
	evloop_remove(q->watch);
	q->watch = NULL;
	return false;
}

static void on_input(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)w, (void)events;
	receive(user);
}

void qmp_drain(struct qmp *q)
{
	for (int i = 0; i < 64 && q->watch && receive(q); i++)
		;
}

int qmp_send(struct qmp *q, const char *name, json_t *args, int fd, qmp_done_fn *done, void *user, struct err *e)
{
	own_json json_t *o = args ? json_pack("{s:s, s:o}", "execute", name, "arguments", args) : json_pack("{s:s}", "execute", name);
	own_free char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	if (!text)
		return err_set(e, ENOMEM, "no memory");
	size_t len = strlen(text);
	text[len] = '\n';   // the command's end takes the place of the text's
	if (q->asked - q->answered == WAITING_MAX || usock_send(q->a.fd, text, len + 1, &fd, fd >= 0))
		return err_set(e, EIO, "QEMU does not take the command %s", name);
	unsigned n = q->asked++ % WAITING_MAX;
	q->waiting[n].done = done;
	q->waiting[n].user = user;
	return 0;
}

int qmp_command(struct qmp *q, const char *name, struct err *e) { return qmp_send(q, name, NULL, -1, NULL, NULL, e); }

int qmp_command_number(struct qmp *q, const char *name, const char *argument, uint64_t value, struct err *e)
{
	return qmp_send(q, name, json_pack("{s:I}", argument, (json_int_t)value), -1, NULL, NULL, e);
}

int qmp_wait(struct qmp *q, const bool *flag, int timeout_ms)
{
	uint64_t end = clock_mono_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	for (uint64_t now; !*flag && q->watch && (now = clock_mono_ns()) < end;) {
		struct pollfd p = {.fd = q->a.fd, .events = POLLIN};
		if (poll(&p, 1, (int)((end - now) / NS_PER_MS) + 1) > 0)
			receive(q);
	}
	return *flag ? 0 : q->watch ? -ETIMEDOUT : -EPIPE;
}

struct qmp *qmp_new(const struct qmp_attr *a)
{
	struct qmp *q = calloc(1, sizeof(*q));
	if (!q)
		return NULL;
	q->a = *a;
	q->watch = evloop_add(a->loop, a->fd, EPOLLIN, on_input, q);
	if (!q->watch) {
		free(q);
		return NULL;
	}
	return q;
}

void qmp_free(struct qmp *q)
{
	if (!q)
		return;
	if (q->watch)
		evloop_remove(q->watch);
	close(q->a.fd);
	free(q);
}
