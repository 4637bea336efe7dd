// SPDX-License-Identifier: Apache-2.0
// The operator's door; see admin.h. A thread per connection: there are few, and pulls take long.
#include "admin.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>
#include <microhttpd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "base/usock.h"
#include "image.h"
#include "node.h"
#include "pager_client.h"
#include "pods.h"
#include "pods_shutdown.h"
#include "template.h"
#include "waiting.h"

#define QUIET_S 1

struct admin {
	const struct host *host;
	volatile int stopping;
	struct MHD_Daemon *daemon;
};

static enum MHD_Result answer(struct MHD_Connection *c, unsigned code, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	struct MHD_Response *r = MHD_create_response_from_buffer(text ? strlen(text) : 0, text, MHD_RESPMEM_MUST_FREE);
	MHD_add_response_header(r, "Content-Type", "application/json");
	enum MHD_Result rc = MHD_queue_response(c, code, r);
	MHD_destroy_response(r);
	return rc;
}

static enum MHD_Result answer_error(struct MHD_Connection *c, unsigned code, const char *text)
{
	return answer(c, code, json_pack("{s:s}", "error", text));
}

/* A long job: a thread does it and leaves lines; the connection's reader hands them on. */
struct job {
	const struct host *host;
	const struct admin *admin;
	enum job_kind { JOB_PULL, JOB_LOAD, JOB_TEMPLATE } kind;
	char *what, *name;           // reference, or path and name; vcpus and memory
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct buf lines;
	bool done;
	volatile int cancel;
	char stage[16];
	uint64_t shown;
};

static void job_line(struct job *j, json_t *line)
{
	own_free char *text = json_dumps(line, JSON_COMPACT);
	json_decref(line);
	pthread_mutex_lock(&j->lock);
	if (text)
		buf_printf(&j->lines, "%s\n", text);
	pthread_cond_signal(&j->more);
	pthread_mutex_unlock(&j->lock);
}

static void job_progress(void *user, const char *stage, uint64_t done, uint64_t total)
{
	struct job *j = user;
	bool new_stage = strcmp(stage, j->stage) != 0;
	if (!new_stage && done < j->shown + (1 << 20) && done != total)
		return;
	snprintf(j->stage, sizeof(j->stage), "%s", stage);
	j->shown = done;
	job_line(j, json_pack("{s:s, s:I, s:I}", "stage", stage, "done", (json_int_t)done, "total", (json_int_t)total));
}

static void template_progress(void *user, const char *stage) { job_progress(user, stage, 0, 0); }

static int job_image(struct job *j, json_t **answer, struct err *e)
{
	struct image_pull_opts o = {.progress = job_progress, .user = j, .cancel = &j->cancel};
	struct image *img = NULL;
	json_t *refs = NULL;
	int rc = j->kind == JOB_LOAD ? image_load(j->host->images, j->what, j->name, &o, &refs, e) :
				       image_pull(j->host->images, j->what, &o, &img, e);
	if (!rc && j->kind == JOB_LOAD)
		*answer = json_pack("{s:b, s:o}", "ok", 1, "refs", refs);
	else if (!rc)
		*answer = json_pack("{s:b, s:s, s:s, s:I}", "ok", 1, "ref", img->ref, "id", img->id, "sizeBytes", (json_int_t)img->size_bytes);
	image_free(img);
	return rc;
}

static int job_template(struct job *j, json_t **answer, struct err *e)
{
	json_t *made = NULL;
	int rc = templates_build(j->host->templates, (unsigned)atoi(j->what), (unsigned)atoi(j->name), template_progress, j, &made, e);
	if (!rc)
		*answer = json_pack("{s:b, s:o}", "ok", 1, "template", made);
	return rc;
}

static void *job_run(void *arg)
{
	struct job *j = arg;
	struct err e = ERR_INIT;
	json_t *answer = NULL;
	int rc = j->kind == JOB_TEMPLATE ? job_template(j, &answer, &e) : job_image(j, &answer, &e);
	job_line(j, rc ? json_pack("{s:s, s:i}", "error", e.text, "code", -rc) : answer);
	pthread_mutex_lock(&j->lock);
	j->done = true;
	pthread_cond_signal(&j->more);
	pthread_mutex_unlock(&j->lock);
	return NULL;
}

static ssize_t job_read(void *user, uint64_t pos, char *out, size_t max)
{
	struct job *j = user;
	(void)pos;
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += QUIET_S;
	pthread_mutex_lock(&j->lock);
	while (!j->lines.len && !j->done && !j->admin->stopping)
		if (pthread_cond_timedwait(&j->more, &j->lock, &until) == ETIMEDOUT && !j->lines.len && !j->done)
			buf_puts(&j->lines, "\n");   // an empty line now and then shows whether anybody still listens
	if (j->admin->stopping && !j->done) {
		pthread_mutex_unlock(&j->lock);
		return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	size_t n = j->lines.len < max ? j->lines.len : max;
	memcpy(out, j->lines.data ? j->lines.data : "", n);
	buf_consume(&j->lines, n);
	pthread_mutex_unlock(&j->lock);
	return n ? (ssize_t)n : MHD_CONTENT_READER_END_OF_STREAM;
}

static void job_free(void *user)
{
	struct job *j = user;
	j->cancel = 1;
	pthread_join(j->thread, NULL);
	buf_fini(&j->lines);
	free(j->what);
	free(j->name);
	free(j);
}

static const struct { const char *what, *name; } job_args[] = {
	[JOB_PULL] = {"ref", "name"}, [JOB_LOAD] = {"path", "name"}, [JOB_TEMPLATE] = {"vcpus", "memoryMiB"},
};

static bool is_size(const char *text, int max) { return text && atoi(text) >= 1 && atoi(text) <= max; }

static enum MHD_Result start_job(struct admin *a, struct MHD_Connection *c, enum job_kind kind)
{
	const char *what = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, job_args[kind].what);
	const char *name = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, job_args[kind].name);
	char missing[64];
	snprintf(missing, sizeof(missing), "parameter \"%s\" is missing", job_args[kind].what);
	if (!what || !*what)
		return answer_error(c, MHD_HTTP_BAD_REQUEST, missing);
	if (kind == JOB_TEMPLATE && (!is_size(what, 32) || !is_size(name, 1 << 20)))
		return answer_error(c, MHD_HTTP_BAD_REQUEST, "a template has 1 to 32 vcpus and 1 to 1048576 MiB of memory");
	struct job *j = calloc(1, sizeof(*j));
	if (!j)
		return MHD_NO;
	*j = (struct job){.host = a->host, .admin = a, .kind = kind, .what = strdup(what), .name = name ? strdup(name) : NULL};
	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->more, NULL);
	if (!j->what || pthread_create(&j->thread, NULL, job_run, j)) {
		free(j->what);
		free(j->name);
		free(j);
		return MHD_NO;
	}
	struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, job_read, j, job_free);
	MHD_add_response_header(r, "Content-Type", "application/jsonl");
	enum MHD_Result rc = MHD_queue_response(c, MHD_HTTP_OK, r);
	MHD_destroy_response(r);
	return rc;
}

static enum MHD_Result remove_image(struct admin *a, struct MHD_Connection *c)
{
	struct err e = ERR_INIT;
	const char *ref = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "ref");
	if (!ref || !*ref)
		return answer_error(c, MHD_HTTP_BAD_REQUEST, "parameter \"ref\" is missing");
	int rc = image_remove(a->host->images, ref, &e);
	if (rc)
		return answer_error(c, rc == -ENOENT ? MHD_HTTP_NOT_FOUND : rc == -EBUSY ? MHD_HTTP_CONFLICT : MHD_HTTP_INTERNAL_SERVER_ERROR,
				    e.text);
	return answer(c, MHD_HTTP_OK, json_pack("{s:b}", "ok", 1));
}

static enum MHD_Result remove_template(struct admin *a, struct MHD_Connection *c)
{
	struct err e = ERR_INIT;
	const char *name = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "name");
	int rc = templates_remove(a->host->templates, name ? name : "", &e);
	return rc ? answer_error(c, MHD_HTTP_NOT_FOUND, e.text) : answer(c, MHD_HTTP_OK, json_pack("{s:b}", "ok", 1));
}

static json_t *health(const struct host *h)
{
	char why[256] = "";
	bool paged = pager_client_usable(h->pager, why, sizeof(why));
	return json_pack("{s:b, s:s, s:s, s:b, s:s}", "ok", 1, "node", h->node_name, "engine", h->engine, "paged", paged, "notPaged", why);
}

/* POST: the pods are to end in order, as for a host that goes down. GET, POST: whether they have. */
static enum MHD_Result shut_down(struct admin *a, struct MHD_Connection *c, bool begin)
{
	struct err e = ERR_INIT;
	if (begin && pods_shutdown_begin(a->host->pods, a->host->plan, &e))
		return answer_error(c, MHD_HTTP_INTERNAL_SERVER_ERROR, e.text);
	if (begin && a->host->node)
		node_poke(a->host->node);
	return answer(c, MHD_HTTP_OK, json_pack("{s:b, s:b}", "going", pods_shutting_down(a->host->pods), "done",
						pods_shutdown_done(a->host->pods)));
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *c, const char *url, const char *method, const char *version,
			      const char *body, size_t *body_len, void **state)
{
	static int seen;
	struct admin *a = cls;
	(void)version, (void)body;
	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*body_len) {   // no call takes a body
		*body_len = 0;
		return MHD_YES;
	}
	bool get = !strcmp(method, "GET"), post = !strcmp(method, "POST");
	if (get && !strcmp(url, "/v1/vms"))
		return answer(c, MHD_HTTP_OK, json_pack("{s:o, s:o}", "vms", pods_vms(a->host->pods), "waiting", waiting_list(a->host->waiting)));
	if (get && !strcmp(url, "/v1/images"))
		return answer(c, MHD_HTTP_OK, json_pack("{s:o}", "images", image_list(a->host->images)));
	if (get && !strcmp(url, "/v1/health"))
		return answer(c, MHD_HTTP_OK, health(a->host));
	if (!strcmp(url, "/v1/shutdown") && (get || post))
		return shut_down(a, c, post);
	if (post && !strcmp(url, "/v1/images/pull"))
		return start_job(a, c, JOB_PULL);
	if (post && !strcmp(url, "/v1/images/load"))
		return start_job(a, c, JOB_LOAD);
	if (get && !strcmp(url, "/v1/templates"))
		return answer(c, MHD_HTTP_OK, json_pack("{s:o}", "templates", templates_list(a->host->templates)));
	if (post && !strcmp(url, "/v1/templates/build"))
		return start_job(a, c, JOB_TEMPLATE);
	if (!strcmp(method, "DELETE") && !strcmp(url, "/v1/templates"))
		return remove_template(a, c);
	if (!strcmp(method, "DELETE") && !strcmp(url, "/v1/images"))
		return remove_image(a, c);
	return answer_error(c, MHD_HTTP_NOT_FOUND, "no such call");
}

int admin_start(const struct host *h, struct admin **out, struct err *e)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/run", h->root);
	int rc = dir_make(path, 0755, e);
	if (rc)
		return rc;
	struct admin *a = calloc(1, sizeof(*a));
	if (!a)
		return err_sys(e, ENOMEM, "start admin socket");
	a->host = h;
	snprintf(path, sizeof(path), "%s/run/hostd.sock", h->root);
	int fd = usock_listen(path, SOCK_STREAM, 0600, e);
	if (fd < 0) {
		free(a);
		return fd;
	}
	a->daemon = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL, NULL,
				     handle, a, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_THREAD_STACK_SIZE, (size_t)(256 * 1024),
				     MHD_OPTION_END);
	if (!a->daemon) {
		close(fd);
		free(a);
		return err_set(e, EIO, "cannot serve %s", path);
	}
	*out = a;
	return 0;
}

void admin_stop(struct admin *a)
{
	if (!a)
		return;
	a->stopping = 1;
	MHD_stop_daemon(a->daemon);
	free(a);
}
