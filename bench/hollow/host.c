// SPDX-License-Identifier: Apache-2.0
#include "host.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "calls.h"

#define WATCHES (int)(sizeof ((struct hosts_setup *)0)->watches / sizeof *((struct hosts_setup *)0)->watches)

struct follower {
	struct host *host;
	const char *path;        // format
	struct conn *conn;       // NULL: this kind is not watched
	bool watching;
	struct buf line;         // the beginning of one
};

struct task { enum call call; char pod[64]; struct task *next; };

struct host {
	const struct hosts_setup *setup;
	char name[32];
	struct conn *conn;
	struct follower followers[WATCHES];
	struct task *first, **last, *doing;
	uint64_t lease_at, status_at;
	bool registered;
	unsigned running;
};

static unsigned long events;

/* --- what it says --- */

static void ask(const struct host *h, struct conn *c, const char *method, const char *path, const char *type, const char *body)
{
	char head[1024];

	snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nUser-Agent: hollow/1\r\n"
		 "Impersonate-User: system:node:%s\r\nImpersonate-Group: system:nodes\r\nImpersonate-Group: system:authenticated\r\n"
		 "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n", method, path, h->setup->authority, h->name, type, strlen(body));
	conn_send(c, head, body, strlen(body));
}

static void say_status(struct host *h, const char *now)
{
	char path[128], body[1024];

	snprintf(path, sizeof path, "/api/v1/nodes/%s/status", h->name);
	snprintf(body, sizeof body, "{\"status\":{\"capacity\":{\"cpu\":\"64\",\"memory\":\"256Gi\",\"pods\":\"250\"},\"allocatable\":{\"cpu\":\"64\","
		 "\"memory\":\"256Gi\",\"pods\":\"250\"},\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"KubeletReady\","
		 "\"lastHeartbeatTime\":\"%s\"},{\"type\":\"MemoryPressure\",\"status\":\"False\",\"lastHeartbeatTime\":\"%s\"}],\"addresses\":["
		 "{\"type\":\"InternalIP\",\"address\":\"10.0.0.1\"}]}}", now, now);
	ask(h, h->conn, "PATCH", path, "application/strategic-merge-patch+json", body);
}

static void say_pod(struct host *h, const struct task *t, const char *now)
{
	char path[128], body[1024];

	snprintf(path, sizeof path, "/api/v1/namespaces/hollow/pods/%s%s", t->pod, t->call == CALL_POD_RUNNING ? "/status" : "");
	snprintf(body, sizeof body, "{\"status\":{\"phase\":\"Running\",\"podIP\":\"10.88.0.9\",\"startTime\":\"%s\",\"conditions\":[{\"type\":\"Ready\","
		 "\"status\":\"True\",\"lastTransitionTime\":\"%s\"}],\"containerStatuses\":[{\"name\":\"main\",\"ready\":true,\"restartCount\":0,"
		 "\"image\":\"registry.example/app:1\",\"imageID\":\"\",\"state\":{\"running\":{\"startedAt\":\"%s\"}}}]}}", now, now, now);
	if (t->call == CALL_POD_RUNNING)
		ask(h, h->conn, "PATCH", path, "application/strategic-merge-patch+json", body);
	else
		ask(h, h->conn, "DELETE", path, "application/json", "{\"gracePeriodSeconds\":0}");
}

static void say(struct host *h, const struct task *t)
{
	char now[CLOCK_TEXT_MAX], micro[CLOCK_TEXT_MAX], path[256], body[1024];

	clock_text(clock_real_ns(), 0, now);
	clock_text(clock_real_ns(), 6, micro);
	switch (t->call) {
	case CALL_NODE_CREATE:
		snprintf(body, sizeof body, "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"%s\",\"labels\":{"
			 "\"kubernetes.io/hostname\":\"%s\"}}}", h->name, h->name);
		ask(h, h->conn, "POST", "/api/v1/nodes", "application/json", body);
		break;
	case CALL_NODE_STATUS:
		say_status(h, now);
		break;
	case CALL_LEASE_CREATE:
		snprintf(body, sizeof body, "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"%s\"},\"spec\":{"
			 "\"holderIdentity\":\"%s\",\"leaseDurationSeconds\":40,\"renewTime\":\"%s\"}}", h->name, h->name, micro);
		ask(h, h->conn, "POST", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", "application/json", body);
		break;
	case CALL_LEASE_RENEW:
		snprintf(path, sizeof path, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/%s", h->name);
		snprintf(body, sizeof body, "{\"spec\":{\"renewTime\":\"%s\"}}", micro);
		ask(h, h->conn, "PATCH", path, "application/merge-patch+json", body);
		break;
	default:
		say_pod(h, t, now);
	}
}

static void next_task(struct host *h)
{
	if (h->doing || !h->first)
		return;
	h->doing = h->first;
	h->first = h->first->next;
	if (!h->first)
		h->last = &h->first;
	say(h, h->doing);
}

static void add_task(struct host *h, enum call call, const char *pod)
{
	struct task *t = calloc(1, sizeof *t);

	t->call = call;
	snprintf(t->pod, sizeof t->pod, "%s", pod);
	*h->last = t;
	h->last = &t->next;
	next_task(h);
}

static void answered(struct conn *c, int code, const char *body, size_t len)
{
	struct host *h = c->user;
	struct task *t = take(h->doing);
	bool pod = t->call == CALL_POD_RUNNING || t->call == CALL_POD_GONE;

	if (code != 200 && code != 201 && !(pod && code == 404))
		give_up("%s, call %d: %d %.*s", h->name, t->call, code, len > 400 ? 400 : (int)len, body);
	call_took(t->call, clock_mono_ns() - c->started_ns);
	if (t->call == CALL_LEASE_CREATE)
		h->registered = true;
	if (t->call == CALL_POD_RUNNING && code == 200)
		h->running++;
	free(t);
	next_task(h);
}

/* --- what it sees --- */

static void see_pod(struct host *h, const json_t *pod)
{
	const char *name = jpath_str(pod, "metadata.name", "");

	if (jpath_str(pod, "metadata.deletionTimestamp", NULL))
		add_task(h, CALL_POD_GONE, name);
	else if (strcmp(jpath_str(pod, "status.phase", ""), "Running"))
		add_task(h, CALL_POD_RUNNING, name);
}

static void see_line(struct follower *f, const char *line, size_t len)
{
	own_json json_t *j = NULL;

	events++;
	if (f != f->host->followers)
		return;
	j = json_loadb(line, len, 0, NULL);
	if (!j || !strcmp(jpath_str(j, "type", "ERROR"), "ERROR"))
		give_up("%s: watch: %.*s", f->host->name, len > 400 ? 400 : (int)len, line);
	if (!strcmp(jpath_str(j, "type", ""), "ADDED") || !strcmp(jpath_str(j, "type", ""), "MODIFIED"))
		see_pod(f->host, jpath_get(j, "object"));
}

static void start_watch(struct follower *f, const char *rv)
{
	char path[256], full[512];

	snprintf(path, sizeof path, f->path, f->host->name);
	snprintf(full, sizeof full, "%s%swatch=1&allowWatchBookmarks=1&resourceVersion=%s", path, strchr(path, '?') ? "&" : "?", rv);
	f->watching = f->conn->streaming = true;
	ask(f->host, f->conn, "GET", full, "application/json", "");
}

static void listed(struct follower *f, const char *body, size_t len)
{
	own_json json_t *j = json_loadb(body, len, 0, NULL);
	const char *rv = jpath_str(j, "metadata.resourceVersion", NULL);
	json_t *item;
	size_t i;

	if (!rv)
		give_up("%s: the list has no resourceVersion", f->host->name);
	call_took(CALL_HOST_LIST, clock_mono_ns() - f->conn->started_ns);
	if (f == f->host->followers)
		json_array_foreach(jpath_get(j, "items"), i, item)
			see_pod(f->host, item);
	start_watch(f, rv);
}

static void followed(struct conn *c, int code, const char *body, size_t len)
{
	struct follower *f = c->user;
	const char *end = body + len, *nl;

	if (code != 200)
		give_up("%s: follow: %d %.*s", f->host->name, code, len > 400 ? 400 : (int)len, body);
	if (!f->watching) {
		listed(f, body, len);
		return;
	}
	for (; (nl = memchr(body, '\n', end - body)); body = nl + 1) {
		buf_append(&f->line, body, nl - body);
		see_line(f, f->line.data, f->line.len);
		f->line.len = 0;
	}
	buf_append(&f->line, body, end - body);
}

void host_connect(struct host *h)
{
	for (int i = 0; i < WATCHES && *h->setup->watches[i]; i++) {
		struct follower *f = &h->followers[i];
		if (f->conn)
			conn_close(f->conn);
		f->watching = false;
		f->line.len = 0;
		f->conn = conn_open(h->setup->pool, followed, f);
	}
}

void host_follow(struct host *h)
{
	for (int i = 0; i < WATCHES && *h->setup->watches[i]; i++) {
		struct follower *f = &h->followers[i];
		char path[256];
		snprintf(path, sizeof path, f->path, h->name);
		ask(h, f->conn, "GET", path, "application/json", "");
	}
}

/* --- its days --- */

struct host *host_new(const struct hosts_setup *s, unsigned number)
{
	struct host *h = calloc(1, sizeof *h);

	h->setup = s;
	h->last = &h->first;
	snprintf(h->name, sizeof h->name, "hollow-%u", number);
	h->conn = conn_open(s->pool, answered, h);
	for (int i = 0; i < WATCHES; i++)
		h->followers[i] = (struct follower){ .host = h, .path = s->watches[i] };
	return h;
}

void host_register(struct host *h)
{
	uint64_t now = clock_mono_ns();

	add_task(h, CALL_NODE_CREATE, "");
	add_task(h, CALL_NODE_STATUS, "");
	add_task(h, CALL_LEASE_CREATE, "");
	h->lease_at = now + random() % 1000 * (h->setup->lease_s * NS_PER_MS);
	h->status_at = now + random() % 1000 * (h->setup->status_s * NS_PER_MS);
}

void host_tick(struct host *h, uint64_t now)
{
	if (!h->registered)
		return;
	if (h->lease_at <= now) {
		h->lease_at += h->setup->lease_s * NS_PER_S;
		add_task(h, CALL_LEASE_RENEW, "");
	}
	if (h->status_at <= now) {
		h->status_at += h->setup->status_s * NS_PER_S;
		add_task(h, CALL_NODE_STATUS, "");
	}
}

bool host_idle(const struct host *h)
{
	return !h->doing && !h->first;
}

bool host_following(const struct host *h)
{
	for (int i = 0; i < WATCHES; i++)
		if (h->followers[i].conn && !h->followers[i].watching)
			return false;
	return true;
}

unsigned host_running(const struct host *h)
{
	return h->running;
}

unsigned long host_events(void)
{
	return events;
}
