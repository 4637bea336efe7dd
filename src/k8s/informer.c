// SPDX-License-Identifier: Apache-2.0
// Informers; see client.h. One thread each: list (in chunks), then watch from there, for ever. A curl multi handle
// makes every transfer interruptible by k8s_informer_stop.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "client_internal.h"

#define LIST_CHUNK 500
#define WATCH_SECONDS 300
#define EVENT_MAX_BYTES (16u << 20)
#define LIST_MAX_BYTES (64u << 20)     // one chunk
#define BACKOFF_MIN_MS 1000u
#define BACKOFF_MAX_MS 30000u

struct k8s_informer {
	struct k8s_client *client;
	char *path;
	const struct k8s_informer_ops *ops;
	void *user;
	CURLM *multi;
	pthread_t thread;
	atomic_bool stopping;
	char *version;            // resourceVersion reached
	int connected;            // last state told
	struct buf in;            // bytes of the running transfer not yet used
	bool streaming;           // the running transfer is a watch
	int watch_rc;             // why the watch must end: 0, or -errno
	struct err watch_err;
	bool progress;            // the watch delivered something
};

static void tell_state(struct k8s_informer *i, int connected, const char *why)
{
	if (i->connected == connected)
		return;
	i->connected = connected;
	if (i->ops->on_state)
		i->ops->on_state(i->user, connected, why);
}

static int set_version(struct k8s_informer *i, const char *version)
{
	char *copy = version && *version ? strdup(version) : NULL;
	if (!copy)
		return -ENOMEM;
	free(i->version);
	i->version = copy;
	return 0;
}

/* One line of a watch: {"type":..., "object":...}. */
static int on_line(struct k8s_informer *i, const char *line, size_t len)
{
	json_error_t where;
	own_json json_t *event = json_loadb(line, len, 0, &where);
	const char *type = jpath_str(event, "type", NULL);
	json_t *object = json_object_get(event, "object");
	if (!type || !json_is_object(object))
		return err_set(&i->watch_err, EREMOTEIO, "watch %s: the server sent something that is no event", i->path);
	if (!strcmp(type, "ERROR"))
		return k8s_client_status_error(jpath_int(object, "code", 500), object, &i->watch_err);
	i->progress = true;
	if (strcmp(type, "BOOKMARK"))
		i->ops->on_event(i->user, type, object);
	set_version(i, jpath_str(object, "metadata.resourceVersion", NULL));
	return 0;
}

static size_t on_data(char *data, size_t size, size_t n, void *user)
{
	struct k8s_informer *i = user;
	(void)size;
	if (atomic_load(&i->stopping) || i->in.len + n > (i->streaming ? EVENT_MAX_BYTES : LIST_MAX_BYTES) ||
	    buf_append(&i->in, data, n))
		return 0;
	if (!i->streaming)
		return n;
	size_t used = 0;
	for (char *end; (end = memchr(i->in.data + used, '\n', i->in.len - used)); used = (size_t)(end - i->in.data) + 1) {
		i->watch_rc = on_line(i, i->in.data + used, (size_t)(end - i->in.data) - used);
		if (i->watch_rc || atomic_load(&i->stopping))
			return 0;
	}
	buf_consume(&i->in, used);
	return n;
}

/* Data of an HTTP error answer to a watch is a Status, not events. An accepted watch means: connected. */
static size_t on_header(char *data, size_t size, size_t n, void *user)
{
	struct k8s_informer *i = user;
	if (size * n > 12 && !strncmp(data, "HTTP/", 5)) {
		const char *space = memchr(data, ' ', size * n);
		if (space && space[1] != '2')
			i->streaming = false;
		else if (i->streaming)
			tell_state(i, 1, "");
	}
	return size * n;
}

/* Run one request. 0 and the HTTP status, or -errno. */
static int transfer(struct k8s_informer *i, const char *url, bool watch, long *http, struct err *e)
{
	char detail[CURL_ERROR_SIZE] = "";
	struct curl_slist *headers = k8s_client_headers(i->client);
	CURL *curl = headers ? k8s_client_take(i->client) : NULL;
	if (!curl) {
		curl_slist_free_all(headers);
		return err_set(e, ENOMEM, "out of memory");
	}
	buf_fini(&i->in);
	i->streaming = watch;
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, i);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, i);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, watch ? (WATCH_SECONDS + 60) * 1000L : 60000L);
	curl_multi_add_handle(i->multi, curl);
	CURLcode code = CURLE_OK;
	bool done = false;
	while (!done && !atomic_load(&i->stopping)) {
		int running, left;
		CURLMsg *m;
		if (curl_multi_perform(i->multi, &running) != CURLM_OK)
			break;
		while ((m = curl_multi_info_read(i->multi, &left)))
			if (m->msg == CURLMSG_DONE) {
				code = m->data.result;
				done = true;
			}
		if (!done && curl_multi_poll(i->multi, NULL, 0, 60000, NULL) != CURLM_OK)
			break;
	}
	*http = 0;
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, http);
	curl_multi_remove_handle(i->multi, curl);
	curl_slist_free_all(headers);
	int rc = 0;
	if (!done)
		rc = err_set(e, ECANCELED, "stopped");
	else if (code != CURLE_OK && !(watch && i->watch_rc))
		rc = k8s_client_curl_error(code, k8s_client_server(i->client), detail, e);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
	if (done && code == CURLE_OK)
		k8s_client_give(i->client, curl);
	else
		curl_easy_cleanup(curl);
	return rc;
}

static char *make_url(const struct k8s_informer *i, const char *query)
{
	char *url = NULL;
	if (asprintf(&url, "%s%s%c%s", k8s_client_server(i->client), i->path, strchr(i->path, '?') ? '&' : '?', query) < 0)
		return NULL;
	return url;
}

static char *url_escape(const char *text)
{
	char *escaped = curl_easy_escape(NULL, text, 0), *copy = escaped ? strdup(escaped) : NULL;
	curl_free(escaped);
	return copy;
}

/* One chunk of the list: its items are appended; *next: continue token (owned) or NULL. */
static int list_chunk(struct k8s_informer *i, const char *token, json_t *items, char **next, struct err *e)
{
	own_free char *escaped = url_escape(token), *query = NULL, *url = NULL;
	long http = 0;
	if (!escaped || asprintf(&query, "limit=%d%s%s", LIST_CHUNK, *token ? "&continue=" : "", escaped) < 0)
		return err_set(e, ENOMEM, "out of memory");
	url = make_url(i, query);
	int rc = url ? transfer(i, url, false, &http, e) : err_set(e, ENOMEM, "out of memory");
	if (rc)
		return rc;
	json_error_t where;
	own_json json_t *list = json_loadb(i->in.data ? i->in.data : "", i->in.len, 0, &where);
	if (http != 200)
		return k8s_client_status_error(http, list, e);
	json_t *chunk = json_object_get(list, "items");
	if (!list || (chunk && !json_is_null(chunk) && !json_is_array(chunk)))
		return err_set(e, EREMOTEIO, "list %s: the server sent something that is no list", i->path);
	if (json_array_size(chunk) && json_array_extend(items, chunk))
		return err_set(e, ENOMEM, "out of memory");
	if (set_version(i, jpath_str(list, "metadata.resourceVersion", NULL)))
		return err_set(e, EREMOTEIO, "list %s: the answer has no resourceVersion", i->path);
	const char *more = jpath_str(list, "metadata.continue", "");
	*next = *more ? strdup(more) : NULL;
	return 0;
}

static int list_all(struct k8s_informer *i, struct err *e)
{
	own_json json_t *items = json_array();
	own_free char *token = strdup("");
	while (token) {
		char *next = NULL;
		int rc = list_chunk(i, token, items, &next, e);
		if (rc)
			return rc;
		free(token);
		token = next;
	}
	tell_state(i, 1, "");
	i->ops->on_sync(i->user, items);
	return 0;
}

/* 0: the watch ended by itself; go on from i->version. */
static int watch_once(struct k8s_informer *i, struct err *e)
{
	own_free char *version = url_escape(i->version), *query = NULL, *url = NULL;
	long http = 0;
	if (!version || asprintf(&query, "watch=true&allowWatchBookmarks=true&timeoutSeconds=%d&resourceVersion=%s",
				 WATCH_SECONDS + (int)(clock_mono_ns() % 60), version) < 0)
		return err_set(e, ENOMEM, "out of memory");
	i->watch_rc = 0;
	i->progress = false;
	url = make_url(i, query);
	int rc = url ? transfer(i, url, true, &http, e) : err_set(e, ENOMEM, "out of memory");
	if (i->watch_rc) {
		*e = i->watch_err;
		return i->watch_rc;
	}
	if (rc || http == 200)
		return rc;
	json_error_t where;
	own_json json_t *status = i->in.len ? json_loadb(i->in.data, i->in.len, 0, &where) : NULL;
	return k8s_client_status_error(http, status, e);
}

/* Wait, unless stopped: curl_multi_wakeup ends the poll. */
static void pause_ms(struct k8s_informer *i, unsigned ms)
{
	uint64_t end = clock_mono_ns() + ms * NS_PER_MS;
	for (uint64_t now; !atomic_load(&i->stopping) && (now = clock_mono_ns()) < end;)
		curl_multi_poll(i->multi, NULL, 0, (int)((end - now) / NS_PER_MS) + 1, NULL);
}

static void *run(void *arg)
{
	struct k8s_informer *i = arg;
	unsigned backoff_ms = BACKOFF_MIN_MS;
	bool listed = false;
	while (!atomic_load(&i->stopping)) {
		struct err e = ERR_INIT;
		uint64_t start = clock_mono_ns();
		int rc = listed ? watch_once(i, &e) : list_all(i, &e);
		if (atomic_load(&i->stopping))
			break;
		if (listed && i->progress)
			backoff_ms = BACKOFF_MIN_MS;
		if (rc == 0 && (!listed || i->progress || clock_mono_ns() - start > NS_PER_S)) {
			listed = true;
			continue;
		}
		/* Gone: list at once, but a server that says so all the time is not hammered. */
		if (rc == -EKEYEXPIRED && listed && i->progress) {
			listed = false;
			continue;
		}
		/* A broken connection: watch on from the version reached; if that is refused, list. */
		if (rc && !(listed && (rc == -ECONNREFUSED || rc == -ETIMEDOUT || rc == -EAGAIN)))
			listed = false;
		if (rc)
			tell_state(i, 0, e.text);
		pause_ms(i, backoff_ms + (unsigned)(start % (backoff_ms / 4)));
		backoff_ms = backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff_ms * 2;
		if (rc == 0)
			listed = true;
	}
	return NULL;
}

static void informer_free(struct k8s_informer *i)
{
	if (i->multi)
		curl_multi_cleanup(i->multi);
	buf_fini(&i->in);
	free(i->path);
	free(i->version);
	free(i);
}

int k8s_informer_start(struct k8s_client *c, const char *path, const struct k8s_informer_ops *ops, void *user,
		       struct k8s_informer **out, struct err *e)
{
	struct k8s_informer *i = calloc(1, sizeof(*i));
	if (!i)
		return err_set(e, ENOMEM, "out of memory");
	*i = (struct k8s_informer){.client = c, .path = strdup(path), .ops = ops, .user = user, .multi = curl_multi_init(),
				   .connected = -1, .in = BUF_INIT};
	if (!i->path || !i->multi) {
		informer_free(i);
		return err_set(e, ENOMEM, "out of memory");
	}
	int rc = pthread_create(&i->thread, NULL, run, i);
	if (rc) {
		informer_free(i);
		return err_sys(e, rc, "thread of informer %s", path);
	}
	*out = i;
	return 0;
}

void k8s_informer_stop(struct k8s_informer *i)
{
	if (!i)
		return;
	atomic_store(&i->stopping, true);
	curl_multi_wakeup(i->multi);
	pthread_join(i->thread, NULL);
	informer_free(i);
}
