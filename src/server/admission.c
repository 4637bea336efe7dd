// SPDX-License-Identifier: Apache-2.0
#include "server/admission.h"

#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "base/jtext.h"
#include "base/own.h"
#include "k8s/custom.h"
#include "k8s/quantity.h"
#include "server/admit_account.h"
#include "server/admit_runtime_class.h"
#include "server/limit_range.h"
#include "server/meta.h"
#include "server/registry.h"
#include "server/service_alloc.h"
#include "server/status.h"
#include "server/volumes.h"

#define UNREADY_SECONDS 300   // how long pods stay on a node that is not ready, by default

static const struct k8s_kind *namespace_kind(void)
{
	return k8s_kind_find("", "v1", "namespaces");
}

static json_t *load(struct server *srv, const char *key)
{
	own_obj struct obj *o = store_get(srv->store, key);

	return o ? obj_json(o) : NULL;
}

static json_t *check_namespace(struct server *srv, const struct k8s_kind *k, const json_t *obj)
{
	const char *ns = jpath_str(obj, "metadata.namespace", "");
	char key[REG_KEY_MAX], why[512];
	own_obj struct obj *n = store_get(srv->store, reg_key(namespace_kind(), "", ns, key));
	const char *when;
	size_t len;
	json_t *s;

	if (!n)
		return status_not_found(namespace_kind(), ns);
	if (!jtext_find(obj_text(n), n->text_len, "metadata.deletionTimestamp", &when, &len))
		return NULL;
	snprintf(why, sizeof why, "unable to create new content in namespace %s because it is being terminated", ns);
	s = status_forbidden(k, jpath_str(obj, "metadata.name", ""), why);
	snprintf(why, sizeof why, "namespace %s is being terminated", ns);
	return status_cause(s, "NamespaceTerminating", why, "metadata.namespace");
}

/* --- pods --- */

static bool tolerates(const json_t *tolerations, const char *key)
{
	json_t *t;
	size_t i;

	json_array_foreach((json_t *)tolerations, i, t) {
		const char *k = jpath_str(t, "key", ""), *effect = jpath_str(t, "effect", "");
		if ((!*k || !strcmp(k, key)) && (!*effect || !strcmp(effect, "NoExecute")))
			return true;
	}
	return false;
}

static void default_tolerations(json_t *spec)
{
	static const char *const keys[] = { "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable" };
	json_t *list = json_object_get(spec, "tolerations");
	bool missing[2];

	for (int i = 0; i < 2; i++)
		missing[i] = !tolerates(list, keys[i]);
	if (!json_is_array(list) && !json_object_set_new(spec, "tolerations", json_array()))
		list = json_object_get(spec, "tolerations");
	for (int i = 0; i < 2; i++)
		if (missing[i])
			json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:i}", "key", keys[i], "operator", "Exists", "effect",
							      "NoExecute", "tolerationSeconds", UNREADY_SECONDS));
}

/* The priority class that is asked for, or the one marked as the default; NULL: none. */
static json_t *find_priority(struct server *srv, const char *name)
{
	const struct k8s_kind *k = k8s_kind_find("scheduling.k8s.io", "v1", "priorityclasses");
	char key[REG_KEY_MAX];
	struct store_list l;
	json_t *found = NULL;

	if (!k)
		return NULL;
	if (*name)
		return load(srv, reg_key(k, "", name, key));
	if (store_list(srv->store, reg_prefix(k, NULL, key), NULL, 0, 0, &l))
		return NULL;
	for (size_t i = 0; i < l.count && !found; i++) {
		json_t *j = strstr(obj_text(l.objs[i]), "\"globalDefault\":true") ? obj_json(l.objs[i]) : NULL;
		if (jpath_bool(j, "globalDefault", false))
			found = j;
		else
			json_decref(j);
	}
	store_list_fini(&l);
	return found;
}

static json_t *set_priority(struct server *srv, const struct k8s_kind *k, const json_t *obj, json_t *spec)
{
	const char *name = jpath_str(spec, "priorityClassName", "");
	own_json json_t *class = find_priority(srv, name);
	char why[512];

	if (*name && !class) {
		snprintf(why, sizeof why, "no PriorityClass with name %.250s was found", name);
		return status_forbidden(k, jpath_str(obj, "metadata.name", ""), why);
	}
	json_object_set_new(spec, "priority", json_integer(jpath_int(class, "value", 0)));
	if (class)
		json_object_set_new(spec, "priorityClassName", json_string(jpath_str(class, "metadata.name", "")));
	json_object_set_new(spec, "preemptionPolicy", json_string(jpath_str(class, "preemptionPolicy", "PreemptLowerPriority")));
	return NULL;
}

/* At most one class is the default. */
static json_t *admit_priority_class(struct server *srv, const struct k8s_kind *k, const json_t *obj)
{
	const char *name = jpath_str(obj, "metadata.name", "");
	own_json json_t *there = jpath_bool(obj, "globalDefault", false) ? find_priority(srv, "") : NULL;
	char why[512];

	if (!there || !strcmp(jpath_str(there, "metadata.name", ""), name))
		return NULL;
	snprintf(why, sizeof why, "PriorityClass %.250s is already marked as default. Only one default can exist",
		 jpath_str(there, "metadata.name", ""));
	return status_forbidden(k, name, why);
}

static bool is_priority_class(const struct k8s_kind *k)
{
	return !strcmp(k->plural, "priorityclasses") && !strcmp(k->group, "scheduling.k8s.io");
}

static json_t *admit_pod(struct server *srv, const struct k8s_kind *k, json_t *obj)
{
	json_t *spec = json_object_get(obj, "spec"), *s;

	if (!json_is_object(spec))
		return NULL;   // validation says what is wrong
	default_tolerations(spec);
	s = admit_account(srv, k, obj);
	if (!s)
		s = set_priority(srv, k, obj, spec);
	if (!s)
		s = admit_runtime_class(srv, k, obj);
	return s ? s : limit_range_admit(srv, k, obj);
}

static void admit_namespace(json_t *obj)
{
	const char *name = jpath_str(obj, "metadata.name", "");
	json_t *meta = json_object_get(obj, "metadata"), *labels = json_object_get(meta, "labels");

	jpath_set(obj, "spec.finalizers", json_pack("[s]", "kubernetes"));
	jpath_set(obj, "status.phase", json_string("Active"));
	if (!labels && !json_object_set_new(meta, "labels", json_object()))
		labels = json_object_get(meta, "labels");
	json_object_set_new(labels, "kubernetes.io/metadata.name", json_string(name));
}

/* No pods before it is ready: the node controller takes the taint away then. */
static void admit_node(json_t *obj)
{
	json_t *taints = jpath_get(obj, "spec.taints");

	if (!json_is_array(taints)) {
		jpath_set(obj, "spec.taints", json_array());
		taints = jpath_get(obj, "spec.taints");
	}
	json_array_append_new(taints, json_pack("{s:s,s:s}", "key", "node.kubernetes.io/not-ready", "effect", "NoSchedule"));
}

/* --- claims and volumes --- */

static void add_finalizer(json_t *obj, const char *name)
{
	json_t *meta = json_object_get(obj, "metadata"), *list = json_object_get(meta, "finalizers"), *f;
	size_t i;

	if (!json_is_array(list) && !json_object_set_new(meta, "finalizers", json_array()))
		list = json_object_get(meta, "finalizers");
	json_array_foreach(list, i, f)
		if (!strcmp(jpath_str(f, "", ""), name))
			return;
	json_array_append_new(list, json_string(name));
}

/* A claim that says nothing of a class gets the default one; "" asks for none. */
static void admit_claim(struct server *srv, json_t *obj)
{
	json_t *spec = json_object_get(obj, "spec");
	own_json json_t *class_ = NULL;

	add_finalizer(obj, VOLUME_CLAIM_FINALIZER);
	if (!json_is_object(spec) || json_object_get(spec, "storageClassName") ||
	    *volume_annotation(obj, "volume.beta.kubernetes.io/storage-class"))
		return;
	class_ = volume_class_default(srv);
	if (class_)
		json_object_set_new(spec, "storageClassName", json_string(jpath_str(class_, "metadata.name", "")));
}

/* Growing is for volumes of classes that allow it. */
static json_t *admit_claim_update(struct server *srv, const struct k8s_kind *k, const json_t *obj, const json_t *cur)
{
	static const char *const size = "spec.resources.requests.storage";
	own_json json_t *class_ = NULL;

	if (!volume_claim_is_bound(cur) || k8s_quantity_value(jpath_get(obj, size), 0) <= k8s_quantity_value(jpath_get(cur, size), 0))
		return NULL;
	class_ = volume_class_load(srv, volume_class_name(cur));
	if (jpath_bool(class_, "allowVolumeExpansion", false))
		return NULL;
	return status_forbidden(k, jpath_str(cur, "metadata.name", ""), "only dynamically provisioned pvc can be resized and the storageclass "
				"that provisions the pvc must support resize");
}

json_t *admit_create(struct server *srv, const struct k8s_kind *k, json_t *obj)
{
	json_t *s = k->namespaced ? check_namespace(srv, k, obj) : NULL;

	if (!s && k->custom && k8s_custom_is_ending(k))
		s = status_about(405, "MethodNotAllowed", k, jpath_str(obj, "metadata.name", ""),
				 "create not allowed while custom resource definition is terminating");
	if (s)
		return s;
	if (!strcmp(k->plural, "pods") && !*k->group)
		return admit_pod(srv, k, obj);
	if (!strcmp(k->plural, "services") && !*k->group)
		return service_alloc(srv, k, obj, NULL);
	if (k == volume_claim_kind()) {
		admit_claim(srv, obj);
		return limit_range_admit(srv, k, obj);
	}
	if (is_priority_class(k))
		return admit_priority_class(srv, k, obj);
	if (!strcmp(k->plural, "namespaces") && !*k->group)
		admit_namespace(obj);
	if (!strcmp(k->plural, "nodes") && !*k->group)
		admit_node(obj);
	if (k == volume_kind())
		add_finalizer(obj, VOLUME_FINALIZER);
	return NULL;
}

json_t *admit_update(struct server *srv, const struct k8s_kind *k, json_t *obj, const json_t *cur)
{
	if (!strcmp(k->plural, "services") && !*k->group)
		return service_alloc(srv, k, obj, cur);
	if (is_priority_class(k))
		return admit_priority_class(srv, k, obj);
	return k == volume_claim_kind() ? admit_claim_update(srv, k, obj, cur) : NULL;
}

json_t *admit_delete(const struct k8s_kind *k, const char *name)
{
	if (!strcmp(k->plural, "namespaces") && !*k->group &&
	    (!strcmp(name, "default") || !strcmp(name, "kube-system") || !strcmp(name, "kube-public")))
		return status_forbidden(k, name, "this namespace may not be deleted");
	return NULL;
}
