// SPDX-License-Identifier: Apache-2.0
#include "disk/control.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/jpath.h"
#include "base/own.h"
#include "base/usock.h"
#include "disk/descriptor.h"

#define MESSAGE_MAX (256u << 10)

struct control { struct bh_disk *d; pthread_t thread; int listen_fd, stop_fd; char *path; };

static char *text_of(const json_t *request, const char *key)
{
	const json_t *j = json_object_get(request, key);

	return j ? json_dumps(j, JSON_COMPACT) : NULL;
}

static int do_add(struct bh_disk *d, const json_t *q, json_t **a, struct err *e)
{
	own_free char *settings = text_of(q, "settings");

	(void)a;
	return bh_disk_filter_add(d, jpath_str(q, "type", ""), jpath_str(q, "name", NULL), settings, (int)jpath_int(q, "at", -1),
				  jpath_bool(q, "force", false), e);
}

static int do_remove(struct bh_disk *d, const json_t *q, json_t **a, struct err *e)
{
	(void)a;
	return bh_disk_filter_remove(d, jpath_str(q, "name", ""), e);
}

static int do_set(struct bh_disk *d, const json_t *q, json_t **a, struct err *e)
{
	own_free char *settings = text_of(q, "settings");

	(void)a;
	return bh_disk_filter_set(d, jpath_str(q, "name", ""), settings, e);
}

static int do_resize(struct bh_disk *d, const json_t *q, json_t **a, struct err *e)
{
	(void)a;
	return bh_disk_resize(d, (uint64_t)jpath_int(q, "size", 0), e);
}

static int do_stats(struct bh_disk *d, const json_t *q, json_t **a, struct err *e)
{
	own_free char *t = bh_disk_stats(d);

	(void)q;
	if (t) *a = json_loads(t, 0, NULL);
	return *a ? 0 : err_set(e, ENOMEM, "no memory");
}

int control_do(struct bh_disk *d, const json_t *q, json_t **answer, struct err *e)
{
	static const struct { const char *name; int (*fn)(struct bh_disk *, const json_t *, json_t **, struct err *); } table[] = {
		{ "filter-add", do_add }, { "filter-remove", do_remove }, { "filter-set", do_set }, { "resize", do_resize }, { "stats", do_stats },
	};
	const char *what = jpath_str(q, "do", "");

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (!strcmp(table[i].name, what)) return table[i].fn(d, q, answer, e);
	return err_set(e, EINVAL, "the request '%s' is not known", what);
}

static void answer_one(struct control *c, int fd)
{
	own_free char *buf = malloc(MESSAGE_MAX), *text = NULL;
	own_json json_t *q = NULL, *a = NULL;
	struct err e = ERR_INIT;
	ssize_t n = buf ? recv(fd, buf, MESSAGE_MAX, 0) : -1;

	if (n <= 0) return;
	q = json_loadb(buf, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(q)) err_set(&e, EINVAL, "the request is not a JSON object");
	else control_do(c->d, q, &a, &e);
	if (e.code) {
		json_decref(a);
		a = json_pack("{s:s,s:i}", "error", e.text, "code", e.code);
	} else if (!a) {
		a = json_object();
	}
	text = a ? json_dumps(a, JSON_COMPACT) : NULL;
	if (text) send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void *control_run(void *arg)
{
	struct control *c = arg;

	for (;;) {
		struct pollfd p[2] = { { .fd = c->stop_fd, .events = POLLIN }, { .fd = c->listen_fd, .events = POLLIN } };
		struct timeval limit = { .tv_sec = 5 };
		int fd;

		if (poll(p, 2, -1) < 0) continue;
		if (p[0].revents) return NULL;
		fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0) continue;
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		answer_one(c, fd);
		close(fd);
	}
}

int control_start(struct bh_disk *d, const char *disk_path, struct control **out, struct err *e)
{
	struct control *c = calloc(1, sizeof(*c));
	int rc = 0;

	if (!c) return err_set(e, ENOMEM, "no memory");
	c->d = d;
	c->path = descriptor_side(disk_path, "ctl");
	c->stop_fd = eventfd(0, EFD_CLOEXEC);
	c->listen_fd = c->path ? usock_listen(c->path, SOCK_SEQPACKET, 0600, e) : err_set(e, ENOMEM, "no memory");
	if (c->listen_fd < 0) rc = c->listen_fd;
	else if (c->stop_fd < 0 || (rc = -pthread_create(&c->thread, NULL, control_run, c)) < 0) rc = err_set(e, EAGAIN, "cannot start a thread");
	if (rc == 0) {
		*out = c;
		return 0;
	}
	if (c->listen_fd >= 0) close(c->listen_fd);
	if (c->stop_fd >= 0) close(c->stop_fd);
	free(c->path);
	free(c);
	return rc;
}

void control_stop(struct control *c)
{
	uint64_t one = 1;

	if (!c) return;
	if (write(c->stop_fd, &one, sizeof(one)) < 0) abort();   // an eventfd takes this
	pthread_join(c->thread, NULL);
	unlink(c->path);
	close(c->listen_fd);
	close(c->stop_fd);
	free(c->path);
	free(c);
}

static int ask(const char *path, const json_t *q, json_t **answer, struct err *e)
{
	own_free char *text = json_dumps(q, JSON_COMPACT), *buf = malloc(MESSAGE_MAX);
	own_fd int fd = usock_connect(path, SOCK_SEQPACKET, e);
	own_json json_t *a = NULL;
	ssize_t n;

	if (fd < 0) return fd;
	if (!text || !buf) return err_set(e, ENOMEM, "no memory");
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0) return err_sys(e, errno, "cannot ask the server of the disk");
	n = recv(fd, buf, MESSAGE_MAX, 0);
	a = n > 0 ? json_loadb(buf, (size_t)n, 0, NULL) : NULL;
	if (!a) return err_set(e, EIO, "the server of the disk did not answer");
	if (jpath_str(a, "error", NULL)) return err_set(e, (int)jpath_int(a, "code", EIO), "%s", jpath_str(a, "error", ""));
	*answer = json_incref(a);
	return 0;
}

int control_request(const char *disk_path, const json_t *q, json_t **answer, struct err *e)
{
	own_free char *ctl = descriptor_side(disk_path, "ctl");
	struct bh_disk_attr ro = { .mode = BH_DISK_RDONLY };
	struct bh_disk *d;
	struct err busy;
	int rc = bh_disk_open(disk_path, NULL, &d, e);

	if (rc == -EROFS) {   // it has clones: what changes no data is still allowed
		e->code = 0;
		rc = bh_disk_open(disk_path, &ro, &d, e);
	}
	if (rc == -EBUSY && ctl && access(ctl, F_OK) == 0) {
		busy = *e;
		e->code = 0;
		rc = ask(ctl, q, answer, e);
		if (rc == -ECONNREFUSED || rc == -ENOENT) *e = busy;   // a socket left by a server that died
		return rc;
	}
	if (rc < 0) return rc;
	rc = control_do(d, q, answer, e);
	if (rc < 0) bh_disk_close(d, NULL);
	else rc = bh_disk_close(d, e);
	return rc;
}
