// SPDX-License-Identifier: Apache-2.0
// The Services that every cluster has: default/kubernetes, which leads to this server, with its Endpoints and EndpointSlice,
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
#include "server/registry.h"
#include "server/service_alloc.h"

struct fixed {
	struct server *srv;
	bool dirty;
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

/* Where default/kubernetes leads. */
static int ensure_endpoints(struct fixed *f)
{
	char addr[256];
	const char *colon = f->srv->endpoint ? strrchr(f->srv->endpoint, ':') : NULL;
	int port = colon ? atoi(colon + 1) : 0, r;

	if (!colon)
		return 0;
	snprintf(addr, sizeof addr, "%.*s", (int)(colon - f->srv->endpoint), f->srv->endpoint);
	own_json json_t *ep = json_pack("{s:{s:s,s:{s:s}},s:[{s:[{s:s}],s:[{s:s,s:i,s:s}]}]}", "metadata", "name", "kubernetes", "labels",
					"endpointslice.kubernetes.io/skip-mirror", "true", "subsets", "addresses", "ip", addr, "ports",
					"name", "https", "port", port, "protocol", "TCP");
	own_json json_t *slice = json_pack("{s:{s:s,s:{s:s}},s:s,s:[{s:[s],s:{s:b}}],s:[{s:s,s:i,s:s}]}", "metadata", "name", "kubernetes",
					   "labels", "kubernetes.io/service-name", "kubernetes", "addressType", "IPv4", "endpoints",
					   "addresses", addr, "conditions", "ready", 1, "ports", "name", "https", "port", port, "protocol",
					   "TCP");
	r = ensure(f, "", "endpoints", "default", ep);
	return r ? r : ensure(f, "discovery.k8s.io", "endpointslices", "default", slice);
}

static uint64_t work(void *unit, uint64_t now)
{
	struct fixed *f = unit;

	if (!f->dirty)
		return LOOP_NEVER;
	f->dirty = ensure_services(f) || ensure_endpoints(f);
	return f->dirty ? now + 2 * NS_PER_S : LOOP_NEVER;
}

static int fixed_open(struct server *srv, void **unit, struct err *e)
{
	struct fixed *f = calloc(1, sizeof *f);

	if (!f)
		return err_set(e, ENOMEM, "out of memory");
	f->srv = srv;
	f->dirty = true;
	*unit = f;
	return 0;
}

static const struct unit_source sources[] = {
	{ "", "v1", "services", changed, NULL },
	{ "", "v1", "endpoints", changed, NULL },
	{ "discovery.k8s.io", "v1", "endpointslices", changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops kubernetes_service_unit = {
	.name = "fixed services", .sources = sources, .open = fixed_open, .work = work, .close = free,
};
