// SPDX-License-Identifier: Apache-2.0
#include "server/node_auth.h"

#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/pod_refs.h"
#include "server/registry.h"
#include "server/status.h"
#include "server/store.h"
#include "server/volumes.h"

#define NODE_USER "system:node:"

enum whose {
	ANY,        // any object
	ITSELF,     // named as the node; not for collections, where creating is checked when the body is there
	ITS_PODS,   // a pod bound to the node
	NAMED,      // named by a pod bound to the node
	ITS_VOLUME, // a volume or the content of a snapshot that lies on the node
	ITS_CLAIM,  // a claim whose volume lies on the node or shall be made there; a snapshot of such a claim
};

struct rule {
	const char *verbs, *group, *resources;   // words; resources with their subresources
	enum whose whose;
};

static const struct rule rules[] = {
	{ "get list watch", "", "services pods nodes endpoints", ANY },
	{ "get list watch", "discovery.k8s.io", "endpointslices", ANY },
	{ "create", "", "nodes", ANY },
	{ "update patch delete", "", "nodes", ITSELF },
	{ "get", "", "nodes/status", ANY },
	{ "update patch", "", "nodes/status", ITSELF },
	{ "get list watch", "", "secrets configmaps", NAMED },
	{ "get list watch", "", "persistentvolumeclaims persistentvolumes", ANY },   // hostd makes the disks: it looks for its own
	{ "patch", "", "persistentvolumeclaims persistentvolumeclaims/status", ITS_CLAIM },
	{ "create", "", "persistentvolumes", ANY },       // node_auth_admit looks where it lies
	{ "patch delete", "", "persistentvolumes persistentvolumes/status", ITS_VOLUME },
	{ "get list watch", "snapshot.storage.k8s.io", "volumesnapshots volumesnapshotcontents volumesnapshotclasses", ANY },
	{ "patch", "snapshot.storage.k8s.io", "volumesnapshots volumesnapshots/status", ITS_CLAIM },
	{ "create", "snapshot.storage.k8s.io", "volumesnapshotcontents", ANY },
	{ "patch delete", "snapshot.storage.k8s.io", "volumesnapshotcontents volumesnapshotcontents/status", ITS_VOLUME },
	{ "get list watch", "storage.k8s.io", "storageclasses", ANY },
	{ "create", "", "pods", ANY },
	{ "delete", "", "pods", ITS_PODS },
	{ "get update patch", "", "pods/status", ITS_PODS },
	{ "create", "", "pods/eviction", ITS_PODS },
	{ "get", "", "serviceaccounts", ANY },
	{ "create", "", "serviceaccounts/token", ANY },   // service_token.c asks whose pod
	{ "create update patch", "", "events", ANY },
	{ "create update patch", "events.k8s.io", "events", ANY },
	{ "create", "coordination.k8s.io", "leases", ANY },
	{ "get update patch delete", "coordination.k8s.io", "leases", ITSELF },
	{ "create", "storage.k8s.io", "csinodes", ANY },
	{ "get update patch delete", "storage.k8s.io", "csinodes", ITSELF },
	{ "get list watch", "storage.k8s.io", "volumeattachments csidrivers", ANY },
	{ "get list watch", "node.k8s.io", "runtimeclasses", ANY },
	{ "create", "authentication.k8s.io", "tokenreviews", ANY },
	{ "create", "authorization.k8s.io", "subjectaccessreviews localsubjectaccessreviews", ANY },
	{ "create get list watch", "certificates.k8s.io", "certificatesigningrequests", ANY },
};

bool node_auth_is_node(const struct identity *who)
{
	return identity_in(who, "system:nodes") && !strncmp(who->name, NODE_USER, strlen(NODE_USER));
}

static const char *node_name(const struct identity *who)
{
	return who->name + strlen(NODE_USER);
}

static bool has_word(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = words; n && (p = strstr(p, word)); p += n)
		if ((p == words || p[-1] == ' ') && (!p[n] || p[n] == ' '))
			return true;
	return false;
}

static bool is_its_pod(struct server *srv, const char *node, const char *ns, const char *name)
{
	char key[REG_KEY_MAX];
	own_obj struct obj *o = store_get(srv->store, reg_key(k8s_kind_find("", "v1", "pods"), ns, name, key));

	return !o || obj_is_on(o, node);   // absent: the answer is 404
}

/* Does a part of a pod's spec hold {"KEY": name} where KEY stands for this kind of object? */
static bool names(const json_t *v, const char *const *keys, const char *name)
{
	const char *key;
	json_t *child;
	size_t i;

	json_array_foreach((json_t *)v, i, child)
		if (names(child, keys, name))
			return true;
	json_object_foreach((json_t *)v, key, child) {
		for (i = 0; keys[i]; i++) {
			const char *text = json_is_string(child) && !strcmp(key, keys[i]) ? json_string_value(child) :
					   !strcmp(key, keys[i]) ? jpath_str(child, "name", "") : "";
			if (!strcmp(text, name))
				return true;
		}
		if (names(child, keys, name))
			return true;
	}
	return false;
}

static bool pod_names(const json_t *pod, const char *resource, const char *name)
{
	static const char *const secrets[] = { "secretName", "secretRef", "secretKeyRef", "secret", "nodePublishSecretRef", NULL };
	static const char *const maps[] = { "configMap", "configMapRef", "configMapKeyRef", NULL };
	static const char *const claims[] = { "claimName", NULL };
	const json_t *spec = json_object_get(pod, "spec");
	json_t *pull;
	size_t i;

	if (!strcmp(resource, "configmaps"))
		return names(spec, maps, name);
	if (!strcmp(resource, "persistentvolumeclaims"))
		return names(spec, claims, name);
	json_array_foreach(json_object_get(spec, "imagePullSecrets"), i, pull)
		if (!strcmp(jpath_str(pull, "name", ""), name))
			return true;
	return names(spec, secrets, name);
}

/* Most pods are passed over by a look at their text: only those that hold the name are parsed. */
static bool is_named(struct server *srv, const char *node, const struct auth_ask *a)
{
	char prefix[REG_KEY_MAX], quoted[300];
	struct store_list l;
	bool yes = false;

	if (!*a->name || !*a->ns || store_list_node(srv->store, node, &l))
		return false;
	reg_prefix(k8s_kind_find("", "v1", "pods"), a->ns, prefix);
	snprintf(quoted, sizeof quoted, "\"%s\"", a->name);
	for (size_t i = 0; i < l.count && !yes; i++) {
		const char *text = obj_text(l.objs[i]);
		size_t len = l.objs[i]->text_len;
		own_json json_t *pod = !strncmp(obj_key(l.objs[i]), prefix, strlen(prefix)) && memmem(text, len, quoted, strlen(quoted)) ?
				       obj_json(l.objs[i]) : NULL;
		yes = pod && pod_names(pod, a->resource, a->name);
	}
	store_list_fini(&l);
	return yes;
}

/* --- volumes --- */

static json_t *stored(struct server *srv, const struct auth_ask *a)
{
	const struct k8s_kind *k = k8s_kind_find(a->group, "v1", a->resource);
	char key[REG_KEY_MAX];
	own_obj struct obj *o = k ? store_get(srv->store, reg_key(k, a->ns, a->name, key)) : NULL;

	return o ? obj_json(o) : NULL;
}

/* A volume says it by its node affinity, the content of a snapshot by an annotation. */
static const char *place_of(const json_t *obj)
{
	return jpath_get(obj, "spec.volumeSnapshotRef") ? volume_annotation(obj, VOLUME_NODE_KEY) : volume_node(obj);
}

static bool is_its_volume(struct server *srv, const char *node, const struct auth_ask *a)
{
	own_json json_t *obj = stored(srv, a);

	return !obj || !strcmp(place_of(obj), node);   // absent: the answer is 404
}

static bool is_its_claim(struct server *srv, const char *node, const struct auth_ask *a)
{
	own_json json_t *obj = stored(srv, a), *claim = NULL, *volume = NULL;
	const char *from = jpath_str(obj, "spec.source.persistentVolumeClaimName", "");

	if (!obj)
		return true;
	claim = *from ? volume_claim_load(srv, a->ns, from) : json_incref(obj);
	volume = volume_load(srv, jpath_str(claim, "spec.volumeName", ""));
	return !strcmp(volume ? volume_node(volume) : volume_annotation(claim, VOLUME_SELECTED_NODE), node) ||
	       (*from && !strcmp(volume_annotation(obj, VOLUME_NODE_KEY), node));
}

static bool applies(struct server *srv, const char *node, enum whose whose, const struct auth_ask *a)
{
	switch (whose) {
	case ITSELF: return !strcmp(a->name, node);
	case ITS_PODS: return !srv || is_its_pod(srv, node, a->ns, a->name);
	case NAMED: return !srv || is_named(srv, node, a);
	case ITS_VOLUME: return !srv || is_its_volume(srv, node, a);
	case ITS_CLAIM: return !srv || is_its_claim(srv, node, a);
	default: return true;
	}
}

bool node_auth_allows(struct server *srv, const struct identity *who, const struct auth_ask *a)
{
	char resource[256];

	if (a->path || snprintf(resource, sizeof resource, "%s%s%s", a->resource, *a->subresource ? "/" : "", a->subresource) >=
		       (int)sizeof resource)
		return false;
	if (!strcmp(a->resource, "leases") && strcmp(a->ns, "kube-node-lease"))   // others are the servers' and the controllers'
		return false;
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (!strcmp(rules[i].group, a->group) && has_word(rules[i].verbs, a->verb) && has_word(rules[i].resources, resource))
			return applies(srv, node_name(who), rules[i].whose, a);
	return false;
}

static json_t *refuse(const struct identity *who, const struct k8s_kind *k, const json_t *obj, const char *what)
{
	char why[512];

	snprintf(why, sizeof why, "node \"%.200s\" %s", node_name(who), what);
	return status_forbidden(k, jpath_str(obj, "metadata.name", ""), why);
}

json_t *node_auth_admit(const struct identity *who, const struct k8s_kind *k, const json_t *obj, bool is_new)
{
	const char *name = jpath_str(obj, "metadata.name", "");
	char what[128];

	if (!who || !node_auth_is_node(who))
		return NULL;
	if ((!strcmp(k->plural, "nodes") || !strcmp(k->plural, "leases") || !strcmp(k->plural, "csinodes")) && strcmp(name, node_name(who)))
		return refuse(who, k, obj, "is not allowed to create or change objects that are named after other nodes");
	if ((!strcmp(k->plural, "persistentvolumes") || !strcmp(k->plural, "volumesnapshotcontents")) && strcmp(place_of(obj), node_name(who)))
		return refuse(who, k, obj, "can only create and change volumes and snapshots that lie on it");
	if (strcmp(k->plural, "pods") || *k->group)
		return NULL;
	if (strcmp(jpath_str(obj, "spec.nodeName", ""), node_name(who)))
		return refuse(who, k, obj, "can only create and change pods with spec.nodeName set to itself");
	if (!is_new)
		return NULL;
	if (!json_object_get(jpath_get(obj, "metadata.annotations"), "kubernetes.io/config.mirror"))
		return refuse(who, k, obj, "can only create mirror pods, of pods from files of its host");
	const char *key = k8s_pod_reference(json_object_get(obj, "spec"));
	if (key) {
		snprintf(what, sizeof what, "cannot create a mirror pod that refers to other objects (%s)", key);
		return refuse(who, k, obj, what);
	}
	return NULL;
}
