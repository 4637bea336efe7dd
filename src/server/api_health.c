// SPDX-License-Identifier: Apache-2.0
// /healthz, /livez, /readyz, /metrics.
#include <malloc.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/own.h"
#include "server/api.h"
#include "server/store.h"
#include "server/watch.h"

static bool is_or_below(const char *path, const char *root)
{
	size_t n = strlen(root);

	return !strncmp(path, root, n) && (!path[n] || path[n] == '/');
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
