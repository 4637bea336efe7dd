// SPDX-License-Identifier: Apache-2.0
// The Services that every cluster has: default/kubernetes, which leads to the servers, with its Endpoints and EndpointSlice,
// and kube-system/kube-dns, at whose address every host answers by itself. Made when missing, put right when changed.
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
#include "server/controllers/server_lease.h"
#include "server/registry.h"
#include "server/service_alloc.h"

struct fixed {
	struct server *srv;
	bool dirty;
	uint64_t look;             // real time at which a server's Lease may have run out
};

static void changed(void *unit, int type, struct obj *o)
{
	struct fixed *f = unit;
	struct obj_name n = obj_name(o);

	(void)type;
	if ((n.name_len == 10 && !strncmp(n.name, "kubernetes", 10)) || (n.name_len == 8 && !strncmp(n.name, "kube-dns", 8)))
		f->dirty = true;
}

/* Fields that must be so, in an object that is otherwise left alone. */
static bool put_fields(json_t *obj, void *user)
{
	own_json json_t *before = json_deep_copy(obj);
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)user, key, v)
		if (strcmp(key, "metadata") && strcmp(key, "spec"))
			json_object_set(obj, key, v);
	json_object_foreach(jpath_get(user, "metadata.labels"), key, v) {
		if (!jpath_get(obj, "metadata.labels"))
			jpath_set(obj, "metadata.labels", json_object());
		json_object_set(jpath_get(obj, "metadata.labels"), key, v);
	}
	return !json_equal(before, obj);
}

static int ensure(struct fixed *f, const char *group, const char *plural, const char *ns, json_t *want)
{
	const struct k8s_kind *k = k8s_kind_find(group, "v1", plural);
	struct err e = ERR_INIT;
	int r = change_object(f->srv, k, ns, jpath_str(want, "metadata.name", ""), "", put_fields, want, &e);

	if (r == -ENOENT)
		r = create_object(f->srv, k, ns, want, &e);
	if (r && r != -EEXIST)
		log_limited(LOG_LEVEL_WARN, "services", "%s %s/%s: %s", plural, ns, jpath_str(want, "metadata.name", ""), e.text);
	return r == -EEXIST ? 0 : r;
}

static int ensure_services(struct fixed *f)
{
	char api[CIDR_TEXT], dns[CIDR_TEXT];
	own_json json_t *k = json_pack("{s:{s:s,s:{s:s,s:s}},s:{s:s,s:s,s:[{s:s,s:i,s:i,s:s}]}}", "metadata", "name", "kubernetes", "labels",
				       "component", "apiserver", "provider", "kubernetes", "spec", "type", "ClusterIP", "clusterIP",
				       cidr_addr_text(f->srv->service_range.base + SERVICE_ADDR_API, api), "ports", "name", "https", "port", 443,
				       "targetPort", f->srv->port, "protocol", "TCP");
	own_json json_t *d = json_pack("{s:{s:s,s:{s:s,s:s}},s:{s:s,s:s,s:[{s:s,s:i,s:i,s:s},{s:s,s:i,s:i,s:s}]}}", "metadata", "name",
				       "kube-dns", "labels", "k8s-app", "kube-dns", "kubernetes.io/name", "Bulkhead", "spec", "type", "ClusterIP",
				       "clusterIP", cidr_addr_text(f->srv->service_range.base + SERVICE_ADDR_DNS, dns), "ports",
				       "name", "dns", "port", 53, "targetPort", 53, "protocol", "UDP",
				       "name", "dns-tcp", "port", 53, "targetPort", 53, "protocol", "TCP");
	int r = ensure(f, "", "services", "default", k);

	return r ? r : ensure(f, "", "services", "kube-system", d);
}

/* Endpoints of servers ("ADDR:PORT") as subsets, one for each port. */
static json_t *subsets_of(const json_t *servers)
{
	json_t *subsets = json_array(), *v, *s;
	size_t i, k;

	json_array_foreach((json_t *)servers, i, v) {
		const char *text = json_string_value(v), *colon = strrchr(text, ':');
		json_t *addresses = NULL;
		json_array_foreach(subsets, k, s)
			if (jpath_int(json_array_get(json_object_get(s, "ports"), 0), "port", 0) == atoi(colon + 1))
				addresses = json_object_get(s, "addresses");
		if (!addresses) {
			addresses = json_array();
			json_array_append_new(subsets, json_pack("{s:o,s:[{s:s,s:i,s:s}]}", "addresses", addresses, "ports", "name", "https",
								 "port", atoi(colon + 1), "protocol", "TCP"));
		}
		json_array_append_new(addresses, json_pack("{s:o}", "ip", json_stringn(text, (size_t)(colon - text))));
	}
	return subsets;
}

/* The slice of the n-th subset. Servers on other ports than the first one are in slices of their own. */
static int ensure_slice(struct fixed *f, size_t n, const json_t *subset)
{
	json_t *endpoints = json_array(), *a;
	char name[64] = "kubernetes";
	size_t i;

	if (n)
		snprintf(name, sizeof name, "kubernetes-%zu", n);
	json_array_foreach(json_object_get(subset, "addresses"), i, a)
		json_array_append_new(endpoints, json_pack("{s:[s],s:{s:b}}", "addresses", jpath_str(a, "ip", ""), "conditions", "ready", 1));
	own_json json_t *slice = json_pack("{s:{s:s,s:{s:s}},s:s,s:o,s:O}", "metadata", "name", name, "labels", "kubernetes.io/service-name",
					   "kubernetes", "addressType", "IPv4", "endpoints", endpoints, "ports", json_object_get(subset, "ports"));
	return ensure(f, "discovery.k8s.io", "endpointslices", "default", slice);
}

/* Slices of ports at which no server is any more. */
static bool is_own_slice(struct fixed *f, const char *name)
{
	char key[REG_KEY_MAX];
	own_obj struct obj *o = store_get(f->srv->store, reg_key(k8s_kind_find("discovery.k8s.io", "v1", "endpointslices"), "default", name, key));
	own_json json_t *slice = o ? obj_json(o) : NULL;
	const char *of = json_string_value(json_object_get(jpath_get(slice, "metadata.labels"), "kubernetes.io/service-name"));

	return of && !strcmp(of, "kubernetes");
}

static int drop_slices(struct fixed *f, size_t from)
{
	const struct k8s_kind *k = k8s_kind_find("discovery.k8s.io", "v1", "endpointslices");
	char name[64];
	int r = 0;

	for (size_t n = from ? from : 1; !r; n++) {
		snprintf(name, sizeof name, "kubernetes-%zu", n);
		r = is_own_slice(f, name) ? delete_object(f->srv, k, "default", name, NULL, -1, NULL) : -ENOENT;
	}
	return r == -ENOENT ? 0 : r;
}

/* Where default/kubernetes leads: to all servers that are there. */
static int ensure_endpoints(struct fixed *f)
{
	own_json json_t *servers = server_lease_endpoints(f->srv, clock_real_ns(), &f->look), *subsets = subsets_of(servers), *ep = NULL;
	json_t *s;
	size_t i;
	int r;

	if (!json_array_size(subsets))
		return 0;
	ep = json_pack("{s:{s:s,s:{s:s}},s:O}", "metadata", "name", "kubernetes", "labels", "endpointslice.kubernetes.io/skip-mirror", "true",
		       "subsets", subsets);
	r = ensure(f, "", "endpoints", "default", ep);
	json_array_foreach(subsets, i, s)
		if (!r)
			r = ensure_slice(f, i, s);
	return r ? r : drop_slices(f, json_array_size(subsets));
}

static uint64_t work(void *unit, uint64_t now)
{
	struct fixed *f = unit;
	uint64_t real = clock_real_ns();

	if (f->look <= real)
		f->dirty = true;
	if (f->dirty) {
		f->look = LOOP_NEVER;
		f->dirty = ensure_services(f) || ensure_endpoints(f);
	}
	if (f->dirty)
		return now + 2 * NS_PER_S;
	return f->look == LOOP_NEVER ? LOOP_NEVER : now + (f->look > real ? f->look - real : 0);
}

static void lease_changed(void *unit, int type, struct obj *o)
{
	struct fixed *f = unit;

	(void)type;
	f->dirty |= server_lease_is(o);
}

static int fixed_open(struct server *srv, void **unit, struct err *e)
{
	struct fixed *f = calloc(1, sizeof *f);

	if (!f)
		return err_set(e, ENOMEM, "out of memory");
	f->srv = srv;
	f->dirty = true;
	f->look = LOOP_NEVER;
	*unit = f;
	return 0;
}

static const struct unit_source sources[] = {
	{ "", "v1", "services", changed, NULL },
	{ "", "v1", "endpoints", changed, NULL },
	{ "discovery.k8s.io", "v1", "endpointslices", changed, NULL },
	{ "coordination.k8s.io", "v1", "leases", lease_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops kubernetes_service_unit = {
	.name = "fixed services", .sources = sources, .open = fixed_open, .work = work, .close = free,
};
