// SPDX-License-Identifier: Apache-2.0
// CustomResourceDefinitions. Every server registers them, so that their kinds are served; the leading one says so in their
// status, once it is true, and deletes their objects before a definition goes.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "k8s/custom.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/controllers/propagation.h"
#include "server/controllers/syncer.h"
#include "server/meta.h"
#include "server/registry.h"

#define FINALIZER "customresourcecleanup.apiextensions.k8s.io"
#define SOON_NS (10 * NS_PER_S / 1000)
#define RETRY_NS NS_PER_S
#define RETIRED_S 600        // requests that found a kind that is no more are over by then

static const struct k8s_kind *definition_kind(void)
{
	return k8s_kind_find("apiextensions.k8s.io", "v1", "customresourcedefinitions");
}

/* --- every server: kinds are served --- */

static void follow(int type, const json_t *crd)
{
	struct err e = ERR_INIT;

	if (type == EVENT_DELETED)
		k8s_custom_unregister(jpath_str(crd, "metadata.name", ""));
	else if (k8s_custom_register(crd, &e))
		log_warn("custom kinds", "%s: %s", jpath_str(crd, "metadata.name", ""), e.text);
	k8s_custom_collect(RETIRED_S);
}

static void definition_changed(void *unit, int type, struct obj *o)
{
	own_json json_t *crd = obj_json(o);

	(void)unit;
	follow(type, crd);
}

int custom_kinds_load(struct server *srv, struct err *e)
{
	char prefix[REG_KEY_MAX];
	struct store_list l;
	int r = store_list(srv->store, reg_prefix(definition_kind(), NULL, prefix), NULL, 0, 0, &l);

	if (r)
		return err_set(e, -r, "list custom resource definitions");
	for (size_t i = 0; i < l.count; i++)
		definition_changed(NULL, EVENT_ADDED, l.objs[i]);
	store_list_fini(&l);
	return 0;
}

static int kinds_open(struct server *srv, void **unit, struct err *e)
{
	(void)e;
	*unit = srv;
	return 0;
}

static uint64_t kinds_work(void *unit, uint64_t now)
{
	(void)unit;
	(void)now;
	return LOOP_NEVER;
}

static void kinds_close(void *unit)
{
	(void)unit;
}

static const struct unit_source kind_sources[] = {
	{ "apiextensions.k8s.io", "v1", "customresourcedefinitions", definition_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops custom_kinds_unit = {
	.name = "custom kinds", .sources = kind_sources, .open = kinds_open, .work = kinds_work, .close = kinds_close,
};

/* --- the leader: status, and the end --- */

struct definitions {
	struct server *srv;
	struct map due;              // names
};

static void look(void *unit, int type, struct obj *o)
{
	struct definitions *d = unit;

	if (type == EVENT_DELETED)
		map_remove(&d->due, obj_name(o).name);
	else
		map_put(&d->due, obj_name(o).name, d);
}

/* Another definition of the group that has one of the names; "" or a sentence. */
static void find_conflict(struct definitions *d, const json_t *crd, char *why, size_t size)
{
	static const char *const names[] = { "spec.names.kind", "spec.names.listKind", "spec.names.singular" };
	char prefix[REG_KEY_MAX];
	struct store_list l;

	*why = '\0';
	if (store_list(d->srv->store, reg_prefix(definition_kind(), NULL, prefix), NULL, 0, 0, &l))
		return;
	for (size_t i = 0; i < l.count && !*why; i++) {
		own_json json_t *other = obj_json(l.objs[i]);
		if (!strcmp(jpath_str(other, "metadata.name", ""), jpath_str(crd, "metadata.name", "")) ||
		    strcmp(jpath_str(other, "spec.group", ""), jpath_str(crd, "spec.group", "")) || !jpath_get(other, "status.acceptedNames.kind"))
			continue;
		for (int n = 0; n < 3 && !*why; n++)
			if (!strcmp(jpath_str(other, names[n], ""), jpath_str(crd, names[n], "")) && *jpath_str(other, "status.acceptedNames.kind", ""))
				snprintf(why, size, "\"%.120s\" is already in use", jpath_str(crd, names[n], ""));
	}
	store_list_fini(&l);
}

static bool is_served(const json_t *crd)
{
	json_t *versions = jpath_get(crd, "spec.versions"), *v;
	size_t i;

	json_array_foreach(versions, i, v)
		if (jpath_bool(v, "served", false) &&
		    !k8s_kind_find(jpath_str(crd, "spec.group", ""), jpath_str(v, "name", ""), jpath_str(crd, "spec.names.plural", "")))
			return false;
	return true;
}

static void note_storage(json_t *crd)
{
	json_t *stored = jpath_get(crd, "status.storedVersions"), *versions = jpath_get(crd, "spec.versions"), *v, *s;
	size_t i, j;

	if (!json_is_array(stored) && !jpath_set(crd, "status.storedVersions", json_array()))
		stored = jpath_get(crd, "status.storedVersions");
	json_array_foreach(versions, i, v) {
		bool known = false;
		if (!jpath_bool(v, "storage", false))
			continue;
		json_array_foreach(stored, j, s)
			known |= json_equal(s, json_object_get(v, "name"));
		if (!known)
			json_array_append(stored, json_object_get(v, "name"));
	}
}

struct verdict { char conflict[256]; bool left; };

/* The whole of it: names, conditions, finalizer. */
static bool put_status(json_t *crd, void *user)
{
	struct verdict *v = user;
	own_json json_t *before = json_deep_copy(crd);
	bool bad = *v->conflict;
	json_t *status;

	if (!json_is_object(json_object_get(crd, "status")))
		json_object_set_new(crd, "status", json_object());
	status = json_object_get(crd, "status");
	if (!bad) {
		json_object_set(status, "acceptedNames", jpath_get(crd, "spec.names"));
		note_storage(crd);
		finalizer_add(crd, FINALIZER);
	}
	status_condition(status, "NamesAccepted", bad ? "False" : "True", bad ? "NameConflict" : "NoConflicts",
			 bad ? v->conflict : "no conflicts found", false);
	status_condition(status, "Established", bad ? "False" : "True", bad ? "NotAccepted" : "InitialNamesAccepted",
			 bad ? "not all names are accepted" : "the initial names have been accepted", false);
	return !json_equal(before, crd);
}

static bool put_terminating(json_t *crd, void *user)
{
	struct verdict *v = user;

	if (!v->left)
		return finalizer_remove(crd, FINALIZER);
	return status_condition(json_object_get(crd, "status"), "Terminating", "True", "InstanceDeletionInProgress",
				"CustomResource deletion is in progress", false);
}

/* Delete what there is of the kind. True: something is left. */
static bool delete_objects(struct definitions *d, const json_t *crd)
{
	const struct k8s_kind *k = NULL;
	char prefix[REG_KEY_MAX];
	struct store_list l;
	bool left = false;
	json_t *v;
	size_t i;

	json_array_foreach(jpath_get(crd, "spec.versions"), i, v)
		if (!k && jpath_bool(v, "served", false))
			k = k8s_kind_find(jpath_str(crd, "spec.group", ""), jpath_str(v, "name", ""), jpath_str(crd, "spec.names.plural", ""));
	if (!k || store_list(d->srv->store, reg_prefix(k, NULL, prefix), NULL, 0, 0, &l))
		return k != NULL;
	for (i = 0; i < l.count; i++) {
		own_json json_t *j = obj_json(l.objs[i]);
		own_obj struct obj *still = NULL;
		if (!meta_is_deleting(j))
			delete_object(d->srv, k, jpath_str(j, "metadata.namespace", ""), jpath_str(j, "metadata.name", ""), NULL, -1, NULL);
		still = store_get(d->srv->store, obj_key(l.objs[i]));
		left |= still != NULL;
	}
	store_list_fini(&l);
	return left;
}

/* When to look again; LOOP_NEVER: when it changes. */
static uint64_t settle(struct definitions *d, const char *name, uint64_t now)
{
	char key[REG_KEY_MAX];
	own_obj struct obj *o = store_get(d->srv->store, reg_key(definition_kind(), "", name, key));
	own_json json_t *crd = o ? obj_json(o) : NULL;
	struct verdict v = { 0 };
	struct err e = ERR_INIT;
	int r;

	if (!crd)
		return LOOP_NEVER;
	if (meta_is_deleting(crd)) {
		if (!finalizer_has(crd, FINALIZER))
			return LOOP_NEVER;
		v.left = delete_objects(d, crd);
		r = change_object(d->srv, definition_kind(), "", name, "both", put_terminating, &v, &e);
		return v.left || (r && r != -ENOENT) ? now + RETRY_NS : LOOP_NEVER;
	}
	if (!is_served(crd))
		return now + SOON_NS;
	find_conflict(d, crd, v.conflict, sizeof v.conflict);
	r = change_object(d->srv, definition_kind(), "", name, "both", put_status, &v, &e);
	if (r && r != -ENOENT)
		log_warn("custom kinds", "%s: %s", name, e.text);
	return r && r != -ENOENT ? now + RETRY_NS : LOOP_NEVER;
}

static uint64_t definitions_work(void *unit, uint64_t now)
{
	struct definitions *d = unit;
	struct map todo = d->due;
	uint64_t next = LOOP_NEVER;
	const char *name;
	size_t pos = 0;

	d->due = (struct map)MAP_INIT;
	while (map_next(&todo, &pos, &name)) {
		uint64_t at = settle(d, name, now);
		if (at != LOOP_NEVER)
			map_put(&d->due, name, d);
		if (at < next)
			next = at;
	}
	map_fini(&todo, NULL);
	return next;
}

static int definitions_open(struct server *srv, void **unit, struct err *e)
{
	struct definitions *d = calloc(1, sizeof *d);

	if (!d)
		return err_set(e, ENOMEM, "out of memory");
	d->srv = srv;
	*unit = d;
	return 0;
}

static void definitions_close(void *unit)
{
	struct definitions *d = unit;

	map_fini(&d->due, NULL);
	free(d);
}

static const struct unit_source definition_sources[] = {
	{ "apiextensions.k8s.io", "v1", "customresourcedefinitions", look, NULL },
	{ .plural = NULL },
};

const struct unit_ops custom_definitions_unit = {
	.name = "custom resource definitions", .sources = definition_sources, .open = definitions_open, .work = definitions_work,
	.close = definitions_close,
};
