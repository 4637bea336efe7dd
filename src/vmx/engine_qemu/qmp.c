// SPDX-License-Identifier: Apache-2.0
// QEMU's monitor protocol; see qmp.h.
#include "qmp.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/evloop.h"
#include "base/jpath.h"
#include "base/log.h"

#define LINE_MAX_BYTES (64u << 10)

struct qmp {
	struct qmp_attr a;
	struct evwatch *watch;     // NULL once the connection has ended
	bool ready;
	size_t len;
	char in[LINE_MAX_BYTES];
};

static void line(struct qmp *q, const char *text, size_t len)
{
	own_json json_t *o = json_loadb(text, len, 0, NULL);
	const char *event = jpath_str(o, "event", NULL);
	if (event)
		return q->a.event(q->a.user, event, json_object_get(o, "data"));
	if (json_object_get(o, "QMP")) {
		struct err e = ERR_INIT;
		if (qmp_command(q, "qmp_capabilities", &e))
			log_warn("qmp", "%s", e.text);
		return;
	}
	if (json_object_get(o, "error"))
		log_warn("qmp", "QEMU refused a command: %s", jpath_str(o, "error.desc", "no reason given"));
	if (json_object_get(o, "return") && !q->ready) {
		q->ready = true;
		q->a.ready(q->a.user);
	}
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

static int say(struct qmp *q, const char *name, const char *text, int len, struct err *e)
{
	if (send(q->a.fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) != len)
		return err_set(e, EIO, "QEMU does not take the command %s", name);
	return 0;
}

int qmp_command(struct qmp *q, const char *name, struct err *e)
{
	char text[128];
	return say(q, name, text, snprintf(text, sizeof(text), "{\"execute\":\"%s\"}\n", name), e);
}

int qmp_command_number(struct qmp *q, const char *name, const char *argument, uint64_t value, struct err *e)
{
	char text[192];
	int len = snprintf(text, sizeof(text), "{\"execute\":\"%s\",\"arguments\":{\"%s\":%llu}}\n", name, argument,
			   (unsigned long long)value);
	return say(q, name, text, len, e);
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
