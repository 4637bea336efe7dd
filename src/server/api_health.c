// SPDX-License-Identifier: Apache-2.0
// /healthz, /livez, /readyz, /metrics.
#include <malloc.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/own.h"
#include "server/api.h"
#include "server/audit.h"
#include "server/fair.h"
#include "server/pump.h"
#include "server/store.h"
#include "server/watch.h"

static bool is_or_below(const char *path, const char *root)
{
	size_t n = strlen(root);

	return !strncmp(path, root, n) && (!path[n] || path[n] == '/');
}

static void put(struct buf *b, const char *name, const char *type, const char *help, uint64_t n)
{
	buf_printf(b, "# HELP bulkhead_%s %s\n# TYPE bulkhead_%s %s\nbulkhead_%s %llu\n", name, help, name, type, name, (unsigned long long)n);
}

static void put_fairness(const struct server *srv, struct buf *b)
{
	struct flow_counts c = { 0 };

	if (!srv->fair)
		return;
	fair_counts(srv->fair, &c);
	put(b, "flow_users", "gauge", "Users who asked for something lately, but administrators.", c.users);
	put(b, "flow_requests_in_flight", "gauge", "Their requests that are not answered yet.", c.in_flight);
	put(b, "flow_requests_waiting", "gauge", "Those that wait because their user has had more than a fair part.", c.waiting);
	put(b, "flow_requests_waited_total", "counter", "Requests that had to wait so.", c.waited_total);
	put(b, "flow_requests_refused_total", "counter", "Requests answered with 429 so.", c.refused_total);
	put(b, "flow_work_nanoseconds_total", "counter", "Time of the HTTP threads that was charged to them.", c.work_ns_total);
}

static void put_audit(const struct server *srv, struct buf *b)
{
	struct audit_counts c = { 0 };

	if (!srv->audit)
		return;
	audit_counts(srv->audit, &c);
	put(b, "audit_events_total", "counter", "Events for the audit log.", c.lines);
	put(b, "audit_events_lost_total", "counter", "Events lost because the audit log could not be written.", c.lost);
	put(b, "audit_waiting_bytes", "gauge", "What is still to be written of them.", c.waiting_bytes);
}

static void metrics(struct request *r)
{
	own_buf struct buf b = BUF_INIT;

	buf_printf(&b, "# HELP bulkhead_store_objects Objects in the store.\n# TYPE bulkhead_store_objects gauge\n"
		       "bulkhead_store_objects %zu\n", store_count(r->srv->store));
	buf_printf(&b, "# HELP bulkhead_store_resource_version Latest resourceVersion.\n"
		       "# TYPE bulkhead_store_resource_version counter\nbulkhead_store_resource_version %llu\n",
		   (unsigned long long)store_rv(r->srv->store));
	buf_printf(&b, "# HELP bulkhead_watches Open watches.\n# TYPE bulkhead_watches gauge\nbulkhead_watches %zu\n",
		   watch_set_count(store_watches(r->srv->store)));
	put(&b, "watches_direct", "gauge", "Watches whose connection is written to directly, past the HTTP library.", pump_live(r->srv->pump));
	put(&b, "requests", "gauge", "Requests that are not answered yet, without watches, logs and the like.", r->srv->requests);
	put_fairness(r->srv, &b);
	put_audit(r->srv, &b);
	reply_buf(r, 200, "text/plain; version=0.0.4", &b);
}

bool api_health(struct request *r)
{
	const char *path = r->route.path;

	if (strcmp(r->route.method, "GET") && strcmp(r->route.method, "HEAD"))
		return false;
	if (is_or_below(path, "/healthz") || is_or_below(path, "/livez"))
		reply_text(r, 200, "text/plain; charset=utf-8", "ok");
	else if (is_or_below(path, "/readyz"))
		reply_text(r, r->srv->ready ? 200 : 500, "text/plain; charset=utf-8", r->srv->ready ? "ok" : "not ready");
	else if (!strcmp(path, "/metrics"))
		metrics(r);
	else
		return false;
	return true;
}
