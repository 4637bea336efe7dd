// SPDX-License-Identifier: Apache-2.0
#include "server/recorder.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "server/map.h"
#include "server/meta.h"
#include "server/registry.h"

#define QUEUE_MAX 4096
#define REMEMBERED_MAX 1024   // latest events, to count repetitions of

struct item {
	struct item *next;
	json_t *event;
	char *sameness;           // what makes two events the same
};

struct recorder {
	struct server *srv;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct item *first, **last;
	size_t count;
	bool stopping;
	struct map names;         // sameness -> name of the event; the thread's own
};

static json_t *make_new(struct reg_write *w, const json_t *cur, json_t **next)
{
	(void)cur;
	*next = json_deep_copy(w->user);
	return NULL;
}

static json_t *make_counted(struct reg_write *w, const json_t *cur, json_t **next)
{
	json_t *event = w->user;

	*next = json_deep_copy(cur);
	json_object_set_new(*next, "count", json_integer(jpath_int(cur, "count", 1) + 1));
	json_object_set(*next, "lastTimestamp", json_object_get(event, "lastTimestamp"));
	return NULL;
}

static int write_event(struct recorder *r, json_t *event, enum reg_action action, const char *name, reg_make *make)
{
	const struct k8s_kind *k = k8s_kind_find("", "v1", "events");
	struct reg_write w = { .srv = r->srv, .kind = k, .action = action, .ns = jpath_str(event, "metadata.namespace", "default"),
			       .name = name, .subresource = "", .make = make, .user = event };

	return reg_run(&w, NULL, NULL);
}

static void write_item(struct recorder *r, struct item *it)
{
	char *name = map_get(&r->names, it->sameness);

	if (name && !write_event(r, it->event, REG_UPDATE, name, make_counted))
		return;
	free(map_remove(&r->names, it->sameness));
	if (write_event(r, it->event, REG_CREATE, "", make_new))
		return;   // its namespace may be going: nobody misses the event then
	if (r->names.count >= REMEMBERED_MAX)
		map_fini(&r->names, free);
	name = strdup(jpath_str(it->event, "metadata.name", ""));
	if (!name || map_put(&r->names, it->sameness, name))
		free(name);
}

static void item_free(struct item *it)
{
	json_decref(it->event);
	free(it->sameness);
	free(it);
}

static void *recorder_main(void *arg)
{
	struct recorder *r = arg;
	struct item *it;

	pthread_mutex_lock(&r->lock);
	for (;;) {
		while (!r->first && !r->stopping)
			pthread_cond_wait(&r->cond, &r->lock);
		it = r->first;
		if (!it)
			break;
		r->first = it->next;
		if (!r->first)
			r->last = &r->first;
		r->count--;
		pthread_mutex_unlock(&r->lock);
		write_item(r, it);
		item_free(it);
		pthread_mutex_lock(&r->lock);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

static json_t *involved(const json_t *about)
{
	json_t *o = json_pack("{s:s,s:s,s:s,s:s}", "kind", jpath_str(about, "kind", ""), "apiVersion",
			      jpath_str(about, "apiVersion", "v1"), "name", jpath_str(about, "metadata.name", ""), "uid",
			      jpath_str(about, "metadata.uid", ""));
	const char *ns = jpath_str(about, "metadata.namespace", NULL), *rv = jpath_str(about, "metadata.resourceVersion", NULL);

	if (ns)
		json_object_set_new(o, "namespace", json_string(ns));
	if (rv)
		json_object_set_new(o, "resourceVersion", json_string(rv));
	return o;
}

static json_t *make_event(const json_t *about, const char *component, const char *type, const char *reason, const char *message)
{
	char now[CLOCK_TEXT_MAX], name[320];
	uint64_t ns = clock_real_ns();

	snprintf(name, sizeof name, "%.250s.%llx", jpath_str(about, "metadata.name", ""), (unsigned long long)ns);
	clock_text(ns, 0, now);
	return json_pack("{s:s,s:s,s:{s:s,s:s},s:o,s:s,s:s,s:{s:s},s:s,s:s,s:i,s:s,s:s,s:s}", "kind", "Event", "apiVersion", "v1",
			 "metadata", "name", name, "namespace", jpath_str(about, "metadata.namespace", "default"), "involvedObject",
			 involved(about), "reason", reason, "message", message, "source", "component", component, "firstTimestamp",
			 now, "lastTimestamp", now, "count", 1, "type", type, "reportingComponent", component, "reportingInstance", "");
}

void recorder_event(struct recorder *r, const json_t *about, const char *component, const char *type, const char *reason,
		    const char *fmt, ...)
{
	struct item *it = calloc(1, sizeof *it);
	own_free char *message = NULL;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(&message, fmt, args);
	va_end(args);
	if (n < 0)
		message = NULL;
	if (!it || !message || asprintf(&it->sameness, "%s %s %s %s", jpath_str(about, "metadata.uid", ""), type, reason, message) < 0) {
		free(it);
		return;
	}
	it->event = make_event(about, component, type, reason, message);
	pthread_mutex_lock(&r->lock);
	if (it->event && r->count < QUEUE_MAX && !r->stopping) {
		*r->last = it;
		r->last = &it->next;
		r->count++;
		pthread_cond_signal(&r->cond);
		it = NULL;
	}
	pthread_mutex_unlock(&r->lock);
	if (it) {
		log_limited(LOG_LEVEL_WARN, "events", "dropped: more than %d waiting", QUEUE_MAX);
		item_free(it);
	}
}

int recorder_start(struct server *srv, struct recorder **out, struct err *e)
{
	struct recorder *r = calloc(1, sizeof *r);
	int code;

	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	r->srv = srv;
	r->last = &r->first;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->cond, NULL);
	code = pthread_create(&r->thread, NULL, recorder_main, r);
	if (code) {
		free(r);
		return err_sys(e, code, "start the events thread");
	}
	*out = r;
	return 0;
}

void recorder_stop(struct recorder *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->stopping = true;
	pthread_cond_signal(&r->cond);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	map_fini(&r->names, free);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->cond);
	free(r);
}
