// SPDX-License-Identifier: Apache-2.0
// /containerLogs: a container's log from its files, and on as it grows until the container has ended. The connection
// has a thread of its own, so following simply waits.
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/own.h"
#include "cri_log.h"
#include "streaming_internal.h"

#define BLOCK 32768
#define LOOK_MS 1000           // how often to ask whether the container still runs, and to look without inotify
#define DRAIN_MS 2000          // after the container's end, for its last lines to arrive from the VM

struct log_stream {
	struct streaming *s;
	char *ns, *pod, *container, *dir;
	unsigned instance;
	struct cri_log_query query;
	struct cri_log_reader *reader;   // NULL: no file yet
	int connection_fd;
	int inotify;                     // -1: none to be had
	uint64_t next_look;              // monotonic ns
	uint64_t drain_until;            // 0: the container runs
};

static void log_stream_free(void *cls)
{
	struct log_stream *l = cls;
	cri_log_reader_close(l->reader);
	if (l->inotify >= 0)
		close(l->inotify);
	free(l->ns);
	free(l->pod);
	free(l->container);
	free(l->dir);
	free(l);
}

/* Does this instance of the container still run? */
static bool runs(const struct log_stream *l)
{
	struct streaming_target t = {0};
	struct err e = ERR_INIT;
	if (l->s->ops.find(l->s->ctx, l->ns, l->pod, "", l->container, &t, &e))
		return false;
	bool yes = t.running && t.restart_count == l->instance;
	streaming_target_fini(&t);
	return yes;
}

static void look(struct log_stream *l, uint64_t now)
{
	l->next_look = now + LOOK_MS * NS_PER_MS;
	if (!l->drain_until && !runs(l))
		l->drain_until = now + DRAIN_MS * NS_PER_MS;
}

/* Wait for the log to grow. False: the client has gone or hostd stops. */
static bool wait_for_more(struct log_stream *l, uint64_t now)
{
	uint64_t until = l->drain_until ? now + 20 * NS_PER_MS : l->next_look;
	struct pollfd fds[] = {
		{.fd = l->connection_fd, .events = POLLRDHUP},
		{.fd = l->s->stop_fd, .events = POLLIN},
		{.fd = l->inotify, .events = POLLIN},
	};
	int wait_ms = until > now ? (int)((until - now) / NS_PER_MS) + 1 : 0;
	if (l->inotify < 0 && wait_ms > 200)
		wait_ms = 200;
	poll(fds, 3, wait_ms);
	if (fds[2].revents & POLLIN) {
		char events[4096];
		while (read(l->inotify, events, sizeof(events)) > 0)
			;
	}
	return !(fds[0].revents & (POLLRDHUP | POLLHUP | POLLERR)) && !fds[1].revents;
}

static int open_reader(struct log_stream *l)
{
	struct err e = ERR_INIT;
	int rc = l->reader ? 0 : cri_log_reader_open(l->dir, l->instance, &l->query, &l->reader, &e);
	return rc == -ENOENT ? 0 : rc;
}

static ssize_t next_bytes(void *cls, uint64_t pos, char *to, size_t room)
{
	struct log_stream *l = cls;
	(void)pos;
	for (;;) {
		/* Asked before reading: what is written between the two is then read. */
		bool complete = cri_log_is_ended(l->dir, l->instance) == 1;
		if (open_reader(l))
			return MHD_CONTENT_READER_END_WITH_ERROR;
		long n = l->reader ? cri_log_reader_read(l->reader, to, room) : 0;
		if (n > 0)
			return n;
		if (n == -ENODATA)
			return MHD_CONTENT_READER_END_OF_STREAM;
		if (n < 0)
			return MHD_CONTENT_READER_END_WITH_ERROR;
		uint64_t now = clock_mono_ns();
		if (complete || (l->drain_until && now >= l->drain_until))
			return MHD_CONTENT_READER_END_OF_STREAM;
		if (!l->query.follow && !l->drain_until)
			return MHD_CONTENT_READER_END_OF_STREAM;
		if (now >= l->next_look)
			look(l, now);
		if (!wait_for_more(l, now))
			return MHD_CONTENT_READER_END_OF_STREAM;
	}
}

/* Which instance is asked for, or the kubelet's words for why there is none. t->waiting_reason with a container that has
 * run before: the last one that ran is meant. */
static int choose_instance(const struct request *rq, const struct streaming_target *t, unsigned *instance, struct buf *why)
{
	bool between = t->waiting_reason && t->log_dir && cri_log_is_ended(t->log_dir, t->restart_count) >= 0;
	if (rq->params.previous && !between && t->restart_count == 0)
		return buf_printf(why, "previous terminated container \"%s\" in pod \"%s\" not found", rq->container, rq->pod) ? -ENOMEM : -ENOENT;
	if (rq->params.previous && !between) {
		*instance = t->restart_count - 1;
		if (t->log_dir && cri_log_is_ended(t->log_dir, *instance) < 0)
			return buf_printf(why, "previous terminated container \"%s\" in pod \"%s\" not found", rq->container, rq->pod) ? -ENOMEM : -ENOENT;
		return 0;
	}
	*instance = t->restart_count;
	if (between || !t->waiting_reason)
		return 0;
	if (t->restart_count > 0 && t->log_dir && cri_log_is_ended(t->log_dir, t->restart_count - 1) >= 0) {
		*instance = t->restart_count - 1;
		return 0;
	}
	const char *reason = !strcmp(t->waiting_reason, "ErrImagePull") ? "image can't be pulled" :
		!strcmp(t->waiting_reason, "ImagePullBackOff") ? "trying and failing to pull image" : t->waiting_reason;
	return buf_printf(why, "container \"%s\" in pod \"%s\" is waiting to start: %s", rq->container, rq->pod, reason) ? -ENOMEM : -ENOENT;
}

static struct log_stream *log_stream_new(struct request *rq, const struct streaming_target *t, unsigned instance)
{
	struct log_stream *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->s = rq->s;
	l->query = rq->params.log;
	l->instance = instance;
	l->inotify = -1;
	l->ns = strdup(rq->ns);
	l->pod = strdup(rq->pod);
	l->container = strdup(rq->container);
	l->dir = strdup(t->log_dir);
	if (!l->ns || !l->pod || !l->container || !l->dir) {
		log_stream_free(l);
		return NULL;
	}
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(rq->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	l->connection_fd = info ? info->connect_fd : -1;
	uint64_t now = clock_mono_ns();
	l->next_look = now + LOOK_MS * NS_PER_MS;
	/* A container that has ended: its last lines may still be on their way, as long as there is a VM to bring them. */
	if (!t->running || t->restart_count != instance)
		l->drain_until = t->vsock_path && t->restart_count == instance ? now + DRAIN_MS * NS_PER_MS : 1;
	if (l->query.follow && !l->drain_until) {
		l->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		if (l->inotify >= 0 && inotify_add_watch(l->inotify, l->dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0) {
			close(l->inotify);
			l->inotify = -1;
		}
	}
	return l;
}

static enum MHD_Result stream_log(struct request *rq, const struct streaming_target *t, unsigned instance)
{
	struct log_stream *l = log_stream_new(rq, t, instance);
	if (!l)
		return MHD_NO;
	struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, next_bytes, l, log_stream_free);
	if (!r) {
		log_stream_free(l);
		return MHD_NO;
	}
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain");
	/* A reader may pause for hours (a pager), and a log may be silent as long; TCP tells when a client is gone. */
	MHD_set_connection_option(rq->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	enum MHD_Result rc = MHD_queue_response(rq->connection, MHD_HTTP_OK, r);
	MHD_destroy_response(r);
	return rc;
}

/* A kubelet gives these as JSON in a text. */
static enum MHD_Result reply_bad_query(struct request *rq, unsigned code, const char *what)
{
	own_buf struct buf text = BUF_INIT;
	if (buf_printf(&text, "{\"message\": \"%s\"}", what))
		return MHD_NO;
	return reply_text(rq, code, text.data);
}

enum MHD_Result streaming_logs(struct request *rq)
{
	struct err e = ERR_INIT;
	if (rq->query_error)
		return reply_bad_query(rq, MHD_HTTP_BAD_REQUEST, rq->query_error);
	if (streaming_params_check_log(&rq->params, &e))
		return reply_bad_query(rq, MHD_HTTP_UNPROCESSABLE_CONTENT, e.text);
	struct streaming_target t = {0};
	int rc = rq->s->ops.find(rq->s->ctx, rq->ns, rq->pod, rq->uid, rq->container, &t, &e);
	if (rc)
		return reply_text(rq, rc == -ENOENT ? MHD_HTTP_NOT_FOUND : rc == -EINVAL ? MHD_HTTP_BAD_REQUEST : MHD_HTTP_INTERNAL_SERVER_ERROR,
				  e.text);
	own_buf struct buf why = BUF_INIT;
	unsigned instance;
	enum MHD_Result done;
	rc = choose_instance(rq, &t, &instance, &why);
	if (rc)
		done = reply_text(rq, MHD_HTTP_BAD_REQUEST, why.len ? why.data : "no memory");
	else if (!t.log_dir)
		done = reply_text(rq, MHD_HTTP_BAD_REQUEST, "the container has no log");
	else
		done = stream_log(rq, &t, instance);
	streaming_target_fini(&t);
	return done;
}
