// SPDX-License-Identifier: Apache-2.0
// Garbage: objects whose owners are all gone are deleted. An owner that is deleted in the foreground waits until what
// it owns (and says so with blockOwnerDeletion) is gone; one that orphans is freed of its dependents first.
//
// Only objects with owners, and owners that wait, are kept track of here: whether an owner exists is asked of the store.
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
#include "server/controllers/owner.h"
#include "server/controllers/propagation.h"
#include "server/map.h"
#include "server/meta.h"
#include "server/registry.h"
#include "server/view.h"

#define RETRY_NS NS_PER_S

struct garbage {
	struct server *srv;
	struct map dependents;     // store key -> json array of the owners' uids
	struct map owned;          // owner's uid -> struct map of store keys (values: the unit)
	struct map look;           // store keys of dependents to look at
	struct map ending;         // store keys of owners that wait for their dependents
};

static void free_keys(void *value)
{
	map_fini(value, NULL);
	free(value);
}

static void free_uids(void *value)
{
	json_decref(value);
}

/* --- what is known --- */

static void link_owner(struct garbage *g, const char *uid, const char *key)
{
	struct map *keys = map_get(&g->owned, uid);

	if (!keys) {
		keys = calloc(1, sizeof *keys);
		if (!keys || map_put(&g->owned, uid, keys)) {
			free(keys);
			return;
		}
	}
	map_put(keys, key, g);
}

static void unlink_owner(struct garbage *g, const char *uid, const char *key)
{
	struct map *keys = map_get(&g->owned, uid);

	if (!keys)
		return;
	map_remove(keys, key);
	if (!keys->count)
		free_keys(map_remove(&g->owned, uid));
}

static void forget(struct garbage *g, const char *key)
{
	json_t *uids = map_remove(&g->dependents, key), *uid;
	size_t i;

	json_array_foreach(uids, i, uid)
		unlink_owner(g, json_string_value(uid), key);
	json_decref(uids);
}

static void remember(struct garbage *g, const char *key, const json_t *obj)
{
	json_t *uids = json_array(), *ref;
	size_t i;

	json_array_foreach(jpath_get(obj, "metadata.ownerReferences"), i, ref) {
		json_array_append_new(uids, json_string(jpath_str(ref, "uid", "")));
		link_owner(g, jpath_str(ref, "uid", ""), key);
	}
	if (!json_array_size(uids) || map_put(&g->dependents, key, uids))
		json_decref(uids);
}

static bool waits(const json_t *obj)
{
	return meta_is_deleting(obj) && (finalizer_has(obj, FINALIZER_FOREGROUND) || finalizer_has(obj, FINALIZER_ORPHAN));
}

/* All that this uid owns has to be looked at. */
static void look_at_dependents(struct garbage *g, const char *uid)
{
	struct map *keys = map_get(&g->owned, uid);
	const char *key;
	size_t pos = 0;

	while (keys && map_next(keys, &pos, &key))
		map_put(&g->look, key, g);
}

/* Its owners may be waiting for it. */
static void look_at_waiting(struct garbage *g, const json_t *obj)
{
	json_t *ref;
	size_t i;

	json_array_foreach(jpath_get(obj, "metadata.ownerReferences"), i, ref) {
		const struct k8s_kind *k = k8s_kind_by_name(jpath_str(ref, "apiVersion", ""), jpath_str(ref, "kind", ""));
		char key[REG_KEY_MAX];
		own_obj struct obj *o = NULL;
		if (!k)
			continue;
		o = store_get(g->srv->store, reg_key(k, jpath_str(obj, "metadata.namespace", ""), jpath_str(ref, "name", ""), key));
		if (o && strstr(obj_text(o), FINALIZER_FOREGROUND))
			map_put(&g->ending, obj_key(o), g);
	}
}

static void changed(void *unit, int type, struct obj *o)
{
	struct garbage *g = unit;
	const char *key = obj_key(o), *text = obj_text(o);
	bool known = map_get(&g->dependents, key) != NULL, owned = strstr(text, "\"ownerReferences\"") != NULL;
	own_json json_t *j = NULL;

	// Most objects are of no interest, least of all events and leases, which change all the time: do not parse them.
	if (!strncmp(key, "events/", 7) || !strncmp(key, "leases.", 7))
		return;
	if (!known && !owned && type != EVENT_DELETED && !strstr(text, "\"finalizers\""))
		return;
	j = obj_view(o);
	if (known)
		forget(g, key);
	if (type == EVENT_DELETED) {
		map_remove(&g->look, key);
		map_remove(&g->ending, key);
		look_at_dependents(g, jpath_str(j, "metadata.uid", ""));
		look_at_waiting(g, j);
		return;
	}
	if (owned) {
		remember(g, key, j);
		look_at_waiting(g, j);      // it may not block any more
		map_put(&g->look, key, g);
	}
	if (waits(j))
		map_put(&g->ending, key, g);
}

/* --- dependents --- */

enum owner_state { OWNER_SOLID, OWNER_GONE, OWNER_WAITING };

static enum owner_state owner_state(struct garbage *g, const json_t *ref, const char *ns)
{
	const struct k8s_kind *k = k8s_kind_by_name(jpath_str(ref, "apiVersion", ""), jpath_str(ref, "kind", ""));
	own_obj struct obj *o = NULL;
	own_json json_t *owner = NULL;
	char key[REG_KEY_MAX];

	if (!k)
		return OWNER_SOLID;     // of a kind that nobody here knows: we cannot tell that it is gone
	o = store_get(g->srv->store, reg_key(k, ns, jpath_str(ref, "name", ""), key));
	if (!o)
		return OWNER_GONE;
	owner = obj_json(o);
	if (strcmp(jpath_str(owner, "metadata.uid", ""), jpath_str(ref, "uid", "")))
		return OWNER_GONE;
	if (meta_is_deleting(owner) && finalizer_has(owner, FINALIZER_FOREGROUND))
		return OWNER_WAITING;
	return OWNER_SOLID;
}

static bool remove_owners(json_t *obj, void *user)
{
	bool any = false;
	json_t *uid;
	size_t i;

	json_array_foreach((json_t *)user, i, uid)
		any |= owner_remove(obj, json_string_value(uid));
	return any;
}

static int drop_references(struct garbage *g, const json_t *obj, json_t *uids, struct err *e)
{
	const struct k8s_kind *k = k8s_kind_by_name(jpath_str(obj, "apiVersion", ""), jpath_str(obj, "kind", ""));

	return change_object(g->srv, k, jpath_str(obj, "metadata.namespace", ""), jpath_str(obj, "metadata.name", ""), "",
			     remove_owners, uids, e);
}

static const char *policy_for(struct garbage *g, const json_t *obj, bool waiting)
{
	if (finalizer_has(obj, FINALIZER_ORPHAN))
		return "Orphan";
	if (finalizer_has(obj, FINALIZER_FOREGROUND) || (waiting && map_get(&g->owned, jpath_str(obj, "metadata.uid", ""))))
		return "Foreground";
	return "Background";
}

/* Delete it if no owner holds it. */
static int collect(struct garbage *g, const json_t *obj, struct err *e)
{
	const struct k8s_kind *k = k8s_kind_by_name(jpath_str(obj, "apiVersion", ""), jpath_str(obj, "kind", ""));
	const char *ns = jpath_str(obj, "metadata.namespace", "");
	own_json json_t *gone = json_array();
	size_t solid = 0, waiting = 0, i;
	json_t *ref;

	json_array_foreach(jpath_get(obj, "metadata.ownerReferences"), i, ref) {
		enum owner_state s = owner_state(g, ref, ns);
		solid += s == OWNER_SOLID;
		waiting += s == OWNER_WAITING;
		if (s != OWNER_SOLID)
			json_array_append_new(gone, json_string(jpath_str(ref, "uid", "")));
	}
	if (!json_array_size(gone) || !k)
		return 0;
	if (solid)
		return drop_references(g, obj, gone, e);
	return delete_object_and(g->srv, k, ns, jpath_str(obj, "metadata.name", ""), jpath_str(obj, "metadata.uid", ""),
				 policy_for(g, obj, waiting > 0), e);
}

static int look_at(struct garbage *g, const char *key, struct err *e)
{
	own_obj struct obj *o = store_get(g->srv->store, key);
	own_json json_t *j = o ? obj_json(o) : NULL;

	return !j || meta_is_deleting(j) ? 0 : collect(g, j, e);
}

/* --- owners that wait --- */

static bool drop_finalizer(json_t *obj, void *user)
{
	return finalizer_remove(obj, user);
}

static int release(struct garbage *g, const json_t *owner, char *finalizer, struct err *e)
{
	const struct k8s_kind *k = k8s_kind_by_name(jpath_str(owner, "apiVersion", ""), jpath_str(owner, "kind", ""));

	return change_object(g->srv, k, jpath_str(owner, "metadata.namespace", ""), jpath_str(owner, "metadata.name", ""),
			     "", drop_finalizer, finalizer, e);
}

static bool blocks(const json_t *dependent, const char *uid)
{
	json_t *ref;
	size_t i;

	json_array_foreach(jpath_get(dependent, "metadata.ownerReferences"), i, ref)
		if (!strcmp(jpath_str(ref, "uid", ""), uid))
			return jpath_bool(ref, "blockOwnerDeletion", false);
	return false;
}

/* Orphan the dependents, or delete them and wait. *left: how many are still in the way. */
static int end_dependents(struct garbage *g, const char *uid, bool orphan, size_t *left, struct err *e)
{
	struct map *keys = map_get(&g->owned, uid);
	own_json json_t *uids = json_pack("[s]", uid);
	const char *key;
	size_t pos = 0;
	int r = 0;

	*left = 0;
	while (keys && map_next(keys, &pos, &key)) {
		own_obj struct obj *o = store_get(g->srv->store, key);
		own_json json_t *j = o ? obj_json(o) : NULL;
		int one = 0;
		if (!j)
			continue;
		if (orphan)
			one = drop_references(g, j, uids, e);
		else if (!meta_is_deleting(j))
			one = collect(g, j, e);
		if (one && one != -ENOENT)
			r = one;
		o = (obj_unref(o), store_get(g->srv->store, key));
		*left += !orphan && o && blocks(j, uid);
	}
	return r;
}

static int end_owner(struct garbage *g, const char *key, struct err *e)
{
	own_obj struct obj *o = store_get(g->srv->store, key);
	own_json json_t *owner = o ? obj_json(o) : NULL;
	bool orphan = owner && finalizer_has(owner, FINALIZER_ORPHAN);
	size_t left;
	int r;

	if (!owner || !waits(owner))
		return 0;
	r = end_dependents(g, jpath_str(owner, "metadata.uid", ""), orphan, &left, e);
	if (r || left)
		return r;               // the last dependent's deletion brings us back
	r = release(g, owner, orphan ? (char *)FINALIZER_ORPHAN : (char *)FINALIZER_FOREGROUND, e);
	return r;
}

/* --- work --- */

/* Do each key; what fails is put back. Returns true if something has to be tried again. */
static bool do_all(struct garbage *g, struct map *keys, int (*one)(struct garbage *, const char *, struct err *))
{
	struct map todo = *keys;
	const char *key;
	size_t pos = 0;

	*keys = (struct map)MAP_INIT;
	while (map_next(&todo, &pos, &key)) {
		struct err e = ERR_INIT;
		int r = one(g, key, &e);
		if (r && r != -ENOENT && r != -ESTALE) {
			log_limited(LOG_LEVEL_WARN, "garbage", "%s: %s", key, e.text);
			map_put(keys, key, g);
		}
	}
	map_fini(&todo, NULL);
	return keys->count > 0;
}

static uint64_t work(void *unit, uint64_t now)
{
	struct garbage *g = unit;
	bool again = do_all(g, &g->ending, end_owner);

	again |= do_all(g, &g->look, look_at);
	return again ? now + RETRY_NS : LOOP_NEVER;
}

static int garbage_open(struct server *srv, void **unit, struct err *e)
{
	struct garbage *g = calloc(1, sizeof *g);

	if (!g)
		return err_set(e, ENOMEM, "out of memory");
	g->srv = srv;
	*unit = g;
	return 0;
}

static void garbage_close(void *unit)
{
	struct garbage *g = unit;

	map_fini(&g->dependents, free_uids);
	map_fini(&g->owned, free_keys);
	map_fini(&g->look, NULL);
	map_fini(&g->ending, NULL);
	free(g);
}

static const struct unit_source sources[] = {
	{ "", "", "*", changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops garbage_unit = {
	.name = "garbage collection", .sources = sources, .open = garbage_open, .work = work, .close = garbage_close,
};
