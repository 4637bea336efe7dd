// SPDX-License-Identifier: Apache-2.0
#include "disk/nbd/server.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

struct nbd_server {
	const struct nbd_export *x;
	pthread_mutex_t lock;
	pthread_cond_t gone;
	unsigned connections;
	struct client *clients;
};

struct client { struct client *next; struct nbd_server *s; int fd; };

static void client_end(struct client *c)
{
	struct nbd_server *s = c->s;
	struct client **p;

	pthread_mutex_lock(&s->lock);
	for (p = &s->clients; *p != c; p = &(*p)->next) continue;
	*p = c->next;
	s->connections--;
	pthread_cond_signal(&s->gone);
	pthread_mutex_unlock(&s->lock);
	free(c);
}

static void *client_run(void *arg)
{
	struct client *c = arg;
	struct err e = ERR_INIT;
	int fd = dup(c->fd);   // ours stays open until the list has forgotten it

	if (fd >= 0 && nbd_connection(c->s->x, fd, &e) < 0) log_limited(LOG_LEVEL_WARN, "nbd", "connection: %s", e.text);
	pthread_mutex_lock(&c->s->lock);
	close(c->fd);
	c->fd = -1;
	pthread_mutex_unlock(&c->s->lock);
	client_end(c);
	return NULL;
}

static void client_start(struct nbd_server *s, int fd)
{
	struct client *c = calloc(1, sizeof(*c));
	pthread_attr_t a;
	pthread_t t;
	int rc;

	if (!c) {
		close(fd);
		return;
	}
	c->fd = fd;
	c->s = s;
	pthread_mutex_lock(&s->lock);
	c->next = s->clients;
	s->clients = c;
	s->connections++;
	pthread_mutex_unlock(&s->lock);
	pthread_attr_init(&a);
	pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&t, &a, client_run, c);
	pthread_attr_destroy(&a);
	if (rc) {
		close(fd);
		client_end(c);
	}
}

static void end_all(struct nbd_server *s)
{
	pthread_mutex_lock(&s->lock);
	for (struct client *c = s->clients; c; c = c->next)
		if (c->fd >= 0) shutdown(c->fd, SHUT_RD);   // replies in flight still go out
	while (s->connections) pthread_cond_wait(&s->gone, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

static bool full(struct nbd_server *s)
{
	bool f;

	pthread_mutex_lock(&s->lock);
	f = s->connections >= s->x->connections_max;
	pthread_mutex_unlock(&s->lock);
	return f;
}

int nbd_serve(const struct nbd_export *x, int listen_fd, int stop_fd, struct err *e)
{
	struct nbd_server s = { .x = x, .lock = PTHREAD_MUTEX_INITIALIZER, .gone = PTHREAD_COND_INITIALIZER };
	int rc = 0;

	while (rc == 0) {
		struct pollfd p[2] = { { .fd = stop_fd, .events = POLLIN }, { .fd = listen_fd, .events = POLLIN } };
		int fd;

		if (full(&s)) p[1].fd = -1;
		if (poll(p, 2, full(&s) ? 100 : -1) < 0 && errno != EINTR) rc = err_sys(e, errno, "cannot wait for connections");
		if (p[0].revents) break;
		if (!(p[1].revents & POLLIN)) continue;
		fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0) client_start(&s, fd);
		else if (errno == EMFILE || errno == ENFILE) usleep(10000);
	}
	end_all(&s);
	return rc;
}
