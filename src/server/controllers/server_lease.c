// SPDX-License-Identifier: Apache-2.0
// Each server renews its own; only where the store is shared, so that a single idle server does nothing.
#include "server/controllers/server_lease.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/registry.h"
#include "server/store.h"

#define NAMESPACE "kube-system"
#define PREFIX "bulkhead-server-"
#define DURATION_S 30
#define RENEW_NS (10 * NS_PER_S)
#define RETRY_NS (2 * NS_PER_S)

static const struct k8s_kind *leases(void)
{
	return k8s_kind_find("coordination.k8s.io", "v1", "leases");
}

bool server_lease_is(const struct obj *o)
{
	struct obj_name n = obj_name(o);

	return n.name_len > strlen(PREFIX) && !strncmp(n.name, PREFIX, strlen(PREFIX)) && n.ns_len == strlen(NAMESPACE) &&
	       !strncmp(n.ns, NAMESPACE, n.ns_len);
}

/* The same for the same endpoint, whenever it starts. */
static void name_of(const char *endpoint, char out[64])
{
	uint64_t hash = 14695981039346656037ull;   // FNV-1a

	for (const char *c = endpoint; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 1099511628211ull;
	snprintf(out, 64, PREFIX "%016llx", (unsigned long long)hash);
}

static bool renew(json_t *lease, void *user)
{
	char now[CLOCK_TEXT_MAX];

	(void)user;
	return !jpath_set(lease, "spec.renewTime", json_string(clock_text(clock_real_ns(), 6, now)));
}

static int hold(struct server *srv)
{
	char name[64], now[CLOCK_TEXT_MAX];
	int r;

	name_of(srv->endpoint, name);
	r = change_object(srv, leases(), NAMESPACE, name, "", renew, NULL, NULL);
	if (r != -ENOENT)
		return r;
	clock_text(clock_real_ns(), 6, now);
	own_json json_t *lease = json_pack("{s:s,s:s,s:{s:s},s:{s:s,s:i,s:s,s:s}}", "apiVersion", "coordination.k8s.io/v1", "kind", "Lease",
					   "metadata", "name", name, "spec", "holderIdentity", srv->endpoint, "leaseDurationSeconds",
					   DURATION_S, "acquireTime", now, "renewTime", now);
	return create_object(srv, leases(), NAMESPACE, lease, NULL);
}

/* --- who is there --- */

/* When a Lease runs out; 0: it says nothing that a server would say. */
static uint64_t end_of(const json_t *lease, uint64_t now)
{
	uint64_t at;

	if (clock_parse(jpath_str(lease, "spec.renewTime", ""), &at) || at > now + DURATION_S * NS_PER_S)
		return 0;
	return at + DURATION_S * NS_PER_S;
}

/* "ADDRESS:PORT", as Endpoints can have it. */
static bool is_endpoint(const char *text)
{
	char host[64];
	const char *colon = strrchr(text, ':');
	uint32_t addr;
	char *end = NULL;
	long port = colon ? strtol(colon + 1, &end, 10) : 0;

	if (!colon || port < 1 || port > 65535 || !end || *end || (size_t)(colon - text) >= sizeof host)
		return false;
	snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
	return cidr_addr(host, &addr);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

static json_t *sorted(const json_t *list)
{
	json_t *out = json_array(), *v, **all = calloc(json_array_size(list) + 1, sizeof *all);
	size_t i, n = 0;

	json_array_foreach((json_t *)list, i, v)
		if (all)
			all[n++] = v;
	if (n)
		qsort(all, n, sizeof *all, by_text);
	for (i = 0; i < n; i++)
		json_array_append(out, all[i]);
	free(all);
	return out;
}

json_t *server_lease_endpoints(struct server *srv, uint64_t now, uint64_t *next)
{
	own_json json_t *found = json_array();
	char prefix[REG_KEY_MAX];
	struct store_list l;

	if (srv->endpoint)
		json_array_append_new(found, json_string(srv->endpoint));
	if (!store_shared(srv->store) || store_list(srv->store, reg_prefix(leases(), NAMESPACE, prefix), NULL, 0, 0, &l))
		return sorted(found);
	for (size_t i = 0; i < l.count; i++) {
		own_json json_t *lease = server_lease_is(l.objs[i]) ? obj_json(l.objs[i]) : NULL;
		const char *where = jpath_str(lease, "spec.holderIdentity", "");
		uint64_t end = end_of(lease, now);
		if (!is_endpoint(where) || end <= now || (srv->endpoint && !strcmp(where, srv->endpoint)))
			continue;
		json_array_append_new(found, json_string(where));
		if (end < *next)
			*next = end;
	}
	store_list_fini(&l);
	return sorted(found);
}

/* --- the unit --- */

struct holder { struct server *srv; uint64_t due; };

static uint64_t work(void *unit, uint64_t now)
{
	struct holder *h = unit;

	if (!h->srv->endpoint || !store_shared(h->srv->store))
		return LOOP_NEVER;
	if (now >= h->due) {
		int r = hold(h->srv);
		if (r)
			log_limited(LOG_LEVEL_WARN, "services", "the Lease of this server is not renewed: %s", strerror(-r));
		h->due = now + (r ? RETRY_NS : RENEW_NS);
	}
	return h->due;
}

static int open_holder(struct server *srv, void **unit, struct err *e)
{
	struct holder *h = calloc(1, sizeof *h);

	if (!h)
		return err_set(e, ENOMEM, "out of memory");
	h->srv = srv;
	*unit = h;
	return 0;
}

static const struct unit_source none[] = { { .plural = NULL } };

const struct unit_ops server_lease_unit = {
	.name = "server lease", .sources = none, .open = open_holder, .work = work, .close = free,
};
