// SPDX-License-Identifier: Apache-2.0
#include "server/api_metrics.h"

#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/selector.h"
#include "server/api.h"
#include "server/metrics.h"
#include "server/registry.h"
#include "server/status.h"

#define API_VERSION "metrics.k8s.io/v1beta1"

static bool is_pods(const struct k8s_kind *k)
{
	return !strcmp(k->plural, "pods");
}

/* The object that a row is about. NULL: it is gone. */
static json_t *subject(struct request *r, const struct k8s_kind *k, const char *ns, const char *name)
{
	char key[REG_KEY_MAX];
	own_obj struct obj *o = store_get(r->srv->store, reg_key(k8s_kind_find("", "v1", k->plural), ns, name, key));

	return o ? obj_json(o) : NULL;
}

/* known's row for an object, as clients see it. NULL: there is none. */
static json_t *row(const struct k8s_kind *k, const json_t *about, const json_t *known)
{
	const char *ns = jpath_str(about, "metadata.namespace", ""), *name = jpath_str(about, "metadata.name", "");
	char key[600];

	snprintf(key, sizeof key, "%s%s%s", ns, is_pods(k) ? "/" : "", name);
	json_t *from = json_object_get(json_object_get(known, k->plural), key);
	if (!from)
		return NULL;
	json_t *out = json_pack("{s:s,s:s,s:{s:s,s:o*}}", "kind", k->kind, "apiVersion", API_VERSION, "metadata", "name", name,
				"creationTimestamp", json_incref(json_object_get(from, "timestamp")));
	if (*ns)
		jpath_set(out, "metadata.namespace", json_string(ns));
	if (jpath_get(about, "metadata.labels"))
		jpath_set(out, "metadata.labels", json_incref(jpath_get(about, "metadata.labels")));
	json_object_update(out, from);
	json_t *notes = json_object_get(out, "annotations");
	if (notes)
		jpath_set(out, "metadata.annotations", json_incref(notes));
	json_object_del(out, "annotations");
	return out;
}

static void reply_one(struct request *r, const struct k8s_kind *k, const json_t *known, const struct accept *a)
{
	own_json json_t *about = subject(r, k, r->route.ns, r->route.name);
	json_t *out = about ? row(k, about, known) : NULL;

	own_json json_t *items = out && a->form == ACCEPT_TABLE ? json_pack("[o]", out) : NULL;
	if (items)
		reply_json(r, 200, api_table(r, k, items, 0, NULL, a));
	else if (out)
		reply_json(r, 200, out);
	else
		reply_status(r, status_not_found(&(struct k8s_kind){ .group = k->group, .plural = k->plural }, r->route.name));
}

static json_t *list_rows(struct request *r, const struct k8s_kind *k, const json_t *known, const struct k8s_selector *labels,
			 const struct k8s_selector *fields)
{
	json_t *items = json_array(), *from;
	const char *key;

	json_object_foreach(json_object_get(known, k->plural), key, from) {
		char ns[64] = "";
		const char *slash = is_pods(k) ? strchr(key, '/') : NULL;
		snprintf(ns, sizeof ns, "%.*s", slash ? (int)(slash - key) : 0, key);
		if (*r->route.ns && strcmp(ns, r->route.ns))
			continue;
		own_json json_t *about = subject(r, k, ns, slash ? slash + 1 : key);
		if (!about || (labels && !k8s_label_selector_match(labels, jpath_get(about, "metadata.labels"))) ||
		    (fields && !k8s_field_selector_match(fields, about)))
			continue;
		json_t *out = row(k, about, known);
		if (out)
			json_array_append_new(items, out);
	}
	return json_pack("{s:s,s:s,s:{},s:o}", "kind", k->list_kind, "apiVersion", API_VERSION, "metadata", "items", items);
}

static void reply_list(struct request *r, const struct k8s_kind *k, const json_t *known, const struct accept *a)
{
	struct k8s_selector *labels, *fields;
	const char *name;
	json_t *s = api_selectors(r, k, &labels, &fields, &name);

	if (s) {
		reply_status(r, s);
		return;
	}
	own_json json_t *list = list_rows(r, k, known, labels, fields);
	reply_json(r, 200, a->form == ACCEPT_TABLE ? api_table(r, k, json_object_get(list, "items"), 0, NULL, a) : json_incref(list));
	k8s_selector_free(labels);
	k8s_selector_free(fields);
}

static void reply_known(struct request *r, const json_t *known)
{
	const struct k8s_kind *k = k8s_kind_find(r->route.group, r->route.version, r->route.resource);
	struct accept a;

	if (!api_accept(r, &a))
		return;
	if (r->srv->stopping)
		reply_status(r, status_new(503, "ServiceUnavailable", "the server is shutting down"));
	else if (*r->route.name)
		reply_one(r, k, known, &a);
	else
		reply_list(r, k, known, &a);
}

/* Whatever there is by now. */
static void after_wait(struct request *r)
{
	own_json json_t *known = metrics_recent(r->srv->metrics);

	reply_known(r, known);
}

bool api_metrics(struct request *r, const struct k8s_kind *k)
{
	if (strcmp(k->group, "metrics.k8s.io"))
		return false;
	if (strcmp(r->route.verb, "get") && strcmp(r->route.verb, "list")) {
		reply_status(r, status_new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"));
		return true;
	}
	own_json json_t *known = metrics_recent(r->srv->metrics);
	if (known)
		reply_known(r, known);
	else
		metrics_await(r->srv->metrics, r, after_wait);
	return true;
}
