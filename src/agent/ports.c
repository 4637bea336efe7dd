// SPDX-License-Identifier: Apache-2.0
// Listening; see ports.h.
#include "ports.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/evloop.h"
#include "base/log.h"
#include "base/own.h"
#include "base/usock.h"

#define LISTEN_MAX 4096    // connections that wait: as many as a busy port-forward opens at once

struct listener { struct ports *ports; int fd; unsigned port; struct evwatch *watch; };

struct ports {
	struct evloop *loop;
	ports_fn *fn;
	void *user;
	struct listener listeners[2];
};

void ports_free(struct ports *p)
{
	for (int i = 0; p && i < 2; i++) {
		if (p->listeners[i].watch)
			evloop_remove(p->listeners[i].watch);
		if (p->listeners[i].fd >= 0)
			close(p->listeners[i].fd);
	}
	free(p);
}

static struct ports *ports_new(struct evloop *l, ports_fn *fn, void *user, struct err *e)
{
	struct ports *p = calloc(1, sizeof(*p));
	if (!p) {
		err_set(e, ENOMEM, "no memory");
		return NULL;
	}
	*p = (struct ports){.loop = l, .fn = fn, .user = user, .listeners = {{.fd = -1}, {.fd = -1}}};
	return p;
}

static int listen_on(struct ports *p, int i, int fd, unsigned port, evloop_fn *fn, struct err *e)
{
	p->listeners[i] = (struct listener){.ports = p, .fd = fd, .port = port};
	p->listeners[i].watch = evloop_add(p->loop, fd, EPOLLIN, fn, &p->listeners[i]);
	return p->listeners[i].watch ? 0 : err_set(e, ENOMEM, "no memory");
}

static int accept_one(const struct listener *l) { return accept4(l->fd, NULL, NULL, SOCK_CLOEXEC); }

static void on_vsock(struct evloop *loop, struct evwatch *w, uint32_t events, void *user)
{
	struct listener *l = user;
	struct sockaddr_vm a = {0};
	socklen_t len = sizeof(a);
	(void)loop, (void)w, (void)events;
	int fd = accept_one(l);
	if (fd < 0)
		return;
	/* A container may use vsock too; only the host may talk to the agent. */
	if (getpeername(fd, (struct sockaddr *)&a, &len) || a.svm_family != AF_VSOCK || a.svm_cid != VMADDR_CID_HOST) {
		log_limited(LOG_LEVEL_WARN, "agent", "refused a connection that does not come from the host");
		close(fd);
		return;
	}
	l->ports->fn(l->ports->user, l->port, fd);
}

static int vsock_listen(unsigned port, struct err *e)
{
	struct sockaddr_vm a = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
	own_fd int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, LISTEN_MAX))
		return err_sys(e, errno, "listen on vsock port %u", port);
	return take_fd(fd);
}

struct ports *ports_vsock(struct evloop *l, ports_fn *fn, void *user, struct err *e)
{
	static const unsigned numbers[2] = {PORT_CONTROL, PORT_STREAMS};
	struct ports *p = ports_new(l, fn, user, e);
	for (int i = 0; p && i < 2; i++) {
		int fd = vsock_listen(numbers[i], e);
		if (fd < 0 || listen_on(p, i, fd, numbers[i], on_vsock, e)) {
			ports_free(p);
			return NULL;
		}
	}
	return p;
}

/* For tests only: the line is expected at once. */
static int read_connect(int fd, unsigned *port)
{
	struct timeval t = {.tv_sec = 1};
	char line[32];
	size_t n = 0;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	do
		if (n == sizeof(line) - 1 || recv(fd, line + n, 1, 0) != 1)
			return -EPROTO;
	while (line[n++] != '\n');
	line[n] = '\0';
	if (sscanf(line, "CONNECT %u\n", port) != 1 || (*port != PORT_CONTROL && *port != PORT_STREAMS))
		return -ECONNREFUSED;
	n = (size_t)snprintf(line, sizeof(line), "OK %u\n", *port);
	return send(fd, line, n, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -EPIPE;
}

static void on_unix(struct evloop *loop, struct evwatch *w, uint32_t events, void *user)
{
	struct listener *l = user;
	unsigned port;
	(void)loop, (void)w, (void)events;
	own_fd int fd = accept_one(l);
	if (fd >= 0 && !read_connect(fd, &port))
		l->ports->fn(l->ports->user, port, take_fd(fd));
}

struct ports *ports_unix(struct evloop *l, const char *path, ports_fn *fn, void *user, struct err *e)
{
	struct ports *p = ports_new(l, fn, user, e);
	int fd = p ? usock_listen(path, SOCK_STREAM, 0600, e) : -1;
	if (fd >= 0)
		fcntl(fd, F_SETFL, O_NONBLOCK);
	if (fd < 0 || listen_on(p, 0, fd, 0, on_unix, e)) {
		ports_free(p);
		return NULL;
	}
	return p;
}
