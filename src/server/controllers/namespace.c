// SPDX-License-Identifier: Apache-2.0
// A namespace that is being deleted: everything in it is deleted, and when nothing is left, its finalizer goes and with
// it the namespace.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/map.h"
#include "server/meta.h"
#include "server/registry.h"

#define RETRY_NS NS_PER_S      // while something in it takes its time to end

struct namespaces {
	struct server *srv;
	struct map ending;         // name -> itself
};

static void namespace_changed(void *unit, int type, struct obj *o)
{
	struct namespaces *n = unit;
	own_json json_t *j = obj_json(o);
	const char *name = jpath_str(j, "metadata.name", "");

	if (type == EVENT_DELETED || !meta_is_deleting(j))
		map_remove(&n->ending, name);
	else
		map_put(&n->ending, name, n);
}

/* Pods and other things that take time end on their own; we only have to notice. */
static void pod_changed(void *unit, int type, struct obj *o)
{
	(void)unit;
	(void)type;
	(void)o;
}

/* Delete what there is of one kind. Returns how many remain. */
static size_t delete_kind(struct namespaces *n, const struct k8s_kind *k, const char *ns)
{
	char prefix[REG_KEY_MAX];
	struct store_list l;
	size_t left = 0;

	if (store_list(n->srv->store, reg_prefix(k, ns, prefix), NULL, 0, 0, &l))
		return 1;
	for (size_t i = 0; i < l.count; i++) {
		own_json json_t *j = obj_json(l.objs[i]);
		const char *name = obj_name(l.objs[i]).name;
		struct err e = ERR_INIT;
		int r = meta_is_deleting(j) ? 0 : delete_object(n->srv, k, ns, name, NULL, -1, &e);
		own_obj struct obj *still = store_get(n->srv->store, obj_key(l.objs[i]));
		if (r && r != -ENOENT)
			log_warn("namespaces", "%s: %s", obj_key(l.objs[i]), e.text);
		left += still != NULL;
	}
	store_list_fini(&l);
	return left;
}

static bool drop_finalizer(json_t *obj, void *user)
{
	json_t *list = jpath_get(obj, "spec.finalizers"), *f;
	size_t i;

	(void)user;
	json_array_foreach(list, i, f)
		if (json_is_string(f) && !strcmp(json_string_value(f), "kubernetes"))
			return !json_array_remove(list, i);
	return false;
}

/* True: nothing of it is left. */
static bool empty_namespace(struct namespaces *n, const char *ns)
{
	size_t count, left = 0;
	own_free const struct k8s_kind **rows = k8s_kinds_now(&count);
	struct err e = ERR_INIT;
	int r;

	for (size_t i = 0; i < count; i++)
		if (rows[i]->namespaced && (rows[i]->custom || k8s_kind_stored(rows[i]) == rows[i]) && k8s_kind_has_verb(rows[i], "delete"))
			left += delete_kind(n, rows[i], ns);
	if (left || !rows)
		return false;
	r = change_object(n->srv, k8s_kind_find("", "v1", "namespaces"), "", ns, "finalize", drop_finalizer, NULL, &e);
	if (r && r != -ENOENT)
		log_warn("namespaces", "namespace=%s: %s", ns, e.text);
	return !r || r == -ENOENT;
}

static uint64_t work(void *unit, uint64_t now)
{
	struct namespaces *n = unit;
	uint64_t next = LOOP_NEVER;
	const char *name;
	size_t pos = 0;

	while (map_next(&n->ending, &pos, &name))
		if (!empty_namespace(n, name))
			next = now + RETRY_NS;
	return next;
}

static int namespaces_open(struct server *srv, void **unit, struct err *e)
{
	struct namespaces *n = calloc(1, sizeof *n);

	if (!n)
		return err_set(e, ENOMEM, "out of memory");
	n->srv = srv;
	*unit = n;
	return 0;
}

static void namespaces_close(void *unit)
{
	struct namespaces *n = unit;

	map_fini(&n->ending, NULL);
	free(n);
}

static const struct unit_source sources[] = {
	{ "", "v1", "namespaces", namespace_changed, NULL },
	{ "", "v1", "pods", pod_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops namespace_unit = {
	.name = "namespace deletion", .sources = sources, .open = namespaces_open, .work = work, .close = namespaces_close,
};
