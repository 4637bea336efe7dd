// SPDX-License-Identifier: Apache-2.0
// Endpoints and EndpointSlices of Services: where the pods that a Service selects are, and whether they are ready.
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
#include "server/controllers/endpoints_plan.h"
#include "server/controllers/owner.h"
#include "server/map.h"
#include "server/meta.h"
#include "server/registry.h"
#include "server/view.h"

#define RETRY_NS NS_PER_S
#define MANAGER "endpointslice-controller.k8s.io"
#define SERVICE_LABEL "kubernetes.io/service-name"
#define MANAGED_LABEL "endpointslice.kubernetes.io/managed-by"

struct service {
	json_t *selector;
	struct map members;        // keys of the pods that it last selected
};

struct endpoints {
	struct server *srv;
	struct map services;       // "ns/name" -> struct service; those with a selector
	struct map by_ns;          // ns -> struct map of "ns/name" -> struct service
	struct map look;           // "ns/name"
};

static void service_free(void *value)
{
	struct service *v = value;

	json_decref(v->selector);
	map_fini(&v->members, NULL);
	free(v);
}

static void ns_free(void *value)
{
	map_fini(value, NULL);
	free(value);
}

static const char *name_key(struct obj *o)
{
	return strchr(obj_key(o), '/') + 1;
}

/* --- changes --- */

static void forget(struct endpoints *p, const char *ns, const char *key)
{
	struct service *v = map_remove(&p->services, key);
	struct map *m = map_get(&p->by_ns, ns);

	if (m)
		map_remove(m, key);
	if (m && !m->count)
		ns_free(map_remove(&p->by_ns, ns));
	if (v)
		service_free(v);
}

static int remember(struct endpoints *p, const char *ns, const char *key, json_t *selector)
{
	struct service *v = calloc(1, sizeof *v);
	struct map *m = map_get(&p->by_ns, ns);

	if (!v)
		return -ENOMEM;
	v->selector = json_incref(selector);
	if (!m) {
		m = calloc(1, sizeof *m);
		if (!m || map_put(&p->by_ns, ns, m)) {
			free(m);
			service_free(v);
			return -ENOMEM;
		}
	}
	if (map_put(&p->services, key, v)) {
		service_free(v);
		return -ENOMEM;
	}
	return map_put(m, key, v);
}

static void service_changed(void *unit, int type, struct obj *o)
{
	struct endpoints *p = unit;
	own_json json_t *j = obj_json(o);
	const char *ns = jpath_str(j, "metadata.namespace", "");
	json_t *selector = jpath_get(j, "spec.selector");

	forget(p, ns, name_key(o));
	map_put(&p->look, name_key(o), p);
	if (type != EVENT_DELETED && json_object_size(selector) && remember(p, ns, name_key(o), selector))
		log_error("endpoints", "out of memory: service=%s is not followed", name_key(o));
}

static void pod_changed(void *unit, int type, struct obj *o)
{
	struct endpoints *p = unit;
	struct obj_name n = obj_name(o);
	char ns[256];
	struct map *m;
	own_json json_t *pod = NULL;
	struct service *v;
	const char *key;
	size_t pos = 0;

	(void)type;
	snprintf(ns, sizeof ns, "%.*s", (int)n.ns_len, n.ns);
	m = map_get(&p->by_ns, ns);
	if (!m)
		return;
	pod = obj_view(o);
	while ((v = map_next(m, &pos, &key)))
		if (endpoints_selects(v->selector, jpath_get(pod, "metadata.labels")) || map_get(&v->members, obj_key(o)))
			map_put(&p->look, key, p);
}

/* Somebody else has changed or deleted what is ours. */
static void slice_changed(void *unit, int type, struct obj *o)
{
	struct endpoints *p = unit;
	own_json json_t *j = type == EVENT_ADDED ? NULL : obj_json(o);
	const char *name = json_string_value(json_object_get(jpath_get(j, "metadata.labels"), SERVICE_LABEL));
	char key[REG_KEY_MAX];

	if (!name)
		return;
	snprintf(key, sizeof key, "%s/%s", jpath_str(j, "metadata.namespace", ""), name);
	if (map_get(&p->services, key))
		map_put(&p->look, key, p);
}

static void endpoints_changed(void *unit, int type, struct obj *o)
{
	struct endpoints *p = unit;

	if (type != EVENT_ADDED && map_get(&p->services, name_key(o)))
		map_put(&p->look, name_key(o), p);
}

/* --- what there is --- */

static json_t *selected_pods(struct endpoints *p, const char *ns, struct service *v)
{
	json_t *pods = json_array();
	char prefix[REG_KEY_MAX];
	struct store_list l;

	map_fini(&v->members, NULL);
	if (store_list(p->srv->store, reg_prefix(k8s_kind_find("", "v1", "pods"), ns, prefix), NULL, 0, 0, &l)) {
		json_decref(pods);
		return NULL;
	}
	for (size_t i = 0; i < l.count; i++) {
		json_t *pod = obj_json(l.objs[i]);
		if (pod && endpoints_selects(v->selector, jpath_get(pod, "metadata.labels"))) {
			json_array_append(pods, pod);
			map_put(&v->members, obj_key(l.objs[i]), p);
		}
		json_decref(pod);
	}
	store_list_fini(&l);
	return pods;
}

static json_t *own_slices(struct endpoints *p, const char *ns, const char *service)
{
	json_t *slices = json_array();
	char prefix[REG_KEY_MAX];
	struct store_list l;

	if (store_list(p->srv->store, reg_prefix(k8s_kind_find("discovery.k8s.io", "v1", "endpointslices"), ns, prefix), NULL, 0, 0, &l))
		return slices;
	for (size_t i = 0; i < l.count; i++) {
		json_t *s = strstr(obj_text(l.objs[i]), service) ? obj_json(l.objs[i]) : NULL;
		json_t *labels = jpath_get(s, "metadata.labels");
		const char *of = json_string_value(json_object_get(labels, SERVICE_LABEL));
		const char *by = json_string_value(json_object_get(labels, MANAGED_LABEL));
		if (of && by && !strcmp(of, service) && !strcmp(by, MANAGER))
			json_array_append(slices, s);
		json_decref(s);
	}
	store_list_fini(&l);
	return slices;
}

/* --- slices --- */

static void put_contents(json_t *slice, const json_t *service, const json_t *want)
{
	const char *name = jpath_str(service, "metadata.name", "");
	json_t *labels = json_deep_copy(jpath_get(service, "metadata.labels"));

	if (!labels)
		labels = json_object();
	json_object_set_new(labels, SERVICE_LABEL, json_string(name));
	json_object_set_new(labels, MANAGED_LABEL, json_string(MANAGER));
	if (!strcmp(jpath_str(service, "spec.clusterIP", ""), "None"))
		json_object_set_new(labels, "service.kubernetes.io/headless", json_string(""));
	jpath_set(slice, "metadata.labels", labels);
	json_object_set(slice, "ports", json_object_get(want, "ports"));
	json_object_set(slice, "endpoints", json_object_get(want, "endpoints"));
}

struct update { const json_t *service, *want; };

static bool update_slice(json_t *slice, void *user)
{
	struct update *u = user;
	own_json json_t *before = json_deep_copy(slice);

	put_contents(slice, u->service, u->want);
	return !json_equal(before, slice);
}

static int create_slice(struct endpoints *p, const char *ns, const json_t *service, const json_t *want)
{
	own_json json_t *slice = json_pack("{s:s,s:s,s:{},s:s}", "apiVersion", "discovery.k8s.io/v1", "kind", "EndpointSlice", "metadata",
					   "addressType", jpath_str(want, "addressType", "IPv4"));
	char base[300];
	struct err e = ERR_INIT;
	int r;

	snprintf(base, sizeof base, "%s-", jpath_str(service, "metadata.name", ""));
	jpath_set(slice, "metadata.generateName", json_string(base));
	owner_add(slice, service);
	put_contents(slice, service, want);
	r = create_object(p->srv, k8s_kind_find("discovery.k8s.io", "v1", "endpointslices"), ns, slice, &e);
	if (r && r != -EACCES)
		log_limited(LOG_LEVEL_WARN, "endpoints", "service=%s/%s: %s", ns, jpath_str(service, "metadata.name", ""), e.text);
	return r == -EACCES ? 0 : r;      // its namespace is going
}

/* An existing slice that can become this one; it is taken out of the list. New reference. */
static json_t *reuse(json_t *have, const json_t *want)
{
	size_t best = json_array_size(have), i;
	json_t *s;

	json_array_foreach(have, i, s) {
		if (strcmp(jpath_str(s, "addressType", ""), jpath_str(want, "addressType", "")))
			continue;
		if (best == json_array_size(have) || json_equal(json_object_get(s, "ports"), json_object_get(want, "ports")))
			best = i;
		if (json_equal(json_object_get(s, "endpoints"), json_object_get(want, "endpoints")))
			break;
	}
	s = json_incref(json_array_get(have, best));
	if (s)
		json_array_remove(have, best);
	return s;
}

static int sync_slices(struct endpoints *p, const char *ns, const json_t *service, const json_t *pods)
{
	const struct k8s_kind *k = k8s_kind_find("discovery.k8s.io", "v1", "endpointslices");
	own_json json_t *have = own_slices(p, ns, jpath_str(service, "metadata.name", "")), *want = endpoints_slices(service, pods);
	json_t *w, *s;
	size_t i;
	int r = 0;

	json_array_foreach(want, i, w) {
		own_json json_t *old = reuse(have, w);
		struct update u = { service, w };
		if (!r && old)
			r = change_object(p->srv, k, ns, jpath_str(old, "metadata.name", ""), "", update_slice, &u, NULL);
		else if (!r)
			r = create_slice(p, ns, service, w);
	}
	json_array_foreach(have, i, s)
		if (!meta_is_deleting(s))
			delete_object(p->srv, k, ns, jpath_str(s, "metadata.name", ""), jpath_str(s, "metadata.uid", ""), -1, NULL);
	return r;
}

/* --- Endpoints --- */

static bool update_endpoints(json_t *ep, void *user)
{
	struct update *u = user;
	own_json json_t *before = json_deep_copy(ep);
	json_t *labels = json_deep_copy(jpath_get(u->service, "metadata.labels"));

	if (!labels)
		labels = json_object();
	json_object_set_new(labels, "endpoints.kubernetes.io/managed-by", json_string("endpoint-controller"));
	if (!strcmp(jpath_str(u->service, "spec.clusterIP", ""), "None"))
		json_object_set_new(labels, "service.kubernetes.io/headless", json_string(""));
	jpath_set(ep, "metadata.labels", labels);
	if (json_array_size(u->want))
		json_object_set(ep, "subsets", (json_t *)u->want);
	else
		json_object_del(ep, "subsets");
	return !json_equal(before, ep);
}

static int sync_endpoints(struct endpoints *p, const char *ns, const json_t *service, const json_t *pods)
{
	const struct k8s_kind *k = k8s_kind_find("", "v1", "endpoints");
	const char *name = jpath_str(service, "metadata.name", "");
	own_json json_t *want = endpoints_subsets(service, pods), *ep = NULL;
	struct update u = { service, want };
	int r = change_object(p->srv, k, ns, name, "", update_endpoints, &u, NULL);

	if (r != -ENOENT)
		return r;
	ep = json_pack("{s:s,s:s,s:{s:s}}", "apiVersion", "v1", "kind", "Endpoints", "metadata", "name", name);
	update_endpoints(ep, &u);
	r = create_object(p->srv, k, ns, ep, NULL);
	return r == -EACCES ? 0 : r;
}

/* --- work --- */

static int sync_service(struct endpoints *p, const char *key)
{
	char ns[256], full[REG_KEY_MAX];
	const char *name = strchr(key, '/') + 1;
	struct service *v = map_get(&p->services, key);
	own_obj struct obj *o = NULL;
	own_json json_t *service = NULL, *pods = NULL;
	int r;

	snprintf(ns, sizeof ns, "%.*s", (int)(name - key - 1), key);
	o = store_get(p->srv->store, reg_key(k8s_kind_find("", "v1", "services"), ns, name, full));
	if (!o)        // its slices are garbage; Endpoints have no owner
		return delete_object(p->srv, k8s_kind_find("", "v1", "endpoints"), ns, name, NULL, -1, NULL) == -EIO ? -EIO : 0;
	service = obj_json(o);
	if (!v || meta_is_deleting(service) || !strcmp(jpath_str(service, "spec.type", ""), "ExternalName"))
		return 0;   // without a selector somebody else keeps them
	pods = selected_pods(p, ns, v);
	if (!pods)
		return -ENOMEM;
	r = sync_slices(p, ns, service, pods);
	return r ? r : sync_endpoints(p, ns, service, pods);
}

static uint64_t work(void *unit, uint64_t now)
{
	struct endpoints *p = unit;
	struct map todo = p->look;
	const char *key;
	size_t pos = 0;

	p->look = (struct map)MAP_INIT;
	while (map_next(&todo, &pos, &key))
		if (sync_service(p, key))
			map_put(&p->look, key, p);
	map_fini(&todo, NULL);
	return p->look.count ? now + RETRY_NS : LOOP_NEVER;
}

static int endpoints_open(struct server *srv, void **unit, struct err *e)
{
	struct endpoints *p = calloc(1, sizeof *p);

	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	p->srv = srv;
	*unit = p;
	return 0;
}

static void endpoints_close(void *unit)
{
	struct endpoints *p = unit;

	map_fini(&p->by_ns, ns_free);
	map_fini(&p->services, service_free);
	map_fini(&p->look, NULL);
	free(p);
}

static const struct unit_source sources[] = {
	{ "", "v1", "services", service_changed, NULL },
	{ "", "v1", "pods", pod_changed, NULL },
	{ "", "v1", "endpoints", endpoints_changed, NULL },
	{ "discovery.k8s.io", "v1", "endpointslices", slice_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops endpoints_unit = {
	.name = "endpoints", .sources = sources, .open = endpoints_open, .work = work, .close = endpoints_close,
};
