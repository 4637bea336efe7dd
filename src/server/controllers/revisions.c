// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/revisions.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "server/controllers/change.h"
#include "server/controllers/owner.h"
#include "server/controllers/template.h"
#include "server/registry.h"

#define HASH_LABEL "controller.kubernetes.io/hash"

static const struct k8s_kind *revision_kind(void)
{
	return k8s_kind_find("apps", "v1", "controllerrevisions");
}

const char *revision_name(const json_t *revision)
{
	return jpath_str(revision, "metadata.name", "");
}

const char *revision_hash(const json_t *revision)
{
	const char *hash = json_string_value(json_object_get(jpath_get(revision, "metadata.labels"), HASH_LABEL));

	return hash ? hash : "";
}

json_t *revisions_find(const struct revisions *r, const char *name)
{
	json_t *v;
	size_t i;

	json_array_foreach(r->all, i, v)
		if (!strcmp(revision_name(v), name))
			return v;
	return NULL;
}

json_t *revisions_template(const json_t *revision)
{
	json_t *t = json_deep_copy(jpath_get(revision, "data.spec.template"));

	json_object_del(t, "$patch");
	return t;
}

static int read_all(struct syncer *s, const json_t *owner, struct revisions *r)
{
	const char *ns = jpath_str(owner, "metadata.namespace", ""), *uid = jpath_str(owner, "metadata.uid", "");
	char prefix[REG_KEY_MAX];
	struct store_list l;

	r->all = json_array();
	if (!r->all || store_list(s->srv->store, reg_prefix(revision_kind(), ns, prefix), NULL, 0, 0, &l))
		return -ENOMEM;
	for (size_t i = 0; i < l.count; i++) {
		own_json json_t *j = strstr(obj_text(l.objs[i]), uid) ? obj_json(l.objs[i]) : NULL;
		if (j && !strcmp(jpath_str(owner_controller(j), "uid", ""), uid))
			json_array_append(r->all, j);
	}
	store_list_fini(&l);
	return 0;
}

/* A patch that brings the template back, which is what "rollout undo" applies. */
static json_t *make_data(const json_t *owner)
{
	json_t *t = json_deep_copy(jpath_get(owner, "spec.template"));

	json_object_set_new(t, "$patch", json_string("replace"));
	return json_pack("{s:{s:o}}", "spec", "template", t);
}

static json_t *make_revision(const json_t *owner, json_t *data, long long number, long long collisions)
{
	char hash[TEMPLATE_HASH_MAX], name[300];
	json_t *v = json_pack("{s:s,s:s,s:{},s:O,s:I}", "apiVersion", "apps/v1", "kind", "ControllerRevision", "metadata", "data", data,
			      "revision", (json_int_t)number);
	json_t *labels = json_deep_copy(jpath_get(owner, "spec.template.metadata.labels"));
	json_t *annotations = json_deep_copy(jpath_get(owner, "metadata.annotations"));

	template_hash(data, collisions, hash);
	snprintf(name, sizeof name, "%s-%s", jpath_str(owner, "metadata.name", ""), hash);
	if (!labels)
		labels = json_object();
	json_object_set_new(labels, HASH_LABEL, json_string(hash));
	jpath_set(v, "metadata.name", json_string(name));
	jpath_set(v, "metadata.labels", labels);
	if (annotations)
		jpath_set(v, "metadata.annotations", annotations);
	json_object_del(annotations, "kubectl.kubernetes.io/last-applied-configuration");
	owner_add(v, owner);
	return v;
}

static int create(struct syncer *s, const json_t *owner, struct revisions *r, json_t *data, long long number)
{
	const char *ns = jpath_str(owner, "metadata.namespace", "");
	int code = -EEXIST;

	// The name may be taken by the revision of another owner.
	for (long long collisions = 0; code == -EEXIST && collisions < 8; collisions++) {
		own_json json_t *v = make_revision(owner, data, number, collisions);
		own_obj struct obj *made = NULL;
		code = create_object_out(s->srv, revision_kind(), ns, v, &made, NULL);
		if (!code) {
			json_array_append_new(r->all, obj_json(made));
			r->latest = json_array_get(r->all, json_array_size(r->all) - 1);
		}
	}
	return code;
}

static bool renumber(json_t *revision, void *user)
{
	json_object_set_new(revision, "revision", json_integer(*(long long *)user));
	return true;
}

int revisions_open(struct syncer *s, const json_t *owner, struct revisions *r)
{
	own_json json_t *data = make_data(owner);
	long long most = 0;
	json_t *v;
	size_t i;
	int code;

	*r = (struct revisions){ 0 };
	code = read_all(s, owner, r);
	json_array_foreach(r->all, i, v) {
		if (jpath_int(v, "revision", 0) > most)
			most = jpath_int(v, "revision", 0);
		if (template_equal(jpath_get(v, "data.spec.template"), jpath_get(data, "spec.template")))
			r->latest = v;
	}
	if (code || !data)
		return code ? code : -ENOMEM;
	if (!r->latest)
		return create(s, owner, r, data, most + 1);
	if (jpath_int(r->latest, "revision", 0) == most)
		return 0;
	most++;
	json_object_set_new(r->latest, "revision", json_integer(most));
	return change_object(s->srv, revision_kind(), jpath_str(owner, "metadata.namespace", ""), revision_name(r->latest), "", renumber,
			     &most, NULL);
}

void revisions_close(struct revisions *r)
{
	json_decref(r->all);
	*r = (struct revisions){ 0 };
}

static bool in_use(const json_t *v, const struct revisions *r, const struct child *children, const char *keep)
{
	if (v == r->latest || !strcmp(revision_name(v), keep))
		return true;
	for (const struct child *c = children; c; c = c->next)
		if (!strcmp(c->pod.revision, revision_name(v)) || !strcmp(c->pod.revision, revision_hash(v)))
			return true;
	return false;
}

void revisions_trim(struct syncer *s, const json_t *owner, const struct revisions *r, const struct child *children, const char *keep)
{
	long long limit = jpath_int(owner, "spec.revisionHistoryLimit", 10), have = 0;
	json_t *v;
	size_t i;

	json_array_foreach(r->all, i, v)
		have += !in_use(v, r, children, keep);
	for (; have > limit; have--) {
		json_t *oldest = NULL;
		json_array_foreach(r->all, i, v)
			if (!in_use(v, r, children, keep) && !json_object_get(v, "dropped") &&
			    (!oldest || jpath_int(v, "revision", 0) < jpath_int(oldest, "revision", 0)))
				oldest = v;
		if (!oldest)
			return;
		json_object_set_new(oldest, "dropped", json_true());
		delete_object(s->srv, revision_kind(), jpath_str(owner, "metadata.namespace", ""), revision_name(oldest),
			      jpath_str(oldest, "metadata.uid", ""), -1, NULL);
	}
}
