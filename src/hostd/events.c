// SPDX-License-Identifier: Apache-2.0
// Event recorder; see events.h. One thread posts; a small table of recent events turns repeats into count updates.
#include "events.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "base/utf8.h"
#include "k8s/client.h"

#define RECENT 256

struct waiting { json_t *event; struct waiting *next; };
struct recent { char *key; char *name; int count; char first[CLOCK_TEXT_MAX]; };

struct events {
	struct k8s_client *api;
	char *node_name;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct waiting *head, **tail;
	size_t queued;
	bool stop;
	struct recent recent[RECENT];   // the thread's own
	size_t recent_next;
};

void events_emit(struct events *ev, const json_t *obj, const char *field_path, const char *type, const char *reason,
		 const char *fmt, ...)
{
	char message[1024], now[CLOCK_TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (!ev)
		return;
	utf8_clean(message);
	const char *ns = jpath_str(obj, "metadata.namespace", NULL);
	clock_text(clock_real_ns(), 0, now);
	json_t *ref = json_pack("{s:s, s:s*, s:s, s:s*, s:s, s:s*, s:s*}", "kind", jpath_str(obj, "kind", "Pod"), "namespace", ns,
				"name", jpath_str(obj, "metadata.name", ""), "uid", jpath_str(obj, "metadata.uid", NULL),
				"apiVersion", jpath_str(obj, "apiVersion", "v1"), "resourceVersion", jpath_str(obj, "metadata.resourceVersion", NULL),
				"fieldPath", field_path);
	json_t *event = json_pack("{s:s, s:s, s:{s:s}, s:o, s:s, s:s, s:s, s:{s:s, s:s}, s:s, s:s, s:i, s:s, s:s}", "apiVersion",
				  "v1", "kind", "Event", "metadata", "namespace", ns ? ns : "default", "involvedObject", ref,
				  "type", type, "reason", reason, "message", message, "source", "component", "kubelet", "host",
				  ev->node_name, "firstTimestamp", now, "lastTimestamp", now, "count", 1,
				  "reportingComponent", "kubelet", "reportingInstance", ev->node_name);
	struct waiting *w = calloc(1, sizeof(*w));
	if (!event || !w) {
		json_decref(event);
		free(w);
		return;
	}
	w->event = event;
	pthread_mutex_lock(&ev->lock);
	if (ev->queued == EVENTS_QUEUE_MAX) {
		struct waiting *old = ev->head;
		ev->head = old->next;
		json_decref(old->event);
		free(old);
		ev->queued--;
		if (!ev->head)
			ev->tail = &ev->head;
	}
	*ev->tail = w;
	ev->tail = &w->next;
	ev->queued++;
	pthread_cond_signal(&ev->wake);
	pthread_mutex_unlock(&ev->lock);
}

static struct recent *find_recent(struct events *ev, const char *key)
{
	for (size_t i = 0; i < RECENT; i++)
		if (ev->recent[i].key && !strcmp(ev->recent[i].key, key))
			return &ev->recent[i];
	return NULL;
}

static int post(struct events *ev, json_t *event)
{
	const char *ns = jpath_str(event, "metadata.namespace", "default");
	char path[512];
	own_free char *key = NULL;
	struct err e = ERR_INIT;
	if (asprintf(&key, "%s/%s/%s/%s/%s/%s", ns, jpath_str(event, "involvedObject.uid", ""), jpath_str(event, "involvedObject.name", ""),
		     jpath_str(event, "involvedObject.fieldPath", ""), jpath_str(event, "reason", ""), jpath_str(event, "message", "")) < 0)
		return -ENOMEM;
	struct recent *r = find_recent(ev, key);
	if (r) {
		own_json json_t *patch = json_pack("{s:i, s:O}", "count", r->count + 1, "lastTimestamp",
						   json_object_get(event, "lastTimestamp"));
		snprintf(path, sizeof(path), "/api/v1/namespaces/%s/events/%s", ns, r->name);
		int rc = k8s_client_call(ev->api, "PATCH", path, "application/strategic-merge-patch+json", patch, 10000, NULL, &e);
		if (rc != -ENOENT) {
			if (!rc)
				r->count++;
			return rc;
		}
	}
	char name[300];
	snprintf(name, sizeof(name), "%.230s.%016llx", jpath_str(event, "involvedObject.name", "x"),
		 (unsigned long long)clock_real_ns());
	jpath_set(event, "metadata.name", json_string(name));
	snprintf(path, sizeof(path), "/api/v1/namespaces/%s/events", ns);
	int rc = k8s_client_call(ev->api, "POST", path, NULL, event, 10000, NULL, &e);
	if (rc) {
		log_limited(LOG_LEVEL_WARN, "events", "event not written: %s", e.text);
		return rc;
	}
	if (!r)
		r = &ev->recent[ev->recent_next++ % RECENT];
	free(r->key);
	free(r->name);
	*r = (struct recent){.key = take(key), .name = strdup(name), .count = 1};
	return 0;
}

static void *run(void *arg)
{
	struct events *ev = arg;
	pthread_mutex_lock(&ev->lock);
	for (;;) {
		while (!ev->head && !ev->stop)
			pthread_cond_wait(&ev->wake, &ev->lock);
		if (!ev->head)
			break;
		struct waiting *w = ev->head;
		ev->head = w->next;
		if (!ev->head)
			ev->tail = &ev->head;
		ev->queued--;
		pthread_mutex_unlock(&ev->lock);
		for (int tries = 0; tries < 6; tries++) {
			int rc = post(ev, w->event);
			if ((rc != -ECONNREFUSED && rc != -ETIMEDOUT && rc != -EAGAIN) || ev->stop)
				break;
			nanosleep(&(struct timespec){.tv_sec = 1 << tries}, NULL);
		}
		json_decref(w->event);
		free(w);
		pthread_mutex_lock(&ev->lock);
	}
	pthread_mutex_unlock(&ev->lock);
	return NULL;
}

int events_start(struct k8s_client *api, const char *node_name, struct events **out, struct err *e)
{
	struct events *ev = calloc(1, sizeof(*ev));
	if (!ev)
		return err_sys(e, ENOMEM, "start events");
	ev->api = api;
	ev->node_name = strdup(node_name);
	ev->tail = &ev->head;
	pthread_mutex_init(&ev->lock, NULL);
	pthread_cond_init(&ev->wake, NULL);
	int rc = ev->node_name ? pthread_create(&ev->thread, NULL, run, ev) : ENOMEM;
	if (rc) {
		free(ev->node_name);
		free(ev);
		return err_sys(e, rc, "start events");
	}
	*out = ev;
	return 0;
}

void events_stop(struct events *ev)
{
	if (!ev)
		return;
	pthread_mutex_lock(&ev->lock);
	ev->stop = true;
	pthread_cond_signal(&ev->wake);
	pthread_mutex_unlock(&ev->lock);
	pthread_join(ev->thread, NULL);
	for (size_t i = 0; i < RECENT; i++)
		free(ev->recent[i].key), free(ev->recent[i].name);
	free(ev->node_name);
	free(ev);
}
