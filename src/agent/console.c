// SPDX-License-Identifier: Apache-2.0
// Terminals from crun; see console.h.
#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/evloop.h"
#include "base/log.h"
#include "base/own.h"
#include "base/usock.h"

struct console {
	struct evwatch *watch;
	int fd;                      // listening
	char path[PATH_MAX];
	void (*fn)(void *user, int fd);
	void *user;
};

void console_free(struct console *c)
{
	if (!c)
		return;
	if (c->watch)
		evloop_remove(c->watch);
	unlink(c->path);
	close(c->fd);
	free(c);
}

void console_poll(struct console *c)
{
	own_fd int peer = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);
	char name[256];
	int fds[USOCK_FDS_MAX];
	size_t count = USOCK_FDS_MAX;
	if (peer < 0)
		return;
	if (usock_recv(peer, name, sizeof(name), fds, &count) <= 0 || !count) {
		log_warn("console", "crun connected but sent no terminal");
		return;
	}
	for (size_t i = 1; i < count; i++)
		close(fds[i]);
	void (*fn)(void *user, int fd) = c->fn;
	void *user = c->user;
	console_free(c);
	fn(user, fds[0]);
}

static void on_connect(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)w, (void)events;
	console_poll(user);
}

struct console *console_new(struct evloop *l, const char *path, void (*fn)(void *user, int fd), void *user, struct err *e)
{
	struct console *c = calloc(1, sizeof(*c));
	if (!c) {
		err_set(e, ENOMEM, "no memory");
		return NULL;
	}
	*c = (struct console){.fn = fn, .user = user};
	snprintf(c->path, sizeof(c->path), "%s", path);
	c->fd = usock_listen(path, SOCK_STREAM, 0600, e);
	if (c->fd < 0) {
		free(c);
		return NULL;
	}
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	c->watch = evloop_add(l, c->fd, EPOLLIN, on_connect, c);
	if (!c->watch) {
		err_set(e, ENOMEM, "no memory");
		console_free(c);
		return NULL;
	}
	return c;
}

const char *console_path(const struct console *c) { return c->path; }

void console_resize(int fd, unsigned cols, unsigned rows)
{
	struct winsize ws = {.ws_col = (unsigned short)cols, .ws_row = (unsigned short)rows};
	if (cols && rows && cols <= USHRT_MAX && rows <= USHRT_MAX)
		ioctl(fd, TIOCSWINSZ, &ws);
}
