// SPDX-License-Identifier: Apache-2.0
#include "server/sched_volumes.h"

#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "server/controllers/change.h"
#include "server/meta.h"
#include "server/registry.h"
#include "server/sched_fit.h"
#include "server/volumes.h"

static bool has_mode(const json_t *claim, const char *mode)
{
	size_t i;
	json_t *m;

	json_array_foreach(jpath_get(claim, "spec.accessModes"), i, m)
		if (!strcmp(jpath_str(m, "", ""), mode))
			return true;
	return false;
}

/* Is there another pod with a node that uses this claim? */
static bool used_by_another(struct server *srv, const json_t *pod, const char *ns, const char *claim)
{
	char prefix[REG_KEY_MAX], quoted[300], buf[512];
	struct store_list l;
	bool used = false;

	snprintf(quoted, sizeof quoted, "\"%s\"", claim);
	if (store_list(srv->store, reg_prefix(k8s_kind_find("", "v1", "pods"), ns, prefix), NULL, 0, 0, &l))
		return false;
	for (size_t i = 0; i < l.count && !used; i++) {
		own_json json_t *p = memmem(obj_text(l.objs[i]), l.objs[i]->text_len, quoted, strlen(quoted)) ? obj_json(l.objs[i]) : NULL;
		size_t k;
		json_t *v;
		if (!p || !*jpath_str(p, "spec.nodeName", "") || volume_pod_is_over(p) ||
		    !strcmp(jpath_str(p, "metadata.uid", ""), jpath_str(pod, "metadata.uid", "")))
			continue;
		json_array_foreach(jpath_get(p, "spec.volumes"), k, v) {
			const char *name = volume_pod_claim(p, v, buf);
			used |= name && !strcmp(name, claim);
		}
	}
	store_list_fini(&l);
	return used;
}

static bool load_one(struct server *srv, const json_t *pod, const char *name, struct sched_volumes *v, char why[256])
{
	const char *ns = jpath_str(pod, "metadata.namespace", "");
	struct sched_claim *c = &v->claims[v->count];
	own_json json_t *class_ = NULL;

	c->claim = volume_claim_load(srv, ns, name);
	if (!c->claim)
		return snprintf(why, 256, "persistentvolumeclaim \"%.200s\" not found", name), false;
	if (meta_is_deleting(c->claim))
		return snprintf(why, 256, "persistentvolumeclaim \"%.190s\" is being deleted", name), false;
	if (!strcmp(jpath_str(c->claim, "status.phase", ""), "Lost"))
		return snprintf(why, 256, "persistentvolumeclaim \"%.150s\" bound to non-existent persistentvolume", name), false;
	if (has_mode(c->claim, "ReadWriteOncePod") && used_by_another(srv, pod, ns, name))
		return snprintf(why, 256, "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"), false;
	v->count++;
	if (volume_claim_is_bound(c->claim)) {
		c->volume = volume_load(srv, jpath_str(c->claim, "spec.volumeName", ""));
		return c->volume || (snprintf(why, 256, "persistentvolume of claim \"%.200s\" not found", name), false);
	}
	class_ = volume_class_load(srv, volume_class_name(c->claim));
	c->waits = volume_class_waits(class_);
	if (!c->waits)
		return snprintf(why, 256, "pod has unbound immediate PersistentVolumeClaims"), false;
	if (volume_is_provisioned(class_) && !strcmp(jpath_str(class_, "provisioner", ""), VOLUME_PROVISIONER))
		volume_source_node(srv, c->claim, v->source_node[v->count - 1]);
	v->unbound++;
	return true;
}

bool sched_volumes_load(struct server *srv, const json_t *pod, struct sched_volumes *v, char why[256])
{
	char buf[512];
	size_t i;
	json_t *volume;

	v->count = v->unbound = 0;
	memset(v->claims, 0, sizeof v->claims);
	json_array_foreach(jpath_get(pod, "spec.volumes"), i, volume) {
		const char *name = volume_pod_claim(pod, volume, buf);
		if (!name)
			continue;
		if (v->count == SCHED_CLAIMS_MAX)
			return snprintf(why, 256, "pod has more than %d claims", SCHED_CLAIMS_MAX), false;
		v->source_node[v->count][0] = '\0';
		if (!load_one(srv, pod, name, v, why))
			return false;
	}
	return true;
}

void sched_volumes_fini(struct sched_volumes *v)
{
	for (size_t i = 0; i < SCHED_CLAIMS_MAX; i++) {
		json_decref(v->claims[i].claim);
		json_decref(v->claims[i].volume);
	}
}

/* A volume that is there already and would do for this claim on this node. */
static bool find_static(struct server *srv, const json_t *claim, const struct sched_node *n, char name[256])
{
	struct store_list l;
	bool found = false;

	if (store_list(srv->store, "persistentvolumes/", NULL, 0, 0, &l))
		return false;
	for (size_t i = 0; i < l.count && !found; i++) {
		own_json json_t *pv = obj_json(l.objs[i]);
		const json_t *required = jpath_get(pv, "spec.nodeAffinity.required");
		found = volume_satisfies(pv, claim) && (!required || sched_terms_met(required, n));
		if (found)
			snprintf(name, 256, "%s", jpath_str(pv, "metadata.name", ""));
	}
	store_list_fini(&l);
	return found;
}

const char *sched_volumes_misfit(struct server *srv, const struct sched_volumes *v, const struct sched_node *n)
{
	char name[256];

	for (size_t i = 0; i < v->count; i++) {
		const struct sched_claim *c = &v->claims[i];
		const json_t *required = jpath_get(c->volume, "spec.nodeAffinity.required");
		const char *chosen = volume_annotation(c->claim, VOLUME_SELECTED_NODE);
		own_json json_t *class_ = NULL;
		if (c->volume) {
			if (required && !sched_terms_met(required, n))
				return "node(s) had volume node affinity conflict";
			continue;
		}
		if ((*chosen && strcmp(chosen, n->name)) || (*v->source_node[i] && strcmp(v->source_node[i], n->name)))
			return "node(s) had volume node affinity conflict";
		class_ = volume_class_load(srv, volume_class_name(c->claim));
		if (!volume_is_provisioned(class_) && !find_static(srv, c->claim, n, name))
			return "node(s) didn't find available persistent volumes to bind";
	}
	return NULL;
}

static bool set_node(json_t *claim, void *user)
{
	if (!strcmp(volume_annotation(claim, VOLUME_SELECTED_NODE), user))
		return false;
	if (!jpath_get(claim, "metadata.annotations"))
		jpath_set(claim, "metadata.annotations", json_object());
	json_object_set_new(jpath_get(claim, "metadata.annotations"), VOLUME_SELECTED_NODE, json_string(user));
	return true;
}

/* Keep a volume that is there for the claim: the binder does the rest. */
static bool set_claim(json_t *volume, void *user)
{
	const json_t *claim = user;

	if (jpath_get(volume, "spec.claimRef"))
		return false;
	jpath_set(volume, "spec.claimRef", json_pack("{s:s,s:s,s:s,s:s,s:s}", "kind", "PersistentVolumeClaim", "apiVersion", "v1",
		  "namespace", jpath_str(claim, "metadata.namespace", ""), "name", jpath_str(claim, "metadata.name", ""), "uid",
		  jpath_str(claim, "metadata.uid", "")));
	return true;
}

int sched_volumes_select(struct server *srv, const struct sched_volumes *v, const char *node)
{
	struct sched_node n = { .name = (char *)node };
	int r = 0;

	for (size_t i = 0; i < v->count && !r; i++) {
		const json_t *claim = v->claims[i].claim;
		char name[256];
		own_json json_t *node_json = NULL;
		own_obj struct obj *o = NULL;
		char key[REG_KEY_MAX];
		if (v->claims[i].volume)
			continue;
		o = store_get(srv->store, reg_key(k8s_kind_find("", "v1", "nodes"), "", node, key));
		node_json = o ? obj_json(o) : NULL;
		n.labels = jpath_get(node_json, "metadata.labels");
		if (find_static(srv, claim, &n, name)) {
			r = change_object(srv, volume_kind(), "", name, "", set_claim, (void *)claim, NULL);
			continue;
		}
		r = change_object(srv, volume_claim_kind(), jpath_str(claim, "metadata.namespace", ""),
				  jpath_str(claim, "metadata.name", ""), "", set_node, (void *)node, NULL);
	}
	return r;
}
